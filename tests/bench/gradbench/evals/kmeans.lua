--- k-means: the cost, and a Newton direction: the gradient over the diagonal of the Hessian.
local gl = require "gradlua"

local function cost(points)
  local points_squared = (points * points):sum(2, { keepdim = true })
  return function(centroids)
    local centroids_squared = (centroids * centroids):sum(2)
    local distances = points_squared - 2 * points:matmul(centroids:t()) + centroids_squared
    return distances:min(2):sum()
  end
end

return {
  cost = function(input)
    local points, centroids = gl.tensor(input.points), gl.tensor(input.centroids)
    local f = gl.jit(function(c, p) return cost(p)(c) end)
    return function() return f(centroids, points) end
  end,
  --- The Hessian is diagonal, so that its product with ones is its diagonal.
  dir = function(input)
    local points, centroids = gl.tensor(input.points), gl.tensor(input.centroids)
    local ones = gl.ones_like(centroids)
    local f = gl.jit(function(c, p)
      local gradient, diagonal = gl.jvp(gl.grad(cost(p)), { c }, { ones })
      return gradient / diagonal
    end)
    return function() return f(centroids, points) end
  end,
}

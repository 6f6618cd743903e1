--- k-means: the cost, and a Newton direction: the gradient over the diagonal of the Hessian.
local gl = require "gradlua"

local BLOCK = 2 ^ 18 -- distances at a time, to keep them in the cache

--- The nearest centroid of each point. Squared distances are compared, without the part that all centroids share.
local function assign(points, centroids)
  local squared, across = (centroids * centroids):sum(2), -2 * centroids:t()
  local function nearest(rows) return (squared + rows:matmul(across)):argmin(2) end
  local n, d = #points, points:size(2)
  local rows = math.max(1, BLOCK // #centroids)
  local blocks = n // rows
  if blocks < 2 then return nearest(points) end
  local _, whole = gl.scan(function(state, block) return state, nearest(block) end, {},
    points[{ { 1, blocks * rows } }]:reshape(blocks, rows, d))
  if n == blocks * rows then return whole:flatten() end
  return gl.concat { whole:flatten(), nearest(points[{ { blocks * rows + 1, n } }]) }
end

local function cost(points)
  return function(centroids)
    local apart = points - centroids[assign(points, centroids)]
    return (apart * apart):sum()
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

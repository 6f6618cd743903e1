-- Where the gradient is zero, the Hessian's eigenvalues tell what kind of point it is: all positive, a minimum; all
-- negative, a maximum; both signs, a saddle; a zero among them decides nothing.

local gl = require "gradlua"

local function landscape(x)
  return x[1] ^ 3 - 3 * x[1] + x[2] ^ 3 - 12 * x[2] -- gradient 3 (x1^2 - 1), 3 (x2^2 - 4)
end

local kinds = {}
for _, point in ipairs { { 1, 2 }, { 1, -2 }, { -1, 2 }, { -1, -2 }, { 0, 0 } } do
  local kind, eigenvalues = gl.classify(landscape, gl.tensor(point))
  kinds[#kinds + 1] = kind
  print(("(%2d, %2d): %-12s"):format(point[1], point[2], kind), eigenvalues)
end

-- x1^2 x2 has a flat direction at 0: the second derivatives cannot tell.
local degenerate = gl.classify(function(x) return x[1] ^ 2 + x[2] ^ 4 end, gl.zeros(2))
print("x1^2 + x2^4 at 0:", degenerate)
return { kinds = kinds, degenerate = degenerate }

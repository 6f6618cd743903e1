-- x y / sqrt(x^2 + y^2), 0 at the origin, has both partial derivatives there (it is 0 along both axes), and still no
-- derivative: along the diagonal it rises with slope 1/2 times the sign. A gradient made of partials would say 0.

local gl = require "gradlua"

local function cone(p)
  local r = p:norm()
  return gl.where(r:gt(0), p[1] * p[2] / gl.where(r:gt(0), r, 1), 0)
end

local origin = gl.zeros(2)
local partials = gl.grad(cone)(origin)
print("partial derivatives at the origin:", partials)

local h, slopes = 1e-6, {}
for _, direction in ipairs { { 1, 0 }, { 0, 1 }, { 1, 1 }, { 1, -1 } } do
  local v = gl.tensor(direction)
  v = v / v:norm()
  slopes[#slopes + 1] = (cone(origin + h * v):item() - cone(origin):item()) / h
  print(("slope along (%d, %d): %.3f"):format(direction[1], direction[2], slopes[#slopes]))
end

local at_origin = gl.differentiable(cone, origin)
local elsewhere = gl.differentiable(cone, gl.tensor { 1, 2 })
print("differentiable at the origin:", at_origin)
print("differentiable at (1, 2):    ", elsewhere)
return { partials = partials:abs():max():item(), diagonal = slopes[3], at_origin = at_origin, elsewhere = elsewhere }

-- The Jacobian of polar coordinates, (r, t) -> (r cos t, r sin t). Forward mode builds it by columns, reverse mode by
-- rows; its determinant is r, the factor by which areas grow.

local gl = require "gradlua"

local function polar(q)
  return gl.stack { q[1] * q[2]:cos(), q[1] * q[2]:sin() }
end

local q = gl.tensor { 2, math.pi / 6 }
local forward = gl.jacobian(polar, { mode = "forward" })(q)
local reverse = gl.jacobian(polar, { mode = "reverse" })(q)
local r, t = 2, math.pi / 6
local exact = gl.tensor { { math.cos(t), -r * math.sin(t) }, { math.sin(t), r * math.cos(t) } }
print("forward:", forward)
print("reverse:", reverse)
local det = (forward[{ 1, 1 }] * forward[{ 2, 2 }] - forward[{ 1, 2 }] * forward[{ 2, 1 }]):item()
print(("determinant %.12f, r = %d"):format(det, r))
return { forward = (forward - exact):abs():max():item(), reverse = (reverse - exact):abs():max():item(), det = det }

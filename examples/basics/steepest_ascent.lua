-- The gradient points where a function grows fastest, its length is that growth, and it is orthogonal to the level set.

local gl = require "gradlua"

local function f(x)
  return x[1] ^ 2 + 3 * x[2] ^ 2 + x[1] * x[2]
end

local point = gl.tensor { 1, 0.5 }
local gradient = gl.grad(f)(point)
local slope = gl.directional(f, { normalize = true })

-- Try 360 directions: none grows faster than the gradient's.
local best, best_angle = -math.huge, 0
for degree = 0, 359 do
  local angle = math.rad(degree)
  local rate = slope(point, gl.tensor { math.cos(angle), math.sin(angle) })
  rate = gl.is_tensor(rate) and rate:item() or rate
  if rate > best then best, best_angle = rate, degree end
end
local direction = math.deg(math.atan(gradient[2]:item(), gradient[1]:item()))
print(("gradient: direction %.2f degrees, length %.6f"):format(direction, gradient:norm():item()))
print(("best of 360 directions: %d degrees, slope %.6f"):format(best_angle, best))

-- Walk along the level set f = c: a unit step across the gradient, corrected back onto the level. The tangent of the
-- curve stays orthogonal to the gradient.
local level, x, largest = f(point):item(), point, 0
for _ = 1, 200 do
  local g = gl.grad(f)(x)
  local along = gl.tensor { -g[2]:item(), g[1]:item() } / g:norm()
  local moved = x + 0.01 * along
  local h = gl.grad(f)(moved)
  moved = moved - h * ((f(moved) - level) / h:dot(h))
  local chord = (moved - x) / (moved - x):norm()
  local middle = gl.grad(f)((x + moved) / 2)
  largest = math.max(largest, math.abs(chord:dot(middle):item()) / middle:norm():item())
  x = moved
end
print(("largest cosine between level set and gradient on the way: %.1e"):format(largest))
return { angle_error = math.abs(best_angle - direction), slope_error = math.abs(best - gradient:norm():item()), cosine = largest }

-- A partial derivative is the slope along one axis. Reverse mode gives all of them at once, exact to rounding; a central
-- difference needs two evaluations for each, and is wrong by about the square of its step.

local gl = require "gradlua"

local function f(x)
  return x[1] ^ 2 * x[2] + (x[1] * x[2]):sin()
end

local point = gl.tensor { 1.5, -0.7 }
local exact = gl.grad(f)(point)

local function central(i, h)
  local step = gl.zeros(2)
  step[i] = h
  return (f(point + step):item() - f(point - step):item()) / (2 * h)
end

print("        step   error of df/dx1   error of df/dx2")
local worst
for _, h in ipairs { 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-8, 1e-12 } do
  local e1 = math.abs(central(1, h) - exact[1]:item())
  local e2 = math.abs(central(2, h) - exact[2]:item())
  print(("%12.0e   %15.2e   %15.2e"):format(h, e1, e2))
  if h == 1e-5 then worst = math.max(e1, e2) end
end
-- Too large a step truncates the series, too small a one cancels digits: the best is near 1e-5.
print(("gradient by reverse mode: %.15g %.15g"):format(exact[1]:item(), exact[2]:item()))
print(("best central difference agrees to %.1e"):format(worst))
return { agreement = worst }

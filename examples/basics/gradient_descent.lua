-- Gradient descent on a bowl and on an ellipse that is a hundred times steeper one way than the other. On the bowl any
-- sensible step goes straight to the minimum; on the ellipse the steep axis limits the step, and the flat one pays.

local gl = require "gradlua"

local function quadratic(scales)
  return function(x) return 0.5 * (scales * x:square()):sum() end
end

local function steps_needed(scales, rate)
  local gradient, x = gl.grad(quadratic(scales)), gl.tensor { 1, 1 }
  for step = 1, 100000 do
    x = x - rate * gradient(x)
    if x:norm():item() < 1e-6 then return step end
    if x:norm():item() > 1e6 then return math.huge end
  end
  return math.huge
end

local bowl, ellipse = gl.tensor { 1, 1 }, gl.tensor { 1, 100 }
local function show(name, scales, rate)
  local steps = steps_needed(scales, rate)
  print(("%-8s step %.4f: %s"):format(name, rate, steps == math.huge and "diverges" or steps .. " steps"))
  return steps
end

local easy = show("bowl", bowl, 0.9)
-- The best fixed step is 2 / (smallest + largest curvature); the error then shrinks by (k - 1) / (k + 1), k = 100.
local hard = show("ellipse", ellipse, 2 / 101)
local too_long = show("ellipse", ellipse, 2.1 / 100)
local momentum = gl.minimize(quadratic(ellipse), gl.tensor { 1, 1 }, { method = "lbfgs" })
print(("L-BFGS learns the curvature: %d iterations"):format(momentum.iterations))
return { bowl = easy, ellipse = hard, diverges = too_long == math.huge, lbfgs = momentum.iterations }

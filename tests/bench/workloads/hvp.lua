-- Hessian-vector product of Rosenbrock's function in 100,000 variables.
local gl = require "gradlua"
local inputs = require "inputs"

local function rosenbrock(x)
  local a, b = x[{ { 1, -2 } }], x[{ { 2, -1 } }]
  return (100 * (b - a:square()):square() + (1 - a):square()):sum()
end

return {
  { name = "HVP of Rosenbrock, n = 100,000", make = function()
    local x, v = inputs.fill({ 100000 }, 1), inputs.fill({ 100000 }, 2)
    local f = gl.jit(gl.hvp(rosenbrock))
    return function() return f(x, v)[1] end
  end },
  { name = "gradient of Rosenbrock, n = 100,000", make = function()
    local x = inputs.fill({ 100000 }, 1)
    local f = gl.jit(gl.grad(rosenbrock))
    return function() return f(x)[1] end
  end },
}

-- Value and gradient of logistic regression.
local gl = require "gradlua"
local inputs = require "inputs"

local cases = {}
for _, rows in ipairs { 569, 100000 } do
  for _, how in ipairs { "traced", "jit" } do
    cases[#cases + 1] = { name = ("logistic regression %d x 30, %s"):format(rows, how), make = function()
      local x, y = inputs.fill({ rows, 30 }, 1), inputs.fill({ rows }, 2):gt(0):to("f64")
      local w = inputs.fill({ 30 }, 3, { scale = 0.1 })
      local f = gl.value_and_grad(function(v)
        local z = x:matmul(v)
        return (z:softplus() - y * z):mean()
      end)
      if how == "jit" then f = gl.jit(f) end
      return function() return (f(w)) end
    end }
  end
end
return cases

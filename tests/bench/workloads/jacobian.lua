-- The Jacobian of a network 100 -> 100, whole and row by row.
local gl = require "gradlua"
local inputs = require "inputs"

local a, b = inputs.fill({ 100, 100 }, 1, { scale = 0.1 }), inputs.fill({ 100, 100 }, 2, { scale = 0.1 })
local x = inputs.fill({ 100 }, 3)
local function f(v) return b:matmul(a:matmul(v):tanh()) end

return {
  { name = "Jacobian of an MLP 100 -> 100", make = function()
    local jacobian = gl.jit(gl.jacobian(f))
    return function() return jacobian(x)[{ 3, 5 }] end
  end },
  { name = "  the same by a loop of vjp", make = function()
    local units = gl.eye(100)
    return function()
      local _, pullback = gl.vjp(f, x)
      local row
      for i = 1, 100 do
        local g = pullback(units[i])
        if i == 3 then row = g end
      end
      return row[5]
    end
  end },
}

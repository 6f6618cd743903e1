-- An LSTM over 50 times, batch 16, 32 inputs, 64 units: value and gradient.
local gl = require "gradlua"
local inputs = require "inputs"

local cases = {}
for _, dtype in ipairs { "f32", "f64" } do
  cases[#cases + 1] = { name = ("LSTM 32-64, 50 times, batch 16, %s"):format(dtype), make = function()
    local function fill(shape, seed) return inputs.fill(shape, seed, { scale = 1 / 8, dtype = dtype }) end
    local layer = gl.nn.lstm(32, 64, { dtype = dtype })
    local p = { weight_input = fill({ 256, 32 }, 1), weight_state = fill({ 256, 64 }, 2), bias_input = fill({ 256 }, 3),
      bias_state = fill({ 256 }, 4) }
    local x = inputs.fill({ 16, 50, 32 }, 5, { dtype = dtype })
    local f = gl.jit(gl.value_and_grad(function(q)
      local outputs = layer(q, x)
      return outputs:square():mean()
    end))
    return function() return (f(p)) end
  end }
end
return cases

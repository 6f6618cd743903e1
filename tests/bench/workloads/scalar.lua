-- A program of 10,000 operations on single numbers, value and gradient: what recording and an interpreter cost when there
-- is nothing to amortize them over; and the least that a call of a jitted function costs.
local gl = require "gradlua"

local operations, inputs = 10000, { 1.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3 }

--- Ten operations a round, one of them a sine.
local function program(...)
  local x = { ... }
  local s, t = x[1], x[2]
  for i = 0, operations // 10 - 1 do
    local a, b = x[i % 8 + 1], x[(i + 3) % 8 + 1]
    t = gl.sin(s * a + b) * 0.75
    s = (t * b - s * 0.25) * a + t * 0.125
  end
  return s + t
end

local function jit_call(argument)
  local f = gl.jit(function(x) return x * 3 end)
  return function() return f(argument) end
end

local cases = {}
for _, how in ipairs { "traced", "jit" } do
  cases[#cases + 1] = {
    name = "scalar program of 10,000 operations, value and gradient, " .. how,
    make = function()
      local f = gl.value_and_grad(program, "all")
      if how == "jit" then f = gl.jit(f) end
      return function() return (f(table.unpack(inputs))) end
    end,
  }
end
cases[#cases + 1] = { name = "call of a jitted product of a number", make = function() return jit_call(1.5) end }
cases[#cases + 1] = { name = "call of a jitted product of a tensor", make = function() return jit_call(gl.tensor(1.5)) end }
return cases

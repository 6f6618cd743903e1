-- Gradient through 100 steps of Runge-Kutta 4 of 1,000 coupled oscillators.
local gl = require "gradlua"
local inputs = require "inputs"

local function field(y) return y:roll(1, 1):sin() - y end

local function final(y)
  local h = 0.01
  for _ = 1, 100 do
    local a = field(y)
    local b = field(y + h / 2 * a)
    local c = field(y + h / 2 * b)
    local d = field(y + h * c)
    y = y + h / 6 * (a + 2 * b + 2 * c + d)
  end
  return y:square():sum()
end

local cases = {}
for _, how in ipairs { "traced", "jit" } do
  cases[#cases + 1] = { name = "RK4, 100 steps, n = 1,000, gradient, " .. how, make = function()
    local y = inputs.fill({ 1000 }, 1)
    local f = gl.grad(final)
    if how == "jit" then f = gl.jit(f) end
    return function() return f(y)[1] end
  end }
end
return cases

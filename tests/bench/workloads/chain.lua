-- Value and gradient of elementwise chains: one with transcendental functions, one of nine arithmetic instructions.
local gl = require "gradlua"
local inputs = require "inputs"

local function transcendental(x)
  return ((0.5 * x + 0.1):tanh() * (-x:square() / 2):exp() + x:square():log1p()):sum()
end

local function arithmetic(x)
  local y = x * 1.5 + 0.25
  local z = y * x - 0.5
  return (z * y + x * z):sum()
end

local cases = {}
for _, entry in ipairs { { "transcendental chain", transcendental }, { "arithmetic chain", arithmetic } } do
  for _, n in ipairs { 10, 1000, 100000, 1000000 } do
    local x = inputs.fill({ n }, 1)
    for _, how in ipairs { "traced", "jit" } do
      cases[#cases + 1] = { name = ("%s, n = %d, %s"):format(entry[1], n, how), make = function()
        local f = gl.value_and_grad(entry[2])
        if how == "jit" then f = gl.jit(f) end
        return function()
          local value = f(x)
          return value
        end
      end }
    end
  end
end
return cases

-- What one small operation costs, outside and inside a transform.
local gl = require "gradlua"
local inputs = require "inputs"

local repeats = 1000

--- A step that does one operation 1,000 times.
local function each(name, make)
  return { name = name .. " (1,000 of them)", make = make }
end

return {
  each("eager scalar add", function()
    local a, b = gl.tensor(1.5), gl.tensor(2.5)
    return function()
      local c
      for _ = 1, repeats do c = a + b end
      return c
    end
  end),
  each("eager add of 256 doubles", function()
    local a, b = inputs.fill({ 256 }, 1), inputs.fill({ 256 }, 2)
    return function()
      local c
      for _ = 1, repeats do c = a + b end
      return c:sum()
    end
  end),
  each("eager sin of 256 doubles", function()
    local a = inputs.fill({ 256 }, 1)
    return function()
      local c
      for _ = 1, repeats do c = a:sin() end
      return c:sum()
    end
  end),
  each("op recorded in a transform, gradient included", function()
    local gradient = gl.grad(function(x)
      for _ = 1, repeats do x = x * 1.0001 end
      return x
    end)
    return function() return gradient(1.5) end
  end),
}

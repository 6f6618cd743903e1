-- Structured functions against PyTorch: tests/data/ops_reference.tsv, made by scripts/ops_reference.py.
local gl = require "gradlua"

local function ramp(f, ...)
  local n = 1
  for _, extent in ipairs { ... } do n = n * extent end
  return f(gl.arange(0, n - 1)):reshape(...)
end

local x0 = ramp(function(i) return (i * 0.7 + 0.1):cos() end, 3, 4)
local env = {
  gl = gl,
  math = math,
  y = ramp(function(i) return (i * 0.3 + 0.2):sin() end, 4, 2),
  t = ramp(function(i) return (i * 1.1):cos() end, 2, 3, 4),
  p = gl.tensor({ 3, 1, 3 }, { dtype = "i64" }),
  q = gl.tensor({ { 1, 3, 2, 2 }, { 2, 2, 1, 3 } }, { dtype = "i64" }),
}
local mask = gl.tensor { { 1, 0, 1, 1 }, { 1, 1, 1, 1 }, { 1, 1, 0, 1 } }

local function numbers(text)
  local list = {}
  for number in text:gmatch "[^ ]+" do list[#list + 1] = tonumber(number) end
  return list
end

--- The expression as a function of x.
local function compile(expression)
  return function(x)
    local scope = setmetatable({ x = x, z = x * mask }, { __index = env })
    return assert(load("return " .. expression, expression, "t", scope))()
  end
end

local function expect(got, want, what)
  local flat = got:to("f64"):flatten():totable()
  assert.equal(#want, #flat, what)
  for i, value in ipairs(want) do assert.near(value, flat[i], 1e-12 * (1 + math.abs(value)), what .. " " .. i) end
end

describe("as PyTorch has it:", function()
  for line in io.lines "tests/data/ops_reference.tsv" do
    local expression, extents, value, gradient = line:match "^(.-)\t(.-)\t(.-)\t(.-)$"
    it(expression, function()
      local f = compile(expression)
      local result = f(x0)
      if extents == "-" then extents = "" end
      assert.equal(extents, table.concat(result:shape(), " "))
      expect(result, numbers(value), "element")
      if gradient == "-" then return end
      local c = ramp(function(i) return (i * 1.3):cos() end, result:numel()):reshape(result:shape())
      expect(gl.grad(function(x) return (f(x) * c):sum() end)(x0), numbers(gradient), "slope")
    end)
  end
end)

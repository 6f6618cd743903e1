-- Elementwise functions and operators: dtypes, broadcasting, plain numbers, traps.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

describe("integers", function()
  local big = 9007199254740993 -- 2^53 + 1, which no double holds
  local x = gl.tensor({ big, 2 }, { dtype = "i64" })

  local function is(want, got)
    assert.are.equal("i64", got:dtype())
    assert.are.same(want, got:totable())
  end

  it("of 64 bits are exact next to i64 tensors", function()
    is({ big + 7, 9 }, x + 7)
    is({ big + big, big + 2 }, x + big)
    is({ 0, big - 2 }, big - x)
    is({ 1, big // 2 }, big // x)
    is({ 0, big % 2 }, big % x)
    is({ big, big }, x:maximum(big))
    is({ big + math.mininteger, 2 + math.mininteger }, x + math.mininteger)
    is({ big + math.maxinteger, 2 + math.maxinteger }, x + math.maxinteger)
    is({ big, 5 }, x:clamp(5, big + 2))
    is({ big + 2, 2 }, gl.where(gl.tensor { true, false }, big + 2, x))
    assert.are.same({ false, false }, x:eq(big - 1):totable())
    assert.are.same({ true, false }, x:gt(big - 1):totable())
  end)

  it("of 64 bits are exact in fillings, assignments and comparisons", function()
    is({ big, big }, gl.full({ 2 }, big, { dtype = "i64" }))
    is({ big, big }, gl.full_like(x, big))
    is({ big, big }, x:clone():fill_(big))
    is({ 7, big }, x:put(1, 7):put(2, big))
    is({ big, 2 }, x:put(gl.tensor { true, false }, big))
    local y = x:clone()
    y[gl.tensor({ 2 }, { dtype = "i64" })] = big
    is({ big, big }, y)
    is({ big - 1, big, big + 1 }, gl.arange(big - 1, big + 1, { dtype = "i64" }))
    is({ math.maxinteger, -1 }, gl.arange(math.maxinteger, math.mininteger, math.mininteger, { dtype = "i64" }))
    is({}, gl.arange(1, 0, { dtype = "i64" }))
    assert.is_true(x[1] > big - 1 and x[1] <= big and not (x[1] < big))
  end)

  it("of 64 bits are exact in transforms", function()
    local f = function(v) return (v * (x + big):sub(2 * big - 3):to("f64")):sum() end
    assert.are.equal(8 - big, gl.grad(f)(1.0))
    is({ big + 3, 5 }, gl.jit(function(v) return v + 3 end)(x))
    is({ big + big, big + 2 }, gl.jit(function(v) return v + big end)(x))
    is({ big + big, big + 2 }, gl.vmap(function(v) return v + big end)(x))
  end)

  it("become f64 next to a fraction, and refuse one in their place", function()
    assert.are.equal("f64", (x + 0.5):dtype())
    local y = gl.tensor({ 1, 2 }, { dtype = "i64" })
    raises(function() y:fill_(0.5) end, "fill_", "integer", "0.5")
    raises(function() y:pad({ { 1, 1 } }, { value = 0.5 }) end, "pad", "integer", "0.5")
    raises(function() y[1] = 1e30 end, "integer", "1e+30")
    raises(function() gl.full({ 2 }, 1.5, { dtype = "i64" }) end, "full", "integer")
  end)
end)

describe("operators", function()
  local x = gl.tensor { 1, -2, 3 }

  it("work with tensors and numbers on either side", function()
    near({ 2, -1, 4 }, x + 1)
    near({ 0, 3, -2 }, 1 - x)
    near({ 1, 4, 9 }, x * x)
    near({ 2, -1, 2 / 3 }, 2 / x)
    near({ 1, 4, 9 }, x ^ 2)
    near({ 2, 0.25, 8 }, 2 ^ x)
    near({ 0, -1, 1 }, x // 2)
    near({ 1, 0, 1 }, x % 2)
    near({ -1, 2, -3 }, -x)
    assert.are.same({ true, false, true }, (x:gt(0) & x:lt(5)):totable())
    assert.are.same({ false, true, false }, (~x:gt(0) | x:gt(9)):totable())
  end)

  it("give numbers for 0-d comparisons, and refuse others", function()
    assert.is_true(gl.tensor(1) < gl.tensor(2))
    assert.is_true(gl.tensor(1) <= 1)
    assert.is_true(3 > gl.tensor(2))
    raises(function() return x < 2 end, "a:lt(b)", "f64 3")
    raises(function() return 2 >= x end, "a:le(b)")
  end)

  it("broadcast like NumPy", function()
    near({ { 11, 21 }, { 12, 22 } }, gl.tensor { { 1 }, { 2 } } + gl.tensor { 10, 20 })
    assert.are.same({ 2, 0 }, (gl.zeros(2, 1) + gl.zeros(0)):shape())
    raises(function() return x + gl.zeros(2) end, "add", "3", "2")
    raises(function() return x + {} end, "add", "table")
    raises(function() return x + "1" end, "add", "string")
  end)

  it("promote dtypes", function()
    local f32, i64, bool = gl.ones(1, { dtype = "f32" }), gl.ones(1, { dtype = "i64" }), gl.tensor { true }
    assert.are.equal("f32", (f32 + 1.5):dtype())
    assert.are.equal("f64", (f32 + gl.ones(1)):dtype())
    assert.are.equal("f32", (f32 + i64):dtype())
    assert.are.equal("i64", (i64 + 2):dtype())
    assert.are.equal("f64", (i64 + 0.5):dtype())
    assert.are.equal("f64", (i64 / 2):dtype())
    assert.are.equal("i64", (bool + bool):dtype())
    assert.are.equal("f64", i64:sqrt():dtype())
    assert.are.equal("bool", i64:eq(1):dtype())
    raises(function() return i64 // 0 end, "zero")
  end)

  it("read any layout", function()
    local m = gl.arange(6):reshape(2, 3)
    near({ { 2, 6 }, { 4, 8 }, { 6, 10 } }, m:t() + m:t()[{ {}, { 1, 2 } }] + gl.tensor { 0, -2 })
    near({ 6, 4, 2 }, m[{ 1, { -1, 1, -1 } }] * 2)
    near({ 2, 2, 2 }, gl.ones(1):expand(3) + 1)
    near(gl.arange(1000):reshape(10, 100):t():sin(), gl.arange(1000):sin():reshape(10, 100):t())
  end)
end)

describe("functions", function()
  it("of plain numbers give plain numbers", function()
    assert.are.equal(math.sin(0.5), gl.sin(0.5))
    assert.is_true(gl.lt(1, 2))
    assert.are.equal(2.0, gl.maximum(1, 2))
    assert.are.equal(2.0, gl.where(false, 1, 2))
    assert.are.equal(3.0, gl.clamp(5, nil, 3))
    near(0.8413447460685429, gl.gelu(1))
  end)

  it("are methods too", function()
    near(gl.exp(gl.tensor { 1, 2 }), gl.tensor({ 1, 2 }):exp())
    near({ 1, 20 }, gl.tensor({ true, false }):where(gl.tensor { 1, 2 }, gl.tensor { 10, 20 }))
  end)

  it("keep their digits where naive formulas lose them", function()
    near(1e-20, gl.log1p(1e-20))
    near(800, gl.softplus(800))
    near(-800, gl.logsigmoid(-800))
    near(0, gl.sigmoid(-800))
    near(1000 + math.log(2), gl.logaddexp(1000, 1000))
    near(5e200, gl.hypot(3e200, 4e200))
  end)

  it("have parameters", function()
    near({ -0.2, 3 }, gl.leaky_relu(gl.tensor { -2, 3 }, 0.1))
    near({ -0.02, 3 }, gl.leaky_relu(gl.tensor { -2, 3 }))
    near({ 2 * math.exp(-1) - 2, 1 }, gl.elu(gl.tensor { -1, 1 }, 2))
    near({ -1, 0.5, 1 }, gl.hardtanh(gl.tensor { -3, 0.5, 3 }))
    for _, limit in ipairs { "hardtanh", "relu" } do
      local whole = gl[limit](gl.tensor({ -3, 0, 1 }, { dtype = "i64" }))
      assert.are.equal("i64", whole:dtype(), limit)
      near({ limit == "relu" and 0 or -1, 0, 1 }, whole)
    end
    near({ 0, 1, 2 }, gl.tensor({ -5, 1, 9 }):clamp(0, 2))
    near(0.8411919906082768, gl.gelu(1, { approximate = "tanh" }))
    assert.are.equal("f32", gl.elu(gl.ones(2, { dtype = "f32" })):dtype())
    assert.are.same({ 1, 2 }, gl.tensor({ 1, 5 }, { dtype = "i64" }):clamp(nil, 2):totable())
    raises(function() gl.gelu(1, { approximate = "erf" }) end, "approximate", "tanh")
    raises(function() gl.clamp(gl.tensor(1)) end, "bound")
  end)

  it("have the slopes that the contract names", function()
    local function slope(f, x) return gl.grad(f)(x) end
    assert.are.equal(0, slope(gl.relu, 0))
    assert.are.equal(0, slope(gl.abs, 0))
    assert.are.equal(1, slope(function(x) return x:clamp(0, 2) end, 2))
    assert.are.equal(0.5, slope(function(x) return gl.maximum(x, 1) end, 1))
    assert.are.equal(0, slope(function(x) return x ^ 2 end, 0))
    assert.are.equal(0, slope(function(x) return gl.where(x:gt(0), x:log(), 0 * x) end, 0))
    assert.are.equal(-3, slope(function(x) return 7 % x end, 2))
  end)
end)

describe("in place", function()
  it("functions with parameters work as their pure forms do", function()
    for _, case in ipairs { { "clamp", -1, 1 }, { "leaky_relu", 0.1 }, { "elu" }, { "selu" }, { "gelu", { approximate = "tanh" } },
      { "silu" }, { "hardtanh" } } do
      local name = case[1]
      local x = gl.tensor { -2, -0.5, 0.5, 2 }
      local want = x[name](x, table.unpack(case, 2))
      assert.is_true(rawequal(x, x[name .. "_"](x, table.unpack(case, 2))))
      near(want, x)
    end
    raises(function() gl.ones(2):clamp_(0, gl.ones(3, 2)) end, "clamp_", "3 x 2")
    raises(function() gl.tensor({ 1 }, { dtype = "i64" }):silu_() end, "silu_", "f64", "i64")
    raises(function() gl.tensor({ true }):add_(1) end, "add_", "i64 1", "bool 1")
  end)

  it("empty tensors may be assigned to", function()
    local x = gl.zeros(2, 0, 3)
    x[{ { 1, 2 } }] = 1
    assert.are.same({ 2, 0, 3 }, x:shape())
  end)
end)


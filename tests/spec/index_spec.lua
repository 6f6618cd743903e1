-- Reading and writing parts of tensors.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

local function positions(...) return gl.tensor({ ... }, { dtype = "i64" }) end

describe("x[i]", function()
  local x = gl.arange(24):reshape(2, 3, 4)

  it("takes numbers from either end", function()
    near({ 5, 6, 7, 8 }, x[{ 1, 2 }])
    near(24, x[{ -1, -1, -1 }])
    near(x[2], x[-1])
    near(x[{ 2, 3 }], x[2][3])
    near(x[1], x[1.0])
  end)

  it("takes ranges", function()
    near({ { 2, 3 }, { 6, 7 }, { 10, 11 } }, x[{ 1, {}, { 2, 3 } }])
    near({ 1, 3 }, x[{ 1, 1, { 1, 4, 2 } }])
    near({ 4, 3, 2, 1 }, x[{ 1, 1, { -1, 1, -1 } }])
    near({ 4, 2 }, x[{ 1, 1, { 4, 1, -2 } }])
    assert.are.same({ 2, 0, 4 }, x[{ {}, { 3, 2 } }]:shape())
    assert.are.same({ 2, 3, 4 }, x[{}]:shape())
  end)

  it("takes masks", function()
    near({ 23, 24 }, x[x:gt(22)])
    assert.are.same({ 0 }, x[x:gt(99)]:shape())
    near({ { 1, 2, 3, 4 }, { 9, 10, 11, 12 } }, x[{ 1, gl.tensor { true, false, true } }])
    near({ { 5, 6, 7, 8 } }, x[gl.tensor { { false, true, false }, { false, false, false } }])
  end)

  it("takes positions, whose shape replaces the axis", function()
    near({ { 3, 1 }, { 7, 5 }, { 11, 9 } }, x[{ 1, {}, positions(3, 1) }])
    assert.are.same({ 2, 2, 3, 4 }, x[positions(1, 2, 2, 1):reshape(2, 2)]:shape())
    near(x[2], x[positions(-1)][1])
    near({ 1, 18, 24 }, x[{ positions(1, 2, 2), positions(1, 2, 3), positions(1, 2, 4) }])
    -- two in one index go pairwise; not neighbours: in front, as in NumPy
    assert.are.same({ 2, 3 }, x[{ positions(1, 2), {}, positions(4, 4) }]:shape())
    near({ { 4, 8, 12 }, { 16, 20, 24 } }, x[{ positions(1, 2), {}, positions(4, 4) }])
    assert.are.same({ 2, 2 }, x[{ {}, positions(1, 2), positions(4, 4) }]:shape())
  end)

  it("says what is wrong", function()
    raises(function() return x[0] end, "index 0", "Lua counts from 1")
    raises(function() return x[3] end, "out of range", "2 x 3 x 4")
    raises(function() return x[{ 1, 1, 1, 1 }] end, "4 indices", "2 x 3 x 4")
    raises(function() return x[{ { 1 } }] end, "no range")
    raises(function() return x[{ { 1, 2, 0 } }] end, "step")
    raises(function() return x[1.5] end, "index")
    raises(function() return x[gl.tensor { 1, 2 }] end, "i64")
    raises(function() return x[gl.tensor { true }] end, "mask", "2 x 3 x 4")
    raises(function() return x[positions(3)] end, "3")
    raises(function() return x[positions(0)] end, "1")
    raises(function() return gl.tensor(1)[1] end, "0-d", "item")
  end)
end)

describe("x[i] = v", function()
  it("writes numbers, rows and pieces", function()
    local x = gl.zeros(2, 3)
    x[1] = 1
    x[{ 2, 3 }] = 7
    x[{ {}, 1 }] = gl.tensor { 8, 9 }
    near({ { 8, 1, 1 }, { 9, 0, 7 } }, x)
    x[{ 2, { 1, 3, 2 } }] = 4
    near({ { 8, 1, 1 }, { 4, 0, 4 } }, x)
    x[x:eq(4)] = -1
    near({ { 8, 1, 1 }, { -1, 0, -1 } }, x)
    x[{ 1, positions(3, 2) }] = gl.tensor { 30, 20 }
    near({ { 8, 20, 30 }, { -1, 0, -1 } }, x)
  end)

  it("reads an overlapping source before it writes", function()
    local x = gl.arange(5)
    x[{ { 2, 5 } }] = x[{ { 1, 4 } }]
    near({ 1, 1, 2, 3, 4 }, x)
  end)

  it("refuses what does not fit", function()
    local x = gl.zeros(2, 3)
    raises(function() x[1] = gl.zeros(2) end, "shape 2", "shape 3")
    raises(function() x[1] = "a" end, "number or a tensor")
    raises(function() x.name = 1 end, "name")
  end)
end)

describe("x:put", function()
  it("gives an updated copy", function()
    local x = gl.tensor { 1, 2, 3 }
    near({ 1, 9, 3 }, x:put(2, 9))
    near({ 0, 2, 0 }, x:put(gl.tensor { true, false, true }, 0))
    near({ 5, 2, 4 }, x:put(positions(1, 3), gl.tensor { 5, 4 }))
    near({ 1, 2, 3 }, x)
    near({ { 1, 0 }, { 1, 0 } }, gl.ones(2, 2):put({ {}, 2 }, 0))
  end)

  it("is differentiable in both", function()
    local dx, dv = gl.grad(function(x, v) return (x:put({ { 2, 3 } }, v) ^ 2):sum() end, { 1, 2 })(
      gl.tensor { 1, 2, 3 }, gl.tensor { 4, 5 })
    near({ 2, 0, 0 }, dx)
    near({ 8, 10 }, dv)
  end)
end)

describe("indexing under grad", function()
  it("scatters back", function()
    local x = gl.arange(6):reshape(2, 3)
    near({ { 0, 1, 0 }, { 2, 0, 0 } }, gl.grad(function(y) return y[{ 1, 2 }] + 2 * y[{ -1, 1 }] end)(x))
    near({ { 0, 0, 0 }, { 8, 10, 12 } }, gl.grad(function(y) return (y[y:gt(3)] ^ 2):sum() end)(x))
    near({ { 2, 0, 0 }, { 0, 0, 1 } }, gl.grad(function(y)
      return y[{ positions(1, 1, 2), positions(1, 1, 3) }]:sum()
    end)(x))
  end)
end)

describe("x:put(mask, v) in a recorded function", function()
  local function positive(x, v) return x:put(x:gt(0), v) end
  local x = gl.tensor { 1, -2, 3 }

  it("needs no values while recording", function()
    near({ 0, -2, 0 }, gl.jit(positive)(x, 0))
    near({ 7, -2, 8 }, gl.jit(positive)(x, gl.tensor { 7, 8 }))
    near({ { 9, -1 }, { 0, 9 } }, gl.vmap(function(row) return positive(row, 9) end)(gl.tensor { { 1, -1 }, { 0, 2 } }))
    near({ { 1, 2 }, { 9, 8 } }, gl.jit(function(m, v) return m:put(m:sum(2):gt(3), v) end)(
      gl.tensor { { 1, 2 }, { 3, 4 } }, gl.tensor { 9, 8 }))
  end)

  it("is differentiable in both", function()
    local function f(y, v) return (positive(y, v) * gl.tensor { 1, 10, 100 }):sum() end
    local dx, dv = gl.jit(gl.grad(f, { 1, 2 }))(x, gl.tensor { 7, 8 })
    near({ 0, 10, 0 }, dx)
    near({ 1, 100 }, dv)
  end)

  it("refuses values that are no rows for the true elements", function()
    raises(function() gl.jit(positive)(x, gl.ones(3)) end, "2 true elements, the value has 3")
    raises(function() gl.jit(function(y, v) return y:put(y:gt(0), v) end)(x, gl.ones(2, 2)) end, "shape 2 x 2")
  end)
end)

describe("writing numbers into i64", function()
  it("keeps whole numbers exactly and refuses others", function()
    local x = positions(1, 2)
    x[1] = 2 ^ 53 | 0
    x[2] = (1 << 53) + 1
    assert.are.same({ 1 << 53, (1 << 53) + 1 }, x:totable())
    assert.is_truthy(tostring(x):find("9007199254740993", 1, true))
    raises(function() x[1] = 2.5 end, "must be an integer")
    raises(function() return x:put(1, 2.5) end, "got 2.5")
    raises(function() return x:put(x:gt(1), 0.5) end, "got 0.5")
    raises(function() return x:fill_(0 / 0) end, "fill_: the value must be an integer")
    raises(function() return gl.full({ 2 }, 2.5, { dtype = "i64" }) end, "full: the value must be an integer")
    raises(function() return gl.full_like(x, 2.5) end, "full_like: the value must be an integer")
  end)
end)

describe("nonzero", function()
  it("gives a row of positions for each", function()
    assert.are.same({ { 1, 2 }, { 2, 1 } }, gl.tensor({ { 0, 3 }, { 4, 0 } }):nonzero():totable())
    assert.are.same({ 0, 1 }, gl.zeros(3):nonzero():shape())
  end)
end)

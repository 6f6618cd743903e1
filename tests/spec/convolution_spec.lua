local gl = require "gradlua"
local raises = require("tests.spec.support").raises

local function shape(x) return table.concat(x:shape(), " ") end

describe("convolution", function()
  it("slides a kernel over a signal", function()
    local y = gl.conv1d(gl.arange(1, 5):reshape(1, 1, 5), gl.tensor { { { 1, 10 } } })
    assert.same({ { { 21, 32, 43, 54 } } }, y:totable())
  end)

  it("takes options as a number or one an axis", function()
    local x, w = gl.randn(2, 4, 9, 8), gl.randn(6, 2, 3, 3)
    assert.equal("2 6 5 4", shape(gl.conv2d(x, w, { stride = 2, padding = 1, groups = 2 })))
    assert.equal("2 6 5 6", shape(gl.conv2d(x, w, { stride = { 2, 1 }, padding = { 1, 0 }, groups = 2 })))
  end)

  it("adds a bias to each channel", function()
    local x, w = gl.randn(2, 3, 5, 5), gl.randn(4, 3, 2, 2)
    local y = gl.conv2d(x, w, { bias = gl.tensor { 1, 2, 3, 4 } }) - gl.conv2d(x, w)
    assert.near(80, y:sum(2):sum(1):sum():item() / 4, 1e-9)
  end)

  it("refuses a bias of another length", function()
    raises(function() gl.conv1d(gl.ones(1, 2, 5), gl.ones(4, 2, 3), { bias = gl.ones(3) }) end,
      "conv1d: bias", "4 output channels", "got shape 3")
  end)

  it("differentiates by the bias when nothing else is traced", function()
    local x, w = gl.randn(2, 3, 5, 5), gl.randn(4, 3, 2, 2)
    local g = gl.grad(function(b) return gl.conv2d(x, w, { bias = b }):sum() end)(gl.zeros(4))
    assert.same({ 32, 32, 32, 32 }, g:totable())
  end)

  it("has derivatives of both orders", function()
    local x, w = gl.randn(1, 2, 5, 5), gl.randn(3, 2, 2, 2)
    local function f(v) return gl.avg_pool2d(gl.conv2d(x, v, { padding = 1 }):tanh(), 2):square():sum() end
    assert.is_true((gl.gradcheck(f, w)))
    assert.is_true((gl.gradcheck(f, w, { order = 2 })))
  end)

  it("gives a gradient for each example", function()
    local x, w = gl.randn(3, 2, 5, 5), gl.randn(4, 2, 3, 3)
    local function loss(v, one) return gl.conv2d(one:unsqueeze(1), v):square():sum() end
    local all = gl.vmap(gl.grad(loss), { in_axes = { false, 1 } })(w, x)
    for i = 1, 3 do
      local difference = (all[i] - gl.grad(loss)(w, x[i])):abs():max():item()
      assert.is_true(difference < 1e-10)
    end
  end)

  it("reads a part of a plane as its copy, also where rows are as far apart as there are windows", function()
    local whole, w = gl.randn(2, 3, 7, 8), gl.randn(4, 3, 3, 3)
    for _, columns in ipairs { { 1, 6 }, { 2, 7 }, { 3, 8 }, { 1, 8 } } do
      local part = whole[{ {}, {}, { 2, 6 }, columns }]
      for padding = 0, 3 do
        local o = { padding = { 1, padding } }
        assert.same(gl.conv2d(part:clone(), w, o):totable(), gl.conv2d(part, w, o):totable())
        local inside = gl.jit(function(x) return gl.conv2d(x[{ {}, {}, { 2, 6 }, columns }], w, o) end)
        assert.same(gl.conv2d(part:clone(), w, o):totable(), inside(whole):totable())
      end
    end
  end)

  it("pools", function()
    local x = gl.arange(1, 16):reshape(1, 1, 4, 4)
    assert.same({ { { { 6, 8 }, { 14, 16 } } } }, gl.max_pool2d(x, 2):totable())
    assert.same({ { { { 3.5, 5.5 }, { 11.5, 13.5 } } } }, gl.avg_pool2d(x, 2):totable())
    assert.same({ { { { -1 } } } }, gl.max_pool2d(gl.full({ 1, 1, 1, 1 }, -1), 2, { padding = 1 }):totable())
  end)

  it("says what does not fit", function()
    local x, w = gl.randn(2, 3, 8, 8), gl.randn(4, 2, 3, 3)
    assert.error_matches(function() gl.conv2d(x, w) end, "3 channels")
    assert.error_matches(function() gl.conv2d(x, gl.randn(4, 3, 9, 9)) end, "does not fit into 8 elements")
    assert.error_matches(function() gl.conv2d(x, w, { strid = 2 }) end, 'did you mean "stride"')
    assert.error_matches(function() gl.max_pool2d(x, 2, { padding = 2 }) end, "at most half")
  end)
end)

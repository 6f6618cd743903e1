-- Making, describing, printing and changing tensors.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

describe("gl.tensor", function()
  it("takes numbers, booleans and nested tables", function()
    assert.are.same({}, gl.tensor(3):shape())
    assert.are.equal(3.0, gl.tensor(3):item())
    local x = gl.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.are.same({ 2, 3 }, x:shape())
    assert.are.equal("f64", x:dtype())
    assert.are.same({ { 1, 2, 3 }, { 4, 5, 6 } }, x:totable())
    assert.are.equal("bool", gl.tensor({ true, false }):dtype())
    assert.are.same({ true, false }, gl.tensor({ true, false }):totable())
    assert.are.same({ 0 }, gl.tensor({}):shape())
    assert.are.same({ 2, 0 }, gl.tensor({ {}, {} }):shape())
  end)

  it("takes the dtype as an option, also in the table itself", function()
    assert.are.equal("f32", gl.tensor({ 1, 2 }, { dtype = "f32" }):dtype())
    assert.are.equal("i64", gl.tensor({ 1, 2, dtype = "i64" }):dtype())
    assert.are.same({ 1, 2 }, gl.tensor({ 1, 2, dtype = "i64" }):totable())
    assert.are.equal("integer", math.type(gl.tensor(7, { dtype = "i64" }):item()))
    assert.are.equal(9007199254740993, gl.tensor(9007199254740993, { dtype = "i64" }):item())
  end)

  it("copies a tensor", function()
    local x = gl.tensor { 1, 2 }
    local y = gl.tensor(x)
    y[1] = 9
    near({ 1, 2 }, x)
  end)

  it("takes no more arguments than it has", function()
    local x = gl.ones(1)
    for _, name in ipairs { "shape", "ndim", "numel", "dtype", "item", "totable", "clone" } do
      raises(function() local _ = x[name](x, 1) end, name .. ": takes 1 argument, got 2")
    end
    raises(function() x:size(1, 2) end, "size: takes 2 arguments, got 3")
    raises(function() gl.choice(x, -1) end, "must not be negative")
    raises(function() x:tril() end, "got shape 1")
  end)

  it("stacks tensors among the entries, also inside transforms", function()
    local x = gl.tensor { 1, 2, 3 }
    near({ { 1, 2, 3 }, { 1, 2, 3 } }, gl.tensor { x, x })
    near({ { 6, 1 }, { 2, 3 } }, gl.tensor { { x:sum(), 1 }, { 2, x[3] } })
    near({ { 5, 6 }, { 1, 2 } }, gl.tensor { { 5, 6 }, x[{ { 1, 2 } }] })
    assert.are.equal("f32", gl.tensor({ 1, x[2]:to("f32") }):dtype())
    assert.are.equal("f32", gl.tensor({ 1, x[2], dtype = "f32" }):dtype())
    assert.are.same({ true, false }, gl.tensor({ x[1]:eq(1), x[1]:eq(2) }):totable())
    local y = gl.tensor { x }
    y[{ 1, 1 }] = 9
    near({ 1, 2, 3 }, x)
    local function f(v) return gl.tensor { v[1] * v[2], v[2] ^ 2, 3 } end
    near({ { 3, 2 }, { 0, 6 }, { 0, 0 } }, (gl.jacobian(f)(gl.tensor { 2, 3 })))
    assert.are.equal(6, gl.grad(function(a) return gl.tensor({ { a, 1 }, { 2, a } }):det() end)(3))
    near({ { 1, 2 }, { 1, 2 } }, gl.jit(function(v) return gl.tensor { { v[1], v[2] }, { 1, 2 } } end)(x))
    near({ { 1, 2, 1 }, { 2, 4, 1 }, { 3, 6, 1 } }, gl.vmap(function(v) return gl.tensor { v, v * 2, 1 } end)(x))
    assert.are.equal("f32", gl.jit(function(v) return gl.tensor(v, { dtype = "f32" }) end)(x):dtype())
  end)

  it("are said to be 0-d in messages, and what is none is named as in the reference", function()
    local flag = gl.tensor(true)
    raises(function() flag:add_(1.5) end, "bool 0-d")
    assert.are.equal("5  (f64 0-d)", tostring(gl.tensor(5)))
    raises(function() gl.reshape(5, 1) end, "reshape: x must be a tensor, got 5")
  end)

  it("refuses tensors that do not stack", function()
    local x = gl.tensor { 1, 2, 3 }
    raises(function() gl.tensor { 1, x } end, "tensor: entry 2 of a list has the shape 3, the first one has 0-d")
    raises(function() gl.tensor { x, "a" } end, "got string")
    raises(function() gl.tensor { x, {} } end, "got table")
    local cyclic = { x }
    for i = 2, 100 do cyclic[i] = cyclic end
    raises(function() gl.tensor(cyclic) end, "more than 8 deep")
    gl.grad(function(v)
      raises(function() gl.stack(cyclic) end, "more than 8 deep")
      return v:sum()
    end)(x)
  end)

  it("refuses what is no rectangle of numbers", function()
    raises(function() gl.tensor { { 1, 2 }, { 3 } } end, "tensor:", "[2]", "ragged")
    raises(function() gl.tensor { { 1, 2 }, 3 } end, "[2]", "table")
    raises(function() gl.tensor { 1, "x" } end, "[2]", "number", "string")
    raises(function() gl.tensor { 1, nil, 3 } end, "nil")
    raises(function() gl.tensor("x") end, "number or a nested table")
    raises(function() gl.tensor({ 1.5 }, { dtype = "i64" }) end, "integer")
    raises(function() gl.tensor({ 1 }, { dtype = "f16" }) end, "f64", "f16")
  end)
end)

describe("creation", function()
  it("fills", function()
    near({ { 0, 0 } }, gl.zeros(1, 2))
    near({ 1, 1, 1 }, gl.ones { 3 })
    near({ 7, 7 }, gl.full({ 2 }, 7))
    assert.are.equal("f32", gl.zeros { 2, 3, dtype = "f32" }:dtype())
    assert.are.equal("bool", gl.full({ 2 }, true):dtype())
    assert.are.same({}, gl.zeros():shape())
    near({ { 1, 0, 0 }, { 0, 1, 0 } }, gl.eye(2, 3))
    assert.are.equal("i64", gl.ones_like(gl.zeros(2, { dtype = "i64" })):dtype())
  end)

  it("counts", function()
    near({ 1, 2, 3 }, gl.arange(3))
    near({ 2, 3, 4 }, gl.arange(2, 4))
    near({ 5, 3, 1 }, gl.arange(5, 1, -2))
    near({ 0, 0.1, 0.2, 0.3 }, gl.arange(0, 0.3, 0.1))
    assert.are.same({ 0 }, gl.arange(2, 1):shape())
    assert.are.equal(11, gl.arange(0, 1, 0.1):numel())
    near({ 0, 0.5, 1 }, gl.linspace(0, 1, 3))
    near({ 4 }, gl.linspace(4, 9, 1))
    assert.are.equal(1.0, gl.linspace(0, 1, 49)[49]:item())
  end)

  it("refuses impossible shapes and unknown options", function()
    raises(function() gl.zeros(-1) end, "zeros:", "negative")
    raises(function() gl.zeros(2 ^ 40, 2 ^ 40) end, "too large")
    raises(function() gl.zeros(1, 1, 1, 1, 1, 1, 1, 1, 1) end, "at most 8")
    raises(function() gl.zeros(2, { dtyp = "f32" }) end, 'unknown option "dtyp"', 'did you mean "dtype"')
    raises(function() gl.arange(0, 1, 0) end, "not finite")
    raises(function() gl.linspace(0, 1, 0) end, "at least 1")
  end)

  it("reports a size that cannot be had, and goes on", function()
    local ok, message = pcall(gl.zeros, 2 ^ 45)
    assert.is_false(ok)
    assert.is_truthy(message:find("memory"))
    near({ 0 }, gl.zeros(1))
  end)
end)

describe("a tensor", function()
  local x = gl.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("tells what it is", function()
    assert.are.equal(2, #x)
    assert.are.equal(3, x:size(-1))
    assert.are.equal(2, x:ndim())
    assert.are.equal(6, x:numel())
    assert.is_true(gl.is_tensor(x))
    assert.is_false(gl.is_tensor {})
    raises(function() x:size(0) end, "Lua counts from 1")
    raises(function() x:size(3) end, "out of range")
    raises(function() return #gl.tensor(1) end, "0-d")
    raises(function() x:item() end, "one element", "2 x 3")
  end)

  it("converts", function()
    assert.are.same({ 1, -1 }, gl.tensor({ 1.7, -1.7 }):to("i64"):totable())
    assert.are.same({ true, false }, gl.tensor({ 3, 0 }):to("bool"):totable())
    assert.are.equal(0.10000000149011612, gl.tensor({ 0.1 }):to("f32")[1]:item())
    raises(function() x:to("double") end, "dtype", "double")
  end)

  it("suggests a method for a wrong name", function()
    raises(function() x:reshap(6) end, "reshap", "did you mean \"reshape\"")
  end)

  it("prints values, dtype and shape", function()
    assert.are.equal("[[1 2 3]\n [4 5 6]]\n(f64 2 x 3)", tostring(x))
    assert.are.equal("[1.5000 2.0000]  (f32 2)", tostring(gl.tensor({ 1.5, 2, dtype = "f32" })))
    assert.are.equal("[ true false]  (bool 2)", tostring(gl.tensor { true, false }))
    assert.are.equal("[]\n(f64 0 x 3)", tostring(gl.zeros(0, 3)))
    assert.is_truthy(tostring(gl.tensor(2.5)):find("2.5", 1, true))
    assert.is_truthy(tostring(gl.tensor { 0 / 0, 1 / 0, -1 / 0 }):find("nan +inf +%-inf"))
    assert.are.equal("loss 2.5", "loss " .. gl.tensor(2.5))
  end)

  it("summarises what is large", function()
    local text = tostring(gl.arange(1e6):reshape(1000, 1000))
    assert.is_true(#text < 1000)
    assert.is_truthy(text:find("...", 1, true))
    assert.is_truthy(text:find("1000 x 1000", 1, true))
  end)

  it("is walked along its first axis", function()
    local rows = {}
    for row in x:iter() do rows[#rows + 1] = row:sum():item() end
    assert.are.same({ 6.0, 15.0 }, rows)
  end)
end)

describe("memory", function()
  it("is shared by views and not by copies", function()
    local x = gl.arange(6):reshape(2, 3)
    local row, turned, copy = x[1], x:t(), x:clone()
    row:fill_(0)
    near({ { 0, 0, 0 }, { 4, 5, 6 } }, x)
    near({ { 0, 4 }, { 0, 5 }, { 0, 6 } }, turned)
    near({ { 1, 2, 3 }, { 4, 5, 6 } }, copy)
    turned:reshape(6):fill_(9) -- not a view: the elements lie otherwise
    near({ { 0, 0, 0 }, { 4, 5, 6 } }, x)
  end)

  it("of a view outlives its owner", function()
    for _, n in ipairs { 4, 4000 } do
      local view = gl.arange(n)[{ { 2, 3 } }]
      for _ = 1, 3 do collectgarbage() end
      for _ = 1, 100 do gl.zeros(n) end
      near({ 2, 3 }, view)
    end
  end)

  it("changes in place", function()
    local x = gl.tensor { 1, 2, 3 }
    assert.are.equal(x, x:add_(1))
    near({ 2, 3, 4 }, x)
    x:mul_(gl.tensor { 2, 2, 2 }):sub_(1):sqrt_()
    near({ math.sqrt(3), math.sqrt(5), math.sqrt(7) }, x)
    x:zero_()
    near({ 0, 0, 0 }, x)
    x:copy_(gl.tensor(5))
    near({ 5, 5, 5 }, x)
    local square = gl.arange(4):reshape(2, 2)
    square:copy_(square:t())
    near({ { 1, 3 }, { 2, 4 } }, square)
  end)

  it("refuses changes that do not fit", function()
    raises(function() gl.zeros(2):add_(gl.zeros(3)) end, "add")
    raises(function() gl.zeros(2):add_(gl.zeros(3, 2)) end, "does not fit in place")
    raises(function() gl.zeros(2, { dtype = "i64" }):add_(0.5) end, "does not fit in place")
    raises(function() gl.zeros(1):expand(3):add_(1) end, "repeats its elements")
  end)

  it("is told to the collector", function()
    collectgarbage()
    local function resident()
      local file = io.open("/proc/self/statm")
      if not file then return 0 end
      local pages = file:read("n", "n") and file:seek("set") and select(2, file:read("n", "n"))
      file:close()
      return pages * 4096
    end
    local before = resident()
    for _ = 1, 500 do local _ = gl.ones(131072) + 1 end
    assert.is_true(resident() - before < 64 * 2 ^ 20)
  end)
end)

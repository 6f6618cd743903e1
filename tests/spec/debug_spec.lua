-- gl.debug and gl.explain; lines in errors of staged programs; what may not change while a function is recorded.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

local function here() return debug.getinfo(2, "l").currentline end

describe("gl.debug", function()
  before_each(function() gl.debug(true) end)
  after_each(function() gl.debug(false) warn("@off") end)

  it("names the operation that first gave NaN or Inf, and its line", function()
    raises(function() gl.tensor({ 1, -1 }):log() end, "log gave NaN at element 2", "f64 2", "in the value")
    local line
    local f = gl.grad(function(x)
      local y = x - 1
      line = here() + 1
      return gl.log(y):sum()
    end)
    pcall(f, gl.tensor { 1, 2 })
    raises(function() f(gl.tensor { 1, 2 }) end, "log gave -Inf at element 1", "debug_spec.lua:" .. line, "in the value")
  end)

  it("is the switch of a module that is opened again, too", function()
    local loaded = {}
    for name, module in pairs(package.loaded) do
      if name:find("^gradlua") then loaded[name], package.loaded[name] = module, nil end
    end
    gl.debug(false)
    near(2, gl.ones(2):sum())
    local again = require "gradlua"
    again.debug(true)
    raises(function() again.tensor({ 1, -1 }):log() end, "log gave NaN at element 2")
    raises(function() gl.tensor({ 1, -1 }):log() end, "log gave NaN at element 2")
    for name, module in pairs(loaded) do package.loaded[name] = module end
  end)

  it("tells value from derivative", function()
    raises(function() gl.grad(function(x) return gl.sqrt(x):sum() end)(gl.tensor { 0, 1 }) end, "in the derivative")
  end)

  it("lets finite values pass, NaN that came in too", function()
    near({ 2, 4 }, gl.grad(function(x) return (x ^ 2):sum() end)(gl.tensor { 1, 2 }))
    near({ 0 / 0 }, gl.tensor { 0 / 0 } + 1)
    near({ 0, 0.5 }, gl.grad(function(x) return gl.where(x:gt(0), gl.log(x), 0):sum() end)(gl.tensor { 0, 2 }))
    assert.is_true(gl.debug(true))
  end)
end)

describe("gl.explain", function()
  it("shows program, costs and plan", function()
    local e = gl.explain(function(x, y) return (x * y):sum() end, gl.ones(300), gl.ones(300))
    assert.is_truthy(e.program:find("mul", 1, true))
    assert.is_truthy(e.plan:find("sum", 1, true))
    assert.are.equal(600.0, e.flops)
    assert.are.equal(2, e.instructions)
    assert.is_truthy(tostring(e):find("costs:", 1, true))
    local picked = gl.explain(function(x, at) return x[at]:sum() end, gl.ones(4), gl.tensor({ 1, 3 }, { dtype = "i64" }))
    assert.is_truthy(picked.program:find("gather", 1, true))
    raises(function() gl.explain(function() end, 1) end, "returned nothing")
  end)

  it("shows one pass over the rows for softmax, logsumexp, layer norm and their gradients", function()
    local x, w = gl.randn(200, 300), gl.randn(300)
    local norm = gl.nn.layer_norm(300)
    local functions = {
      softmax = gl.softmax,
      log_softmax = gl.log_softmax,
      softmax_gradient = gl.grad(function(v) return (gl.softmax(v) * w):sum() end),
      logsumexp = gl.value_and_grad(function(v) return gl.logsumexp(v, 2):sum() end),
      layer_norm = gl.value_and_grad(function(v) return (norm({ weight = w, bias = w }, v) * w):sin():sum() end),
      layer_norm_weights = gl.value_and_grad(function(v) return (norm({ weight = v, bias = w }, x) * w):sin():sum() end),
    }
    for name, f in pairs(functions) do
      assert.are.equal(1, gl.explain(f, name == "layer_norm_weights" and w or x).steps, name)
    end
  end)

  it("counts what arithmetic by hand gives", function()
    local batch, inputs, hidden = 64, 784, 128
    local x, w = gl.ones(batch, inputs, { dtype = "f32" }), gl.ones(inputs, hidden, { dtype = "f32" })
    local e = gl.explain(gl.value_and_grad(function(v) return (gl.relu(x:matmul(v)):sum()) end), w)
    local product, units = 2 * batch * inputs * hidden, batch * hidden
    assert.are.equal(2 * product + 4 * units, e.flops) -- two products; relu, its sum, the test for its slope, the choice
    local moved = 2 * (batch * inputs + inputs * hidden + units) * 4 -- by the products; the loop reads and writes units
    assert.are.equal(moved + 2 * units * 4, e.bytes_moved)
    assert.is_true(e.workspace >= 2 * units * 4)
    assert.are.equal(e.workspace + (inputs * hidden + 1) * 4, e.peak)
    assert.matches(("%d bytes of workspace, %d at the peak"):format(e.workspace, e.peak), e.plan)
    assert.is_nil(e.costs:find("broadcast", 1, true)) -- a view
    local loop = gl.explain(function(s)
      return (gl.scan(function(v, row) return (v * row):cumsum(), v end, s, gl.ones(500, 1000)))
    end, gl.ones(1000))
    assert.are.equal(500 * 2 * 1000, loop.flops)
    assert.is_true(loop.workspace >= 1000 * 8) -- v * row, inside the loop
  end)
end)

describe("a failure inside a staged program", function()
  it("names the line of the instruction, at every call", function()
    local line
    local f = gl.grad(function(A)
      line = here() + 1
      return gl.cholesky(A * 1):sum()
    end)
    pcall(f, -gl.eye(2))
    for _ = 1, 3 do
      raises(function() f(-gl.eye(2)) end, "grad:", "positive definite", "debug_spec.lua:" .. line)
    end
    local g = gl.jit(function(x, i)
      line = here() + 1
      return x:gather(1, i)
    end)
    pcall(g, gl.ones(3), gl.tensor({ 5 }, { dtype = "i64" }))
    for _ = 1, 3 do
      raises(function() g(gl.ones(3), gl.tensor({ 5 }, { dtype = "i64" })) end, "position 5", "debug_spec.lua:" .. line)
    end
  end)
end)

describe("recording", function()
  it("refuses to change tensors from outside, but not its own", function()
    local outside = gl.ones(2)
    raises(function() gl.jit(function(x) outside:add_(1) return x end)(1) end, "from outside", "gl.jit")
    raises(function() gl.vmap(function(x) outside[1] = 2 return x end)(gl.ones(3)) end, "from outside", "gl.vmap")
    raises(function() gl.jit(function(x) outside[{ { 1, 2 } }]:zero_() return x end)(1) end, "cannot be changed in place")
    near({ 1, 1 }, outside)
    near({ 10, 0 }, gl.jit(function(x) local c = gl.zeros(2) c[1] = 5 return x * c end)(2))
    near(2, gl.grad(function(x) outside:add_(1) return x * outside[1] end)(1))
  end)
end)

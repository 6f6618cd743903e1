-- Numbers that a jitted function takes: integers stay integers, and are told from floats; what needs their value says so.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

local x = gl.tensor { 1, 2, 3, 4 }

--- f and its jitted form give the same, of the same kind.
local function agrees(f, ...)
  local plain, jitted = f(...), gl.jit(f)(...)
  assert.are.equal(math.type(plain) or plain:dtype(), math.type(jitted) or jitted:dtype())
  if math.type(plain) then assert.are.equal(plain, jitted) else near(plain, jitted) end
end

describe("an integer argument of a jitted function", function()
  it("is an index", function()
    local pick = gl.jit(function(v, i) return v[i] end)
    for i = 1, 4 do near(i, pick(x, i)) end
    near(4, pick(x, -1))
    assert.are.same({ 4, 0 }, { pick:stats().hits, pick:stats().retraces })
    assert.is_false(pcall(pick, x, 5))
    assert.is_false(pcall(pick, x, 0))
    near({ 0, 0, 1, 0 }, gl.jit(gl.grad(function(v, i) return v[i] end))(x, 3))
    near({ 9, 2, 3, 4 }, gl.jit(function(v, i) return v:put(i, 9) end)(x, 1))
  end)

  it("computes as Lua's integers do", function()
    for _, f in ipairs { function(n) return n // 2 end, function(n) return n % 4 end, function(n) return n / 2 end,
      function(n) return n ^ 2 end, function(n) return n ^ -1 end, function(n) return -n end, function(n) return n * n end,
      function(n) return 2 - n end, function(n) return n + 0.5 end } do
      agrees(f, 7)
      agrees(f, -7)
    end
    agrees(function(n) return n + 1 end, 2 ^ 53 | 0)
    agrees(function(n) return n end, math.mininteger)
    agrees(function(v, n) return v + n end, gl.tensor({ 1, 2 }, { dtype = "i64" }), 3)
  end)

  it("takes the dtype of the tensors that it meets, in every function", function()
    local single = x:to("f32")
    for _, n in ipairs { 2, 1.5 } do
      agrees(function(v, k) return v * k end, single, n)
      agrees(function(v, k) return v:clamp(k, 3) end, single, n)
      agrees(function(v, k) return v:leaky_relu(k) end, single, n)
      agrees(function(v, k) return gl.where(v:gt(2), v, k) end, single, n)
      agrees(function(v, k) return gl.maximum(v, k) end, single, n)
      agrees(function(_, k) return gl.full({ 2 }, k) end, single, n)
      agrees(function(_, k) return gl.tensor(k) end, single, n)
      agrees(function(_, k) return gl.tensor { k, 1 } end, single, n)
      agrees(function(_, k) return gl.stack { gl.tensor(k), gl.tensor(k) } end, single, n)
    end
  end)

  it("is differentiated as the number that it is", function()
    local cube = function(v) return v ^ 3 end
    assert.are.equal(27.0, gl.jit(gl.grad(cube))(3))
    assert.are.equal(18.0, gl.jit(gl.hessian(cube))(3))
    near({ 27, 27 }, { gl.jit(function(n) return gl.jvp(cube, { n }, { 1 }) end)(3) })
    near({ 27, 54 }, { gl.jit(function(n) return gl.jvp(cube, { n }, { n - 1 }) end)(3) })
    near(27, gl.jit(function(n) return select(2, gl.vjp(cube, n))(1) end)(3))
    near(27, gl.jit(function(n) return select(2, gl.linearize(cube, n))(1) end)(3))
    near({ 1, 2, 3, 4 }, (gl.jit(gl.jacobian(function(v) return v * x end))(3)))
    near(6, gl.jit(gl.grad(gl.checkpoint(function(v, n) return v ^ n end)))(3, 2))
    local power = gl.custom(function(v, n) return v ^ n end,
      { vjp = function(p, c) return { c * p[2] * p[1] ^ (p[2] - 1), 0 } end })
    near(6, gl.jit(gl.grad(power))(3, 2))
    near(0, gl.jit(function(n) return gl.grad(function() return n end)(1.0) end)(3))
  end)

  it("is part of a loop's state as a float, as all numbers are", function()
    near(6, gl.jit(function(n) return gl.fori(3, function(i, s) return s + i * 0.5 end, n) end)(3))
    near(3, gl.jit(function(n) return gl.fori(n, function(i) return i end, 0) end)(3))
    assert.are.equal("float", math.type(gl.jit(function() return gl.fori(3, function(i) return i end, 0) end)()))
    near(4.5, gl.jit(function(n) return gl.fori(1, function(_, s) return { a = s.a * 1.5 } end, { a = n }).a end)(3))
    near(10.125, gl.jit(function(n)
      return gl.while_loop(function(s) return gl.lt(s, 10) end, function(s) return s * 1.5 end, n)
    end)(3))
    near(6, (gl.jit(function(n, v) return gl.scan(function(c, r) return c + r, c end, n, v) end)(3, gl.tensor { 1, 2 })))
    local choose = gl.jit(function(v, n)
      return gl.cond(v:gt(1), function(k) return k end, function(k) return k * 0.5 end, n)
    end)
    near({ 3, 1.5 }, { choose(gl.tensor(2), 3), choose(gl.tensor(0), 3) })
    near(3, gl.jit(function(v, n) return gl.cond(v:sum():gt(1), function(k) return v[k] end, function() return v[1] end, n) end)(
      x, 3))
  end)

  it("makes another program than a float, and the reason tells", function()
    local f = gl.jit(function(v, k) return (v * k):sum() end)
    near({ 20, 30, 25, 20, 35 }, { f(x, 2), f(x, 3), f(x, 2.5), f(x, 2.0), f(x, 3.5) })
    local stats = f:stats()
    assert.are.same({ 3, 1 }, { stats.hits, stats.retraces })
    assert.are.equal("argument 2: it was an integer, now it is a float", stats.reasons[1])
  end)

  it("must be static where its value is needed, and messages say so", function()
    for _, f in ipairs { function(n) return gl.zeros(n) end, function(n) return x:reshape(n, 2) end,
      function(n) return x:sum(n) end, function(n) return x:roll(n) end, function(n) return x[{ { 1, n } }] end,
      function(n) return gl.arange(1, n) end, function(n) return gl.one_hot(gl.tensor({ 1 }, { dtype = "i64" }), n) end,
      function(n) return x:norm(nil, { p = n }) end } do
      local ok, message = pcall(gl.jit(f), 2)
      assert.is_false(ok)
      assert.is_truthy(message:find("traced number", 1, true) and message:find("gl.jit", 1, true) and
        message:find("static", 1, true), message)
      pcall(f, 1) -- plain, it may be refused or not; with the value known it is the same
      assert.are.equal(pcall(f, 1), pcall(gl.jit(f, { static = 1 }), 1))
    end
    raises(function() return gl.jit(function(n) return n > 2 end)(2) end, "a < b needs a number", "static")
    local f = gl.jit(function(v, n)
      local s = 0
      for i = 1, n do s = s + v[i] end
      return s
    end, { static = 2 })
    near({ 1, 3, 6 }, { f(x, 1), f(x, 2), f(x, 3) })
  end)
end)

describe("what a jitted function reads from outside", function()
  it("is noticed when it was not there while the function was recorded", function()
    local f = gl.jit(load("return function(v) local function inner() return late_global or 1 end return v * inner() end")())
    near(x, f(x))
    _G.late_global = 3
    near(3 * x, f(x))
    assert.are.equal("the global late_global has changed", f:stats().reasons[1])
    _G.late_global = nil
    near(x, f(x))
    assert.are.equal(1, f:stats().hits)
  end)

  it("is noticed in a table of globals of its own, and in those that it stands on", function()
    local env = setmetatable({}, { __index = _G })
    local f = gl.jit(load("return function(v) return v * (own_thing or 1) end", "chunk", "t", env)())
    near(x, f(x))
    _G.own_thing = 2
    near(2 * x, f(x))
    env.own_thing = 5
    near(5 * x, f(x))
    _G.own_thing = nil
    near(5 * x, f(x))
  end)

  it("is noticed in functions with more constants than an instruction can name", function()
    local source = { "return function(v) local t = { " }
    for i = 1, 300 do source[#source + 1] = i .. ".5, " end
    source[#source + 1] = "} return v * (far_global or 1) * t[1] end"
    local f = gl.jit(load(table.concat(source))())
    near(1.5 * x, f(x))
    _G.far_global = 2
    near(3 * x, f(x))
    _G.far_global = nil
  end)

  it("is noticed in modules that it requires, whether they were loaded or not", function()
    package.preload["spec.late"] = function() return { scale = 2 } end
    local f = gl.jit(load("return function(v) return v * require 'spec.late'.scale end")())
    near(2 * x, f(x))
    require "spec.late".scale = 3
    near(3 * x, f(x))
    near(3 * x, f(x))
    require "spec.late".scale = 4
    near(4 * x, f(x))
    package.loaded["spec.late"] = { scale = 5 }
    near(5 * x, f(x))
    assert.are.equal("the module spec.late has changed", f:stats().reasons[#f:stats().reasons])
    package.loaded["spec.late"], package.preload["spec.late"] = nil, nil
  end)
end)

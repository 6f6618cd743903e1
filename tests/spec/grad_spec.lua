-- Derivatives from Lua: structure, nesting, control flow by values, closures, errors.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

describe("gl.grad", function()
  it("gives what went in", function()
    assert.are.equal(6.0, gl.grad(function(x) return x ^ 2 end)(3))
    near({ 2, 4 }, gl.grad(function(x) return (x ^ 2):sum() end)(gl.tensor { 1, 2 }))
    local g = gl.grad(function(p) return (p.w * p.layers[1].b):sum() + p.c end) {
      w = gl.tensor { 1, 2 }, layers = { { b = gl.tensor { 3, 4 }, name = "first" } }, c = 5,
    }
    near({ 3, 4 }, g.w)
    near({ 1, 2 }, g.layers[1].b)
    assert.are.equal(1.0, g.c)
    assert.is_nil(g.layers[1].name)
    assert.are.equal("f32", gl.grad(function(x) return x:sum() end)(gl.ones(2, { dtype = "f32" })):dtype())
  end)

  it("chooses arguments", function()
    local f = function(x, y) return x * y ^ 2 end
    assert.are.equal(12.0, gl.grad(f, 2)(2, 3))
    assert.are.same({ 9.0, 12.0 }, { gl.grad(f, { 1, 2 })(2, 3) })
    assert.are.same({ 12.0, 9.0 }, { gl.grad(f, { 2, 1 })(2, 3) })
    assert.are.same({ 9.0, 12.0 }, { gl.grad(f, "all")(2, 3) })
    raises(function() gl.grad(f, 0) end, "Lua counts from 1")
    raises(function() gl.grad(f, { 1, 1 }) end, "twice")
    raises(function() gl.grad(f, 3)(1, 2) end, "argument 3", "only 2")
    raises(function() gl.grad(f, "some") end, "argnums")
  end)

  it("value_and_grad passes further results through", function()
    local v, g, more, name = gl.value_and_grad(function(x) return x ^ 2, { twice = 2 * x, z = 1 }, "name" end)(3)
    assert.are.same({ 9.0, 6.0, 6.0, "name" }, { v, g, more.twice, name })
    v = gl.value_and_grad(function(x) return x:sum() end)(gl.ones(2))
    assert.is_true(gl.is_tensor(v))
  end)

  it("hands an argument that comes back as a further result on as that very tensor", function()
    local x, p = gl.ones(2), { a = gl.ones(2), b = 3 }
    local _, _, _, same, parts = gl.value_and_grad(function(t, q) return (t * q.a * q.b):sum(), t, { q, q.a * 2 } end, "all")(x, p)
    assert.is_true(rawequal(x, same) and rawequal(p.a, parts[1].a))
    assert.are.same({ 2, 2 }, parts[2]:totable())
    local _, _, again = gl.jvp(function(t) return t:sum(), t end, { x }, { x })
    assert.is_true(rawequal(x, again))
    local inner = gl.grad(function(t)
      local _, _, back = gl.value_and_grad(function(s) return s:sum(), s end)(t)
      return (back * back):sum()
    end)(x)
    assert.are.same({ 2, 2 }, inner:totable())
  end)

  it("follows ordinary control flow", function()
    local function f(x)
      local y, n = x, 0
      while y < 100 do y, n = y * x, n + 1 end
      if n > 3 then return y end
      return 0 * y
    end
    near(5 * 3 ^ 4, gl.grad(f)(3))
    local seen
    near(12, gl.grad(function(x) seen = (x * 2):item() return x * x * 3 end)(2))
    assert.are.equal(4.0, seen)
    near(1, gl.grad(function(x) assert.is_truthy(tostring(x):find("7")) return x end)(7))
  end)

  it("nests without confusing perturbations", function()
    near(1, gl.grad(function(x) return x * gl.grad(function(y) return x + y end)(1) end)(1))
    near(24 * 2, gl.grad(gl.grad(gl.grad(function(x) return x ^ 4 end)))(2))
    near(7, gl.grad(function(x)
      return x * gl.grad(function(y) return x * y ^ 2 / 2 end)(3.5)
    end)(1))
    near(-math.sin(1), gl.grad(gl.grad(gl.sin))(1))
  end)

  it("is zero where nothing depends on the argument", function()
    assert.are.equal(0.0, gl.grad(function() return 3 end)(1))
    near({ 0, 0 }, gl.grad(function(_, y) return y end)(gl.ones(2), 5))
    near({ 0, 0 }, gl.grad(function(x) return gl.stop_gradient(x):sum() end)(gl.ones(2)))
  end)

  it("sees a captured tensor as it was when it was used", function()
    local t = gl.tensor { 1, 2 }
    local g = gl.grad(function(x)
      local y = x * t[1]
      t:fill_(10)
      return y * t[2]
    end)(3)
    near(10, g)
    local big = gl.ones(3000)
    near(3000, gl.grad(function(x)
      local y = (x * big):sum()
      big:zero_()
      return y
    end)(1))
    near(0, big:sum())
  end)

  it("may be yielded from, and traces interleave", function()
    local function start(k)
      return coroutine.wrap(function()
        return gl.grad(function(x)
          local y = x * k
          coroutine.yield("paused")
          return y * x
        end)(3)
      end)
    end
    local a, b = start(1), start(10)
    a()
    b()
    assert.are.equal(60.0, b())
    assert.are.equal(6.0, a())
  end)

  it("is not disturbed by errors inside", function()
    for _ = 1, 3 do
      assert.is_false(pcall(gl.grad(function(x) error("mine " .. x) end), 1))
    end
    near(5, gl.grad(function(x)
      pcall(function() return x + gl.zeros(3) + gl.zeros(2) end)
      return 5 * x
    end)(1))
    do
      local abandoned = coroutine.wrap(function() gl.grad(function(x) coroutine.yield() return x end)(1) end)
      abandoned()
    end
    collectgarbage()
    near(2, gl.grad(function(x) return 2 * x end)(1))
  end)

  it("says what it needs", function()
    raises(function() gl.grad(function(x) return x end)(gl.ones(2)) end, "grad:", "f64 2", "sum()")
    raises(function() gl.grad(function() end)(1) end, "returned nothing")
    raises(function() gl.grad(function() return "x" end)(1) end, "string")
    raises(function() gl.grad(function(x) return x:gt(1) end)(1) end, "bool")
    raises(function() gl.grad(function(x) return x end)("x") end, "argument 1")
    raises(function() gl.grad(function(x) return x end)() end, "argument 1", "given")
    raises(function() gl.grad(function(x) return x:sum() end)(gl.ones(2, { dtype = "i64" })) end, "i64")
    raises(function() gl.grad(3) end, "function")
    local loop = {}
    loop.self = loop
    raises(function() gl.grad(function(p) return p.x end)(loop) end, "nested", "contain itself")
    raises(function() gl.grad(function() return 1 end) { [{}] = 1 } end, "key")
    local kept
    gl.grad(function(x) kept = x return x end)(1)
    raises(function() return kept + 1 end, "was kept after its transform")
    raises(function() return gl.grad(function(x) gl.zeros(1):add_(x) return x end)(1) end, "in place")
    raises(function() return gl.grad(function(x) x:add_(1) return x end)(1) end, "in place")
    raises(function() return gl.grad(function(x) local t = gl.zeros(2) t[1] = x return x end)(1) end, "put")
  end)
end)

describe("products and matrices", function()
  local x = gl.tensor { 1, 2, 3 }
  local function f(y) return gl.stack { y[1] * y[2], y[2] ^ 2, gl.sin(y[3]) } end
  local J = gl.tensor { { 2, 1, 0 }, { 0, 4, 0 }, { 0, 0, math.cos(3) } }

  it("see traced values as contiguous, whatever made them", function()
    gl.grad(function(m)
      assert.is_true(m:is_contiguous() and m:t():is_contiguous())
      return m:sum()
    end)(gl.ones(2, 3):t())
  end)

  it("agree with each other", function()
    local v, w = gl.tensor { 0.3, -1, 2 }, gl.tensor { 1, 5, -2 }
    assert.are.equal(1, select("#", gl.jacobian(f)(x)))
    near(J, gl.jacobian(f)(x))
    assert.are.equal("forward", select(2, gl.jacobian(function(y) return gl.concat { y, y, y } end, { tell = true })(x)))
    assert.are.equal("reverse", select(2, gl.jacobian(function(y) return y:sum() end, { tell = true })(x)))
    near(J, (gl.jacobian(f, { mode = "reverse" })(x)))
    near(J, (gl.jacobian(f, { mode = "forward" })(x)))
    local value, tangent = gl.jvp(f, { x }, { v })
    near(f(x), value)
    near(J:matmul(v), tangent)
    local y, pullback = gl.vjp(f, x)
    near(f(x), y)
    near(J:t():matmul(w), pullback(w))
    near(J:t():matmul(v), pullback(v))
    local z, push = gl.linearize(f, x)
    near(f(x), z)
    near(J:matmul(v), push(v))
    near(J:matmul(w), push(w))
    near(J:matmul(v), gl.directional(f)(x, v))
    near(J:matmul(v / v:norm()), gl.directional(f, { normalize = true })(x, v))
    raises(function() gl.directional(f, { normalize = true })(x, gl.zeros_like(v)) end, "length 0")
    raises(function() gl.directional(f, { normalise = true }) end, 'did you mean "normalize"')
  end)

  it("have the structure of what came out and went in", function()
    local g = gl.jacobian(function(p) return { u = p.a * p.b, v = p.a:sum() } end) { a = x, b = 2 }
    near(2 * gl.eye(3), g.u.a)
    near(x, g.u.b)
    near({ 1, 1, 1 }, g.v.a)
    assert.are.equal(0.0, g.v.b)
    local _, pullback = gl.vjp(function(a, b) return { s = a * b, t = a } end, 2, 3)
    assert.are.same({ 4.0, 2.0 }, { pullback { s = 1, t = 1 } })
    local value, tangent = gl.jvp(function(a, b) return a * b end, { 2, 3 }, { 1, 10 })
    assert.are.same({ 6.0, 23.0 }, { value, tangent })
    local H = gl.hessian(function(p) return p.a ^ 2 * p.b end) { a = 2, b = 3 }
    assert.are.same({ a = { a = 6.0, b = 4.0 }, b = { a = 4.0, b = 0.0 } }, H)
  end)

  it("second derivatives", function()
    local function g(y, s) return (s or 1) * (y ^ 3):sum() + y[1] * y[2] end
    local H = gl.tensor { { 6, 1, 0 }, { 1, 12, 0 }, { 0, 0, 18 } }
    near(H, gl.hessian(g)(x))
    near(H:diag(), gl.hessian_diag(g)(x))
    near(H:matmul(x), gl.hvp(g)(x, x))
    near(2 * 6, gl.hvp(g)(x, gl.tensor { 1, 0, 0 }, 2)[1])
    near(H, (gl.jacobian(gl.grad(g))(x)))
    near(6, gl.hvp(function(_, b) return b ^ 3 end, 2)(gl.zeros(1), 1, 1))
  end)

  it("are differentiable themselves", function()
    near(12, gl.grad(function(a) local _, t = gl.jvp(function(b) return b ^ 3 end, { a }, { 1 }) return t end)(2))
    near(12, gl.grad(function(a) local _, back = gl.vjp(function(b) return b ^ 3 end, a) return back(1) end)(2))
    near(36, gl.grad(function(a) local _, push = gl.linearize(function(b) return b ^ 3 end, a) return push(a) end)(2))
    near(24, gl.grad(function(a) return gl.hvp(function(b) return b ^ 3 end)(a, 2 * 1) + 6 * a * a / 2 * 0 end)(2) * 2)
  end)

  it("refuse vectors that do not match", function()
    raises(function() gl.jvp(f, { x }, { gl.ones(2) }) end, "tangent", "shape 2", "shape 3")
    raises(function() gl.jvp(f, { x }, {}) end, "the tangent must be", "got nil")
    raises(function() gl.jvp(f, { x }, 3) end, "list")
    local _, pullback = gl.vjp(f, x)
    raises(function() pullback(gl.ones(2)) end, "cotangent")
    raises(function() pullback() end, "missing")
    raises(function() gl.jacobian(f, { mode = "fwd" }) end, "mode", "forward")
    raises(function() gl.jacobian(f, { mod = "forward" }) end, "did you mean \"mode\"")
  end)
end)

describe("vectors in tables", function()
  local x = gl.tensor { 1, 2 }

  it("are matched with their values by name", function()
    local function f(p) return p.a * p.b end
    local _, t = gl.jvp(f, { { a = x, b = 3 } }, { { b = 0, a = x } })
    assert.are.same({ 3, 6 }, t:totable())
    raises(function() gl.jvp(f, { { a = x, b = x } }, { { b = x, c = x } }) end, "the tangent.a must be a tensor or a number, got nil")
    raises(function() gl.jvp(function(p, q) return p * q end, { x, x }, { x }) end, "the tangent 2 must be a tensor")
    raises(function() gl.hvp(function(p) return (p.a * p.a):sum() end)({ a = x }, { b = x }) end, "the vector.a must be")
    local _, pull = gl.vjp(function(a) return { u = a, v = { a * 2 } } end, x)
    assert.are.same({ 3, 6 }, pull({ u = x, v = { x } }):totable())
    raises(function() pull { u = x, w = { x } } end, "the cotangent.v must be a table")
    local _, push = gl.linearize(function(p, k) return p.a * k end, { a = x }, 2)
    assert.are.same({ 3, 6 }, push({ a = x }, 1):totable())
    raises(function() push({ b = x }, 1) end, "the tangent 1.a must be")
  end)

  it("may be empty: a model without parameters", function()
    local function f(_, y) return (y * y):sum() end
    assert.are.same({ {}, { c = {} } }, gl.grad(f)({ {}, { c = {} } }, x))
    local none, g = gl.grad(f, "all")({}, x)
    assert.are.same({}, none)
    assert.are.same({ 2, 4 }, g:totable())
    assert.are.same({}, gl.jit(gl.grad(f))({}, x))
    raises(function() gl.grad(f)({ name = "x" }, x) end, "argument 1 must be a number, a tensor, or a table of them")
    raises(function() gl.grad(f)(gl.nn.linear(2, 1), x) end, "argument 1 must be a number, a tensor, or a table of them")
  end)
end)

describe("gl.stop_gradient", function()
  it("takes numbers and nested tables as they are", function()
    local t = gl.stop_gradient({ a = gl.ones(2), b = { 3 }, name = "x" })
    near({ 1, 1 }, t.a)
    assert.are.same({ 3, "x" }, { t.b[1], t.name })
    local function f(p)
      local q = gl.stop_gradient(p)
      return (p.a * q.a):sum() + p.b * q.b
    end
    local g = gl.grad(f)({ a = gl.tensor { 3, 4 }, b = 5 })
    near({ 3, 4 }, g.a)
    assert.are.equal(5.0, g.b)
    raises(function() gl.stop_gradient("x") end, "a tensor, a number or a table")
  end)
end)

describe("gl.gradcheck", function()
  it("accepts right derivatives of first and second order", function()
    local ok, report = gl.gradcheck(function(x) return (x:sin() * x):sum() end, gl.tensor { 1, 2 })
    assert.is_true(ok)
    assert.are.equal(2, report.checked)
    assert.is_true(gl.gradcheck(function(x) return (x ^ 3):sum() end, gl.tensor { 1, 2 }, { order = 2 }))
    assert.is_true(gl.gradcheck(function(a, b) return a * b end, { args = { 2, 3 } }))
    assert.is_true(gl.gradcheck(function(a, b, c) return a * b / c end, 2, { args = { 3, gl.ones(2) } }))
    raises(function() gl.gradcheck(function(a) return a end, 2, { args = 3 }) end, "args must be a list of arguments")
    assert.is_true(gl.gradcheck(function(p) return { u = p.a ^ 3 * p.b, v = p.a:sum() } end, { a = gl.tensor { 1, 2 }, b = 3 },
      { order = 2 }))
    raises(function() gl.gradcheck(function(x) return x end, 1, { ord = 1 }) end, "did you mean \"order\"")
  end)

  it("tells where there is none", function()
    local ok, report = gl.gradcheck(function(x) return gl.abs(x):sum() end, gl.tensor { 1, 0 }, { eps = 1e-3 })
    assert.is_true(ok or report.failed > 0)
    local once = gl.custom(function(x) return x ^ 3 end, { vjp = function(p, c) return 3 * p[1] * gl.stop_gradient(p[1]) * c end })
    assert.is_true((gl.gradcheck(once, gl.tensor { 1, 2 })))
    assert.is_false((gl.gradcheck(once, gl.tensor { 1, 2 }, { order = 2 })))
    ok, report = gl.gradcheck(function(x) return (gl.stop_gradient(x) * x):sum() end, gl.tensor { 1, 2 })
    assert.is_false(ok)
    assert.is_truthy(tostring(report):find("FAILED: 2 of 2 entries", 1, true))
    assert.is_truthy(tostring(report):find("<- bad", 1, true))
  end)
end)

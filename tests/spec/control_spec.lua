-- Control flow, checkpoints, rules of one's own: plain, staged, batched, differentiated.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

--- The function gives the same as it is, under jit, and under vmap; so do its derivatives.
local function agree(f, x, want, slope)
  near(want, f(x))
  near(want, gl.jit(f)(x))
  near(gl.tensor { want, want }, gl.vmap(f)(gl.tensor { x, x }))
  near(slope, gl.grad(f)(x))
  near(slope, gl.jit(gl.grad(f))(x))
  near(gl.tensor { slope, slope }, gl.vmap(gl.grad(f))(gl.tensor { x, x }))
  local second = gl.grad(gl.grad(f))(x)
  near(second, gl.jit(gl.grad(gl.grad(f)))(x), 1e-9)
end

describe("gl.cond", function()
  local function f(x) return gl.cond(gl.lt(x, 0), function(y) return -y end, function(y) return y ^ 2 end, x) end
  it("takes one branch", function()
    agree(f, 3, 9, 6)
    agree(f, -3, 3, -1)
    near({ 2, 9 }, gl.vmap(f)(gl.tensor { -2, 3 }))
    assert.are.equal("no", gl.cond(false, function() return "yes" end, function() return "no" end))
  end)

  it("does not run a branch that fails for the elements that do not take it", function()
    local function choose(a, x)
      return gl.cond(x:gt(0), function(m, v) return gl.solve(m, v:reshape(1)):sum() end,
        function(m, v) return v * m:sum() end, a, x)
    end
    local function captures(a, x)
      return gl.cond(x:gt(0), function() return gl.solve(a, x:reshape(1)):sum() end, function() return x * a:sum() end)
    end
    local a, x = gl.tensor { { { 2 } }, { { 0 } } }, gl.tensor { 3, -1 }
    for _, g in ipairs { choose, captures } do
      near({ 1.5, 0 }, gl.vmap(g)(a, x))
      local da, dx = gl.vmap(gl.grad(g, { 1, 2 }))(a, x)
      near({ { { -0.75 } }, { { -1 } } }, da)
      near({ 0.5, 0 }, dx)
      near(0, gl.jit(g)(a[2], x[2]))
      near(0, gl.jit(gl.grad(g, 2))(a[2], x[2]))
      raises(function() gl.jit(g)(a[2], x[1]) end, "singular")
    end
    local function put(p, m, v)
      return gl.cond(p, function() return gl.put(v, m, gl.tensor { 7, 8 }) end, function() return v end)
    end
    local masks = gl.tensor({ { true, true, false }, { true, false, false } }, { dtype = "bool" })
    local taken, v = gl.tensor({ true, false }, { dtype = "bool" }), gl.tensor { 1, 2, 3 }
    near({ { 7, 8, 3 }, { 1, 2, 3 } }, gl.vmap(put, { in_axes = { 1, 1, false } })(taken, masks, v))
    raises(function() gl.vmap(put, { in_axes = { 1, 1, false } })(taken:logical_not(), masks, v) end, "true elements")
  end)

  it("runs what a branch does with captured values in the branch, nested ones included", function()
    local function choose(x, y)
      return gl.cond(x:gt(0), function()
        return gl.cond(x:gt(1), function() return gl.grad(function(z) return z ^ 2 * y end)(x) end, function() return y * x end)
      end, function() return gl.fori(2, function(_, s) return s * x end, y) end)
    end
    for _, point in ipairs { { 2, 12 }, { 0.5, 1.5 }, { -2, 12 } } do
      near(point[2], gl.jit(choose)(gl.tensor(point[1]), gl.tensor(3)))
    end
    near({ 12, 1.5, 12 }, gl.vmap(choose, { in_axes = { 1, false } })(gl.tensor { 2, 0.5, -2 }, gl.tensor(3)))
    near({ 6, 3, -12 }, gl.vmap(gl.grad(choose), { in_axes = { 1, false } })(gl.tensor { 2, 0.5, -2 }, gl.tensor(3)))
  end)

  it("takes a number of steps that only the run tells", function()
    local function power(n, y) return gl.fori(n, function(i, v) return v * y + i end, y) end
    local jitted = gl.jit(power)
    for n = 0, 4 do
      near(power(n, 2.0), jitted(n, 2.0))
      near(gl.grad(power, 2)(n, 2.0), gl.jit(gl.grad(power, 2))(n, 2.0))
    end
    assert.are.equal(1, jitted:stats().traces)
    near({ 2, 5, 12 }, gl.vmap(power)(gl.tensor({ 0, 1, 2 }, { dtype = "i64" }), gl.full({ 3 }, 2)))
    near({ 1, 4, 13 }, gl.vmap(gl.grad(power, 2))(gl.tensor({ 0, 1, 2 }, { dtype = "i64" }), gl.full({ 3 }, 2)))
    raises(function() gl.jit(function(n, y) return gl.fori(n, function(_, v) return v end, y) end)(gl.ones(2), 2.0) end, "one number")
  end)

  it("stops each element of a batch of loops where it ends", function()
    local rows = gl.tensor { 1, 2, 3 }
    local function sum_to(n)
      local s = gl.while_loop(function(v) return v.i:le(n) end, function(v)
        return { i = v.i + 1, sum = v.sum + rows[v.i:reshape(1)]:sum() }
      end, { i = gl.ones({ dtype = "i64" }), sum = 0 })
      return s.sum
    end
    near({ 1, 6, 3 }, gl.vmap(sum_to)(gl.tensor({ 1, 3, 2 }, { dtype = "i64" })))
    assert.equal(0, #gl.vmap(sum_to)(gl.zeros(0, { dtype = "i64" })))
  end)

  it("captures and returns structures", function()
    local g = gl.jit(function(x, s)
      return gl.cond(x:gt(0), function() return { a = x * s }, 1 end, function() return { a = s }, 2 end)
    end)
    local t, n = g(gl.tensor(2), gl.tensor(5))
    near(10, t.a)
    near(1, n)
    t, n = g(gl.tensor(-2), gl.tensor(5))
    near(5, t.a)
    near(2, n)
  end)

  it("says what is wrong", function()
    raises(function() gl.cond(1, f, f) end, "cond", "boolean")
    raises(function()
      gl.jit(function(v) return gl.cond(v:sum():gt(0), function(u) return u end, function(u) return { u } end, v) end)(gl.ones(2))
    end, "differ in structure")
    raises(function() gl.scan(function(c, r) return c + r, c end, 0, gl.ones(2), { revers = true }) end, 'did you mean "reverse"')
    raises(function() gl.cond(true, 1, f) end, "function")
    raises(function() gl.jit(function(x)
      return gl.cond(x:gt(0), function() return x, x end, function() return x end)
    end)(1) end, "different numbers of results")
  end)
end)

describe("loops", function()
  it("while_loop runs as long as its test says, and reverse mode goes through it", function()
    local function f(x)
      return gl.while_loop(function(s) return gl.lt(s, 100) end, function(s) return s * x end, x)
    end
    agree(f, 3, 243, 405)
    near({ 243, 125 }, gl.vmap(f)(gl.tensor { 3, 5 }))
    near({ 405, 75 }, gl.vmap(gl.grad(f))(gl.tensor { 3, 5 }))
  end)

  it("fori counts from 1 to n", function()
    local function f(x) return gl.fori(4, function(i, s) return s * x + i end, 1) end
    agree(f, 2, 42, 55)
    assert.are.equal(5, gl.fori(0, error, 5))
    near(2304, gl.grad(function(x)
      return gl.fori(9, function(_, s) return s * x end, 1, { checkpoint = "sqrt" })
    end)(2))
    near({ 1, 3, 6 }, gl.jit(function(x)
      return gl.fori(3, function(i, s) return s:put(i, x[{ { 1, 3 } }][i] + (s * 0):sum() + 0) end, x * 0)
    end)(gl.tensor { 1, 3, 6 }))
  end)

  it("scan gives the last carry and the stacked ys", function()
    local xs = gl.tensor { 1, 2, 3 }
    local function f(x) return (gl.scan(function(c, r) return c * x + r, c end, gl.tensor(0), xs)) end
    agree(f, 2, 11, 6)
    local function all(x) return gl.scan(function(c, r) return c * x + r.a, { c = c, r = r.a * 2 } end, gl.tensor(0), { a = xs }) end
    for _, g in ipairs { all, gl.jit(all) } do
      local carry, ys = g(2)
      near(11, carry)
      near({ 0, 1, 4 }, ys.c)
      near({ 2, 4, 6 }, ys.r)
    end
    local function back(x)
      return gl.scan(function(c, r) return c * x + r, c end, gl.tensor(0), xs, { reverse = true })
    end
    for _, g in ipairs { back, gl.jit(back) } do
      local carry, ys = g(2)
      near(17, carry)
      near({ 8, 3, 0 }, ys)
    end
  end)

  it("say what is wrong", function()
    local ones = gl.ones(2)
    raises(function() gl.jit(function(x)
      return gl.fori(3, function(_, s) return s:sum() end, x)
    end)(ones) end, "fori: state begins as f64 2 and is f64 0-d after one step")
    raises(function() gl.jit(function(x) return gl.fori(3, function(_, s) return { s, s } end, x) end)(ones) end, "structure")
    raises(function() gl.jit(function(x)
      return gl.fori(3, function(_, s) if s[1] > 0 then return s end return -s end, x)
    end)(ones) end, "fori", "gl.cond")
    raises(function() gl.fori(1.5, error, 1) end, "integer")
    raises(function() gl.scan(function(c) return c end, 0, { gl.ones(2), gl.ones(3) }) end, "2 and 3 rows")
    raises(function() gl.scan(function(c) return c end, 0, ones, { check = 1 }) end, "unknown option")
    raises(function() gl.while_loop(function() return 1 end, error, 1) end, "boolean")
  end)
end)

describe("loop bodies that are recorded", function()
  local function recorded(step) return function() gl.jit(function(x) return gl.fori(3, step, x) end)(gl.ones(2)) end end
  it("do not set captured variables", function()
    local k, sum = 0, gl.zeros(2)
    raises(recorded(function(_, s) k = k + 1; return s end), 'fori: the body sets the captured variable "k"')
    raises(recorded(function(_, s) sum = sum + s; return s end), 'the body sets the captured variable "sum"')
    k = 0
    near(6, gl.fori(3, function(i, s) k = k + i; return s end, 0) + k) -- plain Lua, where values are known
  end)
end)

describe("gl.vmap", function()
  local function f(x) return x * gl.rand(3) + gl.randn(3) end
  local x = gl.tensor { 1, 2, 3, 4 }
  local function looped(g, xs)
    local rows = {}
    for i = 1, #xs do rows[i] = g(xs[i]) end
    return gl.stack(rows)
  end
  local function after(seed, g, ...)
    gl.manual_seed(seed)
    return g(...), gl.rand(2)
  end

  it("gives each example random numbers of its own, those of a loop", function()
    local want, next_want = after(3, looped, f, x)
    for _, g in ipairs { gl.vmap(f), gl.jit(gl.vmap(f)), gl.vmap(gl.jit(f)) } do
      local got, next_got = after(3, g, x)
      near(want, got, 1e-15)
      near(next_want, next_got, 0)
    end
    near(want, (after(3, gl.vmap(gl.vmap(f)), x:reshape(2, 2))):reshape(4, 3), 1e-15)
    local slope = function(v) return (v * gl.rand()):sum() end
    near((after(5, looped, gl.grad(slope), x)), (after(5, gl.vmap(gl.grad(slope)), x)), 1e-15)
    near((after(5, looped, gl.grad(slope), x)), (after(5, gl.grad(function(v) return gl.vmap(slope)(v):sum() end), x)), 1e-15)
    local a, b = gl.generator(7), gl.generator(7)
    near(looped(function(v) return v + a:rand(2) end, x), gl.vmap(function(v) return v + b:rand(2) end)(x), 1e-15)
    assert.are.same(a:state(), b:state())
  end)

  it("shares numbers, and refuses what is neither tensor nor number", function()
    near({ 3, 3, 3, 3 }, gl.vmap(function() return 3 end)(x))
    raises(function() gl.vmap(function(v) return v, "a" end)(x) end, "vmap: result 2 of the function is a string")
    raises(function() gl.vmap(function() end)(x) end, "returned nothing")
  end)
end)

describe("gl.checkpoint", function()
  it("gives the same values and derivatives", function()
    local w = gl.tensor { 1, 2 }
    local plain = function(x) if x > 1 then return ((x * w):sin() ^ 2):sum() end return x end
    local kept = gl.checkpoint(plain)
    near(plain(2), kept(2))
    near(gl.grad(plain)(2), gl.grad(kept)(2))
    near(gl.grad(gl.grad(plain))(2), gl.grad(gl.grad(kept))(2))
    near(gl.grad(plain)(2), gl.jit(gl.grad(gl.checkpoint(function(x) return ((x * w):sin() ^ 2):sum() end)))(2))
    local function g(v) return gl.checkpoint(function(p) return p.a * v, p.a end) { a = v * 2 } end
    near(12, gl.grad(g)(3))
  end)
end)

describe("gl.custom", function()
  it("uses the rules that are given", function()
    local c = gl.custom(function(x, y) return x * y end, { vjp = function(p, ct) return { ct * 100, ct * p[1] } end })
    assert.are.equal(6, c(2, 3))
    assert.are.same({ 100.0, 2.0 }, { gl.grad(c, { 1, 2 })(2, 3) })
    local d = gl.custom(function(x) return x ^ 2 end, { jvp = function(p, t) return p[1] ^ 2, 7 * p[1] * t[1] end })
    near(14, gl.grad(d)(2))
    near(7, gl.grad(gl.grad(d))(2))
    near(14, gl.jit(gl.grad(d))(2))
    local _, tangent = gl.jvp(d, { 2 }, { 3 })
    near(42, tangent)
    near({ 14, 21 }, gl.vmap(gl.grad(d))(gl.tensor { 2, 3 }))
  end)

  it("takes structures, captured values and other dtypes", function()
    local scale = gl.tensor { 1, 10 }
    local c = gl.custom(function(p, labels) return ((p.w * scale):sum() + labels:sum()):to("f64") end, {
      vjp = function(primals, ct) return { { w = ct * primals[1].w * scale } } end,
    })
    local g = gl.grad(c)({ w = gl.tensor { 3, 4 } }, gl.ones(2, { dtype = "i64" }))
    near({ 3, 40 }, g.w)
  end)

  it("takes functions of several results", function()
    local powers = function(x) return x ^ 2, { cube = x ^ 3 } end
    local by_jvp = gl.custom(powers, { jvp = function(p, t)
      return p[1] ^ 2, { cube = p[1] ^ 3 }, 2 * p[1] * t[1], { cube = 3 * p[1] ^ 2 * t[1] }
    end })
    local by_vjp = gl.custom(powers, { vjp = function(p, square, rest)
      return 2 * p[1] * square + 3 * p[1] ^ 2 * rest.cube
    end })
    for _, c in ipairs { by_jvp, by_vjp } do
      local function product(x)
        local a, b = c(x)
        return a * b.cube
      end
      near(80, gl.grad(product)(2))
      near(160, gl.hessian(product)(2))
      near({ 5, 80 }, gl.vmap(gl.grad(product))(gl.tensor { 1, 2 }))
      near(80, select(2, gl.jvp(product, { 2 }, { 1 })))
    end
    local short = gl.custom(powers, { jvp = function(p, t) return p[1], t[1] end })
    raises(function() gl.grad(short)(2) end, "must return 2 values and 2 tangents, got 2 results")
  end)

  it("turns a jvp rule with control flow in it around", function()
    local c = gl.custom(function(x) return gl.cond(x:gt(0), function() return x ^ 3 end, function() return -x end) end, {
      jvp = function(p, t)
        return gl.cond(p[1]:gt(0), function() return p[1] ^ 3, 3 * p[1] ^ 2 * t[1] end, function() return -p[1], -t[1] end)
      end,
    })
    local function g(x) return gl.sin(c(x)) end
    near(12 * math.cos(8), gl.grad(g)(2))
    near(-math.cos(2), gl.grad(g)(-2))
    near(gl.hessian(function(x) return gl.sin(x ^ 3) end)(2), gl.hessian(g)(2))
  end)

  it("is found wrong by gradcheck when it is", function()
    local wrong = gl.custom(function(x) return (x ^ 2):sum() end, { vjp = function(p, ct) return ct * p[1] * 3 end })
    assert.is_false(gl.gradcheck(wrong, gl.tensor { 1, 2 }))
    local right = gl.custom(function(x) return (x ^ 2):sum() end, { vjp = function(p, ct) return ct * p[1] * 2 end })
    assert.is_true(gl.gradcheck(right, gl.tensor { 1, 2 }))
  end)

  it("says what is wrong", function()
    raises(function() gl.custom(function() end, {}) end, "needs a jvp or a vjp")
    raises(function() gl.custom(function() end, { grad = function() end }) end, "grad")
    raises(function() gl.custom(1, { jvp = error }) end, "function")
    local few = gl.custom(function(x, y) return x * y end, { vjp = function(_, ct) return { ct } end })
    raises(function() gl.grad(few)(1, 2) end, "vjp rule", "2")
  end)

  it("of loops must keep the names of their state, and of vmap follow nested tables", function()
    raises(function() gl.jit(function(x) return gl.fori(2, function(_, s) return { b = s.a } end, { a = x }) end)(1) end,
      "fori", "structure of the state")
    local p = { w = gl.ones(3, 2), b = gl.tensor(5) }
    local function total(q) return q.w:sum() + q.b end
    near({ 7, 7, 7 }, gl.vmap(total, { in_axes = { { w = 1, b = false } } })(p))
    near({ 8, 8 }, gl.vmap(total, { in_axes = { w = 2, b = false } })(p))
    local slopes = gl.grad(function(q) return gl.vmap(total, { in_axes = { { b = false } } })(q):sum() end)(p)
    near(gl.ones(3, 2), slopes.w)
    near(3, slopes.b)
    local out = gl.vmap(function(x) return { u = x, v = x } end, { out_axes = { { u = 2 } } })(gl.ones(3, 2))
    assert.are.same({ 2, 3 }, out.u:shape())
    assert.are.same({ 3, 2 }, out.v:shape())
    raises(function() gl.vmap(total, { in_axes = { 0 } })(p) end, "in_axes is 0")
    raises(function() gl.vmap(total, { in_axes = { "w" } })(p) end, "in_axes must be an axis")
  end)

  it("of vmap may be shared by all examples: out_axes is false", function()
    local w, x = gl.tensor { 1, 2 }, gl.ones(3, 2)
    local function f(p, row) return (p * row):sum(), { double = p * 2, count = 5, row = row } end
    local shared = gl.vmap(f, { in_axes = { false, 1 }, out_axes = { 1, { double = false, count = false, row = 2 } } })
    local function check(run)
      local each, rest = run(w, x)
      near({ 3, 3, 3 }, each)
      near({ 2, 4 }, rest.double)
      assert.are.equal(5, rest.count)
      near(gl.ones(2, 3), rest.row)
    end
    check(shared)
    check(gl.jit(shared))
    near({ 5, 5 }, gl.grad(function(v)
      local each, rest = shared(v, x)
      return each:sum() + rest.double:sum()
    end)(w))
    near({ 2, 4 }, select(2, shared(w, gl.ones(0, 2))).double)
    raises(function() gl.vmap(function(v) return v end, { out_axes = false })(gl.ones(2)) end, "out_axes is false")
    raises(function() gl.vmap(function(v) return gl.randn(2), v end, { out_axes = { false } })(gl.ones(2)) end, "out_axes is false")
  end)

  it("gives a scan over no rows the shape its ys would have", function()
    local carry, ys = gl.scan(function(c, x) return c + x:sum(), { y = x * 2 } end, 3, gl.zeros(0, 2))
    near(3, carry)
    assert.are.same({ 0, 2 }, ys.y:shape())
  end)

  it("differentiates a scan over no rows", function()
    agree(function(v)
      local carry, ys = gl.scan(function(c, x) return c * x, c + x end, v * v, gl.zeros(0))
      return carry + ys:sum()
    end, 3, 9, 6)
  end)
end)

describe("the number of steps of gl.fori", function()
  it("is whole", function()
    local function double(_, v) return v * 2 end
    assert.are.equal(8, gl.fori(3.0, double, 1))
    assert.are.equal(1, gl.fori(-1, double, 1))
    for _, n in ipairs { 2.5, math.huge, 0 / 0, "3", gl.tensor(0.5) } do
      raises(function() gl.fori(n, double, 1) end, "fori: the number of steps must be an integer")
    end
  end)
end)

-- vmap and jit: batching, composition, signatures, guards, draws.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

local x = gl.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }

describe("gl.vmap", function()
  it("maps every argument and result", function()
    local sums, doubles = gl.vmap(function(row) return row:sum(), row * 2 end)(x)
    near({ 3, 7, 11 }, sums)
    near(2 * x, doubles)
    near({ 9, 12 }, gl.vmap(function(c) return c:sum() end, { in_axes = 2 })(x))
    near(2 * x, gl.vmap(function(c) return c * 2 end, { in_axes = 2, out_axes = 2 })(x))
    near(3 * x, gl.vmap(function(r, s) return r * s end, { in_axes = { 1, false } })(x, 3))
    near({ { 7, 7 }, { 7, 7 }, { 7, 7 } }, gl.vmap(function() return gl.full({ 2 }, 7) end)(x))
    local out = gl.vmap(function(p) return { s = p.a + p.b } end) { a = x, b = x }
    near(2 * x, out.s)
    near(x ^ 2, gl.vmap(gl.vmap(function(a) return a ^ 2 end))(x))
  end)

  it("composes with derivatives either way round", function()
    local w = gl.tensor { 1, 10 }
    local per_example = gl.vmap(gl.grad(function(p, row) return ((p.w * row):sum() + p.b) ^ 2 end), { in_axes = { false, 1 } })
    local g = per_example({ w = w, b = gl.tensor(1) }, x)
    for i = 1, 3 do
      local one = gl.grad(function(p) return ((p.w * x[i]):sum() + p.b) ^ 2 end) { w = w, b = gl.tensor(1) }
      near(one.w, g.w[i])
      near(one.b, g.b[i])
    end
    near({ { 2, 1 }, { 4, 3 }, { 6, 5 } }, gl.grad(function(y)
      return gl.vmap(function(r) return r:prod() end)(y):sum()
    end)(x))
    near({ 3, 3, 2 }, (gl.jacobian(gl.vmap(function(r) return r:sum() end))(x)):shape())
    near(2 * gl.eye(2), gl.vmap(gl.hessian(function(r) return (r ^ 2):sum() end))(x)[2])
  end)

  it("says what cannot be", function()
    raises(function() gl.vmap(function(r) if r:sum() > 3 then return r end return r end)(x) end, "vmap", "gl.where")
    raises(function() gl.vmap(function(r) return gl.grad(function(y) return y:item() * y end)(r[1]) end)(x) end, "gl.where")
    raises(function() gl.vmap(function(r) return r end)(x, gl.zeros(2)) end, "2 examples", "3")
    raises(function() gl.vmap(function(r) return r end)(1) end, "no axis", "in_axes")
    raises(function() gl.vmap(function(r) return r end, { in_axes = false })(x) end, "no argument is batched")
    raises(function() gl.vmap(function(r) return r end, { in_axis = 1 }) end, "did you mean \"in_axes\"")
    raises(function() gl.vmap(function(r) return r end, { in_axes = 3 })(x) end, "out of range")
  end)
end)

describe("gl.jit", function()
  it("records once for a signature", function()
    local traced = 0
    local f = gl.jit(function(a, s) traced = traced return (a * s):sum(), { a = a, name = "n" } end)
    near(12, (f(gl.ones(3, 2), 2)))
    near(18, (f(gl.ones(3, 2), 3)))
    local _, more = f(gl.ones(3, 2), 4)
    assert.are.equal("n", more.name)
    near(gl.ones(3, 2), more.a)
    near(4, (f(gl.ones(4), 1)))
    local stats = f:stats()
    assert.are.same({ 2, 1 }, { stats.hits, stats.retraces })
    assert.is_truthy(stats.reasons[1]:find("argument 1: it was f64 3 x 2, now it is f64 4", 1, true))
    assert.are.equal(17.0, gl.jit(function(a) return a ^ 2 + 1 end)(4))
  end)

  it("reads captured tensors anew and guards captured numbers", function()
    local w, lr, options = gl.tensor { 1, 2 }, 0.5, { scale = 1 }
    local f = gl.jit(function(a) return (a * w * lr * options.scale):sum() end)
    near(1.5, f(gl.ones(2)))
    w:fill_(10)
    near(10, f(gl.ones(2)))
    assert.are.equal(1, f:stats().hits)
    lr = 1
    near(20, f(gl.ones(2)))
    assert.is_truthy(f:stats().reasons[1]:find("lr", 1, true))
    options.scale = 2
    near(40, f(gl.ones(2)))
    assert.is_truthy(f:stats().reasons[2]:find("scale", 1, true))
    w = gl.tensor { 0, 0 }
    near(0, f(gl.ones(2)))
  end)

  it("records operations on captured tensors, so that they too see new numbers", function()
    local w, p = gl.tensor { 1, 2 }, gl.tensor { 2, 1 }
    p = p:to("i64")
    local uses = {
      product = function(a) return (w * 2 * a):sum() end,
      gradient = gl.grad(function(a) return (w:sum() * a * w:exp()):sum() end),
      of_captured = function(a) return gl.grad(function(v) return (v ^ 3):sum() end)(w) * a end,
      view = function(a) return w[1] * a + w[{ { 1, 2 } }]:sum() end,
      positions = function(a) return w[p] * a end,
      copies = function(a) return w:clone() * a + gl.tensor(w) + gl.full({ 2 }, w[1]) end,
      batched = function(a) return gl.vmap(function(v) return v * w end, { in_axes = 2 })(gl.stack({ w, a }, 2)) end,
      choice = function(a) return gl.cond(w:sum():gt(5), function(v) return v * 2 end, function(v) return v + w end, a) end,
      loop = function(a) return gl.fori(2, function(_, s) return s * w end, a) end,
    }
    for name, f in pairs(uses) do
      w:copy_(gl.tensor { 1, 2 })
      local staged, a = gl.jit(f), gl.tensor { 0.5, 1 }
      near(f(a), staged(a), 1e-14)
      w:add_(3)
      near(f(a), staged(a), 1e-14)
      assert.are.equal(1, staged:stats().hits, name)
    end
    raises(function() gl.jit(function(a) return a * w:item() end)(1) end, "one element")
    raises(function() gl.jit(function(a) return a * w[1]:item() end)(1) end, "item()", "not known")
    raises(function() gl.jit(function(a) if w:sum() > 1 then return a end end)(1) end, "not known", "gl.cond")
  end)

  it("makes results anew that depend on no argument, and hands back tensors from outside", function()
    local outside = gl.ones(300)
    for _, options in ipairs { {}, { donate = true } } do
      local start = gl.jit(function(a)
        return { w = gl.zeros(300), b = gl.tensor(3), n = gl.arange(1, 3, { dtype = "i64" }) }, a * 2, outside
      end, options)
      local step = gl.jit(function(state) return state.w + 1 end, { donate = true })
      for _ = 1, 4 do
        local state, _, same = start(gl.ones(300))
        state.b:add_(1)
        state.n:add_(1)
        near(4, state.b:item(), 0)
        near({ 2, 3, 4 }, state.n:totable(), 0)
        assert.are.equal("i64", state.n:dtype())
        near(300, step(state):sum(), 0)
        assert.are.equal(outside, same)
      end
      assert.are.equal(0, start:stats().retraces)
    end
  end)

  it("guards what is captured through transforms, jitted functions, tables, metatables and globals", function()
    local k, options, base = 2, {}, { k = 2 }
    local object = setmetatable({}, { __index = base })
    local inner = gl.jit(function(a) return a * k end)
    local globals = setmetatable({ k = 2 }, { __index = { gl = gl } })
    local ways = {
      gradient = gl.grad(function(a) return k * a * a / 2 end),
      batched = function(a) return gl.vmap(function(v) return v * k end)(gl.full({ 2 }, a)):sum() / 2 end,
      jitted = function(a) return inner(a) end,
      deep = gl.grad(gl.jit(function(a) return inner(a) * a / 2 end)),
      field = function(a) return a * (options.k or 2) end,
      metatable = function(a) return a * object.k end,
      callable = setmetatable({ k = 2 }, { __call = function(_, a) return a * k end }),
      global = load("return function(a) return gl.abs(a * k) end", "=globals", "t", globals)(),
    }
    for name, f in pairs(ways) do
      k, options.k, base.k, globals.k = 2, nil, 2, 2
      local staged = gl.jit(f)
      near(6, staged(3), 1e-14)
      near(8, staged(4), 1e-14)
      assert.are.equal(1, staged:stats().hits, name)
      k, options.k, base.k, globals.k = 5, 5, 5, 5
      near(15, staged(3), 1e-14)
      local stats = staged:stats()
      assert.are.same({ 1, 1 }, { stats.hits, stats.retraces }, name)
      local reason = stats.reasons[1]
      assert.is_truthy(reason:find("k has changed", 1, true) or reason:find("options has other fields", 1, true), reason)
    end
  end)

  it("guards what functions among the arguments captured, and tells why a program was not kept", function()
    local k = 2
    local function times(v) return v * k end
    local apply = gl.jit(function(f, v) return f(v) end)
    near(6, apply(times, 3))
    k = 4
    near(12, apply(times, 3))
    near(12, apply(times, 3))
    assert.are.same({ 1, 2 }, { apply:stats().hits, apply:stats().traces })
    local outer
    local inner = gl.jit(function(v) return v * outer end)
    local g = gl.grad(function(v) outer = v return inner(2) * v end)
    near(12, g(3)) near(16, g(4))
    assert.is_truthy(inner:stats().reasons[1]:find("a transform around it", 1, true))
  end)

  it("keeps the programs of values that come again", function()
    local train = true
    local f = gl.jit(function(a) return train and a * 2 or a end)
    for i = 1, 6 do
      train = i % 2 == 1
      near(train and 6 or 3, f(3))
    end
    assert.are.same({ 4, 2 }, { f:stats().hits, f:stats().traces })
  end)

  it("takes another tensor in the place of a captured one", function()
    local w, p = gl.tensor { 1, 2 }, { b = gl.tensor { 3, 4 } }
    local f = gl.jit(gl.value_and_grad(function(a) return ((w * 2 * a + p.b):sum()) end))
    local a = gl.ones(2)
    near(13, (f(a)))
    w, p.b = gl.tensor { 5, 6 }, gl.tensor { 0, 1 }
    local v, g = f(a)
    near(23, v) near({ 10, 12 }, g)
    assert.are.equal(1, f:stats().hits)
    w = gl.ones(2, { dtype = "f32" })
    near(5, (f(a)))
    assert.are.equal(1, f:stats().retraces)
    local both = { w, w }
    local sum = gl.jit(function() return (both[1] + both[2]):sum(), w end)
    near(4, (sum()))
    both[2] = gl.full({ 2 }, 3, { dtype = "f32" })
    near(8, (sum()))
    w = gl.zeros(2, { dtype = "f32" })
    assert.is_true(rawequal(w, (select(2, sum()))))
  end)

  it("gives numbers where the function gives numbers", function()
    local function double(s) return s * 2 end
    local functions = {
      arithmetic = function(a) return a + 1, -a, a ^ 2, gl.relu(a), gl.clamp(a, 0, 1), gl.where(gl.gt(a, 1), a, 2) end,
      predicate = function(a) return gl.gt(a, 1) end,
      tensors = function(a) return gl.ones(2):sum() * a, gl.tensor(a), gl.stack { a, 2 } end,
      choice = function(a) return gl.cond(gl.gt(a, 1), double, function(s) return s end, a) end,
      count = function(a) return gl.fori(3, function(i, s) return { s[1] * 2 + i, s[2] * i } end, { a, gl.ones(2) }) end,
      single = function() return gl.fori(3, function(i, s) return s * i end, gl.ones(2, { dtype = "f32" })) end,
      repeated = function(a) return gl.while_loop(function(s) return gl.lt(s, 10) end, double, a) end,
      scanned = function(a) return gl.scan(function(c, row) return c * 2, c + row end, a, gl.ones(3)) end,
      derivatives = function(a, b)
        local v, g = gl.value_and_grad(function(u) return u ^ 3 * b end)(a)
        return v, g, gl.jvp(double, { a }, { 1 })
      end,
      checkpoint = function(a) return gl.checkpoint(double)(a) end,
      custom = function(a) return gl.custom(double, { jvp = function(p, t) return 2 * p[1], 2 * t[1] end })(a) end,
      together = function(a, _, v) return a * 2, v * a end,
    }
    local function kinds(...)
      local list = table.pack(...)
      for i = 1, list.n do
        local value = list[i]
        if type(value) == "table" then list[i] = kinds(table.unpack(value))
        elseif gl.is_tensor(value) then list[i] = value:dtype() .. " " .. table.concat(value:shape(), " ")
        else list[i] = type(value) end
      end
      return table.concat(list, "; ")
    end
    for name, f in pairs(functions) do
      assert.are.equal(kinds(f(1.5, 2.5, gl.ones(2))), kinds(gl.jit(f)(1.5, 2.5, gl.ones(2))), name)
    end
  end)

  it("hands an argument that comes back on as that very tensor, as the plain function does", function()
    local one, two, k = gl.ones(3), gl.zeros(3), gl.tensor(2)
    local function copies(a) return { a:clone(), a + 0, a:reshape(3), gl.tensor(a) } end
    local f = gl.jit(function(a, b, n) return a * n, a, b, copies(a) end)
    for _, given in ipairs { one, two, one } do
      local _, same, other, made = f(given, k, 3)
      assert.is_true(rawequal(given, same) and rawequal(k, other))
      for _, copy in ipairs(made) do assert.is_false(rawequal(given, copy)) end
    end
    local _, _, made = gl.value_and_grad(function(a) return a:sum(), copies(a) end)(one)
    for _, copy in ipairs(made) do assert.is_false(rawequal(one, copy)) end
    near({ 6, 6, 6 }, gl.grad(function(a)
      local tripled, same = f(a, k, 3)
      return (tripled * same):sum()
    end)(one))
  end)

  it("compares each call with the plain function when asked to", function()
    local f = gl.jit(function(a, b) return (a * b):sin(), { gl.rand(3), n = b } end, { check = true })
    for i = 1, 3 do f(gl.ones(3) * i, 2.5) end
    assert.are.equal(2, f:stats().hits)
    local calls = 0
    local odd = gl.jit(function(a)
      if gl.is_tensor(a) then return a * 2 end
      return a * 2.1
    end, { check = true })
    near(4, odd(gl.tensor(2)))
    raises(function() odd(2) end, "check: result 1 differs", "4.2")
    local growing = { 1 }
    local counted = gl.jit(function(a)
      calls = #growing
      return a, calls > 1 and a or nil
    end, { check = true })
    counted(1)
    growing[2] = 2
    local first, second = counted(3)
    assert.are.same({ 3.0, 3.0 }, { first, second })
    raises(function() gl.jit(function(a) return a end, { check = 1 }) end, "check")
  end)

  it("keeps what its own tensors were when they were used", function()
    local f = gl.jit(function(a)
      local c = gl.zeros(2)
      local before = a * c
      c[1] = 5
      return before, a * c
    end)
    for _ = 1, 2 do
      local before, after = f(2)
      near({ 0, 0 }, before) near({ 10, 0 }, after)
    end
  end)

  it("guards the classes of the tables among its arguments", function()
    local class = { scale = 2 }
    class.__index = class
    local f = gl.jit(function(m, a)
      return m.w * a * m.scale
    end)
    local model, ones = setmetatable({ w = gl.tensor({ 1, 2 }) }, class), gl.ones(2)
    near({ 2, 4 }, f(model, ones))
    class.scale = 3
    near({ 3, 6 }, f(model, ones))
    assert.matches("scale has changed", f:stats().reasons[1])
  end)

  it("records what coroutines inside of it compute and draw", function()
    local w, zeros = gl.tensor({ 1, 2 }), gl.zeros(2)
    local f = gl.jit(function(a)
      return a + coroutine.wrap(function()
        return w * 2
      end)(), coroutine.wrap(function()
        return gl.randn(2)
      end)()
    end)
    local first, drawn = f(zeros)
    near({ 2, 4 }, first)
    w:fill_(7)
    local second, other = f(zeros)
    near({ 14, 14 }, second)
    assert.is_true((drawn - other):abs():max():item() > 0)
    assert.equal(1, f:stats().traces)
  end)

  it("does not keep a program with what a tensor was before it changed while the recording had yielded", function()
    local w = gl.tensor({ 1, 2 })
    local f = gl.jit(function(a)
      local before = a * w
      coroutine.yield()
      return before + w
    end)
    local function started()
      local thread = coroutine.create(function()
        return f(gl.ones(2))
      end)
      coroutine.resume(thread)
      return thread
    end
    local thread = started()
    near({ 2, 4 }, w * 2) -- of the thread that has yielded, not of this one
    w:fill_(7)
    near({ 8, 9 }, select(2, coroutine.resume(thread)))
    near({ 14, 14 }, select(2, coroutine.resume(started())))
  end)

  it("gives its own results when finalizers call it meanwhile, and is no more once it is finalized", function()
    local f = gl.jit(function(a)
      return { a = a * 2, {}, {}, { {}, {} }, { c = a * 3 } }
    end)
    local calls = 0
    local function arm()
      setmetatable({}, {
        __gc = function()
          calls = calls + 1
          f(1e6)
          if calls < 200 then arm() end
        end,
      })
    end
    f(1)
    arm()
    for i = 1, 1e5 do
      local r = f(i)
      assert(r.a == 2 * i and r[4].c == 3 * i)
      if calls >= 200 then break end
    end
    assert.is_true(calls > 0)

    local given
    do
      local g, recorded = nil, 0
      g = gl.jit(function(a)
        recorded = recorded + 1
        local finalized = recorded == 1
          and setmetatable({}, {
            __gc = function()
              given = g(gl.ones(2))
            end,
          })
        return a * 2.5, finalized
      end)
      g(gl.ones(2))
    end
    collectgarbage()
    collectgarbage()
    near({ 2.5, 2.5 }, given)
  end)

  it("calls itself, and is called in staged bodies", function()
    local f
    f = gl.jit(function(v) return #v > 1 and f(v[{ { 1, -2 } }]) or v * 2 end)
    near({ 2 }, f(gl.tensor { 1, 2, 3 }))
    local g = gl.jit(function(v) return v * 2 end)
    near({ 8 }, gl.jit(function(v) return gl.fori(3, function(_, s) return g(s) end, v) end)(gl.ones(1)))
    near({ 4, 8 }, gl.vmap(function(v) return gl.fori(2, function(_, s) return g(s) end, v) end)(gl.tensor { 1, 2 }))
  end)

  it("says which captured tables are too large to guard", function()
    local numbers = {}
    for i = 1, 2000 do numbers[i] = i end
    local f = gl.jit(function(a) return a * numbers[3] end)
    near(6, f(2))
    assert.are.same({ "numbers" }, f:stats().unguarded)
  end)

  it("takes static arguments as constants", function()
    local f = gl.jit(function(a, n)
      for _ = 1, n do a = a * 2 end
      return a
    end, { static = { 2 } })
    assert.are.equal(8.0, f(1, 3))
    assert.are.equal(16.0, f(1, 4))
    assert.are.equal(24.0, f(3, 3))
    assert.are.same({ 1, 2 }, { f:stats().hits, f:stats().traces })
  end)

  it("composes with transforms", function()
    local step = gl.jit(gl.value_and_grad(function(p, a) return ((p.w * a):sum() - p.b) ^ 2 end))
    for _ = 1, 3 do
      local v, g = step({ w = gl.tensor { 1, 2 }, b = 1 }, gl.ones(2))
      near(4, v)
      near({ 4, 4 }, g.w)
      assert.are.equal(-4.0, gl.is_tensor(g.b) and g.b:item() or g.b)
    end
    assert.are.equal(2, step:stats().hits)
    near(12, gl.grad(gl.jit(function(a) return a ^ 3 end))(2))
    near({ 3, 7, 11 }, gl.jit(gl.vmap(function(r) return r:sum() end))(x))
    near({ 3, 7, 11 }, gl.vmap(gl.jit(function(r) return r:sum() end))(x))
    near(4, gl.jit(function(a) return gl.jit(function(b) return b * 2 end)(a) end)(2))
  end)

  it("draws the same numbers again from a generator that the function makes anew, as the plain function would", function()
    local function noisy(row) return row + gl.generator(7):rand(2) end
    local rows = gl.zeros(3, 2)
    local once = noisy(rows[1])
    for _, got in ipairs { gl.vmap(noisy)(rows), gl.jit(gl.vmap(noisy))(rows) } do near(gl.stack { once, once, once }, got) end
    local jitted = gl.jit(noisy)
    for _ = 1, 2 do near(once, jitted(rows[1])) end
    local sum = gl.jit(function(xs)
      return (gl.scan(function(total, row) return total + noisy(row), row end, gl.zeros(2), xs))
    end)
    near(3 * once, sum(rows))
  end)

  it("refuses what would be done to a generator once only", function()
    local generator = gl.generator(3)
    for _, method in ipairs({ "split", "state", "manual_seed" }) do
      local ok, why = pcall(gl.jit(function(a)
        generator[method](generator, method == "manual_seed" and 1 or nil)
        return a
      end), gl.ones(1))
      assert.is_false(ok)
      assert.matches("would happen once", why)
    end
    assert.matches("would happen once", select(2, pcall(gl.jit(gl.manual_seed), 1)))
    local own = gl.jit(function(a)
      return a * gl.generator(3):split():randn(1)
    end)
    near(gl.generator(3):split():randn(1), own(gl.ones(1)))
  end)

  it("repeats values that are known only when it runs, in the dtype that is asked for", function()
    local f = gl.jit(function(n, a)
      return gl.full({ 2 }, n, { dtype = "i64" }), gl.full_like(a, n)
    end)
    for n = 3, 4 do
      local full, like = f(n, gl.ones(2, { dtype = "f32" }))
      near({ n, n }, full) near({ n, n }, like)
      assert.equal("i64 f32", full:dtype() .. " " .. like:dtype())
    end
    near(2, gl.grad(function(n)
      return gl.full_like(gl.ones(2), n):sum()
    end)(3))
  end)

  it("draws fresh numbers at every call, as the plain function would", function()
    local function f() return gl.rand(2), gl.randn(1) end
    local staged = gl.jit(f)
    gl.manual_seed(3)
    local a1, a2 = staged()
    local b1, b2 = staged()
    gl.manual_seed(3)
    local c1, c2 = f()
    local d1, d2 = f()
    near(c1, a1) near(c2, a2) near(d1, b1) near(d2, b2)
    assert.are.equal(1, staged:stats().hits)
    local g = gl.generator(8)
    local own = gl.jit(function() return g:rand(1) end)
    assert.is_false(own():eq(own()):item())
  end)

  it("keeps the dtype of f32 tensors that meet number arguments", function()
    assert.are.equal("f32", gl.jit(function(a, s) return a * s + s * 2 end)(gl.ones(2, { dtype = "f32" }), 3):dtype())
  end)

  it("computes what the plain function does for zeros of both signs, NaN, infinities and the smallest numbers", function()
    local functions = {
      function(a) return 1 / (a + 0) end, function(a) return 1 / (0 + a) end, function(a) return 1 / (0 - a) end,
      function(a) return 1 / (a - 0) end, function(a) return 1 / (a * -1) end, function(a) return 1 / -(-a) end,
      function(a) return a * 0 end, function(a) return a - a end, function(a) return a / a end, function(a) return a ^ 0 end,
      function(a) return a ^ 1 + a ^ 2 end, function(a) return a ^ -1 end, function(a) return a ^ 0.5 end,
      function(a) return gl.maximum(a, 0) + gl.minimum(a, 0) end, function(a) return gl.clamp(a, -1, 1) end,
      function(a) return 1 / gl.relu(a) end, function(a) return gl.where(gl.gt(a, 0), a, 0) end,
      function(a) return a % 1 + a // 1 end,
    }
    for _, dtype in ipairs { "f64", "f32" } do
      local special = gl.tensor({ 0.0, -0.0, 1 / 0, -1 / 0, 0 / 0, 1e-40, -1e-40, 5e-324, 1.5, -3, 1e38 }, { dtype = dtype })
      for _, f in ipairs(functions) do
        local want, staged = f(special), gl.jit(f)
        for _, got in ipairs { staged(special), staged(special), staged(special), gl.vmap(f)(special) } do
          near(want, got, 0)
          near(1 / want, 1 / got, 0)
        end
      end
    end
  end)

  it("says what cannot be", function()
    raises(function() gl.jit(function(a) if a > 3 then return a end return a end)(3) end, "jit", "gl.cond")
    raises(function() gl.jit(function(a) return a:item() end)(3) end, "item()", "jit")
    raises(function()
      gl.jit(function(a)
        local c = gl.zeros(2)
        c[{ { 1, 2 } }] = x[1]
        return c * a
      end)(1)
    end, "x:put(index, value)")
    raises(function() gl.jit(function(a) return a[a:gt(1)] end)(gl.ones(2)) end, "x[mask]", "gl.where(mask")
    raises(function() gl.jit(function(a) return a[{ {}, a[1]:gt(1) }] end)(gl.ones(2, 2)) end, "x[mask]", "x:put(mask")
    raises(function() gl.jit(3) end, "function")
    raises(function() gl.jit(function() end, { statics = 1 }) end, "did you mean \"static\"")
  end)
end)

describe("cache_stats", function()
  it("shows that a second call with an equal trace, other numbers in it, finds its plan", function()
    local function step(lr) return gl.grad(function(v) return (v * lr + 3.25):sin() end)(0.5) end
    step(0.1)
    local before = gl.cache_stats()
    step(0.2)
    step(0.3)
    local after = gl.cache_stats()
    assert.are.equal(before.misses, after.misses)
    assert.are.equal(before.hits + 2, after.hits)
    assert.are.equal(before.entries, after.entries)
    assert.is_true(after.bytes > 0 and after.entries > 0)
  end)
end)

describe("an integer division by zero inside a staged function", function()
  it("names its line", function()
    local n = gl.tensor({ 3, 0 }, { dtype = "i64" })
    local function f(v)
      return v // v
    end
    local line = debug.getinfo(f, "S").linedefined + 1
    for _, staged in ipairs { gl.jit(f), gl.vmap(f) } do
      local ok, message = pcall(staged, n)
      assert.is_false(ok)
      assert.is_truthy(message:find(("staged_spec.lua:%d]"):format(line), 1, true), message)
    end
  end)
end)

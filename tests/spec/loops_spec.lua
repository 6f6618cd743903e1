-- What the bodies of recorded loops may do beside arithmetic: draw random numbers; and what they may not.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

--- What f gives, and the number drawn next, from a seed.
local function after(f, ...)
  gl.manual_seed(11)
  return f(...), gl.rand()
end

--- f(x) and its slope draw the same numbers recorded as plain, and leave the generator where the plain function does.
local function draws_alike(f, x)
  local value, next_value = after(f, x)
  local slope, next_slope = after(gl.grad(f), x)
  for _, case in ipairs { { gl.jit(f), value, next_value }, { gl.jit(gl.grad(f)), slope, next_slope } } do
    local got, next_got = after(case[1], x)
    near(case[2], got)
    near(case[3], next_got, 0)
  end
end

describe("draws in the body of a recorded loop", function()
  local xs = gl.tensor { 1, 2, 3 }

  it("are new at every step, and those of the plain loop", function()
    local noise = gl.jit(function() return (select(2, gl.scan(function(c) return c, gl.rand(2) end, 0, xs))) end)
    local rows = noise()
    assert.is_false(rows[1]:eq(rows[2]):any():item() or rows[2]:eq(rows[3]):any():item())
    assert.is_false(noise():eq(rows):any():item())
    draws_alike(function(x) return gl.fori(5, function(_, s) return s * x + gl.rand() end, x) end, 0.5)
    draws_alike(function(x) return (gl.scan(function(c, r) return c * x + r * gl.randn(3):sum(), c end, x, xs)) end, 0.5)
    draws_alike(function(x)
      return (gl.scan(function(c, r) return c * x + gl.randint(0, 9, { 3 })[2] * r, c end, x, xs, { reverse = true }))
    end, 0.5)
  end)

  it("go on through nested loops, branches, checkpoints, other transforms and inner jits", function()
    local function body(_, s) return s * gl.rand() + gl.randn() end
    draws_alike(function(x) return gl.fori(3, function(_, s) return gl.fori(2, body, s) * x end, x) + gl.rand() end, 0.5)
    draws_alike(function(x)
      return gl.fori(4, function(_, s)
        return gl.cond(gl.gt(s, 0.5), function(v) return v * gl.rand() end, function(v) return v + gl.rand() * x end, s) + gl.rand()
      end, x)
    end, 0.5)
    for _, every in ipairs { 1, 2, 3, 9, "sqrt" } do
      draws_alike(function(x) return gl.fori(7, function(_, s) return s * x + gl.rand() end, x, { checkpoint = every }) end, 0.5)
    end
    draws_alike(function(x)
      return gl.fori(3, gl.jit(function(_, s) return gl.checkpoint(function(v) return v * gl.rand() * x end)(s) end), x)
    end, 0.5)
    draws_alike(function(x)
      return gl.fori(3, function(_, s) return s + gl.grad(function(v) return v * v * gl.rand() end)(s * x) end, x)
    end, 0.5)
    draws_alike(function(x)
      return gl.fori(3, function(_, s) return s + gl.vmap(function(r) return r * gl.rand() * x end)(xs):sum() end, x)
    end, 0.5)
  end)

  it("come from several generators, also from one made in the jitted function", function()
    local a, b = gl.generator(1), gl.generator(2)
    local function f(x)
      return gl.fori(3, function(_, s) return s * a:rand() + b:randn() * gl.rand() end, x)
    end
    local want = after(f, 2)
    local state = { a:state(), b:state() }
    a:manual_seed(1)
    b:manual_seed(2)
    near(want, (after(gl.jit(f), 2)))
    assert.are.same(state, { a:state(), b:state() })
    local function own(x)
      local g = gl.generator(5)
      return gl.fori(3, function(_, s) return s * x + g:rand() end, x) + g:rand()
    end
    near(own(0.5), gl.jit(own)(0.5))
    near(own(0.5), gl.jit(own)(0.5))
  end)

  it("are used again by the reverse loop", function()
    local function f(x, noise)
      return gl.fori(4, function(i, s) return (s * x + (noise and noise[i] or gl.rand(3))):tanh() end, gl.zeros(3)):sum()
    end
    gl.manual_seed(11)
    local noise = gl.stack { gl.rand(3), gl.rand(3), gl.rand(3), gl.rand(3) }
    near(gl.grad(f)(0.7, noise), (after(gl.jit(gl.grad(f)), 0.7)))
    near(gl.grad(gl.grad(f))(0.7, noise), (after(gl.jit(gl.grad(gl.grad(f))), 0.7)), 1e-9)
    local function push(x) return select(2, gl.jvp(f, { x }, { 1 })) end
    near(gl.grad(f)(0.7, noise), (after(gl.jit(push), 0.7)))
  end)

  it("are each example's own under vmap", function()
    local function f(x) return gl.fori(3, function(_, s) return s * x + gl.rand() end, x) end
    gl.manual_seed(11)
    local want = gl.stack { f(xs[1]), f(xs[2]), f(xs[3]) }
    for _, g in ipairs { gl.vmap(f), gl.jit(gl.vmap(f)), gl.vmap(gl.jit(f)) } do near(want, (after(g, xs))) end
    gl.manual_seed(11)
    want = gl.stack { gl.grad(f)(xs[1]), gl.grad(f)(xs[2]), gl.grad(f)(xs[3]) }
    near(want, (after(gl.vmap(gl.grad(f)), xs)))
  end)

  it("let a layer drop out inside a scan", function()
    local drop = gl.nn.dropout(0.5)
    local p = drop.init(gl.generator(1))
    draws_alike(function(x)
      return (gl.scan(function(h, r) return (drop(p, h * x, { train = true }) + r):tanh(), nil end, gl.zeros(8), xs)):sum()
    end, 0.5)
  end)

  --- x times the sum of as many draws as it takes to pass a bound.
  local function passing(x)
    return gl.while_loop(function(s) return s.sum:lt(3) end, function(s)
      local u = gl.rand()
      return { sum = s.sum + u, scaled = s.scaled + u * x }
    end, { sum = gl.tensor(0), scaled = gl.tensor(0) }).scaled
  end

  it("of a while_loop come from a stream of its own", function()
    local value, next_value = after(gl.jit(passing), 2)
    assert.is_true(value:item() >= 6 and value:item() < 8)
    local slope, next_slope = after(gl.jit(gl.grad(passing)), 2)
    near(value:item() / 2, slope)
    near(next_value, next_slope, 0)
    local f = gl.jit(passing)
    assert.are_not.equal(f(2):item(), f(2):item())
    local rows = after(gl.vmap(passing), gl.full({ 4 }, 2))
    near(value, rows[1])
    assert.is_true(rows:ge(6):all():item() and not rows[1]:eq(rows[2]):item())
    near(rows / 2, (after(gl.vmap(gl.grad(passing)), gl.full({ 4 }, 2))))
  end)

  it("are refused in the test of a while_loop", function()
    raises(function()
      gl.jit(function(x) return gl.while_loop(function() return gl.rand():lt(0.5) end, function(s) return s + 1 end, x) end)(1)
    end, "the test of a recorded while_loop", "draw in its body")
  end)

  it("leave no generator to be seeded in a body", function()
    local g = gl.generator(1)
    raises(function() gl.jit(function(x) return gl.fori(2, function(_, s) g:manual_seed(1); return s end, x) end)(1) end,
      "can only be drawn from inside")
  end)
end)

describe("a batch of loops whose step can fail", function()
  --- x times x / n, x / (n - 1), ... x / 1: one step more would divide by zero.
  local function f(x, n)
    return gl.while_loop(function(s) return s.n:gt(0) end, function(s)
      return { n = s.n - 1, y = x * gl.solve(s.n:reshape(1, 1), s.y:reshape(1)):sum() }
    end, { n = n, y = x }).y
  end
  local xs = gl.tensor { 1.5, 2.5, 3.5 }

  it("fails for no element that has ended, nor do its derivatives", function()
    local function second(x, n) return gl.grad(gl.grad(f))(x, n) end
    local function pushed(x, n) return select(2, gl.jvp(function(v) return f(v, n) end, { x }, { 1 })) end
    for _, ns in ipairs { gl.tensor { 0, 3, 1 }, gl.zeros(3), gl.tensor { 4, 0, 0 } } do
      for _, g in ipairs { f, gl.grad(f), second, pushed } do
        local want = {}
        for i = 1, 3 do want[i] = g(xs[i], ns[i]) end
        near(gl.stack(want), gl.vmap(g)(xs, ns))
        near(gl.stack(want), gl.jit(gl.vmap(g))(xs, ns))
      end
      near(gl.vmap(gl.grad(f))(xs, ns), gl.grad(function(v) return gl.vmap(f)(v, ns):sum() end)(xs))
    end
    local square = gl.vmap(gl.vmap(gl.grad(f)))
    near(gl.tensor { { 1, 25 / 4 }, { 7, 3 } }, square(gl.tensor { { 1.5, 2.5 }, { 3.5, 1.5 } }, gl.tensor { { 0, 2 }, { 1, 1 } }) *
      gl.tensor { { 1, 2 / 3 }, { 1, 1 } } )
  end)
end)

describe("a recorded loop says what is wrong", function()
  local ones = gl.ones(2)
  local function fori(step, init) return function() gl.jit(function(x) return gl.fori(3, step, init and init(x) or x) end)(ones) end end
  local function nested(x) return { a = x, b = { c = x, [1] = 1 } } end

  it("about a state that changes its shape or dtype", function()
    raises(fori(function(_, s) return s:sum() end), "fori: state begins as f64 2 and is f64 0-d after one step")
    raises(fori(function(_, s) return { a = s.a, b = { s.b[1], c = s.b.c:sum() } } end, nested), "state.b.c begins as f64 2")
    raises(fori(function(_, s) return { a = s.a, b = { s.b[1] + s.a, c = s.a } } end, nested), "state.b[1] begins as f64 0-d")
    raises(fori(function(_, s) return s:to("f32") end), "is f32 2 after one step", ':to("f64")')
    raises(function()
      gl.jit(function(x) return gl.scan(function(s, r) return { s[1], s[2] + r }, r end, { x, 0 }, gl.ones(3, 2)) end)(ones)
    end, "scan: state[2] begins as f64 0-d and is f64 2")
    raises(function()
      gl.jit(function(x) return gl.while_loop(function(s) return s:sum():lt(9) end, function(s) return s:sum() end, x) end)(ones)
    end, "while_loop: state begins as f64 2 and is f64 0-d")
  end)

  it("about a state that changes its structure", function()
    raises(fori(function(_, s) return { s } end), "state is a tensor, and a table after a step")
    raises(fori(function() end), "state is a tensor, and nothing after a step")
    raises(fori(function() return true end), "a boolean after a step")
    raises(fori(function(_, s) return { a = s.a, b = { 1 } } end, nested), "state.b.c is a tensor, and nothing after a step")
    raises(fori(function(_, s) s.d = s.a; return s end, nested), "state.d is not in the state that the loop begins with")
  end)

  it("about a test that gives no mask", function()
    local function test(f)
      return function() gl.jit(function(x) return gl.while_loop(f, function(s) return s end, x) end)(gl.tensor(1)) end
    end
    raises(test(function() return true end), "must compare values of the state", "a boolean")
    raises(test(function(s) return s end), "0-d bool")
    raises(function()
      gl.jit(function(x) return gl.while_loop(function(s) return s < 3 end, function(s) return s end, x) end)(gl.tensor(1))
    end, "gl.lt(a, b)")
  end)

  it("about what would happen once", function()
    local totals, kept = { n = 0 }, {}
    raises(fori(function(_, s) totals.n = totals.n + 1; return s end), '"n" of the captured table "totals"', "part of the state")
    local counting = load("return function(_, s) steps = steps + 1; return s end", "=text", "t", { steps = 0 })()
    raises(fori(counting), 'the global variable "steps"')
    raises(function()
      gl.jit(function(x) return gl.fori(3, function(_, s) kept[#kept + 1] = s; return s end, x) + kept[1] end)(ones)
    end, "traced value was kept", "part of the state")
    gl.jit(function(x) return gl.fori(3, function(_, s) kept.last = s; return s * 2 end, x) end)(ones)
    raises(function() return kept.last + 1 end, "traced value was kept")
  end)

  it("about a step that fails, once with its line", function()
    local ok, message = pcall(gl.jit(function(x) return gl.fori(3, function(i, s) return s + x[i] end, x) end), ones)
    assert.is_false(ok)
    local _, lines = message:gsub("loops_spec.lua:%d+%]", "")
    assert.are.equal(1, lines)
  end)
end)

describe("recorded loops", function()
  local xs = gl.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }

  it("of no step and of one", function()
    local function f(n) return function(x) return gl.fori(n, function(i, s) return s * x + i end, x):sum() end end
    for n = 0, 1 do
      near(f(n)(gl.ones(2) * 3), gl.jit(f(n))(gl.ones(2) * 3))
      near(gl.grad(f(n))(gl.ones(2) * 3), gl.jit(gl.grad(f(n)))(gl.ones(2) * 3))
    end
    local function one(x) return gl.scan(function(c, r) return c * x + r, { c = c, n = 2 } end, x, xs[{ { 1, 1 } }]) end
    near((one(gl.ones(2))), (gl.jit(one)(gl.ones(2))))
    near({ { 1, 1 } }, select(2, gl.jit(one)(gl.ones(2))).c)
  end)

  --- A cond in a scan in a while, over nested tables, in both dtypes.
  it("inside each other", function()
    for _, dtype in ipairs { "f64", "f32" } do
      local rows = { a = xs:to(dtype), b = { xs:to(dtype):sum(2) } }
      local function inner(x)
        return function(c, r)
          local s = gl.cond(c.s:sum():gt(3), function(v) return v / 2 end, function(v) return v * x + r.a end, c.s)
          return { s = s, n = c.n + r.b[1] }, { s:sum(), { last = c.s } }
        end
      end
      local function f(x)
        local s = gl.while_loop(function(s) return gl.lt(s.n, 40) end, function(s)
          local c, ys = gl.scan(inner(x), { s = s.s, n = s.n }, rows, { reverse = true })
          return { s = c.s + ys[1]:sum() / 8 + ys[2].last[1], n = c.n }
        end, { s = x * gl.ones(2, { dtype = dtype }), n = gl.zeros({ dtype = dtype }) })
        return s.s:sum()
      end
      local x, tolerance = gl.tensor(0.3, { dtype = dtype }), dtype == "f64" and 1e-12 or 1e-5
      near(f(x), gl.jit(f)(x), tolerance)
      near(gl.grad(f)(x), gl.jit(gl.grad(f))(x), tolerance)
      near(select(2, gl.jvp(f, { x }, { 1 })), gl.grad(f)(x), tolerance)
      near(gl.stack { f(x), f(x * 2) }, gl.vmap(f)(gl.stack { x, x * 2 }), tolerance)
      near(gl.stack { gl.grad(f)(x), gl.grad(f)(x * 2) }, gl.vmap(gl.grad(f))(gl.stack { x, x * 2 }), tolerance)
    end
  end)

  it("whose states change places, whose test reads one that does, and of which one is empty", function()
    local function steps(go)
      local s = gl.while_loop(function(s) return s.go end, function(s)
        return { go = s.later, later = s.n:lt(3), n = s.n + 1 }
      end, { go = go, later = go, n = gl.tensor(0.0) })
      return s.n
    end
    near(5, gl.jit(steps)(gl.tensor(true)))
    near(0, gl.jit(steps)(gl.tensor(false)))
    local w = gl.tensor { 1, 2, 3, 4, 5, 6, 7, 8 }
    local function swapped(x, none)
      local s = gl.fori(3, function(_, s)
        return { a = s.a, b = s.c, c = s.b, d = s.d + (w * s.d):max() }
      end, { a = none, b = x, c = x + 1, d = x })
      return s.a, gl.stack { s.b, s.c, s.d }
    end
    local empty, rest = gl.jit(swapped)(gl.tensor(1.0), gl.zeros(0))
    assert.equal(0, #empty)
    near({ 2, 1, 729 }, rest)
  end)

  it("of a million steps, with checkpoints where memory counts", function()
    local function f(options)
      return function(x) return gl.fori(1000000, function(_, s) return s * 0.5 + x end, x, options) end
    end
    near(2, gl.jit(gl.grad(f()))(0.25))
    near(2, gl.jit(gl.grad(f { checkpoint = "sqrt" }))(0.25))
  end)
end)

describe("a part of what a recorded loop gives", function()
  -- Steps that read their neighbour; x is 200 numbers, so that computing a part pays.
  local function march(x, steps)
    return gl.fori(steps, function(_, y)
      return (x * gl.concat { gl.ones(1, { dtype = x:dtype() }), y[{ { 1, -2 } }] } + y):sin() / 3
    end, x)
  end

  it("has the values and the derivatives that the whole has", function()
    for _, dtype in ipairs { "f64", "f32" } do
      local x, tolerance = gl.linspace(0.1, 2, 200):to(dtype), dtype == "f64" and 1e-13 or 1e-5
      for _, at in ipairs { -1, 100, 1 } do
        for _, steps in ipairs { 0, 1, 3, 80 } do
          local function f(v) return march(v, steps)[at] end
          local rows = gl.jacobian(function(v) return march(v, steps) end)(x)
          near(march(x, steps)[at], gl.jit(f)(x), tolerance)
          near(rows[at], gl.grad(f)(x), tolerance)
          near(rows[at], gl.jit(gl.grad(f))(x), tolerance)
          near(rows[at], gl.vmap(gl.grad(f))(gl.stack { x, x * 2 })[1], tolerance)
        end
      end
    end
  end)

  it("has the second derivatives, and the NaN, that the whole has", function()
    local x = gl.linspace(0.1, 2, 200)
    local hessian = gl.hessian(function(v) return march(v, 3)[150] end)(x)
    local masked = gl.hessian(function(v) return (march(v, 3) * gl.arange(1, 200):eq(150)):sum() end)(x)
    near(masked, hessian, 1e-12)
    x[148] = 0 / 0
    local slope = gl.jit(gl.grad(function(v) return march(v, 3)[150] end))(x)
    assert.is_true(slope[150]:isnan():item())
    assert.equal(0, slope[{ { 1, 100 } }]:isnan():sum():item())
    assert.is_false(gl.jit(function(v) return march(v, 3)[140] end)(x):isnan():item())
  end)
end)

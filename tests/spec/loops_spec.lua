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

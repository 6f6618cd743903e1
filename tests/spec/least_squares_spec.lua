-- gl.least_squares, gl.root and gl.fixed_point: values, what they are given and give back, derivatives of solutions.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

describe("least_squares", function()
  local t = gl.linspace(0, 4, 30)
  local y = 2.5 * gl.exp(-1.3 * t) + 0.5

  it("fits a nested table and tells how well it is determined", function()
    local noise = 0.01 * gl.sin(37 * t)
    local r = gl.least_squares(function(p) return p.a * gl.exp(-p.k * t) + p.c[1] - y - noise end, { a = 1, k = 1, c = gl.zeros(1) })
    assert.is_true(r.converged, r.message)
    assert.are.equal("lm", r.method)
    near(2.5, r.x.a, 1e-2)
    near(1.3, r.x.k, 1e-2)
    near(0.5, r.x.c[1], 1e-2)
    near(r.f, 0.5 * r.residual:square():sum():item(), 1e-12)
    near(r.variance, 2 * r.f / 27, 1e-12)
    assert.are.equal(3, r.rank)
    near(math.sqrt(r.covariance[{ 1, 1 }]:item()), r.errors.a, 1e-12)
    assert.is_true(r.errors.a > 1e-4 and r.errors.a < 0.02 and r.errors.c:numel() == 1)
  end)

  it("solves linear problems as lstsq does, with every method", function()
    local A = gl.stack({ gl.ones(6), gl.arange(1, 6), gl.arange(1, 6):square() }, 2)
    local b = gl.tensor { 1, 3, 2, 5, 4, 8 }
    local want = gl.lstsq(A, b)
    for _, method in ipairs { "lm", "trf", "gn" } do
      local r = gl.least_squares(function(x) return A:matmul(x) - b end, gl.zeros(3), { method = method })
      assert.is_true(r.converged, r.message)
      near(want, r.x, 1e-9)
      local variance = r.residual:square():sum():item() / 3
      near(gl.inv(A:t():matmul(A)) * variance, r.covariance, 1e-8)
    end
  end)

  it("keeps to bounds, and outliers from mattering", function()
    local spoilt = y:clone()
    spoilt[10] = 40
    local function residual(p) return p[1] * gl.exp(-p[2] * t) + p[3] - spoilt end
    local start = gl.tensor { 2.2, 1.1, 0.4 }
    for _, loss in ipairs { "huber", "soft_l1", "cauchy", "arctan" } do
      local r = gl.least_squares(residual, start, { loss = loss, f_scale = 0.1 })
      near({ 2.5, 1.3, 0.5 }, r.x, 0.2)
    end
    local plain = gl.least_squares(residual, start)
    assert.is_true((plain.x - gl.tensor { 2.5, 1.3, 0.5 }):abs():max():item() > 0.3)
    local bounded = gl.least_squares(function(p) return p[1] * gl.exp(-p[2] * t) + p[3] - y end, start,
      { bounds = { gl.tensor { 0, 0, 0.6 }, gl.tensor { 2, 5, 9 } } })
    assert.are.equal("trf", bounded.method)
    assert.is_true(bounded.converged, bounded.message)
    near(0.6, bounded.x[3], 1e-9)
  end)

  -- A chain of n unknowns: each residual sees one or two of them.
  local function chain(x)
    local a, b = x[{ { 1, -2 } }], x[{ { 2, -1 } }]
    return gl.concat({ 10 * (b - a:square()), 1.1 - a }, 1)
  end

  it("takes a sparse Jacobian to the same answer, with every method", function()
    local start = gl.full({ 40 }, 0.7)
    for _, options in ipairs { { method = "lm" }, { method = "trf" }, { method = "gn" }, { geodesic = true },
      { loss = "soft_l1" }, { bounds = { 0.5, 1.05 } } } do
      local full = gl.least_squares(chain, start, options)
      options.sparse = true
      local sparse = gl.least_squares(chain, start, options)
      assert.are.same({ false, true }, { full.sparse, sparse.sparse })
      assert.is_true(sparse.converged and math.abs(sparse.iterations - full.iterations) <= 1, sparse.message)
      near(full.x, sparse.x, 1e-6)
      near(full.errors, sparse.errors, 1e-6)
      near(full.covariance, sparse.covariance, 1e-6)
    end
  end)

  it("finds the structure by itself where that pays, and then needs little memory", function()
    local n = 20000
    local r = gl.least_squares(chain, gl.full({ n }, 0.7))
    assert.is_true(r.converged and r.sparse and r.covariance == nil)
    assert.are.equal(n, r.rank)
    near(gl.least_squares(chain, gl.full({ 60 }, 0.7), { sparse = true }).errors[{ { 1, 10 } }], r.errors[{ { 1, 10 } }], 0.1)
    local A = gl.randn(130, 120)
    assert.is_false(gl.least_squares(function(x) return A:matmul(x) - 1 end, gl.zeros(120)).sparse)
    assert.is_false(gl.least_squares(chain, gl.full({ 120 }, 0.7), { sparse = false }).sparse)
  end)

  it("does not mind units, nor starts where the columns are worlds apart; says what is not determined", function()
    for _, method in ipairs { "lm", "trf", "gn" } do
      for _, sparse in ipairs { false, true } do
        local options = { method = method, sparse = sparse }
        local units = gl.least_squares(function(x) return x * gl.tensor { 1e8, 1, 1e-8 } - 1 end, gl.zeros(3), options)
        near(gl.tensor { 1, 1, 1 }, units.x * gl.tensor { 1e8, 1, 1e-8 }, 1e-8)
        assert.are.equal(3, units.rank)
        local steep = gl.least_squares(function(x) return gl.exp(x * gl.tensor { 1, 10 }) - gl.tensor { 2, 3 } end,
          gl.tensor { 5, 5 }, options)
        assert.is_true(steep.converged, steep.message)
        near(gl.tensor { math.log(2), math.log(3) / 10 }, steep.x, 1e-6)
        local open = gl.least_squares(function(x) return gl.stack { x[1] + x[2] - 1, 2 * (x[1] + x[2]) - 2, x[3] } end,
          gl.zeros(3), options)
        assert.is_true(open.converged and open.rank == 2)
        assert.are.equal(1, open.errors:eq(math.huge):sum():item())
        assert.is_true(gl.least_squares(function(x) return x end, gl.zeros(0), options).converged)
      end
    end
  end)

  it("does not take a small share of a large problem for a small gradient", function()
    local readings = gl.sin(gl.arange(1, 2000))
    local function smoothing(x)
      return gl.concat({ x - readings, 1e6 * (x[{ { 1, -2 } }] - x[{ { 2, -1 } }]) }, 1)
    end
    local r = gl.least_squares(smoothing, gl.zeros(2000))
    assert.is_true(r.converged and r.iterations > 0, r.message)
    near(readings:mean(), r.x[1000], 1e-6)
  end)

  it("says when the structure is not the same everywhere", function()
    local function switching(x)
      if x[1]:item() == 0.7 then return chain(x) end
      return 0.001 * gl.concat({ x, x[{ { 1, -3 } }] }, 1)
    end
    raises(function() gl.least_squares(switching, gl.full({ 40 }, 0.7), { sparse = true }) end, "sparse = false")
  end)

  it("refuses what it cannot use", function()
    raises(function() gl.least_squares(function(p) return p end, 1, { los = "huber" }) end, "least_squares: unknown", "loss")
    raises(function() gl.least_squares(function(p) return p end, 1, { method = "bfgs" }) end, "least_squares", '"lm", "trf", "gn"')
    raises(function() gl.least_squares(function(p) return p end, 1, { tol = -1 }) end, "least_squares: tolerances")
    raises(function() gl.least_squares(chain, gl.ones(2), { bounds = { { 0, 1 }, { 0, 1 } } }) end, "not {{lo, hi}, ..}")
    raises(function() gl.least_squares(function(p) return p end, 1, { loss = "l1" }) end, "l1", "soft_l1")
    raises(function() gl.least_squares(function() return "x" end, 1) end, "residual must be a tensor")
    raises(function() gl.least_squares(3, 1) end, "r must be a function")
  end)
end)

describe("root", function()
  it("finds roots of numbers, tensors and nested tables with every method", function()
    local function f(p) return { p.a ^ 2 + p.b:square():sum() - 6, p.b - p.a * gl.tensor { 1, 2 } } end
    for _, method in ipairs { "newton", "hybrid", "broyden" } do
      local x, info = gl.root(f, { a = 2, b = gl.tensor { 1, 1 } }, { method = method })
      assert.is_true(info.converged, info.message)
      assert.are.equal(method, info.method)
      near(1, x.a, 1e-9)
      near({ 1, 2 }, x.b, 1e-9)
    end
    near(math.sqrt(2), (gl.root(function(x) return x * x - 2 end, 1)), 1e-12)
    raises(function() gl.root(function(x) return x * x - 2 end, 1, { tl = 1e-3 }) end, 'did you mean "tol"')
    local value, rate = gl.jvp(function(a) return (gl.root(function(x, k) return x * x - k end, 1, a)) end, { 2 }, { 1 })
    assert.are.same({ "float", "float" }, { math.type(value), math.type(rate) })
    near(0.5 / math.sqrt(2), rate, 1e-10)
  end)

  it("does not mind the units of the unknowns", function()
    for _, method in ipairs { "newton", "hybrid", "broyden", "anderson" } do
      local x, info = gl.root(function(v) return v * gl.tensor { 1e8, 1e-8 } - 1 end, gl.zeros(2), { method = method })
      assert.is_true(info.converged, info.message)
      near(gl.ones(2), x * gl.tensor { 1e8, 1e-8 }, 1e-9)
    end
  end)

  it("says when there is none", function()
    local _, info = gl.root(function(x) return x * x + 1 end, 0.7)
    assert.is_false(info.converged)
    assert.is_truthy(info.message:find("not converged", 1, true))
  end)

  it("is differentiable in its arguments, to any order", function()
    local function square_root(a) return (gl.root(function(x, b) return x * x - b end, 1, a)) end
    local g1 = gl.grad(square_root)
    local g2 = gl.grad(g1)
    local g3 = gl.grad(g2)
    near(0.5 / math.sqrt(2), g1(2), 1e-12)
    near(-0.25 * 2 ^ -1.5, g2(2), 1e-11)
    near(0.375 * 2 ^ -2.5, g3(2), 1e-10)
    near(-0.9375 * 2 ^ -3.5, gl.grad(g3)(2), 1e-9)
  end)

  it("stages, and batches", function()
    local function cube_root(a) return (gl.root(function(x, b) return x ^ 3 - b end, 1, a)) end
    local a = gl.tensor { 8, 27, 2 }
    near(a ^ (1 / 3), gl.vmap(cube_root)(a), 1e-12)
    near(a ^ (-2 / 3) / 3, gl.vmap(gl.grad(cube_root))(a), 1e-12)
    near(-2 / 9 * a ^ (-5 / 3), gl.vmap(gl.grad(gl.grad(cube_root)))(a), 1e-11)
    near(2, gl.jit(cube_root)(8), 1e-12)
    near(1 / 12, gl.jit(gl.grad(cube_root))(8), 1e-12)
    local none = gl.jit(function(b) return (gl.root(function(x) return x * x + b end, 0.7)) end)
    near(0 / 0, none(1))
    local function cosine(k) return (gl.fixed_point(function(x) return gl.cos(k * x) end, 0.5)) end
    near(gl.jacobian(gl.vmap(cosine))(gl.tensor { 1, 0.5 }), gl.vmap(gl.grad(cosine))(gl.tensor { 1, 0.5 }):diag(), 1e-11)
  end)

  it("is differentiable in what the function captures, and in tensors", function()
    local A = gl.tensor { { 3, 1 }, { 1, 2 } }
    local function f(b)
      local x = gl.root(function(v) return A:matmul(v) + v ^ 3 - b end, gl.zeros(2))
      return x:square():sum()
    end
    assert.is_true(gl.gradcheck(f, gl.tensor { 1, -0.5 }))
    assert.is_true(gl.gradcheck(f, gl.tensor { 1, -0.5 }, { order = 2 }))
  end)

  it("passes errors of the function on, and stops when asked", function()
    raises(function() gl.root(function() error("no value here") end, 1) end, "no value here")
    local steps = 0
    local _, info = gl.root(function(x) return x ^ 3 - 8 end, 9, { on_step = function(i)
      steps = steps + 1
      return i.iteration == 2
    end })
    assert.are.equal("user", info.status)
    assert.are.equal(3, steps)
  end)
end)

describe("limits and lines", function()
  it("hold for roots and fits as for minimizers", function()
    local function slow(x) return x ^ 3 - 8 end
    for _, method in ipairs { "newton", "hybrid", "broyden", "anderson" } do
      local seen = {}
      local function watch(i) seen[#seen + 1] = i.iteration end
      local _, info = gl.root(slow, gl.tensor { 9 }, { method = method, max_iter = 3, on_step = watch })
      assert.are.equal(info.iterations, seen[#seen], method)
      local _, timed = gl.root(slow, gl.tensor { 9 }, { method = method, max_seconds = 1e-9 })
      assert.are.equal("max_time", timed.status, method)
    end
    for _, method in ipairs { "lm", "trf", "gn" } do
      local seen = {}
      local function r(x) return gl.exp(x) - gl.tensor { 1, 2 } end
      local fit = gl.least_squares(r, gl.tensor { 3, 4 }, { method = method, max_iter = 2, on_step = function(i)
        seen[#seen + 1] = i.iteration
        assert.is_true(i.evaluations.jac > 0 and i.x:numel() == 2)
      end })
      assert.are.same({ 0, 1, 2 }, seen)
      assert.are.equal("max_iter", fit.status)
      assert.are.equal("max_time", gl.least_squares(r, gl.tensor { 3, 4 }, { method = method, max_seconds = 1e-9 }).status)
      assert.are.equal("target", gl.least_squares(r, gl.tensor { 3, 4 }, { method = method, target = 5 }).status)
    end
  end)

  it("go to the error stream when asked", function()
    local path = os.tmpname()
    local script = "local gl = require 'gradlua' gl.root(function(x) return x ^ 3 - 8 end, 9, {progress = true}) "
      .. "gl.least_squares(function(x) return x - 1 end, 3, {progress = true})"
    os.execute(("%s -e \"%s\" 2>%s"):format(os.getenv("GRADLUA") or arg[-1], script, path))
    local lines = 0
    for line in io.lines(path) do
      assert.is_truthy(line:match("^ *%d+  f %S+  gradient %S+"), line)
      lines = lines + 1
    end
    os.remove(path)
    assert.is_true(lines > 5)
  end)
end)

describe("fixed_point", function()
  it("finds them, and is differentiable", function()
    local x, info = gl.fixed_point(gl.cos, 1)
    near(0.7390851332151607, x, 1e-10)
    assert.are.equal("anderson", info.method)
    local function at(a) return (gl.fixed_point(function(v, b) return gl.cos(b * v) end, 1, a)) end
    local v = 0.7390851332151607
    near(-v * math.sin(v) / (1 + math.sin(v)), gl.grad(at)(1), 1e-9)
  end)

  it("needs fewer steps than plain iteration", function()
    local function g(v) return 0.9 * gl.cos(v) + 0.05 * v:flip(1) end
    local _, fast = gl.fixed_point(g, gl.linspace(0, 1, 20))
    local _, plain = gl.fixed_point(g, gl.linspace(0, 1, 20), { memory = 0 })
    assert.is_true(fast.converged and plain.converged and fast.iterations * 2 < plain.iterations)
  end)
end)

describe("argmin of a function", function()
  -- (x - a)^2 + x^2 is least at a / 2; f(x, a) = cosh(x - a^2) at a^2
  local function bowl(x, a) return (x - a) ^ 2 + x ^ 2 end

  it("gives the point and how it was found", function()
    local x, result = gl.argmin(bowl, 3.0, 4.0)
    assert.is_true(math.abs(x - 2) < 1e-8)
    assert.are.equal("converged", result.status)
    local distance = setmetatable({}, { __call = function(_, v) return ((v - gl.tensor { 1, 2 }) ^ 2):sum() end })
    local y = gl.argmin(distance, gl.zeros(2)) -- whatever can be called is a function
    assert.is_true((y - gl.tensor { 1, 2 }):abs():max():item() < 1e-8)
  end)

  it("is differentiable in the further arguments, in both modes and twice", function()
    local function least(a) return gl.argmin(function(x, b) return (x - b * b):cosh() end, 0.5, a) end
    local slope = gl.grad(least)(0.7)
    assert.is_true(math.abs(slope - 1.4) < 1e-6, tostring(slope))
    local _, tangent = gl.jvp(least, { gl.tensor(0.7) }, { gl.tensor(1.0) })
    assert.is_true(math.abs(tangent - 1.4) < 1e-6)
    local second = gl.grad(gl.grad(least))(0.7)
    assert.is_true(math.abs(second - 2) < 1e-5, tostring(second))
  end)

  it("leaves argmin of a tensor what it is", function()
    assert.are.equal(2, gl.argmin(gl.tensor { 3, 1, 2 }):item())
    assert.are.equal(2, gl.tensor { 3, 1, 2 }:argmin():item())
    assert.has_error(function() gl.argmin(nil) end)
  end)
end)

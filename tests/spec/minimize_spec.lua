-- gl.minimize on numbers, tensors and nested tables; what it returns, what it refuses.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises

local function rosenbrock(x)
  return (1 - x[1]) ^ 2 + 100 * (x[2] - x[1] ^ 2) ^ 2
end

local function near(want, got, tolerance)
  assert.is_true(math.abs(want - got) <= (tolerance or 1e-6), ("%.12g, not %.12g"):format(got, want))
end

describe("minimize", function()
  it("finds the minimum of Rosenbrock's function with gd, nesterov, cg, bfgs and lbfgs", function()
    for _, method in ipairs { "gd", "nesterov", "cg", "bfgs", "lbfgs" } do
      local r = gl.minimize(rosenbrock, gl.tensor { -1.2, 1 }, { method = method, tol = 1e-7, max_iter = 100000 })
      assert.is_true(r.converged, method .. ": " .. r.message)
      assert.are.equal("converged", r.status)
      near(1, r.x[1]:item(), 1e-5)
      near(1, r.x[2]:item(), 1e-5)
      assert.is_true(r.grad:abs():max():item() <= 1e-7)
      near(r.f, rosenbrock(r.x):item(), 1e-15)
      assert.are.equal(method, r.method)
    end
  end)

  it("gives back what it was given: a number, a tensor of its dtype, a table", function()
    local number = gl.minimize(function(x) return (x - 3) ^ 2 end, 0)
    assert.are.equal("number", type(number.x))
    near(3, number.x)
    local single = gl.minimize(function(x) return (x - 2):square():sum() end, gl.zeros(2, 2, { dtype = "f32" }))
    assert.are.equal("f32", single.x:dtype())
    assert.are.same({ 2, 2 }, single.x:shape())
    near(2, single.x[{ 2, 1 }]:item(), 1e-4)
    local nested = gl.minimize(function(p) return (p.a - 1) ^ 2 + (p.b[1] - gl.tensor { 1, 2 }):square():sum() end,
      { a = 0, b = { gl.zeros(2) } }, { method = "bfgs" })
    near(1, nested.x.a)
    near(2, nested.x.b[1][2]:item())
    near(0, nested.grad.a)
  end)

  it("counts, traces and tells why it stopped", function()
    local r = gl.minimize(rosenbrock, gl.tensor { -1.2, 1 }, { method = "lbfgs", max_iter = 3 })
    assert.is_false(r.converged)
    assert.are.equal("max_iter", r.status)
    assert.are.equal(3, r.iterations)
    assert.is_true(r.evaluations.f >= 3)
    assert.are.equal(0, r.trace[1].iteration)
    assert.is_true(r.trace[#r.trace].f < r.trace[1].f)
    assert.is_truthy(r.message:find("iterations", 1, true))
  end)

  it("stops when on_step says so, and hands it the point in x0's structure", function()
    local seen = {}
    local r = gl.minimize(function(p) return rosenbrock(p.x) end, { x = gl.tensor { -1.2, 1 } }, { method = "bfgs",
      on_step = function(info)
        seen[#seen + 1] = info.x.x:size(1)
        return info.iteration == 2
      end })
    assert.are.equal("user", r.status)
    assert.are.same({ 2, 2, 2 }, seen)
  end)

  it("gets below the tolerance although a Cholesky factor leaves f fewer digits than the gradient has", function()
    local n = 60
    local x = gl.linspace(0, 6, n)
    local apart, eye = (x:reshape(n, 1) - x) ^ 2, gl.eye(n)
    for seed = 0, 8 do
      gl.manual_seed(seed)
      local y = x:sin() + 0.1 * gl.randn(n)
      local function minus_log_likelihood(p)
        local cov = gl.exp(2 * p[1]) * gl.exp(-0.5 * apart / gl.exp(2 * p[2])) + gl.exp(2 * p[3]) * eye
        local l = gl.cholesky(cov)
        return 0.5 * y:dot(gl.cholesky_solve(l, y)) + l:diag():log():sum()
      end
      local r = gl.minimize(minus_log_likelihood, gl.tensor { 0, 0, -1 }, { method = "lbfgs" })
      assert.is_true(r.converged, r.message)
    end
  end)

  it("keeps bounds", function()
    local r = gl.minimize(function(x) return (x - gl.tensor { 2, -2 }):square():sum() end, gl.zeros(2),
      { bounds = { -1, gl.tensor { 1, 5 } } })
    near(1, r.x[1]:item())
    near(-1, r.x[2]:item())
    assert.has_error(function() gl.minimize(rosenbrock, gl.zeros(2), { bounds = { 1, -1 } }) end)
  end)

  it("goes on from a saved state bit for bit, with every method", function()
    local path = os.tmpname()
    for _, method in ipairs { "gd", "nesterov", "cg", "bfgs", "lbfgs", "lbfgsb", "newton", "newton_cg", "trust_ncg",
      "trust_exact", "dogleg", "auglag", "sqp" } do
      local options = { method = method, tol = 1e-9, max_iter = 30 }
      if method == "lbfgsb" then options.bounds = { -2, 0.9 } end
      if method == "auglag" or method == "sqp" then
        options.constraints = { ineq = function(x) return 1.5 - x:square():sum() end }
      end
      local function make() return gl.minimizer(rosenbrock, gl.tensor { -1.2, 1 }, options) end
      local whole = make()
      whole:run()
      for _, after in ipairs { 1, 4 } do
        local cut = make()
        for _ = 1, after do cut:step() end
        gl.save(path, cut:state())
        local again = make()
        again:load(gl.load(path))
        local want, got = whole:result(), again:run()
        assert.is_true(want.x:eq(got.x):all():item(), method)
        assert.are.same({ want.iterations, want.evaluations, want.message }, { got.iterations, got.evaluations, got.message })
      end
    end
    os.remove(path)
  end)

  it("calls on_step for every iteration of every method with one record", function()
    for _, method in ipairs { "gd", "nesterov", "cg", "bfgs", "lbfgs", "lbfgsb", "newton", "newton_cg", "trust_ncg",
      "trust_exact", "dogleg", "auglag", "sqp" } do
      local seen = {}
      local r = gl.minimize(rosenbrock, gl.tensor { -1.2, 1 }, { method = method, max_iter = 5, on_step = function(info)
        for _, name in ipairs { "iteration", "f", "gradient_norm", "violation", "step", "radius", "seconds", "evaluations", "x" } do
          assert.is_truthy(info[name] ~= nil, method .. " " .. name)
        end
        seen[#seen + 1] = info.iteration
      end })
      assert.are.equal(r.iterations, seen[#seen], method)
      assert.are.equal(r.iterations + 1, #seen, method)
      assert.are.equal(#seen, #r.trace, method)
    end
  end)
end)

describe("trouble", function()
  it("in the function reaches the caller as it was raised, and the minimizer can be used again", function()
    local calls, failing = 0, true
    local m = gl.minimizer(function(x)
      calls = calls + 1
      if failing and calls == 3 then error("no value here") end
      return rosenbrock(x)
    end, gl.tensor { -1.2, 1 }, { method = "bfgs" })
    local ok, message = pcall(m.run, m)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find("no value here", 1, true))
    failing = false
    assert.is_true(m:run().converged)
  end)

  it("with the start is told", function()
    assert.has_error(function() gl.minimize(rosenbrock, gl.tensor { 0 / 0, 1 }) end)
    assert.has_error(function() gl.minimize(rosenbrock, "x") end)
    assert.has_error(function() gl.minimize(rosenbrock, gl.zeros(2), { method = "newtn" }) end)
    assert.has_error(function() gl.minimize(rosenbrock, gl.zeros(2), { tolerance = 1 }) end)
    assert.has_error(function() gl.minimize(rosenbrock, gl.zeros(2), { method = "lm" }) end)
    assert.has_error(function() gl.minimize(rosenbrock, gl.zeros(2), { bounds = { { 0, 1 }, { 0, 1 }, { 0, 1 } } }) end)
    assert.has_error(function() gl.minimize(function(x) return x end, gl.zeros(2)) end)
  end)

  it("with an empty x0 is none: it is solved", function()
    assert.is_true(gl.minimize(function(x) return x:sum() end, gl.zeros(0)).converged)
  end)

  it("with a function that is not finite everywhere is stepped around", function()
    local r = gl.minimize(function(x) return (x - x:log()):sum() end, gl.tensor { 5 }, { method = "bfgs" })
    near(1, r.x[1]:item(), 1e-5)
  end)

  it("with a constraint that is not finite is no convergence", function()
    for _, method in ipairs { "sqp", "auglag" } do
      local r = gl.minimize(function(x) return x:square():sum() end, gl.zeros(2),
        { method = method, constraints = { eq = function(x) return x[1] * (0 / 0) end } })
      assert.is_false(r.converged)
      assert.is_truthy(r.message:find("not converged", 1, true))
    end
  end)

  it("with an unbounded function is said", function()
    local r = gl.minimize(function(x) return -(x:square():sum()) end, gl.tensor { 1 }, { method = "bfgs" })
    assert.is_false(r.converged)
  end)

  it("without a start says so", function()
    assert.has_error(function() gl.minimize(function(x) return x end) end,
      "minimize: x0 must be a number, a tensor or a nested table of them, not nil")
    for _, method in ipairs { "lbfgs", "newton", "trust_ncg" } do
      raises(function() gl.minimize(function(x) return x * 2 end, gl.ones(2), { method = method }) end,
        "minimize: f must return a number or a 0-d tensor, not a tensor of shape 2: reduce it with :sum()")
    end
    raises(function() gl.minimize(function() end, gl.ones(2)) end, "minimize: f must return a number or a 0-d tensor, not a nil")
  end)
end)

-- The examples of optimization run as they are, and what they claim is true.

local function example(name)
  local print_before, arg_before = print, arg
  _G.print, _G.arg = function() end, { [0] = "examples/optimization/" .. name .. ".lua" }
  local ok, figures = pcall(dofile, _G.arg[0])
  _G.print, _G.arg = print_before, arg_before
  assert.is_true(ok, tostring(figures))
  return figures
end

local function close(want, got, relative)
  assert.is_true(math.abs(want - got) <= relative * math.abs(want), ("%.12g is not %.12g"):format(got, want))
end

describe("optimization", function()
  it("curve fitting: NIST's certified parameters and error bars; an outlier bends only the plain fit", function()
    local r = example "curve_fitting"
    assert.is_true(r.converged)
    close(2.3894212918e+02, r.a, 1e-9)
    close(5.5015643181e-04, r.b, 1e-9)
    close(2.7070075241e+00, r.a_error, 1e-8)
    close(7.2668688436e-06, r.b_error, 1e-8)
    assert.is_true(math.abs(r.robust - r.a) < 0.1 * math.abs(r.plain - r.a))
  end)

  it("constrained design: the known lightest spring, by two methods", function()
    local r = example "constrained_design"
    assert.is_true(r.converged)
    close(0.0126652, r.sqp, 1e-5)
    close(0.0126652, r.auglag, 1e-4)
    assert.are.equal(2, r.active)
    assert.is_true(r.violation <= 1e-8)
  end)

  it("L-BFGS against Adam: a tenth of the gradients at most", function()
    local r = example "lbfgs_against_adam"
    assert.is_true(r.gap <= 1e-8 and r.lbfgs * 10 < r.adam)
  end)

  it("natural gradient: a tenth of the steps at most", function()
    local r = example "natural_gradient"
    assert.is_true(r.natural_off <= 1e-3 and r.natural * 10 < r.plain)
  end)

  it("linear SVM: close to the proven least loss", function()
    local r = example "linear_svm"
    assert.is_true(r.bound_converged and r.gap >= 0 and r.gap < 1e-3)
    assert.is_true(r.accuracy >= 0.95)
  end)

  it("policy gradient: learns nearly the best control", function()
    local r = example "policy_gradient"
    assert.is_true(r.converged and r.learnt >= r.best - 1e-9)
    assert.is_true(r.learnt < 1.15 * r.best and r.best < 0.1 * r.before)
  end)

  it("sparse smoothing: the curve behind the noise, in spite of spoilt readings", function()
    local r = example "sparse_smoothing"
    assert.is_true(r.converged and r.sparse)
    assert.is_true(r.off < 0.05 and r.naive > 1)
  end)
end)

-- Every example runs as it is, and what it claims is true.

local command = os.getenv("GRADLUA") or "build/gradlua"

local function run(arguments)
  local pipe = assert(io.popen(("%s %s 2>/dev/null; echo \"exit $?\""):format(command, arguments)))
  local output = pipe:read("a")
  pipe:close()
  local text, code = output:match("^(.*)exit (%d+)\n$")
  assert.are.equal("0", code, text)
  return text
end

--- Runs an example in this process, quietly; gives the figures that it returns.
local function figures_of(name)
  local print_before, arg_before = print, arg
  _G.print, _G.arg = function() end, { [0] = "examples/" .. name .. ".lua" }
  local ok, figures = pcall(dofile, _G.arg[0])
  _G.print, _G.arg = print_before, arg_before
  assert.is_true(ok, tostring(figures))
  return figures
end

local function basic(name) return figures_of("basics/" .. name) end

local function at_most(limit, value)
  assert.is_true(value <= limit, ("%g is more than %g"):format(value, limit))
end

describe("training", function()
  it("a convolutional network reads the small digits, recorded once", function()
    local got = figures_of "training/convolution"
    assert.is_true(got.accuracy > 0.97, got.accuracy)
    assert.is_true(got.traces == 1)
  end)

  it("recurrent networks carry a number through noise", function()
    local got = figures_of "training/sequence"
    at_most(0.1, got.lstm)
    at_most(0.1, got.rnn)
    assert.is_true(got.remembered > 0.8 and got.forgotten < 1e-3)
  end)

  it("the gradients of single examples find the wrong labels", function()
    local got = figures_of "training/per_example_gradients"
    assert.is_true(got.found >= 9)
    at_most(1e-5, got.average)
  end)

  it("a sweep of rates finds one to train with, and training ends in time", function()
    local got = figures_of "training/learning_rate"
    assert.is_true(got.rate > 0.02 and got.rate < 2, got.rate)
    assert.is_true(got.accuracy > 0.96 and got.epochs < 100)
    at_most(1e-12, math.abs(got.best - got.loaded))
  end)

  it("digits: at least 96 % on the held-out part, in under 10 s, the same after saving and loading", function()
    local path = os.tmpname()
    local text = run("examples/digits/train.lua " .. path)
    os.remove(path)
    local reached, again = text:match("held%-out accuracy: ([%d.]+) %%; of the model saved and loaded again: ([%d.]+) %%")
    assert.is_true(tonumber(reached) >= 96, text)
    assert.are.equal(reached, again)
    at_most(10, tonumber(text:match("trained in ([%d.]+) s")))
  end)

  it("mnist: at least 94 % in under 60 s", function()
    local text = run "examples/mnist/train.lua"
    local seconds, reached = text:match("trained in ([%d.]+) s; held%-out accuracy: ([%d.]+) %%")
    assert.is_true(tonumber(reached) >= 94, text)
    at_most(60, tonumber(seconds))
  end)
end)

describe("basics", function()
  it("partial derivatives agree with central differences", function()
    at_most(1e-9, basic("partial_derivatives").agreement)
  end)

  it("the gradient is the steepest direction and orthogonal to level sets", function()
    local r = basic "steepest_ascent"
    at_most(0.5, r.angle_error)
    at_most(1e-3, r.slope_error)
    at_most(1e-5, r.cosine)
  end)

  it("directional derivatives are the gradient's products", function()
    local r = basic "directional_derivative"
    at_most(1e-9, r.difference)
    at_most(1e-12, math.abs(r.ratio - 1))
  end)

  it("linear regression: gradient by hand, descent against the normal equations", function()
    local r = basic "linear_regression"
    at_most(1e-12, r.gradient_difference)
    at_most(1e-8, r.solution_difference)
    at_most(0.05, r.truth_difference)
  end)

  it("logistic regression tells the tumours apart", function()
    local r = basic "logistic_regression"
    at_most(1e-12, r.gradient_difference)
    assert.is_true(r.converged)
    assert.is_true(r.accuracy >= 0.95)
  end)

  it("backpropagation by hand is reverse mode", function()
    at_most(1e-13, basic("network_by_hand").difference)
  end)

  it("gradient descent pays for an ill-conditioned ellipse", function()
    local r = basic "gradient_descent"
    assert.is_true(r.bowl < 20 and r.ellipse > 20 * r.bowl and r.diverges)
    at_most(20, r.lbfgs)
  end)

  it("the Jacobian of polar coordinates has determinant r", function()
    local r = basic "jacobian"
    at_most(1e-14, r.forward)
    at_most(1e-14, r.reverse)
    at_most(1e-13, math.abs(r.det - 2))
  end)

  it("the Hessian is symmetric and its product with a vector needs no matrix", function()
    local r = basic "hessian"
    at_most(1e-9, r.difference)
    at_most(1e-9, r.hvp)
    assert.are.equal(0, r.asymmetry)
  end)

  it("the chain rule holds along a curve", function()
    at_most(1e-13, basic("chain_rule").difference)
  end)

  it("gradient checking catches the planted bug, and only that", function()
    local r = basic "gradient_check"
    assert.is_true(r.right)
    assert.is_false(r.wrong)
  end)
end)

describe("understanding", function()
  it("the Hessian's eigenvalues classify critical points", function()
    local r = figures_of "understanding/critical_points"
    assert.are.same({ "minimum", "saddle", "saddle", "maximum", "not critical" }, r.kinds)
    assert.are.equal("degenerate", r.degenerate)
  end)

  it("a function with partial derivatives and no derivative is told", function()
    local r = figures_of "understanding/partials_without_derivative"
    assert.are.equal(0, r.partials)
    at_most(1e-6, math.abs(r.diagonal - 0.5))
    assert.is_false(r.at_origin)
    assert.is_true(r.elsewhere)
  end)

  it("a deep sigmoid network's gradient vanishes, and three cures keep it", function()
    local r = figures_of "understanding/vanishing_gradients"
    at_most(1e-6, r.sigmoid)
    assert.are.equal("vanishing", r.verdict)
    assert.is_true(r.relu > 1e-2 and r.residual > 1e-3 and r.exploding > 1e-3)
  end)

  it("a Newton step needs no matrix", function()
    local r = figures_of "understanding/newton_step"
    at_most(1e-10, r.difference)
    at_most(50, r.products)
    at_most(1e-12, r.gradient)
  end)

  it("a fixed point is differentiable without its iterations", function()
    local r = figures_of "understanding/fixed_point_sensitivity"
    at_most(1e-9, r.residual)
    at_most(1e-9, r.implicit)
    at_most(1e-9, r.unrolled)
  end)

  it("the rates of a differential equation are found from data", function()
    local r = figures_of "understanding/ode_fit"
    at_most(0.05, r.error)
    at_most(0.01 * r.start, r.misfit)
  end)
end)

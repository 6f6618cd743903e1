-- A linear support vector machine on 569 tumours: the hinge loss has kinks, so there is no gradient everywhere, and none
-- that goes to zero; subgradients with steps 1 / (lambda t) and averaging converge all the same (S. Shalev-Shwartz et al.
-- (2007), "Pegasos"). A lower bound from the dual problem says how far from the least loss the answer can be.

local gl = require "gradlua"
local data, optim = gl.data, gl.optim

local folder = arg and arg[0] and arg[0]:match("^(.*)/optimization/[^/]*$") or "examples"
gl.manual_seed(2)
local rows = data.csv(folder .. "/data/breast_cancer.csv", { skip = 1, header = false })
local train, test = data.split({ rows[{ {}, { 1, 30 } }], 2 * rows[{ {}, 31 }] - 1 }, 400, { shuffle = true })
local standard, statistics = data.standardize(train[1])
local function with_bias(x) return gl.concat({ x, gl.ones(x:size(1), 1) }, 2) end
local x, y = with_bias(standard), train[2]
local x_test, y_test = with_bias(data.standardize(test[1], statistics)), test[2]

local lambda = 0.01
local function loss(w) return gl.relu(1 - y * x:matmul(w)):mean() + 0.5 * lambda * w:square():sum() end

local w = gl.zeros(31)
local opt = optim.sgd(w, { lr = 1 })
local subgradient = gl.jit(gl.grad(loss))
local average, steps = gl.zeros(31), 4000
for t = 1, steps do
  opt.lr = 1 / (lambda * (t + 10))
  opt:step(subgradient(w))
  -- later points count more: weights proportional to t
  average = average + (w - average) * (2 / (t + 1))
end

-- Any a with 0 <= a <= 1 gives the bound mean(a) - |X'(a y)|^2 / (2 lambda n^2); the best are found as a bounded problem.
local n = x:size(1)
local function dual(a) return x:t():matmul(a * y):square():sum() / (2 * lambda * n ^ 2) - a:mean() end
local bound = gl.minimize(dual, gl.full({ n }, 0.5), { bounds = { 0, 1 }, tol = 1e-6 })
local gap = loss(average):item() + bound.f
local accuracy = x_test:matmul(average):mul(y_test):gt(0):to("f64"):mean():item()
print(("loss %.6f; the least possible is at least %.6f: a gap of %.1e"):format(loss(average):item(), -bound.f, gap))
print(("right on %.1f %% of the %d held-out cases"):format(100 * accuracy, x_test:size(1)))
return { gap = gap, accuracy = accuracy, bound_converged = bound.converged }

-- Tells benign from malignant tumours (569 of them, 30 measurements each) by logistic regression. The loss in the form
-- softplus(z) - y z never overflows, and its gradient is X'(sigmoid(z) - y) / n.

local gl = require "gradlua"
local data = gl.data

local folder = arg and arg[0] and arg[0]:match("^(.*)/basics/[^/]*$") or "examples"
local rows = data.csv(folder .. "/data/breast_cancer.csv", { skip = 1, header = false })
gl.manual_seed(5)
local train, test = data.split({ rows[{ {}, { 1, 30 } }], rows[{ {}, 31 }] }, 400, { shuffle = true })
local x, statistics = data.standardize(train[1])
local x_test = data.standardize(test[1], statistics)
local y, y_test = train[2], test[2]

local function loss(p)
  local z = x:matmul(p.w) + p.b
  return (z:softplus() - y * z):mean() + 1e-3 * p.w:square():sum()
end

local p = { w = gl.zeros(30), b = 0 }
local g = gl.grad(loss)(p)
local by_hand = x:t():matmul(gl.full({ 400 }, 0.5) - y) / 400
print(("largest difference to the gradient by hand: %.1e"):format((g.w - by_hand):abs():max():item()))

local result = gl.minimize(loss, p, { method = "lbfgs", tol = 1e-6 })
print(result.message)
local hit = (x_test:matmul(result.x.w) + result.x.b):gt(0):eq(y_test:gt(0.5)):to("f64"):mean():item()
print(("right on the %d held-out cases: %.1f %%"):format(x_test:size(1), 100 * hit))
return { gradient_difference = (g.w - by_hand):abs():max():item(), accuracy = hit, converged = result.converged }

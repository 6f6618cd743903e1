-- Logistic regression on 569 tumours: what L-BFGS and Adam pay, in gradients, for the same loss. Where the whole gradient
-- is affordable and exact, curvature wins by orders of magnitude; Adam is for when it is not.

local gl = require "gradlua"
local data, optim = gl.data, gl.optim

local folder = arg and arg[0] and arg[0]:match("^(.*)/optimization/[^/]*$") or "examples"
local rows = data.csv(folder .. "/data/breast_cancer.csv", { skip = 1, header = false })
local x = data.standardize(rows[{ {}, { 1, 30 } }])
local y = rows[{ {}, 31 }]

local function loss(p)
  local z = x:matmul(p.w) + p.b
  return (z:softplus() - y * z):mean() + 1e-3 * p.w:square():sum()
end
local function start() return { w = gl.zeros(30), b = gl.zeros(1) } end

local best = gl.minimize(loss, start(), { method = "trust_ncg", tol = 1e-10 }).f
local lbfgs = gl.minimize(loss, start(), { method = "lbfgs", target = best + 1e-8, tol = 0 })
print(("L-BFGS: within 1e-8 of the least loss after %d gradients"):format(lbfgs.evaluations.g))

local params = start()
local adam = optim.adam(params, { lr = 0.05 })
local value_and_grad = gl.jit(gl.value_and_grad(loss))
local gradients, gap = 0, math.huge
while gap > 1e-8 and gradients < 20000 do
  local value, grads = value_and_grad(params)
  adam:step(grads)
  gradients, gap = gradients + 1, value:item() - best
end
print(("Adam:   within %.0e of it after %d gradients"):format(math.max(gap, 1e-8), gradients))
return { lbfgs = lbfgs.evaluations.g, adam = gradients, gap = lbfgs.f - best }

-- gl.optim.lbfgs and gl.optim.natural: curvature in training loops.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises

describe("optim.lbfgs", function()
  it("minimizes a loss in place, in far fewer steps than gradient descent needs", function()
    local params = { x = gl.tensor { -1.2, 1 } }
    local x = params.x
    local opt = gl.optim.lbfgs(params, { max_iter = 100 })
    local loss, result = opt:step(function(p) return (1 - p.x[1]) ^ 2 + 100 * (p.x[2] - p.x[1] ^ 2) ^ 2 end)
    near({ 1, 1 }, x, 1e-5)
    assert.is_true(loss < 1e-10 and result.iterations < 50 and opt.steps == 1)
  end)

  it("refuses numbers, unknown options and what is no function", function()
    raises(function() gl.optim.lbfgs({ a = 1 }) end, "a must be a tensor")
    raises(function() gl.optim.lbfgs(gl.zeros(2), { max_iters = 3 }) end, "max_iters", "max_iter")
    raises(function() gl.optim.lbfgs(gl.zeros(2)):step(3) end, "expected gradients, or the loss as a function")
    raises(function() gl.optim.lbfgs({ w = gl.zeros(2) }):step({ v = gl.zeros(2) }) end, "w is missing")
    raises(function() gl.optim.lbfgs(gl.zeros(2), { lr = "1" }) end, "lr must be a number or a schedule")
  end)

  local function valley(p) return (1 - p[1]) ^ 2 + 3 * (p[2] - p[1] ^ 2) ^ 2 + (p[3] - 1) ^ 2 end

  it("takes gradients as the other optimizers do: torch.optim.LBFGS with max_iter = 1, step for step", function()
    for _, case in ipairs {
      { 1, 100, { -0.21369552933675462, 0.15892638528235814, 0.981063226782807 } },
      { 0.5, 2, { 0.5357779271561043, 0.13895612507601643, 1.0326207432262278 } },
    } do
      local x = gl.tensor { -1.2, 1, 0.5 }
      local opt = gl.optim.lbfgs(x, { lr = case[1], history_size = case[2] })
      for _ = 1, 9 do opt:step(gl.grad(valley)(x)) end
      near(case[3], x, 1e-10)
      assert.are.equal(9, opt.steps)
    end
    local x = gl.tensor({ 3, 4 }, { dtype = "f32" })
    local opt = gl.optim.lbfgs({ x }, { lr = gl.optim.schedule.constant { lr = 0.5, factor = 1 } })
    opt:step { gl.tensor({ 0.25, 0 }, { dtype = "f32" }) }
    near({ 2.875, 4 }, x, 1e-6)
    opt:step { gl.zeros(2, { dtype = "f32" }) } -- the gradient is within the tolerance: nothing to do
    near({ 2.875, 4 }, x, 1e-6)
  end)

  it("goes on from a saved state as if it had not stopped", function()
    local x, y = gl.tensor { -1.2, 1, 0.5 }, gl.tensor { -1.2, 1, 0.5 }
    local straight, stopped = gl.optim.lbfgs(x, { lr = 0.3 }), gl.optim.lbfgs(y, { lr = 0.3 })
    for _ = 1, 4 do
      straight:step(gl.grad(valley)(x))
      stopped:step(gl.grad(valley)(y))
    end
    local resumed = gl.optim.lbfgs(y)
    resumed:load(stopped:state())
    for _ = 1, 4 do
      straight:step(gl.grad(valley)(x))
      resumed:step(gl.grad(valley)(y))
    end
    assert.are.same(x:totable(), y:totable())
  end)
end)

describe("optim.natural", function()
  gl.manual_seed(3)
  local X, w = gl.randn(20, 3), gl.tensor { 0.5, -1, 2 }

  -- The Fisher information in full: the mean over examples of J' M J, with M the outputs' own.
  local function full_fisher(model, params, metric)
    local J = gl.jacobian(function(v) return model(v, X) end)(params)
    local outputs = model(params, X)
    local F = gl.zeros(3, 3)
    for i = 1, 20 do
      local row = J[i]:reshape(-1, 3)
      F = F + row:t():matmul(metric(outputs[i])):matmul(row) / 20
    end
    return F
  end

  it("solves with the exact Fisher information of each distribution", function()
    local grads = gl.tensor { 1, -2, 0.5 }
    local C = gl.tensor { { 1, 0.3, -0.2 }, { 0.1, 1, 0.4 }, { 0.7, -0.3, 1 } }
    local cases = {
      gaussian = { function(p, x) return x:matmul(p):tanh():reshape(20, 1) end, function() return gl.eye(1) end },
      bernoulli = { function(p, x) return x:matmul(p):reshape(20, 1) end, function(z)
        local s = gl.sigmoid(z)
        return (s * (1 - s)):reshape(1, 1)
      end },
      categorical = { function(p, x) return (x * p):matmul(C) end, function(z)
        local s = gl.softmax(z)
        return gl.diag(s) - gl.outer(s, s)
      end },
      normal = { function(p, x) return gl.stack({ x:matmul(p), 0.1 * x:matmul(p:square()) }, 2) end, function(z)
        return gl.diag(gl.stack({ gl.exp(-2 * z[2]), gl.full({}, 2) }))
      end },
    }
    for name, case in pairs(cases) do
      local params = w:clone()
      local opt = gl.optim.natural(params, { model = case[1], distribution = name, damping = 0.01, lr = 0.5 })
      local want = gl.solve(full_fisher(case[1], w, case[2]) + 0.01 * gl.eye(3), grads)
      opt:step(grads, X)
      near(w - 0.5 * want, params, 1e-7)
    end
  end)

  it("does not depend on how a Gaussian is written down", function()
    local data = gl.tensor { 4.2, 5.1, 3.8, 4.9, 5.5, 4.6 }
    local p = { mean = gl.zeros(1), log_std = gl.zeros(1) }
    local function model(q) return gl.stack({ q.mean, q.log_std }, 2) end
    local function loss(q) return (q.log_std + 0.5 * ((data - q.mean) / gl.exp(q.log_std)):square()):mean() end
    local opt = gl.optim.natural(p, { model = model, distribution = "normal", damping = 0, lr = 0.5 })
    for _ = 1, 60 do opt:step(gl.grad(loss)(p)) end
    near(data:mean():item(), p.mean[1], 1e-6)
    near(data:std({ correction = 0 }):item(), gl.exp(p.log_std[1]), 1e-6)
  end)

  it("refuses unknown distributions", function()
    raises(function() gl.optim.natural(gl.zeros(1), { model = gl.sin, distribution = "cauchy" }) end, "cauchy", "categorical")
    raises(function() gl.optim.natural(gl.zeros(1)) end, "model must be a function")
  end)
end)

-- gl.optim.kfac: exact where the approximation is, faster than gradient descent where it is not, saved and continued.

local gl = require "gradlua"
local support = require "tests.spec.support"
local near, raises = support.near, support.raises
local nn = gl.nn

describe("optim.kfac", function()
  it("solves linear regression in one step: there the factored Fisher information is exact", function()
    gl.manual_seed(1)
    local x, y = gl.randn(50, 4), gl.randn(50, 3)
    local model = nn.sequential { nn.linear(4, 3) }
    local params = model:init()
    local opt = gl.optim.kfac(params, { model = model, distribution = "gaussian", damping = 1e-14, kl_clip = math.huge })
    local function loss(p) return 0.5 * (model(p, x) - y):square():sum(2):mean() end
    opt:step(gl.grad(loss)(params), x)
    local with_ones = gl.concat({ x, gl.ones(50, 1) }, 2)
    local want = gl.lstsq(with_ones, y):t()
    near(want[{ {}, { 1, 4 } }], params[1].weight, 1e-5)
    near(want[{ {}, 5 }], params[1].bias, 1e-5)
  end)

  it("has the factors of the model's own distribution", function()
    gl.manual_seed(2)
    local x = gl.randn(8, 3)
    local model = nn.linear(3, 4, { bias = false })
    for distribution, outer in pairs {
      categorical = function(z) return gl.diag(gl.softmax(z)) - gl.outer(gl.softmax(z), gl.softmax(z)) end,
      bernoulli = function(z) return gl.diag(gl.sigmoid(z) * (1 - gl.sigmoid(z))) end,
    } do
      local params = model:init()
      local opt = gl.optim.kfac(params, { model = model, distribution = distribution })
      opt:observe(x)
      local z, want = model(params, x), gl.zeros(4, 4)
      for i = 1, 8 do want = want + outer(z[i]) / 8 end
      near(want, opt.linear[1].G, 1e-12)
      near(x:t():matmul(x) / 8, opt.linear[1].A, 1e-12)
    end
  end)

  local function problem()
    gl.manual_seed(3)
    local x = gl.randn(200, 6) * gl.tensor { 10, 3, 1, 0.3, 0.1, 1 }
    local y = ((x[{ {}, 1 }] / 10 + x[{ {}, 5 }] * 10):gt(0):to("i64")) + 1
    local model = nn.sequential { nn.linear(6, 16), nn.tanh, nn.linear(16, 2) }
    local params = model:init(gl.generator(4))
    local function loss(p) return nn.cross_entropy(model(p, x), y) end
    return x, model, params, gl.value_and_grad(loss)
  end

  it("beats gradient descent on inputs of different scales", function()
    local x, model, params, value_and_grad = problem()
    local opt = gl.optim.kfac(params, { model = model, lr = 1, damping = 1e-3, kl_clip = 0.1 })
    for _ = 1, 25 do
      local _, grads = value_and_grad(params)
      opt:step(grads, x)
    end
    local reached = value_and_grad(params):item()
    local _, _, plain = problem()
    local sgd = gl.optim.sgd(plain, { lr = 0.3 })
    for _ = 1, 25 do
      local _, grads = value_and_grad(plain)
      sgd:step(grads)
    end
    local theirs = value_and_grad(plain):item()
    assert.is_true(reached < 0.5 * theirs, ("%g against %g"):format(reached, theirs))
  end)

  it("goes on from a saved state bit for bit", function()
    local function train(params, opt, x, value_and_grad, steps)
      for _ = 1, steps do
        local _, grads = value_and_grad(params)
        opt:step(grads, x)
      end
    end
    local x, model, params, value_and_grad = problem()
    local options = { model = model, update_every = 2 }
    local opt = gl.optim.kfac(params, options)
    train(params, opt, x, value_and_grad, 3)
    local copy = {}
    for i, p in ipairs(params) do
      copy[i] = {}
      for key, value in pairs(p) do copy[i][key] = value:clone() end
    end
    local second = gl.optim.kfac(copy, options)
    second:load(opt:state())
    train(params, opt, x, value_and_grad, 4)
    train(copy, second, x, value_and_grad, 4)
    near(params[1].weight, copy[1].weight, 0)
  end)

  it("refuses what it cannot use", function()
    raises(function() gl.optim.kfac({}, { model = nn.sequential { nn.relu } }) end, "no linear layer")
    raises(function() gl.optim.kfac({}, { model = gl.sin }) end, "model must be a layer")
  end)

  it("takes models with convolutions, whose parameters take plain steps, and names a layer it has no factors for", function()
    gl.manual_seed(5)
    local x, labels = gl.randn(12, 1, 6, 6), gl.randint(1, 3, { 12 })
    local model = nn.sequential { nn.conv2d(1, 2, 3), gl.tanh, function(v) return v:reshape(v:size(1), -1) end, nn.linear(32, 3) }
    local params = model:init()
    local function loss(p) return nn.cross_entropy(model(p, x), labels) end
    local opt = gl.optim.kfac(params, { model = model, lr = 0.3 })
    local before = loss(params):item()
    for _ = 1, 20 do opt:step(gl.grad(loss)(params), x) end
    assert.is_true(loss(params):item() < 0.5 * before)
    local wrong = nn.sequential { nn.linear(6, 3) }
    local p = wrong:init()
    raises(function() gl.optim.kfac(p, { model = wrong }):step(p, x) end, "linear layer at params[1]", "4 axes")
  end)
end)

-- gl.health: verdicts on gradients made to be one thing or another.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises

describe("gl.health", function()
  it("tells what is wrong with each tensor, and what to do", function()
    local report = gl.health {
      fine = gl.tensor { 1, -2 }, number = 0.5, cut = gl.zeros(3), tiny = gl.full({ 2 }, 1e-12), huge = gl.full({ 2 }, 1e9),
      broken = gl.tensor { 1, 0 / 0 }, sparse = gl.zeros(100):put(1, 1),
    }
    assert.are.same({ fine = "fine", number = "fine", cut = "no gradient", tiny = "vanishing", huge = "exploding",
      broken = "not finite", sparse = "zeros" }, report.verdicts)
    assert.is_false(report.ok)
    local text = tostring(report)
    for _, word in ipairs { "stop_gradient", "initialisers", "clip_norm", "gl.debug(true)" } do
      assert.is_truthy(text:find(word, 1, true), text)
    end
  end)

  it("sees what happens to a whole deep network, not only that its layers differ", function()
    local function first_and_last(activation, scale)
      local nn, layers, draw = gl.nn, {}, gl.generator(1)
      for _ = 1, 24 do
        layers[#layers + 1] = nn.linear(16, 16, { init = function(shape, g) return g:randn(shape) * (scale / 4) end })
        layers[#layers + 1] = activation
      end
      local model = nn.sequential(layers)
      local params, x = model:init(draw), draw:randn(8, 16)
      local report = gl.health(gl.grad(function(p) return nn.mse(model(p, x), gl.ones(8, 16)) end)(params))
      return report.verdicts["[1].weight"], report.verdicts["[47].weight"]
    end
    assert.are.same({ "vanishing", "fine" }, { first_and_last(gl.sigmoid, 1) })
    assert.are.same({ "exploding", "exploding" }, { first_and_last(function(x) return x end, 3) })
    assert.are.same({ "fine", "fine" }, { first_and_last(gl.relu, math.sqrt(2)) })
  end)

  it("is content with gradients that are alike", function()
    local params = { w = gl.ones(2, 2), b = { gl.ones(2) } }
    local report = gl.health(gl.grad(function(p) return (p.w * 3):sum() + p.b[1]:square():sum() end)(params), params)
    assert.is_true(report.ok)
    assert.is_truthy(tostring(report):find("the gradients look healthy", 1, true))
    assert.are.equal(2, #report.rows)
    assert.is_near(6 / 2, report.rows[2].relative, 1e-12)
    assert.is_true(gl.health({}).ok)
  end)

  it("does not miss a gradient of the statistics that batch_norm keeps", function()
    local nn, draw = gl.nn, gl.generator(1)
    local model = nn.sequential { nn.batch_norm(3), nn.linear(3, 4), nn.tanh, nn.linear(4, 1) }
    local params, x, y = model:init(draw), draw:randn(8, 3), draw:randn(8, 1)
    local report = gl.health(gl.grad(function(p) return nn.mse(model(p, x, { train = true }), y) end)(params), params)
    assert.are.equal("statistic", report.verdicts["[1].running_mean"])
    assert.are.equal("statistic", report.verdicts["[1].running_var"])
    assert.is_true(report.ok, tostring(report))
    assert.is_falsy(tostring(report):find("stop_gradient", 1, true))
  end)

  it("takes parameters of the gradient's structure only", function()
    raises(function() gl.health({ a = gl.ones(1) }, { b = gl.ones(1) }) end, "has b where they have a")
    raises(function() gl.health({ gl.ones(1) }, { gl.ones(1), gl.ones(1) }) end, "where they have nothing")
    raises(function() gl.health({ "x" }) end)
  end)
end)

-- Twelve layers of sigmoids: each multiplies the gradient by at most 1/4, and the first layers learn nothing. ReLU with
-- initial weights to match (He), or residual connections, keep the gradient's size. Weights that are too large explode.

local gl = require "gradlua"
local nn = gl.nn

local width, depth = 32, 12
local x, y = gl.generator(1):randn(64, width), gl.generator(2):randn(64, width)

--- Gradient norms of the first and the last layer's weights, and the verdict on the first.
local function examine(title, activation, init, wrap)
  local layers = {}
  for _ = 1, depth do
    local block = nn.sequential { nn.linear(width, width, { init = init }), activation }
    layers[#layers + 1] = wrap and nn.residual(block) or block
  end
  layers[#layers + 1] = nn.linear(width, width, { init = nn.xavier_uniform })
  local model = nn.sequential(layers)
  local params = model:init(gl.generator(3))
  local grads = gl.grad(function(p) return nn.mse(model(p, x), y) end)(params)
  local report = gl.health(grads, params)
  local first, last = grads[1][1].weight:norm():item(), grads[depth + 1].weight:norm():item()
  print(("%-34s first layer %.1e, last layer %.1e, verdict on the first: %s"):format(
    title, first, last, report.verdicts["[1][1].weight"]))
  return { ratio = first / last, verdict = report.verdicts["[1][1].weight"], report = report }
end

local large = function(shape, generator, options) return nn.normal(shape, generator, { std = 3, dtype = options.dtype }) end
local sigmoid = examine("sigmoid, Xavier", nn.sigmoid, nn.xavier_uniform)
local relu = examine("ReLU, He", nn.relu, nn.he_normal)
local residual = examine("sigmoid with residual connections", nn.sigmoid, nn.xavier_uniform, true)
local exploding = examine("ReLU, weights far too large", nn.relu, large)
print()
print(sigmoid.report)
return { sigmoid = sigmoid.ratio, relu = relu.ratio, residual = residual.ratio, exploding = exploding.ratio,
  verdict = sigmoid.verdict }

--- Layers on the last axis: linear, embedding, activations, dropout.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"
local initializers = require "gradlua.nn.initializers"
local weights = require "gradlua.nn.weights"

local M = {}

--- (inputs, outputs [, {bias = true, init, dtype = "f64"}]) -> layer
--- x W' + b on the last axis. params.weight is outputs x inputs, params.bias outputs. Both start uniform within
--- 1 / sqrt(inputs), unless `init` is given, with which biases start at zero.
function M.linear(inputs, outputs, options)
  check.integer("nn.linear", "inputs", inputs, 1)
  check.integer("nn.linear", "outputs", outputs, 1)
  local o = check.options("nn.linear", options, { bias = true, init = check.none, dtype = "f64" })
  return layer.new {
    name = "linear",
    needs = { "weight" },
    detail = ("%d -> %d%s"):format(inputs, outputs, o.bias and "" or ", no bias"),
    init = function(generator) return weights.draw({ outputs, inputs }, o, generator) end,
    apply = function(params, x) return internal.losses.linear(x, params.weight, params.bias) end,
  }
end

--- (count, size [, {init = nn.normal, dtype = "f64"}]) -> layer
--- Rows of a table, picked by positions (i64, from 1). params.weight is count x size.
function M.embedding(count, size, options)
  check.integer("nn.embedding", "count", count, 1)
  check.integer("nn.embedding", "size", size, 1)
  local o = check.options("nn.embedding", options, { init = initializers.normal, dtype = "f64" })
  return layer.new {
    name = "embedding",
    needs = { "weight" },
    detail = ("%d x %d"):format(count, size),
    init = function(generator) return { weight = o.init({ count, size }, generator, { dtype = o.dtype }) } end,
    apply = function(params, x) return gl.embedding(params.weight, x) end,
  }
end

--- ([p = 0.5]) -> layer
--- Zeroes entries with probability `p` while training, and scales the others by 1 / (1 - p). Draws from the option
--- `generator` of the call, if there is one.
function M.dropout(p)
  if p == nil then p = 0.5 end
  check.kind("nn.dropout", "p", p, "number")
  if not (p >= 0 and p < 1) then check.fail("nn.dropout", "p must be in [0, 1), not %g", p) end
  return layer.new {
    name = "dropout",
    detail = ("%g"):format(p),
    apply = function(_, x, options)
      if not options.train or p == 0 then return x end
      local source = options.generator
      local keep = source and source:bernoulli(1 - p, x:shape()) or gl.bernoulli(1 - p, x:shape())
      return gl.where(keep:gt(0), x / (1 - p), 0)
    end,
  }
end

--- All axes after the first as one.
M.flatten = layer.new {
  name = "flatten",
  apply = function(_, x)
    local n = x:size(1)
    return x:reshape(n, n > 0 and x:numel() // n or 0)
  end,
}

for _, name in ipairs { "relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "elu", "selu", "leaky_relu", "hardtanh",
  "softsign", "logsigmoid", "softmax", "log_softmax" } do
  M[name] = layer.new { name = name, apply = function(_, x) return gl[name](x) end }
end

return M

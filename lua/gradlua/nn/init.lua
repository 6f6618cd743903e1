--- Networks. A layer is a description without state: `layer:init(generator)` makes its parameters, a plain table, and
--- `layer(params, x, {train = true})` applies it. So a model is a function of its parameters, and every transform of the
--- toolkit works on it.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local layer = require "gradlua.nn.layer"

local M = { layer = layer.new }

for _, name in ipairs { "initializers", "dense", "convolution", "normalization", "recurrent", "attention", "losses" } do
  for key, value in pairs(require("gradlua.nn." .. name)) do M[key] = value end
end

--- How many numbers a table of parameters holds.
---@return integer
function M.count(params)
  local total = 0
  check.kind("nn.count", "params", params, "table or tensor or number")
  tree.each("nn.count", params, function(leaf) total = total + (gl.is_tensor(leaf) and leaf:numel() or 1) end)
  return total
end

--- (updates)
--- Writes the statistics that batch_norm put into `updates` into the parameters: after opt:step(grads) in a training loop.
function M.update(updates)
  for i, update in ipairs(check.kind("nn.update", "updates", updates, "table")) do
    local fits = type(update) == "table" and type(update.old) == "table" and type(update.new) == "table"
    if not fits then check.fail("nn.update", "entry %d is not what batch_norm puts into `updates`", i) end
    for k, old in ipairs(update.old) do old:copy_(update.new[k]) end
  end
end

--- Refuses what is neither a layer nor a function of one tensor.
local function check_part(who, what, part)
  if type(part) ~= "function" and not layer.is_layer(part) then
    check.fail(who, "%s must be a layer or a function, not %s", what, type(part))
  end
end

local function init_part(part, generator) return layer.is_layer(part) and part.init(generator) or {} end

local function apply_part(part, params, x, options)
  if layer.is_layer(part) then return layer.apply(part, params, x, options) end
  return part(x)
end

--- ({first, second, ..}) -> layer
--- Layers after one another, in a list or as arguments; params[i] belongs to the i-th. A layer may be one of your own: what
--- can be called and has `init`. A plain function of one tensor may stand for a layer.
---@param layers table[]
function M.sequential(layers, ...)
  if type(layers) == "function" or layer.is_layer(layers) then layers = { layers, ... } end
  check.kind("nn.sequential", "layers", layers, "table")
  for key in pairs(layers) do
    if math.type(key) ~= "integer" or key > #layers then
      check.fail("nn.sequential", "expected a list of layers {first, second, ..}, got an entry at %s", tostring(key))
    end
  end
  for i, part in ipairs(layers) do check_part("nn.sequential", "entry " .. i, part) end
  return layer.new {
    name = "sequential",
    init = function(generator)
      local params = {}
      for i, part in ipairs(layers) do params[i] = init_part(part, generator) end
      return params
    end,
    apply = function(params, x, options)
      for i, part in ipairs(layers) do x = apply_part(part, params[i], x, options) end
      return x
    end,
    children = layers,
  }
end

--- (inner) -> layer
--- x + inner(x), for a layer or a plain function of one tensor.
function M.residual(inner)
  check_part("nn.residual", "the inner part", inner)
  return layer.new {
    name = "residual",
    init = function(generator) return init_part(inner, generator) end,
    apply = function(params, x, options) return x + apply_part(inner, params, x, options) end,
    children = { inner },
  }
end

return M

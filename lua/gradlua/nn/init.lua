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
  tree.each("nn.count", params, function(leaf) total = total + (gl.is_tensor(leaf) and leaf:numel() or 1) end)
  return total
end

--- Writes the statistics that batch_norm put into `updates` into the parameters.
function M.update(updates)
  for _, update in ipairs(updates) do
    for i, old in ipairs(update.old) do old:copy_(update.new[i]) end
  end
end

--- Layers after one another; a plain function of one tensor may stand for a layer.
---@param layers table[]
function M.sequential(layers)
  check.kind("nn.sequential", "layers", layers, "table")
  for i, l in ipairs(layers) do
    if type(l) ~= "function" and not layer.is_layer(l) then
      check.fail("nn.sequential", "entry %d must be a layer or a function, not %s", i, type(l))
    end
  end
  return layer.new {
    name = "sequential",
    init = function(generator)
      local params = {}
      for i, l in ipairs(layers) do params[i] = layer.is_layer(l) and l:init(generator) or {} end
      return params
    end,
    apply = function(params, x, options)
      for i, l in ipairs(layers) do
        if layer.is_layer(l) then x = l(params[i], x, options) else x = l(x) end
      end
      return x
    end,
    children = layers,
  }
end

--- x + inner(x).
function M.residual(inner)
  return layer.new {
    name = "residual",
    init = function(generator) return inner:init(generator) end,
    apply = function(params, x, options) return x + inner(params, x, options) end,
    children = { inner },
  }
end

return M

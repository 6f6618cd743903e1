--- What a layer is.

local gl = require "gradlua.core"
local check = require "gradlua.check"

local M = {}

---@class gradlua.Layer
---@field name string
---@field init fun(generator: any?): table
local Layer = {}
Layer.__index = Layer
Layer.__constant = true -- gl.jit need not look whether its fields are as they were

local no_options = {}

--- What the layers of this library read of the options of a call; a layer of one's own may name further ones.
local call_options = { "train", "generator", "updates", "state", "context" }

---@class gradlua.LayerSpec
---@field name string
---@field init? fun(generator: any?): table the parameters; none when left out
---@field apply fun(params: table, x: any, options: table): any
---@field detail? string shown in parentheses
---@field children? any[] layers inside, for printing
---@field needs? string[] names of tensors that the parameters must hold
---@field options? string[] options of the call that `apply` reads, beside train, generator, updates, state and context

--- The options of a call that a layer, or one inside it, reads: a set. Nil where one inside it does not tell.
local function known_options(spec)
  local known = {}
  for _, name in ipairs(call_options) do known[name] = true end
  for _, name in ipairs(spec.options or {}) do known[name] = true end
  for _, child in ipairs(spec.children or {}) do
    if M.is_layer(child) and not child.known then return nil end
    for name in pairs(M.is_layer(child) and child.known or {}) do known[name] = true end
  end
  return known
end

--- ({name, init, apply, options, children, needs, detail}) -> layer
--- A layer of one's own: init(generator) gives its parameters (none when left out), apply(params, x, options) its value.
--- `options` lists what of the call's options it reads beside train, generator, updates, state and context, `children` the
--- layers inside, `needs` tensors that the parameters must hold; `detail` is shown in parentheses.
---@param spec gradlua.LayerSpec
---@return gradlua.Layer
function M.new(spec)
  check.kind("nn.layer", "spec", spec, "table")
  check.kind("nn.layer", "spec.name", spec.name, "string")
  check.callable("nn.layer", "spec.apply", spec.apply)
  local layer = setmetatable({ spec = spec, name = spec.name, known = known_options(spec) }, Layer)
  --- The parameters, drawn from the generator or from the default one: layer.init(generator), or layer:init(generator).
  function layer.init(first, second)
    local generator = first
    if rawequal(first, layer) then generator = second end
    return spec.init and spec.init(generator) or {}
  end
  return layer
end

--- A layer is what can be called and has `init`: one of this module, or a table of someone's own.
function M.is_layer(value)
  return type(value) == "table" and type(value.init) == "function" and check.is_callable(value)
end

--- A tensor's shape as messages show it.
function M.shape_text(x)
  return x:ndim() == 0 and "of a number" or table.concat(x:shape(), " x ")
end

--- What a layer gives; the options were checked by the caller.
function M.apply(layer, params, x, options)
  if getmetatable(layer) ~= Layer then return layer(params, x, options or no_options) end
  if type(params) ~= "table" then
    check.fail("nn." .. layer.name, "a layer is called with its parameters first, layer(params, x, options): expected a table, got %s",
      gl.is_tensor(params) and "a tensor" or type(params))
  end
  if x == nil then check.fail("nn." .. layer.name, "the input is missing: layer(params, x, options)") end
  for _, name in ipairs(layer.spec.needs or no_options) do
    if not gl.is_tensor(params[name]) then
      check.fail("nn." .. layer.name, "the parameters hold no tensor %s: make them by layer:init()", name)
    end
  end
  return layer.spec.apply(params, x, options or no_options)
end

function Layer:__call(params, x, options)
  if options ~= nil and self.known then check.names("nn." .. self.name, options, self.known) end
  return M.apply(self, params, x, options)
end

local function describe(item, indent, lines)
  if not M.is_layer(item) then
    lines[#lines + 1] = indent .. "function"
    return
  end
  local spec = item.spec or { name = "layer" }
  lines[#lines + 1] = indent .. spec.name .. (spec.detail and "(" .. spec.detail .. ")" or "")
  for _, child in ipairs(spec.children or {}) do describe(child, indent .. "  ", lines) end
end

function Layer:__tostring()
  local lines = {}
  describe(self, "", lines)
  return table.concat(lines, "\n")
end

return M

--- What a layer is.

local M = {}

---@class gradlua.Layer
---@field name string
---@field init fun(generator: any?): table
local Layer = {}
Layer.__index = Layer

local no_options = {}

---@class gradlua.LayerSpec
---@field name string
---@field init? fun(generator: any?): table the parameters; none when left out
---@field apply fun(params: table, x: any, options: table): any
---@field detail? string shown in parentheses
---@field children? any[] layers inside, for printing

--- Makes a layer.
---@param spec gradlua.LayerSpec
---@return gradlua.Layer
function M.new(spec)
  local layer = setmetatable({ spec = spec, name = spec.name }, Layer)
  --- The parameters, drawn from the generator or from the default one: layer.init(generator), or layer:init(generator).
  function layer.init(first, second)
    local generator = first
    if rawequal(first, layer) then generator = second end
    return spec.init and spec.init(generator) or {}
  end
  return layer
end

function M.is_layer(value)
  return getmetatable(value) == Layer
end

function Layer:__call(params, x, options)
  return self.spec.apply(params, x, options or no_options)
end

local function describe(item, indent, lines)
  if not M.is_layer(item) then
    lines[#lines + 1] = indent .. "function"
    return
  end
  local spec = item.spec
  lines[#lines + 1] = indent .. spec.name .. (spec.detail and "(" .. spec.detail .. ")" or "")
  for _, child in ipairs(spec.children or {}) do describe(child, indent .. "  ", lines) end
end

function Layer:__tostring()
  local lines = {}
  describe(self, "", lines)
  return table.concat(lines, "\n")
end

return M

--- Derivatives that are said in terms of the ones written in C.
local gl = require "gradlua.core"

local derivatives = {}

--- Scales a direction (number, tensor or nested table of them) to length 1 over all its entries.
---@param v any
---@return any
local function unit(v)
  local square = 0
  local function visit(leaf)
    if type(leaf) ~= "table" then
      square = square + (gl.is_tensor(leaf) and (leaf * leaf):sum() or leaf * leaf)
    else
      for _, part in pairs(leaf) do visit(part) end
    end
  end
  visit(v)
  local length = gl.sqrt(square)
  local function scaled(leaf)
    if type(leaf) ~= "table" then return leaf / length end
    local out = {}
    for key, part in pairs(leaf) do out[key] = scaled(part) end
    return out
  end
  return scaled(v)
end

--- Rate of change of f along a direction in its first argument.
---@param f function
---@param options? {normalize: boolean} along the unit vector of the direction
---@return fun(x: any, v: any, ...: any): any
function derivatives.directional(f, options)
  local normalize = false
  for name, value in pairs(options or {}) do
    if name ~= "normalize" then
      error(('directional: unknown option "%s": did you mean "normalize"?'):format(tostring(name)), 2)
    end
    normalize = value
  end
  return function(x, v, ...)
    local rest = table.pack(...)
    local along = normalize and unit(v) or v
    local _, rate = gl.jvp(function(point)
      return (f(point, table.unpack(rest, 1, rest.n)))
    end, { x }, { along })
    return rate
  end
end

return derivatives

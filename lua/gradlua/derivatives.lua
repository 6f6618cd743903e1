--- Derivatives that are said in terms of the ones written in C.
local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local derivatives = {}

local function is_zero(length)
  local known, zero = pcall(function() return (gl.is_tensor(length) and length:item() or length) == 0 end)
  return known and zero
end

--- Scales a direction (number, tensor or nested table of them) to length 1 over all its entries.
---@param v any
---@return any
local function unit(v)
  local square = 0
  tree.each("directional", v, function(leaf)
    square = square + (gl.is_tensor(leaf) and (leaf * leaf):sum() or leaf * leaf)
  end)
  local length = gl.sqrt(square)
  if is_zero(length) then check.fail("directional", "the direction has length 0: there is no unit vector along it") end
  return tree.map("directional", function(leaf) return leaf / length end, v)
end

--- (f [, {normalize = false}]) -> function(x, v, ...)
--- The rate of change of f along v in its first argument, as v is, or with `normalize` along its unit vector; arguments
--- after v go to f. A v of length 0 has no unit vector: an error.
---@param f function
---@param options? {normalize: boolean} along the unit vector of the direction
---@return fun(x: any, v: any, ...: any): any
function derivatives.directional(f, options)
  check.callable("directional", "f", f)
  local normalize = check.options("directional", options, { normalize = false }).normalize
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

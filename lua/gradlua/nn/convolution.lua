--- Convolution and pooling. Images are N C H W, signals N C L.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"
local weights = require "gradlua.nn.weights"

local M = {}

--- The extents of a window: a number for every axis, or a list with one for each.
---@return integer[]
local function window(who, size, axes)
  local each = type(size) == "table" and size or table.move({ size, size }, 1, axes, 1, {})
  if #each ~= axes then check.fail(who, "size must be a number or a list of %d, not a list of %d", axes, #each) end
  for _, extent in ipairs(each) do check.integer(who, "size", extent, 1) end
  return each
end

local function text(value)
  return type(value) == "table" and table.concat(value, " x ") or tostring(value)
end

--- Makes the constructor for `axes` axes of space.
local function convolution(name, axes, apply)
  --- (channels, outputs, size [, {stride = 1, padding = 0, dilation = 1, groups = 1, bias = true, init, dtype = "f64"}]) -> layer
  --- Convolution with windows of `size`; size, stride, padding and dilation are numbers, or lists of one for each axis.
  --- params.weight is outputs x channels / groups x size (x size), params.bias outputs. Both start uniform within
  --- 1 / sqrt(fan in), unless `init` is given, with which biases start at zero.
  M[name] = function(channels, outputs, size, options)
    local who = "nn." .. name
    check.integer(who, "channels", channels, 1)
    check.integer(who, "outputs", outputs, 1)
    local extents = window(who, size, axes)
    local o = check.options(who, options,
      { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true, init = check.none, dtype = "f64" })
    check.integer(who, "groups", o.groups, 1)
    if channels % o.groups ~= 0 or outputs % o.groups ~= 0 then
      check.fail(who, "channels (%d) and outputs (%d) must be multiples of groups (%d)", channels, outputs, o.groups)
    end
    local shape = { outputs, channels // o.groups, table.unpack(extents) }
    return layer.new {
      name = name,
      needs = { "weight" },
      detail = ("%d -> %d, %s, stride %s, padding %s"):format(channels, outputs, text(size), text(o.stride), text(o.padding)),
      init = function(generator) return weights.draw(shape, o, generator) end,
      apply = function(params, x)
        return apply(x, params.weight, { stride = o.stride, padding = o.padding, dilation = o.dilation,
          groups = o.groups, bias = params.bias })
      end,
    }
  end
end

convolution("conv1d", 1, function(...) return gl.conv1d(...) end)
convolution("conv2d", 2, function(...) return gl.conv2d(...) end)

for _, name in ipairs { "max_pool2d", "avg_pool2d" } do
  --- (size [, {stride = size, padding = 0}]) -> layer
  --- Windows of size x size, or of {height, width}; stride and padding are numbers or pairs too.
  M[name] = function(size, options)
    local extents = window("nn." .. name, size, 2)
    local o = check.options("nn." .. name, options, { stride = size, padding = 0 })
    return layer.new {
      name = name,
      detail = ("%s, stride %s"):format(text(size), text(o.stride)),
      apply = function(_, x) return gl[name](x, extents, o) end,
    }
  end
end

return M

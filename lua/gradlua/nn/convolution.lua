--- Convolution and pooling. Images are N C H W, signals N C L.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"
local initializers = require "gradlua.nn.initializers"

local M = {}

--- Makes the constructor for `axes` axes of space.
local function convolution(name, axes, apply)
  --- Convolution with windows of `size`: {stride, padding, dilation, groups, bias, init, dtype}. params.weight is
  --- outputs x channels / groups x size (x size), params.bias outputs.
  M[name] = function(channels, outputs, size, options)
    local who = "nn." .. name
    check.integer(who, "channels", channels, 1)
    check.integer(who, "outputs", outputs, 1)
    check.integer(who, "size", size, 1)
    local o = check.options(who, options,
      { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true, init = check.none, dtype = "f64" })
    if channels % o.groups ~= 0 or outputs % o.groups ~= 0 then
      check.fail(who, "channels (%d) and outputs (%d) must be multiples of groups (%d)", channels, outputs, o.groups)
    end
    local shape = { outputs, channels // o.groups }
    for i = 1, axes do shape[2 + i] = size end
    local fan_in = shape[2] * size ^ axes
    local uniform = { bound = 1 / math.sqrt(fan_in), dtype = o.dtype }
    return layer.new {
      name = name,
      detail = ("%d -> %d, %d, stride %d, padding %d"):format(channels, outputs, size, o.stride, o.padding),
      init = function(generator)
        local init = o.init or initializers.uniform
        local params = { weight = init(shape, generator, o.init and { dtype = o.dtype } or uniform) }
        if o.bias then params.bias = initializers.uniform({ outputs }, generator, uniform) end
        return params
      end,
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
  --- Windows of size x size, {stride = size, padding = 0}.
  M[name] = function(size, options)
    check.integer("nn." .. name, "size", size, 1)
    local o = check.options("nn." .. name, options, { stride = size, padding = 0 })
    return layer.new {
      name = name,
      detail = ("%d, stride %d"):format(size, o.stride),
      apply = function(_, x) return gl[name](x, size, o) end,
    }
  end
end

return M

--- Layer and batch normalization.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local layer = require "gradlua.nn.layer"

local M = {}

--- (size [, {eps = 1e-5, dtype = "f64"}]) -> layer
--- Mean 0 and variance 1 along the last axis, then weight * x + bias. Ba, Kiros, Hinton 2016.
function M.layer_norm(size, options)
  check.integer("nn.layer_norm", "size", size, 1)
  local o = check.options("nn.layer_norm", options, { eps = 1e-5, dtype = "f64" })
  return layer.new {
    name = "layer_norm",
    needs = { "weight", "bias" },
    detail = tostring(size),
    init = function()
      return { weight = gl.ones({ size }, { dtype = o.dtype }), bias = gl.zeros({ size }, { dtype = o.dtype }) }
    end,
    apply = function(params, x)
      local axis = x:ndim()
      if axis == 0 or x:size(axis) ~= size then
        check.fail("nn.layer_norm", "expected %d entries on the last axis, got shape %s", size, layer.shape_text(x))
      end
      local centred = x - x:mean(axis, { keepdim = true })
      local variance = centred:square():mean(axis, { keepdim = true })
      return centred * (variance + o.eps):rsqrt() * params.weight + params.bias
    end,
  }
end

--- (channels [, {eps = 1e-5, momentum = 0.1, dtype = "f64"}]) -> layer
--- Mean 0 and variance 1 for each channel (axis 2) over the batch, then weight * x + bias. Ioffe, Szegedy 2015.
--- While training, the batch's statistics are used; otherwise params.running_mean and params.running_var. A layer is a
--- pure function, so it does not change these: it puts the new ones into the list `options.updates`, if there is one,
--- which a loss returns after its value and `nn.update` then writes into the parameters.
function M.batch_norm(channels, options)
  check.integer("nn.batch_norm", "channels", channels, 1)
  local o = check.options("nn.batch_norm", options, { eps = 1e-5, momentum = 0.1, dtype = "f64" })
  local function ones() return gl.ones({ channels }, { dtype = o.dtype }) end
  local function zeros() return gl.zeros({ channels }, { dtype = o.dtype }) end

  local function along_channels(v, x)
    local shape = { channels }
    for i = 3, x:ndim() do shape[i - 1] = 1 end
    return v:reshape(shape)
  end

  local function batch_statistics(params, x, updates)
    local axes = { 1 }
    for axis = 3, x:ndim() do axes[#axes + 1] = axis end
    local mean = x:mean(axes)
    local variance = (x - along_channels(mean, x)):square():mean(axes)
    if updates then
      local n = x:numel() / channels
      local unbiased = n > 1 and variance * (n / (n - 1)) or variance
      local function blend(old, new) return gl.stop_gradient(old * (1 - o.momentum) + new * o.momentum) end
      updates[#updates + 1] = {
        old = { params.running_mean, params.running_var },
        new = { blend(params.running_mean, mean), blend(params.running_var, unbiased) },
      }
    end
    return mean, variance
  end

  return layer.new {
    name = "batch_norm",
    needs = { "weight", "bias", "running_mean", "running_var" },
    detail = tostring(channels),
    init = function() return { weight = ones(), bias = zeros(), running_mean = zeros(), running_var = ones() } end,
    apply = function(params, x, call)
      if x:ndim() < 2 or x:size(2) ~= channels then
        check.fail("nn.batch_norm", "expected %d channels on axis 2, got shape %s", channels, layer.shape_text(x))
      end
      local mean, variance = gl.stop_gradient(params.running_mean), gl.stop_gradient(params.running_var)
      if call.train then mean, variance = batch_statistics(params, x, call.updates) end
      local scale = params.weight * (variance + o.eps):rsqrt()
      return (x - along_channels(mean, x)) * along_channels(scale, x) + along_channels(params.bias, x)
    end,
  }
end

return M

--- The parameters of a linear map: of a linear layer, or of a convolution.

local gl = require "gradlua.core"
local initializers = require "gradlua.nn.initializers"

local M = {}

--- A weight of the shape {outputs, inputs, ...}, and a bias for each output unless options.bias is false. Both start
--- uniform within 1 / sqrt(fan in); with an initialiser of one's own (options.init) the bias starts at zero.
---@param shape integer[]
---@param options {bias: boolean, init: function?, dtype: string}
---@return {weight: any, bias: any?}
function M.draw(shape, options, generator)
  local like = { dtype = options.dtype }
  if options.init then
    return { weight = options.init(shape, generator, like), bias = options.bias and gl.zeros({ shape[1] }, like) or nil }
  end
  local fan_in = 1
  for i = 2, #shape do fan_in = fan_in * shape[i] end
  local uniform = { bound = 1 / math.sqrt(fan_in), dtype = options.dtype }
  local weight = initializers.uniform(shape, generator, uniform)
  return { weight = weight, bias = options.bias and initializers.uniform({ shape[1] }, generator, uniform) or nil }
end

return M

-- A small convolutional network on 28 x 28 images, batch 32: value and gradient.
local gl = require "gradlua"
local inputs = require "inputs"

local cases = {}
for _, dtype in ipairs { "f32", "f64" } do
  cases[#cases + 1] = { name = ("CNN 8-16, batch 32, %s"):format(dtype), make = function()
    local function fill(shape, seed, fan) return inputs.fill(shape, seed, { scale = 1 / math.sqrt(fan), dtype = dtype }) end
    local p = { a = fill({ 8, 1, 3, 3 }, 1, 9), b = fill({ 16, 8, 3, 3 }, 2, 72), c = fill({ 784, 10 }, 3, 784) }
    local x, y = inputs.fill({ 32, 1, 28, 28 }, 4, { dtype = dtype }), inputs.labels(32, 10)
    local f = gl.jit(gl.value_and_grad(function(q)
      local h = gl.max_pool2d(gl.conv2d(x, q.a, { padding = 1 }):relu(), 2)
      h = gl.max_pool2d(gl.conv2d(h, q.b, { padding = 1 }):relu(), 2)
      return gl.nn.cross_entropy(h:reshape(32, 784):matmul(q.c), y)
    end))
    return function() return (f(p)) end
  end }
end
return cases

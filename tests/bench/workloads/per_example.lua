-- Gradients of a network 784-128-10 for each of 256 examples, beside the gradient of their mean.
local gl = require "gradlua"
local inputs = require "inputs"

local p = { a = inputs.fill({ 128, 784 }, 1, { scale = 1 / 28, dtype = "f32" }),
  b = inputs.fill({ 10, 128 }, 2, { scale = 0.1, dtype = "f32" }) }
local x, y = inputs.fill({ 256, 784 }, 3, { dtype = "f32" }), inputs.labels(256, 10)

local function loss(q, image, label)
  return gl.nn.cross_entropy(image:matmul(q.a:t()):tanh():matmul(q.b:t()), label)
end

return {
  { name = "gradients of 256 examples, MLP 784-128-10, f32", make = function()
    local each = gl.jit(gl.vmap(gl.grad(loss), { in_axes = { false, 1, 1 } }))
    return function() return each(p, x:reshape(256, 1, 784), y:reshape(256, 1)).b[{ 2, 1, 1 }] end
  end },
  { name = "  gradient of their mean", make = function()
    local all = gl.jit(gl.grad(loss))
    return function() return all(p, x, y).b[{ 1, 1 }] end
  end },
}

-- Which examples does a model disagree with? The gradient of each example's own loss, by gl.vmap of gl.grad, is longest
-- where the model would have to change most: examples with a wrong label come out on top.

local gl = require "gradlua"
local nn = gl.nn

gl.manual_seed(4)
local n, wrong = 200, 10
local labels = gl.arange(1, n):mod(2) -- 1, 0, 1, 0, ...
local inputs = gl.randn(n, 2) + 3 * (2 * labels - 1):unsqueeze(2)
local given = labels:put({ { 1, wrong } }, 1 - labels[{ { 1, wrong } }]) -- the first ten have the other label

local function loss(p, x, y) return nn.bce_with_logits(x:dot(p.w) + p.b, y) + 1e-3 * p.w:dot(p.w) end
local function mean_loss(p)
  return gl.vmap(loss, { in_axes = { false, 1, 1 } })(p, inputs, given):mean()
end

local fit = gl.minimize(mean_loss, { w = gl.zeros(2), b = 0 })
local each = gl.vmap(gl.grad(loss), { in_axes = { false, 1, 1 } })(fit.x, inputs, given)
local lengths = (each.w:square():sum(2) + each.b:square()):sqrt()
local _, suspects = lengths:topk(wrong)
local found = suspects:le(wrong):to("f64"):sum():item()

-- The gradients of the examples average to that of the mean loss, which is 0 at the minimum.
local average = each.w:mean(1):abs():max():item()
print(fit.message)
print("examples with the longest gradients:", suspects)
print(("%d of the %d wrong labels are among them; the mean gradient is %.1e"):format(found, wrong, average))
return { found = found, average = average }

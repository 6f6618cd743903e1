-- Log-likelihood of a Gaussian mixture with diagonal precisions: 1,000 points in 16 dimensions, 10 components.
local gl = require "gradlua"
local inputs = require "inputs"

local p = { alpha = inputs.fill({ 10 }, 1), mean = inputs.fill({ 10, 16 }, 2), scale = inputs.fill({ 10, 16 }, 3, { scale = 0.3 }) }
local x = inputs.fill({ 1000, 1, 16 }, 4)

local function likelihood(q)
  local distance = ((x - q.mean) * q.scale:exp()):square():sum(3)
  local terms = q.alpha + q.scale:sum(2) - 0.5 * distance
  return (terms:logsumexp(2) - q.alpha:logsumexp()):sum()
end

return { { name = "GMM, 1,000 x 16, 10 components, value and gradient", make = function()
  local f = gl.jit(gl.value_and_grad(likelihood))
  return function() return (f(p)) end
end } }

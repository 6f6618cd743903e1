-- The Hessian tells how the gradient turns: it is the Jacobian of the gradient, symmetric, and its product with a vector
-- costs about as much as a gradient, without the matrix.

local gl = require "gradlua"

local function rosenbrock(x)
  return (1 - x[1]) ^ 2 + 100 * (x[2] - x[1] ^ 2) ^ 2
end

local x = gl.tensor { -1.2, 1 }
local H = gl.hessian(rosenbrock)(x)
local by_hand = gl.tensor { { 2 + 1200 * 1.44 - 400, 480 }, { 480, 200 } }
local v = gl.tensor { 0.3, -2 }
local product = gl.hvp(rosenbrock)(x, v)
print("Hessian:", H)
print("by hand:", by_hand)
print("H v:    ", H:matmul(v))
print("hvp:    ", product)
-- A Newton step solves H s = -g: exact for quadratics, so the minimum of the model.
local g = gl.grad(rosenbrock)(x)
local det = (H[{ 1, 1 }] * H[{ 2, 2 }] - H[{ 1, 2 }] * H[{ 2, 1 }]):item()
print(("gradient %.1f %.1f, determinant %.1f"):format(g[1]:item(), g[2]:item(), det))
return { difference = (H - by_hand):abs():max():item(), hvp = (product - H:matmul(v)):abs():max():item(),
  asymmetry = (H - H:t()):abs():max():item() }

-- Fits a plane by least squares in three ways that must agree: the gradient written by hand, 2/n X'(Xw - y); reverse
-- mode; and the solution of the normal equations, where the gradient is zero.

local gl = require "gradlua"

gl.manual_seed(3)
local n = 200
local X = gl.concat({ gl.randn(n, 2), gl.ones(n, 1) }, 2) -- the last column is for the constant
local truth = gl.tensor { 2, -1, 0.5 }
local y = X:matmul(truth) + 0.1 * gl.randn(n)

local function loss(w) return (X:matmul(w) - y):square():mean() end

local w = gl.zeros(3)
local by_hand = 2 / n * X:t():matmul(X:matmul(w) - y)
local by_reverse = gl.grad(loss)(w)
print("gradient by hand:", by_hand)
print("by reverse mode: ", by_reverse)

local gradient = gl.grad(loss)
for _ = 1, 300 do w = w - 0.1 * gradient(w) end
local exact = gl.solve(X:t():matmul(X), X:t():matmul(y))
print("gradient descent:", w)
print("normal equations:", exact)
return { gradient_difference = (by_hand - by_reverse):abs():max():item(), solution_difference = (w - exact):abs():max():item(),
  truth_difference = (w - truth):abs():max():item() }

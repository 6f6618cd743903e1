-- A Newton step solves H s = -g. For few variables by the Hessian itself; for many by conjugate gradients, which need
-- only products H v, so that the matrix is never formed.

local gl = require "gradlua"

local n = 50
local weights = gl.linspace(1, 10, n)
local function f(x) return (weights * x:square()):sum() + (x - 1):square():sum():log1p() end

local function conjugate_gradients(product, b, tolerance)
  local x, r = gl.zeros(n), b
  local p, rr = r, r:dot(r):item()
  local steps = 0
  while rr > tolerance ^ 2 and steps < 2 * n do
    local Ap = product(p)
    local alpha = rr / p:dot(Ap):item()
    x, r = x + alpha * p, r - alpha * Ap
    local rr_new = r:dot(r):item()
    p, rr, steps = r + rr_new / rr * p, rr_new, steps + 1
  end
  return x, steps
end

local x = gl.linspace(-1, 1, n)
local g = gl.grad(f)(x)
local by_matrix = -gl.solve(gl.hessian(f)(x), g)
local hvp = gl.hvp(f)
local by_products, products = conjugate_gradients(function(v) return hvp(x, v) end, -g, 1e-12)
local difference = (by_matrix - by_products):abs():max():item()
print(("the two steps differ by %.1e; %d products with the Hessian"):format(difference, products))

for step = 1, 6 do
  x = x - gl.solve(gl.hessian(f)(x), gl.grad(f)(x))
  print(("step %d: largest gradient entry %.1e"):format(step, gl.grad(f)(x):abs():max():item()))
end
return { difference = difference, products = products, gradient = gl.grad(f)(x):abs():max():item() }

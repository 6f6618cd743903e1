-- A smooth curve through 20,000 noisy readings (E. T. Whittaker (1923)): each reading pulls on one unknown, and each bend of
-- the curve costs. The Jacobian of 40,000 residuals by 20,000 unknowns is nearly all zeros, which gl.least_squares finds by
-- itself; spoilt readings are kept from mattering by a robust loss.

local gl = require "gradlua"

gl.manual_seed(3)
local n, noise = 20000, 0.3
local t = gl.linspace(0, 10, n)
local truth = gl.sin(t) + 0.3 * gl.sin(3 * t)
local y = truth + noise * gl.randn(n)
local spoilt = gl.rand(n):lt(0.02)
y = gl.where(spoilt, y + 20, y)

local stiffness = 3e5
local function residual(x)
  local bend = x[{ { 1, -3 } }] - 2 * x[{ { 2, -2 } }] + x[{ { 3, -1 } }]
  return gl.concat { (x - y) / noise, stiffness * bend }
end

local start = gl.clock()
local r = gl.least_squares(residual, gl.zeros(n), { loss = "soft_l1", tol = 1e-5 })
print(r.message)
print(("%d unknowns in %.2f s, sparse: %s, %d iterations"):format(n, gl.clock() - start, r.sparse, r.iterations))

local off = (r.x - truth):square():mean():sqrt():item()
local naive = (y - truth):square():mean():sqrt():item()
print(("off by %.3f on average; the readings are off by %.3f"):format(off, naive))
for _, i in ipairs { 1, n // 2, n } do
  print(("  at t = %5.2f: %7.4f +- %.4f, in truth %7.4f"):format(t[i]:item(), r.x[i]:item(), r.errors[i]:item(), truth[i]:item()))
end
return { off = off, naive = naive, sparse = r.sparse, converged = r.converged }

-- Fits y = a (1 - exp(-b x)) to NIST's Misra1a (dental research: volume against pressure), with error bars of the
-- parameters and of the curve, and once more with one spoilt reading, by plain and by robust least squares.

local gl = require "gradlua"

local y = gl.tensor { 10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78 }
local x = gl.tensor { 77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0 }

local function curve(p, at) return p.a * (1 - gl.exp(-p.b * at)) end
local function fit(values, options)
  return gl.least_squares(function(p) return curve(p, x) - values end, { a = 500, b = 1e-4 }, options)
end

local r = fit(y)
print(r.message)
print(("a = %.10g +- %.3g   (certified 238.94212918 +- 2.707)"):format(r.x.a, r.errors.a))
print(("b = %.10g +- %.3g   (certified 0.00055015643181 +- 7.267e-06)"):format(r.x.b, r.errors.b))

-- The error of the curve at a point follows from the parameters' covariance: sqrt(j' C j), j the gradient there. The
-- parameters a and b are one vector in the covariance, in this order.
for _, at in ipairs { 100, 400, 760, 1500 } do
  local g = gl.grad(curve)(r.x, at)
  local j = gl.tensor { g.a, g.b }
  local error_here = math.sqrt(j:dot(r.covariance:matmul(j)):item())
  print(("y(%4d) = %8.4f +- %.4f%s"):format(at, curve(r.x, at), error_here, at > 760 and "   (beyond the data)" or ""))
end

local spoilt = y:clone()
spoilt[5] = 60 -- a reading written down wrong
local plain, robust = fit(spoilt), fit(spoilt, { loss = "soft_l1", f_scale = 0.05 })
print(("with one wrong reading: least squares a = %.1f, robust (soft_l1) a = %.1f"):format(plain.x.a, robust.x.a))
return { a = r.x.a, b = r.x.b, a_error = r.errors.a, b_error = r.errors.b, converged = r.converged, plain = plain.x.a,
  robust = robust.x.a }

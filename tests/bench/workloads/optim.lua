-- Minimizers beside SciPy's: forty iterations of L-BFGS on an ill-conditioned quadratic, whose cost is nearly all the
-- method's own; the chained Rosenbrock function to convergence; a curve fit; an Adam step on ten million parameters.
local gl = require "gradlua"
local inputs = require "inputs"

local cases = {}
for _, n in ipairs { 100, 10000, 1000000 } do
  cases[#cases + 1] = { name = ("L-BFGS, 40 iterations, quadratic, n = %d"):format(n), make = function()
    local d = gl.linspace(1, 1000, n)
    local f = gl.jit(function(x) return 0.5 * (d * x:square()):sum() end)
    local x0 = inputs.fill({ n }, 1)
    return function()
      return gl.minimize(f, x0, { method = "lbfgs", max_iter = 40, tol = 0 }).iterations
    end
  end }
end

cases[#cases + 1] = { name = "L-BFGS with bounds, 40 iterations, n = 1000000", make = function()
  local d, target = gl.linspace(1, 1000, 1000000), inputs.fill({ 1000000 }, 2)
  local f = gl.jit(function(x) return 0.5 * (d * (x - target):square()):sum() end)
  local x0 = inputs.fill({ 1000000 }, 1)
  return function()
    return gl.minimize(f, x0, { method = "lbfgsb", bounds = { -0.5, 0.5 }, max_iter = 40, tol = 0 }).iterations
  end
end }

local function rosenbrock(x)
  local a, b = x[{ { 1, -2 } }], x[{ { 2, -1 } }]
  return (100 * (b - a:square()):square() + (1 - a):square()):sum()
end
for _, method in ipairs { "lbfgs", "bfgs", "newton_cg", "trust_ncg" } do
  cases[#cases + 1] = { name = ("%s, Rosenbrock, n = 50, to 1e-5"):format(method), make = function()
    local f, x0 = gl.jit(rosenbrock), gl.full({ 50 }, 1.3)
    return function() return gl.minimize(f, x0, { method = method, tol = 1e-5 }).f + 1 end
  end }
end

cases[#cases + 1] = { name = "least squares, 4 parameters, 1,000 residuals", make = function()
  local t = gl.linspace(0, 5, 1000)
  local y = 3 * gl.exp(-0.7 * t) * gl.cos(2 * t) + 0.5
  local r = gl.jit(function(p) return p[1] * gl.exp(-p[2] * t) * gl.cos(p[3] * t) + p[4] - y end)
  local x0 = gl.tensor { 2, 0.5, 1.8, 0 }
  return function() return gl.least_squares(r, x0, { method = "trf" }).x[2] end
end }

--- A chain: each residual sees one or two of the unknowns.
cases[#cases + 1] = { name = "sparse least squares, bounds, 100,000 unknowns", make = function()
  local n = 100000
  local r = gl.jit(function(x)
    local a, b = x[{ { 1, -2 } }], x[{ { 2, -1 } }]
    return gl.concat({ 10 * (b - a:square()), 1.1 - x }, 1)
  end)
  local x0 = gl.full({ n }, 0.7)
  return function() return gl.least_squares(r, x0, { bounds = { -10, 10 } }).x[1] end
end }

cases[#cases + 1] = { name = "Adam step, 10,000,000 parameters", make = function()
  local params, grads = { w = inputs.fill({ 10000000 }, 1) }, { w = inputs.fill({ 10000000 }, 2) }
  local opt = gl.optim.adam(params)
  return function()
    opt:step(grads)
    return 1
  end
end }
return cases

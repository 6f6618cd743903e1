-- Fits the rates of a predator-prey model to noisy observations: the gradient goes through the solution of the
-- differential equation.

local gl = require "gradlua"

local function model(_, y, p)
  local prey, predators = y[1], y[2]
  return gl.stack { p[1] * prey - p[2] * prey * predators, p[3] * prey * predators - p[4] * predators }
end

local truth = gl.tensor { 1.1, 0.4, 0.1, 0.4 }
local start, times = gl.tensor { 10, 5 }, gl.linspace(0, 8, 25)
local exact = gl.odeint(model, start, times, truth)
local observed = exact * (1 + 0.02 * gl.generator(4):randn(25, 2))

local function misfit(p) return (gl.odeint(model, start, times, p) - observed):square():mean() end

local guess = gl.tensor { 0.9, 0.5, 0.08, 0.5 }
local result = gl.minimize(misfit, guess, { method = "bfgs", tol = 1e-5, max_iter = 200 })
print("truth: ", truth)
print("fitted:", result.x)
print(("misfit %.4f -> %.4f in %d iterations: %s"):format(misfit(guess):item(), result.f, result.iterations, result.message))
return { error = ((result.x - truth) / truth):abs():max():item(), start = misfit(guess):item(), misfit = result.f }

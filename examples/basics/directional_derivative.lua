-- The derivative along v is the gradient's product with v. Forward mode computes it directly, without the gradient: one
-- pass, whatever the number of variables.

local gl = require "gradlua"

local function f(x) return (x:sin() * x:exp()):sum() end

local x = gl.linspace(-1, 1, 1000)
local v = gl.linspace(0, 2, 1000)

local _, forward = gl.jvp(f, { x }, { v })
local reverse = gl.grad(f)(x):dot(v)
print(("forward mode: %.12f\ngradient . v: %.12f"):format(forward:item(), reverse:item()))

-- `directional` takes v as it is, or its unit vector: the rate of change by distance.
local as_it_is = gl.directional(f)(x, v)
local by_distance = gl.directional(f, { normalize = true })(x, v)
print(("along v: %.6f; along the unit vector: %.6f; ratio %.6f = |v| = %.6f"):format(
  as_it_is:item(), by_distance:item(), as_it_is:item() / by_distance:item(), v:norm():item()))
return { difference = math.abs(forward:item() - reverse:item()),
  ratio = as_it_is:item() / by_distance:item() / v:norm():item() }

-- x = cos(a x) defines x as a function of a. Differentiating through all iterations works; the implicit function theorem
-- needs only the solution: x' = -x sin(a x) / (1 + a sin(a x)).

local gl = require "gradlua"

local function g(x, a) return (a * x):cos() end

local function solution(a)
  local x = gl.fixed_point(g, gl.tensor(0.5), a)
  return x
end

local a = 0.9
local x = solution(a):item()
local implicit = gl.grad(solution)(a)
local by_hand = -x * math.sin(a * x) / (1 + a * math.sin(a * x))
local through_iterations = gl.grad(function(b)
  local v = gl.tensor(0.5)
  for _ = 1, 200 do v = g(v, b) end
  return v
end)(a)
print(("x = %.12f"):format(x))
print(("dx/da: implicit %.12f, by hand %.12f, through 200 iterations %.12f"):format(implicit, by_hand, through_iterations))
return { residual = math.abs(x - math.cos(a * x)), implicit = math.abs(implicit - by_hand),
  unrolled = math.abs(through_iterations - by_hand) }

-- A derivative written by hand can be wrong. `gradcheck` compares with central differences and tells where.

local gl = require "gradlua"

local function value(x) return (x:sin() * x):sum() end

-- The derivative of x sin x is sin x + x cos x. One of these rules has lost a term.
local right = gl.custom(value, { vjp = function(primals, cotangent)
  local x = primals[1]
  return cotangent * (x:sin() + x * x:cos())
end })
local wrong = gl.custom(value, { vjp = function(primals, cotangent)
  local x = primals[1]
  return cotangent * (x * x:cos())
end })

local x = gl.linspace(0.5, 2, 4)
local ok = gl.gradcheck(right, x)
print("the right rule passes:", ok)
local found, report = gl.gradcheck(wrong, x)
print("the wrong rule passes:", found)
print(report)
return { right = ok, wrong = found, report = tostring(report) }

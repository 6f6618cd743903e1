-- Along a curve c(t), a function changes at the rate gradient(c(t)) . c'(t): the chain rule. Differentiating the
-- composition directly must give the same, and so must the temperature that an ant on the curve feels.

local gl = require "gradlua"

local function temperature(p) return (-(p:square():sum())):exp() + 0.5 * p[1] end
local function curve(t) return gl.stack { (2 * t):cos(), t:sin() } end

local worst = 0
for _, t in ipairs { 0, 0.4, 1.1, 2.5 } do
  local velocity = gl.jacobian(curve)(gl.tensor(t))
  local by_rule = gl.grad(temperature)(curve(gl.tensor(t))):dot(velocity):item()
  local direct = gl.grad(function(s) return temperature(curve(s)) end)(t)
  print(("t = %.1f: gradient . velocity %.12f, direct %.12f"):format(t, by_rule, direct))
  worst = math.max(worst, math.abs(by_rule - direct))
end
return { difference = worst }

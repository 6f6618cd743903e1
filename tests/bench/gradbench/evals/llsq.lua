--- Least squares fit of a polynomial to the sign function at n points of [-1, 1].
local gl = require "gradlua"

--- Powers are built up as the sum goes on, as the eval prescribes: no matrix of them is ever made.
local function cost(t, m)
  return function(x)
    local residual, power = t:sign(), gl.ones_like(t)
    for j = 1, m do
      residual = residual - x[j] * power
      power = power * t
    end
    return (residual * residual):sum() / 2
  end
end

local function prepare(transform)
  return function(input)
    local x = gl.tensor(input.x)
    local f = gl.jit(transform(cost(gl.linspace(-1, 1, input.n), #x)))
    return function() return f(x) end
  end
end

return { primal = prepare(function(f) return f end), gradient = prepare(gl.grad) }

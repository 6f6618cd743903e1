--- Runge-Kutta 4 on [0, 2] of y_1' = x_1, y_i' = x_i y_(i-1), from zero.
local gl = require "gradlua"

local function final_state(steps)
  local h = 2 / steps
  return function(x)
    local n = #x
    local one = gl.ones(1)
    local function slope(y)
      if n == 1 then return x end
      return x * gl.concat { one, y[{ { 1, n - 1 } }] }
    end
    return gl.fori(steps, function(_, y)
      local k1 = slope(y)
      local k2 = slope(y + h / 2 * k1)
      local k3 = slope(y + h / 2 * k2)
      local k4 = slope(y + h * k3)
      return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    end, gl.zeros(n))
  end
end

return {
  primal = function(input)
    local x = gl.tensor(input.x)
    local f = gl.jit(final_state(input.s))
    return function() return f(x) end
  end,
  gradient = function(input)
    local x = gl.tensor(input.x)
    local state = final_state(input.s)
    local f = gl.jit(gl.grad(function(v) return state(v)[-1] end))
    return function() return f(x) end
  end,
}

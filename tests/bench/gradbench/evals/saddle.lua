--- The saddle point of |x|^2 - |y|^2: x least for the y that is best against it, both by gradient descent.
--- Each function is named by two modes: of the derivative in x, through the whole inner optimizer, then of that in y.
local gl = require "gradlua"
local optimize = require "evals.optimize"

local function height(x, y) return (x * x):sum() - (y * y):sum() end

local derivatives = {
  r = gl.grad,
  f = function(f) return gl.jacobian(f, { mode = "forward" }) end,
}

local function length(v) return (v * v):sum():sqrt() end

--- optimize.argmin as a staged loop, so that it can be differentiated: a step doubled after ten accepted ones in a row,
--- halved after a rejected one.
local function staged_argmin(f, gradient, start)
  local state = gl.while_loop(function(s) return s.moving end, function(s)
    local eta, accepted = gl.where(s.accepted:eq(10), 2 * s.eta, s.eta), gl.where(s.accepted:eq(10), 0, s.accepted)
    local x = s.x - eta * s.g
    local far = length(x - s.x):gt(1e-5)
    local fx = f(x)
    local better = far & fx:lt(s.fx)
    local g = gl.where(better, gradient(x), s.g)
    return {
      x = gl.where(better, x, s.x), fx = gl.where(better, fx, s.fx), g = g,
      eta = gl.where(better, eta, eta / 2), accepted = gl.where(better, accepted + 1, 0),
      moving = far & length(g):gt(1e-5),
    }
  end, { x = start, fx = f(start), g = gradient(start), eta = gl.tensor(1e-5), accepted = gl.tensor(0),
         moving = length(gradient(start)):gt(1e-5) })
  return state.x
end

local function prepare(outer, inner)
  local function best_answer(x, start)
    local function depth(y) return -height(x, y) end
    return staged_argmin(depth, derivatives[inner](depth), start)
  end
  local function worst(x, start) return height(x, best_answer(x, start)) end
  local value, derivative = gl.jit(worst), gl.jit(derivatives[outer](worst))
  local answer = gl.jit(best_answer)
  return function(input)
    local start = gl.tensor(input.start)
    return function()
      local x = optimize.argmin(function(v) return value(gl.tensor(v), start):item() end,
        function(v) return derivative(gl.tensor(v), start):totable() end, input.start)
      local y = answer(gl.tensor(x), start):totable()
      return { x[1], x[2], y[1], y[2] }
    end
  end
end

return { rr = prepare("r", "r"), ff = prepare("f", "f"), fr = prepare("f", "r"), rf = prepare("r", "f") }

--- A particle falls through the field of two charges; find the charge's place w for which it meets the x axis at 0.
--- Each function is named by two modes: of the outer derivative (in w), then of the force (the gradient of the potential).
local gl = require "gradlua"
local optimize = require "evals.optimize"

local STEP = 0.1

local function inverse_distance(x, y, a, b)
  return 1 / ((a - x) ^ 2 + (b - y) ^ 2):sqrt()
end

local function potential(x, y, w)
  return inverse_distance(x, y, 10, 0) + inverse_distance(x, y, 10, 10 - w)
end

local slopes = {
  r = gl.grad(potential, { 1, 2 }),
  f = function(x, y, w)
    local _, dx = gl.jvp(potential, { x, y, w }, { 1, 0, 0 })
    local _, dy = gl.jvp(potential, { x, y, w }, { 0, 1, 0 })
    return dx, dy
  end,
}

local derivatives = {
  r = gl.grad,
  f = function(f)
    return function(w) return select(2, gl.jvp(f, { w }, { 1 })) end
  end,
}

--- Euler steps while the particle stays above the axis, then straight down to it; the square of where it lands.
local function landing(slope)
  return function(w)
    local path = gl.while_loop(function(s) return (s.y + STEP * s.vy):ge(0) end, function(s)
      local dx, dy = slope(s.x, s.y, w)
      return { x = s.x + STEP * s.vx, y = s.y + STEP * s.vy, vx = s.vx - STEP * dx, vy = s.vy - STEP * dy }
    end, { x = gl.tensor(0), y = gl.tensor(8), vx = gl.tensor(0.75), vy = gl.tensor(0) })
    local x = path.x - path.y / path.vy * path.vx
    return x * x
  end
end

local function prepare(outer, inner)
  local square = landing(slopes[inner])
  local value, derivative = gl.jit(square), gl.jit(derivatives[outer](square))
  return function(input)
    return function()
      return optimize.argmin(function(w) return value(w[1]):item() end,
        function(w) return { derivative(w[1]) } end, { input.w })[1]
    end
  end
end

return { rr = prepare("r", "r"), ff = prepare("f", "f"), fr = prepare("f", "r"), rf = prepare("r", "f") }

-- Staged loops whose steps are small: what a step costs beyond its arithmetic.
local gl = require "gradlua"
local inputs = require "inputs"

--- x <- x + c: a step that is hardly more than the loop itself.
local function counting(c)
  return gl.fori(10000, function(_, x) return x + c end, gl.tensor(0))
end

--- Five operations on one number.
local function logistic_map(c)
  return gl.fori(10000, function(_, x) return c * x * (1 - x) + 0.01 * x end, gl.tensor(0.3))
end

--- Runge-Kutta 4 of ten coupled oscillators.
local function oscillators(y)
  local h = 0.01
  local function field(v) return v:roll(1, 1):sin() - v end
  return gl.fori(1000, function(_, v)
    local a = field(v)
    local b = field(v + h / 2 * a)
    local c = field(v + h / 2 * b)
    local d = field(v + h * c)
    return v + h / 6 * (a + 2 * b + 2 * c + d)
  end, y):square():sum()
end

--- Minus the log likelihood of a walk in the plane (positions and speeds, positions observed) by the Kalman filter, in the
--- logarithms of the two variances.
local function kalman(observed)
  local move = gl.tensor { { 1, 0, 0.1, 0 }, { 0, 1, 0, 0.1 }, { 0, 0, 1, 0 }, { 0, 0, 0, 1 } }
  local see = gl.tensor { { 1, 0, 0, 0 }, { 0, 1, 0, 0 } }
  return function(logs)
    local q, r = logs[1]:exp() * gl.eye(4), logs[2]:exp() * gl.eye(2)
    local last = gl.scan(function(s, z)
      local mean, cov = move:matmul(s.mean), move:matmul(s.cov):matmul(move:t()) + q
      local residual, spread = z - see:matmul(mean), see:matmul(cov):matmul(see:t()) + r
      local a, b, d = spread[{ 1, 1 }], spread[{ 1, 2 }], spread[{ 2, 2 }]
      local det = a * d - b * b
      local inverse = gl.stack { gl.stack { d, -b }, gl.stack { -b, a } } / det
      local gain = cov:matmul(see:t()):matmul(inverse)
      local loss = det:log() + residual:dot(inverse:matmul(residual))
      return { mean = mean + gain:matmul(residual), cov = cov - gain:matmul(see):matmul(cov), loss = s.loss + loss }, nil
    end, { mean = gl.zeros(4), cov = gl.eye(4), loss = gl.tensor(0) }, observed)
    return 0.5 * last.loss
  end
end

--- A cart with a pole, driven for 200 steps by a network of 4-8-1: the sum of the squared angles.
local function cart_pole(w1, w2)
  local mass, pole, half, dt = 1.1, 0.1, 0.5, 0.02
  local function step(_, s)
    local force = 10 * w2:dot(w1:matmul(gl.stack { s.x, s.v, s.a, s.w }):tanh()):tanh()
    local sin, cos = s.a:sin(), s.a:cos()
    local t = (force + pole * half * s.w * s.w * sin) / mass
    local turn = (9.8 * sin - cos * t) / (half * (4 / 3 - pole * cos * cos / mass))
    local push = t - pole * half * turn * cos / mass
    return { x = s.x + dt * s.v, v = s.v + dt * push, a = s.a + dt * s.w, w = s.w + dt * turn, cost = s.cost + s.a * s.a }
  end
  local start = { x = gl.tensor(0), v = gl.tensor(0), a = gl.tensor(0.05), w = gl.tensor(0), cost = gl.tensor(0) }
  return gl.fori(200, step, start).cost
end

--- A recurrent network of width 16, one sequence of 100 rows.
local function recurrent(rows)
  return function(w, u)
    local last = gl.scan(function(h, x) return (w:matmul(h) + u:matmul(x)):tanh(), nil end, gl.zeros(16), rows)
    return last:square():sum()
  end
end

--- Euler steps until a falling particle with drag meets the ground: where it does.
local function falling(v0)
  local s = gl.while_loop(function(s) return s.y:ge(0) end, function(s)
    local speed = gl.sqrt(s.vx * s.vx + s.vy * s.vy)
    return { x = s.x + 0.001 * s.vx, y = s.y + 0.001 * s.vy,
             vx = s.vx - 0.001 * 0.1 * speed * s.vx, vy = s.vy - 0.001 * (9.8 + 0.1 * speed * s.vy) }
  end, { x = gl.tensor(0), y = gl.tensor(1), vx = 1 * v0, vy = gl.tensor(5) })
  return s.x
end

local function case(name, f, ...)
  local arguments = { ... }
  return { name = name, make = function()
    local g = gl.jit(f)
    return function() return gl.sum((g(table.unpack(arguments)))) end
  end }
end

local c = gl.tensor(3.2)
local y, logs = inputs.fill({ 10 }, 1), gl.tensor { -2, -1 }
local w1, w2 = inputs.fill({ 8, 4 }, 1), inputs.fill({ 8 }, 2)
local w, u = inputs.fill({ 16, 16 }, 1, { scale = 0.2 }), inputs.fill({ 16, 8 }, 2)
local observed, rows = inputs.fill({ 200, 2 }, 3), inputs.fill({ 100, 8 }, 3)
return {
  case("10,000 steps of a sum, value", counting, c),
  case("10,000 steps of 5 scalar operations, value", logistic_map, c),
  case("10,000 steps of 5 scalar operations, gradient", gl.grad(logistic_map), gl.tensor(2.7)),
  case("1,000 steps of RK4, n = 10, value", oscillators, y),
  case("1,000 steps of RK4, n = 10, gradient", gl.grad(oscillators), y),
  case("Kalman filter, 4 states, 200 rows, gradient", gl.grad(kalman(observed)), logs),
  case("cart-pole, policy of 4-8-1, 200 steps, gradient", gl.grad(cart_pole), w1, w2),
  case("RNN of width 16, 100 rows, gradient", gl.grad(recurrent(rows)), w, u),
  case("while_loop of about 1,100 scalar steps, value", falling, gl.tensor(3)),
  case("while_loop of about 1,100 scalar steps, gradient", gl.grad(falling), gl.tensor(3)),
}

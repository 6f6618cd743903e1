--- Initial value problems: Dormand and Prince's Runge-Kutta pair of orders 5 and 4 (1980) with adaptive steps; the asked
--- times are read off Shampine's quartic interpolant (1986), so that they do not shorten the steps.
---
--- Derivatives. By default those of the computed solution itself (discrete adjoint): the loop over steps is differentiated,
--- the step sizes taken as they came. With {adjoint = "continuous"} reverse mode integrates the adjoint equation backwards
--- between the asked times instead: memory does not grow with the steps, and the gradient is right to the tolerance only.
local gl = require "gradlua"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local M = {}

-- Nodes, coefficients of the stages, and the difference of the two orders.
local NODES = { 0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1 }
local STAGES = {
  {},
  { 1 / 5 },
  { 3 / 40, 9 / 40 },
  { 44 / 45, -56 / 15, 32 / 9 },
  { 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729 },
  { 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656 },
  { 35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84 },
}
local ERROR = { 71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40 }
-- The solution in the middle of a step.
local MIDDLE = {
  6025192743 / 60171106304, 0, 51252292925 / 130801643196, -2691868925 / 90256659456, 187940372067 / 3189068634112,
  -1776094331 / 39487288512, 11237099 / 470086768,
}

local SAFETY, SHRINK_MOST, GROW_MOST = 0.9, 0.2, 10

--- The sum of slopes weighted by coefficients.
local function weighted(coefficients, slopes)
  local sum
  for i, c in ipairs(coefficients) do
    if c ~= 0 then
      local term = slopes[i] * c
      sum = sum and sum + term or term
    end
  end
  return sum
end

--- Root mean square of v over the scale of the tolerances.
local function scaled_norm(v, scale)
  return ((v / scale) ^ 2):mean():sqrt()
end

--- A first step by the size of the solution and of its first two derivatives (Hairer, Norsett, Wanner, II.4).
local function first_step(rhs, t, y, slope, options)
  local scale = options.atol + options.rtol * y:abs()
  local d0, d1 = scaled_norm(y, scale), scaled_norm(slope, scale)
  local tiny = d0:lt(1e-5) | d1:lt(1e-5)
  local h = gl.where(tiny, 1e-6, 0.01 * d0 / gl.where(tiny, 1, d1))
  local d2 = scaled_norm(rhs(t + h, y + h * slope) - slope, scale) / h
  local steepest = gl.maximum(d1, d2)
  local flat = steepest:le(1e-15)
  local second = gl.where(flat, gl.maximum(h * 1e-3, 1e-6), (0.01 / gl.where(flat, 1, steepest)) ^ 0.2)
  return gl.stop_gradient(gl.minimum(100 * h, second))
end

--- The quartic through both ends of a step, their slopes and its middle: coefficients of falling powers of the share of the
--- step that has passed.
local function interpolant(y0, y1, middle, slope0, slope1)
  return {
    2 * (slope1 - slope0) - 8 * (y0 + y1) + 16 * middle,
    5 * slope0 - 3 * slope1 + 18 * y0 + 14 * y1 - 32 * middle,
    slope1 - 4 * slope0 - 11 * y0 - 5 * y1 + 16 * middle,
    slope0,
    y0,
  }
end

local function interpolate(c, share)
  return (((c[1] * share + c[2]) * share + c[3]) * share + c[4]) * share + c[5]
end

--- One attempt at a step from state s: the state after it, the same but for the step size where the error was too large.
local function attempt(rhs, s, options)
  local slopes = { s.slope }
  local y
  for i = 2, #NODES do
    y = s.y + s.h * weighted(STAGES[i], slopes)
    slopes[i] = rhs(s.t + NODES[i] * s.h, y)
  end
  local scale = options.atol + options.rtol * gl.maximum(s.y:abs(), y:abs())
  local err = gl.stop_gradient(scaled_norm(s.h * weighted(ERROR, slopes), scale))
  local accepted = err:le(1)
  -- An error that is no number shrinks the step as much as a large one.
  local factor = gl.where(err:gt(0), SAFETY * gl.where(err:gt(0), err, 1) ^ -0.2, gl.where(err:isnan(), 0, GROW_MOST))
  local middle = s.y + s.h * weighted(MIDDLE, slopes)
  local quartic = interpolant(s.y, y, middle, s.h * s.slope, s.h * slopes[7])
  for i, c in ipairs(quartic) do quartic[i] = gl.where(accepted, c, s.quartic[i]) end
  return {
    t = gl.where(accepted, s.t + s.h, s.t), from = gl.where(accepted, s.t, s.from),
    y = gl.where(accepted, y, s.y), slope = gl.where(accepted, slopes[7], s.slope),
    h = gl.stop_gradient(s.h * factor:clamp(SHRINK_MOST, GROW_MOST)),
    quartic = quartic, left = s.left - 1,
  }
end

--- Rows of the solution at ts (ascending), from the vector y at ts[1]; NaN from where the steps allowed did not reach, and how
--- many steps were left.
local function integrate(rhs, y, ts, options)
  local start = ts[1]
  local slope = rhs(start, y)
  local h = options.first_step and gl.full({}, options.first_step) or first_step(rhs, start, y, slope, options)
  local zero = gl.zeros_like(y)
  local state = {
    t = start, from = start, y = y, slope = slope, h = h, left = gl.tensor(options.max_steps),
    quartic = { zero, zero, zero, zero, y },
  }
  local last, rows = gl.scan(function(s, target)
    s = gl.while_loop(function(v) return v.t:lt(target) & v.left:gt(0) end,
      function(v) return attempt(rhs, v, options) end, s)
    local length = s.t - s.from
    local moved = length:gt(0)
    local row = interpolate(s.quartic, gl.where(moved, target - s.from, 0) / gl.where(moved, length, 1))
    return s, gl.where(s.t:ge(target), row, 0 / 0)
  end, state, ts[{ { 2, #ts } }])
  return gl.concat { y:unsqueeze(1), rows }, last.left
end

--- ---------------------------------------------------------------- any structure as one vector

--- How to turn a value of this structure into a vector, and a vector, or rows of vectors, back.
local function raveler(what, example)
  local leaves = tree.flatten("odeint", example)
  local sizes, shapes = {}, {}
  for i, leaf in ipairs(leaves) do
    if not gl.is_tensor(leaf) then check.kind("odeint", what, leaf, "number") end
    shapes[i] = gl.is_tensor(leaf) and leaf:shape() or {}
    sizes[i] = gl.is_tensor(leaf) and leaf:numel() or 1
  end
  local function ravel(value)
    local parts = {}
    for i, leaf in ipairs((tree.flatten("odeint", value))) do
      leaf = gl.is_tensor(leaf) and leaf or gl.full({}, check.kind("odeint", what, leaf, "number"))
      if leaf:numel() ~= sizes[i] then
        check.fail("odeint", "%s has %d entries in part %d, expected %d as in y0", what, leaf:numel(), i, sizes[i] or 0)
      end
      parts[i] = leaf:flatten()
    end
    if #parts ~= #sizes then check.fail("odeint", "%s has %d parts, expected %d as in y0", what, #parts, #sizes) end
    return #parts == 1 and parts[1] or gl.concat(parts)
  end
  local function unravel(vector, rows)
    local at, i = 1, 0
    return tree.map("odeint", function()
      i = i + 1
      local span = { at, at + sizes[i] - 1 }
      at = at + sizes[i]
      if rows then return vector[{ {}, span }]:reshape(rows, table.unpack(shapes[i])) end
      return vector[{ span }]:reshape(shapes[i])
    end, example)
  end
  return ravel, unravel
end

--- ---------------------------------------------------------------- the continuous adjoint

--- integrate as a function of (y, ts, p) whose pullback integrates the adjoint equation (Pontryagin 1962; Chen et al. 2018)
--- backwards from each asked time to the one before, from the solution kept there.
local function with_adjoint(rhs, options)
  local function slopes_of(y, ts, p)
    return gl.vmap(function(row, t) return rhs(t, row, p) end)(y, ts)
  end
  local function backwards(y, ts, p, cotangent)
    local a, g = gl.zeros_like(y[1]), gl.zeros_like(p)
    local count = #ts
    local function segment(carry, x)
      local lambda = carry[1] + x.cotangent
      local packed = gl.concat { x.y, lambda, carry[2] }
      local n = #lambda
      local function augmented(s, v)
        local slope, pullback = gl.vjp(function(state, q) return rhs(-s, state, q) end, v[{ { 1, n } }], p)
        local dy, dp = pullback(v[{ { n + 1, 2 * n } }])
        return gl.concat { -slope, dy, dp }
      end
      local rows = integrate(augmented, packed, gl.stack { -x.to, -x.from }, options)
      local packed_before = rows[2]
      return { packed_before[{ { n + 1, 2 * n } }], packed_before[{ { 2 * n + 1, #packed } }] }, lambda
    end
    local xs = {
      y = y[{ { 2, count } }]:flip(1), cotangent = cotangent[{ { 2, count } }]:flip(1),
      to = ts[{ { 2, count } }]:flip(1), from = ts[{ { 1, count - 1 } }]:flip(1),
    }
    local carry = gl.scan(segment, { a, g }, xs)
    local at_start = carry[1]
    local slopes = slopes_of(y, ts, p)
    local in_times = (cotangent * slopes):sum(2)
    local first = -(at_start * slopes[1]):sum()
    local dts = gl.concat { first:reshape(1), in_times[{ { 2, count } }] }
    return at_start + cotangent[1], dts, carry[2]
  end
  return gl.custom(function(y, ts, p)
    return (integrate(function(t, v) return rhs(t, v, p) end, y, ts, options))
  end, {
    vjp = function(primals, cotangent)
      local y0, ts, p = table.unpack(primals)
      local y = integrate(function(t, v) return rhs(t, v, p) end, y0, ts, options)
      return { backwards(y, ts, p, cotangent) }
    end,
  })
end

--- ---------------------------------------------------------------- the function that people call

local DEFAULTS = {
  rtol = 1e-8, atol = 1e-10, max_steps = 100000, first_step = check.none, adjoint = "discrete",
}

--- The arguments for f, and the options: the last argument when it names some.
local function split_options(f, ...)
  local args, given = check.split_options("odeint", f, 2, DEFAULTS, ...)
  local options = check.options("odeint", given, DEFAULTS)
  if options.adjoint ~= "discrete" and options.adjoint ~= "continuous" then
    check.fail("odeint", "option adjoint must be 'discrete' or 'continuous', not '%s'", tostring(options.adjoint))
  end
  return args, options
end

local function check_times(ts)
  if not gl.is_tensor(ts) then ts = gl.tensor(check.kind("odeint", "ts", ts, "table")) end
  if ts:ndim() ~= 1 or #ts < 1 then check.fail("odeint", "ts must be a list of times, the first that of y0") end
  local known, descending = pcall(function() return #ts > 1 and ts[-1]:item() < ts[1]:item() end)
  local steps = #ts > 1 and ts[{ { 2, #ts } }] - ts[{ { 1, #ts - 1 } }] or gl.ones(1)
  local sorted = known and (descending and steps:le(0) or steps:ge(0)):all():item()
  if known and not sorted then check.fail("odeint", "ts must ascend or descend") end
  return ts, known and descending
end

--- Raises when the steps ran out, where that is known (inside jit it is not: rows are NaN then).
local function check_finished(left, max_steps)
  local known, out = pcall(function() return left:item() <= 0 end)
  if known and out then
    check.fail("odeint", "%d steps (max_steps) did not reach the last time: the problem may be stiff, or its solution may "
      .. "not exist so far", max_steps)
  end
end

--- The solution of y' = f(t, y, ...) with y(ts[1]) = y0, at the times ts.
---
--- Times ascend or descend. y0 is a number, a tensor or a nested table, and f returns the same. Options, as a last table:
--- rtol = 1e-8, atol = 1e-10 (of the error of a step), max_steps = 100000, first_step, adjoint = "discrete" | "continuous".
---@param f function
---@param y0 any
---@param ts any a tensor or a list of numbers
---@return any rows y at each of ts, along a new first axis; the first row is y0
function M.odeint(f, y0, ts, ...)
  check.callable("odeint", "f", f)
  local args, options = split_options(f, ...)
  local times, descending = check_times(ts)
  local ravel, unravel = raveler("what f returns", y0)
  local sign = descending and -1 or 1
  local start = ravel(y0)
  local function rhs_with(t, y, ...)
    return sign * ravel(f(sign * t, unravel(y), ...))
  end
  local rows, left
  if options.adjoint == "continuous" then
    local ravel_args, unravel_args = raveler("an argument of f", { table.unpack(args, 1, args.n) })
    local solve = with_adjoint(function(t, y, p)
      return rhs_with(t, y, table.unpack(unravel_args(p), 1, args.n))
    end, options)
    local p = args.n > 0 and ravel_args { table.unpack(args, 1, args.n) } or gl.zeros(0)
    rows = solve(start, sign * times, p)
  else
    rows, left = integrate(function(t, y) return rhs_with(t, y, table.unpack(args, 1, args.n)) end, start, sign * times,
      options)
    check_finished(left, options.max_steps)
  end
  return unravel(rows, #times)
end

return M

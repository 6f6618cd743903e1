--- What kind of point is this? Critical points by the Hessian's eigenvalues, and whether a derivative exists at all.
local gl = require "gradlua"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local variables = require "gradlua.variables"

local M = {}

--- The point as an f64 tensor (of a nested table all entries as one vector), f as a function of such a tensor, which
--- may be traced, and as one that gives a Lua number. Where x is a number the latter calls f with a number, or with a 0-d
--- tensor when f cannot take that.
local function as_function(name, f, x)
  check.callable(name, "the first argument", f)
  local of_tensor, point
  if tree.is_node(x) and tree.is_node(x.args) and next(x, next(x)) == nil then
    of_tensor, point = variables.as_vector(name, function(args) return f(table.unpack(args)) end, x.args)
  elseif tree.is_node(x) then
    of_tensor, point = variables.as_vector(name, f, x)
  else
    check.kind(name, "the point", x, "number or tensor or table")
    of_tensor, point = f, gl.is_tensor(x) and x:to("f64"):clone() or gl.tensor(x)
  end
  local takes_number = type(x) == "number"
  local function value(v)
    local known, y
    if takes_number then
      known, y = pcall(f, v:item())
      takes_number = known
    end
    if not known then y = of_tensor(v) end
    if gl.is_tensor(y) and y:numel() == 1 then y = y:item() end
    if gl.is_tensor(y) then
      check.fail(name, "the function must return a number, not a tensor of shape %s", table.concat(y:shape(), " x "))
    end
    return check.kind(name, "what the function returns", y, "number")
  end
  return value, point, of_tensor
end

--- ---------------------------------------------------------------- critical points

--- Signs among eigenvalues, those within `zero` of 0 left out.
local function signs(eigenvalues, zero)
  local positive, negative, flat = 0, 0, 0
  for _, v in ipairs(eigenvalues) do
    if v > zero then positive = positive + 1
    elseif v < -zero then negative = negative + 1
    else flat = flat + 1 end
  end
  return positive, negative, flat
end

local function verdict(eigenvalues, zero)
  local positive, negative, flat = signs(eigenvalues, zero)
  if positive > 0 and negative > 0 then return "saddle" end
  if flat > 0 then return "degenerate" end
  return negative == 0 and "minimum" or "maximum"
end

--- (f, x [, {tol = 1e-6, zero = 1e-8}]) -> kind, eigenvalues
--- The kind of point that x is for f, by the second-derivative test: "minimum", "maximum", "saddle", "degenerate" (the test
--- cannot tell) or "not critical"; and the Hessian's eigenvalues, ascending.
---@param f function gives a number
---@param x number|table a number, a tensor, or a nested table of them; {args = {...}}: several arguments
--- tol: the largest gradient entry of a critical point, relative to max(1, |f|); zero: the share of the largest eigenvalue
--- within which one counts as 0.
---@param opts? table
---@return string kind "minimum", "maximum", "saddle", "degenerate" (the test cannot tell) or "not critical"
---@return table eigenvalues of the Hessian, ascending: a tensor
function M.classify(f, x, opts)
  if type(opts) == "number" then check.fail("classify", "several arguments of the function are given as {args = {...}}") end
  opts = check.options("classify", opts, { tol = 1e-6, zero = 1e-8 })
  local value, point, of_tensor = as_function("classify", f, x)
  local scale = math.max(1, math.abs(value(point)))
  local gradient = gl.grad(of_tensor)(point)
  local n = point:numel()
  local hessian = gl.hessian(of_tensor)(point):reshape(n, n)
  local eigenvalues = gl.eigh((hessian + hessian:t()) / 2)
  if not (gradient:abs():max():item() <= opts.tol * scale) then return "not critical", eigenvalues end
  local list = eigenvalues:totable()
  local largest = math.max(math.abs(list[1]), math.abs(list[n]))
  return verdict(list, opts.zero * largest), eigenvalues
end

--- ---------------------------------------------------------------- does a derivative exist?
-- f has a derivative at x when one linear map L leaves a remainder r(h) = max over directions v of
-- |f(x + h v) - f(x) - h L v| / h that vanishes with h. L can only be the partial derivatives, so these are found first, from
-- both sides; then r is followed over shrinking h, the directions being searched anew at each h, since the bad ones may
-- turn towards an axis as h shrinks (along a parabola, say).

local STEPS, SHRINK, LARGEST = 14, 4, 1 / 16

--- Quotients from one side, extrapolated from the two smallest steps that rounding leaves usable.
local function one_sided(value, point, f0, direction, sign, scale)
  local quotients = {}
  for k = 0, STEPS - 1 do
    local h = sign * LARGEST * scale / SHRINK ^ k
    local y = value(point + direction * h)
    local noise = 2 ^ -52 * (math.abs(y) + math.abs(f0)) / math.abs(h)
    quotients[#quotients + 1] = { slope = (y - f0) / h, noise = noise }
  end
  return quotients
end

--- Aitken's extrapolation of three quotients whose errors shrink by a constant factor, and how it magnifies rounding; nil
--- where they do not shrink.
local function extrapolated(a, b, c)
  local first, second = b.slope - a.slope, c.slope - b.slope
  local ratio = second / first
  if not (ratio > -0.98 and ratio < 0.98) then return nil end
  return c.slope + second * ratio / (1 - ratio), 4 * c.noise / (1 - ratio) ^ 2
end

--- The limit of quotients: of the values as they are and extrapolated, the one whose change from its predecessor is least,
--- with that change as its error. A sequence that grows without end, or swings, has a large error.
local function limit(quotients)
  local best, err, previous = quotients[#quotients].slope, math.huge, nil
  local function consider(value, before, noise)
    local change = math.abs(value - before) + noise
    if change < err then best, err = value, change end
  end
  for k = 2, #quotients do
    consider(quotients[k].slope, quotients[k - 1].slope, quotients[k].noise)
    local value, noise
    if k > 2 then value, noise = extrapolated(quotients[k - 2], quotients[k - 1], quotients[k]) end
    if value and previous then consider(value, previous, noise) end
    previous = value
  end
  return best, err
end

local function unit(n, i)
  local v = gl.zeros(n)
  v[i] = 1
  return v
end

--- Do the quotients grow without end? Then what they have reached, and whether like 1 / h, as at a jump.
local function growing(quotients)
  local last = quotients[#quotients].slope
  if math.abs(last) == math.huge then return last, true end
  local third = #quotients // 3
  local a, b = math.abs(quotients[third].slope), math.abs(quotients[2 * third].slope)
  if not (a > 0 and b > 1.2 * a and math.abs(last) > 1.2 * b) then return nil end
  return last, math.log(b / a) > 0.98 * third * math.log(SHRINK)
end

--- Partial derivatives from both sides: lists left, right, and whether each exists.
local function partials(value, point, f0, n, scale)
  local found = { left = {}, right = {}, value = {}, exist = true, error = 0 }
  for i = 1, n do
    local direction = unit(n, i):view_as(point)
    local to_right = one_sided(value, point, f0, direction, 1, scale)
    local to_left = one_sided(value, point, f0, direction, -1, scale)
    local right, right_error = limit(to_right)
    local left, left_error = limit(to_left)
    local allowed = 1e-4 * (1 + math.abs(left) + math.abs(right))
    found.left[i], found.right[i], found.value[i] = left + 0.0, right + 0.0, (left + right) / 2
    found.error = math.max(found.error, left_error + right_error + math.abs(left - right))
    if not (math.abs(left - right) <= allowed and left_error <= allowed and right_error <= allowed) then
      found.exist = false
      if not found.missing then
        found.missing = i
        found.sides = {
          { name = "left", quotients = to_left, settles = left_error <= allowed },
          { name = "right", quotients = to_right, settles = right_error <= allowed },
        }
      end
    end
  end
  return found
end

--- Unit directions: the axes, their diagonals, random ones, and those close to an axis on the scale of h itself.
local function directions(n, h, random)
  local list = {}
  local function add(v) list[#list + 1] = v / v:norm() end
  for i = 1, math.min(n, 8) do
    for j = 1, math.min(n, 8) do
      if i ~= j then
        for _, slope in ipairs { 1, h ^ 0.5, h, h * h, 2 * h, h / 2 } do
          for _, sign in ipairs { 1, -1 } do
            add(unit(n, i) + unit(n, j) * (sign * slope))
            add(-unit(n, i) + unit(n, j) * (sign * slope))
          end
        end
      end
    end
  end
  for _ = 1, 24 do add(random:randn(n)) end
  return list
end

--- The largest remainder over the directions at distance h, and the direction.
local function remainder(value, point, f0, slopes, h, random)
  local worst, along, noise = -1, nil, 0
  for _, v in ipairs(directions(#slopes, h, random)) do
    local y = value(point + v:view_as(point) * h)
    local r = math.abs(y - f0 - h * slopes:dot(v):item()) / h
    noise = math.max(noise, 2 ^ -50 * (math.abs(y) + math.abs(f0)) / h)
    if not (r <= worst) then worst, along = r, v end
    if r ~= r then return math.huge, v, noise end
  end
  return worst, along, noise
end

--- Remainders at shrinking steps, as long as they stand out from rounding and from the error of the slopes.
local function remainders(value, point, f0, found, scale)
  local random, list, slopes = gl.generator(1), {}, gl.tensor(found.value)
  for k = 0, STEPS - 1 do
    local h = LARGEST * scale / SHRINK ^ k
    local r, along, noise = remainder(value, point, f0, slopes, h, random)
    if r <= 100 * noise + 4 * #slopes * found.error then
      list[#list + 1] = { h = h, remainder = 0, direction = along }
      break
    end
    list[#list + 1] = { h = h, remainder = r, direction = along }
  end
  return list
end

--- The remainder vanishes when its order in h over the last steps is positive: 0 for a kink, negative for a jump.
local function vanishes(list)
  local last = list[#list]
  if last.remainder == 0 then return true, math.huge end
  local before = list[math.max(1, #list - 4)]
  local order = math.log(before.remainder / last.remainder) / math.log(before.h / last.h)
  return order > 0.02, order
end

local function numbers(list)
  local text = {}
  for i, v in ipairs(list) do text[i] = ("%.6g"):format(v) end
  return table.concat(text, ", ")
end

--- The least and the largest quotient over the smaller half of the steps.
local function swing(quotients)
  local low, high = math.huge, -math.huge
  for k = #quotients // 2, #quotients do
    low, high = math.min(low, quotients[k].slope), math.max(high, quotients[k].slope)
  end
  return low, high
end

local function reason_for_partial(found)
  local i, grow, jumps = found.missing, {}, false
  for _, side in ipairs(found.sides) do
    local reached, jump = growing(side.quotients)
    if reached then
      grow[#grow + 1] = ("from the %s (to %.3g)"):format(side.name, reached)
      jumps = jumps or jump
    end
  end
  if #grow > 0 then
    return ("in coordinate %d the difference quotients grow without end %s%s"):format(i, table.concat(grow, " and "),
      jumps and ": the function jumps there" or "")
  end
  for _, side in ipairs(found.sides) do
    if not side.settles then
      return ("in coordinate %d the difference quotients from the %s do not settle: they go on between %.3g and %.3g"):format(i,
        side.name, swing(side.quotients))
    end
  end
  return ("in coordinate %d the slope is %.6g from the left and %.6g from the right"):format(i, found.left[i], found.right[i])
end

--- (f, x) -> verdict, evidence
--- Does f, a function of a number or a tensor that gives a number, have a derivative at x? Not the same as having partial
--- derivatives: those only look along the axes.
--- evidence.reason is a sentence; partials_exist, partials, left and right (slopes on both sides) tell of the axes; remainders
--- (list of {h, remainder, direction}), order (of the remainder in h) and direction (the worst one) of all directions.
---@param f function gives a number
---@param x number|table a number, a tensor, or a nested table of them; {args = {...}}: several arguments
---@return boolean verdict
---@return table evidence
function M.differentiable(f, x, ...)
  if select("#", ...) > 0 then
    check.fail("differentiable", "several arguments of the function are given as {args = {...}}")
  end
  local value, point = as_function("differentiable", f, x)
  local f0, n = value(point), point:numel()
  if f0 ~= f0 or math.abs(f0) == math.huge then
    local remedy = "not a number (NaN) there: where its formula is 0/0, say what it is, as gl.where(x:eq(0), value, formula)"
    return false, { reason = "the function is " .. (f0 ~= f0 and remedy or f0 .. " there"), partials_exist = false }
  end
  local scale = math.max(1, point:abs():max():item())
  local found = partials(value, point, f0, n, scale)
  local evidence = { partials = found.value, left = found.left, right = found.right, partials_exist = found.exist }
  if not found.exist then
    evidence.reason = reason_for_partial(found)
    return false, evidence
  end
  evidence.remainders = remainders(value, point, f0, found, scale)
  local vanishing, order = vanishes(evidence.remainders)
  evidence.order = order
  if vanishing then
    evidence.reason = ("the linear map (%s) leaves a remainder that vanishes"):format(numbers(found.value))
    return true, evidence
  end
  local last = evidence.remainders[#evidence.remainders]
  evidence.direction = last.direction
  evidence.reason = ("its partial derivatives exist (%s), but they predict f wrongly along (%s): "
    .. "off by %.3g times the distance, however near"):format(numbers(found.value),
    numbers(last.direction:totable()), last.remainder)
  return false, evidence
end

return M

--- gl.root and gl.fixed_point: systems of equations in a number, a tensor or a nested table, with exact Jacobians. The
--- solution is differentiable in the further arguments, and in whatever else the function captures.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local minimize = require "gradlua.minimize"
local tree = require "gradlua.tree"
local variables = require "gradlua.variables"

local M = {}

local solving = { method = true, tol = true, x_tol = true, max_iter = true, max_seconds = true, memory = true, damping = true,
  on_step = true, progress = true }

local function split_options(name, f, known, ...)
  local args, options = check.split_options(name, f, 1, known, ...)
  return args, options or {}
end

--- The structure with concrete tensors, and whether any of it was traced.
local function concrete(name, value)
  local traced = false
  local plain = tree.map(name, function(leaf)
    if not gl.is_tensor(leaf) then return leaf end
    local copy, was_traced = internal.roots.concrete(leaf)
    traced = traced or was_traced
    return copy
  end, value)
  return plain, traced
end

--- The value of the function as one vector.
local function flatten(name, value)
  local pieces = {}
  tree.each(name, value, function(leaf)
    if type(leaf) ~= "number" and not gl.is_tensor(leaf) then
      check.fail(name, "the function must give numbers and tensors, not %s", type(leaf))
    end
    pieces[#pieces + 1] = type(leaf) == "number" and gl.tensor { leaf } or leaf:to("f64"):reshape(-1)
  end)
  if #pieces == 1 then return pieces[1] end
  return gl.concat(pieces, 1)
end

--- The solution with the derivatives that the equation implies (implicit function theorem), to any order. With tol it is
--- found from x by Newton's method when the program runs: no step where x solves the equation already.
local function implied(name, residual, x, tol, max_iter)
  local body = internal.body
  local recorded = body.record({ name = name, open = body.is_staged() and 1 or 0 }, residual, { x, n = 1 })
  return internal.control.implicit(recorded, x, {}, body.captured(recorded), tol, max_iter)[1]
end

local function solve(name, f, x0, is_fixed_point, args, options)
  check.callable(name, "the function", f)
  local start = concrete(name, x0)
  local space = variables.layout(name, start)
  local staged = false

  local function with(arguments)
    return function(vector) return flatten(name, f(space.unpack(vector), table.unpack(arguments, 1, args.n))) end
  end
  local F = with(args)
  local residual = is_fixed_point and function(v) return v - F(v) end or F
  local tol, max_iter = options.tol or 1e-10, options.max_iter or 100
  if internal.body.is_staged() then
    local x = implied(name, residual, space.start, tol, max_iter)
    return space.unpack(x), { method = "newton", staged = true }
  end
  local plain_args = { n = args.n }
  for i = 1, args.n do
    local traced
    plain_args[i], traced = concrete(name, args[i])
    staged = staged or traced
  end
  local plain = with(plain_args)
  local function value_of(compute)
    return function(vector)
      local value, traced = internal.roots.concrete((compute(vector)))
      staged = staged or traced
      return value
    end
  end

  local callbacks = { f = value_of(plain), jacobian = value_of(gl.jacobian(plain)) }
  if options.on_step or options.progress then
    callbacks.watched = options.on_step and true or nil
    function callbacks.on_step(info)
      if options.progress then minimize.log_line(info) end
      if not options.on_step then return false end
      info.x = space.unpack_plain(info.x)
      return options.on_step(info)
    end
  end
  local x, info = internal.roots.root(space.start, callbacks, is_fixed_point, options)
  if not staged then return space.unpack_plain(x), info end
  if not info.converged then return space.unpack(implied(name, residual, x)), info end
  return space.unpack(implied(name, residual, x, math.max(tol, info.residual), max_iter)), info
end

--- (f, x0, ... [, {method = "hybrid", tol = 1e-10, x_tol, max_iter, max_seconds, memory, damping, on_step, progress}]) -> x, info
--- The x with f(x, ...) = 0 nearest by from x0, and a table {converged, status, message, residual, method, iterations,
--- evaluations}. Under jit and vmap it is Newton's method from x0, and NaN when that fails.
--- f gives as many numbers as x has. Differentiable in the further arguments. Options: method (hybrid,
--- newton, broyden, anderson), tol (largest entry of f).
---@param f function
---@param x0 any
---@return any x, table info
function M.root(f, x0, ...)
  return solve("root", f, x0, false, split_options("root", f, solving, ...))
end

--- (g, x0, ... [, options]) -> x, info
--- The x with g(x, ...) = x, by Anderson's acceleration; results and options as gl.root's (memory 0: plain iteration).
---@param g function
---@param x0 any
---@return any x, table info
function M.fixed_point(g, x0, ...)
  return solve("fixed_point", g, x0, true, split_options("fixed_point", g, solving, ...))
end

local minimizing = { method = true, tol = true, max_iter = true, memory = true }

--- The x that makes f(x, ...) least, near x0, and gl.minimize's result. Differentiable in the further arguments by the
--- implicit function theorem: where the gradient is zero, not through the iterations. Under jit and vmap it is Newton's
--- method on the gradient. The last argument may be options: method, tol, max_iter, memory, as gl.minimize's.
---@param f function
---@param x0 any
---@return any x, table? result
function M.argmin(f, x0, ...)
  check.callable("argmin", "the function", f)
  local args, options = split_options("argmin", f, minimizing, ...)
  local start, result = concrete("argmin", x0), nil
  if not internal.body.is_staged() then
    local plain = { n = args.n }
    for i = 1, args.n do plain[i] = concrete("argmin", args[i]) end
    result = gl.minimize(function(x) return (f(x, table.unpack(plain, 1, plain.n))) end, start, options)
    start = result.x
  end
  local gradient = gl.grad(f)
  local x = solve("argmin", function(v, ...) return (gradient(v, ...)) end, start, false, args, {})
  return x, result
end

return M

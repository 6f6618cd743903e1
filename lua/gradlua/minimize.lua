--- gl.minimize: the minimizers of the core on functions of a number, a tensor or a nested table. The variables are
--- flattened into one f64 vector, on which the exact derivatives of f are taken.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local variables = require "gradlua.variables"

local M = {}

--- One function c(x) -> vector of the functions in `list` (each gives a number or a tensor).
local function stack_constraints(list, unpack)
  return function(vector)
    local x, out = unpack(vector), {}
    for i, c in ipairs(list) do
      local value = c(x)
      if type(value) == "number" then value = gl.tensor { value } end
      out[i] = value:reshape(-1)
    end
    return #out == 1 and out[1] or gl.concat(out, 1)
  end
end

local function as_list(value)
  if value == nil then return {} end
  if type(value) == "table" and getmetatable(value) == nil then return value end
  return { value }
end

local function add_constraints(name, constraints, space, callbacks)
  local c = check.options(name, constraints, { eq = check.none, ineq = check.none, bounds = check.none })
  local equal, unequal = as_list(c.eq), as_list(c.ineq)
  local all = table.move(unequal, 1, #unequal, #equal + 1, table.move(equal, 1, #equal, 1, {}))
  if #all > 0 then
    local function count(list)
      return #list == 0 and 0 or stack_constraints(list, space.unpack)(space.start):numel()
    end
    callbacks.equalities, callbacks.inequalities = count(equal), count(unequal)
    callbacks.constraints = stack_constraints(all, space.unpack)
    callbacks.jacobian = gl.jacobian(callbacks.constraints)
  end
  return c.bounds
end

local function add_bounds(name, bounds, space, callbacks)
  if bounds == nil then return end
  check.kind(name, "bounds", bounds, "table")
  local lower, upper = bounds[1] or bounds.lower, bounds[2] or bounds.upper
  local function is_pair(bound) return space.is_leaf and tree.is_node(bound) end
  if #bounds > 2 or is_pair(lower) or is_pair(upper) then
    check.fail(name, "bounds are {lower, upper}, each a number or of x0's structure; for bounds of each entry write "
      .. "{gl.tensor{lo, ..}, gl.tensor{hi, ..}}, not {{lo, hi}, ..}")
  end
  if lower ~= nil then callbacks.lower = space.pack("the lower bound", lower) end
  if upper ~= nil then callbacks.upper = space.pack("the upper bound", upper) end
end

--- Methods that ask for second derivatives.
local uses_hessian = { newton = true, trust_exact = true, dogleg = true }
local uses_products = { newton_cg = true, trust_ncg = true }

--- Prints what a step did: option progress.
function M.log_line(info)
  if not io then return end -- a sandbox; its host has a progress callback
  io.stderr:write(("%6d  f %.10g  gradient %.3g  step %.3g  %.2f s\n"):format(
    info.iteration, info.f, info.gradient_norm, info.step, info.seconds))
end

---@class gradlua.Minimizer
local Minimizer = {}
Minimizer.__index = Minimizer

--- One iteration; false when the run has ended.
function Minimizer:step() return self.solver:step() end

--- Steps until the run ends, and gives the result.
function Minimizer:run()
  self.solver:run()
  return self:result()
end

--- The best point so far: {x, f, grad, status, message, converged, method, iterations, evaluations, trace}.
function Minimizer:result()
  local result = self.solver:result()
  result.x, result.grad = self.space.unpack_plain(result.x), self.space.unpack_plain(result.grad)
  result.trace = self.trace
  return result
end

--- The whole state as a table that gl.save takes; a minimizer made in the same way goes on from it bit for bit.
function Minimizer:state() return self.solver:state() end

function Minimizer:load(state) return self.solver:load(state) end

--- A minimizer of what `callbacks` compute on the vector of `space`, with the options that all solvers share; `kind` is
--- the core's ("minimize" or "least_squares"), `name` what messages call it.
---@return gradlua.Minimizer
function M.solver(kind, name, space, callbacks, options)
  local inner_bounds = add_constraints(name, options.constraints, space, callbacks)
  add_bounds(name, options.bounds or inner_bounds, space, callbacks)
  local trace = {}
  callbacks.watched = options.on_step and true or nil
  function callbacks.on_step(info)
    if options.progress then M.log_line(info) end
    if not options.on_step then
      trace[#trace + 1] = info
      return false
    end
    trace[#trace + 1] = { iteration = info.iteration, f = info.f, gradient_norm = info.gradient_norm, step = info.step,
      seconds = info.seconds }
    info.x = space.unpack_plain(info.x)
    return options.on_step(info)
  end
  local solver = internal.solver[kind](space.start, callbacks, options)
  return setmetatable({ solver = solver, space = space, trace = trace }, Minimizer)
end

--- (f, x0 [, options]) -> minimizer
--- A minimizer to be stepped by hand: :step() :run() :result() :state() :load(state). Arguments as gl.minimize's.
---@return gradlua.Minimizer
function M.minimizer(f, x0, options) return M.prepare("minimizer", f, x0, options) end

--- The minimizer of f from x0; `name` is what messages call it.
function M.prepare(name, f, x0, options)
  check.callable(name, "f", f)
  check.kind(name, "options", options, "table or nil")
  options = options or {}
  local space = variables.layout(name, x0)
  local function on_vector(vector)
    local value = f(space.unpack(vector))
    local is_tensor = gl.is_tensor(value)
    if type(value) == "number" or is_tensor and value:ndim() == 0 then return value end
    check.fail(name, "f must return a number or a 0-d tensor, not a %s", is_tensor and ("tensor of shape %s: reduce it with "
      .. ":sum() or :mean(), or use gl.least_squares for residuals"):format(table.concat(value:shape(), " x ")) or type(value))
  end
  local staged = variables.staging(f)
  local callbacks = { f = staged(on_vector), f_gradient = staged(gl.value_and_grad(on_vector)) }
  local method = options.method
  if uses_hessian[method] then callbacks.hessian = staged(gl.hessian(on_vector)) end
  if uses_products[method] then callbacks.hvp = staged(gl.hvp(on_vector)) end
  return M.solver("minimize", name, space, callbacks, options)
end

--- (f, x0 [, options]) -> result
--- Minimizes f from x0 (a number, a tensor, a nested table) with exact derivatives. Options: method (gd nesterov cg bfgs
--- lbfgs lbfgsb newton newton_cg trust_ncg trust_exact dogleg auglag sqp; chosen from the problem otherwise), bounds
--- ({lower, upper}, numbers or of x0's structure), constraints ({eq = f or list, ineq = f or list}, c(x) = 0 and
--- c(x) >= 0), tol (largest gradient entry, 1e-6), constraint_tol (largest violation, 1e-8), max_iter (10,000), max_eval,
--- max_seconds, f_tol, x_tol (relative changes), target, memory (pairs of lbfgs, 10), initial_step (first step or trust
--- radius), line_search (armijo wolfe hager_zhang), cg_update (pr_plus fr hs), learning_rate (of nesterov; otherwise found by
--- backtracking), penalty (the first) and inner (the method) of auglag, on_step (function of a record; true stops), progress
--- (prints a line a step). The result has x, f, grad, status, message, converged, method, iterations, evaluations and trace.
---@param f function
---@param x0 any
---@param options table?
---@return table
function M.minimize(f, x0, options)
  return M.prepare("minimize", f, x0, options):run()
end

return M

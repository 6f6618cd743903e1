--- gl.least_squares: fits by Levenberg-Marquardt and its relatives, with exact Jacobians, on a number, a tensor or a nested
--- table; and how well the data determine what was fitted.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local minimize = require "gradlua.minimize"
local variables = require "gradlua.variables"

local M = {}

--- r on the vector of variables, as a vector.
local function on_vector(name, r, space)
  return function(vector)
    local value = r(space.unpack(vector))
    if type(value) == "number" then return gl.tensor { value } end
    if not gl.is_tensor(value) then check.fail(name, "the residual must be a tensor, not %s", type(value)) end
    return value:reshape(-1)
  end
end

--- Fewer parameters than this, or a larger share of entries, and the dense way is faster.
local smallest_sparse, densest = 100, 0.05

--- The sparse Jacobian at the start, or nil where the dense way is asked for or better.
local function structure_of(vector, sparse, start)
  if sparse == false or (sparse == nil and start:numel() < smallest_sparse) then return nil end
  return gl.sparse_jacobian(vector, start, { densest = sparse and 1 or densest })
end

--- The callbacks for a Jacobian of S's structure: its entries, by a few products (coloured columns).
local function add_sparse(name, callbacks, S)
  callbacks.starts, callbacks.columns = S.indptr, S.col
  function callbacks.residual_jacobian(x)
    S:update(x)
    if S.nnz ~= callbacks.columns:numel() or not S.col:eq(callbacks.columns):all():item() then
      check.fail(name, "the residual's structure is another one here than at x0: use {sparse = false}")
    end
    return S.values:to("f64")
  end
end

--- A full covariance of more parameters than this is not made from a sparse Jacobian.
local largest_covariance = 1000

--- (r, x0 [, options]) -> result
--- Minimizes half the sum of squares of r(x) (a tensor of residuals) from x0. Options: method (lm trf gn; lm without
--- bounds, trf with them), bounds ({lower, upper}), loss (linear huber soft_l1 cauchy arctan) with f_scale, geodesic (lm),
--- sparse (true, false; otherwise where the residual's structure is sparse), and gl.minimize's tol, f_tol, x_tol, target,
--- initial_step (trust radius), max_iter, max_eval, max_seconds, on_step, progress. The result has x, f (half the sum),
--- residual, grad, covariance (of the flattened parameters; with a sparse Jacobian only up to 1,000 of them), errors
--- (standard errors, of x0's structure), variance, rank, sparse, status, message, converged, method, iterations,
--- evaluations and trace. tol bounds each gradient entry, relative to the sum of its terms' magnitudes where that is
--- above 1.
---@param r function
---@param x0 any
---@param options table?
---@return table
function M.least_squares(r, x0, options)
  local name = "least_squares"
  check.callable(name, "r", r)
  check.kind(name, "options", options, "table or nil")
  options = options or {}
  local space = variables.layout(name, x0)
  local vector, staged = on_vector(name, r, space), variables.staging(r)
  local residual = staged(vector)
  local callbacks = { residual = residual, residuals = residual(space.start):numel() }
  local S = structure_of(vector, options.sparse, space.start)
  if S then
    add_sparse(name, callbacks, S)
  else
    callbacks.residual_jacobian = staged(gl.jacobian(vector))
  end
  local minimizer = minimize.solver(name, name, space, callbacks, options)
  local result = minimizer:run()
  local covariance, errors, about = minimizer.solver:fit(not S or space.n <= largest_covariance)
  local at = minimizer.solver:result().x
  result.residual = residual(at)
  result.covariance, result.errors = covariance, space.unpack_plain(errors)
  result.variance, result.rank, result.sparse = about.variance, about.rank, S ~= nil
  return result
end

return M

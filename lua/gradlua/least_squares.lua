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

--- The Jacobian, in full or, where the residual's structure is sparse, by a few products (coloured columns).
local function jacobian_of(residual, sparse, staged)
  if not sparse then return staged(gl.jacobian(residual)) end
  local S
  return function(x)
    if S then
      S:update(x)
    else
      S = gl.sparse_jacobian(residual, x)
    end
    return S:dense()
  end
end

--- Minimizes half the sum of squares of r(x) (a tensor of residuals) from x0. Options: method (lm trf gn; lm without
--- bounds, trf with them), bounds ({lower, upper}), loss (linear huber soft_l1 cauchy arctan) with f_scale, geodesic (lm),
--- sparse (true: the Jacobian by coloured products), and gl.minimize's tol, f_tol, x_tol, target, max_iter, max_eval,
--- max_seconds, on_step, progress. The result has x, f (half the sum), residual, grad, covariance (of the flattened
--- parameters), errors (standard errors, of x0's structure), variance, rank, status, message, converged, method,
--- iterations, evaluations and trace. tol bounds each gradient entry, relative to the
--- norms of its column of J and of r where their product is above 1.
---@param r function
---@param x0 any
---@param options table?
---@return table
function M.least_squares(r, x0, options)
  local name = "least_squares"
  check.callable(name, "r", r)
  check.kind(name, "options", options, "table or nil")
  local given = {}
  for key, value in pairs(options or {}) do given[key] = value end
  local sparse = given.sparse
  given.sparse = nil
  local space = variables.layout(name, x0)
  local staged = variables.staging(r)
  local residual = staged(on_vector(name, r, space))
  local callbacks = { residual = residual, residual_jacobian = jacobian_of(on_vector(name, r, space), sparse, staged),
    residuals = residual(space.start):numel() }
  local minimizer = minimize.solver(name, space, callbacks, given)
  local result = minimizer:run()
  local covariance, errors, about = minimizer.solver:fit()
  local at = minimizer.solver:result().x
  result.residual = residual(at)
  result.covariance, result.errors = covariance, space.unpack_plain(errors)
  result.variance, result.rank = about.variance, about.rank
  return result
end

return M

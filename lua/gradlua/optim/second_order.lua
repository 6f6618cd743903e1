--- gl.optim.lbfgs and gl.optim.natural: optimizers for training loops that use curvature. Both change the parameters in
--- place, as the first-order rules do.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local minimize = require "gradlua.minimize"
local variables = require "gradlua.variables"

local M = {}

--- Copies the leaves of `values` into the tensors of `params`.
local function assign(who, params, values)
  tree.map(who, function(param, value) param:copy_(value) end, params, values)
end

--- The parameters must be tensors, to be changed in place.
local function check_params(who, params)
  tree.each(who, params, function(leaf, path)
    if not gl.is_tensor(leaf) then
      check.fail(who, "%s must be a tensor (a number cannot change in place), not %s", path == "" and "params" or path,
        type(leaf))
    end
  end)
end

---@class gradlua.LBFGS
local LBFGS = {}
LBFGS.__index = LBFGS

--- At most max_iter iterations of limited-memory BFGS on loss(params), in place. The history starts anew, since the loss
--- may be another one (another batch) than last time. Gives the loss, and the result of gl.minimize.
---@param loss fun(params: any): any
function LBFGS:step(loss)
  check.callable("optim.lbfgs:step", "loss", loss)
  local result = minimize.minimize(loss, self.params, { method = "lbfgs", memory = self.memory, tol = self.tol,
    f_tol = self.f_tol, max_iter = self.max_iter, line_search = self.line_search, initial_step = self.initial_step })
  assign("optim.lbfgs:step", self.params, result.x)
  self.steps = self.steps + 1
  return result.f, result
end

--- What is kept between steps.
function LBFGS:state() return { rule = "lbfgs", steps = self.steps } end

function LBFGS:load(state)
  check.kind("optim.lbfgs:load", "state", state, "table")
  self.steps = state.steps
end

--- Limited-memory BFGS for a training loop: opt:step(function(params) return loss end). Options: max_iter (20 iterations a
--- step), history_size (100 pairs), tolerance_grad (1e-7), tolerance_change (1e-9, relative change of the loss),
--- line_search (wolfe, hager_zhang, armijo), initial_step (length of the very first step).
---@return gradlua.LBFGS
function M.lbfgs(params, options)
  local who = "optim.lbfgs"
  local o = check.options(who, options, { max_iter = 20, history_size = 100, tolerance_grad = 1e-7, tolerance_change = 1e-9,
    line_search = "wolfe", initial_step = 0 })
  check_params(who, params)
  return setmetatable({ name = "lbfgs", params = params, steps = 0, max_iter = o.max_iter, memory = o.history_size,
    tol = o.tolerance_grad, f_tol = o.tolerance_change, line_search = o.line_search, initial_step = o.initial_step }, LBFGS)
end

--- The Fisher information of one example's distribution in its own outputs, times a tangent of the outputs.
local metrics = {}

--- Outputs are means, with unit variance.
function metrics.gaussian(_, tangent) return tangent end

--- The last axis of the outputs is (mean, log of the standard deviation).
function metrics.normal(outputs, tangent)
  local axis = outputs:ndim()
  local log_std = outputs:split({ 1, 1 }, axis)[2]
  local parts = tangent:split({ 1, 1 }, axis)
  return gl.concat({ parts[1] * gl.exp(-2 * log_std), 2 * parts[2] }, axis)
end

--- Outputs are logits.
function metrics.bernoulli(outputs, tangent)
  local p = gl.sigmoid(outputs)
  return p * (1 - p) * tangent
end

--- Outputs are logits along the last axis.
function metrics.categorical(outputs, tangent)
  local p = gl.softmax(outputs)
  return p * (tangent - (p * tangent):sum(outputs:ndim(), { keepdim = true }))
end

--- x with A x = b by conjugate gradients (Hestenes, Stiefel (1952)), A positive definite, from x = 0.
local function conjugate_gradients(apply, b, iterations, tol)
  local x, r, d = gl.zeros(b:shape()), b:clone(), b:clone()
  local rr = r:dot(r):item()
  local target = tol * tol * rr
  local used = 0
  while used < iterations and rr > target and rr > 0 do
    local ad = apply(d)
    local curvature = d:dot(ad):item()
    if not (curvature > 0) then break end
    local alpha = rr / curvature
    x, r = x + alpha * d, r - alpha * ad
    local next_rr = r:dot(r):item()
    d = r + (next_rr / rr) * d
    rr, used = next_rr, used + 1
  end
  return x, used
end

---@class gradlua.Natural
local Natural = {}
Natural.__index = Natural

--- The natural gradient: the solution of (F + damping I) v = grads, F being the Fisher information of the model at the
--- parameters, averaged over the examples. Further arguments go to the model. Second result: products with F used.
function Natural:direction(grads, ...)
  local who = "optim.natural:step"
  local space = variables.layout(who, self.params)
  local inputs = table.pack(...)
  local function outputs_of(vector) return self.model(space.unpack(vector), table.unpack(inputs, 1, inputs.n)) end
  local outputs, push = gl.linearize(outputs_of, space.start)
  local _, pull = gl.vjp(outputs_of, space.start)
  local examples = outputs:ndim() > 0 and outputs:size(1) or 1
  local function apply(v)
    return pull(self.metric(outputs, push(v))) / examples + self.damping * v
  end
  local v, used = conjugate_gradients(apply, space.pack("the gradient", grads), self.cg_iter, self.cg_tol)
  return space.unpack_plain(v), used
end

--- One step, in place: params - lr times the natural gradient. Further arguments go to the model.
function Natural:step(grads, ...)
  local direction, used = self:direction(grads, ...)
  local lr = self.lr
  tree.map("optim.natural:step", function(param, v) param:copy_(param - lr * v:to(param:dtype())) end, self.params, direction)
  self.steps, self.cg_used = self.steps + 1, used
end

function Natural:state() return { rule = "natural", steps = self.steps, lr = self.lr, damping = self.damping } end

function Natural:load(state)
  check.kind("optim.natural:load", "state", state, "table")
  self.steps, self.lr, self.damping = state.steps, state.lr, state.damping
end

--- Natural gradient descent (S. Amari (1998)) by conjugate gradients on products with the exact Fisher information, which
--- is never formed. Options: model (function of params and opt:step's further arguments; gives the outputs, one example
--- a row), distribution (gaussian: means of unit variance; normal: the last axis is mean and log standard deviation;
--- bernoulli, categorical: logits), lr (1), damping (1e-3), cg_iter (100), cg_tol (1e-8). The gradient must be that of the
--- mean over the examples.
---@return gradlua.Natural
function M.natural(params, options)
  local who = "optim.natural"
  local o = check.options(who, options, { model = check.none, distribution = "gaussian", lr = 1, damping = 1e-3,
    cg_iter = 100, cg_tol = 1e-8 })
  check.callable(who, "model", o.model)
  check_params(who, params)
  local metric = metrics[o.distribution]
  if not metric then
    check.fail(who, "no distribution '%s'; there are gaussian, normal, bernoulli, categorical", tostring(o.distribution))
  end
  return setmetatable({ name = "natural", params = params, model = o.model, metric = metric, lr = o.lr, steps = 0,
    damping = o.damping, cg_iter = o.cg_iter, cg_tol = o.cg_tol }, Natural)
end

return M

--- gl.optim.natural: natural gradient descent, in place as the first-order rules are.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local variables = require "gradlua.variables"
local rate = require "gradlua.optim.rate"

local M = {}

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
  local lr = rate.at(self.lr, 1, self.steps)
  tree.map("optim.natural:step", function(param, v) param:copy_(param - lr * v:to(param:dtype())) end, self.params, direction)
  self.steps, self.cg_used = self.steps + 1, used
end

--- What is kept between steps, as a plain table; of a schedule only the steps.
function Natural:state()
  local lr = type(self.lr) == "number" and self.lr or nil
  return { rule = "natural", steps = self.steps, lr = lr, damping = self.damping }
end

function Natural:load(state)
  check.kind("optim.natural:load", "state", state, "table")
  self.steps, self.lr, self.damping = state.steps, state.lr or self.lr, state.damping
end

--- (params, {model, distribution, lr = 1, damping = 1e-3, cg_iter = 100, cg_tol = 1e-8}) -> optimizer
--- Natural gradient descent (S. Amari (1998)) by conjugate gradients on products with the exact Fisher information, which
--- is never formed. Options: model (function of params and opt:step's further arguments; gives the outputs, one example
--- a row), distribution (gaussian: means of unit variance; normal: the last axis is mean and log standard deviation;
--- bernoulli, categorical: logits), lr (1, or a schedule), damping (1e-3), cg_iter (100), cg_tol (1e-8). The gradient must be that of the
--- mean over the examples.
---@return gradlua.Natural
function M.natural(params, options)
  local who = "optim.natural"
  local o = check.options(who, options, { model = check.none, distribution = "gaussian", lr = 1, damping = 1e-3,
    cg_iter = 100, cg_tol = 1e-8 })
  check.callable(who, "model", o.model)
  variables.check_tensors(who, params)
  rate.check(who, o.lr)
  local metric = metrics[o.distribution]
  if not metric then
    check.fail(who, "no distribution '%s'; there are gaussian, normal, bernoulli, categorical", tostring(o.distribution))
  end
  return setmetatable({ name = "natural", params = params, model = o.model, metric = metric, lr = o.lr, steps = 0,
    damping = o.damping, cg_iter = o.cg_iter, cg_tol = o.cg_tol }, Natural)
end

return M

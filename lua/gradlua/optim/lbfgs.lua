--- gl.optim.lbfgs: limited-memory BFGS for training loops, in place as the first-order rules are. A step takes either a
--- gradient, as theirs do, or the loss itself.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local minimize = require "gradlua.minimize"
local variables = require "gradlua.variables"
local rate = require "gradlua.optim.rate"

local M = {}

---@class gradlua.LBFGS
local LBFGS = {}
LBFGS.__index = LBFGS

--- Copies the leaves of `values` into the parameters.
local function assign(self, values)
  tree.map("optim.lbfgs:step", function(param, value) param:copy_(value) end, self.params, values)
end

--- At most max_iter iterations on loss(params). The history starts anew, since the loss may be another one (another batch)
--- than last time.
local function minimize_loss(self, loss)
  local result = minimize.minimize(loss, self.params, { method = "lbfgs", memory = self.memory, tol = self.tolerance_grad,
    f_tol = self.tolerance_change, max_iter = self.max_iter, line_search = self.line_search,
    initial_step = self.initial_step })
  assign(self, result.x)
  self.steps = self.steps + 1
  return result.f, result
end

--- Remembers what the last step moved and by what it changed the gradient, where the curvature along it is positive.
local function remember(self, gradient)
  if not self.gradient then return end
  local change = gradient - self.gradient
  local curvature = change:dot(self.moved):item()
  if not (curvature > 1e-10) then return end
  if #self.history == self.memory then table.remove(self.history, 1) end
  table.insert(self.history, { moved = self.moved, change = change })
end

--- The inverse Hessian of the history times v: the two loops of J. Nocedal (1980).
local function times_inverse_hessian(history, v)
  local rho, alpha = {}, {}
  for i = #history, 1, -1 do
    local pair = history[i]
    rho[i] = 1 / pair.change:dot(pair.moved):item()
    alpha[i] = rho[i] * pair.moved:dot(v):item()
    v = v - alpha[i] * pair.change
  end
  local last = history[#history]
  if last then v = v / (rho[#history] * last.change:dot(last.change):item()) end
  for i, pair in ipairs(history) do
    v = v + (alpha[i] - rho[i] * pair.change:dot(v):item()) * pair.moved
  end
  return v
end

--- One step of length lr along the quasi-Newton direction, without a line search.
local function step_along(self, grads)
  local space = variables.layout("optim.lbfgs:step", self.params)
  local gradient = space.pack("the gradient", grads)
  if space.n == 0 or gradient:abs():max():item() <= self.tolerance_grad then return end
  remember(self, gradient)
  local length = rate.at(self.lr, 1, self.steps)
  if not self.gradient then length = length * math.min(1, 1 / gradient:abs():sum():item()) end
  self.moved = -length * times_inverse_hessian(self.history, gradient)
  self.gradient = gradient
  assign(self, space.unpack_plain(space.start + self.moved))
  self.steps = self.steps + 1
end

--- One step, in place. With gradients of the parameters' structure it has the length lr along the direction that the past
--- gradients give (torch.optim.LBFGS with max_iter = 1). With a function of the parameters it is at most max_iter
--- iterations with a line search on that loss; gives the loss, and the result of gl.minimize.
---@param grads any gradients, or the loss
function LBFGS:step(grads)
  if check.is_callable(grads) then return minimize_loss(self, grads) end
  if type(grads) ~= "table" and not gl.is_tensor(grads) then
    check.fail("optim.lbfgs:step", "expected gradients, or the loss as a function, not %s", type(grads))
  end
  return step_along(self, grads)
end

local function clone(x) return x:clone() end

--- What is kept between steps, as a plain table; of a schedule only the steps.
function LBFGS:state()
  return { rule = "lbfgs", steps = self.steps, lr = type(self.lr) == "number" and self.lr or nil,
    history = tree.map("optim.lbfgs:state", clone, self.history), gradient = self.gradient and self.gradient:clone(),
    moved = self.moved and self.moved:clone() }
end

function LBFGS:load(state)
  local who = "optim.lbfgs:load"
  check.kind(who, "state", state, "table")
  if state.rule ~= "lbfgs" then check.fail(who, "this is the state of %s", tostring(state.rule)) end
  self.steps, self.lr = state.steps, state.lr or self.lr
  self.history = tree.map(who, clone, state.history or {})
  self.gradient, self.moved = state.gradient and state.gradient:clone(), state.moved and state.moved:clone()
end

--- (params [, {lr = 1, max_iter = 20, history_size = 100, tolerance_grad, tolerance_change, line_search, initial_step}]) -> optimizer
--- Limited-memory BFGS for a training loop: opt:step(grads), or opt:step(function(params) return loss end). Options: lr (1,
--- or a schedule: the length of a step by gradients), max_iter (20 iterations of a step by a loss), history_size (100
--- pairs), tolerance_grad (1e-7), tolerance_change (1e-9, relative change of the loss), line_search (wolfe, hager_zhang,
--- armijo; torch's line_search_fn = "strong_wolfe" is wolfe), initial_step (length of the very first step by a loss).
---@return gradlua.LBFGS
function M.lbfgs(params, options)
  local who = "optim.lbfgs"
  local o = check.options(who, options, { lr = 1, max_iter = 20, history_size = 100, tolerance_grad = 1e-7,
    tolerance_change = 1e-9, line_search = "wolfe", initial_step = 0, line_search_fn = check.none })
  if o.line_search_fn ~= nil and o.line_search_fn ~= "strong_wolfe" then
    check.fail(who, "line_search_fn must be strong_wolfe, not %s: see line_search", tostring(o.line_search_fn))
  end
  check.integer(who, "history_size", o.history_size, 1)
  rate.check(who, o.lr)
  variables.check_tensors(who, params)
  o.name, o.params, o.memory, o.steps, o.history = "lbfgs", params, o.history_size, 0, {}
  return setmetatable(o, LBFGS)
end

return M

--- Optimizers as pure functions: `init(params) -> state` and `update(grads, state, params [, lr]) -> params, state`, in
--- tensor operations, so that a whole training step can be staged by gl.jit. The arithmetic is that of the kernels in
--- src/optim (update_rules.inc, update.c), which tests/spec/optim_spec.lua compares step by step.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local M = {}

--- A running mean: a + (1 - beta) (x - a).
local function blend(average, x, beta) return average + (1 - beta) * (x - average) end

local function adam_moments(o, g, s, t)
  local mean = blend(s.exp_avg, g, o "beta1")
  local square = o "beta2" * s.exp_avg_sq + (1 - o "beta2") * g:square()
  return mean, square, 1 - o "beta1" ^ t, 1 - o "beta2" ^ t
end

local function adam(o, p, g, s, t, lr)
  local mean, square, correction1, correction2 = adam_moments(o, g, s, t)
  local largest = s.max_exp_avg_sq and gl.maximum(s.max_exp_avg_sq, square)
  local size = (largest or square):sqrt() / correction2:sqrt() + o "eps"
  return p - lr / correction1 * mean / size, { exp_avg = mean, exp_avg_sq = square, max_exp_avg_sq = largest }
end

--- Each rule: options, parameter, gradient, state, step, rate -> parameter, state.
local rules = { adam = adam, adamw = adam, amsgrad = adam }

function rules.sgd(o, p, g, s, t, lr)
  if not s.momentum_buffer then return p - lr * g, {} end
  local added = gl.where(t:eq(1), 1, 1 - o "dampening"):to(g:dtype())
  local buffer = o "momentum" * s.momentum_buffer + added * g
  return p - lr * (o "nesterov" and g + o "momentum" * buffer or buffer), { momentum_buffer = buffer }
end

function rules.nadam(o, p, g, s, t, lr)
  local mean, square, _, correction2 = adam_moments(o, g, s, t)
  local now = o "beta1" * (1 - 0.5 * 0.96 ^ (t * o "momentum_decay"))
  local following = o "beta1" * (1 - 0.5 * 0.96 ^ ((t + 1) * o "momentum_decay"))
  local product = gl.where(t:eq(1), 1, s.mu_product) * now
  local size = square:sqrt() / correction2:sqrt() + o "eps"
  local step = (lr * (1 - now) / (1 - product)) * g + (lr * following / (1 - product * following)) * mean
  return p - step / size, { exp_avg = mean, exp_avg_sq = square, mu_product = product }
end

function rules.radam(o, p, g, s, t, lr)
  local mean, square, correction1, correction2 = adam_moments(o, g, s, t)
  local longest = 2 / (1 - o "beta2") - 1
  local length = longest - 2 * t * (1 - correction2) / correction2
  local safe = gl.maximum(length, 5)
  local rectified = ((safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)):sqrt() * correction2:sqrt()
  local step = gl.where(length:gt(5), rectified / (square:sqrt() + o "eps"), 1)
  return p - lr / correction1 * mean * step, { exp_avg = mean, exp_avg_sq = square }
end

function rules.adamax(o, p, g, s, t, lr)
  local mean = blend(s.exp_avg, g, o "beta1")
  local largest = gl.maximum(o "beta2" * s.exp_inf, g:abs() + o "eps")
  return p - lr / (1 - o "beta1" ^ t) * mean / largest, { exp_avg = mean, exp_inf = largest }
end

function rules.rmsprop(o, p, g, s, _, lr)
  local square = o "alpha" * s.square_avg + (1 - o "alpha") * g:square()
  local mean = s.grad_avg and blend(s.grad_avg, g, o "alpha")
  local step = g / ((mean and square - mean:square() or square):sqrt() + o "eps")
  local buffer = s.momentum_buffer and o "momentum" * s.momentum_buffer + step
  return p - lr * (buffer or step), { square_avg = square, grad_avg = mean, momentum_buffer = buffer }
end

function rules.adagrad(o, p, g, s, t, lr)
  local sum = gl.where(t:eq(1), o "initial_accumulator_value", s.sum) + g:square()
  return p - lr / (1 + (t - 1) * o "lr_decay") * g / (sum:sqrt() + o "eps"), { sum = sum }
end

function rules.adadelta(o, p, g, s, _, lr)
  local square = o "rho" * s.square_avg + (1 - o "rho") * g:square()
  local step = (s.acc_delta + o "eps"):sqrt() / (square + o "eps"):sqrt() * g
  return p - lr * step, { square_avg = square, acc_delta = o "rho" * s.acc_delta + (1 - o "rho") * step:square() }
end

function rules.lion(o, p, g, s, _, lr)
  local mixed = o "beta1" * s.exp_avg + (1 - o "beta1") * g
  return p - lr * mixed:sign(), { exp_avg = o "beta2" * s.exp_avg + (1 - o "beta2") * g }
end

function rules.rprop(o, p, g, s, t, lr)
  local turn = g * s.prev
  local factor = gl.where(turn:gt(0), o "eta_plus", gl.where(turn:lt(0), o "eta_minus", 1)):to(g:dtype())
  local size = (gl.where(t:eq(1), lr, s.step_size) * factor):clamp(o "step_min", o "step_max")
  local kept = gl.where(turn:lt(0), 0, g)
  return p - kept:sign() * size, { prev = kept, step_size = size }
end

function rules.asgd(o, p, g, s, t, lr)
  local eta, mu = gl.where(t:eq(1), lr, s.eta), gl.where(t:eq(1), 1, s.mu)
  local new = p * (1 - o "lambd" * eta) - eta * g
  local average = gl.where(mu:eq(1), new, s.ax + (new - s.ax) * mu)
  return new, { ax = average, eta = lr / (1 + o "lambd" * lr * t) ^ o "alpha", mu = 1 / gl.maximum(t - o "t0", 1) }
end

--- The factor of muon's rate for a matrix of so many rows and columns, by adjust_lr_fn.
local muon_rates = {
  [0] = function(rows, cols) return math.sqrt(math.max(1, rows / cols)) end,
  function(rows, cols) return 0.2 * math.sqrt(math.max(rows, cols)) end,
  function(rows, cols) return math.sqrt(rows / cols) end,
}

function rules.muon(o, p, g, s, _, lr)
  local buffer = blend(s.momentum_buffer, g, o "momentum")
  local mixed = o "nesterov" and g + o "momentum" * (buffer - g) or buffer
  local rows = p:size(1)
  local x = mixed:reshape(rows, -1)
  local cols = x:size(2)
  if rows > cols then x = x:t() end
  x = x / gl.maximum(x:norm(), o "eps")
  for _ = 1, o "ns_steps" do
    local gram = x:matmul(x:t())
    x = o "ns_a" * x + (o "ns_b" * gram + o "ns_c" * gram:matmul(gram)):matmul(x)
  end
  if rows > cols then x = x:t() end
  return p - lr * muon_rates[o "adjust_lr"](rows, cols) * x:reshape(p:shape()), { momentum_buffer = buffer }
end

--- Numbers that a rule keeps beside its slots.
local numbers = { nadam = { "mu_product" }, asgd = { "eta", "mu" } }

--- One tensor of parameters.
local function update_slot(apply, slot, p, g, s, t, lr, scale)
  local function o(name) return slot.rule:get(name) end
  local dtype = p:dtype()
  g = g:to(dtype) * scale
  if o "clip_value" < math.huge then g = g:clamp(-o "clip_value", o "clip_value") end
  if o "maximize" then g = -g end
  local decay = o "weight_decay"
  local base = p
  if decay ~= 0 and o "decoupled" then base = p * (1 - lr * decay) end
  if decay ~= 0 and not o "decoupled" then g = g + decay * p end
  local new, state = apply(o, base, g, s, t:to(dtype), lr)
  return new, state
end

local function put(root, keys, value)
  if #keys == 0 then return value end
  root = root or {}
  local node = root
  for i = 1, #keys - 1 do
    node[keys[i]] = node[keys[i]] or {}
    node = node[keys[i]]
  end
  node[keys[#keys]] = value
  return root
end

--- A table like params, with the i-th of the leaves `old` replaced by the i-th of `new`; empty tables (the parameters of a
--- layer that has none) and other leaves stay.
local function replaced(params, old, new)
  local i = 1
  return tree.map("optim:pure", function(leaf)
    if not rawequal(leaf, old[i]) then return leaf end
    i = i + 1
    return new[i - 1]
  end, params)
end

--- The pair for an optimizer, whose options and groups it takes over.
---@return function init, function update
function M.pure(optimizer, follow)
  local who = "optim." .. optimizer.name .. ":pure"
  local apply = rules[optimizer.name]
  if optimizer.ema or optimizer.skip_nonfinite then check.fail(who, "the options ema and skip_nonfinite have no pure form") end

  local function init(params)
    local slots
    for _, slot in ipairs(optimizer.slots) do
      local p, state = follow(who, params, slot), {}
      for _, name in ipairs(slot.rule:slots()) do state[name] = gl.zeros(p:shape(), { dtype = p:dtype() }) end
      for _, name in ipairs(numbers[optimizer.name] or {}) do state[name] = gl.ones({}, { dtype = p:dtype() }) end
      slots = put(slots, slot.keys, state)
    end
    return { step = gl.zeros({}), slots = slots }
  end

  --- clip_norm's factor: min(1, clip / (norm + 1e-6)).
  local function scale_of(grads)
    if not optimizer.clip_norm then return 1 end
    local sum = 0
    tree.each(who, grads, function(g) sum = sum + g:to("f64"):square():sum() end)
    local norm = sum:sqrt()
    return gl.where(norm:gt(optimizer.clip_norm), optimizer.clip_norm / (norm + 1e-6), 1)
  end

  local function update(grads, state, params, lr)
    if lr == nil then
      lr = optimizer.lr
      if type(lr) ~= "number" then check.fail(who, "with a schedule, give the rate as fourth argument") end
    end
    local t, scale = state.step + 1, scale_of(grads)
    local old, new, new_slots = {}, {}, nil
    for i, slot in ipairs(optimizer.slots) do
      local p = follow(who, params, slot)
      local rate = slot.base or lr
      if gl.is_tensor(rate) then rate = rate:to(p:dtype()) end
      local factor = gl.is_tensor(scale) and scale:to(p:dtype()) or scale
      local g, s = follow(who, grads, slot), follow(who, state.slots, slot)
      old[i] = p
      new[i], s = update_slot(apply, slot, p, g, s, t, rate, factor)
      new_slots = put(new_slots, slot.keys, s)
    end
    return replaced(params, old, new), { step = t, slots = new_slots }
  end

  return init, update
end

return M

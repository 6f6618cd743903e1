--- First-order optimizers: `gl.optim.NAME(params, options)`. Meaning, names and defaults are torch.optim's where it has
--- the method. `opt:step(grads)` changes the parameters in place; the arithmetic is C, one pass over each tensor.
---
--- Options of all first-order rules: lr (number or schedule), weight_decay, decoupled (the decay acts on the parameters,
--- not on the gradient), maximize; clip_value (entries of the gradient are clamped to it), clip_norm (the whole gradient
--- is scaled down to it); groups ({{match = "bias$", lr = .., weight_decay = ..}, ..}: the first whose Lua pattern matches
--- a parameter's path counts); ema (decay of an average of the parameters, see averaged); skip_nonfinite (a step with a
--- NaN or Inf in its gradient changes nothing, and is counted in opt.skipped).
---
--- An optimizer has step(grads), accumulate(grads), averaged(), state(), load(state), pure(), lr, steps and skipped.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local described = require "gradlua.described"
local rate = require "gradlua.optim.rate"

local M = { schedule = require "gradlua.optim.schedule" }

--- The options that each rule has beside the common ones.
local known = {
  sgd = { "momentum", "dampening", "nesterov" },
  adam = { "betas", "eps", "amsgrad" },
  adamw = { "betas", "eps", "amsgrad" },
  amsgrad = { "betas", "eps" },
  nadam = { "betas", "eps", "momentum_decay" },
  radam = { "betas", "eps" },
  adamax = { "betas", "eps" },
  rmsprop = { "alpha", "eps", "momentum", "centered" },
  adagrad = { "lr_decay", "eps", "initial_accumulator_value" },
  adadelta = { "rho", "eps" },
  rprop = { "etas", "step_sizes" },
  lion = { "betas" },
  asgd = { "lambd", "alpha", "t0" },
  muon = { "momentum", "nesterov", "ns_steps", "ns_coefficients", "eps", "adjust_lr_fn" },
}

local common = { "lr", "weight_decay", "maximize", "decoupled", "clip_value" }
local handled_here = { "clip_norm", "groups", "ema", "skip_nonfinite" }

--- Options that are lists, and the fields of the rule that they set.
local lists = { betas = { "beta1", "beta2" }, etas = { "eta_minus", "eta_plus" }, step_sizes = { "step_min", "step_max" },
  ns_coefficients = { "ns_a", "ns_b", "ns_c" } }

--- What muon's rate is adjusted by, as the rule counts it.
local adjust_lr = { original = 0, match_rms_adamw = 1, spectral_unclamped = 2 }

local function known_options(rule)
  local names = {}
  for _, list in ipairs { known[rule], common, handled_here } do
    for _, name in ipairs(list) do names[name] = check.none end
  end
  return names
end

--- The fields of the C rule for a table of options; lion and muon have one beta or two as torch has them.
local function fields_of(who, options)
  local fields = {}
  for name, value in pairs(options) do
    local list = lists[name]
    if list then
      if type(value) ~= "table" or #value ~= #list then check.fail(who, "%s must be a list of %d numbers", name, #list) end
      for i, field in ipairs(list) do fields[field] = value[i] end
    elseif name == "adjust_lr_fn" then
      fields.adjust_lr = adjust_lr[value]
        or check.fail(who, "adjust_lr_fn must be original, match_rms_adamw or spectral_unclamped, not %s", tostring(value))
    else
      fields[name] = value
    end
  end
  return fields
end

---@class gradlua.Optimizer
---@field lr number|gradlua.Schedule
---@field steps integer steps taken so far
---@field skipped integer steps skipped because the gradient was not finite
local Optimizer = {}
Optimizer.__index = Optimizer

--- The tensor at the end of a list of keys.
local function follow(who, root, slot)
  local node = root
  for _, key in ipairs(slot.keys) do
    node = type(node) == "table" and node[key] or nil
    if node == nil then check.fail(who, "the gradient has no entry %s", slot.path) end
  end
  return node
end

--- One entry for each tensor of parameters: the tensor, its keys and path, its rule, its state.
local function collect(who, node, keys, path, out)
  if not tree.is_node(node) then
    if not gl.is_tensor(node) then
      local what = path == "" and "params" or path
      check.fail(who, "%s must be a tensor (a number cannot change in place), not %s", what, type(node))
    end
    if node:dtype() ~= "f64" and node:dtype() ~= "f32" then
      check.fail(who, "%s must be f64 or f32 to be changed by gradients, not %s", path == "" and "params" or path, node:dtype())
    end
    out[#out + 1] = { param = node, keys = keys, path = path }
    return
  end
  for _, key in ipairs(tree.keys(node)) do
    local below = table.move(keys, 1, #keys, 1, {})
    below[#below + 1] = key
    collect(who, node[key], below, path == "" and tostring(key) or path .. "." .. tostring(key), out)
  end
end

--- Checks the options that act on all parameters together.
local function check_common(who, o)
  if o.lr ~= nil then rate.check(who, o.lr) end
  if o.clip_norm ~= nil and not (type(o.clip_norm) == "number" and o.clip_norm > 0) then
    check.fail(who, "clip_norm must be a number above 0, not %s", tostring(o.clip_norm))
  end
  if o.ema ~= nil and not (type(o.ema) == "number" and o.ema >= 0 and o.ema < 1) then
    check.fail(who, "ema must be a number in [0, 1), not %s", tostring(o.ema))
  end
  if o.groups == nil then return end
  check.kind(who, "groups", o.groups, "table")
  for key, group in pairs(o.groups) do
    if math.type(key) ~= "integer" or type(group) ~= "table" then
      check.fail(who, "groups must be a list of tables {match = .., ..}, got an entry at %s", tostring(key))
    end
  end
end

local function group_of(groups, path)
  for _, group in ipairs(groups or {}) do
    if path:find(group.match) then return group end
  end
  return nil
end

local function fresh_state(rule, param)
  local state = { scalars = gl.zeros(2) }
  for _, name in ipairs(rule:slots()) do state[name] = gl.zeros(param:shape(), { dtype = param:dtype() }) end
  return state
end

local function make(rule_name, params, options)
  local who = "optim." .. rule_name
  local o = check.options(who, options, known_options(rule_name))
  check_common(who, o)
  local groups, clip_norm, ema, skip = o.groups, o.clip_norm, o.ema, o.skip_nonfinite
  local lr = o.lr
  o.groups, o.clip_norm, o.ema, o.skip_nonfinite = nil, nil, nil, nil
  o.lr = rate.is_schedule(lr) and lr.lr or type(lr) == "number" and lr or nil
  local rule = internal.rules.rule(rule_name, fields_of(who, o))
  local rules = { [false] = rule }
  for _, group in ipairs(groups or {}) do
    local of_group = known_options(rule_name)
    of_group.match = check.none
    local merged = check.options(who .. " group", group, of_group)
    for name, value in pairs(o) do
      if merged[name] == nil then merged[name] = value end
    end
    merged.match = nil
    check.kind(who, "match", group.match, "string")
    rules[group] = internal.rules.rule(rule_name, fields_of(who, merged))
  end

  local self = { name = rule_name, lr = lr or rule:get("lr"), base = rule:get("lr"), clip_norm = clip_norm,
    skip_nonfinite = skip, ema = ema, steps = 0, skipped = 0, slots = {}, rates = {} }
  if rate.is_schedule(lr) then lr.lr = lr.lr or self.base end
  collect(who, params, {}, "", self.slots)
  for _, slot in ipairs(self.slots) do
    local group = group_of(groups, slot.path)
    slot.rule = rules[group or false]
    slot.base = group and group.lr
    slot.state = fresh_state(slot.rule, slot.param)
    if ema then slot.average = slot.param:clone() end
  end
  return setmetatable(self, Optimizer)
end

--- The rate of a slot at this step: its own base, or the optimizer's, through the schedule.
local function rate_of(self, slot)
  if rate.is_schedule(self.lr) then return self.lr:rate(slot.base or self.lr.lr or self.base, self.steps) end
  return slot.base or self.lr
end

--- What multiplies the gradient: 1, or what brings its norm down to clip_norm; nil when the step must be skipped.
local function gradient_scale(self, gradients)
  if not self.clip_norm and not self.skip_nonfinite then return 1 end
  local norm = internal.rules.norm(gradients)
  if self.skip_nonfinite and (norm ~= norm or norm == math.huge) then return nil end
  if not self.clip_norm or norm <= self.clip_norm then return 1 end
  return self.clip_norm / (norm + 1e-6)
end

--- A gradient that does not fit must be found before the first parameter changes.
local function check_gradient(who, slot, gradient)
  local name = slot.path == "" and "the gradient" or "the gradient at " .. slot.path
  if not gl.is_tensor(gradient) then check.fail(who, "%s must be a tensor, not %s", name, type(gradient)) end
  if gradient:numel() ~= slot.param:numel() then
    check.fail(who, "%s has shape %s, its parameter %s", name, table.concat(gradient:shape(), " x "),
      table.concat(slot.param:shape(), " x "))
  end
end

--- One step, in place, with gradients of the parameters' structure; without them, with those that `accumulate` added.
function Optimizer:step(grads)
  local who = "optim." .. self.name .. ":step"
  local gradients = {}
  for i, slot in ipairs(self.slots) do
    if grads == nil and not slot.sum then check.fail(who, "no gradient was given or accumulated") end
    gradients[i] = grads == nil and slot.sum or follow(who, grads, slot)
    check_gradient(who, slot, gradients[i])
  end
  local scale = gradient_scale(self, gradients)
  if not scale then
    self.skipped = self.skipped + 1
  else
    for i, slot in ipairs(self.slots) do
      local lr = rate_of(self, slot)
      if lr ~= self.rates[slot.rule] then
        slot.rule:set { lr = lr }
        self.rates[slot.rule] = lr
      end
      slot.rule:update(self.steps + 1, scale, slot.param, gradients[i], slot.state)
      if self.ema then internal.rules.ema(slot.average, slot.param, self.ema) end
    end
    self.steps = self.steps + 1
  end
  for _, slot in ipairs(self.slots) do slot.sum = nil end
end

--- Adds gradients up, for a step over several batches: scale is 1 / batches for their mean.
---@param grads any
---@param scale number?
function Optimizer:accumulate(grads, scale)
  local who = "optim." .. self.name .. ":accumulate"
  for _, slot in ipairs(self.slots) do
    slot.sum = slot.sum or gl.zeros(slot.param:shape(), { dtype = slot.param:dtype() })
    internal.rules.accumulate(slot.sum, follow(who, grads, slot), scale or 1)
  end
end

--- Calls f(slot's tensor) for each parameter and gives a table of the parameters' structure.
local function structure(self, f)
  local root
  for _, slot in ipairs(self.slots) do
    if #slot.keys == 0 then return f(slot) end
    root = root or {}
    local node = root
    for i = 1, #slot.keys - 1 do
      node[slot.keys[i]] = node[slot.keys[i]] or {}
      node = node[slot.keys[i]]
    end
    node[slot.keys[#slot.keys]] = f(slot)
  end
  return root or {}
end

--- Pure functions for gl.jit: init(params) -> state, and update(grads, state, params [, lr]) -> params, state.
---@return function init, function update
function Optimizer:pure()
  return require("gradlua.optim.pure").pure(self, follow)
end

--- The running average of the parameters (option ema), in their structure.
function Optimizer:averaged()
  if not self.ema then check.fail("optim." .. self.name .. ":averaged", "the option ema was not given") end
  return structure(self, function(slot) return slot.average end)
end

--- The whole state as a plain table, which gl.save takes.
function Optimizer:state()
  local tensors = structure(self, function(slot)
    local copy = tree.map("optim:state", function(x) return x:clone() end, slot.state)
    if self.ema then copy.average = slot.average:clone() end
    return copy
  end)
  local is_schedule = rate.is_schedule(self.lr)
  return { rule = self.name, steps = self.steps, skipped = self.skipped, lr = not is_schedule and self.lr or nil,
    schedule = is_schedule and self.lr:state() or nil, parameters = tensors }
end

--- Takes a state back; training then goes on as if it had not stopped.
function Optimizer:load(state)
  local who = "optim." .. self.name .. ":load"
  check.kind(who, "state", state, "table")
  if state.rule ~= self.name then check.fail(who, "this is the state of %s", tostring(state.rule)) end
  for _, slot in ipairs(self.slots) do
    check.kind(who, "state.parameters", state.parameters, "table")
    local saved = follow(who, state.parameters, slot)
    for name, tensor in pairs(slot.state) do
      if not gl.is_tensor(saved[name]) then check.fail(who, "the state has no %s for %s", name, slot.path) end
      tensor:copy_(saved[name])
    end
    if self.ema and saved.average then slot.average:copy_(saved.average) end
  end
  self.steps, self.skipped = state.steps, state.skipped
  if state.lr then self.lr = state.lr end
  if state.schedule and rate.is_schedule(self.lr) then self.lr:load(state.schedule) end
end

local function name_of_adjustment(number)
  for name, of_name in pairs(adjust_lr) do
    if of_name == number then return ("%q"):format(name) end
  end
end

--- The value of an option of a rule as it would be written.
local function value_text(rule, option)
  local values = {}
  for i, field in ipairs(lists[option] or {}) do values[i] = ("%g"):format(rule:get(field)) end
  if values[1] then return ("{%s}"):format(table.concat(values, ", ")) end
  if option == "adjust_lr_fn" then return name_of_adjustment(rule:get("adjust_lr")) end
  local value = rule:get(option)
  return type(value) == "boolean" and tostring(value) or ("%g"):format(value)
end

--- Signature and text of a rule, with the defaults that it has.
local function describe(rule_name)
  local rule, options = internal.rules.rule(rule_name, {}), {}
  for _, names in ipairs { { "lr" }, known[rule_name], { "weight_decay" } } do
    for _, option in ipairs(names) do options[#options + 1] = option .. " = " .. value_text(rule, option) end
  end
  return ("params [, {%s, ...}] -> optimizer"):format(table.concat(options, ", ")), internal.rules.text(rule_name)
end

for rule_name in pairs(known) do
  local function constructor(params, options) return make(rule_name, params, options) end
  M[rule_name] = constructor
  described[constructor] = function() return describe(rule_name) end
end

M.lbfgs = require("gradlua.optim.lbfgs").lbfgs
M.natural = require("gradlua.optim.natural").natural

-- It needs gl.nn and is loaded with it.
function M.kfac(params, options) return require("gradlua.optim.kfac").kfac(params, options) end
described[M.kfac] = function()
  local about = require("gradlua.help").about("optim.kfac", require("gradlua.optim.kfac").kfac)
  return about.signature, about.doc
end

return M

--- Learning rates as functions of the step: `gl.optim.schedule.NAME{..}`, options named as in torch.optim.lr_scheduler.
--- A schedule stands as an optimizer's `lr`, where it counts the optimizer's steps, or is called: s(step), step 0, 1, ...
--- The option `lr` is the base rate that it starts from; otherwise the optimizer's own.

local internal = require "gradlua.internal"
local check = require "gradlua.check"
local described = require "gradlua.described"
local rate = require "gradlua.optim.rate"

local M = {}

--- Each kind's options with their defaults (an option without one must be given), and what it does. Step t = 0, 1, ...
local kinds = {
  constant = { "factor = 1/3, total_iters = 5", "factor * lr for the first total_iters steps, then lr" },
  step = { "step_size, gamma = 0.1", "lr times gamma every step_size steps" },
  multistep = { "milestones, gamma = 0.1", "lr times gamma at each of the steps milestones" },
  exponential = { "gamma", "lr * gamma ^ t" },
  linear = { "start_factor = 1/3, end_factor = 1, total_iters = 5", "lr times a factor that goes from one to the other" },
  cosine = { "T_max, eta_min = 0", "half a cosine from lr to eta_min in T_max steps. Loshchilov, Hutter (2016)" },
  cosine_restarts = { "T_0, T_mult = 1, eta_min = 0",
    "cosine, begun anew after T_0 steps, then after T_mult times as many. Loshchilov, Hutter (2016)" },
  warmup = { "steps, start_factor = 0", "linear from start_factor * lr to lr, which the last of `steps` steps reaches" },
  one_cycle = { "max_lr, total_steps, pct_start = 0.3, anneal_strategy = 'cos', div_factor = 25, final_div_factor = 1e4, "
    .. "three_phase = false", "up to max_lr and down again, once. Smith, Topin (2017)" },
  cyclic = { "base_lr, max_lr, step_size_up = 2000, step_size_down = step_size_up, mode = 'triangular', gamma = 1",
    "up and down between two rates; mode: triangular, triangular2 or exp_range. Smith (2015)" },
  polynomial = { "total_iters = 5, power = 1", "lr * (1 - t / total_iters) ^ power" },
  plateau = { "mode = 'min', factor = 0.1, patience = 10, threshold = 1e-4, threshold_mode = 'rel', cooldown = 0, min_lr = 0, "
    .. "eps = 1e-8", "lr times factor when what :observe(metric) is told has not improved for `patience` calls" },
}

--- The names in a list of options, and those among them that have no default.
local function option_names(options)
  local names, required = { lr = check.none }, {}
  for item in options:gmatch("[^,]+") do
    local name, default = item:match("^%s*([%w_]+)%s*(=?)")
    names[name] = check.none
    if default == "" then required[#required + 1] = name end
  end
  return names, required
end

for kind, about in pairs(kinds) do
  local known, required = option_names(about[1])
  local function constructor(options)
    local o = check.options("schedule." .. kind, options, known)
    for _, name in ipairs(required) do
      if o[name] == nil then check.fail("schedule." .. kind, "the option %s must be given", name) end
    end
    local handle = internal.rules.schedule(kind, o)
    return rate.schedule { kind = kind, lr = o.lr, handle = kind == "plateau" and handle or nil,
      apply = function(base, step) return handle:rate(base, step) end }
  end
  M[kind] = constructor
  local signature = (required[1] and "{%s, lr} -> schedule" or "[{%s, lr}] -> schedule"):format(about[1])
  described[constructor] = function() return signature, about[2] end
end

local function check_list(who, list)
  check.kind(who, "list", list, "table")
  for i = 1, math.max(#list, 1) do
    if not rate.is_schedule(list[i]) then check.fail(who, "expected a list of schedules {first, second, ..}, entry %d is none", i) end
  end
end

--- ({first, second, .., lr}) -> schedule
--- Each schedule works on the rate that the one before it gives.
---@param list gradlua.Schedule[]
function M.chain(list)
  check_list("schedule.chain", list)
  return rate.schedule { kind = "chain", lr = list.lr or (list[1] and list[1].lr), apply = function(base, step)
    for _, s in ipairs(list) do base = s:rate(s.lr or base, step) end
    return base
  end }
end

--- ({first, second, .., milestones, lr}) -> schedule
--- Schedules after one another: list[i + 1] begins, from its own step 0, at list.milestones[i].
function M.sequential(list)
  check_list("schedule.sequential", list)
  check.kind("schedule.sequential", "milestones", list.milestones, "table")
  if #list.milestones ~= #list - 1 then
    check.fail("schedule.sequential", "%d schedules need %d milestones, not %d", #list, #list - 1, #list.milestones)
  end
  return rate.schedule { kind = "sequential", lr = list.lr or (list[1] and list[1].lr), apply = function(base, step)
    local i, start = 1, 0
    while list.milestones[i] and step >= list.milestones[i] do
      start, i = list.milestones[i], i + 1
    end
    return list[i]:rate(base, step - start)
  end }
end

return M

--- Learning rates as functions of the step: `gl.optim.schedule.NAME{..}`, options named as in torch.optim.lr_scheduler.
--- A schedule stands as an optimizer's `lr`, where it counts the optimizer's steps, or is called: s(step), step 0, 1, ...
--- The option `lr` is the base rate that it starts from; otherwise the optimizer's own.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"

local M = {}

local known = {
  constant = { "factor", "total_iters" },
  step = { "step_size", "gamma" },
  multistep = { "milestones", "gamma" },
  exponential = { "gamma" },
  linear = { "start_factor", "end_factor", "total_iters" },
  cosine = { "T_max", "eta_min" },
  cosine_restarts = { "T_0", "T_mult", "eta_min" },
  warmup = { "steps", "start_factor" },
  one_cycle = { "max_lr", "total_steps", "pct_start", "anneal_strategy", "div_factor", "final_div_factor", "three_phase" },
  cyclic = { "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma" },
  polynomial = { "total_iters", "power" },
  plateau = { "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps" },
}

---@class gradlua.Schedule
---@field lr number? the base rate
local Schedule = {}
Schedule.__index = Schedule

--- Whether a value is a schedule.
function M.is_schedule(value) return getmetatable(value) == Schedule end

--- The rate at a step from a base rate.
function Schedule:rate(base, step) return self.apply(base, step) end

function Schedule:__call(step)
  if not self.lr then check.fail("schedule." .. self.kind, "give the base rate as option lr to call a schedule by hand") end
  return self.apply(self.lr, step)
end

--- Tells a plateau schedule what was measured after an epoch.
function Schedule:observe(metric)
  local who = "schedule." .. self.kind
  if not self.handle then check.fail(who, "only a plateau schedule observes a metric") end
  if not self.lr then check.fail(who, "give the base rate as option lr, or the schedule to an optimizer first") end
  if gl.is_tensor(metric) then metric = metric:item() end
  self.observed = self.observed or {}
  self.observed[#self.observed + 1] = metric
  self.handle:observe(self.lr, metric)
end

--- What a plateau schedule has seen; other schedules have no state.
function Schedule:state() return { observed = self.observed or {} } end

function Schedule:load(state)
  for _, metric in ipairs(state.observed or {}) do self:observe(metric) end
end

for kind, names in pairs(known) do
  --- The schedule of that name, with the options that torch.optim.lr_scheduler gives it, and lr, its base rate.
  ---@return gradlua.Schedule
  M[kind] = function(options)
    local who = "schedule." .. kind
    local defaults = { lr = check.none }
    for _, name in ipairs(names) do defaults[name] = check.none end
    local o = check.options(who, options, defaults)
    local handle = internal.rules.schedule(kind, o)
    return setmetatable({ kind = kind, lr = o.lr, handle = kind == "plateau" and handle or nil,
      apply = function(base, step) return handle:rate(base, step) end }, Schedule)
  end
end

--- Each schedule works on the rate that the one before it gives.
---@param list gradlua.Schedule[]
function M.chain(list)
  return setmetatable({ kind = "chain", lr = list.lr or (list[1] and list[1].lr), apply = function(base, step)
    for _, s in ipairs(list) do base = s:rate(s.lr or base, step) end
    return base
  end }, Schedule)
end

--- Schedules after one another: list[i + 1] begins, from its own step 0, at list.milestones[i].
function M.sequential(list)
  check.kind("schedule.sequential", "milestones", list.milestones, "table")
  if #list.milestones ~= #list - 1 then
    check.fail("schedule.sequential", "%d schedules need %d milestones, not %d", #list, #list - 1, #list.milestones)
  end
  return setmetatable({ kind = "sequential", lr = list.lr or (list[1] and list[1].lr), apply = function(base, step)
    local i, start = 1, 0
    while list.milestones[i] and step >= list.milestones[i] do
      start, i = list.milestones[i], i + 1
    end
    return list[i]:rate(base, step - start)
  end }, Schedule)
end

return M

--- A learning rate: a number, or a schedule, which gives one for each step.

local gl = require "gradlua.core"
local check = require "gradlua.check"

local M = {}

---@class gradlua.Schedule
---@field lr number? the base rate
local Schedule = {}
Schedule.__index = Schedule

--- Whether a value is a schedule.
function M.is_schedule(value) return getmetatable(value) == Schedule end

--- Raises unless a learning rate is a number or a schedule.
function M.check(who, lr)
  if type(lr) ~= "number" and not M.is_schedule(lr) then check.fail(who, "lr must be a number or a schedule, not %s", type(lr)) end
  return lr
end

--- What a learning rate, a number or a schedule, is at a step; `base` is where a schedule starts that has no lr of its own.
function M.at(lr, base, step)
  return M.is_schedule(lr) and lr:rate(lr.lr or base, step) or lr
end

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

--- A schedule of the given kind, lr (a base rate, or nil) and apply(base, step); `handle` is that of a plateau in the core.
---@param fields {kind: string, lr: number?, apply: function, handle: any}
---@return gradlua.Schedule
function M.schedule(fields) return setmetatable(fields, Schedule) end

return M

--- A progress bar on standard error: redrawn in place on a terminal; elsewhere a plain line now and then and at the end.
--- A host that has a progress callback is told instead; in a host that gives scripts no `io`, nothing is shown.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"

local Bar = {}
Bar.__index = Bar

local width = 28
local redraw_seconds, line_seconds = 0.1, 10

local function duration(seconds)
  if seconds ~= seconds or seconds == math.huge then return "?" end
  if seconds < 60 then return ("%.1f s"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 3600 then return ("%d:%02d"):format(whole // 60, whole % 60) end
  return ("%d:%02d:%02d"):format(whole // 3600, whole % 3600 // 60, whole % 60)
end

local function text(self, now)
  local spent = now - self.began
  local rate = spent > 0 and self.done / spent or 0
  local left = rate > 0 and (self.total - self.done) / rate or math.huge
  local state = self.done < self.total and duration(left) .. " left" or "in " .. duration(spent)
  local counts = ("%d/%d  %.1f/s  %s"):format(self.done, self.total, rate, state)
  if not self.terminal then return ("%s%s"):format(self.label, counts) end
  local filled = self.total > 0 and width * self.done // self.total or width
  return ("\r%s[%s%s] %s\27[K"):format(self.label, ("#"):rep(filled), ("."):rep(width - filled), counts)
end

local function draw(self, now)
  self.shown = now
  if self.host then return internal.progress(self.label, self.done, self.total, now - self.began) end
  if not io then return end
  io.stderr:write(text(self, now), self.terminal and "" or "\n")
  io.stderr:flush()
end

--- Begins a pass of `total` steps.
function Bar:start(total)
  self.total, self.done = total, 0
  self.began = gl.clock()
  self.shown = self.began
  if self.terminal then draw(self, self.began) end
end

--- One step is done.
function Bar:advance()
  self.done = self.done + 1
  local now = gl.clock()
  local pause = (self.terminal or self.host) and redraw_seconds or line_seconds
  if now - self.shown >= pause and self.done < self.total then draw(self, now) end
end

--- The pass is over.
function Bar:finish()
  draw(self, gl.clock())
  if self.terminal and not self.host then io.stderr:write("\n") end
end

--- ([label]) -> bar
--- A bar, for a loop of your own: bar:start(total), bar:advance() after each step, bar:finish().
---@param label string?
return function(label)
  check.kind("progress", "label", label, "string or nil")
  local host = internal.progress()
  if host then return setmetatable({ label = label or "", host = true }, Bar) end
  return setmetatable({ label = label and label .. "  " or "", terminal = io and internal.io.is_terminal() }, Bar)
end

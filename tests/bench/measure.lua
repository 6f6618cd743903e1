--- Measures the cases of one workload in this process: prints "case <tab> seconds <tab> value <tab> seconds of the first
--- call" for each, and the peak memory of the process at the end.

local gl = require "gradlua"

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = folder .. "/?.lua;" .. package.path

local minimum_seconds, repeats = 0.02, 7

--- Median seconds of one call, its value, seconds of the first.
local function time(step)
  local begun = gl.clock()
  local value = step()
  local first = gl.clock() - begun
  local count = 1
  while true do
    local start = gl.clock()
    for _ = 1, count do step() end
    local spent = gl.clock() - start
    if spent >= minimum_seconds then break end
    count = math.max(count + 1, math.ceil(count * math.min(10, 1.2 * minimum_seconds / math.max(spent, 1e-9))))
  end
  local times = {}
  for i = 1, repeats do
    local start = gl.clock()
    for _ = 1, count do step() end
    times[i] = (gl.clock() - start) / count
  end
  table.sort(times)
  return times[(repeats + 1) // 2], gl.is_tensor(value) and value:item() or value, first
end

--- Bytes, where the system tells.
local function peak_memory()
  local file = io.open("/proc/self/status")
  local text = file and file:read("a") or ""
  if file then file:close() end
  local kilobytes = text:match("VmHWM:%s*(%d+)")
  return kilobytes and tonumber(kilobytes) * 1024
end

local timed_by_itself = false
local cases = dofile(folder .. "/workloads/" .. arg[1] .. ".lua")
for _, case in ipairs(cases) do
  local ok, step = pcall(case.make)
  if ok then
    local seconds, value, first
    timed_by_itself = timed_by_itself or case.seconds ~= nil
    ok, seconds, value, first = pcall(case.seconds or time, step)
    if ok then print(("%s\t%.9g\t%.17g\t%.9g"):format(case.name, seconds, value or 0, first or 0)) end
    step = seconds
  end
  if not ok then io.stderr:write(case.name, ": ", tostring(step), "\n") end
  collectgarbage()
end
local peak = not timed_by_itself and peak_memory()
if peak then print(("peak memory of the process: %s\t%d\t0\t0"):format(arg[1], peak)) end

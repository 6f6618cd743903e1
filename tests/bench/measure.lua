--- Measures the cases of one workload in this process: prints "case <tab> seconds <tab> value" for each.

local gl = require "gradlua"

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = folder .. "/?.lua;" .. package.path

local minimum_seconds, repeats = 0.02, 7

--- Median seconds of one call.
local function time(step)
  local value = step()
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
  return times[(repeats + 1) // 2], gl.is_tensor(value) and value:item() or value
end

local cases = dofile(folder .. "/workloads/" .. arg[1] .. ".lua")
for _, case in ipairs(cases) do
  local ok, step = pcall(case.make)
  if ok then
    local seconds, value
    ok, seconds, value = pcall(case.seconds and case.seconds or time, step)
    if ok then print(("%s\t%.9g\t%.17g"):format(case.name, seconds, value or 0)) end
    step = seconds
  end
  if not ok then io.stderr:write(case.name, ": ", tostring(step), "\n") end
  collectgarbage()
end

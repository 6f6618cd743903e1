--- Runs the workloads, ours and the peers', round by round in turn, so that all see the same neighbours on the machine,
--- and prints one row a case: median times, ratios to ours, and whether all computed the same number; of those that
--- compile, or record and plan, also what the first call took.
---
--- A workload is tests/bench/workloads/NAME.lua, which returns {case name = function that makes a step}, and beside it
--- NAME.py with a function for each library. A step does the work once and returns a number. The workload hand_c is the
--- programs of tests/bench/c: plans beside C written by hand.

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
local python = os.getenv("GRADLUA_PEER_PYTHON") or "python3"
local rounds = tonumber(os.getenv("GRADLUA_ROUNDS") or 3)
local peers, compiles = {}, { torch_compiled = true, jax = true }
for peer in (os.getenv("GRADLUA_PEERS") or "torch torch_compiled jax numpy"):gmatch("%S+") do peers[#peers + 1] = peer end

local all = { "startup", "eager", "matmul", "chain", "logistic", "mlp", "cnn", "lstm", "transformer", "hvp", "jacobian",
  "per_example", "rk4", "loops", "gmm", "random", "scalar", "optim", "manners", "memory", "hand_c" }

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

local function median(list)
  table.sort(list)
  local n = #list
  if n == 0 then return nil end
  return n % 2 == 1 and list[n // 2 + 1] or (list[n // 2] + list[n // 2 + 1]) / 2
end

local available = {}
for _, peer in ipairs(peers) do
  local found = lines_of(("%s -c 'import %s' >/dev/null 2>&1 && echo yes"):format(python, peer:match("^[^_]*")))
  if found[1] == "yes" then available[#available + 1] = peer end
end

--- Adds the lines "case <tab> seconds (or bytes) <tab> value <tab> seconds at first" of one process to `results`.
local function collect(results, order, who, command)
  for _, line in ipairs(lines_of(command)) do
    local case, amount, value, first = line:match("^([^\t]+)\t([^\t]+)\t([^\t]+)\t([^\t]+)$")
    if case then
      if not results[case] then
        results[case] = {}
        order[#order + 1] = case
      end
      local entry = results[case][who] or { amounts = {} }
      entry.amounts[#entry.amounts + 1], entry.value = tonumber(amount), tonumber(value)
      entry.first = entry.first or tonumber(first) -- later processes may find a cache of what was compiled
      results[case][who] = entry
    end
  end
end

local function amount_text(case, amount)
  if case:find("^peak memory") then return ("%.1f MB"):format(amount / 1e6) end
  if amount < 1e-6 then return ("%.0f ns"):format(amount * 1e9) end
  if amount < 1e-3 then return ("%.2f us"):format(amount * 1e6) end
  if amount < 1 then return ("%.2f ms"):format(amount * 1e3) end
  return ("%.2f s"):format(amount)
end

local function agrees(a, b)
  return not a or not b or math.abs(a - b) <= 1e-3 * (1e-3 + math.abs(a))
end

local function first_text(case, entry)
  return entry and entry.first > 0 and amount_text(case, entry.first) or ""
end

local function print_case(case, entries)
  local ours = entries.gradlua and median(entries.gradlua.amounts)
  local row = { ("%-44s %11s %9s"):format(case, ours and amount_text(case, ours) or "-", first_text(case, entries.gradlua)) }
  for _, peer in ipairs(available) do
    local entry = entries[peer]
    local theirs = entry and median(entry.amounts)
    local ratio = theirs and ours and ("%.2fx"):format(theirs / ours) or ""
    local mark = entry and entries.gradlua and not agrees(entries.gradlua.value, entry.value) and "!" or ""
    local cells = ("%12s %8s%1s"):format(theirs and amount_text(case, theirs) or "-", ratio, mark)
    row[#row + 1] = compiles[peer] and cells .. (" %9s"):format(first_text(case, entry)) or cells
  end
  print(table.concat(row, "  "))
end

--- The table of problems solved, where SciPy is there.
local function print_solved()
  local found = lines_of(("%s -c 'import scipy' >/dev/null 2>&1 && echo yes"):format(python))
  if found[1] ~= "yes" then return end
  print("\nMore-Garbow-Hillstrom problems, the same functions and derivatives for both:")
  local command = ("%s %s/solved.py build/libmgh_problems.so %s/../data/optim_evaluations.csv"):format(python, folder, folder)
  for _, line in ipairs(lines_of(command)) do print(line) end
end

--- Plans beside C written by hand, each pair interleaved in one process.
local function print_hand_c()
  print("\nPlans, C written by hand, the ratio and what it may be:")
  os.execute("ninja -C build --quiet bench_c")
  for _, program in ipairs(lines_of("ls build/*_bench")) do
    for _, line in ipairs(lines_of(program)) do print(line) end
  end
end

local header = { ("%-44s %11s %9s"):format("case", "gradlua", "first") }
for _, peer in ipairs(available) do
  header[#header + 1] = ("%12s %8s "):format(peer, "ratio") .. (compiles[peer] and ("%10s"):format("first") or "")
end
print(table.concat(header, "  "))
print("(ratio: how many times our time the other one takes; first: the first call; ! marks a different result)")

local function run(workload)
  local results, order = {}, {}
  for _ = 1, rounds do
    collect(results, order, "gradlua", ("%s %s/measure.lua %s"):format(arg[-1], folder, workload))
    for _, peer in ipairs(available) do
      collect(results, order, peer, ("%s %s/measure.py %s %s 2>/dev/null"):format(python, folder, workload, peer))
    end
  end
  for _, case in ipairs(order) do print_case(case, results[case]) end
  if workload == "optim" then print_solved() end
end

for _, workload in ipairs(#arg > 0 and arg or all) do
  if workload == "hand_c" then print_hand_c() else run(workload) end
  io.stdout:flush()
end

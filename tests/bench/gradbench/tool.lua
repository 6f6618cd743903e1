--- A GradBench tool: answers the protocol's messages on standard input, one JSON object a line.
--- An eval is a file under evals/: a table of functions; each takes the decoded input (conversion to tensors is not
--- timed) and returns `run`, which is timed, and optionally `encode`, which turns its result into plain Lua values.

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = folder .. "/?.lua;" .. package.path

local json = require "cjson.safe"
local gl = require "gradlua"

json.encode_number_precision(14)
json.encode_sparse_array(true)

local multithreaded = false
for _, option in ipairs(arg) do
  multithreaded = multithreaded or option == "--multithreaded"
end
if not multithreaded then gl.set_threads(1) end

--- A tensor or number as plain values.
local function plain(value)
  if not gl.is_tensor(value) then return value end
  return value:ndim() == 0 and value:item() or value:totable()
end

--- Runs until both bounds are met; gives the last result and the JSON text of one timing a run.
local function timed(run, min_runs, min_seconds)
  local timings, elapsed, result = {}, 0, nil
  while #timings < min_runs or elapsed < min_seconds do
    local start = gl.clock()
    result = run()
    local seconds = gl.clock() - start
    elapsed = elapsed + seconds
    timings[#timings + 1] = string.format('{"name":"evaluate","nanoseconds":%d}', math.floor(seconds * 1e9))
  end
  return result, table.concat(timings, ",")
end

local function bounds(input)
  if type(input) ~= "table" then return 1, 0 end -- hello
  return input.min_runs, input.min_seconds
end

local function evaluate(message)
  local module = require("evals." .. message.module)
  local prepare = assert(module[message["function"]], "no such function")
  local min_runs, min_seconds = bounds(message.input)
  local run, encode = prepare(message.input)
  message.input = nil -- millions of numbers that the collector would walk through
  collectgarbage()
  local result, timings = timed(run, min_runs, min_seconds)
  local output = assert(json.encode((encode or plain)(result)))
  return string.format('{"id":%d,"success":true,"output":%s,"timings":[%s]}', message.id, output, timings)
end

local function failure(id, text)
  return json.encode { id = id, success = false, error = text }
end

local answers = {
  start = function(message) return json.encode { id = message.id, tool = "gradlua" } end,
  define = function(message)
    local found, problem = pcall(require, "evals." .. message.module)
    return found and json.encode { id = message.id, success = true } or failure(message.id, problem)
  end,
  evaluate = function(message)
    local done, answer = xpcall(evaluate, debug.traceback, message)
    return done and answer or failure(message.id, answer)
  end,
  analysis = function(message) return json.encode { id = message.id } end,
}

io.stdout:setvbuf("full")
for line in io.lines() do
  local message = assert(json.decode(line))
  io.write(answers[message.kind](message), "\n")
  io.flush()
end

-- A busy neighbour: an MLP's gradient and a long chain on one and on two threads while another process computes all the
-- time. Two threads must not be slower than one by more than a fifth: nothing may spin or wait for a turn of the other.
local gl = require "gradlua"
local inputs = require "inputs"

local turns, seconds_a_turn = 3, 0.4
local neighbour = [[while true do local x = 0 for i = 1, 1e6 do x = x + i * i end end]]

--- Starts a process that computes until it is told to stop.
local function start_neighbour()
  local pipe = assert(io.popen(("%s -e '%s' & echo $!"):format(arg[-1], neighbour)))
  local pid = pipe:read("n")
  return function()
    os.execute("kill " .. pid)
    pipe:close()
  end
end

local steps = {
  { "MLP 784-128-10, batch 512, gradient", function()
    local p = { a = inputs.fill({ 784, 128 }, 1, { scale = 1 / 28 }), b = inputs.fill({ 128, 10 }, 2, { scale = 0.1 }) }
    local x, y = inputs.fill({ 512, 784 }, 3), inputs.labels(512, 10)
    local f = gl.jit(gl.grad(function(q) return gl.nn.cross_entropy(x:matmul(q.a):tanh():matmul(q.b), y) end))
    return function() f(p) end
  end },
  { "chain, n = 1,000,000", function()
    local x = inputs.fill({ 1000000 }, 1)
    local f = gl.jit(gl.grad(function(v) return (v:tanh() * v:exp()):sum() end))
    return function() f(x) end
  end },
}

--- Mean seconds of a step with each number of threads, in turns of some length: a pool learns from what it meets.
local function compare(make)
  local step, spent, count = make(), { 0, 0 }, { 0, 0 }
  local stop, before = start_neighbour(), gl.get_threads()
  for _ = 1, turns do
    for threads = 1, 2 do
      gl.set_threads(threads)
      local start = gl.clock()
      repeat
        step()
        count[threads] = count[threads] + 1
      until gl.clock() - start > seconds_a_turn
      spent[threads] = spent[threads] + gl.clock() - start
    end
  end
  stop()
  gl.set_threads(before)
  return spent[1] / count[1], spent[2] / count[2]
end

local cases = {}
for _, entry in ipairs(steps) do
  local alone, together
  for threads = 1, 2 do
    cases[#cases + 1] = { name = ("%s, %d thread%s beside a busy process"):format(entry[1], threads, threads > 1 and "s" or ""),
      make = function()
        if not alone then alone, together = compare(entry[2]) end
        return function() return threads == 1 and alone or together end
      end, seconds = function(seconds) return seconds(), 0 end }
  end
end
return cases

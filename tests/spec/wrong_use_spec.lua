-- Every function, called with arguments of every wrong kind: whatever it refuses, it refuses at the caller's line.

local gl = require "gradlua"

-- What would change the state that other tests run in, print, write files, or not end.
local left_out = { set_threads = true, debug = true, manual_seed = true, help = true, show = true, save = true, logger = true,
  save_npy = true, save_npz = true, while_loop = true }

local x = gl.tensor { 1, 2, 3 }
local makers = {
  function() return nil end, function() return 1 end, function() return 0 end, function() return -1 end,
  function() return 2.5 end, function() return 0 / 0 end, function() return math.huge end, function() return 50 end,
  function() return "a" end, function() return true end, function() return {} end, function() return { 1, 2 } end,
  function() return { a = 1 } end, function() return { x, x } end, function() return { { 1, 2 }, { 3, 4 } } end,
  function() return { w = x, b = { x, 1 } } end, function() return x end, function() return gl.ones(2, 3) end,
  function() return gl.tensor(1) end, function() return gl.tensor({ 1, 2 }, { dtype = "i64" }) end,
  function() return gl.tensor { true, false, true } end, function() return gl.zeros(0) end, function() return gl.eye(2) end,
  function() return function(v) return v end end, function() return function(v) return (v * v):sum() end end,
  function() return function() return nil end end, function() return function() error("own") end end,
  function() return function(...) return select("#", ...) end end, function() return gl.generator(1) end,
  function() return coroutine.create(next) end,
  function() return io.stdout end, function() return gl.optim.sgd({ x:clone() }, { lr = 0.1 }) end,
  function() return gl.nn.linear(3, 2) end,
}

local function arguments()
  local list = { n = math.random(0, 4) }
  for i = 1, list.n do list[i] = makers[math.random(#makers)]() end
  return list
end

--- Messages of f that do not begin with this file and a line.
local function misplaced(name, f, calls)
  local found = {}
  for _ = 1, calls do
    local list = arguments()
    local ok, message = pcall(f, table.unpack(list, 1, list.n))
    if not ok and not tostring(message):find("^%S*wrong_use_spec%.lua:%d+: ") then
      found[#found + 1] = name .. ": " .. tostring(message)
    end
  end
  return found
end

local function check_all(prefix, functions)
  local names = {}
  for name, f in pairs(functions) do
    if type(f) == "function" and not left_out[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    assert.are.same({}, misplaced(prefix .. name, functions[name], 40))
  end
end

describe("wrong use is refused at the caller's line", function()
  local real_print = print
  setup(function()
    math.randomseed(7)
    _G.print = function() end -- pictures without a file
    for _, names in ipairs(getmetatable(gl).lazy) do
      for name in pairs(names) do assert(gl[name]) end
    end
  end)
  teardown(function() _G.print = real_print end)

  it("by gl", function() check_all("", gl) end)
  it("by gl.nn", function() check_all("nn.", gl.nn) end)
  it("by gl.data", function() check_all("data.", gl.data) end)
  it("by gl.plot", function() check_all("plot.", gl.plot) end)
  it("by gl.optim", function() check_all("optim.", gl.optim) end)
  it("by methods", function()
    local path = os.tmpname()
    local objects = {
      { "logger", function() return gl.logger(path) end, { "add", "column" } },
      { "loader", function() return gl.data.loader(x, { batch = 2 }) end, { "progress" } },
      { "optimizer", function() return gl.optim.adam({ x:clone() }, { lr = 0.1 }) end,
        { "step", "accumulate", "averaged", "load", "state" } },
      { "schedule", function() return gl.optim.schedule.step { lr = 1, step_size = 2 } end, { "rate" } },
      { "layer", function() return gl.nn.linear(3, 2) end, { "init" } },
      { "sparse", function() return gl.sparse_jacobian(function(v) return v * v end, x) end, { "dense", "matmul", "update" } },
      { "generator", function() return gl.generator(1) end,
        { "rand", "randn", "randint", "randperm", "bernoulli", "choice", "manual_seed", "set_state" } },
      { "minimizer", function() return gl.minimizer(function(v) return v * v end, 1) end, { "step" } },
    }
    for _, object in ipairs(objects) do
      local name, make, methods = table.unpack(object)
      for _, method in ipairs(methods) do
        local function f(...)
          local o = make()
          return o[method](o, ...)
        end
        assert.are.same({}, misplaced(name .. ":" .. method, f, 40))
      end
    end
    local layer = gl.nn.sequential { gl.nn.linear(3, 2), gl.nn.batch_norm(2) }
    assert.are.same({}, misplaced("layer call", function(...) return layer(...) end, 60))
    os.remove(path)
  end)

  it("by gl.optim.schedule", function() check_all("schedule.", gl.optim.schedule) end)
end)

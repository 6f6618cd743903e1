-- Every documented function, called as its signature says, and then wrongly in each way: an argument of a kind that nothing
-- takes in each place, one too few, one too many, each option misspelt. The message names the function and what is wrong.

local gl = require "gradlua"
local help = require "gradlua.help"

local vector, square = gl.tensor { 1, 2, 3 }, gl.tensor { { 2, 1 }, { 1, 3 } }
local positions = gl.tensor({ 1, 2 }, { dtype = "i64" })
local function quadratic(v) return (v * v):sum() end
local function twice(v) return 2 * v end

--- What to pass for a parameter of this name.
local samples = {
  x = vector, a = square, b = square, l = square, value = 2, other = vector, source = vector, data = { 1, 2 }, k = 1, n = 2,
  f = quadratic, g = twice, r = twice, x0 = vector, axis = 1, first = 1, last = 1, seed = 1, rows = 2, columns = 2, from = 1,
  to = 3, step = 1, lo = 1, hi = 2, p = 0.5, dtype = "f64", shift = 1, sizes = { 1, 2 }, list = { vector, vector },
  positions = positions, table = square, slope = 0.1, alpha = 1, argnums = 1, argnum = 1, names = "x", on = false,
  shape = { 2, 2 }, axes = 1, repeats = 2, pairs = { { 1, 1 } }, index = 1, size = 2, heads = 1, channels = 2, outputs = 2,
  inputs = 2, count = 3, prediction = vector, target = vector, params = { vector }, grads = { vector }, values = vector,
  set = vector, label = "x", statistics = { mean = 0, std = 1 }, generator = gl.generator(1), test = function() return false end,
  init = 1, rules = { vjp = function() end }, lr = 1, base = 1, u = square, v = square, y = vector, matrix = square, id = 1,
}

--- Arguments of functions for which names are not enough.
local own = {
  fill_ = { vector:clone(), 1 }, copy_ = { vector:clone(), vector }, zero_ = { vector:clone() }, where = { vector:gt(1), 1, 2 },
  clamp = { vector, 1, 2 }, randint = { 1, 3, { 2 } }, item = { gl.tensor(1) }, iter = { vector }, einsum = { "i,i->i", vector, vector },
  permute = { square, 2, 1 }, reshape = { vector, 3, 1 }, expand = { gl.ones(1), 3 }, tile = { vector, 2 }, squeeze = { gl.ones(1, 2) },
  flatten = { square, 1, 2 }, transpose = { square, 1, 2 }, t = { square }, dot = { vector, vector }, outer = { vector, vector },
  bmm = { gl.ones(1, 2, 2), gl.ones(1, 2, 2) }, diag = { vector }, trace = { square }, tril = { square }, triu = { square },
  gather = { square, 1, gl.tensor({ { 1, 2 } }, { dtype = "i64" }) }, topk = { vector, 1 }, polygamma = { vector, vector },
  scatter_add = { square, 1, gl.tensor({ { 1, 2 } }, { dtype = "i64" }), gl.ones(1, 2) }, triangular_solve = { square, square },
  conv1d = { gl.ones(1, 1, 4), gl.ones(1, 1, 2) }, conv2d = { gl.ones(1, 1, 4, 4), gl.ones(1, 1, 2, 2) }, choice = { vector, 1 },
  max_pool2d = { gl.ones(1, 1, 4, 4), 2 }, avg_pool2d = { gl.ones(1, 1, 4, 4), 2 }, bernoulli = { 0.5, { 2 } }, any = { vector:gt(1) },
  all = { vector:gt(1) }, logical_and = { vector:gt(1), vector:gt(1) }, logical_or = { vector:gt(1), vector:gt(1) },
  xor = { vector:gt(1), vector:gt(1) }, logical_not = { vector:gt(1) }, put = { vector, 1, 2 }, unsqueeze = { vector, 1 },
  jvp = { quadratic, { vector }, { vector } }, vjp = { quadratic, vector }, linearize = { twice, vector }, is_tensor = { 1 },
  sparse_jacobian = { twice, vector },
  root = { function(v) return v - 1 end, 2.0 }, fixed_point = { function(v) return v / 2 + 1 end, 1.0 },
  argmin = { vector }, odeint = { function(_, y) return -y end, 1.0, gl.tensor { 0, 1 } }, cond = { true, twice, twice, 1 },
  fori = { 2, function(_, s) return s end, 1 }, scan = { function(c, v) return c, v end, 0, vector },
  formula = { function(v) return v * v end, "v" },
  while_loop = { function() return false end, twice, 1 },
  classify = { quadratic, gl.zeros(2) }, full = { { 2 }, 1 },
  custom = { twice, { vjp = function(_, c) return { 2 * c } end } }, health = { { vector } }, debug = { false },
  set_threads = { gl.get_threads() },
  least_squares = { twice, vector }, help = { "sum" }, explain = { quadratic, vector }, arange = { 1, 3, 1 }, linspace = { 0, 1, 3 },
}

local path, csv, npy, npz = os.tmpname(), os.tmpname(), os.tmpname(), os.tmpname()
local function layer() return gl.nn.linear(3, 2) end
local sequence, constant = gl.nn.sequential { layer() }, gl.optim.schedule.constant { lr = 1 }
for name, arguments in pairs {
  ["nn.dropout"] = { 0.5 },
  ["nn.residual"] = { layer() }, ["nn.sequential"] = { { layer() } }, ["nn.layer"] = { { name = "a",
    init = function() return {} end, apply = function(_, v) return v end } }, ["nn.update"] = { {} }, ["nn.embedding"] = { 3, 2 },
  ["nn.count"] = { { vector } }, ["nn.cross_entropy"] = { square, positions }, ["nn.nll"] = { square, positions },
  ["nn.orthogonal"] = { 2, 2 }, ["nn.xavier_normal"] = { 2, 2 }, ["nn.xavier_uniform"] = { 2, 2 }, ["nn.he_normal"] = { 2, 2 },
  ["nn.he_uniform"] = { 2, 2 }, ["nn.attention"] = { 4, 2 }, ["nn.conv1d"] = { 1, 1, 2 }, ["nn.conv2d"] = { 1, 1, 2 },
  ["nn.bce"] = { vector / 4, vector / 4 },
  ["nn.normal"] = { { 2, 2 } }, ["nn.uniform"] = { { 2, 2 } }, ["nn.ones"] = { { 2, 2 } }, ["nn.zeros"] = { { 2, 2 } },
  ["optim.kfac"] = { sequence:init(), { model = sequence, distribution = "categorical" } },
  ["optim.natural"] = { { vector:clone() }, { model = twice, distribution = "gaussian" } },
  ["optim.schedule.chain"] = { { constant } }, ["optim.schedule.sequential"] = { { constant, milestones = {} } },
  ["optim.schedule.cosine"] = { { T_max = 5 } }, ["optim.schedule.cosine_restarts"] = { { T_0 = 5 } },
  ["optim.schedule.cyclic"] = { { base_lr = 1, max_lr = 2 } }, ["optim.schedule.exponential"] = { { gamma = 0.9 } },
  ["optim.schedule.multistep"] = { { milestones = { 1 } } }, ["optim.schedule.one_cycle"] = { { max_lr = 1, total_steps = 9 } },
  ["optim.schedule.step"] = { { step_size = 2 } }, ["optim.schedule.warmup"] = { { steps = 2 } },
  ["data.csv"] = { csv }, ["data.idx"] = { "examples/data/mnist8k-test-labels-idx1-ubyte.gz" }, ["data.npy"] = { npy },
  ["data.npz"] = { npz },
  ["plot.descent"] = { function(v) return (v * v):sum() end, { gl.zeros(2), gl.ones(2) } },
  ["plot.quiver"] = { vector, vector, vector, vector },
  ["data.split"] = { vector, { 1, 2 } }, ["data.standardize"] = { square }, ["data.progress"] = { "x" },
  ["data.save_npy"] = { path, vector }, ["data.save_npz"] = { path, { x = vector } },
} do own[name] = arguments end

--- Options that the text lists, not the signature.
local options_of = {
  minimize = { "method", "bounds", "constraints", "tol", "max_iter", "on_step", "memory", "line_search" },
  least_squares = { "method", "loss", "bounds", "sparse" }, fixed_point = { "method", "tol" },
  odeint = { "rtol", "atol", "method" }, scan = { "reverse", "checkpoint" }, fori = { "checkpoint" },
}

--- What has no fixed arguments, prints, or waits for another spec's files.
local left_out = { ["nn.sequential"] = true, show = true, save = true, load = true, logger = true, manual_seed = true }

--- The parameters of a signature: required ones, optional ones, and the names of the options; many: the last repeats.
local function read_signature(signature)
  local text = signature:match("^(.-)%s*%->") or signature
  local out = { required = {}, optional = {}, options = {}, many = text:gsub("%b{}", ""):find("...", 1, true) ~= nil }
  local braces = text:match("{([^{}]*=[^{}]*)}%]?$") or text:match("%[, {(.*)}%]$")
  for name in (braces and ("," .. braces:gsub("%b{}", "")) or ""):gmatch(",%s*([%a_][%w_]*)") do out.options[#out.options + 1] = name end
  if braces then out.takes_options = true end
  text = text:gsub("%b[]", ""):gsub("%b{}", "{}"):gsub("[%w_]+%.%.%.", "")
  for name in text:gmatch("[%a_{}][%w_{}]*") do out.required[#out.required + 1] = name end
  return out
end

local function call(f, arguments)
  local ok, message = pcall(f, table.unpack(arguments, 1, arguments.n or #arguments))
  return ok, tostring(message)
end

local complaints

--- Notes where a wrong call was taken, or refused without the function's name.
local function refused(name, f, arguments, how, ...)
  local ok, message = call(f, arguments)
  local last = name:match("[%w_]+$")
  local why
  if ok then why = "is taken" end
  if not ok and not message:find("^%S*every_function_spec%.lua:%d+: [%w_.:]*" .. last .. ": ") then why = "is refused with: " .. message end
  for _, text in ipairs { ... } do
    if not ok and not message:find(text, 1, true) then why = ("is refused without %q: %s"):format(text, message) end
  end
  if why then complaints[#complaints + 1] = ("%s: %s %s"):format(name, how, why) end
end

--- Where any value may stand: the state of a loop, what a function is called with, a value that is asked what it is.
local anything = { is_tensor = { 1 }, cond = { 4 }, fori = { 3 }, while_loop = { 3 }, scan = { 2 } }

local function takes_anything(name, i)
  for _, place in ipairs(anything[name] or {}) do
    if place == i then return true end
  end
  return false
end

local function copy_of(arguments)
  return { n = arguments.n or #arguments, table.unpack(arguments) }
end

local function walk(name, f)
  local about = help.about(name, f)
  local signature = read_signature(about.signature)
  local arguments = own[name:gsub("_$", "")] or own[name]
  if not arguments then
    arguments = {}
    for i, parameter in ipairs(signature.required) do
      arguments[i] = samples[parameter]
      if arguments[i] == nil then complaints[#complaints + 1] = ("%s: what is %s? (%s)"):format(name, parameter, about.signature) end
    end
  end
  if name:match("_$") then arguments = { gl.tensor(arguments[1]), table.unpack(arguments, 2) } end
  local ok, message = call(f, arguments)
  if not ok then complaints[#complaints + 1] = ("%s(%s): %s"):format(name, about.signature, message) end
  local wrong = coroutine.create(next)
  for i = 1, #arguments do
    local others = copy_of(arguments)
    others[i] = wrong
    if not takes_anything(name, i) then refused(name, f, others, "a coroutine as argument " .. i) end
  end
  if #signature.required > 0 then
    local fewer = copy_of(arguments)
    fewer.n = #signature.required - 1
    if not takes_anything(name, fewer.n + 1) then refused(name, f, fewer, "one argument too few") end
  end
  if not signature.many then
    local more = copy_of(arguments)
    for i = more.n + 1, 9 do more[i] = true end
    more.n = 9
    refused(name, f, more, "nine arguments")
  end
  for _, option in ipairs(options_of[name] or signature.options) do
    local misspelt = copy_of(arguments)
    local given = signature.required[#signature.required] == "{}" and table.remove(misspelt, misspelt.n) or {}
    misspelt[#misspelt + 1] = {}
    for key, value in pairs(given) do misspelt[#misspelt][key] = value end
    misspelt[#misspelt][option .. "x"], misspelt.n = 1, #misspelt
    refused(name, f, misspelt, "option " .. option .. "x", ('"%s"'):format(option .. "x"))
  end
end

describe("every function says what is wrong with a call", function()
  local real_print = print
  setup(function()
    _G.print = function() end -- pictures without a file
    local file <close> = assert(io.open(csv, "w"))
    file:write("1,2\n3,4\n")
    gl.data.save_npy(npy, vector)
    gl.data.save_npz(npz, { x = vector })
  end)
  teardown(function()
    _G.print = real_print
    for _, name in ipairs { path, csv, npy, npz } do os.remove(name) end
  end)
  before_each(function() complaints = {} end)

  for _, module in ipairs { "nn", "data", "plot", "optim", "optim.schedule" } do
    it("of gl." .. module, function()
      local functions = gl
      for part in module:gmatch("%a+") do functions = functions[part] end
      for _, name in ipairs(require("gradlua.tree").keys(functions)) do
        local f = functions[name]
        if type(f) == "function" and not left_out[module .. "." .. name] then walk(module .. "." .. name, f) end
      end
      assert.are.equal("", table.concat(complaints, "\n"))
    end)
  end

  it("of gl", function()
    for _, names in ipairs(getmetatable(gl).lazy) do
      for name in pairs(names) do assert(gl[name]) end
    end
    local names = {}
    for name, f in pairs(gl) do
      if type(f) == "function" and not left_out[name] then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do walk(name, gl[name]) end
    assert.are.equal("", table.concat(complaints, "\n"))
  end)
end)

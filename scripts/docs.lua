--- Writes docs/api.md and docs/library/gradlua.lua from the rows of the binding and the comments of the Lua modules, the
--- same that `?` shows. With --check nothing is written: fails when a file is not what it would be.

local gl = require "gradlua"
local help = require "gradlua.help"
local tree = require "gradlua.tree"

--- The order of the reference. A name that stands nowhere here comes last, under "Further functions".
local topics = {
  { "Making tensors", "tensor zeros ones full eye arange linspace zeros_like ones_like full_like" },
  { "Random numbers", "manual_seed generator rand randn randint randperm bernoulli choice" },
  { "Asking a tensor", "shape size ndim numel dtype item totable is_tensor is_contiguous iter" },
  { "Copies and in-place changes", "clone to copy_ fill_ zero_ put" },
  { "Shapes", "reshape view_as flatten transpose t permute unsqueeze squeeze expand flip roll tile repeat_interleave concat stack "
    .. "split chunk pad" },
  { "Arithmetic", "add sub mul div pow floordiv mod neg abs sign square reciprocal maximum minimum clamp mulz" },
  { "Elementwise functions", "exp exp2 expm1 log log1p log2 log10 sqrt rsqrt cbrt hypot sin cos tan asin acos atan atan2 sinh cosh "
    .. "tanh asinh acosh atanh erf erfc lgamma digamma trigamma polygamma floor ceil round logaddexp" },
  { "Activations", "relu leaky_relu elu selu gelu silu sigmoid logsigmoid softplus softsign hardtanh softmax log_softmax" },
  { "Comparing and masks", "eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not xor where" },
  { "Reducing and sorting", "sum mean prod max min argmax argmin var std norm logsumexp any all median cumsum cumprod sort argsort "
    .. "topk" },
  { "Matrices", "matmul mm dot outer bmm einsum kron trace diag tril triu inv solve cholesky cholesky_solve triangular_solve lstsq "
    .. "det logdet slogdet qr svd eigh matrix_exp" },
  { "Picking and spreading", "gather scatter_add embedding one_hot nonzero" },
  { "Convolution", "conv1d conv2d max_pool2d avg_pool2d" },
  { "Derivatives", "grad value_and_grad jvp vjp linearize directional jacobian hessian hvp hessian_diag sparse_jacobian sparse_hessian "
    .. "vmap jit stop_gradient checkpoint custom" },
  { "Control flow", "cond while_loop fori scan" },
  { "Implicit functions", "root fixed_point argmin odeint" },
  { "Understanding a function", "gradcheck differentiable classify formula explain debug health" },
  { "Minimizing", "minimize minimizer least_squares" },
  { "Files", "save load logger" },
  { "Odds and ends", "clock set_threads get_threads cache_stats help" },
}
local modules = { "nn", "optim", "optim.schedule", "data", "plot" }

local module_titles = {
  nn = "Networks: gl.nn", optim = "Optimizers: gl.optim", ["optim.schedule"] = "Learning rates: gl.optim.schedule",
  data = "Data: gl.data", plot = "Pictures: gl.plot",
}

local function resolve(path)
  local value = gl
  for name in path:gmatch("[^.]+") do
    value = value[name]
    if value == nil then return nil end
  end
  return value
end

local function callable(value)
  if type(value) == "function" then return true end
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__call ~= nil
end

--- The documented names below a path, in order.
local function names_of(path)
  local names = {}
  for _, name in ipairs(tree.keys(resolve(path))) do
    if callable(resolve(path .. "." .. name)) then names[#names + 1] = path .. "." .. name end
  end
  return names
end

--- Title and names of each section.
local function sections()
  local out, seen = {}, {}
  for _, topic in ipairs(topics) do
    local names = {}
    for name in topic[2]:gmatch("%S+") do
      if callable(gl[name]) then names[#names + 1] = name end
      seen[name] = true
    end
    out[#out + 1] = { topic[1], names }
  end
  local further, all = {}, {}
  for _, names in ipairs { gl, table.unpack(getmetatable(gl).lazy) } do
    for name in pairs(names) do all[name] = true end
  end
  for _, name in ipairs(tree.keys(all)) do
    local in_place = name:match("^(.*)_$")
    if not seen[name] and callable(gl[name]) and not (in_place and gl[in_place]) then further[#further + 1] = name end
  end
  if #further > 0 then out[#out + 1] = { "Further functions", further } end
  for _, module in ipairs(modules) do
    if resolve(module) then out[#out + 1] = { module_titles[module], names_of(module), intro = help.about_module(module) } end
  end
  return out
end

local function about(name)
  local value = resolve(name)
  if type(value) ~= "function" then
    return { name = name, signature = "params, x [, options] -> tensor", doc = "a layer without parameters" }
  end
  return help.about(name, value)
end

local function reference()
  local lines = { "# Reference", "",
    "Written by `scripts/docs` from what the functions say of themselves; `? name` at the prompt shows the same.",
    "`gl` is `require \"gradlua\"`. A function marked *m* is also a method of its first argument: `gl.sum(x)` is `x:sum()`.",
    "Elementwise functions have a variant with a trailing underscore that changes its first argument in place.", "" }
  local function add(text) lines[#lines + 1] = text end
  for _, section in ipairs(sections()) do
    if #section[2] > 0 then
      add("## " .. section[1])
      if section.intro then add(section.intro .. "\n") end
      for _, name in ipairs(section[2]) do
        local a = about(name)
        local doc = a.doc ~= "" and ": " .. a.doc or ""
        add(("- `%s`%s%s"):format(help.call_text(a), a.method and " *m*" or "", doc))
      end
      add("")
    end
  end
  return table.concat(lines, "\n")
end

--- The parameters of a stub: the names in a signature, without brackets and options.
local function stub_parameters(signature)
  local arguments = signature:match("^(.-)%s*%->") or signature
  local names, taken = {}, {}
  for name in arguments:gsub("%b{}", " options "):gsub("%b()", ""):gsub("=%s*[^,%]]+", ""):gmatch("[%a_][%w_]*") do
    if not taken[name] then names[#names + 1] = name end
    taken[name] = true
  end
  if arguments:find("...", 1, true) then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

local reserved = { ["end"] = true, ["function"] = true, ["for"] = true, ["not"] = true, ["or"] = true, ["and"] = true, ["in"] = true }

local function stubs()
  local lines = { "---@meta", "--- Stubs for the Lua language server, written by scripts/docs.", "", "---@class gradlua.Tensor",
    "local Tensor = {}", "", "---@class gradlua", "local gl = {}", "gl.nn, gl.optim, gl.data, gl.plot = {}, { schedule = {} }, {}, {}", "" }
  local function add(...) lines[#lines + 1] = table.concat({ ... }) end
  for _, section in ipairs(sections()) do
    for _, name in ipairs(section[2]) do
      local a = about(name)
      local parameters = stub_parameters(a.signature)
      for word in parameters:gmatch("[%a_]+") do
        if reserved[word] then parameters = "..." end
      end
      if a.doc ~= "" then add("--- ", a.doc) end
      add("function gl.", name, "(", parameters, ") end")
      if a.method then add("function Tensor:", name, "(", (parameters:gsub("^[%w_]+,? ?", "")), ") end") end
    end
  end
  add("")
  add("return gl")
  return table.concat(lines, "\n") .. "\n"
end

local check, stale = arg[1] == "--check", false
for path, text in pairs { ["docs/api.md"] = reference(), ["docs/library/gradlua.lua"] = stubs() } do
  if check then
    local file = io.open(path)
    if not file or file:read("a") ~= text then
      io.stderr:write(path, " is not up to date: run scripts/docs\n")
      stale = true
    end
    if file then file:close() end
  else
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  end
end
os.exit(not stale)

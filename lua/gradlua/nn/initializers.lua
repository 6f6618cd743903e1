--- Initialisers: f(shape, generator, options) -> tensor, the shape being a list, or its extents one by one. The fans of a
--- weight of shape {out, in, ...} are in * rest and out * rest.

local gl = require "gradlua.core"
local check = require "gradlua.check"

local M = {}

--- Shape, generator and options, of which both may be left out.
local function read(...)
  local args, shape, at = { ... }, (...), 2
  if type(shape) == "number" then
    shape, at = {}, 1
    while type(args[at]) == "number" do
      shape[at], at = args[at], at + 1
    end
  end
  local generator, options = args[at], args[at + 1]
  if type(generator) == "table" and options == nil then return shape, nil, generator end
  return shape, generator, options
end

--- The options of an initialiser: dtype, and the number `key`.
local function numeric(name, options, key, default)
  local o = check.options(name, options, { [key] = default, dtype = "f64" })
  check.kind(name, key, o[key], "number")
  return o
end

--- Draws with the generator's own method, or with the default generator.
local function draw(name, generator, kind, shape, dtype)
  local options = { dtype = dtype }
  check.kind(name, "shape", shape, "table")
  check.kind(name, "the generator", generator, "generator or nil")
  if generator then return generator[kind](generator, shape, options) end
  return gl[kind](shape, options)
end

---@return integer fan_in, integer fan_out
local function fans(name, shape)
  check.kind(name, "shape", shape, "table")
  for i = 1, #shape do check.integer(name, "an extent", shape[i], 0) end
  if #shape < 2 then check.fail(name, "a weight has at least two axes, not %d", #shape) end
  local rest = 1
  for i = 3, #shape do rest = rest * shape[i] end
  return shape[2] * rest, shape[1] * rest
end

--- (shape... [, generator] [, {bound = 1, dtype = "f64"}]) -> tensor
--- Uniform in [-bound, bound].
function M.uniform(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.uniform", options, "bound", 1)
  return draw("nn.uniform", generator, "rand", shape, o.dtype) * (2 * o.bound) - o.bound
end

--- (shape... [, generator] [, {std = 1, dtype = "f64"}]) -> tensor
--- Normal with mean 0 and standard deviation std.
function M.normal(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.normal", options, "std", 1)
  return draw("nn.normal", generator, "randn", shape, o.dtype) * o.std
end

--- (shape... [, generator] [, {gain = 1, dtype = "f64"}]) -> tensor
--- Uniform within gain * sqrt(6 / (fan in + fan out)): keeps variances through tanh-like layers, forward and backward.
--- Glorot and Bengio 2010.
function M.xavier_uniform(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.xavier_uniform", options, "gain", 1)
  local fan_in, fan_out = fans("nn.xavier_uniform", shape)
  return M.uniform(shape, generator, { bound = o.gain * math.sqrt(6 / (fan_in + fan_out)), dtype = o.dtype })
end

--- (shape... [, generator] [, {gain = 1, dtype = "f64"}]) -> tensor
--- Normal with standard deviation gain * sqrt(2 / (fan in + fan out)). Glorot and Bengio 2010.
function M.xavier_normal(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.xavier_normal", options, "gain", 1)
  local fan_in, fan_out = fans("nn.xavier_normal", shape)
  return M.normal(shape, generator, { std = o.gain * math.sqrt(2 / (fan_in + fan_out)), dtype = o.dtype })
end

--- (shape... [, generator] [, {gain = sqrt(2), dtype = "f64"}]) -> tensor
--- Uniform within gain * sqrt(3 / fan in): keeps variances through layers with ReLU. He et al. 2015.
function M.he_uniform(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.he_uniform", options, "gain", math.sqrt(2))
  local fan_in = fans("nn.he_uniform", shape)
  return M.uniform(shape, generator, { bound = o.gain * math.sqrt(3 / fan_in), dtype = o.dtype })
end

--- (shape... [, generator] [, {gain = sqrt(2), dtype = "f64"}]) -> tensor
--- Normal with standard deviation gain / sqrt(fan in). He et al. 2015.
function M.he_normal(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.he_normal", options, "gain", math.sqrt(2))
  local fan_in = fans("nn.he_normal", shape)
  return M.normal(shape, generator, { std = o.gain / math.sqrt(fan_in), dtype = o.dtype })
end

--- (shape... [, generator] [, {gain = 1, dtype = "f64"}]) -> tensor
--- Rows (or columns, whichever are fewer) orthonormal times gain; axes after the first are taken as one. Saxe et al. 2014.
function M.orthogonal(...)
  local shape, generator, options = read(...)
  local o = numeric("nn.orthogonal", options, "gain", 1)
  local fan_in = fans("nn.orthogonal", shape)
  local rows = shape[1]
  local tall = rows >= fan_in
  local q, r = gl.qr(draw("nn.orthogonal", generator, "randn", tall and { rows, fan_in } or { fan_in, rows }, "f64"))
  q = q * gl.diag(r):sign()
  if not tall then q = q:t() end
  return (q * o.gain):reshape(shape):to(o.dtype)
end

--- (shape... [, generator] [, {dtype = "f64"}]) -> tensor
--- All 0.
function M.zeros(...)
  local shape, _, options = read(...)
  local o = check.options("nn.zeros", options, { dtype = "f64" })
  return gl.zeros(shape, { dtype = o.dtype })
end

--- (shape... [, generator] [, {dtype = "f64"}]) -> tensor
--- All 1.
function M.ones(...)
  local shape, _, options = read(...)
  local o = check.options("nn.ones", options, { dtype = "f64" })
  return gl.ones(shape, { dtype = o.dtype })
end

return M

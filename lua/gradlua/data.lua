--- Data: reading files, splitting, standardizing, and walking in batches.
---
--- A set is a tensor, or a table of tensors whose first axes are of one extent: {inputs, labels}, or {x = .., y = ..}.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local progress = require "gradlua.progress"

local M = {}

--- (path [, {delimiter, header, skip = 0, dtype = "f64"}]) -> tensor, columns
M.csv, M.idx, M.npy, M.npz = internal.io.csv, internal.io.idx, internal.io.npy, internal.io.npz
M.save_npy = internal.io.save_npy

--- Writes tensors by name for NumPy, uncompressed.
function M.save_npz(path, arrays)
  local names, tensors = {}, {}
  check.kind("data.save_npz", "arrays", arrays, "table")
  for i, name in ipairs(tree.keys(arrays)) do names[i], tensors[i] = tostring(name), arrays[name] end
  return internal.io.save_npz(path, names, tensors)
end

--- The extent of a set; raises when its tensors disagree.
local function extent(name, set)
  local n
  tree.each(name, set, function(x, path)
    if not gl.is_tensor(x) or x:ndim() == 0 then
      check.fail(name, "%s must be a tensor with at least one axis", path == "" and "the set" or path)
    end
    n = n or x:size(1)
    if x:size(1) ~= n then
      check.fail(name, "the tensors of a set have one first extent: %s has %d, another has %d", path, x:size(1), n)
    end
  end)
  if not n then check.fail(name, "the set has no tensor") end
  return n
end

local function pick(set, index)
  return tree.map("data", function(x) return x[index] end, set)
end

--- How many entries a part has: a whole number as it is, a fraction below 1 of n.
local function part_size(size, n)
  if math.type(size) == "integer" then return size end
  return math.floor(size * n + 0.5)
end

--- (set, sizes [, {shuffle = false, generator}]) -> part, part, ...
--- Splits a set in two or more. `sizes` is a number or a list, whole numbers or fractions; what is left over is the last
--- part. In the order of the set, unless {shuffle = true} (with `generator`, or the default one).
function M.split(set, sizes, options)
  local o = check.options("data.split", options, { shuffle = false, generator = check.none })
  local n = extent("data.split", set)
  if type(sizes) == "number" then sizes = { sizes } end
  check.kind("data.split", "sizes", sizes, "table")
  local order = o.shuffle and (o.generator and o.generator:randperm(n) or gl.randperm(n))
  local parts, at = {}, 0
  local function take(count)
    local range = { at + 1, at + count }
    parts[#parts + 1] = pick(set, order and order[{ range }] or { range })
    at = at + count
  end
  for i, size in ipairs(sizes) do
    check.kind("data.split", "size " .. i, size, "number")
    local count = part_size(size, n)
    if size <= 0 or at + count > n then
      check.fail("data.split", "part %d asks for %s entries, and %d of %d are left", i, tostring(size), n - at, n)
    end
    take(count)
  end
  if at < n then take(n - at) end
  return table.unpack(parts)
end

--- (x [, statistics]) -> tensor, statistics
--- Columns with mean 0 and standard deviation 1 (a constant column becomes 0), and the statistics {mean, std}, which
--- given as second argument are applied instead: so the test part is treated as the training part was.
function M.standardize(x, statistics)
  if not gl.is_tensor(x) or x:ndim() < 1 then check.fail("data.standardize", "expected a tensor with at least one axis") end
  if not statistics then
    local mean = x:mean(1)
    local std = (x - mean):square():mean(1):sqrt()
    statistics = { mean = mean, std = gl.where(std:gt(0), std, 1) }
  end
  if type(statistics) ~= "table" or not statistics.mean or not statistics.std then
    check.fail("data.standardize", "the statistics must be a table {mean, std}, as standardize returns it")
  end
  return (x - statistics.mean) / statistics.std, statistics
end

---@class gradlua.Loader
---@field count integer batches in one pass
local Loader = {}
Loader.__index = Loader

function Loader:__len() return self.count end

--- The values of one batch: in the order of a list; a set with names gives one table.
local function unpack_batch(set, index)
  local batch = pick(set, index)
  if tree.is_node(batch) and #batch > 0 then return table.unpack(batch) end
  return batch
end

--- `for inputs, labels in loader do`: each loop is a new pass (and a new order, when shuffled).
function Loader:__call(_, previous)
  local o = self.options
  if previous == nil then
    self.at = 0
    self.order = o.shuffle and (o.generator and o.generator:randperm(self.extent) or gl.randperm(self.extent)) or nil
    if self.bar then self.bar:start(self.count) end
  elseif self.bar then
    self.bar:advance()
  end
  if self.at >= self.count then
    if self.bar then self.bar:finish() end
    return nil
  end
  local first = self.at * o.batch + 1
  local range = { first, math.min(first + o.batch - 1, self.extent) }
  self.at = self.at + 1
  return unpack_batch(self.set, self.order and self.order[{ range }] or { range })
end

--- The same loader, with a progress bar: label, bar, rate, time left; plain lines when standard error is no terminal.
---@param label string?
function Loader:progress(label)
  self.bar = progress(label)
  return self
end

--- (set [, {batch = 32, shuffle = false, drop_last = false, generator}]) -> loader
--- Walks a set in batches: `for inputs, labels in loader do`. loader:progress(label) shows a bar.
---@return gradlua.Loader
function M.loader(set, options)
  local o = check.options("data.loader", options,
    { batch = 32, shuffle = false, drop_last = false, generator = check.none })
  check.integer("data.loader", "batch", o.batch, 1)
  local n = extent("data.loader", set)
  local count = o.drop_last and n // o.batch or (n + o.batch - 1) // o.batch
  return setmetatable({ set = set, options = o, extent = n, count = count, at = 0 }, Loader)
end

M.progress = progress

return M

--- The variables of a solver: a number, a tensor or a nested table, flattened into one f64 vector and back.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local internal = require "gradlua.internal"
local tree = require "gradlua.tree"

local M = {}

--- What turns the vector of variables into the structure of x0 and back: {n, start, is_leaf, unpack, unpack_plain, pack};
--- is_leaf: x0 is a number or a tensor.
---@param name string the function to blame in errors
function M.layout(name, x0)
  if x0 == nil then check.fail(name, "x0 must be a number, a tensor or a nested table of them, not nil") end
  local leaves, paths = tree.flatten(name, x0)
  local at, parts, vectors = 0, {}, {}
  for i, leaf in ipairs(leaves) do
    local is_tensor = gl.is_tensor(leaf)
    if not is_tensor and type(leaf) ~= "number" then
      check.fail(name, "%s must be a number or a tensor, not %s", paths[i] == "" and "x0" or paths[i], type(leaf))
    end
    local count = is_tensor and leaf:numel() or 1
    parts[i] = { first = at + 1, last = at + count, tensor = is_tensor, shape = is_tensor and leaf:shape(),
      dtype = is_tensor and leaf:dtype() }
    vectors[i] = is_tensor and leaf:to("f64"):reshape(count) or gl.tensor { leaf }
    at = at + count
  end
  local start = #vectors == 1 and vectors[1] or at > 0 and gl.concat(vectors, 1) or gl.zeros(0)
  local self = { n = at, is_leaf = not tree.is_node(x0), start = start }

  local function part_of(vector, part)
    local piece = part.first == 1 and part.last == at and vector or vector[{ { part.first, part.last } }]
    piece = piece:reshape(part.shape or {})
    return part.dtype and part.dtype ~= "f64" and piece:to(part.dtype) or piece
  end

  --- The structure with its pieces of the vector: tensors, and 0-d ones for numbers, which stay numbers when a transform
  --- gives them back.
  function self.unpack(vector)
    local i = 0
    return tree.map(name, function()
      i = i + 1
      local piece = part_of(vector, parts[i])
      return not parts[i].tensor and internal.body.is_traced(piece) and internal.body.as_number(piece) or piece
    end, x0)
  end

  --- The same for a user: numbers are numbers.
  function self.unpack_plain(vector)
    local i = 0
    return tree.map(name, function()
      i = i + 1
      local piece = part_of(vector, parts[i])
      return parts[i].tensor and piece or piece:item()
    end, x0)
  end

  --- The vector of a structure like x0, whose numbers may stand for whole tensors (bounds).
  function self.pack(what, value)
    local i = 0
    local pieces = {}
    tree.map(name, function(_, leaf)
      i = i + 1
      local part = parts[i]
      local count = part.last - part.first + 1
      if type(leaf) == "number" then leaf = gl.full({ count }, leaf) end
      if not gl.is_tensor(leaf) or leaf:numel() ~= count then check.fail(name, "%s does not have the shape of x0", what) end
      pieces[i] = leaf:to("f64"):reshape(count)
    end, x0, value)
    return #pieces == 1 and pieces[1] or gl.concat(pieces, 1)
  end
  return self
end

--- A value (number, tensor or nested table) as one vector; a single 0-d result stays as it is.
local function flattened(name, value)
  if gl.is_tensor(value) or type(value) == "number" then return value end
  local pieces = {}
  tree.each(name, value, function(leaf)
    if not gl.is_tensor(leaf) and type(leaf) ~= "number" then
      check.fail(name, "the function must give numbers and tensors, not %s", type(leaf))
    end
    pieces[#pieces + 1] = gl.is_tensor(leaf) and leaf:reshape(-1) or gl.full({ 1 }, leaf)
  end)
  if #pieces == 0 then check.fail(name, "the function must give numbers and tensors, not an empty table") end
  return gl.concat(pieces, 1)
end

--- f of a nested table as a function from a vector of all its entries, and that vector.
---@param name string the function to blame in errors
---@return function, any
function M.as_vector(name, f, x)
  local space = M.layout(name, x)
  return function(vector) return flattened(name, f(space.unpack(vector))) end, space.start
end

--- Raises unless all leaves are tensors, which can change in place.
---@param name string the function to blame in errors
function M.check_tensors(name, params)
  tree.each(name, params, function(leaf, path)
    if not gl.is_tensor(leaf) then
      check.fail(name, "%s must be a tensor (a number cannot change in place), not %s", path == "" and "params" or path,
        type(leaf))
    end
  end)
end

--- What to put around derivatives of f: gl.jit where f is jitted itself, for then its trace may be kept; else nothing.
function M.staging(f)
  if type(f) ~= "userdata" then return function(g) return g end end
  return function(g)
    local jitted = gl.jit(g)
    return function(...) return jitted(...) end
  end
end

return M

--- Nested tables of tensors and numbers, such as a model's parameters, walked in a fixed order: positions first, then
--- names, each sorted.

local check = require "gradlua.check"

local M = {}

local max_depth = 100

local function before(a, b)
  local ta, tb = math.type(a) or type(a), math.type(b) or type(b)
  if ta ~= tb then return ta < tb end
  if type(a) == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

--- The keys of a table in the fixed order.
function M.keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, before)
  return keys
end

--- A table without a metatable is a node; everything else is a leaf.
function M.is_node(value)
  return type(value) == "table" and getmetatable(value) == nil
end

local function path_text(path, key)
  if type(key) == "number" then return ("%s[%s]"):format(path, key) end
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

local function walk(name, t, path, depth, visit)
  if depth > max_depth then check.fail(name, "tables are nested more than %d deep, or a table contains itself", max_depth) end
  if not M.is_node(t) then return visit(t, path) end
  for _, key in ipairs(M.keys(t)) do walk(name, t[key], path_text(path, key), depth + 1, visit) end
end

--- Calls visit(leaf, path) for each leaf; path is a text such as "layers[1].weight".
---@param name string the function to blame in errors
function M.each(name, t, visit)
  walk(name, t, "", 0, visit)
end

--- The leaves and their paths.
---@return any[] leaves, string[] paths
function M.flatten(name, t)
  local leaves, paths = {}, {}
  M.each(name, t, function(leaf, path)
    leaves[#leaves + 1], paths[#paths + 1] = leaf, path
  end)
  return leaves, paths
end

--- A table of the same structure with f(leaf, ...) for each leaf, where ... are the leaves of the further tables.
function M.map(name, f, t, ...)
  local others = { ... }
  local function go(node, rest, path, depth)
    if depth > max_depth then check.fail(name, "tables are nested more than %d deep, or a table contains itself", max_depth) end
    if not M.is_node(node) then return f(node, table.unpack(rest, 1, #others)) end
    local out = {}
    for _, key in ipairs(M.keys(node)) do
      local below = {}
      for i = 1, #others do
        local other = rest[i]
        if not M.is_node(other) or other[key] == nil then
          check.fail(name, "the tables differ: %s is missing in argument %d", path_text(path, key), i + 1)
        end
        below[i] = other[key]
      end
      out[key] = go(node[key], below, path_text(path, key), depth + 1)
    end
    return out
  end
  return go(t, others, "", 0)
end

return M

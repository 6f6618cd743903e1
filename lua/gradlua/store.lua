--- Saving and loading nested tables of tensors, numbers, texts and booleans as safetensors: data only, never code.
---
--- A tensor's name in the file is its path, keys joined by dots: params[1].weight is "1.weight". Where a text key could
--- be read as something else (digits, a dot), the character in question is written as %XX, and an empty one as "%".
--- What is no tensor is kept in the metadata under its path, with its type: "i:3", "f:0x1p-1", "b:true", "s:text", "x:text"
--- for bytes that are no text (those outside of ASCII as %XX), and "t:" for an empty table.

local core = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local M = {}

local marker = "gradlua" -- the metadata entry that says that paths are written as above

local reserved = { [marker] = true, __metadata__ = true }

local function hex(c) return ("%%%02X"):format(c:byte()) end

local function unhex(digits) return string.char(tonumber(digits, 16)) end

local function key_text(key)
  if math.type(key) == "integer" then return tostring(key) end
  if type(key) ~= "string" then check.fail("save", "keys must be texts or integers, not %s", tostring(key)) end
  if key == "" then return "%" end
  local text = key:gsub("[.%%%z]", hex)
  if key:match("^-?%d+$") or reserved[key] then text = text:gsub("^.", hex) end
  return text
end

local writers = {
  integer = function(v) return "i:" .. v end,
  float = function(v) return ("f:%a"):format(v) end,
  boolean = function(v) return "b:" .. tostring(v) end,
  string = function(v)
    if utf8.len(v) and not v:find("\0", 1, true) then return "s:" .. v end
    return "x:" .. v:gsub("[%%\0\128-\255]", hex)
  end,
}

local readers = {
  i = math.tointeger,
  f = function(text)
    if text:find("nan") then return 0 / 0 end
    return tonumber(text) or (text:sub(1, 1) == "-" and -math.huge or math.huge)
  end,
  b = function(text) return text == "true" end,
  s = function(text) return text end,
  x = function(text) return (text:gsub("%%(%x%x)", unhex)) end,
  t = function() return {} end,
}

local function collect(node, path, out, depth)
  if depth > 100 then check.fail("save", "tables are nested more than 100 deep, or a table contains itself") end
  if core.is_tensor(node) then
    out.names[#out.names + 1], out.tensors[#out.tensors + 1] = path, node
  elseif tree.is_node(node) then
    if next(node) == nil and path ~= "" then out.metadata[path] = "t:" end
    for _, key in ipairs(tree.keys(node)) do
      collect(node[key], (path == "" and "" or path .. ".") .. key_text(key), out, depth + 1)
    end
  else
    local write = writers[math.type(node) or type(node)]
    if not write then
      check.fail("save", "%s is a %s: only tensors, numbers, texts, booleans and tables can be saved", path, type(node))
    end
    out.metadata[path] = write(node)
  end
end

--- Writes a nested table of tensors and plain values. The file appears whole or not at all.
---@param path string
---@param t table
function M.save(path, t)
  check.kind("save", "path", path, "string")
  if not tree.is_node(t) then
    check.fail("save", "the second argument must be a table, not %s", core.is_tensor(t) and "a tensor" or type(t))
  end
  local out = { names = {}, tensors = {}, metadata = { [marker] = "1" } }
  collect(t, "", out, 0)
  internal.io.save(path, out.names, out.tensors, out.metadata)
end

--- Splits a path into keys. `ours`: it was written by `save`.
local function keys_of(path, ours)
  local keys = {}
  for part in (path .. "."):gmatch("([^.]*)%.") do
    local key = part:match("^-?%d+$") and math.tointeger(tonumber(part)) or part
    if ours and key == part then key = part == "%" and "" or part:gsub("%%(%x%x)", unhex) end
    keys[#keys + 1] = key
  end
  return keys
end

local function put(root, path, value, ours)
  local keys, node = keys_of(path, ours), root
  for i = 1, #keys - 1 do
    local below = node[keys[i]]
    if not tree.is_node(below) then
      if below ~= nil then check.fail("load", "'%s' is both a value and a table", path) end
      below = {}
      node[keys[i]] = below
    end
    node = below
  end
  local last = keys[#keys]
  if node[last] ~= nil then check.fail("load", "'%s' occurs twice", path) end
  node[last] = value
end

--- Reads what `save` wrote, or any other safetensors file (names are split at dots).
---@param path string
---@return table
function M.load(path)
  local tensors, metadata = internal.io.load(path)
  local root, ours = {}, metadata[marker] == "1"
  for _, name in ipairs(tree.keys(tensors)) do put(root, name, tensors[name], ours) end
  if not ours then return root end
  metadata[marker] = nil
  for _, name in ipairs(tree.keys(metadata)) do
    local kind, text = metadata[name]:match("^(%a):(.*)$")
    local read = readers[kind]
    if not read then check.fail("load", "%s: the metadata of '%s' is not ours", path, name) end
    put(root, name, read(text), true)
  end
  return root
end

return M

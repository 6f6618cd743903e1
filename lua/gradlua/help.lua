--- What the documentation says about a name: `gl.help "grad"`, `? grad` at the prompt, and docs/api.md come from here.
--- A function in C is described by its row in the binding, one in Lua by the comment above it, which may begin with a line
--- that tells how it is called, "(f [, {normalize = false}]) -> function"; otherwise its parameters and ---@return do.

local gl = require "gradlua.core"
local internal = require "gradlua.internal"
local check = require "gradlua.check"
local tree = require "gradlua.tree"
local described = require "gradlua.described"

local M = {}

---@class gradlua.About
---@field name string its path below gl
---@field signature string arguments and results
---@field doc string
---@field method boolean also x:NAME(..)

--- The comment lines that end right above a line of a module's source.
local function comment_above(module, line)
  local source = internal.about.source(module)
  if not source then return {} end
  local lines, i = {}, 0
  for text in source:gmatch("([^\n]*)\n") do
    i = i + 1
    if i >= line then break end
    local comment = text:match("^%s*%-%-%- ?(.*)$")
    if comment then lines[#lines + 1] = comment else lines = {} end
  end
  return lines
end

local function parameters_of(f)
  local names = {}
  local info = debug.getinfo(f, "u")
  for i = 1, info.nparams do names[i] = debug.getlocal(f, i) end
  if info.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

--- The comment that a module begins with, one line a paragraph.
---@param name string below gradlua
---@return string?
function M.about_module(name)
  local source = internal.about.source("gradlua." .. name)
  local lines = {}
  for text in (source or ""):gmatch("([^\n]*)\n") do
    local comment = text:match("^%-%-%- ?(.*)$")
    if not comment then break end
    lines[#lines + 1] = comment
  end
  return lines[1] and (table.concat(lines, "\n"):gsub("([^\n])\n([^\n])", "%1 %2"))
end

local function about_lua(name, f)
  local info = debug.getinfo(f, "S")
  local module = info.source:match("^=%[(gradlua[%w_.]*)%]$")
  local doc, result = {}, nil
  for _, line in ipairs(module and comment_above(module, info.linedefined) or {}) do
    result = result or line:match("^@return (.*)$")
    if not line:match("^@") then doc[#doc + 1] = line end
  end
  local signature = parameters_of(f) .. (result and " -> " .. result or "")
  if doc[1] and doc[1]:match("^%b()") then
    local arguments, results = table.remove(doc, 1):match("^(%b())(.*)$")
    signature = arguments:sub(2, -2) .. results
  end
  return { name = name, signature = signature, doc = table.concat(doc, " "), method = false }
end

--- What is known about a function called `name`.
---@return gradlua.About
function M.about(name, f)
  f = internal.arity.plain(f)
  local row, signature, doc, method = internal.about.row(f)
  if described[f] then
    signature, doc = described[f]()
    return { name = name, signature = signature, doc = doc, method = false }
  end
  if not row then return about_lua(name, f) end
  return { name = name, signature = signature, doc = doc, method = method }
end

--- "gl.sum(x [, axis]) -> tensor"
function M.call_text(about)
  local arguments, results = about.signature:match("^(.-)%s*%->%s*(.*)$")
  return ("gl.%s(%s)%s"):format(about.name, arguments or about.signature, results and " -> " .. results or "")
end

--- What a path such as `gl.nn` names below a table, without calling anything but an __index; nil when there is none.
function M.resolve(root, path)
  local value = root
  for name in path:gmatch("[%w_]+") do
    local ok, field = pcall(function() return value[name] end)
    if not ok or field == nil then return nil end
    value = field
  end
  return value
end

local function list_names(path, module)
  local names, intro = {}, M.about_module(path)
  for _, key in ipairs(tree.keys(module)) do names[#names + 1] = tostring(key) end
  return ("gl.%s: %s%s"):format(path, table.concat(names, " "), intro and "\n" .. intro or "")
end

--- The text for a name such as "grad" or "nn.linear".
---@param path string
---@return string text
function M.help(path)
  check.kind("help", "name", path, "string")
  local value = M.resolve(gl, path)
  if value == nil then
    local near = check.nearest(path, tree.keys(gl))
    return ("nothing is called gl.%s%s"):format(path, near and (": did you mean gl.%s?"):format(near) or "")
  end
  if type(value) == "table" and getmetatable(value) == nil then return list_names(path, value) end
  if type(value) ~= "function" then return tostring(value) end
  local about = M.about(path, value)
  local method = about.method and ("\nalso as a method: x:%s(...)"):format(path) or ""
  return ("%s\n%s%s"):format(M.call_text(about), about.doc, method)
end

return M

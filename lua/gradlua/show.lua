--- Values as text for a reader: nested tables of tensors, such as gradients and results of solvers, with their entries.

local tree = require "gradlua.tree"

local M = {}

local max_depth, max_entries, max_width = 8, 40, 100

local function quoted(text) return (("%q"):format(text):gsub("\\\n", "\\n")) end

--- What stands before the value of a key; nothing for the position that comes next.
local function key_text(key, position)
  if key == position then return "" end
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key .. " = " end
  return ("[%s] = "):format(type(key) == "string" and quoted(key) or tostring(key))
end

--- The text of a value that stands in a table: on one line where it fits.
local function text_of(value, depth)
  if type(value) == "string" then return quoted(value) end
  if not tree.is_node(value) then return tostring(value) end
  if depth == max_depth then return "{...}" end
  local entries, width, flat = {}, 0, true
  for i, key in ipairs(tree.keys(value)) do
    if i > max_entries then
      entries[i] = "..."
      break
    end
    local text = text_of(value[key], depth + 1)
    local rows = text:find("\n") and text:sub(1, 1) == "[" -- a matrix stands below its key
    entries[i] = rows and key_text(key, i):gsub(" $", "") .. "\n" .. text or key_text(key, i) .. text
    width = width + #entries[i] + 2
    flat = flat and not text:find("\n")
  end
  if flat and width <= max_width then return "{" .. table.concat(entries, ", ") .. "}" end
  local body = table.concat(entries, ",\n"):gsub("\n", "\n  ")
  return "{\n  " .. body .. "\n}"
end

--- Prints values as `print` does, and tables with their entries, in a fixed order.
function M.show(...)
  local texts = table.pack(...)
  for i = 1, texts.n do
    local value = texts[i]
    texts[i] = tree.is_node(value) and text_of(value, 0) or tostring(value)
  end
  print(table.concat(texts, "\t"))
end

return M

-- The prompt: reads, runs and prints. Opened by the gradlua command, which brings the line editor.

local M = {}

--- Where the history is kept: the user's state folder (XDG), made when it is not there.
local function history_path()
  local home = os.getenv("HOME")
  local state = os.getenv("XDG_STATE_HOME") or (home and home .. "/.local/state")
  return state and state .. "/gradlua_history", state
end

--- Compiles a line: as an expression if it is one, else as statements.
---@return function? chunk, string? message, boolean? is_expression, boolean? is_incomplete
local function compile(source)
  local expression, expected = load("return " .. source, "=prompt", "t")
  if expression then return expression, nil, true, false end
  local chunk, message = load(source, "=prompt", "t")
  local ends_early = (message or ""):sub(-5) == "<eof>" or expected:sub(-5) == "<eof>"
  return chunk, message, false, not chunk and ends_early
end

--- Reads lines until they make a chunk. Returns nil at the end of the input, an empty source after Ctrl-C.
local function read_chunk(edit)
  local source = edit.read("> ")
  if not source then return source == false and "" or nil end
  if source:match("^%s*%?") or source:match("^%s*$") then return source end
  while true do
    local chunk, message, is_expression, is_incomplete = compile((source:gsub("^=", "")))
    if not is_incomplete then return source, chunk, message, is_expression end
    local more = edit.read(">> ")
    if more == false then return "" end
    if not more then return source, nil, message end
    source = source .. "\n" .. more
  end
end

--- Calls f protected. A failure is printed, with the traceback down to the line that was typed.
local function call(edit, f)
  local results = table.pack(edit.call(f))
  if results[1] then return results end
  io.stdout:flush()
  io.stderr:write((tostring(results[2]):gsub("\n%s*%[C%]: in field 'call'.*", "")), "\n")
  return nil
end

local function run(edit, chunk, silent)
  local results = call(edit, chunk)
  if not results or silent or results.n == 1 then return end
  call(edit, function() require("gradlua.show").show(table.unpack(results, 2, results.n)) end)
end

--- `? name`: what the documentation says about it.
local function help(name)
  local gl = require "gradlua"
  name = name:gsub("^gl%.", ""):gsub("^.*:", ""):gsub("%s+$", "")
  if name == "" then
    print("? name tells what gl.name does, as in `? grad`. Tab completes names; `;` at the end of a line keeps its value quiet.")
    return
  end
  print(gl.help(name))
end

local function sorted_keys(found)
  local names = {}
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Collects the string keys of what `value` can be indexed with.
local function collect_keys(value, found)
  local gl = package.loaded["gradlua"]
  if type(value) == "table" then
    for key in next, value do
      if type(key) == "string" then found[key] = true end
    end
  end
  if gl and value == gl then
    for _, names in ipairs(getmetatable(gl).lazy) do
      for name in pairs(names) do found[name] = true end
    end
  end
  if gl and gl.is_tensor(value) then return collect_keys(gl, found) end
  local meta = type(value) == "string" and { __index = string } or getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) == "table" then collect_keys(index, found) end
end

--- The words that can stand where `word` begins.
---@param _ string the line up to the cursor
---@param word string
---@return string[]
function M.complete(_, word)
  local path, separator, start = word:match("^(.-)([.:]?)([%a_]?[%w_]*)$")
  if not path then return {} end
  local value = _G
  if separator ~= "" then value = require("gradlua.help").resolve(_G, path) end
  if value == nil then return {} end
  local found = {}
  collect_keys(value, found)
  local words = {}
  for _, name in ipairs(sorted_keys(found)) do
    if name:sub(1, #start) == start and name:match("^[%a_][%w_]*$") and (start ~= "" or name:sub(1, 1) ~= "_") then
      words[#words + 1] = path .. separator .. name
    end
  end
  return words
end

--- Adds an entry to the history, and saves it: the line may end the process.
local function remember(edit, source, path, folder)
  edit.add(source)
  if not path or edit.save(path) then return end
  os.execute(("mkdir -p '%s'"):format(folder:gsub("'", "'\\''")))
  edit.save(path)
end

--- Runs the prompt until the input ends.
---@param edit table the line editor: read, add, load, save, call, complete_with; terminal: is a person typing?
local function prompt(edit)
  local path, folder
  if edit.terminal then path, folder = history_path() end
  edit.complete_with(M.complete)
  if path then edit.load(path) end
  while true do
    local source, chunk, message, is_expression = read_chunk(edit)
    if not source then break end
    if source:match("%S") then remember(edit, source, path, folder) end
    local topic = source:match("^%s*%?%s*(.*)$")
    if topic then
      call(edit, function() help(topic) end)
    elseif chunk then
      run(edit, chunk, not is_expression or source:match(";%s*$"))
    elseif message then
      io.stderr:write(message, "\n")
    end
  end
  print()
end

return setmetatable(M, { __call = function(_, edit) return prompt(edit) end })

--- Checking what callers of the Lua modules give, with errors at their own line.

local internal = require "gradlua.internal"

local M = {}

--- Raises "file:line: NAME: message" at the user's line.
---@param name string the function's
---@param message string a format, with its values after it
function M.fail(name, message, ...)
  internal.fail(("%s: %s"):format(name, message:format(...)))
end

--- The one of `names` (a set or a list) nearest to `name`; nil when none is near.
---@return string?
function M.nearest(name, names)
  local best, best_distance = nil, math.max(2, #name // 2)
  for key, value in pairs(names) do
    local candidate = type(key) == "string" and key or value
    local d = internal.distance(name, candidate)
    if d < best_distance or (d == best_distance and not (best and best < candidate)) then
      best, best_distance = candidate, d
    end
  end
  return best
end

--- What to say to a name that is not among the keys of `known`: the nearest of them, or all.
local function remedy(name, known)
  local near = type(name) == "string" and M.nearest(name, known)
  if near then return (': did you mean "%s"?'):format(near) end
  local names = {}
  for key in pairs(known) do names[#names + 1] = key end
  table.sort(names)
  return ": there are " .. (#names > 0 and table.concat(names, ", ") or "none here")
end

--- Raises unless `given` is a table whose names are all known (the keys of `known`), with the nearest known name.
---@param name string the function's
---@param given any
---@param known table
function M.names(name, given, known)
  if type(given) ~= "table" then M.fail(name, "options must be a table, not %s", type(given)) end
  for key in pairs(given) do
    if known[key] == nil then M.fail(name, 'unknown option "%s"%s', tostring(key), remedy(key, known)) end
  end
end

--- Fills options with their defaults. An unknown name raises, with the nearest known one.
---@param name string the function's
---@param given table? what the caller passed
---@param defaults table the known options; `M.none` marks one without a default
---@return table
function M.options(name, given, defaults)
  if given ~= nil then M.names(name, given, defaults) end
  local out = {}
  for key, value in pairs(defaults) do
    if value ~= M.none then out[key] = value end
  end
  for key, value in pairs(given or {}) do out[key] = value end
  return out
end

--- How many arguments f can take; nil when that cannot be known.
local function arity(f)
  if type(f) ~= "function" or not debug or not debug.getinfo then return nil end
  local info = debug.getinfo(f, "uS")
  return info.what ~= "C" and not info.isvararg and info.nparams or nil
end

--- Is the table close to options: does a name with a plain value resemble a known one?
local function resembles(given, known)
  for key, value in pairs(given) do
    if type(value) == "number" or type(value) == "string" then
      for name in pairs(known) do
        if #key > 2 and internal.distance(key, name) <= 1 then return true end
      end
    end
  end
  return false
end

--- Splits a trailing table of options off the arguments for f, which is called with `own` values before them. A plain table
--- of names is options when f cannot take it, when all its names are known, or when some are or nearly are and f's arguments
--- cannot be counted; a wrong name in it then raises.
---@param name string the function's
---@param own integer
---@param known table the options, by name
---@return table args with their number in n
---@return table? options
function M.split_options(name, f, own, known, ...)
  local args = table.pack(...)
  local last, all, some = args[args.n], true, false
  if type(last) ~= "table" or getmetatable(last) ~= nil or next(last) == nil then return args end
  for key in pairs(last) do
    if type(key) ~= "string" then return args end
    all, some = all and known[key] ~= nil, some or known[key] ~= nil
  end
  local takes = arity(f)
  local misplaced = takes and takes < own + args.n or not takes and some or resembles(last, known)
  if not (all or misplaced) then return args end
  M.names(name, last, known)
  args.n = args.n - 1
  return args, last
end

--- Marks, in a table of defaults, an option that has none.
M.none = setmetatable({}, { __name = "none" })

--- What kind of thing a value is, for messages: its Lua type, or of an object the name of its class.
local function kind_of(value)
  local meta = type(value) ~= "string" and getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name") or meta
  return type(name) == "string" and name:match("[^.]+$") or type(value)
end

--- Raises unless `value` is of the Lua type or class (or one of them, `"number or nil"`).
function M.kind(name, what, value, kinds)
  for kind in kinds:gmatch("[%a.]+") do
    if type(value) == kind or kind_of(value) == kind then return value end
  end
  M.fail(name, "%s must be a %s, not %s", what, kinds, kind_of(value))
end

--- Can it be called: a function, a jitted one, a table with __call?
function M.is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

--- Raises unless `value` can be called.
function M.callable(name, what, value)
  if M.is_callable(value) then return value end
  M.fail(name, "%s must be a function, not %s", what, kind_of(value))
end

--- Raises unless `value` is an integer of at least `least`.
function M.integer(name, what, value, least)
  local n = type(value) == "number" and math.tointeger(value)
  if not n or n < least then
    M.fail(name, "%s must be an integer of at least %d, not %s", what, least, tostring(value))
  end
  return n
end

return M

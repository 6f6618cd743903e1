--- A log of numbers as CSV, one row for each call of `add`, on disk at once and readable back as columns. In a host that
--- gives scripts no `io` the rows go through the files that it does give them.

local internal = require "gradlua.internal"
local core = require "gradlua.core"
local check = require "gradlua.check"
local tree = require "gradlua.tree"

local Logger = {}
Logger.__index = Logger

local function plain(name, value)
  if core.is_tensor(value) and value:numel() == 1 then value = value:item() end
  return check.kind("logger:add", name, value, "number or string or boolean or nil")
end

local function cell(value)
  if value == nil then return "" end
  if math.type(value) == "integer" then return tostring(value) end
  if type(value) == "number" then return ("%.10g"):format(value) end
  local text = tostring(value)
  return text:find('[",\n]') and '"' .. text:gsub('"', '""') .. '"' or text
end

local function write_row(self, cells)
  self.file:write(table.concat(cells, ",") .. "\n")
  if io then self.file:flush() end
end

--- Adds a row of named numbers or texts (0-d tensors are taken as numbers). The first row fixes the columns.
---@param row table<string, any>
function Logger:add(row)
  check.kind("logger:add", "row", row, "table")
  if not self.file then check.fail("logger:add", "the log is closed") end
  if not self.names then
    for name in pairs(row) do check.kind("logger:add", "a column's name", name, "string") end
    self.names = tree.keys(row)
    for _, name in ipairs(self.names) do self.columns[name] = {} end
    write_row(self, self.names)
  end
  self.rows = self.rows + 1
  local cells = {}
  for i, name in ipairs(self.names) do
    local value = plain(name, row[name])
    self.columns[name][self.rows], cells[i] = value, cell(value)
  end
  for name in pairs(row) do
    if not self.columns[name] then
      local near = check.nearest(tostring(name), self.columns)
      check.fail("logger:add", "no column '%s' (the first row fixes the columns)%s", tostring(name),
        near and (", did you mean '%s'?"):format(near) or "")
    end
  end
  write_row(self, cells)
end

--- The values of one column so far.
---@return any[]
function Logger:column(name)
  local column = self.columns[name]
  if not column then check.fail("logger:column", "no column '%s'", tostring(name)) end
  return table.move(column, 1, self.rows, 1, {})
end

function Logger:close()
  if self.file then self.file:close() end
  self.file = nil
end

Logger.__close = Logger.close
if io then Logger.__gc = Logger.close end -- without it the file closes itself

--- Opens a log; an old file of that name is replaced.
---@param path string
local function logger(path)
  check.kind("logger", "path", path, "string")
  local file, message
  if io then file, message = io.open(path, "w") else file = internal.io.create(path) end
  if not file then check.fail("logger", "%s", message) end
  return setmetatable({ file = file, rows = 0, columns = {} }, Logger)
end

return logger

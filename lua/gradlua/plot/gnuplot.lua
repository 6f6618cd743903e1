--- Figures by gnuplot, into a file whose ending says the format.

local check = require "gradlua.check"

local M = {}

local terminals = {
  png = "pngcairo size %d,%d", svg = "svg size %d,%d background rgb 'white'", pdf = "pdfcairo size %d*0.01in,%d*0.01in",
}

local function quoted(text) return "'" .. tostring(text):gsub("'", "''") .. "'" end

local function number(v)
  return (v ~= v or math.abs(v) == math.huge) and "NaN" or ("%.17g"):format(v)
end

--- Lines of a data block: columns of numbers, a row each.
local function block(name, columns)
  local lines = { ("$%s << EOD"):format(name) }
  for i = 1, #columns[1] do
    local row = {}
    for k, column in ipairs(columns) do row[k] = number(column[i]) end
    lines[#lines + 1] = table.concat(row, " ")
  end
  lines[#lines + 1] = "EOD"
  return table.concat(lines, "\n")
end

local function grid_block(name, layer)
  local lines = { ("$%s << EOD"):format(name) }
  for i, y in ipairs(layer.y) do
    for j, x in ipairs(layer.x) do
      lines[#lines + 1] = ("%s %s %s"):format(number(x), number(y), number(layer.z[i][j]))
    end
    lines[#lines + 1] = ""
  end
  lines[#lines + 1] = "EOD"
  return table.concat(lines, "\n")
end

--- Levels that divide the grid's values into equal shares, so that valleys are drawn as finely as slopes.
local function levels_of(layer)
  local sorted, levels = {}, {}
  for _, row in ipairs(layer.z) do
    for _, v in ipairs(row) do
      if v == v and math.abs(v) < math.huge then sorted[#sorted + 1] = v end
    end
  end
  table.sort(sorted)
  for k = 1, layer.levels do levels[k] = number(sorted[math.max(1, math.floor(#sorted * k / (layer.levels + 1)))] or 0) end
  return table.concat(levels, ",")
end

--- Arrows of one length: the spacing of the points.
local function arrow_columns(layer)
  local low, high = math.huge, -math.huge
  for _, x in ipairs(layer.x) do low, high = math.min(low, x), math.max(high, x) end
  local length = (high - low) / math.max(1, math.sqrt(#layer.x)) * 0.8
  local u, v = {}, {}
  for i = 1, #layer.x do
    local size = math.sqrt(layer.u[i] ^ 2 + layer.v[i] ^ 2)
    local scale = size > 0 and length / size or 0
    u[i], v[i] = layer.u[i] * scale, layer.v[i] * scale
  end
  return { layer.x, layer.y, u, v }
end

--- The commands before the plot, and what follows `plot` for a layer.
local function layer_commands(i, layer)
  local name = "data" .. i
  if layer.kind == "grid" then
    local levels = ("set contour base\nset cntrparam levels discrete %s\nunset surface\nset view map\nset table $levels%d\n"
      .. "splot $%s using 1:2:3\nunset table\nunset contour\nset surface"):format(levels_of(layer), i, name)
    if layer.surface then return grid_block(name, layer), ("$%s using 1:2:3 with pm3d notitle"):format(name) end
    return grid_block(name, layer) .. "\n" .. levels, ("$levels%d using 1:2:3 with lines palette notitle"):format(i)
  end
  if layer.kind == "arrows" then
    return block(name, arrow_columns(layer)), ("$%s using 1:2:3:4 with vectors notitle"):format(name)
  end
  local with = { line = layer.mark and "linespoints pointtype 7" or "lines linewidth 2", points = "points pointtype 7",
    boxes = "boxes fill solid 0.5" }
  return block(name, { layer.x, layer.y }), ("$%s using 1:2 with %s notitle"):format(name, with[layer.kind])
end

local function script(figure)
  local o = figure.options
  local ending = o.file:match("%.(%w+)$")
  if not terminals[ending] then check.fail("plot", "the file must end in .png, .svg or .pdf: %s", o.file) end
  local lines = { "set terminal " .. terminals[ending]:format(o.width or 800, o.height or 600), "set output " .. quoted(o.file) }
  local function add(...) lines[#lines + 1] = (...):format(select(2, ...)) end
  for _, name in ipairs { "title", "xlabel", "ylabel" } do
    if o[name] then add("set %s %s", name, quoted(o[name])) end
  end
  local ranges, plots, surface = "", {}, false
  for i, layer in ipairs(figure) do
    local before, plot = layer_commands(i, layer)
    lines[#lines + 1], plots[i] = before, plot
    surface = surface or layer.surface
  end
  for axis, limits in pairs { x = o.xlim, y = o.ylim } do
    ranges = ranges .. ("set %srange [%.17g:%.17g]\n"):format(axis, limits[1], limits[2])
  end
  lines[#lines + 1] = ranges .. (surface and "unset view\nset view 55,30\nsplot " or "plot ") .. table.concat(plots, ", ")
  lines[#lines + 1] = "set output"
  return table.concat(lines, "\n") .. "\n"
end

--- Draws the figure into its file; gives the path.
---@return string
function M.draw(figure)
  if not (io and io.popen and os) then
    check.fail("plot", "a picture in a file needs gnuplot, which scripts of this host cannot run; without {file = ..} the "
      .. "plot is text")
  end
  local path, text = figure.options.file, script(figure)
  local writable, message = io.open(path, "w")
  if not writable then check.fail("plot", "cannot write %s", message) end
  writable:close()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  local pipe = io.popen(("gnuplot %s 2>&1"):format(name))
  local output = pipe:read("a")
  local ok = pipe:close()
  os.remove(name)
  if not ok then
    os.remove(path)
    local missing = output:find("not found", 1, true)
    check.fail("plot", missing and "gnuplot is not installed (Debian: gnuplot-nox); without {file = ..} the plot is text"
      or "gnuplot could not draw %s: %s", path, output)
  end
  return path
end

return M

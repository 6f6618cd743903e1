--- Pictures. With {file = "x.png" / ".svg" / ".pdf"} they are drawn by gnuplot; without, as text on the standard output.
--- Numbers may be lists or tensors. Common options: title, xlabel, ylabel, xlim, ylim ({from, to}), width, height.

local gl = require "gradlua.core"
local check = require "gradlua.check"
local canvas = require "gradlua.plot.canvas"
local gnuplot = require "gradlua.plot.gnuplot"

local M = {}

local common = { file = check.none, title = check.none, xlabel = check.none, ylabel = check.none, xlim = check.none,
  ylim = check.none, width = check.none, height = check.none }

--- A list of numbers from a list or a tensor.
local function numbers(name, what, values)
  if gl.is_tensor(values) then values = values:reshape(-1):to("f64"):totable() end
  if type(values) ~= "table" then
    check.fail("plot." .. name, "%s must be a tensor or a list of numbers, not %s", what, type(values))
  end
  local out = {}
  for i, v in ipairs(values) do
    out[i] = gl.is_tensor(v) and v:numel() == 1 and v:item() or v
    check.kind("plot." .. name, ("entry %d of %s"):format(i, what), out[i], "number")
  end
  return out
end

--- A point or a range: two numbers.
local function pair(name, what, value)
  local out = numbers(name, what, value)
  if #out ~= 2 then check.fail("plot." .. name, "%s must be two numbers, not %d", what, #out) end
  return out
end

local function settings(name, options, known)
  local defaults = {}
  for key, value in pairs(common) do defaults[key] = value end
  for key, value in pairs(known or {}) do defaults[key] = value end
  local o = check.options("plot." .. name, options, defaults)
  for _, key in ipairs { "file", "title", "xlabel", "ylabel" } do check.kind("plot." .. name, key, o[key], "string or nil") end
  for _, key in ipairs { "width", "height", "n", "levels", "bins" } do
    if o[key] then check.integer("plot." .. name, key, o[key], key == "n" and 2 or 1) end
  end
  for _, key in ipairs { "xlim", "ylim" } do
    o[key] = o[key] and pair(name, key, o[key])
    if o[key] and o[key][1] == o[key][2] then check.fail("plot." .. name, "%s is a range without extent", key) end
  end
  return o
end

local function is_options(value)
  return type(value) == "table" and next(value) ~= nil and #value == 0
end

--- Draws a figure: a list of layers {kind, x, y, ...}.
local function show(figure, options)
  figure.options = options
  if options.file then return gnuplot.draw(figure) end
  local text = canvas.draw(figure)
  print(text)
  return text
end

--- Arguments (y), (x, y) or either with options after them.
local function curves(name, x, y, options)
  if y == nil or is_options(y) then
    options, y, x = y, numbers(name, "y", x), nil
  else
    y = numbers(name, "y", y)
    x = numbers(name, "x", x)
    if #x ~= #y then check.fail("plot." .. name, "x has %d numbers, y has %d", #x, #y) end
  end
  if not x then
    x = {}
    for i = 1, #y do x[i] = i end
  end
  if #y == 0 then check.fail("plot." .. name, "there is nothing to draw") end
  return x, y, options
end

--- ([x,] y [, options])
--- Points joined by lines: line(y) or line(x, y).
function M.line(x, y, options)
  x, y, options = curves("line", x, y, options)
  return show({ { kind = "line", x = x, y = y } }, settings("line", options))
end

--- ([x,] y [, options])
--- Points: scatter(y) or scatter(x, y).
function M.scatter(x, y, options)
  x, y, options = curves("scatter", x, y, options)
  return show({ { kind = "points", x = x, y = y } }, settings("scatter", options))
end

--- (values [, {bins = 20, ..}])
--- How often values fall into equal intervals.
function M.hist(values, options)
  local o = settings("hist", options, { bins = 20 })
  values = numbers("hist", "values", values)
  if #values == 0 then check.fail("plot.hist", "there is nothing to draw") end
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do low, high = math.min(low, v), math.max(high, v) end
  local width = (high > low and high - low or 1) / o.bins
  local x, y = {}, {}
  for i = 1, o.bins do x[i], y[i] = low + (i - 0.5) * width, 0 end
  for _, v in ipairs(values) do
    local bin = math.min(o.bins, math.floor((v - low) / width) + 1)
    if v == v then y[bin] = y[bin] + 1 end
  end
  return show({ { kind = "boxes", x = x, y = y, width = width } }, o)
end

--- Values of f(point of two coordinates) on a grid: rows of y, columns of x.
local function grid(name, f, o)
  local n = o.n
  check.callable("plot." .. name, "f", f)
  local xs = gl.linspace(o.xlim[1], o.xlim[2], n):totable()
  local ys = gl.linspace(o.ylim[1], o.ylim[2], n):totable()
  local z = {}
  for i = 1, n do
    z[i] = {}
    for j = 1, n do
      local value = f(gl.tensor { xs[j], ys[i] })
      if gl.is_tensor(value) and value:numel() == 1 then value = value:item() end
      z[i][j] = check.kind("plot." .. name, "what f returns", value, "number")
    end
  end
  return { kind = "grid", x = xs, y = ys, z = z, levels = o.levels }
end

local plane = { n = 40, levels = 12, xlim = { -2, 2 }, ylim = { -2, 2 } }

--- (f [, {xlim = {-2, 2}, ylim = {-2, 2}, n = 40, levels = 12, ..}])
--- Level lines of f, a function of a vector of two, from its values on a grid of n x n points.
function M.contour(f, options)
  local o = settings("contour", options, plane)
  return show({ grid("contour", f, o) }, o)
end

--- (f [, {xlim = {-2, 2}, ylim = {-2, 2}, n = 40, ..}])
--- f as a surface over the plane (as text: its heights by shades).
function M.surface(f, options)
  local o = settings("surface", options, { n = 40, xlim = { -2, 2 }, ylim = { -2, 2 } })
  local layer = grid("surface", f, o)
  layer.surface = true
  return show({ layer }, o)
end

--- (x, y, u, v [, options])
--- Arrows (u, v) at the points (x, y).
function M.quiver(x, y, u, v, options)
  local o = settings("quiver", options)
  local layer = { kind = "arrows", x = numbers("quiver", "x", x), y = numbers("quiver", "y", y),
    u = numbers("quiver", "u", u), v = numbers("quiver", "v", v) }
  if #layer.x ~= #layer.y or #layer.x ~= #layer.u or #layer.x ~= #layer.v then
    check.fail("plot.quiver", "x, y, u and v must be of one length")
  end
  return show({ layer }, o)
end

--- (f [, {xlim = {-2, 2}, ylim = {-2, 2}, n = 15, ..}])
--- The gradient of f at the n x n points of a grid, as arrows of one length.
function M.gradient_field(f, options)
  local o = settings("gradient_field", options, { n = 15, xlim = { -2, 2 }, ylim = { -2, 2 } })
  local gradient = gl.grad(check.callable("plot.gradient_field", "f", f))
  local layer = { kind = "arrows", x = {}, y = {}, u = {}, v = {} }
  for _, y in ipairs(gl.linspace(o.ylim[1], o.ylim[2], o.n):totable()) do
    for _, x in ipairs(gl.linspace(o.xlim[1], o.xlim[2], o.n):totable()) do
      local g = gradient(gl.tensor { x, y }):totable()
      local i = #layer.x + 1
      layer.x[i], layer.y[i], layer.u[i], layer.v[i] = x, y, g[1], g[2]
    end
  end
  return show({ layer }, o)
end

--- (f, path [, {xlim = {-2, 2}, ylim = {-2, 2}, n = 40, levels = 12, ..}])
--- Level lines of f and the way of a descent over them: a list of points, or an n x 2 tensor.
function M.descent(f, path, options)
  local o = settings("descent", options, plane)
  local x, y = {}, {}
  local points = gl.is_tensor(path) and path:ndim() == 2 and path:totable() or path
  for i, point in ipairs(check.kind("plot.descent", "the path", points, "table")) do
    x[i], y[i] = table.unpack(pair("descent", "point " .. i, point))
  end
  return show({ grid("descent", f, o), { kind = "line", x = x, y = y, mark = true } }, o)
end

--- (matrix [, options])
--- Where a matrix, or a sparse one with fields row, col and shape, is not 0.
function M.spy(matrix, options)
  local o = settings("spy", options)
  local rows, columns, extents
  if gl.is_tensor(matrix) then
    if matrix:ndim() ~= 2 then check.fail("plot.spy", "a matrix has two axes, not %d", matrix:ndim()) end
    extents, rows, columns = matrix:shape(), {}, {}
    for i, row in ipairs(matrix:totable()) do
      for j, value in ipairs(row) do
        if value ~= 0 and value then rows[#rows + 1], columns[#columns + 1] = i, j end
      end
    end
  else
    check.kind("plot.spy", "the matrix", matrix, "table or userdata")
    extents = pair("spy", "the matrix's shape", matrix.shape)
    rows, columns = numbers("spy", "row", matrix.row), numbers("spy", "col", matrix.col)
  end
  o.xlim, o.ylim = o.xlim or { 0.5, extents[2] + 0.5 }, o.ylim or { extents[1] + 0.5, 0.5 }
  return show({ { kind = "points", x = columns, y = rows } }, o)
end

return M

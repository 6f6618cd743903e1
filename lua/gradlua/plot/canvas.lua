--- Figures as text: a grid of characters with the ranges at its edges.

local M = {}

local shades = { " ", ".", ":", "-", "=", "+", "*", "#", "%", "@" }
local arrows = { "→", "↗", "↑", "↖", "←", "↙", "↓", "↘" }

--- The range of the finite numbers in the lists; wide enough to divide by.
local function range(figure, axis, fixed)
  if fixed then return fixed[1], fixed[2] end
  local low, high = math.huge, -math.huge
  for _, layer in ipairs(figure) do
    for _, v in ipairs(layer[axis]) do
      if v == v and math.abs(v) < math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
    if layer.kind == "boxes" and axis == "y" then low = 0 end
  end
  if low > high then return 0, 1 end
  if low == high then return low - 0.5, high + 0.5 end
  return low, high
end

--- A function that puts a character at a point of the figure's coordinates.
local function plotter(cells, view)
  local function column(x) return 1 + math.floor((x - view.x0) / (view.x1 - view.x0) * (view.width - 1) + 0.5) end
  local function row(y) return view.height - math.floor((y - view.y0) / (view.y1 - view.y0) * (view.height - 1) + 0.5) end
  local function finite(v) return v == v and math.abs(v) < math.huge end
  local function put(x, y, character)
    if not (finite(x) and finite(y)) then return end
    local i, j = row(y), column(x)
    if i >= 1 and i <= view.height and j >= 1 and j <= view.width then cells[i][j] = character end
  end
  return put, column
end

local draw = {}

function draw.points(layer, put)
  for i, x in ipairs(layer.x) do put(x, layer.y[i], "o") end
end

function draw.line(layer, put, view)
  for i = 2, #layer.x do
    local x0, y0, x1, y1 = layer.x[i - 1], layer.y[i - 1], layer.x[i], layer.y[i]
    local steps = math.max(math.abs(x1 - x0) / (view.x1 - view.x0) * view.width,
      math.abs(y1 - y0) / (view.y1 - view.y0) * view.height)
    steps = steps < 1e4 and math.ceil(steps) or 1
    for s = 0, steps do put(x0 + (x1 - x0) * s / math.max(steps, 1), y0 + (y1 - y0) * s / math.max(steps, 1), "*") end
  end
  if #layer.x == 1 or layer.mark then draw.points(layer, put) end
end

function draw.boxes(layer, put, view, column)
  for i, x in ipairs(layer.x) do
    local from, to = column(x - layer.width / 2), column(x + layer.width / 2)
    for j = from, math.max(from, to - 1) do
      local at = view.x0 + (j - 1) / (view.width - 1) * (view.x1 - view.x0)
      for step = 0, view.height do
        local y = view.y0 + step / view.height * (view.y1 - view.y0)
        if layer.y[i] > 0 and y <= layer.y[i] then put(at, y, "#") end
      end
    end
  end
end

function draw.arrows(layer, put)
  for i, x in ipairs(layer.x) do
    local u, v = layer.u[i], layer.v[i]
    local direction = math.floor(math.atan(v, u) / (math.pi / 4) + 0.5) % 8 + 1
    put(x, layer.y[i], (u == 0 and v == 0) and "." or arrows[direction])
  end
end

--- Shades by rank of the level, so that one high corner does not flatten all else.
function draw.grid(layer, put)
  local sorted = {}
  for _, row in ipairs(layer.z) do
    for _, v in ipairs(row) do
      if v == v then sorted[#sorted + 1] = v end
    end
  end
  table.sort(sorted)
  for i, y in ipairs(layer.y) do
    for j, x in ipairs(layer.x) do
      local v, shade = layer.z[i][j], 1
      for k = 2, #shades do
        if v >= sorted[math.max(1, #sorted * (k - 1) // #shades)] then shade = k end
      end
      put(x, y, v == v and shades[shade] or "?")
    end
  end
end

local function frame(cells, view, options)
  local lines = {}
  if options.title then lines[1] = options.title end
  for i, row in ipairs(cells) do
    local label = i == 1 and ("%.4g"):format(view.y1) or i == view.height and ("%.4g"):format(view.y0) or ""
    lines[#lines + 1] = ("%10s |%s"):format(label, table.concat(row))
  end
  lines[#lines + 1] = (" "):rep(11) .. "+" .. ("-"):rep(view.width)
  local left, right = ("%.4g"):format(view.x0), ("%.4g"):format(view.x1)
  lines[#lines + 1] = (" "):rep(12) .. left .. (" "):rep(math.max(1, view.width - #left - #right)) .. right
  if options.xlabel then lines[#lines + 1] = (" "):rep(12) .. options.xlabel end
  return table.concat(lines, "\n")
end

--- The figure as text.
---@return string
function M.draw(figure)
  local options, has_grid = figure.options, figure[1].kind == "grid"
  local view = { width = options.width or (has_grid and #figure[1].x * 2 or 64), height = options.height or
    (has_grid and #figure[1].y // 1 or 18) }
  if has_grid then view.width, view.height = #figure[1].x, math.max(2, #figure[1].y // 2) end
  if figure[1].kind == "arrows" and not options.width then
    view.height = math.floor(math.sqrt(#figure[1].x) + 0.5)
    view.width = 2 * view.height
  end
  view.width, view.height = math.max(view.width, 2), math.max(view.height, 2)
  view.x0, view.x1 = range(figure, "x", options.xlim)
  view.y0, view.y1 = range(figure, "y", options.ylim)
  local cells = {}
  for i = 1, view.height do
    cells[i] = {}
    for j = 1, view.width do cells[i][j] = " " end
  end
  local put, column = plotter(cells, view)
  for _, layer in ipairs(figure) do draw[layer.kind](layer, put, view, column) end
  return frame(cells, view, options)
end

return M

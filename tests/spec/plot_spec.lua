-- gl.plot: pictures as text, and into files by gnuplot.

local gl = require "gradlua"
local raises = require("tests.spec.support").raises
local plot = gl.plot

--- The lines that a plot of 21 x 7 characters prints, without its frame: the first is the top row.
local function rows_of(name, ...)
  local arguments, real, text = table.pack(...), print, nil
  arguments[arguments.n].width, arguments[arguments.n].height = 21, 7
  _G.print = function(...) text = (text and text .. "\n" or "") .. table.concat({ ... }, "\t") end
  local ok, message = pcall(plot[name], table.unpack(arguments, 1, arguments.n))
  _G.print = real
  assert(ok, message)
  local rows = {}
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do rows[#rows + 1] = line:match("|(.*)$") end
  return rows, text
end

describe("a plot as text", function()
  it("of a line rises with it, between its ends", function()
    local rows, text = rows_of("line", { 0, 1, 2 }, { 0, 1, 2 }, { title = "rising" })
    assert.are.equal(7, #rows)
    assert.are.equal("*", rows[1]:sub(-1))
    assert.are.equal("*", rows[7]:sub(1, 1))
    assert.are.equal(" ", rows[1]:sub(1, 1))
    local before = math.huge
    for _, row in ipairs(rows) do -- from the top downwards the marks move to the left
      local at = row:find("*", 1, true)
      assert.is_true(at ~= nil and at < before, text)
      before = at
    end
    assert.is_truthy(text:find("rising", 1, true))
  end)

  it("of a histogram has bars as high as there are values", function()
    local rows, text = rows_of("hist", gl.tensor { 1, 1, 1, 1, 1, 1, 2 }, { bins = 2 })
    assert.is_truthy(rows[1]:match("^#+ +$"), text)
    assert.is_truthy(rows[7]:match("^#+$"), text)
  end)

  it("of a matrix shows where it is not 0", function()
    local _, text = rows_of("spy", gl.eye(4), {})
    assert.are.equal(4, select(2, text:gsub("o", "")))
  end)

  it("of a gradient has arrows that point uphill", function()
    local _, right = rows_of("gradient_field", function(q) return q[1] end, { n = 3 })
    local _, up = rows_of("gradient_field", function(q) return q[2] end, { n = 3 })
    assert.are.equal(9, select(2, right:gsub("→", "")))
    assert.are.equal(9, select(2, up:gsub("↑", "")))
  end)
end)

describe("a plot in a file", function()
  it("is refused where scripts can run no program", function()
    local real = io
    _G.io = nil
    local ok, message = pcall(plot.line, { 1, 2 }, { file = "never.png" })
    _G.io = real
    assert.is_false(ok)
    assert.is_truthy(message:find("plot: a picture in a file needs gnuplot", 1, true), message)
  end)

  it("cannot be in a folder that does not exist", function()
    raises(function() plot.line({ 1, 2 }, { file = "no/such/folder/a.png" }) end, "plot: cannot write no/such/folder/a.png")
  end)
end)

-- The blocks of Lua in the documents run as they stand, one after the other, and print what stands behind `-->`.

local gl = require "gradlua"

--- Runs the blocks of a document as one program; gives what it printed, and how many blocks there were.
local function run(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  local blocks, lines = {}, {}
  for block in text:gmatch("```lua\n(.-)```") do blocks[#blocks + 1] = block end
  local environment = setmetatable({ print = function(...)
    local row = table.pack(...)
    for i = 1, row.n do row[i] = tostring(row[i]) end
    lines[#lines + 1] = table.concat(row, "\t")
  end }, { __index = _G })
  assert(load(table.concat(blocks, "\n"), "=" .. path, "t", environment))()
  local output = table.concat(lines, "\n")
  assert.is_nil(output:find("%f[%a]nil%f[%A]"), output) -- a name that does not exist
  local spaced = output:gsub("%s+", " ")
  for promised in text:gmatch("%-%-> ([^\n]+)") do
    assert.is_truthy(spaced:find((promised:gsub("%s+", " ")), 1, true), promised .. " is not what is printed")
  end
  return output, #blocks
end

describe("the tutorial", function()
  it("runs", function()
    local output, blocks = run("docs/tutorial.md")
    assert.is_true(blocks > 5)
    assert.is_truthy(output:find("12.0", 1, true))
    assert.is_truthy(output:find("the gradient is within the tolerance", 1, true))
    assert.is_true(tonumber(output:match("right on the held%-out part:\t([%d.]+)")) > 0.9, output)
  end)
end)

describe("what newcomers are told", function()
  it("runs", function()
    local output, blocks = run("docs/coming_from.md")
    assert.are.equal(4, blocks)
    assert.is_truthy(output:find("2*x*y", 1, true), output)
  end)
end)

describe("the README", function()
  it("shows Lua that runs", function()
    local output, blocks = run("README.md")
    assert.is_true(blocks >= 1)
    assert.is_truthy(output:find("the gradient is within the tolerance", 1, true), output)
  end)
end)

describe("help", function()
  it("tells call, meaning and method of functions in C and in Lua", function()
    local text = gl.help "sum"
    assert.is_truthy(text:find("gl.sum(x", 1, true))
    assert.is_truthy(text:find("x:sum(...)", 1, true))
    assert.is_truthy(gl.help("nn.linear"):find("x W' + b", 1, true))
    assert.is_truthy(gl.help("minimize"):find("gl.minimize(f, x0, options) -> table", 1, true))
  end)

  it("names the nearest for what does not exist, and lists modules", function()
    assert.is_truthy(gl.help("reshap"):find("did you mean gl.reshape?", 1, true))
    assert.is_truthy(gl.help("data"):find("loader", 1, true))
  end)

  it("says something of every function that a user can call", function()
    local about = require("gradlua.help").about
    for _, table_name in ipairs { "", "nn", "optim", "optim.schedule", "data", "plot" } do
      local holder = gl
      for name in table_name:gmatch("[^.]+") do holder = holder[name] end
      for name, value in pairs(holder) do
        if type(value) == "function" then
          assert.is_true(about(name, value).doc ~= "", table_name .. "." .. name .. " is not described")
        end
      end
    end
  end)
end)

-- The tutorial's blocks run as they stand, one after the other.

describe("the tutorial", function()
  it("runs", function()
    local file = assert(io.open("docs/tutorial.md"))
    local text = file:read("a")
    file:close()
    local blocks = {}
    for block in text:gmatch("```lua\n(.-)```") do blocks[#blocks + 1] = block end
    assert.is_true(#blocks > 5)
    local lines = {}
    local environment = setmetatable({ print = function(...)
      local row = table.pack(...)
      for i = 1, row.n do row[i] = tostring(row[i]) end
      lines[#lines + 1] = table.concat(row, "\t")
    end }, { __index = _G })
    local chunk = assert(load(table.concat(blocks, "\n"), "=tutorial", "t", environment))
    chunk()
    local output = table.concat(lines, "\n")
    assert.is_truthy(output:find("12.0", 1, true))
    assert.is_truthy(output:find("the gradient is within the tolerance", 1, true))
    assert.is_true(tonumber(output:match("right on the held%-out part:\t([%d.]+)")) > 0.9, output)
  end)
end)

describe("the README", function()
  it("shows Lua that runs", function()
    local file = assert(io.open("README.md"))
    local block = file:read("a"):match("```lua\n(.-)```")
    file:close()
    local printed = 0
    local environment = setmetatable({ print = function() printed = printed + 1 end }, { __index = _G })
    assert(load(block, "=README", "t", environment))()
    assert.are.equal(4, printed)
  end)
end)

describe("help", function()
  local gl = require "gradlua"

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

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
    assert.is_truthy(gl.help("minimize"):find("gl.minimize(f, x0 [, options]) -> result", 1, true))
  end)

  it("names the nearest for what does not exist, and lists modules", function()
    assert.is_truthy(gl.help("reshap"):find("did you mean gl.reshape?", 1, true))
    assert.is_truthy(gl.help("data"):find("loader", 1, true))
  end)

  it("names every option that a function takes", function()
    local about, f, x = require("gradlua.help").about, function(v) return gl.sum(v) end, gl.ones(2)
    local layer, plane = { 2, 2, 3 }, { f }
    local calls = {
      minimize = { f, x }, least_squares = { f, x }, root = { f, 1.0 }, odeint = { f, 1.0, { 0, 1 } }, classify = { f, x },
      fori = { 1, f, 1 }, scan = { f, 1, x }, directional = { f }, ["nn.linear"] = { 2, 2 }, ["nn.embedding"] = { 2, 2 },
      ["nn.conv1d"] = layer, ["nn.conv2d"] = layer, ["nn.max_pool2d"] = { 2 }, ["nn.lstm"] = { 2, 2 }, ["nn.attention"] = { 4, 2 },
      ["nn.layer_norm"] = { 2 }, ["nn.batch_norm"] = { 2 }, ["nn.orthogonal"] = { 2, 2 }, ["data.split"] = { x, 1 },
      ["data.loader"] = { x }, ["plot.line"] = { x, x }, ["plot.hist"] = { x }, ["plot.contour"] = plane,
      ["plot.surface"] = plane, ["plot.gradient_field"] = plane, ["plot.spy"] = { gl.eye(2) }, ["optim.adam"] = { { x } },
      ["optim.rmsprop"] = { { x } }, ["optim.lbfgs"] = { { x } }, ["optim.natural"] = { { x } }, ["optim.kfac"] = { { x } },
    }
    for path, arguments in pairs(calls) do
      local module, name = path:match("^(.-)%.?([^.]+)$")
      local called = module == "" and gl[name] or gl[module][name]
      local given = table.move(arguments, 1, #arguments, 1, {})
      given[#given + 1] = { zzzzzzzzzzzz = 1 }
      local _, message = pcall(called, table.unpack(given))
      local known = tostring(message):match("there are (.*)") or tostring(message):match("known here: (.*)")
      assert.is_truthy(known, path .. ": " .. tostring(message))
      local row = about(name, called)
      local text = row.signature .. " " .. row.doc .. (module ~= "" and " " .. gl.help(module) or "")
      for option in known:gmatch("[%w_]+") do
        assert.is_truthy(text:find("%f[%w_]" .. option .. "%f[^%w_]"), path .. " takes the option " .. option .. " without a word")
      end
    end
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

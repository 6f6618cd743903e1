-- gl.data: reading, splitting, standardizing, walking in batches; gl.logger.

local gl = require "gradlua"
local data = gl.data

local path
before_each(function() path = os.tmpname() end)
after_each(function() os.remove(path) end)

local function write(bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

describe("csv", function()
  it("reads numbers, names of columns and classes", function()
    write("length,kind,width\n1,b,2\n3,a,\n5,b,6\n")
    local x, columns = data.csv(path)
    assert.are.same({ 3, 3 }, x:shape())
    assert.are.same({ 1, 3, 5 }, x[{ {}, 1 }]:totable())
    assert.are.same({ 2, 1, 2 }, x[{ {}, 2 }]:totable())
    assert.is_true(x[{ 2, 3 }]:isnan():item())
    assert.are.equal("width", columns[3].name)
    assert.are.same({ "a", "b" }, columns[2].classes)
  end)

  it("takes delimiter, header and dtype", function()
    write("1;2\n3;4\n")
    local x = data.csv(path, { delimiter = ";", header = false, dtype = "f32" })
    assert.are.same({ { 1, 2 }, { 3, 4 } }, x:totable())
    assert.are.equal("f32", x:dtype())
    assert.has_error(function() data.csv(path, { delimter = ";" }) end)
    assert.has_error(function() data.csv(path, { delimiter = ";;" }) end)
  end)

  it("names file and line of what is wrong", function()
    write("1,2\n3\n")
    local _, message = pcall(data.csv, path)
    assert.is_truthy(message:find(path, 1, true))
    assert.is_truthy(message:find("line 2", 1, true))
    assert.has_error(function() data.csv("/no/such/file.csv") end)
    assert.has_error(function() data.csv(nil) end)
  end)

  it("reads the digits as they are packed", function()
    assert.are.same({ 1797, 65 }, data.csv("examples/data/digits.csv.gz"):shape())
  end)
end)

describe("readers", function()
  it("refuse options that they do not have, at the caller's line, also of a tail call", function()
    local raises = require("tests.spec.support").raises
    write("1,2\n")
    raises(function() return data.csv(path, { header = "yes" }) end, "header must be a boolean")
    raises(function() return data.csv(path, { skip = -1 }) end, "skip must not be negative")
    raises(function() return data.csv(path, { delimiter = 3 }) end, "one character")
    raises(function() return data.csv(path, 3) end, "table of options")
    raises(function() return data.idx(path, { dtpe = "f32" }) end, 'did you mean "dtype"')
    raises(function() return data.npy(path, { dtype = "f32" }) end, "npy: takes 1 argument, got 2")
    raises(function() return data.npz("/no/such.npz") end, "/no/such.npz")
  end)
end)

describe("idx", function()
  it("reads MNIST", function()
    local images = data.idx("examples/data/mnist8k-test-images-idx3-ubyte.gz", { dtype = "f32" })
    local labels = data.idx("examples/data/mnist8k-test-labels-idx1-ubyte.gz")
    assert.are.same({ 2000, 28, 28 }, images:shape())
    assert.are.same({ "f32", "i64" }, { images:dtype(), labels:dtype() })
    assert.are.same({ 0, 9 }, { labels:min():item(), labels:max():item() })
    assert.are.equal(255, images:max():item())
  end)
end)

describe("npy and npz", function()
  it("come back as they were written", function()
    local x = gl.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    data.save_npy(path, x:t())
    assert.are.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, data.npy(path):totable())
    data.save_npz(path, { x = x, k = gl.tensor({ 7 }, { dtype = "i64" }) })
    local back = data.npz(path)
    assert.are.same(x:totable(), back.x:totable())
    assert.are.equal("i64", back.k:dtype())
  end)
end)

describe("split", function()
  local x, y = gl.arange(1, 10):reshape(10, 1), gl.arange(1, 10)

  it("takes numbers or fractions, in order; the rest is the last part", function()
    local a, b = data.split({ x, y }, 7)
    assert.are.same({ 7, 1 }, a[1]:shape())
    assert.are.same({ 8, 9, 10 }, b[2]:totable())
    local p, q, r = data.split(y, { 0.5, 0.2 })
    assert.are.same({ 5, 2, 3 }, { #p, #q, #r })
    assert.is_nil((select(2, data.split(y, 10))))
  end)

  it("shuffles all tensors of a set alike", function()
    local a, b = data.split({ x = x, y = y }, 6, { shuffle = true, generator = gl.generator(3) })
    assert.is_true(a.x:flatten():eq(a.y):all():item())
    local seen = gl.concat { a.y, b.y }
    assert.are.same(y:totable(), seen:sort():totable())
    assert.is_false(seen:eq(y):all():item())
  end)

  it("says what does not fit", function()
    assert.has_error(function() data.split(y, 11) end)
    assert.has_error(function() data.split(y, 0) end)
    assert.has_error(function() data.split({ x, gl.ones(3) }, 2) end)
    assert.has_error(function() data.split({}, 2) end)
    assert.has_error(function() data.split(y, 5, { shufle = true }) end)
  end)
end)

describe("standardize", function()
  it("gives columns mean 0 and deviation 1, constant ones 0, and treats a second part alike", function()
    local x = gl.tensor { { 1, 5, 2 }, { 3, 5, 4 }, { 5, 5, 9 } }
    local z, statistics = data.standardize(x)
    assert.is_true(z:mean(1):abs():max():item() < 1e-15)
    local deviation = z:square():mean(1):sqrt():totable()
    assert.is_true(math.abs(deviation[1] - 1) < 1e-15 and deviation[2] == 0)
    local again = data.standardize(gl.tensor { { 3, 6, 5 } }, statistics)
    assert.are.same({ 0, 1, 0 }, again[1]:totable())
  end)
end)

describe("loader", function()
  local set = { gl.arange(1, 10), gl.arange(11, 20) }

  local function walk(loader)
    local batches = {}
    for x, y in loader do batches[#batches + 1] = { x:totable(), y and y:totable() } end
    return batches
  end

  it("walks in batches, the last one smaller or dropped, as often as asked", function()
    local loader = data.loader(set, { batch = 4 })
    assert.are.equal(3, #loader)
    for _ = 1, 2 do
      local batches = walk(loader)
      assert.are.same({ { 1, 2, 3, 4 }, { 11, 12, 13, 14 } }, batches[1])
      assert.are.same({ { 9, 10 }, { 19, 20 } }, batches[3])
    end
    assert.are.equal(2, #walk(data.loader(set, { batch = 4, drop_last = true })))
  end)

  it("begins anew after a loop that was left early", function()
    local loader = data.loader(set[1], { batch = 5 })
    local first = loader(nil, nil)
    assert.are.equal(5, #first)
    assert.are.equal(2, #walk(loader))
  end)

  it("shuffles with the generator: the same seed gives the same order, each pass another", function()
    local function orders()
      local loader = data.loader(set, { batch = 10, shuffle = true, generator = gl.generator(5) })
      return walk(loader)[1], walk(loader)[1]
    end
    local a, b = orders()
    local c = orders()
    assert.are.same(a, c)
    assert.are_not.same(a, b)
    for i, x in ipairs(a[1]) do assert.are.equal(x + 10, a[2][i]) end
  end)

  it("gives a table for a set with names", function()
    for batch in data.loader({ x = set[1], y = set[2] }, { batch = 10 }) do
      assert.are.equal(20, batch.y[10]:item())
    end
  end)

  it("shows its progress in plain lines when nobody watches", function()
    local command = os.getenv("GRADLUA") or "build/gradlua"
    local pipe = io.popen(command .. [[ -e "for _ in gl.data.loader(gl.ones(10), {batch = 3}):progress('epoch 1') do end" 2>&1]])
    local text = pipe:read("a")
    pipe:close()
    assert.is_truthy(text:match("^epoch 1  4/4  [%d.]+/s  in [%d.]+ s\n$"), text)
  end)

  it("refuses what is no set", function()
    assert.has_error(function() data.loader(5) end)
    assert.has_error(function() data.loader(set, { batch = 0 }) end)
    assert.has_error(function() data.loader(set, { bach = 1 }) end)
  end)
end)

describe("logger", function()
  it("writes rows at once and gives columns back", function()
    local log = gl.logger(path)
    log:add { epoch = 1, loss = gl.tensor(0.5), note = "a, b" }
    log:add { epoch = 2, loss = 0.25 }
    assert.are.same({ 0.5, 0.25 }, log:column "loss")
    local file = io.open(path)
    assert.are.equal('epoch,loss,note\n1,0.5,"a, b"\n2,0.25,\n', file:read("a"))
    file:close()
    assert.has_error(function() log:add { epoch = 3, los = 1 } end)
    assert.has_error(function() log:column "los" end)
    log:close()
  end)
end)

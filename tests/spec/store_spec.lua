-- gl.save and gl.load: everything comes back as it was, nothing else is accepted, an old file survives a failure.

local gl = require "gradlua"

local path
before_each(function() path = os.tmpname() end)
after_each(function() os.remove(path) end)

local function write(bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

local function read()
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

describe("a nested table", function()
  it("comes back with keys, dtypes, shapes and values", function()
    gl.save(path, {
      layers = { { weight = gl.tensor { { 1, 2 }, { 3, 4 } } }, { weight = gl.ones(3, { dtype = "f32" }) } },
      index = gl.tensor({ 1, -2 }, { dtype = "i64" }), mask = gl.tensor { true, false }, number = gl.tensor(2.5),
      empty = gl.zeros(0, 3), view = gl.tensor { { 1, 2 }, { 3, 4 } }:t(),
    })
    local t = gl.load(path)
    assert.are.same({ { 1, 2 }, { 3, 4 } }, t.layers[1].weight:totable())
    assert.are.equal("f32", t.layers[2].weight:dtype())
    assert.are.equal("i64", t.index:dtype())
    assert.are.same({ 1, -2 }, t.index:totable())
    assert.are.same({ true, false }, t.mask:totable())
    assert.are.equal(2.5, t.number:item())
    assert.are.same({ 0, 3 }, t.empty:shape())
    assert.are.same({ { 1, 3 }, { 2, 4 } }, t.view:totable())
  end)

  it("keeps numbers, texts, booleans and empty tables, with their types", function()
    local saved = { n = 3, x = 0.1, big = 2 ^ 70, inf = -math.huge, s = "a\nb", yes = true, no = false, none = {},
      list = { 1, "2", 3.0 } }
    gl.save(path, saved)
    local t = gl.load(path)
    assert.are.same(saved, t)
    assert.are.equal("integer", math.type(t.n))
    assert.are.equal("float", math.type(t.list[3]))
    gl.save(path, { nan = 0 / 0 })
    local nan = gl.load(path).nan
    assert.is_true(nan ~= nan)
  end)

  it("keeps every byte of a text", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local texts = { "a\0b", table.concat(all), "%41 \u{e9}", "%41\255", "", bytes = { ["k\0"] = "\0" } }
    gl.save(path, texts)
    assert.are.same(texts, gl.load(path))
  end)

  it("keeps keys apart that look alike", function()
    local saved = { [1] = "integer", ["1"] = "text", ["a.b"] = "dotted", a = { b = "nested" }, [""] = "empty", ["%31"] = "escape",
      gradlua = "marker", ["-7"] = "negative", __metadata__ = "reserved" }
    gl.save(path, saved)
    assert.are.same(saved, gl.load(path))
    gl.save(path, { [""] = gl.ones(1), ["1"] = gl.zeros(1), __metadata__ = gl.ones(2) })
    local t = gl.load(path)
    assert.are.same({ 1 }, t[""]:totable())
    assert.are.same({ 0 }, t["1"]:totable())
    assert.are.same({ 1, 1 }, t.__metadata__:totable())
  end)

  it("is written the same way each time", function()
    gl.save(path, { b = gl.ones(2), a = { gl.zeros(1), gl.ones(1) }, n = 1 })
    local first = read()
    gl.save(path, { n = 1, a = { gl.zeros(1), gl.ones(1) }, b = gl.ones(2) })
    assert.are.equal(first, read())
  end)
end)

describe("what cannot be saved", function()
  it("raises and names the entry", function()
    local function message(...) return select(2, pcall(gl.save, path, ...)) end
    assert.is_truthy(message({ a = { f = print } }):find("a.f is a function", 1, true))
    assert.is_truthy(message(gl.ones(1)):find("must be a table, not a tensor", 1, true))
    assert.is_truthy(message({ [1.5] = 1 }):find("keys must be texts or integers", 1, true))
    local cycle = {}
    cycle.cycle = cycle
    assert.is_truthy(message(cycle):find("contains itself", 1, true))
  end)

  it("leaves the old file whole", function()
    gl.save(path, { a = gl.ones(2) })
    local before = read()
    pcall(gl.save, path, { a = gl.ones(2), b = print })
    assert.are.equal(before, read())
    assert.has_error(function() gl.save("/no/such/folder/x.safetensors", { a = gl.ones(1) }) end)
  end)

  it("is a file that is too large for the disk: the old one stays", function()
    if not os.rename("/dev/full", "/dev/full") then return pending("no /dev/full") end
    assert.has_error(function() gl.save("/dev/full/x", { a = gl.ones(1) }) end)
  end)
end)

describe("other files", function()
  it("of the format load too, names split at dots", function()
    local header = '{"layers.0.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}'
    write(string.pack("<I8", #header) .. header .. string.pack("<ff", 1.5, -2))
    assert.are.same({ 1.5, -2 }, gl.load(path).layers[0].weight:totable())
  end)

  it("that are truncated or hostile raise", function()
    gl.save(path, { a = gl.ones(4), b = { gl.zeros(2) } })
    local whole = read()
    for cut = 0, #whole - 1, 7 do
      write(whole:sub(1, cut))
      assert.has_error(function() gl.load(path) end)
    end
    write(string.pack("<I8", 2 ^ 62) .. "{}")
    assert.has_error(function() gl.load(path) end)
    local header = '{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,8]}}'
    write(string.pack("<I8", #header) .. header .. ("\0"):rep(8))
    assert.has_error(function() gl.load(path) end)
    assert.has_error(function() gl.load("/no/such/file") end)
  end)

  it("whose names contradict each other raise", function()
    local header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a.b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    write(string.pack("<I8", #header) .. header .. ("\0"):rep(8))
    assert.has_error(function() gl.load(path) end)
  end)
end)

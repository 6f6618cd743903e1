-- The module gradlua.so in a stock lua5.4, and the installed command away from its build folder.

local command = os.getenv("GRADLUA") or "build/gradlua"
local folder = command:match("^(.*)/[^/]*$") or "."

local function output(shell)
  local pipe = assert(io.popen(shell .. " 2>&1"))
  local text = pipe:read("a")
  pipe:close()
  return text
end

local script = [[local gl = require 'gradlua' print(gl.grad(function(x) return x * x end)(3.0), type(gl.nn.linear), _G.gl)]]

describe("gradlua.so", function()
  it("is all that a stock lua5.4 needs", function()
    if output("command -v lua5.4") == "" then return pending("no lua5.4") end
    local text = output(([[cd / && LUA_CPATH='%s/?.so' LUA_PATH= lua5.4 -e "%s"]]):format(
      folder:sub(1, 1) == "/" and folder or os.getenv("PWD") .. "/" .. folder, script))
    assert.are.equal("6.0\tfunction\tnil\n", text)
  end)

  it("does not bring its own Lua", function()
    assert.is_nil(output(("ldd %s/gradlua.so"):format(folder)):find("liblua", 1, true))
  end)
end)

describe("cmake --install", function()
  local target = os.tmpname()
  os.remove(target)
  local log

  setup(function() log = output(("cmake --install %s --prefix %s"):format(folder, target)) end)
  teardown(function() os.execute("rm -rf " .. target) end)

  it("gives a command that runs from anywhere, the module, headers and libraries", function()
    local text = output(([[cd / && %s/bin/gradlua -e "%s"]]):format(target, script))
    local files = output(("cd %s && find . -type f | sort"):format(target))
    assert.are.equal("6.0\tfunction\ttable", text:match("^6.0\tfunction\ttable") or log .. text)
    for _, name in ipairs { "/gradlua.so\n", "/include/grad.h\n", "/include/gradlua.h\n", "/libgrad.a\n", "/grad.pc\n" } do
      assert.is_truthy(files:find(name, 1, true), name .. files)
    end
  end)

  it("lets hosts in C find the package, with Lua and without", function()
    local build = target .. "/embed"
    local made = output(("cmake -S examples/embed -B %s -DCMAKE_PREFIX_PATH=%s && cmake --build %s"):format(build, target, build))
    local core = output(build .. "/core_only; echo exit $?")
    assert.is_truthy(core:find("exit 0", 1, true), made .. core)
    local host = output(build .. "/host examples/embed/model.lua; echo exit $?")
    assert.is_truthy(host:find("rate 0.79", 1, true) or host:find("rate 0.80", 1, true), host)
    assert.is_truthy(host:find("exit 0", 1, true), host)
  end)
end)

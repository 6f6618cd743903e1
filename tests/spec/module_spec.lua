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
  it("gives a command that runs from anywhere, the module, the headers and the library", function()
    local target = os.tmpname()
    os.remove(target)
    local log = output(("cmake --install %s --prefix %s"):format(folder, target))
    local text = output(([[cd / && %s/bin/gradlua -e "%s"]]):format(target, script))
    local files = output(("cd %s && find . -type f | sort"):format(target))
    os.execute("rm -rf " .. target)
    assert.are.equal("6.0\tfunction\ttable", text:match("^6.0\tfunction\ttable") or log .. text)
    for _, name in ipairs { "/gradlua.so\n", "/include/grad.h\n", "/include/gradlua.h\n", "/libgrad.a\n" } do
      assert.is_truthy(files:find(name, 1, true), name .. files)
    end
  end)
end)

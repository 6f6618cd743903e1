-- The gradlua command behaves as lua does, and adds what its prompt and -v promise.

local command = os.getenv("GRADLUA") or "build/gradlua"

--- Runs the command; gives its output (both streams) and exit code.
local function run(arguments, input)
  local path = os.tmpname()
  if input then
    local file = assert(io.open(path, "w"))
    file:write(input)
    file:close()
  end
  local shell = ("%s %s 2>&1 < %s; echo \"exit $?\""):format(command, arguments, input and path or "/dev/null")
  local pipe = assert(io.popen(shell))
  local output = pipe:read("a")
  pipe:close()
  os.remove(path)
  local text, code = output:match("^(.*)exit (%d+)\n$")
  return text, tonumber(code)
end

local function with_script(source, use)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local results = table.pack(use(path))
  os.remove(path)
  return table.unpack(results, 1, results.n)
end

local function contains(text, part)
  return assert.is_truthy(text:find(part, 1, true), ("%q is not in %q"):format(part, text))
end

describe("options", function()
  it("-e runs a string, with the toolkit as gl", function()
    assert.are.same({ "3\n", 0 }, { run [[-e "print(1 + 2)"]] })
    assert.are.same({ "true\n", 0 }, { run [[-e "print(gl.is_tensor(gl.ones(2)))"]] })
  end)

  it("-l requires into a global, under its name or another", function()
    assert.are.same({ "3.14\n", 0 }, { run [[-lm=math -e "print(('%.2f'):format(m.pi))"]] })
    assert.are.same({ "function\n", 0 }, { run [[-l gradlua -e "print(type(gradlua.ones))"]] })
  end)

  it("-v names version, Lua, BLAS core and SIMD level", function()
    local text, code = run "-v"
    assert.are.equal(0, code)
    assert.is_truthy(text:match("^gradlua %d+%.%d+%.%d+  Lua 5%.4%.%d+  BLAS %S.*  SIMD %S+\n$"))
  end)

  it("a wrong option prints the usage and fails", function()
    local text, code = run "-x"
    assert.are.equal(1, code)
    contains(text, "unrecognized option '-x'")
    contains(text, "usage: gradlua")
    assert.are.equal(1, select(2, run "-e"))
  end)

  it("-h and --help print the usage and succeed", function()
    for _, option in ipairs { "-h", "--help" } do
      local text, code = run(option)
      assert.are.same({ "usage: gradlua", 0 }, { text:sub(1, 14), code })
    end
  end)

  it("- reads the standard input, -- ends the options", function()
    assert.are.same({ "7\n", 0 }, { run("-", "print(7)") })
    assert.are.same({ "8\n", 0 }, { run("", "print(8)") })
    with_script("print(...)", function(path)
      assert.are.same({ "a\tb\n", 0 }, { run("-- " .. path .. " a b") })
    end)
  end)
end)

describe("scripts", function()
  it("get their arguments in arg and in ...", function()
    with_script("print(arg[1], arg[2], arg[-1], ...)", function(path)
      assert.are.equal("x\ty\t-W\tx\ty\n", (run("-W " .. path .. " x y")))
    end)
  end)

  it("fail with a traceback and exit code 1", function()
    with_script("local function f() error('boom') end\nf()", function(path)
      local text, code = run(path)
      assert.are.equal(1, code)
      contains(text, ":1: boom")
      contains(text, "stack traceback:")
      contains(text, path .. ":2: in main chunk")
    end)
  end)

  it("may raise objects: their __tostring is shown, or what they are", function()
    contains(run [[-e "error(setmetatable({}, {__tostring = function() return 'mine' end}))"]], "mine")
    contains(run [[-e "error({})"]], "(error object is a table value)")
  end)

  it("that do not exist are named", function()
    local text, code = run "/no/such/file.lua"
    assert.are.equal(1, code)
    contains(text, "cannot open /no/such/file.lua")
  end)

  it("exit with the code they ask for", function()
    assert.are.equal(3, select(2, run [[-e "os.exit(3)"]]))
  end)
end)

describe("the environment", function()
  it("LUA_INIT runs first, unless -E is given", function()
    local function with_init(arguments)
      local pipe = assert(io.popen(("LUA_INIT='print(1)' %s %s 2>&1"):format(command, arguments)))
      local text = pipe:read("a")
      pipe:close()
      return text
    end
    assert.are.equal("1\n2\n", with_init [[-e "print(2)"]])
    assert.are.equal("2\n", with_init [[-E -e "print(2)"]])
  end)

  it("C modules of the system load", function()
    assert.are.same({ "table\n", 0 }, { run [[-e "print(type(require 'lfs'))"]] })
  end)
end)

describe("the prompt", function()
  it("prints expressions, runs statements, goes on over lines, keeps quiet after a semicolon", function()
    local text = run("-i", "1 + 1\nx = 5\nx;\nfor i = 1, 2 do\nprint('line', i)\nend\nx * 2\n")
    contains(text, "\n2\nline\t1\nline\t2\n10\n")
  end)

  it("goes on over lines when an expression is not at its end", function()
    contains((run("-i", "1 +\n41\n{1,\n2}\n")), "\n42\n{1, 2}\n")
  end)

  it("prints tables with their entries, matrices below their keys", function()
    local text = run("-i", "{3, b = {'x', gl.ones(2)}, a = true}\n"
      .. "gl.grad(function(p) return (p.w * p.b):sum() end)({w = gl.ones(1, 2), b = 3})\n")
    contains(text, '{3, a = true, b = {"x", [1 1]  (f64 2)}}\n')
    contains(text, "{\n  b = 2.0,\n  w =\n  [[3 3]]\n  (f64 1 x 2)\n}\n")
    contains((run("-", [[require("gradlua").show({ ["1"] = 1, [0] = 2, ["a b"] = { [2] = "\n" } })]])),
      '{[0] = 2, ["1"] = 1, ["a b"] = {[2] = "\\n"}}')
    contains((run [[-e "local t = {} t.t = t; gl.show(t, {}, nil)"]]), "{...}")
  end)

  it("tells of a name, with gl. or as a method", function()
    local text = run("-i", "? sum\n? gl.sum\n? x:sum\n? sumn\n")
    assert.are.equal(3, select(2, text:gsub("gl%.sum%(x", "")))
    contains(text, "did you mean gl.sum?")
  end)

  it("survives errors and shows where they were", function()
    local text, code = run("-i", "error('a')\n)\n40 + 2\n")
    assert.are.equal(0, code)
    contains(text, "prompt:1: a")
    contains(text, "unexpected symbol")
    contains(text, "42\n")
    assert.is_nil(text:find("gradlua.prompt", 1, true))
  end)

  it("completes names of gl, of globals and of methods", function()
    local prompt = require "gradlua.prompt"
    _G.gl = require "gradlua"
    _G.completed = _G.gl.ones(2)
    local function has(word, start)
      for _, w in ipairs(prompt.complete("", start)) do if w == word then return true end end
      return false
    end
    assert.is_true(has("gl.linspace", "gl.linsp"))
    assert.is_true(has("gl.nn", "gl.n"))
    assert.is_true(has("gl.nn.linear", "gl.nn.lin"))
    assert.is_true(has("string", "str"))
    assert.is_true(has("completed:shape", "completed:sh"))
    assert.are.same({}, prompt.complete("", "no.such.th"))
    _G.gl, _G.completed = nil, nil
  end)
end)

describe("Ctrl-C", function()
  --- Starts the script, sends SIGINT after a moment, and gives the output.
  local function interrupted(source)
    return with_script(source, function(path)
      local shell = ("%s %s 2>&1 & p=$!; sleep 0.5; kill -INT $p; wait $p; echo exit $?"):format(command, path)
      local pipe = assert(io.popen(shell))
      local text = pipe:read("a")
      pipe:close()
      return text
    end)
  end

  it("stops a staged loop in the middle of its run", function()
    local text = interrupted([[
      local gl = require "gradlua"
      local forever = gl.jit(function(x)
        return gl.while_loop(function(s) return s[1]:lt(2) end, function(s) return s:sin() end, x)
      end)
      forever(gl.ones(100))]])
    contains(text, "interrupted")
    contains(text, "in main chunk")
    contains(text, "exit 1")
  end)

  it("ends the process at the second time, when the script goes on after the first", function()
    local text = with_script("while true do pcall(function() while true do end end) end", function(path)
      local shell = ("%s %s 2>&1 & p=$!; sleep 0.5; kill -INT $p; sleep 0.2; kill -INT $p; wait $p; echo exit $?")
      local pipe = assert(io.popen(shell:format(command, path)))
      local output = pipe:read("a")
      pipe:close()
      return output
    end)
    contains(text, "exit 130")
  end)

  it("stops Lua code with a traceback", function()
    local text = interrupted("while true do end")
    contains(text, "interrupted!")
    contains(text, "in main chunk")
    contains(text, "exit 1")
  end)
end)

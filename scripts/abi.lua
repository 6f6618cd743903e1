-- What scripts/abi runs: scripts/abi.lua FROZEN_HEADER CURRENT_HEADER BUILD_FOLDER. Headers are plain declarations.

local frozen_path, current_path, folder = arg[1], arg[2], arg[3]
local compiler = os.getenv("CC") or "cc"
local passed, problems = 0, {}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return (text:gsub("/%*.-%*/", ""))
end

local function lines_of(command)
  local lines, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do lines[#lines + 1] = line end
  assert(pipe:close(), command)
  return lines
end

local function expect(ok, text, ...)
  if ok then passed = passed + 1 else problems[#problems + 1] = text:format(...) end
end

--- name -> declaration of each function in a header.
local function functions_of(text)
  text = text:gsub("typedef%s+%a+%s+[%w_]+%s*%b{}[^;]*;", ""):gsub("enum%s*%b{}%s*;", ""):gsub("typedef[^;]*;", "")
  local functions = {}
  for declaration in text:gmatch("%s*([^;]+);") do
    functions[assert(declaration:match("([%w_]+)%s*%("), declaration)] = declaration
  end
  return functions
end

--- Names of the fields in a struct's braces.
local function fields_of(body)
  local fields = {}
  for declaration in body:sub(2, -2):gmatch("%s*([^;]+);") do
    local callback = declaration:match("%(%*([%w_]+)%)")
    if callback then fields[#fields + 1] = callback end
    for name in (callback and "" or declaration):gmatch("[^,]+") do
      fields[#fields + 1] = name:match("([%w_]+)%s*%b[]%s*$") or name:match("([%w_]+)%s*$")
    end
  end
  return fields
end

--- A program that prints a line for every size, field and constant of a header.
local function describe(text)
  local out = { "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>", text,
    "int main(void) {" }
  for name, body in text:gmatch("typedef struct ([%w_]+)%s*(%b{})") do
    out[#out + 1] = ('printf("sizeof %s %%zu\\n", sizeof(%s));'):format(name, name)
    for _, field in ipairs(fields_of(body)) do
      out[#out + 1] = ('printf("%s.%s %%zu+%%zu\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));'):format(name, field,
        name, field, name, field)
    end
  end
  for body in text:gmatch("enum[%s%w_]*(%b{})") do
    for constant in body:sub(2, -2):gmatch("[^,]+") do
      local name = constant:match("[%w_]+")
      if name then out[#out + 1] = ('printf("constant %s %%d\\n", (int)%s);'):format(name, name) end
    end
  end
  out[#out + 1] = "return 0; }"
  return table.concat(out, "\n")
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

--- name -> value of what `describe` prints.
local function layout_of(text)
  local base = os.tmpname()
  write(base .. ".c", describe(text))
  local lines = lines_of(("%s -w -o %s %s.c && %s"):format(compiler, base, base, base))
  os.remove(base .. ".c")
  os.remove(base)
  local layout = {}
  for _, line in ipairs(lines) do
    local name, value = line:match("^(.*) (%S+)$")
    layout[name] = value
  end
  return layout
end

--- What the library writes and hosts only read may grow, and so may what says how large it is.
local handed_out = { grad_progress = true, grad_step_info = true }

local function may_grow(name, layout)
  local struct = name:match("^sizeof (.*)$")
  return struct and (handed_out[struct] or layout[struct .. ".size"] == "0+8")
end

local function compare_layouts(before, now)
  for name, value in pairs(before) do
    local grown = may_grow(name, before) and now[name] and tonumber(now[name]) >= tonumber(value)
    -- The count at the end of a list of names is no part of the list.
    expect(now[name] == value or grown or name:find("_COUNT$"), "%s was %s and is %s", name, value, now[name] or "gone")
  end
end

--- The compiler refuses two declarations that do not agree.
local function compare_functions(before, now, frozen)
  local again = { "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>", frozen }
  for name in pairs(before) do
    expect(now[name], "%s is no longer declared", name)
    again[#again + 1] = now[name] and now[name] .. ";"
  end
  local base = os.tmpname()
  write(base .. ".c", table.concat(again, "\n"))
  local said = lines_of(("%s -fsyntax-only %s.c 2>&1 | grep error: ; true"):format(compiler, base))
  os.remove(base .. ".c")
  os.remove(base)
  expect(#said == 0, "functions have other arguments than they had:\n%s", table.concat(said, "\n"))
end

--- Exported by the library: just what the headers declare; `own` says which of them are its.
local function compare_symbols(library, declared, own)
  local exported = {}
  for _, line in ipairs(lines_of(("nm -D --defined-only %s/%s"):format(folder, library))) do
    local name = line:match("%s[TDBRVW]%s+([%w_]+)$")
    if name then
      exported[name] = true
      expect(declared[name], "%s exports %s, which no public header declares", library, name)
    end
  end
  for name in pairs(declared) do
    expect(exported[name] or not own(name), "%s does not export %s", library, name)
  end
end

local frozen, current = read(frozen_path), read(current_path)
local functions = functions_of(current)
compare_layouts(layout_of(frozen), layout_of(current))
compare_functions(functions_of(frozen), functions, frozen)
compare_symbols("libgrad.so", functions, function(name) return name:find("^grad_") end)
compare_symbols("libgradlua.so", functions, function() return true end)
compare_symbols("gradlua.so", functions, function(name) return name:find("^luaopen_") end)
for _, problem in ipairs(problems) do io.stderr:write(problem, "\n") end
print(("%d passed, %d failed"):format(passed, #problems))
os.exit(#problems == 0)

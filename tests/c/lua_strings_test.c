/* lua_strings_test.c: the string functions of a host's safe library against Lua's own: results and errors, of patterns
 * and subjects made at random from pieces that mean something. */
#include "check.h"
#include "include/gradlua.h"

#include <lauxlib.h>
#include <lualib.h>

static const char cases[] =
    "local pieces = { 'a', 'b', '.', '%a', '%d', '%s', '%w', '%W', '[ab]', '[^ab]', '[a-c]', '[%d_]', '[]]', '[^]a]', "
    "'[a-]',\n"
    "  '(', ')', '()', '(a', 'b)', '%1', '%2', '%b()', '%bab', '%f[a]', '%f[%w]', '^', '$', '%', '%%', '%.', '*', '+', "
    "'-', '?',\n"
    "  '[', ']', '%f', '%b', '%0', 'x', '\\0', '\\200', '%u', '%p', '%c', '%x', '%g', '%l' }\n"
    "local letters = { 'a', 'b', 'c', 'A', '1', ' ', '(', ')', '_', '.', '-', ']', '\\0', '\\200', '%', '\\n', 'x' }\n"
    "local function made(from, most)\n"
    "  local out = {}\n"
    "  for i = 1, math.random(0, most) do out[i] = from[math.random(#from)] end\n"
    "  return table.concat(out)\n"
    "end\n"
    "local function same(name, ...)\n"
    "  local mine, own = table.pack(pcall(string[name], ...)), table.pack(pcall(lua[name], ...))\n"
    "  for _, list in ipairs { mine, own } do -- what a function is called depends on where it stands\n"
    "    if not list[1] then list[2] = lua.gsub(list[2], \"to '[%w_.?]+'\", '') end\n"
    "  end\n"
    "  local equal = mine.n == own.n\n"
    "  for i = 1, mine.n do equal = equal and (mine[i] == own[i] or type(mine[i]) == 'function') end\n"
    "  if equal then return end\n"
    "  local text = {}\n"
    "  for _, list in ipairs { { ... }, mine, own } do\n"
    "    for _, value in ipairs(list) do text[#text + 1] = tostring(value) end\n"
    "    text[#text + 1] = '|'\n"
    "  end\n"
    "  error(name .. ': ' .. table.concat(text, ' '))\n"
    "end\n"
    "local function walked(gmatch, ...)\n"
    "  local out = {}\n"
    "  for a, b, c in gmatch(...) do out[#out + 1] = table.concat({ tostring(a), tostring(b), tostring(c) }, ',') end\n"
    "  return table.concat(out, ';')\n"
    "end\n"
    "function string.walked(...) return walked(string.gmatch, ...) end\n"
    "function lua.walked(...) return walked(lua.gmatch, ...) end\n"
    "local replacements = { 'r', '%0', '<%1>', '%2', '%%', '%x', '', 7, { a = 'A', b = false, ab = 3 }, { a = {} },\n"
    "  function(a, b) return b end, function() return true end, function(...) return select('#', ...) end }\n"
    "math.randomseed(1)\n"
    "for _ = 1, 60000 do\n"
    "  local s, p, init = made(letters, 8), made(pieces, 5), math.random(-9, 10)\n"
    "  same('find', s, p) same('find', s, p, init) same('find', s, p, init, true)\n"
    "  same('match', s, p) same('match', s, p, init) same('walked', s, p) same('walked', s, p, init)\n"
    "  same('gsub', s, p, replacements[math.random(#replacements)])\n"
    "  same('gsub', s, p, replacements[math.random(#replacements)], math.random(-1, 3))\n"
    "  same('rep', s, math.random(-2, 5)) same('rep', s, math.random(-2, 5), p)\n"
    "end\n"
    "for _, name in ipairs { 'find', 'match', 'gmatch', 'gsub', 'rep' } do\n"
    "  same(name) same(name, 'a') same(name, {}, 'a') same(name, 'a', {}) same(name, 'a', 'b', {}) same(name, 12, 1, "
    "2)\n"
    "  same(name, ('a'):rep(300), ('a?'):rep(300)) same(name, 'aa', ('(a)'):rep(40), '%9') same(name, 'x', 1.5)\n"
    "end\n";

/* Lua's own library, under the name "lua"; strings keep the methods of the safe one. */
static void add_original(lua_State *L) {
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_getfield(L, -1, "__index");
  lua_pushcfunction(L, luaopen_string);
  lua_call(L, 0, 1);
  lua_setglobal(L, "lua");
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_settop(L, 0);
}

int main(void) {
  const gradlua_config config = {.size = sizeof config, .max_seconds = 120, .libraries = GRADLUA_LIBRARIES_SAFE};
  gradlua *g = NULL;
  check(gradlua_new(&config, &g) == GRAD_OK);
  add_original(gradlua_state(g));
  if (!check(gradlua_run(g, cases, sizeof cases - 1, "=strings", NULL) == GRAD_OK))
    fprintf(stderr, "  %s\n", gradlua_message(g));
  gradlua_free(g);
  return check_done();
}

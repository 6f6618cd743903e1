/* host_sandbox.c: the standard library as a host wants its scripts to see it. */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/host/host.h"

static const luaL_Reg safe_libraries[] = {
    {LUA_GNAME, luaopen_base},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_UTF8LIBNAME, luaopen_utf8},
    {LUA_COLIBNAME, luaopen_coroutine},
    {NULL, NULL},
};

/* load(chunk [, name [, mode [, env]]]) of text only: bytecode can be made to crash the interpreter. Upvalue 1: load.
 */
static int load_text(lua_State *L) {
  bool has_env = lua_gettop(L) >= 4;
  lua_settop(L, 4);
  lua_pushliteral(L, "t");
  lua_replace(L, 3);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (!has_env) lua_settop(L, 4);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* setmetatable without finalizers: Lua turns hooks off while it runs one, so no limit would hold. Upvalue 1:
 * setmetatable.
 */
static int set_metatable(lua_State *L) {
  if (lua_istable(L, 2)) {
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "setmetatable: __gc is not allowed here");
    lua_pop(L, 1);
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

/* table.NAME(t, ..) whose loop is no longer than `t` is, or than ENOUGH entries: a length from __len, or a range, could
 * be endless, and Lua's own functions look at no limit. Upvalues: the function, its name. */
static int bounded_table(lua_State *L) {
  enum { ENOUGH = 1000000 };
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  lua_Integer from = 1, to = 0;
  if (strcmp(name, "move") == 0) {
    from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
  } else if (lua_istable(L, 1)) {
    const bool range = strcmp(name, "concat") == 0;
    if (range) from = luaL_optinteger(L, 3, 1);
    to = range && !lua_isnoneornil(L, 4) ? luaL_checkinteger(L, 4) : luaL_len(L, 1);
  }
  const lua_Unsigned count = from <= to ? (lua_Unsigned)to - (lua_Unsigned)from : 0;
  if (count > ENOUGH && count > lua_rawlen(L, 1))
    return luaL_error(L, "table.%s: a range of more than %d entries, longer than the table", name, ENOUGH);
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void bound_tables(lua_State *L) {
  static const char *const names[] = {"move", "concat", "insert", "remove", "sort"};
  lua_getglobal(L, LUA_TABLIBNAME);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_getfield(L, -1, names[i]);
    lua_pushstring(L, names[i]);
    lua_pushcclosure(L, bounded_table, 2);
    lua_setfield(L, -2, names[i]);
  }
  lua_pop(L, 1);
}

static void remove_global(lua_State *L, const char *name) {
  lua_pushnil(L);
  lua_setglobal(L, name);
}

static void wrap_global(lua_State *L, const char *name, lua_CFunction wrapper) {
  lua_getglobal(L, name);
  lua_pushcclosure(L, wrapper, 1);
  lua_setglobal(L, name);
}

static void open_safe(lua_State *L) {
  for (const luaL_Reg *library = safe_libraries; library->name; library++) {
    luaL_requiref(L, library->name, library->func, 1);
    lua_pop(L, 1);
  }
  remove_global(L, "dofile");
  remove_global(L, "loadfile");
  wrap_global(L, "load", load_text);
  wrap_global(L, "setmetatable", set_metatable);
  lua_getglobal(L, LUA_STRLIBNAME);
  lua_pushnil(L);
  lua_setfield(L, -2, "dump");
  lua_pop(L, 1);
  gradlua__strings_install(L);
  bound_tables(L);
}

void gradlua__libraries_open(lua_State *L, gradlua_libraries libraries) {
  if (libraries == GRADLUA_LIBRARIES_ALL)
    luaL_openlibs(L);
  else
    open_safe(L);
}

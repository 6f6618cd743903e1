/* host_sandbox.c: the standard library as a host wants its scripts to see it. */
#include <lauxlib.h>
#include <lualib.h>

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
}

void gradlua__libraries_open(lua_State *L, gradlua_libraries libraries) {
  if (libraries == GRADLUA_LIBRARIES_ALL)
    luaL_openlibs(L);
  else
    open_safe(L);
}

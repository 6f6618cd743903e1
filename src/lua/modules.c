/* modules.c: finds the Lua modules that are compiled in. */
#include "lua/modules.h"

#include <string.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>

static const gradlua_module *find(const char *name) {
  for (const gradlua_module *m = gradlua__modules; m->name; m++)
    if (strcmp(m->name, name) == 0) return m;
  return NULL;
}

/* `require` for our own modules where the host has no package library: what is loaded, else what is preloaded. */
static int require_preloaded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, name) != LUA_TNIL) return 1;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL) return luaL_error(L, "module '%s' is not compiled in", name);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) return 1;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
  return 1;
}

/* Gives the chunk on top globals with a `require` of our own modules where there is no package library; what a script
 * has under that name is none of theirs. */
static void lend_require(lua_State *L) {
  static const char key[] = "gradlua.globals";
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  const bool missing = lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TNIL;
  lua_pop(L, 2);
  if (missing) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, key) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_createtable(L, 0, 1);
      lua_pushcfunction(L, require_preloaded);
      lua_setfield(L, -2, "require");
      lua_createtable(L, 0, 1);
      lua_pushglobaltable(L);
      lua_setfield(L, -2, "__index");
      lua_setmetatable(L, -2);
      lua_pushvalue(L, -1);
      lua_setfield(L, LUA_REGISTRYINDEX, key);
    }
    lua_setupvalue(L, -2, 1);
  }
}

static void push_chunk(lua_State *L, const gradlua_module *module) {
  const char *chunk_name = lua_pushfstring(L, "=[%s]", module->name);
  if (luaL_loadbufferx(L, module->source, module->size, chunk_name, "t") != LUA_OK) lua_error(L);
  lua_remove(L, -2);
  lend_require(L);
}

/* A preload function: upvalue 1 is the table's entry. Called with the module's name. */
static int load_module(lua_State *L) {
  push_chunk(L, lua_touserdata(L, lua_upvalueindex(1)));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

void gradlua__modules_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const gradlua_module *m = gradlua__modules; m->name; m++) {
    if (lua_getfield(L, -1, m->name) == LUA_TNIL) {
      lua_pushlightuserdata(L, (void *)m);
      lua_pushcclosure(L, load_module, 1);
      lua_setfield(L, -3, m->name);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

int gradlua__modules_require(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, name) != LUA_TNIL) {
    lua_remove(L, -2);
    return 1;
  }
  lua_pop(L, 1);
  const gradlua_module *module = find(name);
  if (!module) {
    lua_pop(L, 1);
    return 0;
  }
  push_chunk(L, module);
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
  lua_remove(L, -2);
  return 1;
}

static const char internal[] = "gradlua.internal";

void gradlua__internal_push(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, internal);
  lua_remove(L, -2);
}

void gradlua__internal_set(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_insert(L, -2);
  lua_setfield(L, -2, internal);
  lua_pop(L, 1);
}

void gradlua__modules_publish(lua_State *L, const char *name) {
  gradlua__internal_push(L);
  lua_insert(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

/* jit_guard.c: what a recorded function took from outside of it. A number that it captured is part of its program; when
 * it has another value at a later call, the program is not the right one.
 *
 * A guard is four entries of a list: where (a function or a table), which (an upvalue's index, or a key), the value,
 * and its name. Functions and tables that are reached are looked into, within a budget; what lies deeper is not
 * guarded. */
#include <string.h>

#include "lua/jit.h"

enum { BUDGET = 512, ENTRIES = 4 };

/* Appends where (at `owner`), the key and the value that lie below and on the top of the stack, and a name; pops both.
 */
static void add_guard(lua_State *L, int guards, int owner, const char *name) {
  lua_Integer at = (lua_Integer)lua_rawlen(L, guards);
  lua_pushvalue(L, owner);
  lua_rawseti(L, guards, at + 1);
  if (lua_isnil(L, -1)) { /* a list cannot hold nil: its own table stands for it */
    lua_pop(L, 1);
    lua_pushvalue(L, guards);
  }
  lua_rawseti(L, guards, at + 3);
  lua_rawseti(L, guards, at + 2);
  lua_pushstring(L, name);
  lua_rawseti(L, guards, at + 4);
}

/* Puts the value on top into the queue of things to look into, once; keeps it on the stack. */
static void enqueue(lua_State *L, int queue, const char *name) {
  bool function = lua_isfunction(L, -1) && !lua_iscfunction(L, -1), table = lua_type(L, -1) == LUA_TTABLE;
  if (!function && !table) return;
  lua_pushvalue(L, -1);
  bool seen = lua_rawget(L, queue) != LUA_TNIL;
  lua_pop(L, 1);
  if (seen) return;
  lua_pushvalue(L, -1);
  lua_pushstring(L, name);
  lua_rawset(L, queue);
  lua_pushvalue(L, -1);
  lua_rawseti(L, queue, (lua_Integer)lua_rawlen(L, queue) + 1);
}

static bool full(lua_State *L, int guards) { return lua_rawlen(L, guards) >= BUDGET * ENTRIES; }

static void look_into_function(lua_State *L, int guards, int queue, int f) {
  const char *name;
  for (int i = 1; !full(L, guards) && (name = lua_getupvalue(L, f, i)) != NULL; i++) {
    bool globals = strcmp(name, "_ENV") == 0;
    if (!globals) enqueue(L, queue, name);
    lua_pushinteger(L, i);
    lua_insert(L, -2);
    if (globals)
      lua_pop(L, 2);
    else
      add_guard(L, guards, f, name);
  }
}

static void look_into_table(lua_State *L, int guards, int queue, int table, const char *owner) {
  lua_pushnil(L);
  while (!full(L, guards) && lua_next(L, table)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "an entry";
    const char *whole = lua_pushfstring(L, "%s.%s", owner, name);
    lua_insert(L, -3); /* name, key, value */
    enqueue(L, queue, whole);
    lua_pushvalue(L, -2);
    lua_insert(L, -2); /* name, key, key, value */
    add_guard(L, guards, table, whole);
    lua_remove(L, -2);
  }
  if (full(L, guards)) lua_settop(L, table);
}

static bool is_module(lua_State *L, int index) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_module);
  bool same = lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  return same;
}

void grad__jit_push_guards(lua_State *L, int f) {
  lua_newtable(L);
  int guards = lua_gettop(L), queue = guards + 1;
  lua_newtable(L); /* a list, and a set with the names */
  lua_pushvalue(L, f);
  enqueue(L, queue, "f");
  lua_pop(L, 1);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, queue) && !full(L, guards); i++) {
    lua_rawgeti(L, queue, i);
    int top = lua_gettop(L);
    if (lua_isfunction(L, top)) {
      look_into_function(L, guards, queue, top);
    } else if (!is_module(L, top)) {
      lua_pushvalue(L, top);
      lua_rawget(L, queue);
      const char *owner = lua_tostring(L, -1); /* kept alive by the queue */
      lua_pop(L, 1);
      look_into_table(L, guards, queue, top, owner);
    }
    lua_settop(L, queue);
  }
  lua_pop(L, 1);
}

bool grad__jit_check_guards(lua_State *L, int guards) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, guards);
  for (lua_Integer i = 0; i < n; i += ENTRIES) {
    int top = lua_gettop(L);
    lua_rawgeti(L, guards, i + 1);
    lua_rawgeti(L, guards, i + 2);
    if (lua_isfunction(L, top + 1)) {
      if (!lua_getupvalue(L, top + 1, (int)lua_tointeger(L, top + 2))) lua_pushnil(L);
    } else {
      lua_pushvalue(L, top + 2);
      lua_rawget(L, top + 1);
    }
    lua_rawgeti(L, guards, i + 3);
    bool same = lua_rawequal(L, -1, -2) || (lua_isnil(L, -2) && lua_rawequal(L, -1, guards));
    lua_settop(L, top);
    if (same) continue;
    lua_rawgeti(L, guards, i + 4);
    return false;
  }
  return true;
}

/* about.c: what is known about a function: the row it was made from, and the sources that are compiled in. The
 * table `internal.about`, on which lua/gradlua/help.lua and scripts/docs stand. */
#include <string.h>

#include "lua/binding.h"
#include "lua/modules.h"

/* row(f) -> name, signature, doc, is_method; nothing when f is no function of the binding */
static int about_row(lua_State *L) {
  if (!lua_iscfunction(L, 1) || !lua_getupvalue(L, 1, 1)) return 0;
  if (lua_touserdata(L, -1) != grad__lua(L) || !lua_getupvalue(L, 1, 2)) return 0;
  const grad_fn *row = lua_touserdata(L, -1);
  if (!row) return 0;
  lua_pushstring(L, row->name);
  lua_pushstring(L, row->signature ? row->signature : "");
  lua_pushstring(L, row->doc ? row->doc : "");
  lua_pushboolean(L, row->method);
  return 4;
}

/* source(name) -> the text of a module that is compiled in, or nil */
static int about_source(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (const gradlua_module *m = gradlua__modules; m->name; m++) {
    if (strcmp(m->name, name) != 0) continue;
    lua_pushlstring(L, m->source, m->size);
    return 1;
  }
  return 0;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION("row", about_row, "f -> name, signature, doc, is_method", "what a function is"),
    GRAD_FUNCTION("source", about_source, "name -> string", "a module's source"), GRAD_FN_END};

void grad__open_about(lua_State *L) {
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "about");
}

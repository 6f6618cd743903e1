/* run.c: protected calls with a traceback. */
#include "cli/cli.h"

#include <stdio.h>
#include <lauxlib.h>

static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (!message) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

int cli_call(lua_State *L, int nargs, int nresults) {
  const int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  cli_interrupt_begin(L);
  const int status = lua_pcall(L, nargs, nresults, base);
  cli_interrupt_end(L);
  lua_remove(L, base);
  return status;
}

int cli_report(lua_State *L, int status) {
  if (status == LUA_OK) return status;
  const char *message = lua_tostring(L, -1);
  fflush(stdout);
  fprintf(stderr, "gradlua: %s\n", message ? message : "(error message is not a string)");
  fflush(stderr);
  lua_pop(L, 1);
  return status;
}

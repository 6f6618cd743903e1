/* error.c: the one place where a status becomes a Lua error with the user's file and line. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/modules.h"

/* The modules that are compiled in have chunk names "=[gradlua.NAME]" (modules.c). */
bool grad__lua_is_own_source(const char *source) { return strncmp(source, "=[gradlua", 9) == 0; }

bool grad__lua_user_frame(lua_State *L, lua_Debug *ar) {
  for (int level = 1; lua_getstack(L, level, ar); level++) {
    lua_getinfo(L, "Sl", ar);
    if (ar->currentline > 0 && !grad__lua_is_own_source(ar->source)) return true;
  }
  return false;
}

void grad__lua_push_where(lua_State *L) {
  lua_Debug ar;
  if (grad__lua_user_frame(L, &ar))
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
  else
    lua_pushliteral(L, "");
}

/* Messages of the core often begin with an operation's name already: the function's own, or, of a function that is
 * made of ops, that of an op which the user has not called. The rest of such a message. */
static const char *without_name(const grad_fn *fn, const char *message) {
  if (!fn) return message;
  const size_t n = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (n == 0 || strncmp(message + n, ": ", 2) != 0) return message;
  const bool own = strncmp(message, fn->name, n) == 0 && fn->name[n] == 0;
  return own || fn->build || fn->plain ? message + n + 2 : message;
}

/* Does the message begin with a name of its own, "optim.adam: .." or "schedule.step: .."? */
static bool is_named(const char *message) {
  const size_t n = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_.:");
  return n > 1 && message[n - 1] == ':' && message[n] == ' ' && memchr(message, '.', n) != NULL;
}

#if defined __GNUC__
__attribute__((noreturn))
#endif
static void
raise(lua_State *L, const char *message) {
  const grad_fn *fn = grad__lua_fn(L);
  grad__lua_push_where(L);
  if (lua_rawlen(L, -1) > 0) {
    lua_pushliteral(L, ": ");
    lua_concat(L, 2);
  }
  if (fn && !is_named(message))
    lua_pushfstring(L, "%s: %s", fn->name, message);
  else
    lua_pushstring(L, message);
  lua_concat(L, 2);
  lua_error(L);
  abort();
}

void grad__lua_error(lua_State *L, const char *format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  raise(L, message);
}

void grad__lua_check(lua_State *L, grad_status status) {
  if (status == GRAD_OK) return;
  grad_lua *g = grad__lua(L);
  if (status == GRAD_EINTERRUPT) {
    g->interrupted = 0;
    luaL_error(L, "interrupted!");
  }
  const char *message = grad_message(g->ctx);
  raise(L, *message ? without_name(grad__lua_fn(L), message) : grad_status_text(status));
}

/* internal.fail(message): an error at the user's line */
static int fail(lua_State *L) { raise(L, luaL_checkstring(L, 1)); }

void grad__open_error(lua_State *L) {
  grad__lua_push_function(L, fail, NULL, 0);
  gradlua__modules_publish(L, "fail");
}

/* arity.c: functions refuse more arguments than they take, which Lua would drop without a word. */
#include <string.h>

#include "lua/binding.h"
#include "lua/modules.h"

/* --- rows */

/* What a call may have, an upvalue of the row's function: how many arguments the signature names (one more than there
 * are commas outside of braces), and whether the last of them is a table of options, "[, {..}]"; of a method of an
 * object they come after the object. */
typedef struct limit {
  int most;
  bool options, of_object;
} limit;
enum { HAS_OPTIONS = 1, OF_OBJECT = 2, COUNT = 4 };

/* False: there is none, "...". */
static bool read_limit(const char *signature, limit *out) {
  int depth = 0;
  *out = (limit){.most = strncmp(signature, "->", 2) != 0 && *signature};
  for (const char *at = signature; *at && strncmp(at, "->", 2) != 0; at++) {
    if (depth == 0 && strncmp(at, "...", 3) == 0) return false;
    if (strncmp(at, "[, {", 4) == 0) out->options = true;
    out->most += *at == ',' && depth == 0;
    depth += (*at == '{') - (*at == '}');
  }
  return true;
}

static void check_count(lua_State *L, const grad_fn *fn, limit l) {
  int n = lua_gettop(L) - l.of_object, most = l.most;
  while (n > most && lua_isnil(L, n + l.of_object)) n--;
  const int last = n + l.of_object;
  const bool misplaced = l.options && n == most && !lua_isnil(L, last) && !lua_istable(L, last);
  if (n <= most && !misplaced) return;
  most -= l.options;
  grad__lua_error(L, "takes %s%d argument%s%s, got %d: %s(%.*s)", strchr(fn->signature, '[') ? "at most " : "", most,
                  most == 1 ? "" : "s", l.options ? " and a table of options" : "", n, fn->name,
                  (int)strcspn(fn->signature, ">") - (int)strlen(" -"), fn->signature);
}

static int call_counted(lua_State *L) {
  const grad_fn *fn = grad__lua_fn(L);
  const int bits = (int)lua_tointeger(L, lua_upvalueindex(3));
  const limit l = {.most = bits / COUNT, .options = bits & HAS_OPTIONS, .of_object = (bits & OF_OBJECT) != 0};
  if (lua_gettop(L) - l.of_object >= l.most) check_count(L, fn, l);
  return fn->call ? fn->call(L) : grad__call_row(L);
}

void grad__lua_push_row(lua_State *L, const grad_fn *row, bool of_object) {
  limit l;
  if (!row->signature || !read_limit(row->signature, &l)) {
    grad__lua_push_function(L, row->call ? row->call : grad__call_row, row, 0);
    return;
  }
  of_object = of_object && strncmp(row->signature, "self", strlen("self")) != 0;
  lua_pushinteger(L, COUNT * l.most + (of_object ? OF_OBJECT : 0) + (l.options ? HAS_OPTIONS : 0));
  grad__lua_push_function(L, call_counted, row, 1);
}

/* --- functions of the Lua modules */

enum { UP_FUNCTION = 3, UP_MOST, UP_NAME };

static int return_all(lua_State *L, int status, lua_KContext context) {
  (void)status, (void)context;
  return lua_gettop(L);
}

static int call_lua(lua_State *L) {
  const int most = (int)lua_tointeger(L, lua_upvalueindex(UP_MOST));
  int n = lua_gettop(L);
  while (n > most && lua_isnil(L, n)) n--;
  if (n > most)
    grad__lua_error(L, "%s: takes at most %d argument%s, got %d", lua_tostring(L, lua_upvalueindex(UP_NAME)), most,
                    most == 1 ? "" : "s", n);
  lua_settop(L, n);
  lua_pushvalue(L, lua_upvalueindex(UP_FUNCTION));
  lua_insert(L, 1);
  lua_callk(L, n, LUA_MULTRET, 0, return_all);
  return lua_gettop(L);
}

/* counted(name, f) -> f itself when it is in C or takes any number of arguments, else a function that counts them */
static int counted(lua_State *L) {
  lua_Debug ar;
  lua_settop(L, 2);
  if (lua_iscfunction(L, 2)) return 1;
  lua_pushvalue(L, 2);
  lua_getinfo(L, ">u", &ar);
  if (ar.isvararg) return 1;
  lua_pushinteger(L, ar.nparams);
  lua_pushvalue(L, 1);
  grad__lua_push_function(L, call_lua, NULL, 3);
  return 1;
}

/* plain(f) -> the function that counted(name, f) was given, or f */
static int plain(lua_State *L) {
  if (lua_tocfunction(L, 1) == call_lua) lua_getupvalue(L, 1, UP_FUNCTION);
  return 1;
}

void grad__open_arity(lua_State *L) {
  static const grad_fn rows[] = {{.name = "counted", .call = counted}, {.name = "plain", .call = plain}, GRAD_FN_END};
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "arity");
}

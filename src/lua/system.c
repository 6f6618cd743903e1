/* system.c: time, threads, and what the table of rows tells about the functions: the reference and gl.help. */
#include <string.h>
#include <time.h>

#include "exec/pool.h"
#include "lua/binding.h"

static int clock_seconds(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
  return 1;
}

/* The pool is made anew, with the new number, when it is next needed. */
static int set_threads(lua_State *L) {
  grad_ctx *ctx = grad__lua_ctx(L);
  int64_t n = grad__arg_integer(L, 1, "the number of threads");
  if (n < 1 || n > 1024) grad__lua_error(L, "the number of threads must be in 1 .. 1024, got %lld", (long long)n);
  if (ctx->pool && ctx->pool_free) ctx->pool_free(ctx->pool);
  ctx->pool = NULL;
  ctx->threads = (int)n;
  return 0;
}

static int get_threads(lua_State *L) {
  lua_pushinteger(L, grad__lua_ctx(L)->threads);
  return 1;
}

/* Every registered function is a closure with its row as upvalue 2. */
static const grad_fn *row_of(lua_State *L, int index) {
  const grad_fn *fn = NULL;
  if (lua_iscfunction(L, index) && lua_getupvalue(L, index, 2)) {
    if (lua_islightuserdata(L, -1)) fn = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  return fn;
}

static void set_field(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void push_rows(lua_State *L, int table, bool methods) {
  lua_pushnil(L);
  while (lua_next(L, table)) {
    const grad_fn *fn = lua_type(L, -2) == LUA_TSTRING ? row_of(L, lua_gettop(L)) : NULL;
    if (fn && (!methods || fn->method)) {
      lua_newtable(L);
      set_field(L, "name", fn->name);
      set_field(L, "signature", fn->signature);
      set_field(L, "doc", fn->doc);
      lua_pushboolean(L, fn->method);
      lua_setfield(L, -2, "method");
      lua_pushvalue(L, -3);
      lua_pushvalue(L, -2);
      lua_rawset(L, table + 2);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

static int reference(lua_State *L) {
  lua_settop(L, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_module);
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_methods);
  lua_newtable(L);
  push_rows(L, 1, false);
  return 1;
}

/* A function, or the name of one. */
static int help(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_module);
    lua_pushvalue(L, 1);
    lua_gettable(L, -2);
    lua_replace(L, 1);
  }
  const grad_fn *fn = row_of(L, 1);
  if (!fn) grad__lua_error(L, "nothing is known about a %s that is no function of gradlua", luaL_typename(L, 1));
  lua_pushfstring(L, "%s(%s)\n  %s%s", fn->name, fn->signature, fn->doc, fn->method ? "\n  also a method of tensors" : "");
  return 1;
}

static const grad_fn rows[] = {
    {.name = "clock", .signature = "-> seconds", .doc = "wall-clock time, for differences", .call = clock_seconds},
    {.name = "set_threads", .signature = "n", .doc = "how many threads large operations use", .call = set_threads},
    {.name = "get_threads", .signature = "-> n", .doc = "how many threads large operations use", .call = get_threads},
    {.name = "reference", .signature = "-> table", .doc = "name, signature and doc line of every function, by name", .call = reference},
    {.name = "help", .signature = "f -> string", .doc = "signature and doc line of a function, given as it is or by name", .call = help},
    GRAD_FN_END,
};

void grad__open_system(lua_State *L) { grad__lua_register(L, rows); }

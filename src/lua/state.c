/* state.c: opening the module, the state that belongs to a Lua state, and what the collector is told of C memory. */
#include <string.h>

#include "fn/cache.h"
#include "lua/binding.h"
#include "lua/call.h"
#include "lua/modules.h"
#include "lua/trace.h"

static const char state_key; /* its address is the registry key of the state */

static grad_lua *state_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  grad_lua *g = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return g;
}

void grad__lua_close(lua_State *L) {
  grad_lua *g = state_of(L);
  if (g) g->closed = true;
}

GRAD_API grad_ctx *gradlua_context(lua_State *L) {
  grad_lua *g = state_of(L);
  return g ? g->ctx : NULL;
}

GRAD_API volatile int *gradlua_interrupt_flag(lua_State *L) {
  grad_lua *g = state_of(L);
  return g ? &g->interrupted : NULL;
}

static int was_interrupted(void *ud) { return ((grad_lua *)ud)->interrupted; }

static int state_gc(lua_State *L) {
  grad_lua *g = lua_touserdata(L, 1);
  g->closed = true;
  if (!g->ctx) return 0;
  grad__free(g->ctx, g->traces, (size_t)g->ntraces * sizeof *g->traces);
  g->traces = NULL;
  grad__cache_free(g->cache);
  grad__arena_clear(&g->arena);
  grad_ctx_free(g->ctx);
  g->ctx = NULL;
  return 0;
}

/* Upvalue 1 gives the memory back. What is finalized may still be reached: by a finalizer of Lua's, or as a key of a
 * weak table until the next cycle. Without its metatable it is nothing that any function takes. */
static int finalize(lua_State *L) {
  lua_CFunction gc = lua_tocfunction(L, lua_upvalueindex(1));
  gc(L); /* not called by Lua, which might find no memory for that */
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_setmetatable(L, 1);
  return 0;
}

/* For the metatable on top: gc has no upvalues. */
static void set_finalizer(lua_State *L, lua_CFunction gc) {
  lua_pushcfunction(L, gc);
  lua_pushcclosure(L, finalize, 1);
  lua_setfield(L, -2, "__gc");
}

void *grad__lua_owner_push(lua_State *L, const char *name, size_t bytes, int nuservalues, lua_CFunction gc) {
  void *owner = lua_newuserdatauv(L, bytes, nuservalues);
  memset(owner, 0, bytes);
  if (luaL_getmetatable(L, name) == LUA_TNIL) { /* known only once it is whole: memory may run out in between */
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    set_finalizer(L, gc);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
  }
  lua_setmetatable(L, -2);
  return owner;
}

void *grad__lua_grow(lua_State *L, grad_ctx *ctx, void *block, int32_t needed, int32_t *cap, size_t size) {
  if (needed <= *cap) return block;
  const int32_t wider = 2 * needed + 8;
  void *grown = grad__realloc(ctx, block, (size_t)*cap * size, (size_t)wider * size);
  if (!grown) grad__lua_check(L, ctx->status);
  memset((char *)grown + (size_t)*cap * size, 0, (size_t)(wider - *cap) * size);
  *cap = wider;
  return grown;
}

/* The core allocates through Lua's own allocator, so a host that limits or counts Lua's memory sees all of it. */
static void make_state(lua_State *L) {
  grad_lua *g = grad__lua_owner_push(L, "gradlua.state", sizeof *g, 0, state_gc);
  grad_config config = {.interrupt = was_interrupted, .interrupt_ud = g};
  config.alloc = lua_getallocf(L, &config.alloc_ud);
  if (grad_ctx_new(&config, &g->ctx) != GRAD_OK) luaL_error(L, "gradlua: not enough memory for a context");
  grad__arena_init(&g->arena, g->ctx);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
}

void grad__lua_push_function(lua_State *L, lua_CFunction f, const grad_fn *row, int extra) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  lua_pushlightuserdata(L, (void *)row);
  lua_rotate(L, -2 - extra, 2);
  lua_pushcclosure(L, f, 2 + extra);
}

void grad__lua_register_row(lua_State *L, const grad_fn *row) {
  grad__lua_push_row(L, row, false);
  if (row->method) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->ref_methods);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, row->name);
    lua_pop(L, 1);
  }
  lua_setfield(L, -2, row->name);
}

void grad__lua_register(lua_State *L, const grad_fn *rows) {
  for (; rows->name; rows++) grad__lua_register_row(L, rows);
}

void grad__lua_metatable(lua_State *L, const char *name, const grad_fn *rows) {
  bool has_index = false;
  lua_CFunction gc = NULL;
  luaL_newmetatable(L, name);
  lua_newtable(L);
  for (; rows->name; rows++) {
    bool event = strncmp(rows->name, "__", 2) == 0;
    if (strcmp(rows->name, "__gc") == 0) {
      gc = rows->call;
      continue;
    }
    grad__lua_push_row(L, rows, !event);
    lua_setfield(L, event ? -3 : -2, rows->name);
    has_index = has_index || strcmp(rows->name, "__index") == 0;
  }
  lua_setfield(L, -2, has_index ? "methods" : "__index");
  if (!gc) return;
  set_finalizer(L, gc);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__metatable");
}

struct grad_cache *grad__lua_cache(lua_State *L) {
  grad_lua *g = grad__lua(L);
  if (!g->cache) grad__lua_check(L, grad__cache_new(g->ctx, 0, 0, &g->cache));
  return g->cache;
}

/* Lua's collector paces itself by Lua's own memory; here it is told of ours, 4 MiB at a time, as if Lua had allocated
 * it. Each time costs it most of a cycle: with one MiB that is 8 % of a training step and 20 % of an eager sum of 1,000
 * numbers; with twelve the garbage falls out of the cache. Nothing is forced on a host that has stopped the collector.
 */
void grad__lua_charge(lua_State *L, size_t bytes) {
  if (bytes == 0) return;
  enum { CHARGE = 4 << 20 };
  grad_lua *g = state_of(L);
  g->uncharged += bytes;
  if (g->uncharged < CHARGE) return;
  size_t kib = g->uncharged >> 10;
  g->uncharged = 0;
  if (lua_gc(L, LUA_GCISRUNNING) != 1) return;
  lua_gc(L, LUA_GCSTEP, kib > (1u << 20) ? 1 << 20 : (int)kib);
}

/* Runs as a closure with the state as upvalue 1, which the helpers of binding.h expect. */
static int open_all(lua_State *L) {
  grad_lua *g = grad__lua(L);
  lua_newtable(L);
  g->ref_methods = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  g->ref_module = luaL_ref(L, LUA_REGISTRYINDEX);
#define OPENER(name) grad__open_##name(L);
#include "lua/openers.def"
#undef OPENER
  return 1;
}

/* A Lua state has one of ours: who empties package.loaded and asks again gets what was opened before. */
static int open_again(lua_State *L, const grad_lua *g) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, g->ref_internal);
  gradlua__internal_set(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, g->ref_module);
  return 1;
}

GRAD_API int luaopen_gradlua_core(lua_State *L) {
  luaL_checkversion(L);
  if (state_of(L) && state_of(L)->opened) return open_again(L, state_of(L));
  make_state(L);
  grad__lua_push_function(L, open_all, NULL, 0);
  lua_call(L, 0, 1);
  grad_lua *g = state_of(L);
  gradlua__internal_push(L);
  g->ref_internal = luaL_ref(L, LUA_REGISTRYINDEX);
  g->opened = true;
  return 1;
}

GRAD_API int luaopen_gradlua(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_gradlua_core);
  lua_setfield(L, -2, "gradlua.core");
  gradlua__modules_preload(L);
  if (!gradlua__modules_require(L, "gradlua")) return luaL_error(L, "gradlua: its Lua modules are not compiled in");
  return 1;
}

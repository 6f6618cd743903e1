/* system.c: time, threads, the plan cache. */
#include <math.h>
#include <time.h>

#include "core/ctx.h"
#include "fn/cache.h"
#include "lua/binding.h"
#include "lua/modules.h"

static int clock_seconds(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
  return 1;
}

static int set_threads(lua_State *L) {
  grad_ctx *ctx = grad__lua_ctx(L);
  int64_t n = grad__arg_integer(L, 1, "the number of threads");
  if (n < 1 || n > ctx->most_threads)
    grad__lua_error(L, "the number of threads must be in 1 .. %d, got %lld", ctx->most_threads, (long long)n);
  grad_ctx_set_threads(ctx, (int)n);
  return 0;
}

static int get_threads(lua_State *L) {
  lua_pushinteger(L, grad__lua_ctx(L)->threads);
  return 1;
}

/* progress() -> whether the host wants to be told; progress(label, done, total, seconds) tells it. */
static int progress(lua_State *L) {
  grad_ctx *ctx = grad__lua_ctx(L);
  lua_settop(L, 4);
  lua_pushboolean(L, ctx->progress != NULL);
  if (!ctx->progress || lua_isnil(L, 1)) return 1;
  const grad_progress now = {.task = luaL_checkstring(L, 1),
                             .iteration = grad__arg_integer(L, 2, "done"),
                             .total = grad__arg_integer(L, 3, "total"),
                             .f = (double)NAN,
                             .gradient_norm = (double)NAN,
                             .seconds = grad__arg_number(L, 4, "seconds")};
  if (ctx->progress(ctx->progress_ud, &now)) grad__lua_error(L, "stopped by the host");
  return 1;
}

static int cache_stats(lua_State *L) {
  grad_cache_stats stats;
  grad__cache_stats(grad__lua_cache(L), &stats);
  lua_createtable(L, 0, 6);
  grad__set_integer(L, "hits", (int64_t)stats.hits);
  grad__set_integer(L, "misses", (int64_t)stats.misses);
  grad__set_integer(L, "evictions", (int64_t)stats.evictions);
  grad__set_integer(L, "plans", (int64_t)stats.plans);
  grad__set_integer(L, "entries", stats.entries);
  grad__set_integer(L, "bytes", stats.bytes);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION("clock", clock_seconds, "-> seconds", "wall-clock time, for differences"),
    GRAD_FUNCTION("set_threads", set_threads, "n", "how many threads large operations use"),
    GRAD_FUNCTION("get_threads", get_threads, "-> n", "how many threads large operations use"),
    GRAD_FUNCTION(
        "cache_stats", cache_stats, "-> table",
        "of the plan cache, in which transforms find what they derived from an equal trace: hits, misses, evictions, "
        "plans, entries, bytes"),
    GRAD_FN_END,
};

static const grad_fn progress_row = {.name = "progress"};

void grad__open_system(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_push_function(L, progress, &progress_row, 0);
  gradlua__modules_publish(L, "progress");
}

/* host_limits.c: what a host may limit: memory, time, Lua instructions; and stopping.
 *
 * A count hook looks every GRADLUA_STRIDE instructions; once a limit is passed it fires at every instruction, so that a
 * script that catches the error meets it again at once: only the end of the host's call ends it. Kernels look at the
 * same conditions through the context's interrupt. */
#include <lauxlib.h>
#include <time.h>

#include "core/ctx.h"
#include "lua/host/host.h"

static gradlua *of_state(lua_State *L) { return *(gradlua **)lua_getextraspace(L); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *alloc_within_limit(gradlua *g, void *block, size_t old, size_t new_size) {
  if (new_size > old && g->config.byte_limit) {
    size_t more = new_size - old;
    if (g->used > g->config.byte_limit || more > g->config.byte_limit - g->used) return NULL;
  }
  void *result = g->alloc(g->config.alloc_ud, block, old, new_size);
  if (result || new_size == 0) g->used += new_size - old;
  return result;
}

/* For a new block Lua passes the kind of object instead of a size. What the core keeps for reuse is given up before Lua
 * goes without. */
void *gradlua__host_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
  gradlua *g = ud;
  size_t old = block ? old_size : 0;
  void *result = alloc_within_limit(g, block, old, new_size);
  if (result || new_size == 0 || !g->ctx) return result;
  grad__drop_kept_blocks(g->ctx);
  return alloc_within_limit(g, block, old, new_size);
}

const char *gradlua__limits_reason(const gradlua *g) {
  if (g->ended) return g->ended;
  if (g->stop) return "stopped by the host";
  if (g->config.interrupt && g->config.interrupt(g->config.interrupt_ud)) return "interrupted by the host";
  if (g->deadline > 0 && now() > g->deadline) return "the time limit of this call is reached";
  return NULL;
}

int gradlua__host_interrupt(void *ud) {
  const gradlua *g = ud;
  return g->running && gradlua__limits_reason(g);
}

static void look(lua_State *L, lua_Debug *ar) {
  (void)ar;
  gradlua__limits_look(L);
}

void gradlua__limits_look(lua_State *L) {
  gradlua *g = of_state(L);
  if (!g->running) return;
  if (!g->ended) {
    g->ended = gradlua__limits_reason(g);
    g->instructions -= GRADLUA_STRIDE;
    if (!g->ended && g->config.max_instructions && g->instructions < 0)
      g->ended = "the limit on Lua instructions of this call is reached";
    if (!g->ended) return;
  }
  lua_sethook(L, look, LUA_MASKCOUNT, 1);
  luaL_error(L, "%s", g->ended);
}

void gradlua__limits_install(gradlua *g) {
  grad_ctx *ctx = gradlua_context(g->L);
  ctx->interrupt = gradlua__host_interrupt;
  ctx->interrupt_ud = g;
  ctx->progress = g->config.progress;
  ctx->progress_ud = g->config.progress_ud;
  if (g->config.threads > 0) {
    grad_ctx_set_threads(ctx, g->config.threads);
    ctx->most_threads = ctx->threads;
  }
  lua_sethook(g->L, look, LUA_MASKCOUNT, GRADLUA_STRIDE);
}

void gradlua__limits_begin(gradlua *g) {
  g->ended = NULL;
  g->instructions = g->config.max_instructions;
  g->deadline = g->config.max_seconds > 0 ? now() + g->config.max_seconds : 0;
  lua_sethook(g->L, look, LUA_MASKCOUNT, GRADLUA_STRIDE);
}

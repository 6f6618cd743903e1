/* host.c: the toolkit for a host: making a state, running scripts, errors as statuses. */
#include "lua/host/host.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ctx.h"
#include "lua/binding.h"

static void *libc_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
  (void)ud, (void)old_size;
  if (new_size > 0) return realloc(block, new_size);
  free(block);
  return NULL;
}

static grad_status fail(gradlua *g, grad_status status, const char *message) {
  snprintf(g->message, sizeof g->message, "%s", message ? message : grad_status_text(status));
  return status;
}

/* --- protected calls */

/* The error as text with a traceback; built of strings only, so that it works without the debug library. */
static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (!message) message = luaL_tolstring(L, 1, NULL);
  luaL_traceback(L, L, message, 1);
  return 1;
}

/* Which status an error that reached the host stands for. */
static grad_status status_of(const gradlua *g, int lua_status) {
  if (gradlua__limits_reason(g)) return GRAD_EINTERRUPT;
  if (lua_status == LUA_ERRMEM) return g->config.byte_limit ? GRAD_ELIMIT : GRAD_ENOMEM;
  return GRAD_ESCRIPT;
}

/* A kernel that was stopped says "interrupted!" only. */
static void add_reason(gradlua *g) {
  const char *reason = gradlua__limits_reason(g);
  size_t used = strlen(g->message);
  if (!reason || strstr(g->message, reason)) return;
  snprintf(g->message + used, sizeof g->message - used, "%s%s", used ? "\n" : "", reason);
}

/* A stop that came too late for this call is for the next one. */
static grad_status end_call(gradlua *g, grad_status status) {
  if (status == GRAD_EINTERRUPT) {
    add_reason(g);
    g->stop = 0;
  }
  g->ended = NULL;
  return status;
}

grad_status gradlua__protected(gradlua *g, lua_CFunction f, void *ud) {
  if (g->running) return fail(g, GRAD_EVALUE, "a call from the host is under way in this state");
  lua_State *L = g->L;
  int top = lua_gettop(L);
  g->message[0] = '\0';
  gradlua__limits_begin(g);
  if (gradlua__limits_reason(g)) return end_call(g, GRAD_EINTERRUPT);
  g->running = true;
  lua_pushcfunction(L, add_traceback);
  lua_pushcfunction(L, f);
  lua_pushlightuserdata(L, ud);
  int lua_status = lua_pcall(L, 1, 0, top + 1);
  grad_status status = GRAD_OK;
  if (lua_status != LUA_OK) {
    status = fail(g, status_of(g, lua_status), lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL);
  }
  g->running = false;
  lua_settop(L, top);
  return end_call(g, status);
}

/* --- making and ending */

static int open_everything(lua_State *L) {
  gradlua *g = lua_touserdata(L, 1);
  gradlua__libraries_open(L, g->config.libraries);
  luaL_requiref(L, "gradlua", luaopen_gradlua, 0);
  lua_setglobal(L, "gl");
  gradlua__limits_install(g);
  gradlua__files_install(g);
  return 0;
}

/* Reached only for errors outside every protected call, which there are none of: a bug of ours ends the process in
 * Lua's way, there being no way back. */
static int panic(lua_State *L) {
  (void)L;
  return 0;
}

static void quiet_warning(void *ud, const char *message, int more) { (void)ud, (void)message, (void)more; }

grad_status gradlua_new(const gradlua_config *config, gradlua **out) {
  static const size_t first_size = offsetof(gradlua_config, file_calls) + sizeof(void *);
  gradlua_config given = {0};
  if (config) grad__config_read(&given, sizeof given, config, config->size, first_size);
  const gradlua_file_calls *calls = given.file_calls;
  if (given.files == GRADLUA_FILES_HOST && !(calls && calls->open && calls->read && calls->write && calls->close))
    return GRAD_EVALUE;
  grad_alloc_fn alloc = given.alloc ? given.alloc : libc_alloc;
  gradlua *g = alloc(given.alloc_ud, NULL, 0, sizeof *g);
  if (!g) return GRAD_ENOMEM;
  *g = (gradlua){.config = given, .alloc = alloc};
  g->L = lua_newstate(gradlua__host_alloc, g);
  if (g->L) {
    *(gradlua **)lua_getextraspace(g->L) = g;
    lua_atpanic(g->L, panic);
    lua_setwarnf(g->L, quiet_warning, NULL);
    if (gradlua__protected(g, open_everything, g) == GRAD_OK) {
      g->ctx = gradlua_context(g->L);
      *out = g;
      return GRAD_OK;
    }
  }
  gradlua_free(g);
  return GRAD_ENOMEM;
}

void gradlua_free(gradlua *g) {
  if (!g) return;
  g->running = false;
  g->ctx = NULL;
  if (g->L) {
    grad__lua_close(g->L);
    lua_close(g->L);
  }
  g->alloc(g->config.alloc_ud, g, sizeof *g, 0);
}

lua_State *gradlua_state(gradlua *g) { return g->L; }
grad_ctx *gradlua_core(gradlua *g) { return g->ctx; }
const char *gradlua_message(const gradlua *g) { return g->message; }
size_t gradlua_bytes(const gradlua *g) { return g->used; }
void gradlua_stop(gradlua *g) { g->stop = 1; }

/* --- scripts */

typedef struct script {
  const char *text, *chunk, *path, *name;
  size_t size;
} script;

static int run_script(lua_State *L) {
  const script *s = lua_touserdata(L, 1);
  int status = s->path ? luaL_loadfilex(L, s->path, "t") : luaL_loadbufferx(L, s->text, s->size, s->chunk, "t");
  if (status != LUA_OK) lua_error(L);
  lua_call(L, 0, 1);
  if (s->name) lua_setglobal(L, s->name);
  return 0;
}

grad_status gradlua_run(gradlua *g, const char *text, size_t size, const char *chunk, const char *name) {
  script s = {.text = text, .size = size, .chunk = chunk ? chunk : "=script", .name = name};
  return gradlua__protected(g, run_script, &s);
}

grad_status gradlua_run_file(gradlua *g, const char *path, const char *name) {
  script s = {.path = path, .name = name};
  return gradlua__protected(g, run_script, &s);
}

/* host_files.c: the files that scripts reach: the system's, the host's own, or none; and, in the safe library, dofile,
 * loadfile and require, which go the same way. */
#include <lauxlib.h>
#include <string.h>

#include "core/ctx.h"
#include "io/bytes.h"
#include "lua/host/host.h"

/* --- the host's files as sources and sinks */

typedef struct host_file {
  const gradlua_file_calls *calls;
  grad_ctx *ctx;
  void *file;
  const char *path;
} host_file;

static grad_status check(grad_ctx *ctx, grad_status status, const char *verb, const char *path) {
  if (!status) return GRAD_OK;
  return grad__fail(ctx, status, "cannot %s %s: the host says: %s", verb, path, grad_status_text(status));
}

/* NULL: the failure is recorded. */
static host_file *open_file(const gradlua_file_calls *calls, grad_ctx *ctx, const char *path, bool writing) {
  host_file *const f = grad__alloc(ctx, sizeof *f);
  if (!f) return NULL;
  *f = (host_file){.calls = calls, .ctx = ctx, .path = path};
  if (!check(ctx, calls->open(calls->user, path, writing, &f->file), writing ? "write" : "open", path)) return f;
  grad__free(ctx, f, sizeof *f);
  return NULL;
}

static grad_status close_file(void *ud, grad_ctx *ctx, bool keep) {
  const host_file f = *(host_file *)ud;
  grad__free(ctx, ud, sizeof f);
  const grad_status status = f.calls->close(f.calls->user, f.file, keep);
  return keep ? check(ctx, status, "write", f.path) : GRAD_OK;
}

static void close_source(void *ud) { close_file(ud, ((host_file *)ud)->ctx, false); }

static grad_status read_file(void *ud, grad_ctx *ctx, void *buffer, size_t size, size_t *got) {
  const host_file *f = ud;
  grad_status status = f->calls->read(f->calls->user, f->file, buffer, size, got);
  if (!status && *got > size) status = GRAD_EIO;
  return check(ctx, status, "read", f->path);
}

static grad_status write_file(void *ud, grad_ctx *ctx, const void *data, size_t size) {
  const host_file *f = ud;
  return check(ctx, f->calls->write(f->calls->user, f->file, data, size), "write", f->path);
}

static grad_status open_host_source(void *ud, grad_ctx *ctx, const char *path, grad_source *out) {
  host_file *const f = open_file(ud, ctx, path, false);
  if (!f) return ctx->status;
  *out = (grad_source){.read = read_file, .close = close_source, .ud = f, .name = path, .size = -1};
  return GRAD_OK;
}

static grad_status open_host_sink(void *ud, grad_ctx *ctx, const char *path, grad_file_sink *out) {
  host_file *const f = open_file(ud, ctx, path, true);
  if (!f) return ctx->status;
  *out = (grad_file_sink){.sink = {.write = write_file, .ud = f, .name = path}, .close = close_file, .ctx = ctx};
  return GRAD_OK;
}

/* --- no files */

static grad_status refuse(grad_ctx *ctx, const char *path) {
  return grad__fail(ctx, GRAD_EIO, "cannot open %s: the host gives scripts no access to files", path);
}

static grad_status refuse_source(void *ud, grad_ctx *ctx, const char *path, grad_source *out) {
  (void)ud, (void)out;
  return refuse(ctx, path);
}

static grad_status refuse_sink(void *ud, grad_ctx *ctx, const char *path, grad_file_sink *out) {
  (void)ud, (void)out;
  return refuse(ctx, path);
}

/* --- running files, without the package library */

/* Pushes the chunk that the file at `path` holds and returns true; else pushes a message. */
static bool load_path(lua_State *L, const char *path) {
  grad_ctx *ctx = gradlua_context(L);
  grad_source source;
  grad_bytes text = {.ctx = ctx};
  const char *chunk = lua_pushfstring(L, "@%s", path);
  luaL_checkstack(L, 2, NULL);
  grad_status status = grad__source_open(ctx, path, &source);
  if (!status) {
    status = grad__bytes_read(ctx, &source, &text);
    grad__source_close(&source);
  }
  /* lua_load runs protected: no error passes by the text. */
  const bool loaded = !status && luaL_loadbufferx(L, (const char *)text.data, text.size, chunk, "t") == LUA_OK;
  grad__bytes_clear(&text);
  if (status) lua_pushstring(L, grad_message(ctx));
  lua_remove(L, -2);
  return loaded;
}

/* loadfile(path [, mode [, env]]): only text is loaded, whatever the mode says. */
static int load_file(lua_State *L) {
  lua_settop(L, 3);
  if (!load_path(L, luaL_checkstring(L, 1))) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (!lua_isnil(L, 3)) {
    lua_pushvalue(L, 3);
    lua_setupvalue(L, -2, 1);
  }
  return 1;
}

static int continue_file(lua_State *L, int status, lua_KContext base) {
  (void)status;
  return lua_gettop(L) - (int)base;
}

static int do_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  if (!load_path(L, path)) return lua_error(L);
  lua_callk(L, 0, LUA_MULTRET, 1, continue_file);
  return continue_file(L, LUA_OK, 1);
}

/* require(name): upvalue 1 is the table of what is loaded. */
static int require_file(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *base = luaL_gsub(L, name, ".", "/");
  if (!load_path(L, lua_pushfstring(L, "%s.lua", base)) && !load_path(L, lua_pushfstring(L, "%s/init.lua", base)))
    return luaL_error(L, "module '%s' was not loaded:\n\t%s\n\t%s", name, lua_tostring(L, 5), lua_tostring(L, 7));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) lua_pushboolean(L, true);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, lua_upvalueindex(1));
  return 1;
}

static void add_loaders(lua_State *L) {
  lua_pushcfunction(L, load_file);
  lua_setglobal(L, "loadfile");
  lua_pushcfunction(L, do_file);
  lua_setglobal(L, "dofile");
  lua_createtable(L, 0, 1);
  lua_getglobal(L, "gl");
  lua_setfield(L, -2, "gradlua");
  lua_pushcclosure(L, require_file, 1);
  lua_setglobal(L, "require");
}

void gradlua__files_install(gradlua *g) {
  static const size_t calls_first_size = offsetof(gradlua_file_calls, close) + sizeof(void *);
  if (g->config.libraries == GRADLUA_LIBRARIES_SAFE && g->config.files != GRADLUA_FILES_NONE) add_loaders(g->L);
  if (g->config.files == GRADLUA_FILES_ALL) return;
  const bool own = g->config.files == GRADLUA_FILES_HOST;
  if (own) {
    const gradlua_file_calls *calls = g->config.file_calls;
    grad__config_read(&g->file_calls, sizeof g->file_calls, calls, calls->size, calls_first_size);
  }
  g->files = (grad_file_system){.ud = &g->file_calls,
                                .open_source = own ? open_host_source : refuse_source,
                                .open_sink = own ? open_host_sink : refuse_sink};
  gradlua_context(g->L)->files = &g->files;
}

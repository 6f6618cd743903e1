/* lua_host_files_test.c: what scripts reach of files: none, the system's, or those that the host keeps in memory here;
 * and the host's progress callback.
 */
#include "check.h"
#include "include/gradlua.h"

#include <stdlib.h>
#include <unistd.h>

/* --- files of a host: a few names with contents */

enum { FILES = 8 };

typedef struct memory_file {
  char name[64];
  char *data;
  size_t size;
} memory_file;

typedef struct store {
  memory_file files[FILES];
  int open; /* handles that were not closed yet */
  grad_status refuse_open, refuse_write, refuse_close;
  size_t lie; /* added to what read says it gave */
} store;

typedef struct handle {
  store *store;
  memory_file file; /* being written: not in the store yet */
  size_t at;
  bool writing;
} handle;

static memory_file *find(store *s, const char *name) {
  for (int i = 0; i < FILES; i++)
    if (s->files[i].data && strcmp(s->files[i].name, name) == 0) return &s->files[i];
  return NULL;
}

static grad_status open_file(void *user, const char *path, int writing, void **file) {
  store *s = user;
  if (s->refuse_open) return s->refuse_open;
  const memory_file *found = find(s, path);
  if (!writing && !found) return GRAD_EIO;
  handle *h = calloc(1, sizeof *h);
  if (!h) return GRAD_ENOMEM;
  h->store = s;
  h->writing = writing != 0;
  if (!writing) h->file = *found;
  snprintf(h->file.name, sizeof h->file.name, "%s", path);
  s->open++;
  *file = h;
  return GRAD_OK;
}

/* In pieces of seven bytes: a reader must not count on getting all it asks for. */
static grad_status read_file(void *user, void *file, void *buffer, size_t size, size_t *got) {
  const store *s = user;
  handle *h = file;
  const size_t left = h->file.size - h->at;
  *got = size < 7 ? size : 7;
  if (*got > left) *got = left;
  if (*got > 0) memcpy(buffer, h->file.data + h->at, *got);
  h->at += *got;
  *got += s->lie ? size + s->lie : 0;
  return GRAD_OK;
}

static grad_status write_file(void *user, void *file, const void *data, size_t size) {
  const store *s = user;
  handle *h = file;
  if (s->refuse_write) return s->refuse_write;
  char *grown = realloc(h->file.data, h->file.size + size + 1);
  if (!grown) return GRAD_ENOMEM;
  memcpy(grown + h->file.size, data, size);
  h->file.data = grown;
  h->file.size += size;
  return GRAD_OK;
}

static void put(store *s, memory_file file) {
  memory_file *place = find(s, file.name);
  for (int i = 0; i < FILES && !place; i++)
    if (!s->files[i].data) place = &s->files[i];
  if (!place) return;
  free(place->data);
  *place = file;
}

static grad_status close_file(void *user, void *file, int keep) {
  store *s = user;
  handle *h = file;
  s->open--;
  const bool kept = keep && !s->refuse_close;
  if (h->writing && kept)
    put(s, h->file);
  else if (h->writing)
    free(h->file.data);
  free(h);
  return keep ? s->refuse_close : GRAD_OK;
}

static void put_text(store *s, const char *name, const char *text) {
  memory_file file = {.size = strlen(text), .data = malloc(strlen(text) + 1)};
  if (!file.data) return;
  memcpy(file.data, text, file.size + 1);
  snprintf(file.name, sizeof file.name, "%s", name);
  put(s, file);
}

static gradlua *open_with(gradlua_config config) {
  gradlua *g = NULL;
  config.size = sizeof config;
  check(gradlua_new(&config, &g) == GRAD_OK);
  return g;
}

static gradlua *open_on(store *s) {
  const gradlua_file_calls calls = {sizeof calls, s, open_file, read_file, write_file, close_file};
  return open_with((gradlua_config){.files = GRADLUA_FILES_HOST, .file_calls = &calls});
}

static void close_all(gradlua *g, store *s) {
  gradlua_free(g);
  check(s->open == 0);
  for (int i = 0; i < FILES; i++) free(s->files[i].data);
}

static bool runs(gradlua *g, const char *text) {
  const bool ok = gradlua_run(g, text, strlen(text), "=test", NULL) == GRAD_OK;
  if (!ok) fprintf(stderr, "%s\n", gradlua_message(g));
  return ok;
}

/* The script must fail with this in its message. */
static bool fails(gradlua *g, const char *text, const char *message) {
  const bool failed = gradlua_run(g, text, strlen(text), "=test", NULL) == GRAD_ESCRIPT;
  if (failed && strstr(gradlua_message(g), message)) return true;
  fprintf(stderr, "%s\n", gradlua_message(g));
  return false;
}

static void test_data(void) {
  store s = {0};
  gradlua *g = open_on(&s);
  put_text(&s, "points.csv", "x,y\n1,2\n3,4\n");
  check(runs(g, "assert(gl.data.csv('points.csv')[2][1]:item() == 3)\n"
                "gl.save('model', { w = gl.tensor{1, 2, 3}, note = 'kept' })\n"
                "local m = gl.load('model') assert(m.w[3]:item() == 3 and m.note == 'kept')\n"
                "gl.data.save_npy('x.npy', gl.arange(1, 100))\n"
                "assert(gl.data.npy('x.npy'):sum():item() == 5050)\n"
                "gl.data.save_npz('xs.npz', { a = gl.eye(3) })\n"
                "assert(gl.data.npz('xs.npz').a:trace():item() == 3)"));
  check(runs(
      g, "local log = gl.logger('run.csv') log:add{ step = 1, loss = 0.5 } log:add{ step = 2, loss = gl.tensor(2) }\n"
         "log:close() assert(gl.data.csv('run.csv')[2][1]:item() == 2)\n"
         "gl.logger('left.csv'):add{ x = 1 }\n"
         "collectgarbage() collectgarbage()"));
  check(fails(g, "local log = gl.logger('x') log:close() log:add{ x = 1 }", "logger"));
  check(find(&s, "left.csv") && find(&s, "left.csv")->size == 4);
  check(find(&s, "model") && find(&s, "x.npy") && find(&s, "xs.npz"));
  check(fails(g, "gl.load('nothing')", "cannot open nothing: the host says: input or output failed"));
  close_all(g, &s);
}

/* A write that fails leaves the old file, whichever call it is that fails. */
static void test_refusals(void) {
  store s = {0};
  gradlua *g = open_on(&s);
  check(runs(g, "gl.save('model', { w = gl.tensor{1} })"));
  s.refuse_write = GRAD_EIO;
  check(fails(g, "gl.save('model', { w = gl.tensor{2} })", "cannot write model"));
  s.refuse_write = GRAD_OK, s.refuse_close = GRAD_ELIMIT;
  check(fails(g, "gl.save('model', { w = gl.tensor{2} })", "cannot write model: the host says"));
  s.refuse_close = GRAD_OK, s.refuse_open = GRAD_EVALUE;
  check(fails(g, "gl.save('model', { w = gl.tensor{2} })", "cannot write model"));
  s.refuse_open = GRAD_OK, s.lie = 1;
  check(fails(g, "gl.load('model')", "cannot read model"));
  s.lie = 0;
  check(runs(g, "assert(gl.load('model').w:sum():item() == 1)"));
  close_all(g, &s);
}

static void test_scripts(void) {
  store s = {0};
  gradlua *g = open_on(&s);
  put_text(&s, "model/net.lua", "local name = ... loads = (loads or 0) + 1 return { name = name, f = gl.sin }");
  put_text(&s, "data/init.lua", "return require('model.net').name");
  put_text(&s, "two.lua", "coroutine.yield(1) return 2, 3");
  put_text(&s, "wrong.lua", "return +");
  put_text(&s, "binary.lua", "\x1bLua");
  check(runs(g, "local net = require 'model.net'\n"
                "assert(net == require 'model.net' and loads == 1 and net.name == 'model.net')\n"
                "assert(require 'data' == 'model.net' and require 'gradlua' == gl)\n"
                "local co = coroutine.wrap(function() return dofile('two.lua') end)\n"
                "assert(co() == 1) local a, b = co() assert(a == 2 and b == 3)\n"
                "local f, message = loadfile('wrong.lua')\n"
                "assert(f == nil and message:find('wrong.lua:1:'))\n"
                "assert(not loadfile('binary.lua', 'b') and not loadfile('missing.lua'))\n"
                "assert(loadfile('model/net.lua', 't', { gl = gl })('x').name == 'x' and loads == 1)"));
  check(fails(g, "require 'nowhere'", "cannot open nowhere/init.lua"));
  check(fails(g, "require 'gradlua.internal'", "module 'gradlua.internal' was not loaded"));
  check(fails(g, "dofile('wrong.lua')", "wrong.lua:1:"));
  check(fails(g, "dofile()", "bad argument"));
  close_all(g, &s);
}

static void test_kinds(void) {
  gradlua *g = open_with((gradlua_config){0});
  check(fails(g, "gl.load('/etc/hostname')", "no access to files") &&
        fails(g, "gl.save('x', {})", "no access to files"));
  check(runs(g, "assert(dofile == nil and loadfile == nil and require == nil)"));
  gradlua_free(g);
  g = open_with((gradlua_config){.files = GRADLUA_FILES_ALL});
  check(runs(g, "assert(io == nil) assert(not loadfile('/nowhere/at/all.lua'))"));
  check(runs(g, "assert(loadfile('examples/embed/model.lua')().misfit)"));
  gradlua_free(g);
  gradlua_config config = {.size = sizeof config, .files = GRADLUA_FILES_HOST};
  check(gradlua_new(&config, &g) == GRAD_EVALUE);
  const gradlua_file_calls half = {.size = sizeof half, .open = open_file};
  config.file_calls = &half;
  check(gradlua_new(&config, &g) == GRAD_EVALUE);
}

/* --- progress */

typedef struct watch {
  int calls, stop_at;
  grad_progress last;
  char task[32];
} watch;

static int count(void *ud, const grad_progress *progress) {
  watch *w = ud;
  w->last = *progress;
  snprintf(w->task, sizeof w->task, "%s", progress->task);
  return ++w->calls == w->stop_at;
}

static void test_progress(void) {
  watch w = {0};
  gradlua *g = open_with((gradlua_config){.progress = count, .progress_ud = &w});
  check(runs(g, "r = gl.minimize(function(x) return ((x - 3) ^ 4):sum() end, gl.zeros(4), { method = 'bfgs' })\n"
                "assert(r.converged)"));
  check_text(w.task, "bfgs");
  check(w.calls > 3 && w.last.iteration == w.calls - 1 && w.last.f < 1e-4 && w.last.gradient_norm <= 1e-6);
  check(w.last.seconds > 0 && w.last.total == 0);
  w = (watch){.stop_at = 3};
  check(runs(g, "r = gl.minimize(function(x) return ((x - 3) ^ 4):sum() end, gl.zeros(4))\n"
                "assert(not r.converged and r.status == 'user' and r.iterations == 2)"));
  check(w.calls == 3);
  w = (watch){0};
  check(runs(g, "gl.least_squares(function(x) return x:exp() - gl.tensor{1, 2} end, gl.zeros(2))") && w.calls > 1);
  w = (watch){0};
  check(runs(g, "assert(gl.root(function(x) return x:exp() - 2 end, gl.zeros(2)))") && w.calls > 1);
  check_text(w.task, "hybrid");
  w = (watch){0};
  check(runs(g, "local bar = gl.data.progress('epoch') bar:start(7) for _ = 1, 7 do bar:advance() end bar:finish()"));
  check_text(w.task, "epoch");
  check(w.last.iteration == 7 && w.last.total == 7 && isnan(w.last.f));
  w = (watch){.stop_at = 1};
  check(fails(g, "local bar = gl.data.progress('epoch') bar:start(7) bar:finish()", "stopped by the host"));
  gradlua_free(g);
}

/* A sandbox without the callback: what would be shown is not. */
static void test_silence(void) {
  gradlua *g = open_with((gradlua_config){0});
  check(runs(g, "local bar = gl.data.progress() bar:start(2) bar:advance() bar:finish()\n"
                "gl.minimize(function(x) return (x * x):sum() end, gl.ones(2), { progress = true })"));
  gradlua_free(g);
}

int main(void) {
  test_data();
  test_refusals();
  test_scripts();
  test_kinds();
  test_progress();
  test_silence();
  return check_done();
}

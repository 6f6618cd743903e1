/* lua_alloc_test.c: the toolkit in a Lua state whose allocator fails: from the n-th request on, for n = 1, 2, ... until
 * the script gets through. Each failure is a Lua error; the state can be used afterwards; nothing is lost at the end.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "check.h"
#include "include/gradlua.h"

typedef struct budget {
  long left; /* requests that will be granted; negative: no limit */
  size_t bytes;
} budget;

static void *limited(void *ud, void *block, size_t old_size, size_t new_size) {
  budget *b = ud;
  if (!block) old_size = 0; /* then Lua passes the kind of object */
  if (new_size == 0) {
    b->bytes -= old_size;
    free(block);
    return NULL;
  }
  if (new_size > old_size) {
    if (b->left == 0) return NULL;
    if (b->left > 0) b->left--;
  }
  void *grown = realloc(block, new_size);
  if (grown) b->bytes += new_size - old_size;
  return grown;
}

static const struct {
  const char *name, *source;
} scripts[] = {
    {"tensors", "local x = gl.linspace(0, 1, 600):reshape(20, 30)\n"
                "local y = (x:t():matmul(x) + 1):sum(1)\n"
                "return tostring(x) .. tostring(y[{ {1, 3} }]) .. gl.concat({x, x}, 1):numel()"},
    {"gradients", "local f = function(p) return (p.w:sin() * p.b):sum() end\n"
                  "local g = gl.grad(f)({ w = x, b = 2.0 })\n"
                  "return gl.hvp(function(v) return (v:exp() * v):sum() end)(x, x):sum():item() + g.b"},
    {"control flow", "return gl.grad(function(v) local y = v while y:item() < 10 do y = y * y end return y end)(1.5)"},
    {"batches", "local g = gl.vmap(gl.grad(function(v) return (v:sin() * v[1]):sum() end))(x:reshape(20, 20))\n"
                "local value, pullback = gl.vjp(function(v) return { a = v * 2, b = v:sum() } end, x)\n"
                "return g:sum():item() + pullback({ a = value.a, b = 1 }):sum():item()"},
    {"recording once", "local k, f = 2, nil\n"
                       "f = gl.jit(function(v, s) return (v * s * k + gl.rand(400)):sum() end)\n"
                       "return f(x, 1):item() + f(x, 2):item() + f:stats().hits"},
    {"staged loops", "return gl.jit(gl.grad(function(v)\n"
                     "  local s = gl.fori(3, function(i, s) return s * v + i end, v)\n"
                     "  return gl.cond(s:gt(0), function() return s end, function() return -s end)\n"
                     "end))(1.5)"},
    {"sparse matrices", "local S = gl.sparse_jacobian(function(v) return v[{ {1, 399} }] * v[{ {2, 400} }] end, x)\n"
                        "return S:update(x * 2):matmul(x):sum():item() + S.nnz"},
    {"a training step", "local loss, grads = step(params, inputs, labels)\n"
                        "optimizer:step(grads)\n"
                        "return loss:item()"},
    {"donated arguments", "local f = gl.jit(function(p, g) return p - 0.1 * g, (p * g):sum() end, { donate = 1 })\n"
                          "local p, sum = x:clone()\n"
                          "for _ = 1, 3 do p, sum = f(p, x) end\n"
                          "return sum"},
    {"minimizing", "return gl.minimize(function(v) return ((v - 1) ^ 2):sum() end, x, { method = 'lbfgs' }).f"},
    {"saving and loading", "gl.save(path, { a = { x, 3 }, b = 'text' })\n"
                           "return gl.load(path).a[1]:sum():item()"},
};

/* The long string makes Lua's own buffers complete: a failure amid the first use of one leaves Lua 5.4's half made. */
static const char prepare[] = "local _ = ('x'):rep(100000)\n"
                              "gl = require 'gradlua'\n"
                              "gl.manual_seed(1)\n"
                              "x = gl.linspace(0, 1, 400)\n"
                              "inputs, labels = gl.randn(8, 4), gl.tensor { 1, 2, 3, 1, 2, 3, 1, 2 }\n"
                              "local model = gl.nn.sequential { gl.nn.linear(4, 5), gl.nn.tanh, gl.nn.linear(5, 3) }\n"
                              "params = model:init()\n"
                              "optimizer = gl.optim.adam(params, { lr = 0.01 })\n"
                              "step = gl.value_and_grad(function(p, a, b)\n"
                              "  return gl.nn.cross_entropy(model(p, a, { train = true }), b) end)\n"
                              "path = os.tmpname()\n";

/* Runs source with `left` requests granted; true when it got through. The message of a failure goes to `message`. */
static bool run_limited(lua_State *L, budget *b, const char *source, long left, char *message, size_t size) {
  message[0] = 0;
  if (luaL_loadstring(L, source) != LUA_OK) {
    snprintf(message, size, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return true;
  }
  /* Lua drops a finalizer for which it finds no memory to call it, so none may run meanwhile. */
  lua_gc(L, LUA_GCSTOP);
  b->left = left;
  const int status = lua_pcall(L, 0, 1, 0);
  b->left = -1;
  lua_gc(L, LUA_GCRESTART);
  if (status != LUA_OK) snprintf(message, size, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "(no text)");
  lua_pop(L, 1);
  return status == LUA_OK;
}

static void run_script(lua_State *L, budget *b, int i) {
  char message[512] = "";
  long n = 0;
  bool through = false;
  for (; n < 100000 && !through; n++) {
    through = run_limited(L, b, scripts[i].source, n, message, sizeof message);
    if (through || strstr(message, "memory")) continue;
    fprintf(stderr, "%s, request %ld: %s\n", scripts[i].name, n, message);
    check_never("every failure says that memory is out");
    return;
  }
  check(through);
  check_text(message, "");
  check(run_limited(L, b, scripts[i].source, -1, message, sizeof message)); /* the state is whole */
}

int main(void) {
  budget b = {.left = -1};
  lua_State *L = lua_newstate(limited, &b);
  if (!check(L != NULL)) return check_done();
  luaL_openlibs(L);
  luaL_requiref(L, "gradlua", luaopen_gradlua, 0);
  lua_pop(L, 1);
  check(luaL_dostring(L, prepare) == LUA_OK);
  for (int i = 0; i < (int)(sizeof scripts / sizeof *scripts); i++) run_script(L, &b, i);
  check(luaL_dostring(L, "os.remove(path)") == LUA_OK);
  lua_close(L);
  if (!check(b.bytes == 0)) fprintf(stderr, "%zu bytes are lost\n", b.bytes);

  /* A state that cannot even be opened closes cleanly. */
  for (long n = 0; n < 3000; n = n * 5 / 4 + 1) {
    budget small = {.left = -1};
    L = lua_newstate(limited, &small);
    if (!L) continue;
    lua_pushcfunction(L, luaopen_gradlua);
    small.left = n;
    lua_pcall(L, 0, 0, 0);
    small.left = -1;
    lua_close(L);
    check(small.bytes == 0);
  }
  return check_done();
}

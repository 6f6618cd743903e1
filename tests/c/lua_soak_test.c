/* lua_soak_test.c: a long training run, compressed: thousands of steps of every kind, in each of which the memory in
 * use must not grow from one part of the run to the next. lua_soak_test [steps] */
#include <stdlib.h>

#include "check.h"
#include "check_host_op.h"
#include "include/gradlua.h"

static const struct {
  const char *name, *prepare, *step;
} loops[] = {
    {"a network and its optimizer",
     "local model = gl.nn.sequential { gl.nn.linear(8, 16), gl.nn.tanh, gl.nn.dropout(0.1), gl.nn.linear(16, 3) }\n"
     "local params = model:init()\n"
     "local optimizer = gl.optim.adam(params, { lr = gl.optim.schedule.cosine { T_max = 1000, lr = 0.01 } })\n"
     "local x, labels = gl.randn(16, 8), gl.randint(1, 3, { 16 })\n"
     "local step = gl.value_and_grad(function(p) return gl.nn.cross_entropy(model(p, x, { train = true }), labels) "
     "end)\n"
     "function work() local _, grads = step(params) optimizer:step(grads) end",
     "work()"},
    {"a jitted step",
     "local w, x = gl.zeros(400), gl.randn(30, 400)\n"
     "local step = gl.jit(gl.grad(function(w) return (x:matmul(w) - 1):square():mean() end))\n"
     "function work() w:sub_(0.01 * step(w)) end",
     "work()"},
    {"programs that differ from step to step",
     "local n = 0\n"
     "function work()\n"
     "  n = n % 50 + 1\n"
     "  gl.grad(function(x) for _ = 1, n do x = x:sin() end return x:sum() end)(gl.ones(n))\n"
     "end",
     "work()"},
    {"loops and second derivatives",
     "local f = gl.jit(gl.grad(function(x) return gl.fori(5, function(_, s) return s * x:cos() end, x):sum() end))\n"
     "local g = gl.hvp(function(x) return (x:exp() * x):sum() end)\n"
     "local v = gl.ones(10)\n"
     "function work() f(v) g(v, v) gl.vmap(f)(gl.ones(4, 10)) end",
     "work()"},
    {"minimizers, failures, interrupted coroutines",
     "function work()\n"
     "  gl.minimize(function(x) return ((x - 1) ^ 2):sum() end, gl.zeros(4), { max_iter = 3 })\n"
     "  pcall(gl.grad(function(x) return x:matmul(x) end), gl.ones(2, 3))\n"
     "  local co = coroutine.wrap(function() gl.grad(function(x) coroutine.yield() return x end)(1) end)\n"
     "  co()\n"
     "end",
     "work()"},
    {"host operations", "function work() gl.grad(function(x) return triple(x):sum() end)(gl.ones(300)) end", "work()"},
};

static bool run(gradlua *g, const char *text) {
  const bool ok = gradlua_run(g, text, strlen(text), "=soak", NULL) == GRAD_OK;
  if (!ok) fprintf(stderr, "%s\n", gradlua_message(g));
  return ok;
}

/* What is in use after that many more steps, garbage apart. */
static size_t bytes_after(gradlua *g, int steps, const char *step) {
  for (int i = 0; i < steps; i++)
    if (!run(g, step)) return SIZE_MAX;
  return run(g, "collectgarbage() collectgarbage()") ? gradlua_bytes(g) : SIZE_MAX;
}

static void soak(int i, int steps) {
  enum { ROOM = 4096 }; /* tables of Lua grow by doubling: once, not for ever */
  gradlua *g;
  if (!check(gradlua_new(NULL, &g) == GRAD_OK)) return;
  check(gradlua_register(g, "triple", &check_triple) == GRAD_OK && run(g, "gl.manual_seed(1)") &&
        run(g, loops[i].prepare));
  const size_t settled = bytes_after(g, steps / 4, loops[i].step), half = bytes_after(g, steps / 4, loops[i].step),
               end = bytes_after(g, steps / 2, loops[i].step);
  if (!check(end != SIZE_MAX && half <= settled + ROOM && end <= half + ROOM))
    fprintf(stderr, "  %s: %zu, then %zu, then %zu bytes\n", loops[i].name, settled, half, end);
  gradlua_free(g);
}

int main(int argc, char **argv) {
  const int steps = argc > 1 ? atoi(argv[1]) : 4000;
  for (int i = 0; i < (int)(sizeof loops / sizeof *loops); i++) soak(i, steps);
  return check_done();
}

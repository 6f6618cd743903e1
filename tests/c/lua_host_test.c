/* lua_host_test.c: the toolkit inside a host: scripts, arrays that are lent, compiled functions, limits. */
#include "check.h"
#include "check_alloc.h"
#include "include/gradlua.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static grad_status run(gradlua *g, const char *text) { return gradlua_run(g, text, strlen(text), "=test", NULL); }

static gradlua *open_with(gradlua_config config) {
  gradlua *g = NULL;
  config.size = sizeof config;
  check(gradlua_new(&config, &g) == GRAD_OK);
  return g;
}

static const char model[] = "local w = gl.tensor{1, 2, 3}\n"
                            "local m = {}\n"
                            "function m.loss(x) return (w * x:sin()):sum() * 0.7 end\n"
                            "function m.pair(x) return x:sum(), x * 2 end\n"
                            "function m.branch(x) if x:sum() > 0 then return x:sum() end return -x:sum() end\n"
                            "function m.noise(x) return (x * gl.randn(3)):sum() end\n"
                            "return m\n";

/* --- scripts and errors */

static void test_errors(void) {
  gradlua *g = open_with((gradlua_config){0});
  check(run(g, "x = 1 +") == GRAD_ESCRIPT && strstr(gradlua_message(g), "test:1:"));
  check(run(g, "local function f() error('boom') end\nf()") == GRAD_ESCRIPT);
  check(strstr(gradlua_message(g), "test:1: boom") && strstr(gradlua_message(g), "stack traceback"));
  check(run(g, "error({})") == GRAD_ESCRIPT && run(g, "error()") == GRAD_ESCRIPT);
  check(run(g, "error(setmetatable({}, {__tostring = function() error('again') end}))") != GRAD_OK);
  check(run(g, "y = gl.zeros(2) + gl.zeros(3)") == GRAD_ESCRIPT && strstr(gradlua_message(g), "shapes 2 and 3"));
  check(run(g, "\x1bLua bytecode") == GRAD_ESCRIPT);
  check(gradlua_run_file(g, "/nowhere/at/all.lua", NULL) == GRAD_ESCRIPT);
  check(run(g, "assert(io == nil and os == nil and debug == nil and package == nil and require == nil)") == GRAD_OK);
  check(run(g, "assert(not load('\\27Lua')); assert(load('return 2')() == 2)") == GRAD_OK);
  check(run(g, "assert(not pcall(setmetatable, {}, {__gc = print})); setmetatable({}, {__index = {}})") == GRAD_OK);
  check(run(g, "gl.data.csv('/etc/passwd')") == GRAD_ESCRIPT && strstr(gradlua_message(g), "no access to files"));
  check(run(g, "return gl.nn.linear(2, 2)") == GRAD_OK);
  gradlua_free(g);
}

/* --- arrays */

static int released;
static void count_release(void *ud, void *data) {
  (void)ud, (void)data;
  released++;
}

static void test_lend(void) {
  gradlua *g = open_with((gradlua_config){0});
  double data[] = {1, 2, 3};
  int64_t three[] = {3};
  grad_array *array, *fixed;
  released = 0;
  grad_ctx *core = gradlua_core(g);
  check(grad_array_borrow(core, data, GRAD_F64, 1, three, NULL, 0, count_release, NULL, &array) == GRAD_OK);
  check(grad_array_borrow(core, data, GRAD_F64, 1, three, NULL, 1, NULL, NULL, &fixed) == GRAD_OK);
  check(gradlua_lend(g, "x", array) == GRAD_OK && gradlua_lend(g, "c", fixed) == GRAD_OK);
  grad_array_free(array);
  grad_array_free(fixed);
  check(run(g, "x:add_(x); y = (x * 10):sum():item()") == GRAD_OK);
  check(data[0] == 2 && data[2] == 6);
  check(run(g, "assert(y == 120)") == GRAD_OK);
  check(run(g, "c:add_(1)") == GRAD_ESCRIPT && strstr(gradlua_message(g), "read-only") && data[0] == 2);
  check(released == 0);
  check(run(g, "x = nil; collectgarbage(); collectgarbage()") == GRAD_OK && released == 1);
  gradlua_free(g);
}

/* A script that gives away what the host has lent gives it back; the host's memory never becomes a result's. */
static void test_lend_donated(void) {
  enum { N = 1000 };
  gradlua *g = open_with((gradlua_config){0});
  static double data[N];
  int64_t shape[] = {N};
  grad_array *array;
  released = 0;
  for (int i = 0; i < N; i++) data[i] = i;
  grad_ctx *core = gradlua_core(g);
  check(run(g, "step = gl.jit(function(p) return 2 * p end, {donate = true})"
               "for _ = 1, 3 do step(gl.ones(1000)) end reused = step:stats().reused") == GRAD_OK);
  check(grad_array_borrow(core, data, GRAD_F64, 1, shape, NULL, 0, count_release, NULL, &array) == GRAD_OK);
  check(gradlua_lend(g, "x", array) == GRAD_OK);
  grad_array_free(array);
  check(run(g, "y = step(x) assert(y:sum():item() == 999000 and step:stats().reused == reused)") == GRAD_OK);
  check(released == 1 && data[0] == 0 && data[N - 1] == N - 1);
  check(run(g, "x:sum()") == GRAD_ESCRIPT && strstr(gradlua_message(g), "donated"));
  gradlua_free(g);
}

/* --- compiled functions */

static void test_compile(void) {
  gradlua *g = open_with((gradlua_config){0});
  int64_t three[] = {3};
  double x[] = {0.1, 0.2, 0.3}, w[] = {1, 2, 3}, v[] = {1, -1, 2}, value, out[3], block[9];
  grad_array *like;
  grad_function *gradient, *hvp, *pair;
  check(gradlua_run(g, model, strlen(model), "=model", "model") == GRAD_OK);
  check(grad_array_borrow(gradlua_core(g), x, GRAD_F64, 1, three, NULL, 1, NULL, NULL, &like) == GRAD_OK);
  const grad_array *args[] = {like};
  check(gradlua_compile(g, "model.loss", GRADLUA_GRADIENT, 1, args, NULL, &gradient) == GRAD_OK);
  check(gradlua_compile(g, "model.loss", GRADLUA_HVP, 1, args, NULL, &hvp) == GRAD_OK);
  check(gradlua_compile(g, "model.pair", GRADLUA_JACOBIAN, 1, args, NULL, &pair) == GRAD_OK);
  check(grad_function_inputs(gradient) == 1 && grad_function_outputs(gradient) == 2);
  const void *in[] = {x, v};
  void *results[] = {&value, out};
  for (int i = 0; i < 3; i++) check(grad_run_raw(gradient, in, results) == GRAD_OK);
  for (int i = 0; i < 3; i++) check_near(out[i], 0.7 * w[i] * cos(x[i]), 1e-15);
  check(grad_run_raw(hvp, in, results) == GRAD_OK);
  for (int i = 0; i < 3; i++) check_near(out[i], -0.7 * w[i] * sin(x[i]) * v[i], 1e-15);
  double sums[3];
  void *blocks[] = {&value, out, sums, block};
  check(grad_run_raw(pair, in, blocks) == GRAD_OK && sums[1] == 1 && block[4] == 2 && block[1] == 0);
  check(gradlua_compile(g, "model.branch", GRADLUA_VALUE, 1, args, NULL, &pair) == GRAD_ESCRIPT);
  check(gradlua_compile(g, "model.noise", GRADLUA_VALUE, 1, args, NULL, &pair) == GRAD_ESCRIPT);
  check(gradlua_compile(g, "model.nothing", GRADLUA_VALUE, 1, args, NULL, &pair) == GRAD_ESCRIPT);
  check(strstr(gradlua_message(g), "'model.nothing' does not exist") != NULL);
  grad_array *number;
  check(grad_array_new(gradlua_core(g), GRAD_F64, 0, NULL, &number) == GRAD_OK);
  check(gradlua_call(g, "model.branch", 1, args, 1, &number) == GRAD_OK);
  check_near(*(double *)grad_array_data(number), 0.6, 1e-15);
  grad_array_free(number);
  grad_array_free(like);
  grad_function_free(gradient);
  grad_function_free(hvp);
  grad_function_free(pair);
  gradlua_free(g);
}

/* --- the host's own operations */

static grad_status same_type(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  out[0] = in[0];
  return GRAD_OK;
}

static grad_status cube(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]);
  double *y = grad_array_data(out[0]);
  for (int64_t i = 0; i < grad_array_numel(in[0]); i++) y[i] = x[i] * x[i] * x[i];
  return GRAD_OK;
}

/* Both rules are the same: the Jacobian is diagonal. */
static grad_status cube_rule(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]), *d = grad_array_data(in[1]);
  double *y = grad_array_data(out[0]);
  for (int64_t i = 0; i < grad_array_numel(in[0]); i++) y[i] = 3 * x[i] * x[i] * d[i];
  return GRAD_OK;
}

static void test_register(void) {
  const grad_host_op op = {sizeof op, "cube", 1, 1, NULL, same_type, cube, cube_rule, cube_rule};
  gradlua *g = open_with((gradlua_config){0});
  check(gradlua_register(g, "cube", &op) == GRAD_OK);
  check(run(g, "local x = gl.tensor{1, 2}\n"
               "assert(cube(x)[2]:item() == 8)\n"
               "assert(gl.grad(function(x) return cube(x):sum() end)(x)[2]:item() == 12)\n"
               "assert(gl.gradcheck(function(x) return cube(x:sin()):sum() end, x))\n"
               "assert(gl.vmap(gl.grad(function(x) return cube(x) * 2 end))(x)[2]:item() == 24)\n"
               "assert(gl.jit(cube)(x)[1]:item() == 1)") == GRAD_OK);
  if (gradlua_message(g)[0]) fprintf(stderr, "%s\n", gradlua_message(g));
  check(run(g, "gl.hessian(function(x) return cube(x):sum() end)(gl.tensor{1, 2})") == GRAD_ESCRIPT);
  check(strstr(gradlua_message(g), "cube has no rule for derivatives of this order") != NULL);
  check(run(g, "cube()") == GRAD_ESCRIPT && run(g, "cube('x')") == GRAD_ESCRIPT);
  gradlua_free(g);
}

/* --- limits */

static const char *const runaways[] = {
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local co = coroutine.wrap(function() while true do end end) while true do pcall(co) end",
    "local function f() return f() end f()",
    ("local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) "
     "while true do pcall(function() return t[1] end) end"),
    "gl.grad(function(x) while true do x = x * 1 end return x end)(1)",
};

static void test_instructions(void) {
  for (size_t i = 0; i < sizeof runaways / sizeof *runaways; i++) {
    gradlua *g = open_with((gradlua_config){.max_instructions = 200000});
    check(run(g, runaways[i]) == GRAD_EINTERRUPT);
    check(strstr(gradlua_message(g), "limit on Lua instructions") != NULL);
    check(run(g, "x = 1 + 1") == GRAD_OK); /* the next call starts anew */
    gradlua_free(g);
  }
}

static void test_time(void) {
  gradlua *g = open_with((gradlua_config){.max_seconds = 0.05});
  check(run(g, "while true do end") == GRAD_EINTERRUPT && strstr(gradlua_message(g), "time limit"));
  check(run(g, "local a = gl.ones(1500, 1500) for i = 1, 1000 do a = a:matmul(a) end") == GRAD_EINTERRUPT);
  check(run(g, "while true do pcall(function() return gl.ones(1500, 1500):matmul(gl.ones(1500, 1500)) end) end") ==
        GRAD_EINTERRUPT);
  check(strstr(gradlua_message(g), "time limit") != NULL);
  gradlua_free(g);
}

static void *stop_soon(void *g) {
  usleep(20000);
  gradlua_stop(g);
  return NULL;
}

static void test_stop(void) {
  gradlua *g = open_with((gradlua_config){0});
  pthread_t thread;
  check(pthread_create(&thread, NULL, stop_soon, g) == 0);
  check(run(g, "while true do pcall(function() while true do end end) end") == GRAD_EINTERRUPT);
  check(strstr(gradlua_message(g), "stopped by the host") != NULL);
  pthread_join(thread, NULL);
  check(run(g, "x = 1") == GRAD_OK);
  gradlua_stop(g); /* between calls: the next one ends, however short it is, and no other */
  check(run(g, "x = 2") == GRAD_EINTERRUPT && strstr(gradlua_message(g), "stopped by the host"));
  check(run(g, "assert(x == 1)") == GRAD_OK);
  gradlua_free(g);
}

/* The core keeps large blocks that were freed: they are no reason for a script to go without memory. */
static void reuse_gives_way(void) {
  gradlua *g = open_with((gradlua_config){.byte_limit = 64 << 20});
  check(run(g, "do local x = gl.zeros(5000000) end collectgarbage() collectgarbage()"
               "s = ('x'):rep(25000000) assert(#s == 25000000)") == GRAD_OK);
  gradlua_free(g);
}

static void test_memory(void) {
  static const char *const hungry[] = {
      "local t = {} while true do t[#t + 1] = gl.zeros(1000) end",
      "local s = ('x'):rep(1000) while true do s = s .. s end",
      "local x = gl.zeros(1e9)",
      "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) error('full') end",
      "gl.grad(function(x) while true do x = x:sin() end end)(1)",
  };
  for (size_t i = 0; i < sizeof hungry / sizeof *hungry; i++) {
    gradlua *g = open_with((gradlua_config){.byte_limit = 12 << 20});
    check(run(g, hungry[i]) != GRAD_OK);
    check(gradlua_bytes(g) <= 12 << 20);
    check(run(g, "collectgarbage(); y = gl.ones(100):sum():item(); assert(y == 100)") == GRAD_OK);
    gradlua_free(g);
  }
  reuse_gives_way();
  gradlua *g = open_with((gradlua_config){.byte_limit = 12 << 20}); /* garbage alone never reaches the limit */
  check(run(g, "for i = 1, 500 do local x = gl.zeros(100000) end") == GRAD_OK);
  gradlua_free(g);
}

/* --- many states, failing memory */

static void *one_state(void *failures) {
  gradlua *g;
  if (gradlua_new(NULL, &g) != GRAD_OK) return failures;
  grad_status status = run(g, "gl.manual_seed(1) local x = gl.randn(50, 50) local g = gl.grad(function(x) return "
                              "x:matmul(x):tanh():sum() end) for i = 1, 20 do x = x - 0.01 * g(x) end");
  gradlua_free(g);
  return status == GRAD_OK ? NULL : failures;
}

static void test_threads(void) {
  pthread_t threads[16];
  int failure = 1;
  for (int i = 0; i < 16; i++) check(pthread_create(&threads[i], NULL, one_state, &failure) == 0);
  for (int i = 0; i < 16; i++) {
    void *result;
    pthread_join(threads[i], &result);
    check(result == NULL);
  }
}

int main(void) {
  test_errors();
  test_lend();
  test_lend_donated();
  test_compile();
  test_register();
  test_instructions();
  test_time();
  test_stop();
  test_memory();
  test_threads();
  return check_done();
}

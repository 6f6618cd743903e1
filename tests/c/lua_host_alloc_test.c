/* lua_host_alloc_test.c: every function of gradlua.h with a host's allocator that refuses all requests from the n-th
 * on, for every n until the calls get through: each failure is a status with a message, the state can be used when
 * there is memory again, and everything is given back at the end. What is new or freed is filled with rubbish.
 */
#include "check_alloc.h"
#include "check_host_op.h"
#include "include/gradlua.h"

#include <unistd.h>

/* Refuses from request fail_at on. */
static void *run_dry(void *ud, void *block, size_t old_size, size_t new_size) {
  check_alloc *const a = ud;
  if (a->fail_at && new_size > old_size && a->calls + 1 >= a->fail_at) {
    a->calls++;
    return NULL;
  }
  return check_alloc_run(ud, block, old_size, new_size);
}

static void refuse_from(check_alloc *a, int64_t n) {
  a->calls = 0;
  a->fail_at = n;
}

static bool run_dry_happened(const check_alloc *a) { return a->fail_at && a->calls >= a->fail_at; }

/* --- the calls */

static const char *path; /* of a script */

static const char model[] = "local m = {}\n"
                            "function m.loss(x) return (triple(x):sin() * x):sum() end\n"
                            "function m.two(x) return x:sum(), x * 2 end\n"
                            "return m\n";

static grad_status compile_and_run(gradlua *g, const grad_array *x) {
  grad_function *f = NULL;
  double value, gradient[3];
  grad_status status = gradlua_compile(g, "model.loss", GRADLUA_GRADIENT, 1, &x, NULL, &f);
  if (!status) status = grad_run_raw(f, (const void *[]){grad_array_data(x)}, (void *[]){&value, gradient});
  grad_function_free(f);
  return status;
}

static grad_status call_and_lend(gradlua *g, const grad_array *x, grad_array *const *results) {
  grad_status status = gradlua_lend(g, "x", x);
  if (!status) status = gradlua_call(g, "model.two", 1, &x, 2, results);
  if (!status) check(*(double *)grad_array_data(results[0]) == 6);
  return status;
}

/* All that may be done with a state, in one go; the first failure ends it. */
static grad_status use(gradlua *g) {
  static const int64_t three[] = {3};
  static double data[] = {1, 2, 3};
  grad_ctx *ctx = gradlua_core(g);
  grad_array *x = NULL, *results[2] = {NULL, NULL};
  grad_status status = gradlua_register(g, "triple", &check_triple);
  if (!status) status = gradlua_run(g, model, sizeof model - 1, "=model", "model");
  if (!status) status = gradlua_run_file(g, path, "file");
  if (!status) status = grad_array_borrow(ctx, data, GRAD_F64, 1, three, NULL, 0, NULL, NULL, &x);
  if (!status) status = grad_array_new(ctx, GRAD_F64, 0, NULL, &results[0]);
  if (!status) status = grad_array_new(ctx, GRAD_F64, 1, three, &results[1]);
  if (!status) status = call_and_lend(g, x, results);
  if (!status) status = compile_and_run(g, x);
  grad_array_free(x);
  grad_array_free(results[0]);
  grad_array_free(results[1]);
  return status;
}

/* --- every n */

static bool out_of_memory(grad_status status) { return status == GRAD_ENOMEM || status == GRAD_ELIMIT; }

static bool try_use(gradlua *g, check_alloc *a, int64_t n) {
  refuse_from(a, n);
  const grad_status status = use(g);
  const bool failed = run_dry_happened(a);
  refuse_from(a, 0);
  bool good = failed ? status != GRAD_OK : check(status == GRAD_OK);
  if (status) good = check(gradlua_message(g)[0] || grad_message(gradlua_core(g))[0]) && good;
  if (!good) fprintf(stderr, "  request %d: %s %s\n", (int)n, grad_status_name(status), gradlua_message(g));
  return failed;
}

static void test_use(void) {
  enum { MOST = 100000 };
  check_alloc a = {0};
  const gradlua_config config = {.size = sizeof config, .alloc = run_dry, .alloc_ud = &a};
  gradlua *g = NULL;
  if (!check(gradlua_new(&config, &g) == GRAD_OK)) return;
  int64_t n = 1;
  while (n < MOST && try_use(g, &a, n)) {
    if (!check(use(g) == GRAD_OK)) { /* with memory again */
      fprintf(stderr, "  after request %d: %s\n", (int)n, gradlua_message(g));
      break;
    }
    n++;
  }
  check(n > 100 && n < MOST);
  check(gradlua_state(g) != NULL && gradlua_context(gradlua_state(g)) == gradlua_core(g));
  check(gradlua_interrupt_flag(gradlua_state(g)) != NULL && gradlua_bytes(g) > 0);
  gradlua_stop(g);
  check(gradlua_run(g, "x = 1", 5, NULL, NULL) == GRAD_EINTERRUPT);
  gradlua_free(g);
  check(a.bytes == 0);
}

/* A state that there is not enough memory for. Most of the requests are alike: after the first ones, every 7th. */
static void test_new(void) {
  check_alloc a = {0};
  const gradlua_config config = {.size = sizeof config, .alloc = run_dry, .alloc_ud = &a};
  grad_status status = GRAD_ENOMEM;
  for (int64_t n = 1; status != GRAD_OK && n < 1000000; n += n < 200 ? 1 : 7) {
    gradlua *g = NULL;
    refuse_from(&a, n);
    status = gradlua_new(&config, &g);
    const bool failed = run_dry_happened(&a);
    refuse_from(&a, 0);
    check(failed ? out_of_memory(status) && !g : status == GRAD_OK);
    gradlua_free(g);
    if (!check(a.bytes == 0)) fprintf(stderr, "  request %d: %d bytes lost\n", (int)n, (int)a.bytes);
  }
  check(status == GRAD_OK);
}

int main(void) {
  char name[] = "/tmp/gradlua_alloc_XXXXXX";
  static const char text[] = "return gl.ones(2, 2):sum()";
  const int fd = mkstemp(name);
  if (!check(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1)) return check_done();
  close(fd);
  path = name;
  test_use();
  test_new();
  unlink(name);
  return check_done();
}

/* abi_host.c: a host compiled with the headers of version 0.1.0, as they were at its release, on the libraries of this
 * version: a core program with an operation of the host, a minimizer, and a script under limits with the host's files.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "0.1.0.h"
#include "check.h"

/* --- the core */

static grad_status same_type(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  out[0] = in[0];
  return GRAD_OK;
}

static grad_status square(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]);
  for (int64_t i = 0; i < grad_array_numel(in[0]); i++) ((double *)grad_array_data(out[0]))[i] = x[i] * x[i];
  return GRAD_OK;
}

static grad_status square_vjp(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]), *w = grad_array_data(in[1]);
  for (int64_t i = 0; i < grad_array_numel(in[0]); i++) ((double *)grad_array_data(out[0]))[i] = 2 * x[i] * w[i];
  return GRAD_OK;
}

static const grad_host_op op = {
    .size = sizeof op, .name = "sq", .nin = 1, .nout = 1, .infer = same_type, .eval = square, .vjp = square_vjp};

static void test_core(void) {
  const grad_config config = {.size = sizeof config, .byte_limit = 1 << 20, .threads = 1};
  const int64_t shape[] = {3};
  const double x[] = {1, 2, 3};
  double value, slope[3];
  grad_ctx *ctx;
  grad_program *p, *gradient;
  grad_function *f = NULL;
  if (!check(grad_ctx_new(&config, &ctx) == GRAD_OK)) return;
  check(grad_program_new(ctx, &p) == GRAD_OK);
  const grad_id in = grad_input(p, GRAD_F64, 1, shape);
  grad_id squared;
  grad_host_call(p, &op, &in, &squared);
  grad_output(p, grad_sum(p, squared, 0, 0));
  check(grad_gradient(p, NULL, &gradient) == GRAD_OK && grad_compile(gradient, &f) == GRAD_OK);
  check(grad_run_raw(f, (const void *[]){x}, (void *[]){&value, slope}) == GRAD_OK);
  check(value == 14 && slope[2] == 6);
  grad_function_free(f);
  grad_program_free(gradient);
  grad_program_free(p);
  grad_ctx_free(ctx);
}

static grad_status bowl(void *user, const double *x, double *f, double *gradient) {
  (void)user;
  *f = (x[0] - 1) * (x[0] - 1) + 2 * x[1] * x[1];
  gradient[0] = 2 * (x[0] - 1), gradient[1] = 4 * x[1];
  return GRAD_OK;
}

static bool count_step(void *user, const grad_step_info *info) {
  *(int64_t *)user += info->iteration >= 0 && info->gradient_norm >= 0;
  return false;
}

static void test_minimizer(void) {
  grad_ctx *ctx;
  grad_minimize_options options;
  grad_minimize_result result;
  double x[] = {5, 5};
  int64_t steps = 0;
  const grad_problem problem = {.n = 2, .f_gradient = bowl};
  check(grad_ctx_new(NULL, &ctx) == GRAD_OK);
  grad_minimize_defaults(&options);
  options.method = GRAD_METHOD_BFGS;
  options.on_step = count_step;
  options.on_step_user = &steps;
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
  check(result.converged && result.method == GRAD_METHOD_BFGS && steps == result.iterations + 1);
  check_near(x[0], 1, 1e-6);
  grad_ctx_free(ctx);
}

/* --- the toolkit */

static const char module[] = "return { loss = function(x) return (sq(x) * 2):sum() end }";

static grad_status open_module(void *user, const char *path, int writing, void **file) {
  if (writing || strcmp(path, "model.lua") != 0) return GRAD_EIO;
  *(size_t *)user = 0;
  *file = user;
  return GRAD_OK;
}

static grad_status read_module(void *user, void *file, void *buffer, size_t size, size_t *got) {
  (void)user;
  size_t *at = file;
  *got = sizeof module - 1 - *at < size ? sizeof module - 1 - *at : size;
  memcpy(buffer, module + *at, *got);
  *at += *got;
  return GRAD_OK;
}

static grad_status write_nothing(void *user, void *file, const void *data, size_t size) {
  (void)user, (void)file, (void)data, (void)size;
  return GRAD_EIO;
}

static grad_status close_module(void *user, void *file, int keep) {
  (void)user, (void)file, (void)keep;
  return GRAD_OK;
}

static int count_progress(void *ud, const grad_progress *progress) {
  *(int *)ud += progress->iteration >= 0 && progress->f >= 0;
  return 0;
}

static grad_status run(gradlua *g, const char *text, const char *name) {
  const grad_status status = gradlua_run(g, text, strlen(text), "=host", name);
  if (status) fprintf(stderr, "%s: %s\n", grad_status_name(status), gradlua_message(g));
  return status;
}

static void test_toolkit(void) {
  size_t at = 0;
  int steps = 0;
  const int64_t shape[] = {3};
  double x[] = {1, 2, 3}, value, slope[3];
  const gradlua_file_calls calls = {sizeof calls, &at, open_module, read_module, write_nothing, close_module};
  const gradlua_config config = {.size = sizeof config,
                                 .byte_limit = 64 << 20,
                                 .max_seconds = 20,
                                 .progress = count_progress,
                                 .progress_ud = &steps,
                                 .files = GRADLUA_FILES_HOST,
                                 .file_calls = &calls};
  gradlua *g;
  grad_array *like;
  grad_function *f = NULL;
  if (!check(gradlua_new(&config, &g) == GRAD_OK)) return;
  check(gradlua_register(g, "sq", &op) == GRAD_OK && run(g, "return require 'model'", "model") == GRAD_OK);
  check(grad_array_borrow(gradlua_core(g), x, GRAD_F64, 1, shape, NULL, 1, NULL, NULL, &like) == GRAD_OK);
  check(gradlua_compile(g, "model.loss", GRADLUA_GRADIENT, 1, (const grad_array *const *)&like, NULL, &f) == GRAD_OK);
  check(grad_run_raw(f, (const void *[]){x}, (void *[]){&value, slope}) == GRAD_OK && value == 28 && slope[1] == 8);
  check(run(g, "gl.minimize(function(x) return sq(x - 1):sum() end, gl.zeros(3))", NULL) == GRAD_OK && steps > 1);
  gradlua_stop(g);
  check(gradlua_run(g, "x = 1", 5, NULL, NULL) == GRAD_EINTERRUPT && gradlua_message(g)[0]);
  grad_function_free(f);
  grad_array_free(like);
  gradlua_free(g);
}

int main(void) {
  check_text(grad_status_name(GRAD_EINTERNAL), "EINTERNAL");
  test_core();
  test_minimizer();
  test_toolkit();
  return check_done();
}

/* api_test.c: the core used as a C host uses it: through grad.h alone. */
#include "check_ctx.h"
#include "include/grad.h"

/* f(x, y) = sum(x^2 sin(y)), x and y of three entries. */
static grad_program *example(grad_ctx *ctx) {
  grad_program *p;
  int64_t shape[] = {3};
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_id x = grad_input(p, GRAD_F64, 1, shape), y = grad_input(p, GRAD_F64, 1, shape);
  grad_id square[] = {x, x}, product[2];
  product[0] = grad_apply(p, "mul", 2, square);
  product[1] = grad_apply(p, "sin", 1, &y);
  grad_output(p, grad_sum(p, grad_apply(p, "mul", 2, product), 0, 0));
  check(grad_program_check(p) == GRAD_OK);
  return p;
}

static void test_gradient(grad_ctx *ctx) {
  grad_program *p = example(ctx), *gradient;
  grad_function *f;
  check(grad_gradient(p, NULL, &gradient) == GRAD_OK);
  check(grad_compile(gradient, &f) == GRAD_OK);
  grad_program_free(p);
  grad_program_free(gradient);
  check(grad_function_inputs(f) == 2 && grad_function_outputs(f) == 3);
  double x[] = {1, 2, 3}, y[] = {0.5, -1, 2}, value, dx[3], dy[3];
  const void *in[] = {x, y};
  void *out[] = {&value, dx, dy};
  double expected = 0;
  for (int run = 0; run < 2; run++) check(grad_run_raw(f, in, out) == GRAD_OK);
  for (int i = 0; i < 3; i++) {
    expected += x[i] * x[i] * sin(y[i]);
    check_near(dx[i], 2 * x[i] * sin(y[i]), 1e-15);
    check_near(dy[i], x[i] * x[i] * cos(y[i]), 1e-15);
  }
  check_near(value, expected, 1e-15);
  grad_function_free(f);
}

/* H = diag: [2 sin y, 2 x cos y; 2 x cos y, -x^2 sin y]; the product against v = (1, 0, 0 | 0, 1, 0). */
static void test_hvp(grad_ctx *ctx) {
  grad_program *p = example(ctx), *hvp;
  grad_function *f = NULL;
  check(grad_hvp_of(p, NULL, &hvp) == GRAD_OK && grad_compile(hvp, &f) == GRAD_OK);
  double x[] = {1, 2, 3}, y[] = {0.5, -1, 2}, vx[] = {1, 0, 0}, vy[] = {0, 1, 0}, value, hx[3], hy[3];
  const void *in[] = {x, y, vx, vy};
  void *out[] = {&value, hx, hy};
  check(grad_run_raw(f, in, out) == GRAD_OK);
  check_near(hx[0], 2 * sin(0.5), 1e-14);
  check_near(hx[1], 2 * 2 * cos(-1), 1e-14);
  check_near(hy[0], 2 * cos(0.5), 1e-14);
  check_near(hy[1], -4 * sin(-1), 1e-14);
  check(hx[2] == 0 && hy[2] == 0);
  grad_function_free(f);
  grad_program_free(hvp);
  grad_program_free(p);
}

static int released;
static void count_release(void *ud, void *data) {
  (void)ud, (void)data;
  released++;
}

/* A transposed view of the host's matrix goes in without a copy. */
static void test_borrowed(grad_ctx *ctx) {
  double matrix[] = {1, 2, 3, 4, 5, 6}, result[2] = {0};
  int64_t shape[] = {3, 2}, strides[] = {1, 3}, columns[] = {2};
  grad_array *in, *out, *locked;
  released = 0;
  check(grad_array_borrow(ctx, matrix, GRAD_F64, 2, shape, strides, 1, count_release, NULL, &in) == GRAD_OK);
  check(grad_array_borrow(ctx, result, GRAD_F64, 1, columns, NULL, 0, NULL, NULL, &out) == GRAD_OK);
  check(grad_array_borrow(ctx, result, GRAD_F64, 1, columns, NULL, 1, NULL, NULL, &locked) == GRAD_OK);
  grad_program *p;
  grad_function *f;
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_output(p, grad_sum(p, grad_input(p, GRAD_F64, 2, shape), 1, 0));
  check(grad_compile(p, &f) == GRAD_OK);
  check(grad_run(f, (const grad_array *const *)&in, &out) == GRAD_OK);
  check(result[0] == 1 + 2 + 3 && result[1] == 4 + 5 + 6);
  check(grad_run(f, (const grad_array *const *)&in, &locked) == GRAD_EVALUE);
  check(strstr(grad_message(ctx), "read-only") != NULL);
  check(grad_run(f, (const grad_array *const *)&out, &out) == GRAD_ESHAPE);
  check_text(grad_message(ctx), "run: input 0 is f64 2, expected f64 3 x 2");
  grad_function_free(f);
  grad_program_free(p);
  grad_array_free(in);
  grad_array_free(out);
  grad_array_free(locked);
  check(released == 1);
}

static void test_misuse(grad_ctx *ctx) {
  int64_t two[] = {2}, three[] = {3}, negative[] = {-1};
  grad_array *array;
  check(grad_array_new(ctx, GRAD_F64, 1, negative, &array) == GRAD_ESHAPE);
  check(grad_array_new(ctx, GRAD_F64, 9, two, &array) == GRAD_ESHAPE);
  grad_program *p, *gradient;
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_id pair[] = {grad_input(p, GRAD_F64, 1, two), grad_input(p, GRAD_F64, 1, three)};
  grad_id sum = grad_apply(p, "add", 2, pair);
  check(sum == GRAD_NONE && grad_apply(p, "sin", 1, &sum) == GRAD_NONE);
  check(grad_program_check(p) == GRAD_ESHAPE);
  check(grad_gradient(p, NULL, &gradient) == GRAD_ESHAPE);
  grad_program_free(p);
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_id x = grad_input(p, GRAD_F64, 1, two);
  check(grad_apply(p, "no_such", 1, &x) == GRAD_NONE && grad_program_check(p) == GRAD_EVALUE);
  grad_program_free(p);
  check(grad_program_new(ctx, &p) == GRAD_OK);
  check(grad_sum(p, 77, 0, 0) == GRAD_NONE && grad_program_check(p) == GRAD_EVALUE);
  grad_program_free(p);
}

/* --- operations of the host: y = (x0^2 x1, x1) of a vector of two */

static grad_status two_infer(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  if (in[0].ndim != 1 || in[0].shape[0] != 2) return GRAD_ESHAPE;
  out[0] = in[0];
  return GRAD_OK;
}

static grad_status two_eval(void *user, const grad_array *const *in, grad_array *const *out) {
  const double *x = grad_array_data(in[0]);
  double *y = grad_array_data(out[0]);
  ++*(int *)user;
  if (x[0] > 100) return GRAD_EVALUE;
  y[0] = x[0] * x[0] * x[1];
  y[1] = x[1];
  return GRAD_OK;
}

static grad_status two_jvp(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]), *dx = grad_array_data(in[1]);
  double *dy = grad_array_data(out[0]);
  dy[0] = 2 * x[0] * x[1] * dx[0] + x[0] * x[0] * dx[1];
  dy[1] = dx[1];
  return GRAD_OK;
}

static grad_status two_vjp(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]), *cy = grad_array_data(in[1]);
  double *cx = grad_array_data(out[0]);
  cx[0] = 2 * x[0] * x[1] * cy[0];
  cx[1] = x[0] * x[0] * cy[0] + cy[1];
  return GRAD_OK;
}

/* sum(sin(two(x))) */
static grad_program *host_program(grad_ctx *ctx, const grad_host_op *op) {
  grad_program *p;
  int64_t two[] = {2};
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_id x = grad_input(p, GRAD_F64, 1, two), y;
  grad_host_call(p, op, &x, &y);
  grad_output(p, grad_sum(p, grad_apply(p, "sin", 1, &y), 0, 0));
  check(grad_program_check(p) == GRAD_OK);
  return p;
}

static void test_host_op(grad_ctx *ctx) {
  int calls = 0;
  grad_host_op op = {sizeof op, "two", 1, 1, &calls, two_infer, two_eval, two_jvp, two_vjp};
  double x[] = {0.5, 2, 0.25, -1}, value[2], gradient[4], v[] = {1, 3}, tangent;
  const void *in[] = {x, v};
  void *out[] = {value, gradient}, *forward[] = {value, &tangent};
  grad_program *p = host_program(ctx, &op), *g, *batched = NULL, *jvp = NULL;
  grad_function *f;
  check(grad_gradient(p, NULL, &g) == GRAD_OK && grad_vmap_of(g, 2, NULL, &batched) == GRAD_OK);
  check(grad_compile(batched, &f) == GRAD_OK && grad_run_raw(f, in, out) == GRAD_OK && calls >= 2);
  for (int i = 0; i < 2; i++) {
    const double *a = x + 2 * i, c = cos(a[0] * a[0] * a[1]);
    check_near(value[i], sin(a[0] * a[0] * a[1]) + sin(a[1]), 1e-15);
    check_near(gradient[2 * i], 2 * a[0] * a[1] * c, 1e-15);
    check_near(gradient[2 * i + 1], a[0] * a[0] * c + cos(a[1]), 1e-15);
  }
  grad_function_free(f);
  check(grad_jvp_of(p, NULL, &jvp) == GRAD_OK && grad_compile(jvp, &f) == GRAD_OK);
  check(grad_run_raw(f, in, forward) == GRAD_OK);
  check_near(tangent, gradient[0] * v[0] + gradient[1] * v[1], 1e-14);
  x[0] = 1000;
  check(grad_run_raw(f, in, forward) == GRAD_EVALUE && strstr(grad_message(ctx), "two failed") != NULL);
  grad_function_free(f);
  grad_program_free(jvp);
  grad_program_free(batched);
  grad_program_free(g);
  grad_program_free(p);
}

/* What a rule that is missing would give is refused, never zero. */
static void test_host_op_without_rules(grad_ctx *ctx) {
  int calls = 0;
  grad_host_op plain = {sizeof plain, "two", 1, 1, &calls, two_infer, two_eval, NULL, NULL};
  grad_host_op reverse = {sizeof reverse, "two", 1, 1, &calls, two_infer, two_eval, NULL, two_vjp};
  grad_program *p = host_program(ctx, &plain), *derived;
  check(grad_gradient(p, NULL, &derived) == GRAD_EUNSUPPORTED);
  check_text(grad_message(ctx), "two has no derivative rule");
  check(grad_jvp_of(p, NULL, &derived) == GRAD_EUNSUPPORTED);
  grad_program_free(p);
  p = host_program(ctx, &reverse);
  check(grad_gradient(p, NULL, &derived) == GRAD_OK);
  grad_program_free(derived);
  check(grad_hvp_of(p, NULL, &derived) == GRAD_EUNSUPPORTED);
  grad_program_free(p);
  int64_t three[] = {3};
  check(grad_program_new(ctx, &p) == GRAD_OK);
  grad_id x = grad_input(p, GRAD_F64, 1, three), y;
  grad_host_call(p, &plain, &x, &y);
  check(y == GRAD_NONE && grad_program_check(p) == GRAD_ESHAPE && strstr(grad_message(ctx), "two refuses"));
  grad_program_free(p);
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_gradient(ctx);
  test_hvp(ctx);
  test_borrowed(ctx);
  test_misuse(ctx);
  test_host_op(ctx);
  test_host_op_without_rules(ctx);
  grad_ctx_free(ctx);
  return check_done();
}

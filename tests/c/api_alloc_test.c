/* api_alloc_test.c: every function of grad.h with an allocator that fails at the n-th request, for every n, and that
 * fills what is new or freed with rubbish: the failure is told, nothing is lost, and the same calls work afterwards.
 */
#include "check_alloc.h"
#include "check_host_op.h"

/* --- programs, with every builder */

static grad_id apply1(grad_program *p, const char *name, grad_id x) { return grad_apply(p, name, 1, &x); }

static grad_id apply2(grad_program *p, const char *name, grad_id x, grad_id y) {
  const grad_id operands[] = {x, y};
  return grad_apply(p, name, 2, operands);
}

/* x: 3 x 4, y: 4; gives a number. */
static void build_mixed(grad_program *p) {
  static const int64_t shape[] = {3, 4}, flat[] = {12}, start[] = {0, 1}, count[] = {2, 2}, step[] = {1, 1},
                       back[] = {4, 2};
  static const int axes[] = {1, 0};
  const grad_id x = grad_input(p, GRAD_F64, 2, shape), y = grad_input(p, GRAD_F64, 1, shape + 1);
  const grad_id product = grad_matmul(p, apply1(p, "tanh", x), y);
  const grad_id sizes[] = {grad_sum(p, x, 1, 0), grad_mean(p, x, 1, 0),      grad_max(p, x, 1, 0),
                           grad_min(p, x, 1, 0), grad_logsumexp(p, x, 1, 0), grad_prod(p, x, 1, 0),
                           grad_softmax(p, y, 0)};
  grad_id total = grad_sum(p, apply2(p, "mul", product, product), 0, 0);
  total = apply2(p, "add", total, grad_mean(p, grad_concat(p, 7, sizes, 0), 0, 0));
  total = apply2(p, "add", total,
                 grad_sum(p, grad_slice(p, grad_permute(p, grad_permute(p, x, axes), axes), start, count, step), 0, 0));
  total = apply2(p, "mul", total, grad_number(p, 0.25));
  const grad_id wide = grad_broadcast_to(p, grad_convert(p, grad_convert(p, total, GRAD_F32), GRAD_F64), 2, back);
  const grad_id positions = grad_convert(p, grad_number(p, 1), GRAD_I64);
  const grad_id row = grad_take(p, grad_reshape(p, x, 1, flat), positions, 0);
  grad_output(p, apply2(p, "add", grad_sum(p, wide, 0, 0), apply1(p, "sin", row)));
}

/* A small one for the derivatives of second order. */
static void build_small(grad_program *p) {
  static const int64_t shape[] = {3};
  const grad_id x = grad_input(p, GRAD_F64, 1, shape), y = grad_input(p, GRAD_F64, 1, shape);
  grad_output(p, grad_sum(p, apply2(p, "mul", apply1(p, "exp", x), y), 0, 0));
}

static void build_host(grad_program *p) {
  static const int64_t shape[] = {3};
  const grad_id x = grad_input(p, GRAD_F64, 1, shape);
  grad_id tripled;
  grad_host_call(p, &check_triple, &x, &tripled);
  grad_output(p, grad_sum(p, apply2(p, "mul", tripled, x), 0, 0));
}

/* --- what is done with them */

static grad_status vmap_both(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return grad_vmap_of(p, 2, wrt, out);
}

typedef struct script {
  const char *name;
  void (*build)(grad_program *p);
  grad_status (*derive)(const grad_program *p, const uint8_t *wrt, grad_program **out); /* NULL: the program itself */
} script;

static const script scripts[] = {{"value", build_mixed, NULL},
                                 {"gradient", build_mixed, grad_gradient},
                                 {"jvp", build_mixed, grad_jvp_of},
                                 {"vjp", build_mixed, grad_vjp_of},
                                 {"vmap", build_mixed, vmap_both},
                                 {"hvp", build_small, grad_hvp_of},
                                 {"jacobian", build_small, grad_jacobian_of},
                                 {"hessian", build_small, grad_hessian_of},
                                 {"host call", build_host, NULL},
                                 {"host gradient", build_host, grad_gradient}};

enum { MOST_ARRAYS = 8, MOST_ENTRIES = 64 };

/* Both kinds of runs, twice each, on memory that is large enough for every input and output here. */
static grad_status run(grad_ctx *ctx, grad_function *f) {
  static double memory[2 * MOST_ARRAYS][MOST_ENTRIES];
  const void *in[MOST_ARRAYS];
  void *out[MOST_ARRAYS];
  check(grad_function_inputs(f) <= MOST_ARRAYS && grad_function_outputs(f) <= MOST_ARRAYS);
  for (int i = 0; i < MOST_ARRAYS; i++) in[i] = memory[i], out[i] = memory[MOST_ARRAYS + i];
  for (int i = 0; i < MOST_ENTRIES; i++) memory[0][i] = 0.01 * i;
  grad_status status = grad_run_raw(f, in, out);
  if (!status) status = grad_run_raw(f, in, out);
  grad_array *number = NULL;
  if (!status) status = grad_array_new(ctx, GRAD_F64, 0, NULL, &number);
  grad_array_free(number);
  return status;
}

static grad_status derive_and_run(grad_ctx *ctx, const script *s) {
  grad_program *p, *derived = NULL;
  grad_function *f = NULL;
  grad_status status = grad_program_new(ctx, &p);
  if (status) return status;
  s->build(p);
  status = grad_program_check(p);
  if (!status && s->derive) status = s->derive(p, NULL, &derived);
  if (!status) status = grad_compile(derived ? derived : p, &f);
  grad_program_free(derived);
  grad_program_free(p);
  if (!status) status = run(ctx, f);
  grad_function_free(f);
  return status;
}

/* After a failure the same must work. */
static grad_status script_task(grad_ctx *ctx, void *ud) {
  const grad_status status = derive_and_run(ctx, ud);
  if (status) check(derive_and_run(ctx, ud) == GRAD_OK);
  return status;
}

/* --- arrays, and a run on them */

static int lent, returned;
static void give_back(void *ud, void *data) {
  (void)data;
  returned += *(int *)ud;
}

static grad_status fill_arrays(grad_ctx *ctx, grad_array **arrays) {
  static double data[6] = {1, 2, 3, 4, 5, 6};
  static const int64_t shape[] = {3, 2}, strides[] = {1, 3}, columns[] = {2};
  static int one = 1;
  grad_status status = grad_array_borrow(ctx, data, GRAD_F64, 2, shape, strides, 1, give_back, &one, &arrays[0]);
  if (!status) lent++;
  if (!status) status = grad_array_new(ctx, GRAD_F64, 1, columns, &arrays[1]);
  if (status) return status;
  check(grad_array_dtype(arrays[0]) == GRAD_F64 && grad_array_ndim(arrays[0]) == 2 && grad_array_numel(arrays[0]) == 6);
  check(grad_array_shape(arrays[0])[1] == 2 && grad_array_strides(arrays[0])[1] == 3);
  check(*(double *)grad_array_data(arrays[1]) == 0);
  return GRAD_OK;
}

static grad_status sum_columns(grad_ctx *ctx, grad_array **arrays) {
  grad_program *p;
  grad_function *f = NULL;
  grad_status status = grad_program_new(ctx, &p);
  if (status) return status;
  grad_output(p, grad_sum(p, grad_input(p, GRAD_F64, 2, grad_array_shape(arrays[0])), 1, 0));
  status = grad_compile(p, &f);
  grad_program_free(p);
  if (!status) status = grad_run(f, (const grad_array *const *)arrays, arrays + 1);
  if (!status) check(((double *)grad_array_data(arrays[1]))[1] == 4 + 5 + 6);
  grad_function_free(f);
  return status;
}

static grad_status array_task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_array *arrays[2] = {NULL, NULL};
  grad_ctx_set_threads(ctx, 1);
  grad_status status = fill_arrays(ctx, arrays);
  if (!status) status = sum_columns(ctx, arrays);
  grad_array_free(arrays[0]);
  grad_array_free(arrays[1]);
  check(lent == returned); /* also when the array could not be made whole */
  check(grad_status_name(status)[0] && grad_status_text(status)[0] && grad_version()[0]);
  return status;
}

/* A context that there is no memory for. */
static void test_context(void) {
  check_alloc a = {.fail_at = 1};
  grad_ctx *ctx = NULL;
  check(grad_ctx_new(&(grad_config){.alloc = check_alloc_run, .alloc_ud = &a}, &ctx) == GRAD_ENOMEM);
  check(!ctx && a.bytes == 0);
  check(grad_ctx_new(&(grad_config){.byte_limit = 1}, &ctx) == GRAD_ENOMEM && !ctx);
  grad_ctx_free(NULL);
}

int main(void) {
  test_context();
  check_failing_alloc("arrays", array_task, NULL);
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
    check_failing_alloc(scripts[i].name, script_task, (void *)&scripts[i]);
  return check_done();
}

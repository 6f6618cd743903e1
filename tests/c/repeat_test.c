/* repeat_test.c: loops with small bodies, which run unrolled: as machine code and interpreted the same bits, and what
 * the direct evaluator gives, for every kind of instruction and dtype in the step, parts of the carry that change
 * places, rows of any strides, loops in loops, failures and interrupts. */
#include "check_compare.h"
#include "ops/linalg.h"

static const int64_t three[] = {3};

static grad_status run_both(grad_ctx *ctx, grad_program *p, bool interpret, const grad_array *const *in,
                            check_arrays *out, bool *unrolled) {
  grad_plan_info info;
  grad_plan *plan = NULL;
  ctx->interpret = interpret;
  grad_status status = grad__plan_new(p, &plan);
  out->n = p->noutputs;
  for (int32_t k = 0; k < out->n; k++) out->a[k] = (grad_array){0};
  for (int round = 0; round < 2 && !status; round++) {
    check_release(out);
    out->n = p->noutputs;
    status = grad__plan_run(plan, in, NULL, out->a);
  }
  if (!status) grad__plan_info(plan, &info);
  *unrolled = !status && info.unrolled > 0;
  ctx->interpret = false;
  grad__plan_free(plan);
  return status;
}

/* Takes over p. */
static void compare_ways(grad_ctx *ctx, grad_program *p, const char *what, bool unrolled) {
  check_arrays in = {0}, want, coded, interpreted;
  uint64_t seed = 5;
  bool is[2] = {false, false};
  const grad_array *args[CHECK_MOST];
  if (!check(p->status == GRAD_OK)) fprintf(stderr, "  %s: %s\n", what, grad_message(ctx));
  check_push_random(ctx, &in, p, 0, p->ninputs, &seed);
  for (int32_t i = 0; i < in.n; i++) args[i] = &in.a[i];
  bool good = check(check_run(p, &in, NULL, &want) == GRAD_OK);
  good = good && check(run_both(ctx, p, false, args, &coded, &is[0]) == GRAD_OK);
  good = good && check(run_both(ctx, p, true, args, &interpreted, &is[1]) == GRAD_OK);
  for (int32_t k = 0; good && k < p->noutputs; k++) {
    good = check(check_same_array(&coded.a[k], &want.a[k], 1e-12)) &&
           check(check_same_array(&coded.a[k], &interpreted.a[k], 0));
  }
  good = good && check(is[0] == unrolled && is[1] == unrolled);
  if (!good) fprintf(stderr, "  in %s: %s\n", what, grad_message(ctx));
  check_release(&in);
  check_release(&want);
  check_release(&coded);
  check_release(&interpreted);
  grad__program_release(p);
}

/* A scan over inputs of the body's types, rows stacked. Takes over the body. */
static grad_program *scan_of(grad_ctx *ctx, grad_program *body, int32_t nconsts, int32_t ncarry, int64_t length,
                             bool reverse) {
  grad_program *p = check_new(ctx);
  const int32_t n = body->ninputs;
  grad_id in[CHECK_MOST], out[CHECK_MOST];
  for (int32_t i = 0; i < n; i++) {
    const grad_type *t = grad__type(body, body->inputs[i]);
    int64_t shape[GRAD_MAX_AXES] = {length};
    const bool row = i >= nconsts + ncarry;
    for (int k = 0; k < t->ndim; k++) shape[k + row] = t->shape[k];
    in[i] = grad__program_input(p, t->dtype, t->ndim + row, shape);
  }
  const grad_loop loop = {.body = body,
                          .nconsts = nconsts,
                          .ncarry = ncarry,
                          .nxs = n - nconsts - ncarry,
                          .consts = in,
                          .init = in + nconsts,
                          .xs = in + nconsts + ncarry,
                          .length = length,
                          .reverse = reverse};
  grad__scan(p, &loop, out);
  for (int32_t k = 0; k < body->noutputs; k++) grad__program_output(p, out[k]);
  grad__program_release(body);
  return p;
}

/* Every elementwise instruction with a code of its own, and some without, on values of that shape. */
static grad_program *all_codes(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape) {
  static const grad_op *const binary[] = {&grad__op_add, &grad__op_sub,     &grad__op_mul,  &grad__op_mulz,
                                          &grad__op_div, &grad__op_maximum, &grad__op_atan2};
  static const grad_op *const unary[] = {&grad__op_neg, &grad__op_square, &grad__op_reciprocal,
                                         &grad__op_abs, &grad__op_tanh,   &grad__op_exp};
  static const grad_op *const tests[] = {&grad__op_eq, &grad__op_ne, &grad__op_lt,
                                         &grad__op_le, &grad__op_gt, &grad__op_ge};
  grad_program *p = check_new(ctx);
  const grad_id a = grad__program_input(p, dtype, ndim, shape), b = grad__program_input(p, dtype, ndim, shape);
  const grad_id row = grad__program_input(p, dtype, ndim, shape);
  grad_id sum = grad__op1(p, &grad__op_sqrt, grad__op1(p, &grad__op_abs, b)), mask = GRAD_NONE;
  for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) sum = grad__add(p, sum, grad__op2(p, binary[i], a, row));
  for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) sum = grad__add(p, sum, grad__op1(p, unary[i], b));
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    const grad_id test = grad__op2(p, tests[i], i < 2 ? a : sum, i < 2 ? a : row);
    const grad_id other = grad__op1(p, &grad__op_not, test);
    mask = mask == GRAD_NONE ? other : grad__op2(p, i % 2 ? &grad__op_and : &grad__op_or, mask, test);
    sum = grad__where(p, mask, sum, grad__mul(p, sum, grad__lit(p, 0.25, sum)));
  }
  const grad_id next = grad__op1(p, &grad__op_tanh, sum);
  return finished(p, 4, (const grad_id[]){b, next, mask, grad__sub(p, next, row)});
}

/* Parts of the carry change places: a, b, c, d, k -> b, c, a, a, k + 1. */
static grad_program *rotation(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  grad_id in[5];
  for (int k = 0; k < 4; k++) in[k] = grad__program_input(p, GRAD_F64, 1, three);
  in[4] = grad__program_input(p, GRAD_I64, 0, NULL);
  const grad_id n = grad__add(p, in[4], grad__lit(p, 1, in[4]));
  const grad_id odd = grad__mul(p, grad__sub(p, n, in[4]), n), x = grad__convert(p, odd, GRAD_F64);
  return finished(p, 7, (const grad_id[]){in[1], in[2], in[0], in[0], n, x, grad__flip(p, in[3], 1)});
}

/* What moves elements, adds them up, and is no code: pad, concat, slices, transposes, sums, products, positions. */
static grad_program *moves(grad_ctx *ctx, grad_dtype dtype) {
  const int64_t zero = 0, one = 1, matrix[] = {3, 3}, column[] = {3, 1};
  grad_program *p = check_new(ctx);
  const grad_id w = grad__program_input(p, dtype, 2, matrix), x = grad__program_input(p, dtype, 1, three);
  const grad_id row = grad__program_input(p, dtype, 2, matrix);
  const grad_id turned = grad__permute(p, row, (const int[]){1, 0});
  const grad_id product = grad__matmul(p, w, grad__reshape(p, x, 2, column), true, false);
  const grad_id first = grad__slice(p, x, &zero, two, &one);
  const grad_id filled = grad__pad(p, first, &one, &zero, -3), rows = grad__sum(p, turned, 2, false);
  const grad_id parts[] = {first, grad__reshape(p, grad__sum(p, row, 3, false), 1, &one)};
  const grad_id joined = grad__concat(p, 2, parts, 0);
  const grad_id most = grad__broadcast(p, grad__reduce(p, &grad__op_max, turned, 3, false), 1, three);
  grad_id next = grad__add(p, grad__reshape(p, product, 1, three), grad__add(p, filled, grad__mul(p, rows, joined)));
  next = grad__op1(p, &grad__op_tanh, grad__add(p, next, grad__mul(p, most, grad__iota(p, dtype, 1, three, 0))));
  return finished(p, 3, (const grad_id[]){next, turned, grad__op2(p, &grad__op_gt, next, x)});
}

static void test_steps(grad_ctx *ctx) {
  for (grad_dtype dtype = GRAD_F32; dtype <= GRAD_F64; dtype++) {
    for (int reverse = 0; reverse < 2; reverse++) {
      compare_ways(ctx, scan_of(ctx, all_codes(ctx, dtype, 0, NULL), 0, 2, 7, reverse), "numbers", true);
      compare_ways(ctx, scan_of(ctx, all_codes(ctx, dtype, 1, three), 0, 2, 300, reverse), "vectors", true);
      compare_ways(ctx, scan_of(ctx, moves(ctx, dtype), 1, 1, 5, reverse), "moves", true);
    }
    compare_ways(ctx, scan_of(ctx, all_codes(ctx, dtype, 1, (const int64_t[]){65}), 0, 2, 3, false), "long rows",
                 false);
    compare_ways(ctx, scan_of(ctx, all_codes(ctx, dtype, 1, (const int64_t[]){0}), 0, 2, 3, false), "empty rows", true);
  }
  for (int64_t length = 0; length < 4; length++) {
    compare_ways(ctx, scan_of(ctx, rotation(ctx), 0, 5, length, false), "rotation", length > 0);
    compare_ways(ctx, scan_of(ctx, all_codes(ctx, GRAD_F64, 0, NULL), 0, 2, length, true), "few steps", length > 0);
  }
}

/* Rows that are columns of a matrix, every second one, and one that repeats. */
static void test_strided_rows(grad_ctx *ctx) {
  const int64_t shape[] = {3, 8}, starts[] = {0, 0}, counts[] = {4, 3}, steps[] = {2, 1}, eight[] = {4, 3};
  grad_program *p = check_new(ctx), *body = all_codes(ctx, GRAD_F64, 1, three);
  const grad_id x = grad__program_input(p, GRAD_F64, 2, shape);
  const grad_id turned = grad__permute(p, x, (const int[]){1, 0}),
                init[] = {grad__program_input(p, GRAD_F64, 1, three), grad__program_input(p, GRAD_F64, 1, three)};
  const grad_id kinds[] = {grad__slice(p, turned, starts, counts, steps), grad__broadcast(p, init[0], 2, eight)};
  for (int k = 0; k < 2; k++) {
    grad_id out[4];
    const grad_loop loop = {.body = body, .ncarry = 2, .nxs = 1, .init = init, .xs = &kinds[k], .length = 4};
    grad__scan(p, &loop, out);
    for (int i = 0; i < 4; i++) grad__program_output(p, out[i]);
  }
  grad__program_release(body);
  compare_ways(ctx, p, "strided rows", true);
}

/* --- loops in loops, and derivatives of a while, whose stacks grow */

static grad_program *nested(grad_ctx *ctx, grad_program *inner, int64_t length) {
  grad_program *body = scan_of(ctx, inner, 0, 2, length, false);
  return scan_of(ctx, body, 0, 2, 5, true);
}

/* x -> x a + 1 / (1 + x^2) while the count is below 100 */
static grad_program *counted(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *step = check_new(ctx), *test = check_new(ctx);
  for (int k = 0; k < 2; k++) {
    grad_program *q = k ? test : step;
    grad__program_input(q, GRAD_F64, 0, NULL);
    grad__program_input(q, GRAD_F64, 0, NULL);
    grad__program_input(q, GRAD_I64, 0, NULL);
  }
  const grad_id shrunk = grad__op1(step, &grad__op_reciprocal,
                                   grad__add(step, grad__lit(step, 1, 1), grad__op1(step, &grad__op_square, 1)));
  finished(
      step, 2,
      (const grad_id[]){grad__add(step, grad__mul(step, 1, 0), shrunk), grad__add(step, 2, grad__lit(step, 1, 2))});
  finished(test, 1, (const grad_id[]){grad__op2(test, &grad__op_lt, 2, grad__lit(test, 100, 2))});
  const grad_id a = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id init[] = {grad__program_input(p, GRAD_F64, 0, NULL), grad__full(p, 0, GRAD_I64, 0, NULL)};
  const grad_loop loop = {.body = step, .nconsts = 1, .ncarry = 2, .consts = &a, .init = init};
  grad_id out[2];
  grad__while_loop(p, test, &loop, out);
  grad__program_release(step);
  grad__program_release(test);
  return finished(p, 1, out);
}

static void test_nested_and_while(grad_ctx *ctx) {
  compare_ways(ctx, nested(ctx, all_codes(ctx, GRAD_F64, 0, NULL), 4), "a loop in a loop", true);
  compare_ways(ctx, nested(ctx, all_codes(ctx, GRAD_F32, 1, three), 4), "a loop of f32 in a loop", true);
  grad_program *p = counted(ctx), *slope = NULL, *curve = NULL;
  compare_ways(ctx, p, "a while", true);
  p = counted(ctx);
  check(grad__ad_grad(p, (const bool[]){true, true}, &slope) == GRAD_OK);
  check(grad__ad_jvp(slope, (const bool[]){true, true}, &curve) == GRAD_OK);
  compare_ways(ctx, slope, "the gradient of a while", true);
  compare_ways(ctx, curve, "the second derivative of a while", true);
  grad__program_release(p);
}

/* --- failures, interrupts, memory */

/* solves a system that becomes singular in the third step */
static grad_program *solving(grad_ctx *ctx) {
  const int64_t one = 1, single[] = {1, 1};
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id less = grad__sub(p, x, grad__lit(p, 1, x));
  const grad_id y = grad__solve(p, grad__reshape(p, less, 2, single), grad__broadcast(p, x, 1, &one));
  return finished(p, 2, (const grad_id[]){less, grad__reshape(p, y, 0, NULL)});
}

static void test_failure(grad_ctx *ctx) {
  grad_program *p = scan_of(ctx, solving(ctx), 0, 1, 9, false);
  double start = 3;
  grad_array in, out[2] = {{0}};
  const grad_array *args[] = {&in};
  grad_plan *plan = NULL;
  grad__array_wrap(&in, &start, GRAD_F64, 0, NULL);
  check(grad__plan_new(p, &plan) == GRAD_OK);
  check(grad__plan_run(plan, args, NULL, out) == GRAD_ESINGULAR);
  start = 30;
  check(grad__plan_run(plan, args, NULL, out) == GRAD_OK && fabs(check_get(&out[0], 0) - 21) < 1e-12);
  for (int k = 0; k < 2; k++) grad__array_release(&out[k]);
  grad__plan_free(plan);
  grad__program_release(p);
}

static int stop_later(void *ud) {
  int *left = ud;
  return (*left)-- <= 0;
}

static void test_interrupt(void) {
  int left = 20;
  grad_ctx *ctx = NULL;
  check(grad_ctx_new(&(grad_config){.interrupt = stop_later, .interrupt_ud = &left, .threads = 1}, &ctx) == GRAD_OK);
  grad_program *p = check_new(ctx), *step = check_new(ctx), *test = check_new(ctx);
  grad__program_input(step, GRAD_F64, 0, NULL);
  grad__program_input(test, GRAD_F64, 0, NULL);
  finished(step, 1, (const grad_id[]){grad__op1(step, &grad__op_square, 0)});
  finished(test, 1, (const grad_id[]){grad__op2(test, &grad__op_ge, 0, grad__lit(test, 0, 0))});
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_loop loop = {.body = step, .ncarry = 1, .init = &x};
  grad_id last;
  grad__while_loop(p, test, &loop, &last);
  finished(p, 1, &last);
  double one = 1;
  grad_array in, out = {0};
  const grad_array *args[] = {&in};
  grad_plan *plan = NULL;
  grad__array_wrap(&in, &one, GRAD_F64, 0, NULL);
  check(grad__plan_new(p, &plan) == GRAD_OK);
  check(grad__plan_run(plan, args, NULL, &out) == GRAD_EINTERRUPT);
  grad__plan_free(plan);
  grad__program_release(p);
  grad__program_release(step);
  grad__program_release(test);
  grad_ctx_free(ctx);
}

static grad_status run_once(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *body = NULL, *p = NULL;
  grad_status status = grad__program_new(ctx, &body);
  if (status) return status;
  const grad_id x = grad__program_input(body, GRAD_F32, 1, three), row = grad__program_input(body, GRAD_F32, 1, three);
  const grad_id next = grad__op1(body, &grad__op_tanh, grad__add(body, grad__flip(body, x, 1), row));
  grad__program_output(body, next);
  grad__program_output(body, grad__sum(body, next, 1, false));
  double values[15] = {0};
  grad_array in[2], out[2] = {{0}};
  const grad_array *args[] = {&in[0], &in[1]};
  const int64_t stack[] = {5, 3};
  grad__array_wrap(&in[0], values, GRAD_F32, 1, three);
  grad__array_wrap(&in[1], values, GRAD_F32, 2, stack);
  grad_plan *plan = NULL;
  status = body->status ? body->status : grad__program_new(ctx, &p);
  if (!status) {
    const grad_id init = grad__program_input(p, GRAD_F32, 1, three), xs = grad__program_input(p, GRAD_F32, 2, stack);
    const grad_loop loop = {.body = body, .ncarry = 1, .nxs = 1, .init = &init, .xs = &xs, .length = 5};
    grad_id made[2];
    grad__scan(p, &loop, made);
    for (int k = 0; k < 2; k++) grad__program_output(p, made[k]);
    status = p->status;
  }
  if (!status) status = grad__plan_new(p, &plan);
  if (!status) status = grad__plan_run(plan, args, NULL, out);
  for (int k = 0; k < 2; k++) grad__array_release(&out[k]);
  grad__plan_free(plan);
  grad__program_release(p);
  grad__program_release(body);
  return status;
}

int main(void) {
  grad_ctx *ctx;
  if (!check(grad_ctx_new(&(grad_config){.threads = 1}, &ctx) == GRAD_OK)) return 1;
  for (grad_simd simd = GRAD_SIMD_BASELINE, best = ctx->simd; simd <= best; simd++) {
    ctx->simd = simd;
    test_steps(ctx);
    test_strided_rows(ctx);
    test_nested_and_while(ctx);
    test_failure(ctx);
  }
  check_close(ctx);
  test_interrupt();
  check_failing_alloc("an unrolled loop", run_once, NULL);
  return check_done();
}

/* The direct evaluator: values freed after their last use, views without copies, outputs that alias, evaluation of a
 * part, single instructions, errors with the user's line; and the worker pool. */
#include "random_program.h"
#include "check_program.h"

#include <stdatomic.h>

#include "check_alloc.h"
#include "exec/exec.h"
#include "core/pool.h"

/* A hundred steps over a large array need memory for a few of them. */
static void test_memory(grad_ctx *ctx) {
  enum { N = 100000, STEPS = 100 };
  const int64_t n = N;
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, GRAD_F64, 1, &n), y = x;
  for (int i = 0; i < STEPS; i++) y = grad__add(p, grad__op1(p, &grad__op_sin, y), x);
  grad__program_output(p, y);
  grad_array in = {0}, out = {0};
  check(grad__array_new(ctx, GRAD_F64, 1, &n, &in) == GRAD_OK);
  grad__array_fill(&in, 0.25);
  const size_t before = ctx->used;
  ctx->peak = ctx->used;
  check(grad__direct_run(p, (const grad_array *[]){&in}, NULL, &out) == GRAD_OK);
  check(ctx->peak - before < 4 * N * sizeof(double));
  double want = 0.25;
  for (int i = 0; i < STEPS; i++) want = sin(want) + 0.25;
  check_near(((double *)out.data)[N - 1], want, 1e-12);
  grad__array_release(&in);
  grad__array_release(&out);
  grad__program_release(p);
}

/* What comes with memory is made there, also where it is given twice, or read by what follows. */
static void test_given_memory(grad_ctx *ctx) {
  enum { N = 10000 };
  const int64_t n = N, back = N - 1, step = -1;
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, GRAD_F64, 1, &n), y = grad__op1(p, &grad__op_exp, x);
  grad__program_output(p, y);
  grad__program_output(p, y);
  grad__program_output(p, grad__slice(p, y, &back, &n, &step));
  grad__program_output(p, grad__sum(p, y, 1, false));
  grad__program_output(p, x);
  grad_array in = {0}, out[5] = {{0}};
  static double given[5][N];
  check(grad__array_new(ctx, GRAD_F64, 1, &n, &in) == GRAD_OK);
  for (int i = 0; i < N; i++) ((double *)in.data)[i] = i % 7;
  for (int k = 0; k < 5; k++) grad__array_wrap(&out[k], given[k], GRAD_F64, k != 3, &n);
  const size_t before = ctx->used;
  ctx->peak = ctx->used;
  check(grad__direct_run(p, (const grad_array *[]){&in}, NULL, out) == GRAD_OK);
  check(ctx->peak - before < N * sizeof(double));
  double sum = 0;
  for (int i = 0; i < N; i++) {
    const double want = exp(i % 7);
    check_near(given[0][i], want, 1e-14 * want);
    check(given[1][i] == given[0][i] && given[2][N - 1 - i] == given[0][i] && given[4][i] == i % 7);
    sum += want;
  }
  check_near(given[3][0], sum, 1e-12 * sum);
  grad__array_release(&in);
  grad__program_release(p);
}

/* A chain of views copies nothing; what comes out of it does not share the input's memory. */
static void test_views(grad_ctx *ctx) {
  enum { ROWS = 300, COLUMNS = 400 };
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){ROWS, COLUMNS});
  const int64_t start[] = {COLUMNS - 1, 0}, count[] = {2, 2}, step[] = {-1, 7};
  grad_id y = grad__slice(p, grad__permute(p, x, (const int[]){1, 0}), start, count, step);
  grad__program_output(p, y);
  grad__program_output(p, y);
  grad__program_output(p, x);
  grad_array in = {0}, out[3] = {{0}};
  double given[4] = {0};
  check(grad__array_new(ctx, GRAD_F64, 2, (const int64_t[]){ROWS, COLUMNS}, &in) == GRAD_OK);
  for (int64_t i = 0; i < ROWS * COLUMNS; i++) ((double *)in.data)[i] = (double)i;
  grad__array_wrap(&out[1], given, GRAD_F64, 2, (const int64_t[]){2, 2});
  const size_t before = ctx->used;
  ctx->peak = ctx->used;
  check(grad__direct_run(p, (const grad_array *[]){&in}, NULL, out) == GRAD_OK);
  check(ctx->peak - before < 2 * ROWS * COLUMNS * sizeof(double));
  const double want[] = {COLUMNS - 1, 8 * COLUMNS - 1, COLUMNS - 2, 8 * COLUMNS - 2};
  for (int i = 0; i < 4; i++) check(((double *)out[0].data)[i] == want[i] && given[i] == want[i]);
  check(out[2].data != in.data && ((double *)out[2].data)[5] == 5);
  grad__array_release(&in);
  grad__array_release(&out[0]);
  grad__array_release(&out[2]);
  grad__program_release(p);
}

static void test_partial(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  p->nscalars = 1;
  grad_id x = grad__program_input(p, GRAD_F64, 0, NULL), unknown = grad__program_input(p, GRAD_F64, 0, NULL);
  grad_id a = grad__mul(p, x, grad__scalar(p, GRAD_F64, 0)), b = grad__add(p, a, unknown);
  grad_array known[16] = {{0}};
  double number = 3, given = 4;
  grad__array_wrap(&known[x], &given, GRAD_F64, 0, NULL);
  check(grad__direct_partial(p, a, known, &number) == GRAD_OK && *(double *)known[a].data == 12);
  check(!known[b].data);
  const void *kept = known[a].data;
  check(grad__direct_partial(p, b, known, &number) == GRAD_EVALUE && !known[b].data);
  grad__array_wrap(&known[unknown], &given, GRAD_F64, 0, NULL);
  check(grad__direct_partial(p, b, known, &number) == GRAD_OK && *(double *)known[b].data == 16);
  check(known[a].data == kept);
  grad_id y = b;
  for (int i = 0; i < 8; i++) y = grad__op1(p, i % 2 ? &grad__op_neg : &grad__op_exp, y);
  check(p->nvalues <= 16 && grad__direct_partial(p, y, known, &number) == GRAD_OK);
  for (int i = 0; i < 16; i++) grad__array_release(&known[i]);
  grad__program_release(p);
}

static void test_instr(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  grad_id a = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){2, 3});
  grad_id b = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){3, 1});
  grad_id c = grad__matmul(p, a, b, false, false);
  double left[12] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0}, right[3] = {1, 10, 100}, result[2];
  grad_array in[2], out;
  grad__array_wrap(&in[0], left, GRAD_F64, 2, (const int64_t[]){2, 3});
  in[0].strides[0] = 6;
  in[0].strides[1] = 2;
  grad__array_wrap(&in[1], right, GRAD_F64, 2, (const int64_t[]){3, 1});
  grad__array_wrap(&out, result, GRAD_F64, 2, (const int64_t[]){2, 1});
  const grad_instr *ins = grad__producer(p, c);
  check(grad__direct_instr(ctx, ins, (const grad_array *[]){&in[0], &in[1]}, NULL, (grad_array *[]){&out}) == GRAD_OK);
  check(result[0] == 321 && result[1] == 654);
  grad__program_release(p);
}

static void test_errors(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const int64_t two = 2, three = 3;
  grad_id x = grad__program_input(p, GRAD_F64, 1, &two);
  p->where = grad__program_add_where(p, "model.lua:42");
  grad_id bad = grad__op2(p, &grad__op_floordiv, grad__convert(p, x, GRAD_I64), grad__convert(p, x, GRAD_I64));
  grad__program_output(p, bad);
  double data[3] = {0, 0, 0};
  grad_array in, out = {0};
  grad_plan *plan = NULL;
  grad__array_wrap(&in, data, GRAD_F64, 1, &two);
  const grad_array *inputs[] = {&in};
  check(grad__direct_run(p, inputs, NULL, &out) == GRAD_EVALUE && !out.data);
  check(strstr(grad_message(ctx), "model.lua:42") != NULL);
  check(grad__plan_new(p, &plan) == GRAD_OK && grad__plan_run(plan, inputs, NULL, &out) == GRAD_EVALUE && !out.data);
  check(strstr(grad_message(ctx), "model.lua:42") != NULL);
  grad__array_wrap(&in, data, GRAD_F64, 1, &three);
  check(grad__direct_run(p, inputs, NULL, &out) == GRAD_EVALUE && !out.data);
  check(grad__plan_run(plan, inputs, NULL, &out) == GRAD_EVALUE && !out.data);
  check(strstr(grad_message(ctx), "f64 3") != NULL);
  grad__plan_free(plan);
  grad__program_release(p);
}

/* What no output needs is not computed, and cannot fail, without a plan as with one. */
static void test_dead_failure(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  grad_id x = grad__program_input(p, GRAD_I64, 0, NULL);
  grad_id bad = grad__op2(p, &grad__op_floordiv, x, grad__sub(p, x, x));
  grad__add(p, bad, x);
  grad__program_output(p, grad__add(p, x, x));
  int64_t three = 3;
  grad_array in, out = {0};
  grad_plan *plan = NULL;
  grad__array_wrap(&in, &three, GRAD_I64, 0, NULL);
  const grad_array *inputs[] = {&in};
  check(grad__direct_run(p, inputs, NULL, &out) == GRAD_OK && *(int64_t *)out.data == 6);
  check(grad__plan_new(p, &plan) == GRAD_OK && grad__plan_run(plan, inputs, NULL, &out) == GRAD_OK);
  grad__array_release(&out);
  grad__plan_free(plan);
  grad__program_release(p);
}

static grad_status direct_task(grad_ctx *ctx, void *ud) {
  const random_options o = {.ninputs = 3, .ninstrs = 25, .noutputs = 3, .rows = 6, .columns = 9, .dtype = GRAD_F32};
  random_source r = {4};
  grad_array in[3] = {{0}}, out[3] = {{0}};
  const grad_array *inputs[] = {&in[0], &in[1], &in[2]};
  (void)ud;
  grad_program *p = random_program_unchecked(ctx, 12, &o);
  grad_status status = p ? p->status : ctx->status;
  for (int i = 0; status == GRAD_OK && i < p->ninputs; i++) {
    if (!random_array(ctx, &r, grad__type(p, p->inputs[i]), true, &in[i])) status = ctx->status;
  }
  if (status == GRAD_OK) status = grad__direct_run(p, inputs, (const double[]){1, 2}, out);
  for (int k = 0; k < 3; k++) check(status == GRAD_OK || (!out[k].data && !out[k].storage));
  for (int k = 0; k < 3; k++) {
    grad__array_release(&in[k]);
    grad__array_release(&out[k]);
  }
  grad__program_release(p);
  return status;
}

/* --- the pool */

typedef struct tally {
  _Atomic int64_t sum, calls;
  _Atomic int worst; /* highest worker seen */
} tally;

static void count_chunk(void *ud, int64_t chunk, int worker) {
  tally *t = ud;
  atomic_fetch_add(&t->sum, chunk);
  atomic_fetch_add(&t->calls, 1);
  int seen = atomic_load(&t->worst);
  while (worker > seen && !atomic_compare_exchange_weak(&t->worst, &seen, worker)) continue;
}

static void test_pool(void) {
  for (int threads = 1; threads <= 8; threads *= 2) {
    grad_ctx *ctx;
    if (!check(grad_ctx_new(&(grad_config){.threads = threads}, &ctx) == GRAD_OK)) return;
    for (int64_t n = 0; n < 200; n += 33) {
      for (int repeat = 0; repeat < 20; repeat++) {
        tally t = {0};
        grad__pool_run(ctx, n, count_chunk, &t);
        check(t.calls == n && t.sum == n * (n - 1) / 2 && t.worst < threads);
      }
    }
    grad_ctx_set_threads(ctx, 3);
    tally t = {0};
    grad__pool_run(ctx, 1000, count_chunk, &t);
    check(t.calls == 1000 && t.worst < 3);
    grad_ctx_free(ctx);
  }
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_memory(ctx);
  test_given_memory(ctx);
  test_views(ctx);
  test_partial(ctx);
  test_instr(ctx);
  test_errors(ctx);
  test_dead_failure(ctx);
  check_close(ctx);
  test_pool();
  check_failing_alloc("direct", direct_task, NULL);
  return check_done();
}

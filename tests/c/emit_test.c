/* emit_test.c: fused loops as machine code against the same loops interpreted: the same bits for random arithmetic of
 * every size around the length of vectors, in f32 and f64, with more live values than registers, with masks, repeated
 * numbers and rows, for every instruction set that code is emitted for. */
#include "check_alloc.h"
#include "check_program.h"
#include "exec/run.h"
#include "random_source.h"

static const char *const float_ops[] = {"add",  "sub",   "mul",    "mulz", "div",   "floordiv",   "neg",
                                        "abs",  "sign",  "square", "sqrt", "rsqrt", "maximum",    "minimum",
                                        "relu", "clamp", "floor",  "ceil", "round", "reciprocal", "where"};
static const char *const mask_ops[] = {"eq", "ne", "lt", "le", "gt", "ge", "isnan", "and", "or", "xor", "not"};
enum { FLOAT_OPS = sizeof float_ops / sizeof *float_ops, MASK_OPS = sizeof mask_ops / sizeof *mask_ops };

typedef struct recipe {
  uint64_t seed;
  int ninstrs, reach; /* operands come from the last `reach` values */
  int64_t rows, columns;
  grad_dtype dtype;
  bool with_exp; /* calls of kernels between the stretches */
} recipe;

static grad_id pick(random_source *r, const grad_program *p, int reach, bool mask) {
  for (int tries = 0; tries < 200; tries++) {
    const int back = tries < 20 && p->nvalues > reach ? reach : p->nvalues;
    const grad_id v = p->nvalues - 1 - random_below(r, back);
    if ((grad__type(p, v)->dtype == GRAD_BOOL) == mask) return v;
  }
  return mask ? GRAD_NONE : 0;
}

static void add_instruction(random_source *r, grad_program *p, const recipe *w) {
  const bool mask = random_below(r, 4) == 0;
  const char *name = mask ? mask_ops[random_below(r, MASK_OPS)] : float_ops[random_below(r, FLOAT_OPS)];
  if (!mask && w->with_exp && random_below(r, 6) == 0) name = "exp";
  const grad_op *op = grad__op_find(name);
  const grad_kind kind = grad__op_row(op)->kind;
  grad_id in[3];
  for (int k = 0; k < op->nin; k++) {
    in[k] = pick(r, p, w->reach, kind == GRAD_KIND_LOGICAL || (kind == GRAD_KIND_SELECT && k == 0));
    if (in[k] == GRAD_NONE) return;
  }
  if (op->nin == 1) grad__op1(p, op, in[0]);
  if (op->nin == 2) grad__op2(p, op, in[0], in[1]);
  if (op->nin == 3) grad__op3(p, op, in[0], in[1], in[2]);
}

/* Inputs: three arrays, a row, a number, a mask. Outputs: the last float and mask, and two from the middle. */
static grad_program *make(grad_ctx *ctx, const recipe *w) {
  grad_program *p;
  random_source r = {w->seed};
  if (grad__program_new(ctx, &p) != GRAD_OK) return NULL;
  const int64_t shape[] = {w->rows, w->columns};
  for (int i = 0; i < 3; i++) grad__program_input(p, w->dtype, 2, shape);
  grad__program_input(p, w->dtype, 1, shape + 1);
  grad__program_input(p, w->dtype, 0, NULL);
  grad__program_input(p, GRAD_BOOL, 2, shape);
  for (int i = 0; i < w->ninstrs && p->status == GRAD_OK; i++) add_instruction(&r, p, w);
  if (p->status != GRAD_OK) return p;
  const grad_id first = pick(&r, p, w->reach, false), mask = pick(&r, p, w->reach, true);
  grad__program_output(p, first);
  grad__program_output(p, mask == GRAD_NONE ? first : mask);
  grad__program_output(p, p->nvalues / 2);
  grad__program_output(p, 6 + random_below(&r, p->nvalues - 6));
  return p;
}

static double number(random_source *r) {
  static const double odd[] = {0, -0.0, 1, -1, (double)NAN, HUGE_VAL, -HUGE_VAL, 1e-310, 1e300, 0.5, 2.5, -2.5};
  const int k = random_below(r, 40);
  return k < 12 ? odd[k] : 6 * random_unit(r) - 3;
}

enum { ROOM = 6 };

static bool fill(grad_ctx *ctx, const grad_program *p, uint64_t seed, grad_array *in) {
  random_source r = {seed};
  for (int i = 0; i < ROOM; i++) {
    const grad_type *t = grad__type(p, p->inputs[i]);
    if (grad__array_new(ctx, t->dtype, t->ndim, t->shape, &in[i]) != GRAD_OK) return false;
    const int64_t n = grad__array_numel(&in[i]);
    for (int64_t k = 0; k < n; k++) {
      const double x = number(&r);
      if (t->dtype == GRAD_F64) ((double *)in[i].data)[k] = x;
      if (t->dtype == GRAD_F32) ((float *)in[i].data)[k] = (float)x;
      if (t->dtype == GRAD_BOOL) ((bool *)in[i].data)[k] = x > 0;
    }
  }
  return true;
}

/* Which NaN an operation on two of them gives is open. */
static bool same(const grad_array *a, const grad_array *b) {
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    if (a->dtype == GRAD_BOOL) {
      if (((uint8_t *)a->data)[i] != ((uint8_t *)b->data)[i]) return false;
    } else if (a->dtype == GRAD_F32) {
      const float x = ((float *)a->data)[i], y = ((float *)b->data)[i];
      if (memcmp(&x, &y, sizeof x) != 0 && !(isnan(x) && isnan(y))) return false;
    } else {
      const double x = ((double *)a->data)[i], y = ((double *)b->data)[i];
      if (memcmp(&x, &y, sizeof x) != 0 && !(isnan(x) && isnan(y))) return false;
    }
  }
  return true;
}

static int64_t count_code(const grad_plan *plan) {
  int64_t count = 0;
  for (int32_t s = 0; s < plan->nsteps; s++) {
    const grad_fused_loop *loop = plan->steps[s].loop;
    for (int32_t k = 0; loop && k < loop->nregions; k++) {
      const grad_region *g = loop->regions[k];
      for (int32_t m = 0; g->coded && m < g->ncoded; m++) count += g->coded[m].kind == GRAD_MICRO_CODE;
    }
  }
  return count;
}

/* Runs the recipe both ways; returns how many stretches became code. */
static int64_t compare(grad_ctx *ctx, const recipe *w) {
  grad_program *p = make(ctx, w);
  grad_plan *coded = NULL, *interpreted = NULL;
  grad_array in[ROOM] = {0}, x[ROOM] = {0}, y[ROOM] = {0};
  const grad_array *const pointers[] = {&in[0], &in[1], &in[2], &in[3], &in[4], &in[5]};
  int64_t stretches = 0;
  ctx->interpret = false;
  bool ok = p && p->status == GRAD_OK && grad__plan_new(p, &coded) == GRAD_OK;
  ctx->interpret = true;
  ok = ok && grad__plan_new(p, &interpreted) == GRAD_OK && fill(ctx, p, w->seed, in);
  ok = ok && grad__plan_run(coded, pointers, NULL, x) == GRAD_OK &&
       grad__plan_run(interpreted, pointers, NULL, y) == GRAD_OK;
  ctx->interpret = false;
  if (ok) {
    for (int k = 0; k < p->noutputs; k++) ok = ok && same(&x[k], &y[k]);
    stretches = count_code(coded);
    ok = ok && count_code(interpreted) == 0;
  }
  if (!check(ok))
    fprintf(stderr, "  seed %d, %d instructions, %lld x %lld, %s, %s\n", (int)w->seed, w->ninstrs, (long long)w->rows,
            (long long)w->columns, grad__dtype_name(w->dtype), grad__simd_name(ctx->simd));
  for (int k = 0; k < ROOM; k++) {
    grad__array_release(&in[k]);
    grad__array_release(&x[k]);
    grad__array_release(&y[k]);
  }
  grad__plan_free(coded);
  grad__plan_free(interpreted);
  grad__program_release(p);
  return stretches;
}

static void check_random(grad_ctx *ctx) {
  static const int64_t sizes[][2] = {{1, 32},  {1, 33}, {1, 63},  {3, 17},  {5, 31},   {1, 100},  {7, 37},
                                     {2, 257}, {9, 64}, {1, 513}, {130, 3}, {40, 255}, {150, 250}};
  int64_t stretches = 0;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    const int64_t *size = sizes[seed % (sizeof sizes / sizeof *sizes)];
    const recipe w = {.seed = seed,
                      .ninstrs = seed % 7 == 0 ? 120 : 3 + (int)(seed % 30),
                      .reach = seed % 3 == 0 ? 60 : 8,
                      .rows = size[0],
                      .columns = size[1],
                      .dtype = seed % 2 ? GRAD_F64 : GRAD_F32,
                      .with_exp = seed % 5 == 0};
    stretches += compare(ctx, &w);
  }
  check(ctx->simd < GRAD_SIMD_AVX2 ? stretches == 0 : stretches > 300);
}

/* Each op alone between two others, so that a fault names itself. */
static void check_each(grad_ctx *ctx) {
  for (int i = 0; i < FLOAT_OPS + MASK_OPS; i++) {
    for (grad_dtype dtype = GRAD_F32; dtype <= GRAD_F64; dtype++) {
      const grad_op *op = grad__op_find(i < FLOAT_OPS ? float_ops[i] : mask_ops[i - FLOAT_OPS]);
      grad_program *p = check_new(ctx);
      const int64_t shape[] = {1, 77};
      grad_id in[ROOM];
      for (int k = 0; k < 3; k++) in[k] = grad__program_input(p, dtype, 2, shape);
      in[3] = grad__program_input(p, dtype, 1, shape + 1);
      in[4] = grad__program_input(p, dtype, 0, NULL);
      in[5] = grad__program_input(p, GRAD_BOOL, 2, shape);
      const grad_id a = grad__mul(p, in[0], in[1]), m = grad__op2(p, &grad__op_lt, in[1], in[2]);
      const bool logical = grad__op_row(op)->kind == GRAD_KIND_LOGICAL;
      grad_id y = op->nin == 1   ? grad__op1(p, op, logical ? m : a)
                  : op->nin == 2 ? grad__op2(p, op, logical ? m : a, logical ? in[5] : in[2])
                                 : grad__op3(p, op, grad__op_row(op)->kind == GRAD_KIND_SELECT ? m : a, in[1], in[2]);
      if (grad__type(p, y)->dtype == GRAD_BOOL) y = grad__where(p, y, a, in[2]);
      grad__program_output(p, grad__sub(p, y, in[4]));
      grad_plan *coded = NULL, *interpreted = NULL;
      grad_array x[ROOM] = {0}, got = {0}, want = {0};
      const grad_array *const pointers[] = {&x[0], &x[1], &x[2], &x[3], &x[4], &x[5]};
      check(fill(ctx, p, (uint64_t)i, x));
      check(grad__plan_new(p, &coded) == GRAD_OK);
      ctx->interpret = true;
      check(grad__plan_new(p, &interpreted) == GRAD_OK);
      ctx->interpret = false;
      check(grad__plan_run(coded, pointers, NULL, &got) == GRAD_OK);
      check(grad__plan_run(interpreted, pointers, NULL, &want) == GRAD_OK);
      if (!check(same(&got, &want)))
        fprintf(stderr, "  %s %s %s\n", op->name, grad__dtype_name(dtype), grad__simd_name(ctx->simd));
      grad__array_release(&got);
      grad__array_release(&want);
      for (int k = 0; k < ROOM; k++) grad__array_release(&x[k]);
      grad__plan_free(coded);
      grad__plan_free(interpreted);
      grad__program_release(p);
    }
  }
}

static grad_status plan_task(grad_ctx *ctx, void *ud) {
  (void)ud;
  const recipe w = {.seed = 11, .ninstrs = 40, .reach = 20, .rows = 3, .columns = 40, .dtype = GRAD_F64};
  grad_plan *plan = NULL;
  grad_program *p = make(ctx, &w);
  if (!p) return ctx->status;
  const grad_status status = p->status ? p->status : grad__plan_new(p, &plan);
  grad__plan_free(plan);
  grad__program_release(p);
  return status;
}

/* Functions that need not wait for each other run one after the other, between two stretches; written down in turn
 * with the arithmetic that leads to them they would cut it in three. */
static void check_order(grad_ctx *ctx) {
  grad_program *p;
  grad_plan *plan = NULL;
  if (!check(grad__program_new(ctx, &p) == GRAD_OK)) return;
  const int64_t n = 1000;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, &n);
  const grad_id squares = grad__mul(p, x, x), powers = grad__op1(p, &grad__op_exp, grad__add(p, squares, x));
  const grad_id cubes = grad__mul(p, squares, x), bounded = grad__op1(p, &grad__op_tanh, grad__sub(p, cubes, x));
  grad__program_output(p, grad__add(p, grad__mul(p, powers, squares), bounded));
  ctx->interpret = false;
  if (check(grad__plan_new(p, &plan) == GRAD_OK)) check(count_code(plan) == (ctx->simd < GRAD_SIMD_AVX2 ? 0 : 2));
  grad__plan_free(plan);
  grad__program_release(p);
}

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(NULL, &ctx) != GRAD_OK) return 1;
  const grad_simd best = ctx->simd;
  for (int level = GRAD_SIMD_BASELINE; level <= (int)best; level++) {
    ctx->simd = (grad_simd)level;
    ctx->interpret = false;
    check_each(ctx);
    check_random(ctx);
    check_order(ctx);
  }
  check_failing_alloc("plan with code", plan_task, NULL);
  check_close(ctx);
  return check_done();
}

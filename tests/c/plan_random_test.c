/* Plans against the direct evaluator, on random programs: every instruction set of this machine, one thread and two,
 * f32 and f64, extents around the lengths of blocks and vectors, strided inputs, allocation failures.
 *
 *   plan_random_test                  what CI runs: always the same programs
 *   plan_random_test SECONDS [SEED]   programs whose results are the same bits whatever the way, from fresh seeds
 */
#include <time.h>

#include "check_plan.h"

/* A plan may round sums and products otherwise: as far as the narrowest float of the program allows. */
static double tolerance_of(const grad_program *p) {
  for (int32_t v = 0; v < p->nvalues; v++) {
    if (p->types[v].dtype == GRAD_F32) return 2e-3;
  }
  return 1e-9;
}

/* A copy of what f reads, with everything larger by the factor. */
static bool scaled_inputs(fixture *f, double factor, grad_array *to) {
  for (int i = 0; i < f->p->ninputs; i++) {
    const grad_array *from = f->inputs[i];
    if (grad__array_new(f->ctx, from->dtype, from->ndim, from->shape, &to[i])) return false;
    grad__array_copy(&to[i], from);
    for (int64_t k = 0; k < grad__array_numel(from); k++) {
      if (from->dtype == GRAD_F64) ((double *)to[i].data)[k] *= factor;
      if (from->dtype == GRAD_F32) ((float *)to[i].data)[k] *= (float)factor;
    }
  }
  return true;
}

/* Do inputs that change by a hundredth of what is allowed change the output by ten times what is allowed: tan of a
 * large sum, for one? Then the order of a sum does so too, and a difference tells nothing. */
static bool is_sensitive(fixture *f, int k, const grad_array *want, double tolerance) {
  const double factor = 1 + tolerance / 100, scalars[] = {f->scalars[0] * factor, f->scalars[1] * factor};
  grad_array in[MOST] = {0}, out[MOST] = {0};
  const grad_array *inputs[MOST];
  for (int i = 0; i < MOST; i++) inputs[i] = &in[i];
  const bool ran = check(scaled_inputs(f, factor, in)) && check(!grad__direct_run(f->p, inputs, scalars, out));
  const bool sensitive = ran && !check_same_array(want, &out[k], 20 * tolerance);
  release_all(in, MOST);
  release_all(out, MOST);
  return sensitive;
}

static void compare_with_direct(uint64_t seed, const random_options *o, bool strided, grad_ctx *ctx) {
  fixture f;
  grad_array want[MOST] = {0}, got[MOST] = {0}, again[MOST] = {0};
  grad_plan *plan = NULL;
  if (fixture_open(&f, ctx, seed, o, strided) && check(grad__direct_run(f.p, f.inputs, f.scalars, want) == GRAD_OK) &&
      check(grad__plan_new(f.p, &plan) == GRAD_OK) &&
      check(grad__plan_run(plan, f.inputs, f.scalars, got) == GRAD_OK) &&
      check(grad__plan_run(plan, f.inputs, f.scalars, again) == GRAD_OK)) {
    for (int k = 0; k < f.p->noutputs; k++) {
      const double tolerance = tolerance_of(f.p);
      const bool agree = check_same_array(&want[k], &got[k], 2 * tolerance) || is_sensitive(&f, k, &want[k], tolerance);
      if (!check(agree) || !check(same_bits(&got[k], &again[k]))) {
        report(&f, seed, k);
        break;
      }
    }
  }
  release_all(want, MOST);
  release_all(got, MOST);
  release_all(again, MOST);
  grad__plan_free(plan);
  fixture_close(&f);
}

static void test_against_direct(grad_ctx *ctx, uint64_t first) {
  static const int64_t extents[] = {1, 2, 3, 7, 8, 15, 33, 64, 100, 255, 256, 257, 300, 520, 1000};
  const int n = (int)(sizeof extents / sizeof *extents);
  random_source r = {first + 5};
  for (uint64_t seed = first; seed < first + 400; seed++) {
    const random_options o = {.ninputs = 4,
                              .ninstrs = 8 + random_below(&r, 40),
                              .noutputs = 1 + random_below(&r, 5),
                              .rows = extents[random_below(&r, 8)],
                              .columns = extents[random_below(&r, n)],
                              .smooth = seed % 2,
                              .depth = 1,
                              .dtype = seed % 3 ? GRAD_F64 : GRAD_F32};
    compare_with_direct(seed, &o, seed % 4 < 2, ctx);
  }
}

/* --- programs whose results do not depend on how they are computed: the same bits, NaN, Inf and zeros included */

static void fill_special(random_source *r, grad_array *a) {
  static const double special[] = {
      (double)NAN, (double)INFINITY, -(double)INFINITY, 0.0, -0.0, 1.0, -1.0, 0.5, 1e308, -1e308, 1e-40, 5e-324};
  for (int64_t i = 0; i < grad__array_numel(a); i++) {
    const double x = special[random_below(r, (int)(sizeof special / sizeof *special))];
    if (random_below(r, 2)) continue;
    if (a->dtype == GRAD_F64) ((double *)a->data)[i] = x;
    if (a->dtype == GRAD_F32) ((float *)a->data)[i] = (float)x;
  }
}

static bool same_numbers(const grad_array *a, const grad_array *b) {
  for (int64_t i = 0; i < grad__array_numel(a); i++) {
    const double x = check_get(a, i), y = check_get(b, i);
    if (isnan(x) ? !isnan(y) : x != y || signbit(x) != signbit(y)) return false;
  }
  return true;
}

static void compare_exactly(grad_ctx *ctx, uint64_t seed) {
  random_source r = {seed + 5};
  const random_options o = {.ninputs = 4,
                            .ninstrs = 5 + random_below(&r, 40),
                            .noutputs = 12,
                            .exact = true,
                            .rows = 1 + random_below(&r, 4),
                            .columns = 1 + random_below(&r, 40),
                            .dtype = seed % 2 ? GRAD_F32 : GRAD_F64};
  fixture f;
  grad_array want[MOST] = {0}, got[MOST] = {0};
  grad_plan *plan = NULL;
  if (fixture_open(&f, ctx, seed, &o, false)) {
    for (int i = 0; i < f.p->ninputs; i++) fill_special(&r, &f.in[i]);
    const bool ran = check(grad__direct_run(f.p, f.inputs, f.scalars, want) == GRAD_OK) &&
                     check(grad__plan_new(f.p, &plan) == GRAD_OK) &&
                     check(grad__plan_run(plan, f.inputs, f.scalars, got) == GRAD_OK);
    for (int k = 0; ran && k < f.p->noutputs; k++) {
      if (!check(same_numbers(&want[k], &got[k]))) report(&f, seed, k);
    }
  }
  release_all(want, MOST);
  release_all(got, MOST);
  grad__plan_free(plan);
  fixture_close(&f);
}

static void test_exact(grad_ctx *ctx, uint64_t first) {
  for (uint64_t seed = first; seed < first + 1000; seed++) compare_exactly(ctx, seed);
}

/* Each instruction set on one thread and on two. */
static void test_random(grad_ctx *ctx) {
  const grad_simd best = ctx->simd;
  uint64_t first = 0;
  for (int simd = GRAD_SIMD_BASELINE; simd <= (int)best; simd++) {
    ctx->simd = (grad_simd)simd;
    for (int threads = 1; threads <= 2; threads++, first += 1000) {
      grad_ctx_set_threads(ctx, threads);
      test_against_direct(ctx, first);
      test_exact(ctx, first);
    }
  }
  ctx->simd = best;
  grad_ctx_set_threads(ctx, 1);
}

/* --- allocation failures */

typedef struct plan_case {
  uint64_t seed;
  random_options o;
} plan_case;

/* What makes smooth programs needs all its memory: that of the wild ones fails too. */
static grad_program *case_program(grad_ctx *ctx, const plan_case *c) {
  check_alloc *const memory = ctx->alloc_ud;
  const check_alloc before = *memory;
  if (c->o.smooth) memory->fail_at = 0;
  grad_program *p = random_program_unchecked(ctx, c->seed, &c->o);
  if (c->o.smooth) *memory = (check_alloc){before.calls, before.fail_at, memory->bytes};
  return p;
}

static grad_status plan_task(grad_ctx *ctx, void *ud) {
  const plan_case *c = ud;
  random_source r = {4};
  grad_array in[MOST] = {0}, out[MOST] = {0};
  const grad_array *inputs[MOST];
  grad_plan *plan = NULL;
  grad_program *p = case_program(ctx, c);
  grad_status status = p ? p->status : ctx->status;
  for (int i = 0; status == GRAD_OK && i < p->ninputs; i++) {
    if (!random_array(ctx, &r, grad__type(p, p->inputs[i]), true, &in[i])) status = ctx->status;
    inputs[i] = &in[i];
  }
  if (status == GRAD_OK) status = grad__plan_new_donating(p, (const bool[MOST]){true, true, true}, &plan);
  if (status == GRAD_OK) status = grad__plan_run(plan, inputs, (const double[]){1, 2}, out);
  for (int k = 0; k < MOST; k++) check(status == GRAD_OK || (!out[k].data && !out[k].storage));
  grad__plan_free(plan);
  release_all(in, MOST);
  release_all(out, MOST);
  grad__program_release(p);
  return status;
}

static void check_failing_case(uint64_t seed, random_options o) {
  plan_case c = {seed, o};
  char name[32];
  snprintf(name, sizeof name, "plan of seed %d", (int)seed);
  check_failing_alloc(name, plan_task, &c);
}

static void test_failing_alloc(void) {
  static const uint64_t nested[] = {2, 7, 15}; /* branches and solvers; loops; implicit functions */
  random_options o = {.ninputs = 3, .ninstrs = 25, .noutputs = 3, .rows = 6, .columns = 9, .dtype = GRAD_F64};
  check_failing_case(8, o);
  o.rows = o.columns = 1; /* numbers, which run as compact code */
  check_failing_case(5, o);
  o.rows = 40, o.columns = 600, o.dtype = GRAD_F32; /* tiles and chunks */
  check_failing_case(3, o);
  for (int i = 0; i < 3; i++) {
    check_failing_case(nested[i], (random_options){.smooth = true,
                                                   .depth = 2,
                                                   .ninputs = 3,
                                                   .ninstrs = 150,
                                                   .noutputs = 3,
                                                   .rows = 3,
                                                   .columns = 4,
                                                   .dtype = GRAD_F64});
  }
}

static void fuzz(grad_ctx *ctx, double seconds, uint64_t seed) {
  const time_t start = time(NULL);
  while (difftime(time(NULL), start) < seconds && !check_failed) compare_exactly(ctx, seed++);
  printf("the last program was from seed %llu\n", (unsigned long long)seed - 1);
}

int main(int argc, char **argv) {
  grad_ctx *ctx = check_open();
  if (argc > 1) {
    fuzz(ctx, atof(argv[1]), argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000);
  } else {
    test_random(ctx);
    test_failing_alloc();
  }
  check_close(ctx);
  return check_done();
}

/* Plans against the direct evaluator, on random programs: every instruction set of this machine, one, two and eight
 * threads, f32 and f64, extents around the lengths of blocks and vectors, strided inputs, allocation failures. */
#include "random_program.h"

#include "check_alloc.h"
#include "exec/exec.h"

enum { MOST = 16 };

typedef struct fixture {
  grad_ctx *ctx;
  grad_program *p;
  grad_array in[MOST];
  const grad_array *inputs[MOST];
  double scalars[2];
} fixture;

static bool fixture_open(fixture *f, grad_ctx *ctx, uint64_t seed, const random_options *o, bool strided) {
  random_source r = {seed + 77};
  *f = (fixture){.ctx = ctx, .p = random_program(ctx, seed, o), .scalars = {0.5, -1.25}};
  if (!f->p || f->p->status != GRAD_OK) return false;
  for (int i = 0; i < f->p->ninputs; i++) {
    if (!random_array(ctx, &r, grad__type(f->p, f->p->inputs[i]), strided, &f->in[i])) return false;
    f->inputs[i] = &f->in[i];
  }
  return true;
}

static void fixture_close(fixture *f) {
  for (int i = 0; i < MOST; i++) grad__array_release(&f->in[i]);
  grad__program_release(f->p);
}

static void release_all(grad_array *out, int n) {
  for (int i = 0; i < n; i++) grad__array_release(&out[i]);
}

static double element(const grad_array *a, int64_t i) {
  if (a->dtype == GRAD_F64) return ((const double *)a->data)[i];
  if (a->dtype == GRAD_F32) return (double)((const float *)a->data)[i];
  return a->dtype == GRAD_I64 ? (double)((const int64_t *)a->data)[i] : ((const uint8_t *)a->data)[i];
}

/* Plans may round sums otherwise; everything else is equal. */
static bool close_enough(double a, double b, double tolerance) {
  if (a == b || (isnan(a) && isnan(b))) return true;
  return fabs(a - b) <= tolerance * (1 + fabs(a) + fabs(b));
}

static bool same_values(const grad_array *a, const grad_array *b, double tolerance) {
  const int64_t n = grad__array_numel(a);
  if (n != grad__array_numel(b) || a->dtype != b->dtype) return false;
  for (int64_t i = 0; i < n; i++) {
    if (!close_enough(element(a, i), element(b, i), tolerance)) return false;
  }
  return true;
}

static bool same_bits(const grad_array *a, const grad_array *b) {
  const size_t bytes = (size_t)grad__array_numel(a) * grad__dtype_size((grad_dtype)a->dtype);
  return grad__array_numel(a) == grad__array_numel(b) && (bytes == 0 || memcmp(a->data, b->data, bytes) == 0);
}

static void report(const fixture *f, uint64_t seed, int output) {
  fprintf(stderr, "seed %llu, output %d of\n", (unsigned long long)seed, output);
  grad_text text = {.ctx = f->ctx};
  if (f->p->ninstrs < 60 && grad__program_print(f->p, &text) == GRAD_OK) fprintf(stderr, "%s", text.data);
  grad__text_clear(&text);
}

static void compare_with_direct(uint64_t seed, const random_options *o, bool strided, grad_ctx *ctx) {
  fixture f;
  grad_array want[MOST] = {0}, got[MOST] = {0}, again[MOST] = {0};
  grad_plan *plan = NULL;
  const double tolerance = o->dtype == GRAD_F32 ? 2e-3 : 1e-9;
  if (fixture_open(&f, ctx, seed, o, strided) && check(grad__direct_run(f.p, f.inputs, f.scalars, want) == GRAD_OK) &&
      check(grad__plan_new(f.p, &plan) == GRAD_OK) &&
      check(grad__plan_run(plan, f.inputs, f.scalars, got) == GRAD_OK) &&
      check(grad__plan_run(plan, f.inputs, f.scalars, again) == GRAD_OK)) {
    for (int k = 0; k < f.p->noutputs; k++) {
      if (!check(same_values(&want[k], &got[k], tolerance)) || !check(same_bits(&got[k], &again[k]))) {
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

static void test_against_direct(grad_ctx *ctx) {
  static const int64_t extents[] = {1, 2, 3, 7, 8, 15, 33, 64, 100, 255, 256, 257, 300, 520};
  const int n = (int)(sizeof extents / sizeof *extents);
  random_source r = {5};
  for (uint64_t seed = 0; seed < 400; seed++) {
    const random_options o = {.ninputs = 4,
                              .ninstrs = 8 + random_below(&r, 40),
                              .noutputs = 1 + random_below(&r, 5),
                              .rows = extents[random_below(&r, 8)],
                              .columns = extents[random_below(&r, n)],
                              .smooth = seed % 2,
                              .dtype = seed % 3 ? GRAD_F64 : GRAD_F32};
    compare_with_direct(seed, &o, seed % 4 == 0, ctx);
  }
}

int main(void) {
  grad_ctx *ctx;
  if (!check(grad_ctx_new(NULL, &ctx) == GRAD_OK)) return check_done();
  test_against_direct(ctx);
  check(ctx->used == 0 || ctx->pool);
  grad_ctx_free(ctx);
  return check_done();
}

/* Products of tall matrices and vectors: against plain loops, with NaN and Inf, gaps between rows, every instruction
 * set, and the same bits with any number of threads. */
#include <stdlib.h>

#include "check_ctx.h"
#include "core/ctx.h"
#include "array/array.h"
#include "linalg/blas.h"
#include "linalg/tall_gemv.h"

typedef struct problem {
  grad_dtype dtype;
  bool ta;
  int64_t m, n, lda;
  void *a, *x, *y, *z;
  double *want;
} problem;

static problem make(grad_dtype dtype, bool ta, int64_t m, int64_t n, int64_t gap, double odd) {
  const int64_t nx = ta ? m : n, ny = ta ? n : m;
  problem p = {.dtype = dtype, .ta = ta, .m = m, .n = n, .lda = n + gap};
  p.a = malloc((size_t)(m * p.lda) * 8);
  p.x = malloc((size_t)nx * 8);
  p.y = malloc((size_t)ny * 8);
  p.z = malloc((size_t)ny * 8);
  p.want = calloc((size_t)ny, sizeof *p.want);
  for (int64_t i = 0; i < m * p.lda; i++) grad__float_put(dtype, p.a, i, i % p.lda < n ? sin((double)i) : (double)NAN);
  for (int64_t i = 0; i < nx; i++) grad__float_put(dtype, p.x, i, cos(3 * (double)i));
  if (odd != 0) grad__float_put(dtype, p.a, m / 2 * p.lda + n - 1, odd);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      p.want[ta ? j : i] += grad__float_get(dtype, p.a, i * p.lda + j) * grad__float_get(dtype, p.x, ta ? i : j);
    }
  }
  return p;
}

static void release(problem *p) {
  free(p->a);
  free(p->x);
  free(p->y);
  free(p->z);
  free(p->want);
}

static void test_problem(grad_ctx *ctx, problem p) {
  const int64_t ny = p.ta ? p.n : p.m;
  const double tolerance = p.dtype == GRAD_F64 ? 1e-11 : 2e-3;
  check(grad__tall_gemv_fits(p.m, p.n));
  grad_ctx_set_threads(ctx, 1);
  check(grad__gemv(ctx, p.dtype, p.ta, p.m, p.n, p.a, p.lda, p.x, 1, p.y) == GRAD_OK);
  grad_ctx_set_threads(ctx, 3);
  check(grad__gemv(ctx, p.dtype, p.ta, p.m, p.n, p.a, p.lda, p.x, 1, p.z) == GRAD_OK);
  check(memcmp(p.y, p.z, (size_t)ny * (p.dtype == GRAD_F64 ? 8 : 4)) == 0);
  bool near = true;
  for (int64_t i = 0; i < ny; i++) {
    const double got = grad__float_get(p.dtype, p.y, i), want = p.want[i];
    const bool same = got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance * (1 + fabs(want));
    near = near && same;
  }
  if (!check(near))
    fprintf(stderr, "  %lld x %lld, transposed %d, dtype %d\n", (long long)p.m, (long long)p.n, p.ta, p.dtype);
  release(&p);
}

int main(void) {
  static const int64_t rows[] = {64, 67, 2048, 5001}, columns[] = {4, 5, 7, 8, 13, 30, 63};
  grad_ctx *ctx = check_open();
  const grad_simd best = ctx->simd;
  for (int simd = GRAD_SIMD_BASELINE; simd <= (int)best; simd++) {
    ctx->simd = (grad_simd)simd;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      for (size_t j = 0; j < sizeof columns / sizeof *columns; j++) {
        for (int kind = 0; kind < 4; kind++) {
          test_problem(ctx, make(kind % 2 ? GRAD_F64 : GRAD_F32, kind / 2, rows[i], columns[j], (int64_t)j % 3, 0));
        }
      }
    }
    test_problem(ctx, make(GRAD_F64, false, 70, 30, 1, (double)NAN));
    test_problem(ctx, make(GRAD_F64, true, 70, 30, 1, (double)INFINITY));
    test_problem(ctx, make(GRAD_F32, false, 70, 9, 0, -(double)INFINITY));
  }
  grad_ctx_free(ctx);
  return check_done();
}

/* gemm_blocks_test.c: products cut into blocks, with a plain loop in place of the library's product: every way of
 * transposing, extents around those of blocks and panels, distances between rows, beta. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "array/array.h"
#include "linalg/gemm_blocks.h"

static int calls, longest; /* of the product below: how many, its longest extent */

/* What BLAS promises, column-major. */
static void plain(grad_dtype dtype, bool ta, bool tb, const int *mnk, const void *alpha, const void *a, int lda,
                  const void *b, int ldb, const void *beta, void *c, int ldc) {
  calls++;
  for (int i = 0; i < 3; i++) longest = mnk[i] > longest ? mnk[i] : longest;
  for (int64_t i = 0; i < mnk[0]; i++) {
    for (int64_t j = 0; j < mnk[1]; j++) {
      double sum = 0;
      for (int64_t l = 0; l < mnk[2]; l++) {
        sum += grad__float_get(dtype, a, ta ? i * lda + l : l * lda + i) *
               grad__float_get(dtype, b, tb ? l * ldb + j : j * ldb + l);
      }
      const double scale = grad__float_get(dtype, beta, 0),
                   old = scale == 0 ? 0 : scale * grad__float_get(dtype, c, j * ldc + i);
      grad__float_put(dtype, c, j * ldc + i, grad__float_get(dtype, alpha, 0) * sum + old);
    }
  }
}

static void plain_f32(const char *ta, const char *tb, const int *m, const int *n, const int *k, const void *alpha,
                      const void *a, const int *lda, const void *b, const int *ldb, const void *beta, void *c,
                      const int *ldc) {
  plain(GRAD_F32, *ta == 'T', *tb == 'T', (int[]){*m, *n, *k}, alpha, a, *lda, b, *ldb, beta, c, *ldc);
}

static void plain_f64(const char *ta, const char *tb, const int *m, const int *n, const int *k, const void *alpha,
                      const void *a, const int *lda, const void *b, const int *ldb, const void *beta, void *c,
                      const int *ldc) {
  plain(GRAD_F64, *ta == 'T', *tb == 'T', (int[]){*m, *n, *k}, alpha, a, *lda, b, *ldb, beta, c, *ldc);
}

/* Small integers, so that every sum is exact in f32 too, whatever its order. */
static void *integers(grad_dtype dtype, int64_t count) {
  void *const data = malloc((size_t)count * grad__dtype_size(dtype));
  for (int64_t i = 0; i < count; i++) grad__float_put(dtype, data, i, rand() % 9 - 4);
  return data;
}

static void test_blocks(grad_dtype dtype, int m, int n, int k, bool ta, bool tb, double beta) {
  enum { GAP = 3 };
  const int lda = (ta ? m : k) + GAP, ldb = (tb ? k : n) + GAP, ldc = n + GAP;
  const int64_t count = (int64_t)m * ldc;
  void *const a = integers(dtype, (int64_t)(ta ? k : m) * lda), *const b = integers(dtype, (int64_t)(tb ? n : k) * ldb);
  void *const c = integers(dtype, count), *const want = malloc((size_t)count * grad__dtype_size(dtype));
  memcpy(want, c, (size_t)count * grad__dtype_size(dtype));
  if (beta == 0) grad__float_put(dtype, c, 0, (double)NAN);
  grad_gemm p = {.fn = dtype == GRAD_F32 ? plain_f32 : plain_f64,
                 .dtype = dtype,
                 .ta = ta,
                 .tb = tb,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .alpha = grad__blas_number(dtype, 2),
                 .beta = grad__blas_number(dtype, beta),
                 .a = a,
                 .b = b,
                 .c = c};
  calls = longest = 0;
  grad__gemm_blocks(&p);
  check(longest <= 96 && calls >= (m + 95) / 96 * ((n + 95) / 96) * ((k + 95) / 96));
  p.c = want;
  grad__gemm_whole(&p);
  if (!check(memcmp(c, want, (size_t)count * grad__dtype_size(dtype)) == 0)) {
    fprintf(stderr, "  %d: %d x %d x %d, %d %d, beta %g\n", dtype, m, n, k, ta, tb, beta);
  }
  free(a);
  free(b);
  free(c);
  free(want);
}

static bool fits(int m, int n, int k, bool ta, bool tb) {
  return grad__gemm_blocks_fit(&(grad_gemm){.dtype = GRAD_F64, .m = m, .n = n, .k = k, .ta = ta, .tb = tb});
}

static void test_choice(void) {
  check(!fits(64, 64, 64, false, false) && fits(64, 64, 64, false, true)); /* a kernel lacks for a b' alone */
  check(fits(8, 8, 8, false, true) && !fits(8, 8, 32, false, true));
  check(!fits(8, 8, 8, false, false) && !fits(8, 8, 8, true, true));
  check(fits(512, 64, 64, false, false) && fits(32, 144, 1 << 20, true, false));
  check(!fits(1000, 1000, 1000, false, false)); /* not in the cache */
}

int main(void) {
  static const int shapes[][3] = {{64, 64, 16}, {1, 70, 5},    {2, 3, 31},     {96, 97, 95}, {130, 20, 40},
                                  {17, 200, 3}, {100, 99, 98}, {11, 13, 1030}, {193, 33, 97}};
  for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes) * 12; i++) {
    const int *const s = shapes[i / 12];
    test_blocks(i % 2 ? GRAD_F32 : GRAD_F64, s[0], s[1], s[2], i / 2 % 2, i / 4 % 2, i % 3);
    test_blocks(i % 2 ? GRAD_F64 : GRAD_F32, s[0], s[1], s[2], false, true, i % 3);
  }
  test_choice();
  return check_done();
}

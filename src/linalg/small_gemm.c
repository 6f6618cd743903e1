/* small_gemm.c: rows of the product in strips of 8 columns held in registers. The second factor is packed into strips
 * on the stack, so that one loop serves all four ways of transposing. */
#include "linalg/small_gemm.h"

enum { STRIP = 8, MAX_EXTENT = 16, MAX_PRODUCT = 128 };

bool grad__small_gemm_fits(int64_t m, int64_t n, int64_t k) {
  return m <= MAX_EXTENT && n <= MAX_EXTENT && k <= MAX_EXTENT && m * n * k <= MAX_PRODUCT;
}

#define SMALL_GEMM(name, real)                                                                                         \
  static void name(int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t row, int64_t col,               \
                   const real *b, int64_t brow, int64_t bcol, real beta, real *c, int64_t ldc) {                       \
    real packed[MAX_EXTENT * STRIP];                                                                                   \
    for (int64_t j0 = 0; j0 < n; j0 += STRIP) {                                                                        \
      const int64_t width = n - j0 < STRIP ? n - j0 : STRIP;                                                           \
      for (int64_t p = 0; p < k; p++) {                                                                                \
        for (int64_t j = 0; j < STRIP; j++) packed[p * STRIP + j] = j < width ? b[p * brow + (j0 + j) * bcol] : 0;     \
      }                                                                                                                \
      for (int64_t i = 0; i < m; i++) {                                                                                \
        real sum[STRIP] = {0};                                                                                         \
        for (int64_t p = 0; p < k; p++) {                                                                              \
          const real factor = a[i * row + p * col];                                                                    \
          for (int64_t j = 0; j < STRIP; j++) sum[j] += factor * packed[p * STRIP + j];                                \
        }                                                                                                              \
        real *const to = c + i * ldc + j0;                                                                             \
        if (beta == 0) {                                                                                               \
          for (int64_t j = 0; j < width; j++) to[j] = alpha * sum[j];                                                  \
        } else {                                                                                                       \
          for (int64_t j = 0; j < width; j++) to[j] = alpha * sum[j] + beta * to[j];                                   \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }

SMALL_GEMM(small_f32, float)
SMALL_GEMM(small_f64, double)

void grad__small_gemm(grad_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                      int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc) {
  const int64_t row = ta ? 1 : lda, col = ta ? lda : 1, brow = tb ? 1 : ldb, bcol = tb ? ldb : 1;
  if (dtype == GRAD_F32) {
    small_f32(m, n, k, (float)alpha, a, row, col, b, brow, bcol, (float)beta, c, ldc);
  } else {
    small_f64(m, n, k, alpha, a, row, col, b, brow, bcol, beta, c, ldc);
  }
}

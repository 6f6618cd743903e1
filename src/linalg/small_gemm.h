/* small_gemm.h: products so small that calling BLAS costs more than the product. */
#ifndef GRAD_LINALG_SMALL_GEMM_H
#define GRAD_LINALG_SMALL_GEMM_H

#include "core/ctx.h"

/* Worth doing here: up to about 5 x 5 x 5. OpenBLAS costs 40 ns a call and overtakes at 4 x 4 x 4, but the first call
 * loads it, which takes longer than many a small program. */
bool grad__small_gemm_fits(int64_t m, int64_t n, int64_t k);

/* As grad__gemm, for sizes that fit. */
void grad__small_gemm(grad_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                      int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc);

#endif

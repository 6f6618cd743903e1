/* blas.h: products of matrices and vectors, f32 and f64, by BLAS. blas.c is the only file that names its symbols.
 *
 * Matrices are row-major: element (i, j) of a lies at a[i * lda + j], lda >= number of columns (at least 1). Extents
 * above 2^31 - 1 give EUNSUPPORTED. beta = 0 does not read the result's old contents. Tiny products do not load the
 * library.
 */
#ifndef GRAD_LINALG_BLAS_H
#define GRAD_LINALG_BLAS_H

#include "core/ctx.h"

/* c (m x n) = alpha op(a) op(b) + beta c, where op(a) is m x k: a itself, or with ta its transpose; op(b) is k x n. */
grad_status grad__gemm(grad_ctx *ctx, grad_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha,
                       const void *a, int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc);

/* y = op(a) x, a being m x n as stored. incx: the step in elements, not 0; a negative one runs backwards from the given
 * address. */
grad_status grad__gemv(grad_ctx *ctx, grad_dtype dtype, bool ta, int64_t m, int64_t n, const void *a, int64_t lda,
                       const void *x, int64_t incx, void *y);

/* b (m x n) becomes inv(op(a)) b; a is triangular. No test for singularity: a zero on the diagonal gives Inf or NaN. */
grad_status grad__trsm(grad_ctx *ctx, grad_dtype dtype, bool lower, bool ta, int64_t m, int64_t n, const void *a,
                       int64_t lda, void *b, int64_t ldb);

typedef struct grad_blas_info {
  const char *version; /* "OpenBLAS 0.3.21 ..."; "" when the library does not say */
  const char *core;    /* the kernels in use, "SkylakeX"; "" likewise */
  int threads; /* inside one product: 1 unless OPENBLAS_NUM_THREADS says otherwise, or the host has loaded it before */
} grad_blas_info;
/* Loads the library. The texts live as long as the process. */
grad_status grad__blas_info(grad_ctx *ctx, grad_blas_info *out);

#endif

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

/* y = alpha op(a) x + beta y, a being m x n as stored. incx, incy: steps in elements, not 0; a negative step runs
 * backwards from the given address. */
grad_status grad__gemv(grad_ctx *ctx, grad_dtype dtype, bool ta, int64_t m, int64_t n, double alpha, const void *a,
                       int64_t lda, const void *x, int64_t incx, double beta, void *y, int64_t incy);

/* *out = sum of x[i * incx] * y[i * incy], rounded to dtype. */
grad_status grad__dot(grad_ctx *ctx, grad_dtype dtype, int64_t n, const void *x, int64_t incx, const void *y,
                      int64_t incy, double *out);

/* The lower (else upper) triangle of c (n x n) = alpha op(a) op(a)' + beta c, op(a) being n x k; the rest is kept. */
grad_status grad__syrk(grad_ctx *ctx, grad_dtype dtype, bool lower, bool ta, int64_t n, int64_t k, double alpha,
                       const void *a, int64_t lda, double beta, void *c, int64_t ldc);

/* b (m x n) becomes alpha inv(op(a)) b, or with `right` alpha b inv(op(a)); a is triangular (`unit`: ones on its
 * diagonal, which is not read). No test for singularity: a zero on the diagonal gives Inf or NaN. */
grad_status grad__trsm(grad_ctx *ctx, grad_dtype dtype, bool right, bool lower, bool ta, bool unit, int64_t m,
                       int64_t n, double alpha, const void *a, int64_t lda, void *b, int64_t ldb);

typedef struct grad_blas_info {
  const char *version; /* "OpenBLAS 0.3.21 ..."; "" when the library does not say */
  const char *core;    /* the kernels in use, "SkylakeX"; "" likewise */
  int threads;
  bool ours; /* loaded by this library rather than by the host */
} grad_blas_info;
/* Loads the library. The texts live as long as the process. */
grad_status grad__blas_info(grad_ctx *ctx, grad_blas_info *out);

/* Threads inside one product: 1 unless OPENBLAS_NUM_THREADS says otherwise. The number belongs to the process: other
 * contexts, and a host that uses the same library, see it too. */
grad_status grad__blas_set_threads(grad_ctx *ctx, int threads);

#endif

/* lapack.h: factorizations, f32 and f64, by LAPACK. lapack.c is the only file that names its symbols.
 *
 * Matrices are column-major, unlike everywhere else: element (i, j) of a lies at a[i + j * lda], with lda the number of
 * rows. LAPACK overwrites its input, so callers copy anyway, transposing if need be; and a row-major matrix is the
 * transpose of the column-major one in the same memory, which often saves even that (callers say so). No extent may be
 * 0. Workspace comes from the caller, counted in elements by the functions `grad__work_...`. Extents above 2^31 - 1:
 * EUNSUPPORTED.
 */
#ifndef GRAD_LINALG_LAPACK_H
#define GRAD_LINALG_LAPACK_H

#include "core/ctx.h"

/* a (n x n) = P L U in place, L with unit diagonal; row i was exchanged with row pivots[i] - 1. A zero on U's diagonal
 * is no error here. */
grad_status grad__getrf(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, int *pivots);

/* b (n x k) becomes the x of a x = b, or with `transposed` of a' x = b, from the result of getrf. No test for zeros. */
grad_status grad__getrs(grad_ctx *ctx, grad_dtype dtype, bool transposed, int64_t n, int64_t k, const void *lu,
                        const int *pivots, void *b);

/* The result of getrf becomes the inverse. No test for zeros. */
grad_status grad__getri(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *lu, const int *pivots, void *work);
int64_t grad__work_inverse(int64_t n);

/* The upper triangle of a symmetric a becomes U with U'U = a; the rest is not read. ENOTPD, *minor being the order of
 * the first leading minor that is not positive; no message. */
grad_status grad__potrf(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, int64_t *minor);

/* a (m x n) becomes R above the diagonal and reflectors below it, with min(m, n) factors tau. */
grad_status grad__geqrf(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t n, void *a, void *tau, void *work);
/* The first k reflectors become the first k columns of Q. */
grad_status grad__orgqr(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t k, void *a, const void *tau, void *work);
int64_t grad__work_qr(int64_t m, int64_t n);

/* a (m x n, destroyed) = u diag(s) vt with k = min(m, n): u m x k, s descending, vt k x n. Finite entries only.
 * ENOCONV. */
grad_status grad__gesdd(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t n, void *a, void *s, void *u, void *vt,
                        void *work, int *iwork);
int64_t grad__work_svd(int64_t m, int64_t n, int64_t *iwork);

/* Symmetric a (lower triangle read): columns become eigenvectors, w the eigenvalues, ascending. Finite entries only.
 * ENOCONV. */
grad_status grad__syevd(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, void *w, void *work, int *iwork);
int64_t grad__work_eigh(int64_t n, int64_t *iwork);

#endif

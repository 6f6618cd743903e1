/* tall_gemv.h: products of a tall matrix with few columns, stored by rows, and a vector: what a regression over many
 * rows consists of. They read each element once and are bound by memory, where OpenBLAS, which is made for long
 * columns, takes half as long again. */
#ifndef GRAD_LINALG_TALL_GEMV_H
#define GRAD_LINALG_TALL_GEMV_H

#include "core/ctx.h"

/* Is an m x n matrix one of these? */
bool grad__tall_gemv_fits(int64_t m, int64_t n);

/* y = op(a) x, as grad__gemv. Runs on the context's threads; the result does not depend on how many there are. */
grad_status grad__tall_gemv(grad_ctx *ctx, grad_dtype dtype, bool ta, int64_t m, int64_t n, const void *a, int64_t lda,
                            const void *x, void *y);

/* For each instruction set, by dtype (0: f32, 1: f64). dots: y[i] = a[i, :] . x, over rows. combine: y[:] += the sum of
 * x[i] a[i, :]. */
typedef struct grad_tall_kernels {
  void (*dots)(int64_t rows, int64_t n, const void *a, int64_t lda, const void *x, void *y);
  void (*combine)(int64_t rows, int64_t n, const void *a, int64_t lda, const void *x, void *y);
} grad_tall_kernels;

#endif

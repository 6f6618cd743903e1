/* gemm_blocks.h: products of matrices that fit a core's cache, cut into blocks for which OpenBLAS has kernels that read
 * both factors where they lie. Its way for larger products copies the factors into panels first, which costs more than
 * it gains as long as they are in the cache anyway. Measured with the SkylakeX kernels of OpenBLAS 0.3.21, GFLOP/s:
 *
 *                        whole    in blocks              whole    in blocks
 *   512 x 64 x 64  f64   76       114              f32   190      230
 *   256^3                88       110                    211      217
 *   64^3, a b'           67       100                    152      210
 *   32 x 8 x 4, a b'     13        28                     14       32
 */
#ifndef GRAD_LINALG_GEMM_BLOCKS_H
#define GRAD_LINALG_GEMM_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "array/array.h"

/* Fortran calling convention; f32 and f64 differ in what the pointers to numbers point at. */
typedef void (*grad_gemm_fn)(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                             const void *alpha, const void *a, const int *lda, const void *b, const int *ldb,
                             const void *beta, void *c, const int *ldc);

/* A number of the dtype, for passing by address. */
typedef union grad_blas_number {
  float f;
  double d;
} grad_blas_number;
grad_blas_number grad__blas_number(grad_dtype dtype, double x);

/* Row-major, as grad__gemm; no extent is 0. */
typedef struct grad_gemm {
  grad_gemm_fn fn;
  grad_dtype dtype;
  bool ta, tb;
  int m, n, k, lda, ldb, ldc;
  grad_blas_number alpha, beta;
  const char *a, *b;
  char *c;
} grad_gemm;

/* The part of p that begins at row `i`, column `j`, inner index `l`, of extents m, n, k or as much of them as there is;
 * parts with l > 0 add to the result. */
grad_gemm grad__gemm_part(const grad_gemm *p, int64_t i, int64_t j, int64_t l, const int64_t *mnk);

/* One call of the library. */
void grad__gemm_whole(const grad_gemm *p);

/* Is it worth cutting, for a library that has the kernels? Depends on the extents and the transposes alone. */
bool grad__gemm_blocks_fit(const grad_gemm *p);
void grad__gemm_blocks(const grad_gemm *p);

#endif

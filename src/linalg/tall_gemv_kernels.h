/* tall_gemv_kernels.h: the loops of tall_gemv.c, compiled once for each instruction set. KERNELS is their table.
 * Vectors are the compiler's (gcc, clang), which splits those that are wider than the processor's.
 */
#include "linalg/tall_gemv.h"

/* A row in pieces of 8, then 4, 2 and 1 elements. */
#define PIECES(n, real, PIECE)                                                                                         \
  int64_t j = 0;                                                                                                       \
  for (; j + 8 <= (n); j += 8) PIECE(real, 8);                                                                         \
  if ((n)&4) {                                                                                                         \
    PIECE(real, 4);                                                                                                    \
    j += 4;                                                                                                            \
  }                                                                                                                    \
  if ((n)&2) {                                                                                                         \
    PIECE(real, 2);                                                                                                    \
    j += 2;                                                                                                            \
  }                                                                                                                    \
  if ((n)&1) PIECE(real, 1)

#define AT(real, width, p) (*(const real##width *)(const void *)(p))
#define DOT(real, width) sum##width += AT(real, width, a + j) * AT(real, width, x + j)
#define COMBINE(real, width)                                                                                           \
  *(real##width *)(void *)(y + j) +=                                                                                   \
      (x[0] * AT(real, width, a + j) + x[1] * AT(real, width, a + lda + j)) +                                          \
      (x[2] * AT(real, width, a + 2 * lda + j) + x[3] * AT(real, width, a + 3 * lda + j))
#define COMBINE_ONE(real, width) *(real##width *)(void *)(y + j) += x[0] * AT(real, width, a + j)

/* Vectors at any address that an element may have, and that may alias elements. */
#define VECTORS(real)                                                                                                  \
  typedef real real##1;                                                                                                \
  typedef real real##2 __attribute__((vector_size(2 * sizeof(real)), aligned(sizeof(real)), may_alias));               \
  typedef real real##4 __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));               \
  typedef real real##8 __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));

#define LOOPS(real)                                                                                                    \
  VECTORS(real)                                                                                                        \
  static void dots_##real(int64_t rows, int64_t n, const void *pa, int64_t lda, const void *px, void *py) {            \
    const real *a = pa, *x = px;                                                                                       \
    real *y = py;                                                                                                      \
    for (int64_t i = 0; i < rows; i++, a += lda) {                                                                     \
      real##8 sum8 = {0};                                                                                              \
      real##4 sum4 = {0};                                                                                              \
      real##2 sum2 = {0};                                                                                              \
      real##1 sum1 = 0;                                                                                                \
      PIECES(n, real, DOT);                                                                                            \
      sum4 += (real##4){sum8[0], sum8[1], sum8[2], sum8[3]} + (real##4){sum8[4], sum8[5], sum8[6], sum8[7]};           \
      sum2 += (real##2){sum4[0], sum4[1]} + (real##2){sum4[2], sum4[3]};                                               \
      y[i] = sum2[0] + sum2[1] + sum1;                                                                                 \
    }                                                                                                                  \
  }                                                                                                                    \
  static void combine_##real(int64_t rows, int64_t n, const void *pa, int64_t lda, const void *px, void *py) {         \
    const real *a = pa, *x = px;                                                                                       \
    real *y = py;                                                                                                      \
    for (; rows >= 4; rows -= 4, a += 4 * lda, x += 4) {                                                               \
      PIECES(n, real, COMBINE);                                                                                        \
    }                                                                                                                  \
    for (; rows > 0; rows--, a += lda, x++) {                                                                          \
      PIECES(n, real, COMBINE_ONE);                                                                                    \
    }                                                                                                                  \
  }
LOOPS(float)
LOOPS(double)

const grad_tall_kernels KERNELS[2] = {{dots_float, combine_float}, {dots_double, combine_double}};

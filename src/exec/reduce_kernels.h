/* reduce_kernels.h: reductions of contiguous elements, and their opposite, the repetition of one, compiled once for
 * each instruction set: the including file defines REDUCER and REPEAT, the names of what it makes. Sixteen running
 * results whatever the vector length, so that every level gives the same bits; their combination is a fixed tree. NaN
 * wins in max and min.
 */
#include <string.h>

#include "exec/region.h"

enum { LANES = 16 };

#define SUM_OF(a, b) ((a) + (b))
#define PROD_OF(a, b) ((a) * (b))
#define MAX_OF(a, b) ((((a) > (b)) | ((a) != (a))) ? (a) : (b)) /* without ||, so that it becomes vectors */
#define MIN_OF(a, b) ((((a) < (b)) | ((a) != (a))) ? (a) : (b))

/* Vectors of the instruction set. Compilers leave the loop of max scalar, so the lanes are held in vectors by hand. */
#if defined __AVX512F__
enum { VECTOR = 64 };
#elif defined __AVX__
enum { VECTOR = 32 };
#else
enum { VECTOR = 16 };
#endif
typedef double f64_vector __attribute__((vector_size(VECTOR)));
typedef float f32_vector __attribute__((vector_size(VECTOR)));
typedef int64_t f64_mask __attribute__((vector_size(VECTOR)));
typedef int32_t f32_mask __attribute__((vector_size(VECTOR)));

#define SUM_VECTORS(a, b, mask) ((a) + (b))
#define PROD_VECTORS(a, b, mask) ((a) * (b))
#define SELECT(m, a, b, mask) ((((mask)(m)) & (mask)(a)) | (~(mask)(m) & (mask)(b)))
#define MAX_VECTORS(a, b, mask) SELECT(((a) > (b)) | ((a) != (a)), a, b, mask)
#define MIN_VECTORS(a, b, mask) SELECT(((a) < (b)) | ((a) != (a)), a, b, mask)

#define REDUCTION(name, type, width, OF, VECTORS, identity)                                                            \
  static void name##_lanes(int64_t n, const type *v, type *lane) {                                                     \
    enum { EACH = VECTOR / (int)sizeof(type), COUNT = LANES / EACH };                                                  \
    width##_vector sum[COUNT], next;                                                                                   \
    memcpy(sum, v, sizeof sum);                                                                                        \
    for (int64_t i = LANES; i < n; i += LANES) {                                                                       \
      for (int k = 0; k < COUNT; k++) {                                                                                \
        memcpy(&next, v + i + k * EACH, sizeof next);                                                                  \
        sum[k] = (width##_vector)VECTORS(sum[k], next, width##_mask);                                                  \
      }                                                                                                                \
    }                                                                                                                  \
    memcpy(lane, sum, sizeof sum);                                                                                     \
  }                                                                                                                    \
  static type name##_all(int64_t n, const type *v) {                                                                   \
    type lane[LANES], few = (type)(identity);                                                                          \
    int64_t i = 0;                                                                                                     \
    if (n < LANES) {                                                                                                   \
      for (; i < n; i++) few = OF(few, v[i]);                                                                          \
      return few;                                                                                                      \
    }                                                                                                                  \
    i = n - n % LANES;                                                                                                 \
    name##_lanes(i, v, lane);                                                                                          \
    for (int k = 0; i < n; i++, k++) lane[k] = OF(lane[k], v[i]);                                                      \
    for (int half = LANES / 2; half > 0; half /= 2) {                                                                  \
      for (int k = 0; k < half; k++) lane[k] = OF(lane[k], lane[k + half]);                                            \
    }                                                                                                                  \
    return lane[0];                                                                                                    \
  }                                                                                                                    \
  static double name##_reduce(int64_t n, const void *x) { return (double)name##_all(n, x); }                           \
  static void name##_rows(int64_t rows, int64_t extent, const void *x, void *to) {                                     \
    const type *v = x;                                                                                                 \
    type *t = to;                                                                                                      \
    for (int64_t row = 0; row < rows; row++, v += extent) t[row] = name##_all(extent, v);                              \
  }                                                                                                                    \
  static void name##_accumulate(int64_t n, void *to, const void *x) {                                                  \
    type *t = to;                                                                                                      \
    const type *v = x;                                                                                                 \
    for (int64_t i = 0; i < n; i++) t[i] = OF(t[i], v[i]);                                                             \
  }

REDUCTION(sum_f64, double, f64, SUM_OF, SUM_VECTORS, 0)
REDUCTION(sum_f32, float, f32, SUM_OF, SUM_VECTORS, 0)
REDUCTION(prod_f64, double, f64, PROD_OF, PROD_VECTORS, 1)
REDUCTION(prod_f32, float, f32, PROD_OF, PROD_VECTORS, 1)
REDUCTION(max_f64, double, f64, MAX_OF, MAX_VECTORS, -__builtin_inf())
REDUCTION(max_f32, float, f32, MAX_OF, MAX_VECTORS, -__builtin_inf())
REDUCTION(min_f64, double, f64, MIN_OF, MIN_VECTORS, __builtin_inf())
REDUCTION(min_f32, float, f32, MIN_OF, MIN_VECTORS, __builtin_inf())

/* clang-format off */
#define ENTRY(name) {name##_reduce, name##_rows, name##_accumulate}
#define ROW(name) {ENTRY(name##_f32), ENTRY(name##_f64)}
const grad_reducer REDUCER[4][2] = {
    [GRAD_REDUCE_SUM] = ROW(sum),
    [GRAD_REDUCE_PROD] = ROW(prod),
    [GRAD_REDUCE_MAX] = ROW(max),
    [GRAD_REDUCE_MIN] = ROW(min),
};
/* clang-format on */

void REPEAT(int64_t n, int size, void *to, const void *from) {
  if (size == 8) {
    const uint64_t value = *(const uint64_t *)from;
    for (int64_t i = 0; i < n; i++) ((uint64_t *)to)[i] = value;
  } else if (size == 4) {
    const uint32_t value = *(const uint32_t *)from;
    for (int64_t i = 0; i < n; i++) ((uint32_t *)to)[i] = value;
  } else {
    memset(to, *(const uint8_t *)from, (size_t)n);
  }
}

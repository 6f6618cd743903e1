/* reduce_kernels.h: reductions of contiguous elements, compiled once for each instruction set: the including file
 * defines REDUCER, the name of its table. Sixteen running results whatever the vector length, so that every level gives
 * the same bits; their combination is a fixed tree. NaN wins in max and min.
 */
#include "exec/region.h"

enum { LANES = 16 };

#define SUM_OF(a, b) ((a) + (b))
#define PROD_OF(a, b) ((a) * (b))
#define MAX_OF(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define MIN_OF(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

#define REDUCTION(name, type, OF, identity)                                                                            \
  static double name##_reduce(int64_t n, const void *x) {                                                              \
    const type *v = x;                                                                                                 \
    type lane[LANES];                                                                                                  \
    int64_t i = 0;                                                                                                     \
    for (int k = 0; k < LANES; k++) lane[k] = (type)(identity);                                                        \
    for (; i + LANES <= n; i += LANES) {                                                                               \
      for (int k = 0; k < LANES; k++) lane[k] = OF(lane[k], v[i + k]);                                                 \
    }                                                                                                                  \
    for (int k = 0; i < n; i++, k++) lane[k] = OF(lane[k], v[i]);                                                      \
    for (int half = LANES / 2; half > 0; half /= 2) {                                                                  \
      for (int k = 0; k < half; k++) lane[k] = OF(lane[k], lane[k + half]);                                            \
    }                                                                                                                  \
    return (double)lane[0];                                                                                            \
  }                                                                                                                    \
  static void name##_accumulate(int64_t n, void *to, const void *x) {                                                  \
    type *t = to;                                                                                                      \
    const type *v = x;                                                                                                 \
    for (int64_t i = 0; i < n; i++) t[i] = OF(t[i], v[i]);                                                             \
  }

REDUCTION(sum_f64, double, SUM_OF, 0)
REDUCTION(sum_f32, float, SUM_OF, 0)
REDUCTION(prod_f64, double, PROD_OF, 1)
REDUCTION(prod_f32, float, PROD_OF, 1)
REDUCTION(max_f64, double, MAX_OF, -__builtin_inf())
REDUCTION(max_f32, float, MAX_OF, -__builtin_inf())
REDUCTION(min_f64, double, MIN_OF, __builtin_inf())
REDUCTION(min_f32, float, MIN_OF, __builtin_inf())

#define ROW(name)                                                                                                      \
  {                                                                                                                    \
    {name##_f32_reduce, name##_f32_accumulate}, { name##_f64_reduce, name##_f64_accumulate }                           \
  }
const grad_reducer REDUCER[4][2] = {[GRAD_REDUCE_SUM] = ROW(sum),
                                    [GRAD_REDUCE_PROD] = ROW(prod),
                                    [GRAD_REDUCE_MAX] = ROW(max),
                                    [GRAD_REDUCE_MIN] = ROW(min)};

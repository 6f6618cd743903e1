/* reducer.c: which reduction kernel runs, and how partial results combine. */
#include "exec/region.h"

#include <math.h>

#define DECLARE(level)                                                                                                 \
  extern const grad_reducer grad__reducers_##level[4][2];                                                              \
  void grad__repeat_##level(int64_t n, int size, void *to, const void *from);
DECLARE(baseline)
#if defined __x86_64__
DECLARE(avx2)
DECLARE(avx512)
#endif
#undef DECLARE

grad_reducer grad__reducer(grad_simd simd, grad_reduction kind, grad_dtype dtype) {
  const int column = dtype == GRAD_F64;
#if defined __x86_64__
  if (simd == GRAD_SIMD_AVX512) return grad__reducers_avx512[kind][column];
  if (simd == GRAD_SIMD_AVX2) return grad__reducers_avx2[kind][column];
#endif
  (void)simd;
  return grad__reducers_baseline[kind][column];
}

grad_repeat_fn grad__repeater(grad_simd simd) {
#if defined __x86_64__
  if (simd == GRAD_SIMD_AVX512) return grad__repeat_avx512;
  if (simd == GRAD_SIMD_AVX2) return grad__repeat_avx2;
#endif
  (void)simd;
  return grad__repeat_baseline;
}

double grad__reduce_identity(grad_reduction kind) {
  switch (kind) {
  case GRAD_REDUCE_PROD:
    return 1;
  case GRAD_REDUCE_MAX:
    return -(double)INFINITY;
  case GRAD_REDUCE_MIN:
    return (double)INFINITY;
  default:
    return 0;
  }
}

double grad__reduce_combine(grad_reduction kind, double a, double b) {
  switch (kind) {
  case GRAD_REDUCE_PROD:
    return a * b;
  case GRAD_REDUCE_MAX:
    return a > b || isnan(a) ? a : b;
  case GRAD_REDUCE_MIN:
    return a < b || isnan(a) ? a : b;
  default:
    return a + b;
  }
}

/* kernels_f32_avx512.c: see kernels_body.h. */
#if defined __x86_64__
#define REAL_BITS 32
#define TABLE grad__kernels_f32_avx512
#define WIDE_TABLE grad__kernels_f64_avx512
#include "ops/kernels_body.h"
#endif

/* kernels_f32_avx2.c: see kernels_body.h. */
#if defined __x86_64__
#define REAL_BITS 32
#define TABLE grad__kernels_f32_avx2
#define WIDE_TABLE grad__kernels_f64_avx2
#include "ops/kernels_body.h"
#endif

/* kernels_f32_baseline.c: see kernels_body.h. */
#if defined __x86_64__ || defined __aarch64__
#define REAL_BITS 32
#define TABLE grad__kernels_f32_baseline
#define WIDE_TABLE grad__kernels_f64_baseline
#include "ops/kernels_body.h"
#endif

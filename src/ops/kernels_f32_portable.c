/* kernels_f32_portable.c: see kernels_portable.h. Computed in double and rounded once. */
#define REAL float
#define TABLE grad__kernels_f32_portable
#include "ops/kernels_portable.h"

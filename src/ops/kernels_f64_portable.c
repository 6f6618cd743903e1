/* kernels_f64_portable.c: see kernels_portable.h. */
#define REAL double
#define TABLE grad__kernels_f64_portable
#include "ops/kernels_portable.h"

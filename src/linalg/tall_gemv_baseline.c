/* tall_gemv_baseline.c: the loops for this instruction set. */
#if 1
#define KERNELS grad__tall_kernels_baseline
#include "linalg/tall_gemv_kernels.h"
#endif

/* tall_gemv_avx2.c: the loops for this instruction set. */
#if defined __AVX2__
#define KERNELS grad__tall_kernels_avx2
#include "linalg/tall_gemv_kernels.h"
#endif

/* tall_gemv_avx512.c: the loops for this instruction set. */
#if defined __AVX512F__
#define KERNELS grad__tall_kernels_avx512
#include "linalg/tall_gemv_kernels.h"
#endif

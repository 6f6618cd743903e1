/* pair_history_avx512.c: the loops for this instruction set. */
#if defined __AVX512F__
#define KERNELS grad__pair_kernels_avx512
#include "optim/pair_kernels.h"
#endif

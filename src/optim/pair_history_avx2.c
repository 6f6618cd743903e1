/* pair_history_avx2.c: the loops for this instruction set. */
#if defined __AVX2__
#define KERNELS grad__pair_kernels_avx2
#include "optim/pair_kernels.h"
#endif

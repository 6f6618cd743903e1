/* reduce_avx2.c: the reductions for this instruction set. */
#if defined __AVX2__
#define REDUCER grad__reducers_avx2
#define REPEAT grad__repeat_avx2
#include "exec/reduce_kernels.h"
#endif

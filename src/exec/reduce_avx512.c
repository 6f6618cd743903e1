/* reduce_avx512.c: the reductions for this instruction set. */
#if defined __AVX512F__
#define REDUCER grad__reducers_avx512
#define REPEAT grad__repeat_avx512
#include "exec/reduce_kernels.h"
#endif

/* reduce_baseline.c: the reductions for this instruction set. */
#if 1
#define REDUCER grad__reducers_baseline
#include "exec/reduce_kernels.h"
#endif

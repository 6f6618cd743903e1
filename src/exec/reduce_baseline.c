/* reduce_baseline.c: the reductions for this instruction set. */
#if 1
#define REDUCER grad__reducers_baseline
#define REPEAT grad__repeat_baseline
#include "exec/reduce_kernels.h"
#endif

/* pair_history_baseline.c: the loops for this instruction set. */
#define KERNELS grad__pair_kernels_baseline
#include "optim/pair_kernels.h"

/* random_draws_baseline.c: the loops for this instruction set. */
#if 1
#define DRAWS grad__draws_baseline
#include "ops/random_draws_loops.h"
#endif

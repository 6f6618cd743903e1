/* random_draws_avx2.c: the loops for this instruction set. */
#if defined __AVX2__
#define DRAWS grad__draws_avx2
#include "ops/random_draws_loops.h"
#endif

/* random_draws_avx512.c: the loops for this instruction set. */
#if defined __AVX512F__
#define DRAWS grad__draws_avx512
#include "ops/random_draws_loops.h"
#endif

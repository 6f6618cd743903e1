/* update_avx2.c: the update kernels for AVX2. */
#define TABLE grad__update_avx2
#include "optim/update_loops.inc"

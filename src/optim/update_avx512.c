/* update_avx512.c: the update kernels for AVX-512. */
#define TABLE grad__update_avx512
#include "optim/update_loops.inc"

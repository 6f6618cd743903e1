/* update_baseline.c: the update kernels for what every CPU of the architecture has. */
#define TABLE grad__update_baseline
#include "optim/update_loops.inc"

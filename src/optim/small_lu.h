/* small_lu.h: a system of a few unknowns (at most some dozens: twice L-BFGS-B's memory), by elimination with partial
 * pivoting; a call into LAPACK would cost more than the work. */
#ifndef GRAD_OPTIM_SMALL_LU_H
#define GRAD_OPTIM_SMALL_LU_H

#include <stdbool.h>
#include <stdint.h>

/* a (n x n, row-major) and b are overwritten, b with the solution. False when a is singular to working precision. */
bool grad__small_solve(int64_t n, double *a, double *b);

#endif

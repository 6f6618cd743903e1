/* op_linalg_lu.h: a matrix with its LU factors, shared by solve, inv and the determinants. */
#ifndef GRAD_OPS_OP_LINALG_LU_H
#define GRAD_OPS_OP_LINALG_LU_H

#include "ops/linalg_items.h"

typedef struct grad_lu {
  grad_id a, factors, pivots;
} grad_lu;

/* grad__lu: factors a, a float square matrix. Equal instructions are shared, so asking twice costs nothing. */
grad_lu grad__lu(grad_program *p, grad_id a);

grad_id grad__lu_inv(grad_program *p, const grad_lu *lu);

/* For eval: the present factors one after the other (in `room` if they are not already), pivots as LAPACK has them. */
const void *grad__lu_load(const grad_items *lu, const grad_items *pivots, void *room, int *narrow);

#endif

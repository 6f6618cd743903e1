/* op_linalg_triangular.h: triangular solves inside other functions, which fail in their own words. */
#ifndef GRAD_OPS_OP_LINALG_TRIANGULAR_H
#define GRAD_OPS_OP_LINALG_TRIANGULAR_H

#include "ops/ops.h"

typedef enum grad_triangular_purpose {
  GRAD_TRIANGULAR_SOLVE,
  GRAD_TRIANGULAR_LSTSQ,
  GRAD_TRIANGULAR_QR
} grad_triangular_purpose;

/* Operands of equal dtype and leading axes. */
grad_id grad__triangular_solve_for(grad_program *p, grad_id t, grad_id b, bool upper, bool transposed,
                                   grad_triangular_purpose purpose);

#endif

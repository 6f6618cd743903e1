/* sparse.h: sparse Jacobians and Hessians: the structure is found and coloured once; then each point costs one batched
 * sweep with a tangent (or cotangent) a colour. */
#ifndef GRAD_FN_SPARSE_H
#define GRAD_FN_SPARSE_H

#include "ad/sparsity.h"
#include "exec/exec.h"
#include "fn/fn.h"

typedef struct grad_sparse {
  grad_ctx *ctx;
  grad_pattern pattern; /* rows: elements of the output (Hessian: of the input); columns: of the input */
  int32_t nforward;     /* sweeps in forward mode: colours of columns; for a Hessian, of its gradient */
  int32_t nreverse;     /* sweeps in reverse mode: colours of rows */
  grad_array row;       /* i64, nnz: the row of each entry, from 0; entries are in row order (CSR) */
  grad_array col;       /* i64, nnz, ascending in a row */
  grad_array indptr;    /* i64, rows + 1 */
  grad_array values;    /* nnz, of the function's dtype, at the point of the last update */
  grad_array value;     /* the function's first output there */
  struct grad_sparse_state *state;
} grad_sparse;

/* grad__sparse_jacobian: of float output number `output` in input number `input`. in: p's inputs at a point, which
 * decides the values, and the positions of gathers (the structure is right for all points with the same positions). p
 * must not change from then on. mode AUTO takes what needs fewest sweeps: forward, reverse, or both. densest: the
 * largest share of its entries that may be nonzero, 1 for any. Errors: EDTYPE; ELIMIT when the derivative is not
 * sparse. */
grad_status grad__sparse_jacobian(grad_program *p, int32_t input, int32_t output, grad_jacobian_mode mode,
                                  double densest, const grad_array *const *in, const double *scalars,
                                  grad_sparse **out);

/* grad__sparse_hessian: of the 0-d first output in input number `input`. Star colouring: a symmetric entry is read from
 * either of its two places. */
grad_status grad__sparse_hessian(grad_program *p, int32_t input, const grad_array *const *in, const double *scalars,
                                 grad_sparse **out);
void grad__sparse_free(grad_sparse *s);

/* grad__sparse_update: the values at another point; pattern and plan are reused. A caller that handed out `values`
 * before keeps its own reference: they are then replaced, not overwritten. */
grad_status grad__sparse_update(grad_sparse *s, const grad_array *const *in, const double *scalars);

/* grad__sparse_matmul: the matrix times x (cols, or cols x k), into new memory. ESHAPE, EDTYPE.
 * grad__sparse_dense: the matrix as rows x cols. */
grad_status grad__sparse_matmul(const grad_sparse *s, const grad_array *x, grad_array *out);
grad_status grad__sparse_dense(const grad_sparse *s, grad_array *out);

#endif

/* op_linalg_cholesky.c: the factor of symmetric positive definite matrices.
 *
 * cholesky      a ... n n (symmetric; the lower triangle is read) -> l ... n n, lower, l l' = a
 * derivative    d l = l F(inv(l) d a inv(l)'), F: lower triangle with half the diagonal (Smith 1995; Murray 2016,
 *               "Differentiation of the Cholesky decomposition")
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <inttypes.h>
#include <string.h>

static grad_status cholesky_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  return status ? status : grad__infer_out(a, 0, a->in[0].dtype, a->in[0].ndim, a->in[0].shape);
}

static grad_status cholesky_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items from = grad__items(a->in[0], 2);
  const grad_dtype dtype = from.item.dtype;
  const int64_t n = from.item.shape[0], size = (int64_t)grad__dtype_size(dtype);
  char *to = a->out[0]->data;
  for (; from.at < from.count; grad__items_next(&from), to += n * n * size) {
    int64_t minor = 0;
    char text[GRAD_ITEM_TEXT];
    grad__item_load(&from, false, to); /* row-major lower is column-major upper */
    const grad_status status = grad__potrf(a->ctx, dtype, n, to, &minor);
    if (status == GRAD_ENOTPD) {
      return grad__fail(a->ctx, status,
                        "cholesky: the %" PRId64 " x %" PRId64
                        " matrix%s is not positive definite (its leading minor of "
                        "order %" PRId64 " is not positive); a small multiple of the identity may be added to it",
                        n, n, grad__item_text(&from, text, sizeof text), minor);
    }
    if (status) return status;
    for (int64_t i = 0; i < n; i++) memset(to + (i * n + i + 1) * size, 0, (size_t)((n - 1 - i) * size));
  }
  return GRAD_OK;
}

static void cholesky_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_id l = a->y[0];
  const grad_id left = grad__triangular_solve(p, l, a->dx[0], false, false);
  const grad_id both = grad__triangular_solve(p, l, grad__linalg_transpose(p, left), false, false);
  const grad_id sum = grad__add(p, grad__tril(p, both, 0), grad__tril(p, both, -1));
  a->dy[0] = grad__matmul(p, l, grad__mul(p, sum, grad__lit(p, 0.5, sum)), false, false);
}

static double cholesky_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->out);
  return (double)grad__type_numel(t) * (double)t->shape[t->ndim - 1] / 3;
}

const grad_op grad__op_cholesky = {
    .name = "cholesky",
    .nin = 1,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = cholesky_infer,
    .eval = cholesky_eval,
    .jvp = cholesky_jvp,
    .batch = grad__batch_same,
    .flops = cholesky_flops,
};

grad_id grad__cholesky(grad_program *p, grad_id a) {
  a = grad__linalg_symmetric(p, "cholesky", a);
  return a == GRAD_NONE ? GRAD_NONE : grad__emit1(p, &grad__op_cholesky, a, 0, NULL);
}

grad_id grad__cholesky_solve(grad_program *p, grad_id l, grad_id b) {
  const bool vector = b != GRAD_NONE && grad__ndim(p, b) == 1; /* one of a batch of matrices: half of it is a matrix */
  if (vector) b = grad__insert_axis(p, b, 1);
  const grad_id half = grad__triangular_solve(p, l, b, false, false);
  const grad_id x = grad__triangular_solve(p, l, half, false, true);
  return grad__linalg_solution(p, x, vector);
}

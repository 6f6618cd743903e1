/* op_linalg_triangular.c: systems of equations with a triangular matrix.
 *
 * triangular_solve  t ... n n, b ... n k -> x ... n k with op(t) x = b; op: the triangle itself, or transposed
 * params            {upper, transposed, purpose}; purpose is a grad_triangular_purpose: who asks, for the error and for
 *                   how small a diagonal entry counts as 0
 * derivative        d x = inv(op(t)) (d b - op(d t) x), only the triangle of d t counting
 */
#include "linalg/blas.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"
#include "ops/op_linalg_triangular.h"

#include <inttypes.h>
#include <math.h>

static grad_status triangular_infer(grad_infer *a) {
  grad_status status = grad__infer_matrix(a, 0, true);
  if (!status) status = grad__infer_matrix(a, 1, false);
  if (status) return status;
  const grad_type *const t = &a->in[0], *const b = &a->in[1];
  if (b->dtype == t->dtype && b->ndim == t->ndim && grad__shape_equal(t->ndim - 1, t->shape, b->ndim - 1, b->shape)) {
    return grad__infer_out(a, 0, b->dtype, b->ndim, b->shape);
  }
  return grad__fail(a->ctx, GRAD_ESHAPE,
                    "triangular_solve: a matrix of shape %s and a right-hand side of shape %s do not fit",
                    grad__shape_text(t->ndim, t->shape).chars, grad__shape_text(b->ndim, b->shape).chars);
}

static int64_t triangular_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  const int64_t n = t->shape[t->ndim - 1];
  return n * n * (int64_t)grad__dtype_size(t->dtype);
}

static double diagonal(const grad_array *t, int64_t i) { return grad__array_get(t, (int64_t[]){i, i}); }

/* Is entry i of the diagonal told from 0? In an r found by QR, a column that depends on those before it has an entry of
 * the size of rounding errors there; it is measured by its column, so that the scales of columns do not matter. */
static bool is_zero(const grad_array *t, int64_t i, grad_triangular_purpose purpose) {
  const double entry = fabs(diagonal(t, i));
  if (purpose == GRAD_TRIANGULAR_SOLVE || entry == 0) return entry == 0;
  double largest = 0;
  for (int64_t k = 0; k <= i; k++) largest = fmax(largest, fabs(grad__array_get(t, (int64_t[]){k, i})));
  const double rounding = 16 * (double)t->shape[0] * (t->dtype == GRAD_F64 ? 0x1p-52 : 0x1p-23);
  return isfinite(largest) && entry <= rounding * largest;
}

static grad_status check_regular(grad_ctx *ctx, const grad_items *t, grad_triangular_purpose purpose) {
  char text[GRAD_ITEM_TEXT];
  int64_t i = 0;
  while (i < t->item.shape[0] && !is_zero(&t->item, i, purpose)) i++;
  if (i == t->item.shape[0]) return GRAD_OK;
  const char *const item = grad__item_text(t, text, sizeof text);
  switch (purpose) {
  case GRAD_TRIANGULAR_LSTSQ:
    return grad__fail(
        ctx, GRAD_ESINGULAR,
        "lstsq: the matrix%s does not have full rank, so that its solution has no derivative; add a small "
        "multiple of the identity, or leave out dependent columns",
        item);
  case GRAD_TRIANGULAR_QR:
    return grad__fail(ctx, GRAD_ENONDIFF,
                      "qr: no derivative where the leading columns of the matrix%s are linearly dependent", item);
  case GRAD_TRIANGULAR_SOLVE:
    break;
  }
  return grad__fail(ctx, GRAD_ESINGULAR,
                    "triangular_solve: the matrix%s is singular: entry %" PRId64 " of its diagonal is 0", item, i + 1);
}

static grad_status triangular_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  const bool upper = a->ins->params[0], transposed = a->ins->params[1];
  const grad_triangular_purpose purpose = (grad_triangular_purpose)a->ins->params[2];
  grad_items t = grad__items(a->in[0], 2), b = grad__items(a->in[1], 2);
  const int64_t n = b.item.shape[0], k = b.item.shape[1];
  const grad_dtype dtype = b.item.dtype;
  char *x = a->out[0]->data;
  for (; b.at < b.count; grad__items_next(&t), grad__items_next(&b)) {
    grad_status status = check_regular(a->ctx, &t, purpose);
    if (status) return status;
    const void *matrix = t.item.data;
    if (!grad__array_is_contiguous(&t.item)) {
      grad__item_load(&t, false, a->scratch);
      matrix = a->scratch;
    }
    grad__item_load(&b, false, x);
    status = grad__trsm(a->ctx, dtype, !upper, transposed, n, k, matrix, n, x, k);
    if (status) return status;
    x += n * k * (int64_t)grad__dtype_size(dtype);
  }
  return GRAD_OK;
}

grad_id grad__triangular_solve_for(grad_program *p, grad_id t, grad_id b, bool upper, bool transposed,
                                   grad_triangular_purpose purpose) {
  return grad__emit2(p, &grad__op_triangular_solve, t, b, 3, (const int64_t[]){upper, transposed, purpose});
}

/* The same solve with another right-hand side, and maybe transposed once more. */
static grad_id solve_like(grad_program *p, const grad_instr *ins, grad_id t, grad_id b, bool flip) {
  return grad__triangular_solve_for(p, t, b, ins->params[0], flip != (bool)ins->params[1],
                                    (grad_triangular_purpose)ins->params[2]);
}

static void triangular_jvp(grad_jvp *a) {
  grad_id change = a->dx[1];
  if (a->dx[0] != GRAD_NONE) {
    const grad_id part = a->ins->params[0] ? grad__triu(a->p, a->dx[0], 0) : grad__tril(a->p, a->dx[0], 0);
    const grad_id moved = grad__matmul(a->p, part, a->y[0], a->ins->params[1], false);
    change = grad__add_tangents(a->p, change, grad__neg(a->p, moved));
  }
  if (change != GRAD_NONE) a->dy[0] = solve_like(a->p, a->ins, a->x[0], change, false);
}

static void triangular_transpose(grad_transpose *a) { a->cx[1] = solve_like(a->p, a->ins, a->x[0], a->cy[0], true); }

static double triangular_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  return (double)grad__type_numel(grad__type(p, ins->out)) * (double)t->shape[t->ndim - 1];
}

const grad_op grad__op_triangular_solve = {
    .name = "triangular_solve",
    .nin = 2,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = triangular_infer,
    .eval = triangular_eval,
    .scratch = triangular_scratch,
    .jvp = triangular_jvp,
    .transpose = triangular_transpose,
    .batch = grad__batch_same,
    .flops = triangular_flops,
};

grad_id grad__triangular_solve(grad_program *p, grad_id t, grad_id b, bool upper, bool transposed) {
  bool vector;
  if (!grad__linalg_system(p, "triangular_solve", true, &t, &b, &vector)) return GRAD_NONE;
  grad__linalg_align(p, &t, &b);
  const grad_id x = grad__triangular_solve_for(p, t, b, upper, transposed, GRAD_TRIANGULAR_SOLVE);
  return grad__linalg_solution(p, x, vector);
}

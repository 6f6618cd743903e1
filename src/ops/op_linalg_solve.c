/* op_linalg_solve.c: systems of equations by LU with partial pivoting.
 *
 * lu            a ... n n -> factors ... n n, pivots ... n (i64, LAPACK's numbering). The factors are those of the
 *               transposed matrix, column by column: what LAPACK sees in row-major memory. Its outputs carry no
 *               derivative: whoever takes them takes the matrix too, and differentiates with respect to that.
 * lu_solve      a, factors, pivots, b ... n k -> x ... n k with a x = b, or with params {1}: a' x = b.
 *               d x = inv(a) (d b - d a x)
 * lu_inv        a, factors, pivots -> inv(a) ... n n. d x = - x d a x
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"
#include "ops/op_linalg_lu.h"

#include <inttypes.h>

/* --- lu */

static grad_status lu_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  if (status) return status;
  const int64_t n = a->in[0].shape[a->in[0].ndim - 1];
  const grad_status first = grad__infer_like(a, 0, a->in[0].dtype, 2, (int64_t[]){n, n});
  return first ? first : grad__infer_like(a, 1, GRAD_I64, 1, &n);
}

static int64_t lu_scratch(const grad_program *p, const grad_instr *ins) {
  return grad__matrix_order(p, ins) * (int64_t)sizeof(int);
}

static grad_status lu_eval(const grad_eval *a) {
  const grad_dtype dtype = a->in[0]->dtype;
  grad_items from = grad__items(a->in[0], 2);
  const int64_t n = from.item.shape[0], size = n * n * (int64_t)grad__dtype_size(dtype);
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  int *const pivots = a->scratch;
  char *factors = a->out[0]->data;
  int64_t *wide = a->out[1]->data;
  for (; from.at < from.count; grad__items_next(&from), factors += size, wide += n) {
    grad__item_load(&from, false, factors);
    const grad_status status = grad__getrf(a->ctx, dtype, n, factors, pivots);
    if (status) return status;
    for (int64_t i = 0; i < n; i++) wide[i] = pivots[i];
  }
  return GRAD_OK;
}

static double lu_flops(const grad_program *p, const grad_instr *ins) {
  return 2.0 / 3.0 * (double)grad__type_numel(grad__type(p, ins->out)) * (double)grad__matrix_order(p, ins);
}

const grad_op grad__op_lu = {
    .name = "lu",
    .nin = 1,
    .nout = 2,
    .flags = GRAD_OP_NONDIFF,
    .infer = lu_infer,
    .eval = lu_eval,
    .scratch = lu_scratch,
    .batch = grad__batch_same,
    .flops = lu_flops,
};

/* --- lu_solve */

static grad_status lu_solve_infer(grad_infer *a) {
  grad_status status = grad__infer_matrix(a, 0, true);
  if (!status) status = grad__infer_matrix(a, 3, false);
  if (status) return status;
  const grad_type *const m = &a->in[0], *const b = &a->in[3];
  const int n = m->ndim;
  if (b->dtype == m->dtype && b->ndim == n && grad__shape_equal(n - 1, m->shape, n - 1, b->shape)) {
    return grad__infer_out(a, 0, b->dtype, n, b->shape);
  }
  return grad__fail(a->ctx, GRAD_ESHAPE, "solve: a matrix of shape %s and a right-hand side of shape %s do not fit",
                    grad__shape_text(n, m->shape).chars, grad__shape_text(b->ndim, b->shape).chars);
}

typedef struct lu_parts {
  int *pivots;
  void *factors, *rhs;
} lu_parts;

static lu_parts carve_parts(grad_carve *c, int64_t n, int64_t k, size_t size) {
  return (lu_parts){.pivots = grad__carve(c, n, sizeof(int)),
                    .factors = grad__carve(c, n * n, size),
                    .rhs = grad__carve(c, n * k, size)};
}

static int64_t lu_solve_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const b = grad__type(p, ins->in[3]);
  grad_carve c = {0};
  carve_parts(&c, b->shape[b->ndim - 2], b->shape[b->ndim - 1], grad__dtype_size(b->dtype));
  return c.used;
}

const void *grad__lu_load(const grad_items *lu, const grad_items *pivots, void *room, int *narrow) {
  const int64_t n = lu->item.shape[0], *const wide = pivots->item.data;
  for (int64_t i = 0; i < n; i++) narrow[i] = (int)wide[i * pivots->item.strides[0]];
  if (grad__array_is_contiguous(&lu->item)) return lu->item.data;
  grad__item_load(lu, false, room);
  return room;
}

static grad_status check_regular(grad_ctx *ctx, const char *name, const grad_items *lu, const void *factors) {
  const int64_t n = lu->item.shape[0];
  char text[GRAD_ITEM_TEXT];
  for (int64_t i = 0; i < n; i++) {
    if (grad__float_get(lu->item.dtype, factors, i * n + i) == 0) {
      return grad__fail(ctx, GRAD_ESINGULAR, "%s: the %" PRId64 " x %" PRId64 " matrix is singular%s", name, n, n,
                        grad__item_text(lu, text, sizeof text));
    }
  }
  return GRAD_OK;
}

static grad_status lu_solve_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items lu = grad__items(a->in[1], 2), pivots = grad__items(a->in[2], 1), b = grad__items(a->in[3], 2),
             x = grad__items(a->out[0], 2);
  const grad_dtype dtype = b.item.dtype;
  const int64_t n = b.item.shape[0], k = b.item.shape[1];
  grad_carve carve = {.base = a->scratch};
  const lu_parts parts = carve_parts(&carve, n, k, grad__dtype_size(dtype));
  while (b.at < b.count) {
    const void *const factors = grad__lu_load(&lu, &pivots, parts.factors, parts.pivots);
    grad_status status = check_regular(a->ctx, "solve", &lu, factors);
    if (status) return status;
    grad__item_load(&b, true, parts.rhs);
    /* the factors are those of the transposed matrix */
    status = grad__getrs(a->ctx, dtype, !a->ins->params[0], n, k, factors, parts.pivots, parts.rhs);
    if (status) return status;
    grad__item_store(&x, true, parts.rhs);
    grad__items_next(&lu);
    grad__items_next(&pivots);
    grad__items_next(&b);
    grad__items_next(&x);
  }
  return GRAD_OK;
}

/* x with a x = b (`transposed`: a' x = b), leading axes equal. */
static grad_id solve_with(grad_program *p, const grad_lu *lu, grad_id b, bool transposed) {
  return grad__emit(p, &grad__op_lu_solve, 4, (const grad_id[]){lu->a, lu->factors, lu->pivots, b}, 1,
                    (const int64_t[]){transposed});
}

static void lu_solve_jvp(grad_jvp *a) {
  const bool transposed = a->ins->params[0];
  const grad_lu lu = {a->x[0], a->x[1], a->x[2]};
  grad_id change = a->dx[3];
  if (a->dx[0] != GRAD_NONE) {
    change =
        grad__add_tangents(a->p, change, grad__neg(a->p, grad__matmul(a->p, a->dx[0], a->y[0], transposed, false)));
  }
  if (change != GRAD_NONE) a->dy[0] = solve_with(a->p, &lu, change, transposed);
}

static void lu_solve_transpose(grad_transpose *a) {
  const grad_lu lu = {a->x[0], a->x[1], a->x[2]};
  a->cx[3] = solve_with(a->p, &lu, a->cy[0], !a->ins->params[0]);
}

static double lu_solve_flops(const grad_program *p, const grad_instr *ins) {
  return 2 * (double)grad__type_numel(grad__type(p, ins->out)) * (double)grad__matrix_order(p, ins);
}

const grad_op grad__op_lu_solve = {
    .name = "lu_solve",
    .nin = 4,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = lu_solve_infer,
    .eval = lu_solve_eval,
    .scratch = lu_solve_scratch,
    .jvp = lu_solve_jvp,
    .transpose = lu_solve_transpose,
    .batch = grad__batch_same,
    .flops = lu_solve_flops,
};

/* --- lu_inv */

static grad_status lu_inv_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  return status ? status : grad__infer_out(a, 0, a->in[0].dtype, a->in[0].ndim, a->in[0].shape);
}

typedef struct inverse_parts {
  int *pivots;
  void *work;
} inverse_parts;

static inverse_parts carve_inverse(grad_carve *c, int64_t n, size_t size) {
  return (inverse_parts){.pivots = grad__carve(c, n, sizeof(int)), .work = grad__carve(c, grad__work_inverse(n), size)};
}

static int64_t lu_inv_scratch(const grad_program *p, const grad_instr *ins) {
  grad_carve c = {0};
  carve_inverse(&c, grad__matrix_order(p, ins), grad__dtype_size(grad__type(p, ins->out)->dtype));
  return c.used;
}

/* The factors are those of a', so LAPACK makes inv(a') column by column, which is inv(a) row by row. */
static grad_status lu_inv_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items lu = grad__items(a->in[1], 2), pivots = grad__items(a->in[2], 1);
  const grad_dtype dtype = lu.item.dtype;
  const int64_t n = lu.item.shape[0], size = n * n * (int64_t)grad__dtype_size(dtype);
  grad_carve carve = {.base = a->scratch};
  const inverse_parts parts = carve_inverse(&carve, n, grad__dtype_size(dtype));
  char *to = a->out[0]->data;
  for (; lu.at < lu.count; grad__items_next(&lu), grad__items_next(&pivots), to += size) {
    const int64_t *const wide = pivots.item.data;
    for (int64_t i = 0; i < n; i++) parts.pivots[i] = (int)wide[i * pivots.item.strides[0]];
    grad__item_load(&lu, false, to);
    grad_status status = check_regular(a->ctx, "inv", &lu, to);
    if (!status) status = grad__getri(a->ctx, dtype, n, to, parts.pivots, parts.work);
    if (status) return status;
  }
  return GRAD_OK;
}

grad_id grad__lu_inv(grad_program *p, const grad_lu *lu) {
  return grad__emit(p, &grad__op_lu_inv, 3, (const grad_id[]){lu->a, lu->factors, lu->pivots}, 0, NULL);
}

static void lu_inv_jvp(grad_jvp *a) {
  if (a->dx[0] == GRAD_NONE) return;
  const grad_id moved = grad__matmul(a->p, a->y[0], grad__matmul(a->p, a->dx[0], a->y[0], false, false), false, false);
  a->dy[0] = grad__neg(a->p, moved);
}

const grad_op grad__op_lu_inv = {
    .name = "lu_inv",
    .nin = 3,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = lu_inv_infer,
    .eval = lu_inv_eval,
    .scratch = lu_inv_scratch,
    .jvp = lu_inv_jvp,
    .batch = grad__batch_same,
    .flops = lu_flops,
};

/* --- builders */

grad_lu grad__lu(grad_program *p, grad_id a) {
  const grad_id first = grad__emit1(p, &grad__op_lu, a, 0, NULL);
  return (grad_lu){.a = a, .factors = first, .pivots = first == GRAD_NONE ? GRAD_NONE : first + 1};
}

grad_id grad__solve(grad_program *p, grad_id a, grad_id b) {
  bool vector;
  if (!grad__linalg_system(p, "solve", true, &a, &b, &vector)) return GRAD_NONE;
  grad_id plain = a; /* factored before it is broadcast, so that one matrix is factored once */
  grad__linalg_align(p, &a, &b);
  if (a == GRAD_NONE) return GRAD_NONE;
  plain = grad__convert(p, plain, grad__type(p, a)->dtype);
  grad_lu lu = grad__lu(p, plain);
  if (plain != a && lu.factors != GRAD_NONE) {
    const grad_type t = *grad__type(p, a);
    lu = (grad_lu){a, grad__broadcast(p, lu.factors, t.ndim, t.shape),
                   grad__broadcast(p, lu.pivots, t.ndim - 1, t.shape)};
  }
  const grad_id x = solve_with(p, &lu, b, false);
  return grad__linalg_solution(p, x, vector);
}

grad_id grad__inv(grad_program *p, grad_id a) {
  a = grad__linalg_matrix(p, "inv", a, true);
  if (a == GRAD_NONE) return GRAD_NONE;
  const grad_lu lu = grad__lu(p, a);
  return grad__lu_inv(p, &lu);
}

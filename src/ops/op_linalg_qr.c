/* op_linalg_qr.c: QR factors, and least squares by them.
 *
 * qr   a ... m n -> q ... m k, r ... k n, k = min(m, n); signs as LAPACK gives them
 *
 * Derivative: Walter & Lehmann 2018, "Algorithmic differentiation of linear algebra functions". With the first k
 * columns a1 = q r1, x = d a1 inv(r1), c = q' x and w = tril(c, -1) - tril(c, -1)':
 *
 *     d q = x - q c + q w,   d r = triu(q' d a - w r)
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"
#include "ops/op_linalg_triangular.h"

#include <string.h>

static grad_status qr_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, false);
  if (status) return status;
  const grad_type *const t = &a->in[0];
  const int64_t m = t->shape[t->ndim - 2], n = t->shape[t->ndim - 1], k = m < n ? m : n;
  const grad_status first = grad__infer_like(a, 0, t->dtype, 2, (int64_t[]){m, k});
  return first ? first : grad__infer_like(a, 1, t->dtype, 2, (int64_t[]){k, n});
}

typedef struct qr_parts {
  void *a, *tau, *work;
} qr_parts;

static qr_parts carve_parts(grad_carve *c, int64_t m, int64_t n, size_t size) {
  return (qr_parts){.a = grad__carve(c, m * n, size),
                    .tau = grad__carve(c, m < n ? m : n, size),
                    .work = grad__carve(c, grad__work_qr(m, n), size)};
}

static int64_t qr_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  grad_carve c = {0};
  carve_parts(&c, t->shape[t->ndim - 2], t->shape[t->ndim - 1], grad__dtype_size(t->dtype));
  return c.used;
}

/* r: the upper triangle of what geqrf leaves in a (column by column). */
static void store_upper(const grad_items *r, const void *a, int64_t m) {
  const int64_t k = r->item.shape[0], n = r->item.shape[1], size = (int64_t)grad__dtype_size(r->item.dtype);
  char *const to = r->item.data;
  memset(to, 0, (size_t)(k * n * size));
  for (int64_t j = 0; j < n; j++) {
    for (int64_t i = 0; i < k && i <= j; i++) {
      memcpy(to + (i * n + j) * size, (const char *)a + (i + j * m) * size, (size_t)size);
    }
  }
}

static grad_status qr_eval(const grad_eval *a) {
  if (grad__array_numel(a->in[0]) == 0) {
    grad__array_fill(a->out[0], 0);
    grad__array_fill(a->out[1], 0);
    return GRAD_OK;
  }
  grad_items from = grad__items(a->in[0], 2), q = grad__items(a->out[0], 2), r = grad__items(a->out[1], 2);
  const grad_dtype dtype = from.item.dtype;
  const int64_t m = from.item.shape[0], n = from.item.shape[1], k = q.item.shape[1];
  grad_carve carve = {.base = a->scratch};
  const qr_parts parts = carve_parts(&carve, m, n, grad__dtype_size(dtype));
  while (from.at < from.count) {
    grad__item_load(&from, true, parts.a);
    grad_status status = grad__geqrf(a->ctx, dtype, m, n, parts.a, parts.tau, parts.work);
    if (status) return status;
    store_upper(&r, parts.a, m);
    status = grad__orgqr(a->ctx, dtype, m, k, parts.a, parts.tau, parts.work);
    if (status) return status;
    grad__item_store(&q, true, parts.a);
    grad__items_next(&from);
    grad__items_next(&q);
    grad__items_next(&r);
  }
  return GRAD_OK;
}

/* The first k columns. */
static grad_id first_columns(grad_program *p, grad_id a, int64_t k) {
  return a == GRAD_NONE ? GRAD_NONE : grad__slice_axis(p, a, grad__ndim(p, a) - 1, 0, k, 1);
}

static void qr_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_id q = a->y[0], r = a->y[1], da = a->dx[0];
  if (q == GRAD_NONE || da == GRAD_NONE) return;
  const int64_t k = grad__extent(p, q, grad__ndim(p, q) - 1);
  const grad_id r1 = first_columns(p, r, k), da1 = first_columns(p, da, k);
  const grad_id x = grad__linalg_transpose(
      p, grad__triangular_solve_for(p, r1, grad__linalg_transpose(p, da1), true, true, GRAD_TRIANGULAR_QR));
  const grad_id c = grad__matmul(p, q, x, true, false), low = grad__tril(p, c, -1);
  const grad_id w = grad__sub(p, low, grad__linalg_transpose(p, low));
  a->dy[0] = grad__add(p, x, grad__matmul(p, q, grad__sub(p, w, c), false, false));
  a->dy[1] = grad__triu(p, grad__sub(p, grad__matmul(p, q, da, true, false), grad__matmul(p, w, r, false, false)), 0);
}

static double qr_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *const q = grad__type(p, ins->out), *const a = grad__type(p, ins->in[0]);
  return 4 * (double)grad__type_numel(a) * (double)q->shape[q->ndim - 1];
}

const grad_op grad__op_qr = {
    .name = "qr",
    .nin = 1,
    .nout = 2,
    .infer = qr_infer,
    .eval = qr_eval,
    .scratch = qr_scratch,
    .jvp = qr_jvp,
    .batch = grad__batch_same,
    .flops = qr_flops,
};

void grad__qr(grad_program *p, grad_id a, grad_id *q, grad_id *r) {
  a = grad__linalg_matrix(p, "qr", a, false);
  const grad_id first = grad__emit1(p, &grad__op_qr, a, 0, NULL);
  *q = first;
  *r = first == GRAD_NONE ? GRAD_NONE : first + 1;
}

/* m >= n: r x = q' b. m < n: a' = q r, and of all solutions q inv(r') b has no part outside a's rows. */
static grad_id least_squares(grad_program *p, grad_id a, grad_id b) {
  const grad_type t = *grad__type(p, a);
  const bool tall = t.shape[t.ndim - 2] >= t.shape[t.ndim - 1];
  grad_id q, r;
  grad__qr(p, tall ? a : grad__linalg_transpose(p, a), &q, &r);
  if (tall) {
    const grad_id projected = grad__matmul(p, q, b, true, false);
    return grad__triangular_solve_for(p, r, projected, true, false, GRAD_TRIANGULAR_LSTSQ);
  }
  return grad__matmul(p, q, grad__triangular_solve_for(p, r, b, true, true, GRAD_TRIANGULAR_LSTSQ), false, false);
}

grad_id grad__lstsq(grad_program *p, grad_id a, grad_id b) {
  bool vector;
  if (!grad__linalg_system(p, "lstsq", false, &a, &b, &vector)) return GRAD_NONE;
  grad__linalg_align(p, &a, &b);
  if (a == GRAD_NONE) return GRAD_NONE;
  const grad_id x = least_squares(p, a, b);
  return grad__linalg_solution(p, x, vector);
}

/* op_linalg_svd.c: singular values and vectors.
 *
 * svd   a ... m n -> u ... m k, s ... k descending, vt ... k n, k = min(m, n)
 *
 * Derivative: Giles 2008 with p = u' d a v, written so that a common turn of u and v (the freedom there is when
 * singular values are equal) stands alone. Divisors of 0: see op_linalg_gaps.c.
 *
 *     b[i][j] = (p + p')[i][j] / (s[j] - s[i]),   h[i][j] = (p - p')[i][j] / (s[j] + s[i])
 *     d s = diag(p)
 *     d u = u (b + h) / 2 + (d a v - u p) / s
 *     d v = v (b - h) / 2 + (d a' u - v p') / s   (the last terms only where u or v is not square)
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <math.h>

static grad_status svd_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, false);
  if (status) return status;
  const grad_type *const t = &a->in[0];
  const grad_dtype dtype = t->dtype;
  const int64_t m = t->shape[t->ndim - 2], n = t->shape[t->ndim - 1], k = m < n ? m : n;
  const grad_status first = grad__infer_like(a, 0, dtype, 2, (int64_t[]){m, k});
  const grad_status second = grad__infer_like(a, 1, dtype, 1, &k);
  const grad_status third = grad__infer_like(a, 2, dtype, 2, (int64_t[]){k, n});
  return first ? first : second ? second : third;
}

typedef struct svd_parts {
  void *a, *work;
  int *iwork;
} svd_parts;

static svd_parts carve_parts(grad_carve *c, int64_t m, int64_t n, size_t size) {
  int64_t integers;
  const int64_t work = grad__work_svd(n, m, &integers);
  return (svd_parts){.a = grad__carve(c, m * n, size),
                     .work = grad__carve(c, work, size),
                     .iwork = grad__carve(c, integers, sizeof(int))};
}

static int64_t svd_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  grad_carve c = {0};
  carve_parts(&c, t->shape[t->ndim - 2], t->shape[t->ndim - 1], grad__dtype_size(t->dtype));
  return c.used;
}

/* Row-major a is a' column by column, and a' = v s u': LAPACK's first factor fills vt's rows, its second u's. */
static grad_status svd_eval(const grad_eval *a) {
  if (grad__array_numel(a->in[0]) == 0) {
    for (int i = 0; i < 3; i++) grad__array_fill(a->out[i], 0);
    return GRAD_OK;
  }
  grad_items from = grad__items(a->in[0], 2), u = grad__items(a->out[0], 2), s = grad__items(a->out[1], 1),
             vt = grad__items(a->out[2], 2);
  const grad_dtype dtype = from.item.dtype;
  const int64_t m = from.item.shape[0], n = from.item.shape[1];
  grad_carve carve = {.base = a->scratch};
  const svd_parts parts = carve_parts(&carve, m, n, grad__dtype_size(dtype));
  while (from.at < from.count) {
    if (grad__item_is_finite(&from)) {
      grad__item_load(&from, false, parts.a);
      const grad_status status =
          grad__gesdd(a->ctx, dtype, n, m, parts.a, s.item.data, vt.item.data, u.item.data, parts.work, parts.iwork);
      if (status) return status;
    } else {
      grad__array_fill(&u.item, (double)NAN);
      grad__array_fill(&s.item, (double)NAN);
      grad__array_fill(&vt.item, (double)NAN);
    }
    grad__items_next(&from);
    grad__items_next(&u);
    grad__items_next(&s);
    grad__items_next(&vt);
  }
  return GRAD_OK;
}

/* q turn + (moved - q (q' moved)) / s: how an orthonormal set q moves; qm is q' moved. */
static grad_id vectors_tangent(grad_program *p, grad_id q, grad_id turn, grad_id moved, grad_id qm, grad_id s) {
  const grad_id turned = grad__matmul(p, q, turn, false, false);
  const grad_type t = *grad__type(p, q);
  if (t.shape[t.ndim - 2] == t.shape[t.ndim - 1]) return turned;
  const grad_id outside = grad__sub(p, moved, grad__matmul(p, q, qm, false, false));
  return grad__add(p, turned, grad__gap_divide(p, s, outside, GRAD_GAP_COLUMN));
}

static void svd_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_id u = a->y[0], s = a->y[1], v = grad__linalg_transpose(p, a->y[2]), da = a->dx[0];
  if (u == GRAD_NONE || da == GRAD_NONE) return;
  const grad_id av = grad__matmul(p, da, v, false, false), au = grad__matmul(p, da, u, true, false);
  const grad_id m = grad__matmul(p, u, av, true, false), mt = grad__linalg_transpose(p, m);
  const grad_id half = grad__lit(p, 0.5, m);
  grad_id b;
  grad__spectrum_push(p, s, grad__mul(p, half, grad__add(p, m, mt)), GRAD_SPECTRUM_SINGULAR, &a->dy[1], &b);
  const grad_id h = grad__gap_divide(p, s, grad__mul(p, half, grad__sub(p, m, mt)), GRAD_GAP_SUM);
  a->dy[0] = vectors_tangent(p, u, grad__add(p, b, h), av, m, s);
  a->dy[2] = grad__linalg_transpose(p, vectors_tangent(p, v, grad__sub(p, b, h), au, mt, s));
}

static double svd_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *const s = grad__type(p, ins->out + 1);
  return 14 * (double)grad__type_numel(grad__type(p, ins->in[0])) * (double)s->shape[s->ndim - 1];
}

const grad_op grad__op_svd = {
    .name = "svd",
    .nin = 1,
    .nout = 3,
    .infer = svd_infer,
    .eval = svd_eval,
    .scratch = svd_scratch,
    .jvp = svd_jvp,
    .batch = grad__batch_same,
    .flops = svd_flops,
};

void grad__svd(grad_program *p, grad_id a, grad_id *u, grad_id *s, grad_id *vt) {
  a = grad__linalg_matrix(p, "svd", a, false);
  const grad_id first = grad__emit1(p, &grad__op_svd, a, 0, NULL);
  *u = first;
  *s = first == GRAD_NONE ? GRAD_NONE : first + 1;
  *vt = first == GRAD_NONE ? GRAD_NONE : first + 2;
}

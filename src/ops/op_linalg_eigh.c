/* op_linalg_eigh.c: eigenvalues and eigenvectors of symmetric matrices.
 *
 * eigh        a ... n n (symmetric; one triangle is read) -> values ... n ascending, vectors ... n n in columns
 * derivative  with m = v' d a v: d w = diag(m), d v = v (m[i][j] / (w[j] - w[i])) (Giles 2008, "An extended collection
 * of matrix derivative results"); equal eigenvalues: see op_linalg_gaps.c
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <math.h>

static grad_status eigh_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  if (status) return status;
  const grad_type *const t = &a->in[0];
  const grad_status first = grad__infer_like(a, 0, t->dtype, 1, &t->shape[t->ndim - 1]);
  return first ? first : grad__infer_out(a, 1, t->dtype, t->ndim, t->shape);
}

typedef struct eigh_parts {
  void *a, *work;
  int *iwork;
} eigh_parts;

static eigh_parts carve_parts(grad_carve *c, int64_t n, size_t size) {
  int64_t integers;
  const int64_t work = grad__work_eigh(n, &integers);
  return (eigh_parts){.a = grad__carve(c, n * n, size),
                      .work = grad__carve(c, work, size),
                      .iwork = grad__carve(c, integers, sizeof(int))};
}

static int64_t eigh_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  grad_carve c = {0};
  carve_parts(&c, t->shape[t->ndim - 1], grad__dtype_size(t->dtype));
  return c.used;
}

static grad_status eigh_eval(const grad_eval *a) {
  if (grad__array_numel(a->in[0]) == 0) return GRAD_OK;
  grad_items from = grad__items(a->in[0], 2), w = grad__items(a->out[0], 1), v = grad__items(a->out[1], 2);
  const grad_dtype dtype = from.item.dtype;
  const int64_t n = from.item.shape[0];
  grad_carve carve = {.base = a->scratch};
  const eigh_parts parts = carve_parts(&carve, n, grad__dtype_size(dtype));
  for (; from.at < from.count; grad__items_next(&from), grad__items_next(&w), grad__items_next(&v)) {
    if (!grad__item_is_finite(&from)) {
      grad__array_fill(&w.item, (double)NAN);
      grad__array_fill(&v.item, (double)NAN);
      continue;
    }
    grad__item_load(&from, false, parts.a);
    const grad_status status = grad__syevd(a->ctx, dtype, n, parts.a, w.item.data, parts.work, parts.iwork);
    if (status) return status;
    grad__item_store(&v, true, parts.a);
  }
  return GRAD_OK;
}

static void eigh_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_id w = a->y[0], v = a->y[1];
  if (a->dx[0] == GRAD_NONE || v == GRAD_NONE) return;
  const grad_id m = grad__matmul(p, v, grad__matmul(p, a->dx[0], v, false, false), true, false);
  grad_id turn;
  grad__spectrum_push(p, w, m, GRAD_SPECTRUM_EIGEN, &a->dy[0], &turn);
  a->dy[1] = grad__matmul(p, v, turn, false, false);
}

static double eigh_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  return 9 * (double)grad__type_numel(t) * (double)t->shape[t->ndim - 1];
}

const grad_op grad__op_eigh = {
    .name = "eigh",
    .nin = 1,
    .nout = 2,
    .infer = eigh_infer,
    .eval = eigh_eval,
    .scratch = eigh_scratch,
    .jvp = eigh_jvp,
    .batch = grad__batch_same,
    .flops = eigh_flops,
};

void grad__eigh(grad_program *p, grad_id a, grad_id *values, grad_id *vectors) {
  a = grad__linalg_symmetric(p, "eigh", a);
  const grad_id first = grad__emit1(p, &grad__op_eigh, a, 0, NULL);
  *values = first;
  *vectors = first == GRAD_NONE ? GRAD_NONE : first + 1;
}

/* op_linalg_gaps.c: derivatives of eigenvectors and singular vectors divide by gaps between eigenvalues; here they do,
 * and know what to do where a gap is 0.
 *
 * spectrum_push   w ... k, m ... k k -> d ... k, t ... k k           params {a grad_spectrum}
 *     How values and vectors move when the matrix moves by m in the basis of the vectors: d = diag(m),
 *     t[i][j] = m[i][j] / (w[j] - w[i]), 0 on the diagonal. Singular values that are 0 have no derivative.
 * spectrum_pull   w, cotangents of d and t -> that of m              params {a grad_spectrum, has d, has t}
 *     An absent cotangent is passed as zeros.
 * gap_divide      w ... k, n ... r k -> ... r k                      params {a grad_gap, a gap_sense}
 *     n[i][j] over w[j] - w[i] or w[j] + w[i] (r = k, 0 on the diagonal), or over w[j].
 *
 * Equal values (up to rounding) have any orthonormal basis of a subspace as vectors. A function of the decomposition
 * may still have a derivative there; what is found is right in these cases, everything else is ENONDIFF:
 *
 * - reverse, vectors alone used: the function does not see a turn of the basis; then c[i][j] = c[j][i] for the
 *   cotangent c of t, and the entry of the result is 0
 * - reverse, values used: the cotangents of equal values are equal, and that of t is 0 at [i][j] and [j][i]. (A
 *   function of both, such as v f(w) v', has a derivative that f' decides, which does not show in these cotangents.)
 * - forward: m[i][j] = 0, so that this basis moves smoothly
 *
 * Derivatives of higher order, in which the tangents of w count, are always ENONDIFF there.
 */
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <math.h>

typedef enum gap_sense { FORWARD, REVERSE, HIGHER } gap_sense;

static grad_status infer_values(const grad_infer *a, int matrix) {
  const grad_type *const w = &a->in[0], *const n = &a->in[matrix];
  const int lead = n->ndim - 2;
  const grad_status status = grad__infer_matrix(a, matrix, false);
  if (status) return status;
  if (w->dtype == n->dtype && w->ndim == lead + 1 && grad__shape_equal(lead, w->shape, lead, n->shape) &&
      w->shape[lead] == n->shape[lead + 1]) {
    return GRAD_OK;
  }
  return grad__fail(a->ctx, GRAD_EINTERNAL, "%s: values and matrix do not fit", a->op->name);
}

static double value(const grad_array *w, int64_t i) { return grad__array_get(w, &i); }
static double entry(const grad_array *n, int64_t i, int64_t j) { return grad__array_get(n, (int64_t[]){i, j}); }

static double largest_value(const grad_array *w) {
  double largest = 0;
  for (int64_t i = 0; i < w->shape[0]; i++) largest = fmax(largest, fabs(value(w, i)));
  return largest;
}

static double largest_entry(const grad_array *n) {
  double largest = 0;
  for (int64_t i = 0; i < n->shape[0]; i++) {
    for (int64_t j = 0; j < n->shape[1]; j++) largest = fmax(largest, fabs(entry(n, i, j)));
  }
  return largest;
}

/* Gaps up to this count as 0: what rounding makes of equal values. */
static double least_gap(const grad_array *w) {
  return 16 * (double)w->shape[0] * (w->dtype == GRAD_F64 ? 0x1p-52 : 0x1p-23) * largest_value(w);
}

/* Tangents and cotangents up to this fraction of the largest count as 0. */
static double least_fraction(const grad_array *a) { return a->dtype == GRAD_F64 ? 1e-8 : 1e-3; }

static grad_status refuse(grad_ctx *ctx, const grad_items *item, bool zeros, const char *why) {
  char text[GRAD_ITEM_TEXT];
  return grad__fail(ctx, GRAD_ENONDIFF, "eigh, svd: no derivative where the matrix%s has %s: %s",
                    grad__item_text(item, text, sizeof text),
                    zeros ? "singular values that are 0" : "equal eigenvalues or singular values", why);
}

static const char abrupt[] =
    "the basis of their vectors is arbitrary and changes abruptly; reverse mode works for results "
    "that do not depend on it";
static const char ambiguous[] =
    "the result depends on the arbitrary basis of their vectors, or on both values and vectors";
static const char higher[] = "second and higher derivatives do not exist for this decomposition";

/* --- spectrum_push */

static grad_status push_infer(grad_infer *a) {
  grad_status status = infer_values(a, 1);
  if (!status) status = grad__infer_matrix(a, 1, true);
  if (!status) status = grad__infer_out(a, 0, a->in[0].dtype, a->in[0].ndim, a->in[0].shape);
  return status ? status : grad__infer_out(a, 1, a->in[1].dtype, a->in[1].ndim, a->in[1].shape);
}

static bool is_kink(const grad_instr *ins, const grad_array *w, int64_t i, double gap) {
  return ins->params[0] == GRAD_SPECTRUM_SINGULAR && !(fabs(value(w, i)) > gap);
}

static grad_status push_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[1]) == 0) return GRAD_OK;
  grad_items w = grad__items(a->in[0], 1), m = grad__items(a->in[1], 2), d = grad__items(a->out[0], 1),
             t = grad__items(a->out[1], 2);
  const int64_t k = w.item.shape[0];
  for (; m.at < m.count; grad__items_next(&w), grad__items_next(&m), grad__items_next(&d), grad__items_next(&t)) {
    const double gap = least_gap(&w.item), least = largest_entry(&m.item) * least_fraction(&m.item);
    for (int64_t i = 0; i < k; i++) {
      for (int64_t j = 0; j < k; j++) {
        const double x = entry(&m.item, i, j), between = value(&w.item, j) - value(&w.item, i);
        const bool divides = i != j && !(fabs(between) <= gap), seen = fabs(x) > least;
        if (i != j && !divides && seen) return refuse(a->ctx, &m, false, abrupt);
        if (i == j && seen && is_kink(a->ins, &w.item, i, gap)) return refuse(a->ctx, &m, true, abrupt);
        grad__item_put(&t.item, i * k + j, divides ? x / between : 0);
      }
      grad__item_put(&d.item, i, entry(&m.item, i, i));
    }
  }
  return GRAD_OK;
}

/* d of w[j] - w[i] (or +), or of w[j], of the type y. */
static grad_id divisor_tangent(grad_program *p, grad_id dw, const grad_type *y, grad_gap divisor) {
  const int lead = y->ndim - 2;
  const grad_id columns = grad__broadcast(p, grad__insert_axis(p, dw, lead), y->ndim, y->shape);
  if (divisor == GRAD_GAP_COLUMN) return columns;
  const grad_id rows = grad__broadcast(p, grad__insert_axis(p, dw, lead + 1), y->ndim, y->shape);
  return divisor == GRAD_GAP_SUM ? grad__add(p, columns, rows) : grad__sub(p, columns, rows);
}

static grad_id gap_divide(grad_program *p, grad_id w, grad_id n, grad_gap divisor, gap_sense sense) {
  return grad__emit2(p, &grad__op_gap_divide, w, n, 2, (const int64_t[]){divisor, sense});
}

/* How a quotient y by the gaps of w moves with w: - y d gap / gap. */
static grad_id quotient_tangent(grad_program *p, grad_id w, grad_id dw, grad_id y, grad_gap divisor) {
  if (dw == GRAD_NONE || y == GRAD_NONE) return GRAD_NONE;
  const grad_type t = *grad__type(p, y);
  const grad_id moved = grad__mulz(p, y, divisor_tangent(p, dw, &t, divisor));
  return grad__neg(p, gap_divide(p, w, moved, divisor, HIGHER));
}

void grad__spectrum_push(grad_program *p, grad_id w, grad_id m, grad_spectrum kind, grad_id *d, grad_id *t) {
  const grad_id first = grad__emit2(p, &grad__op_spectrum_push, w, m, 1, (const int64_t[]){kind});
  *d = first;
  *t = first == GRAD_NONE ? GRAD_NONE : first + 1;
}

static void push_jvp(grad_jvp *a) {
  if (a->dx[1] != GRAD_NONE) {
    grad__spectrum_push(a->p, a->x[0], a->dx[1], (grad_spectrum)a->ins->params[0], &a->dy[0], &a->dy[1]);
  }
  const grad_id change = quotient_tangent(a->p, a->x[0], a->dx[0], a->y[1], GRAD_GAP_DIFFERENCE);
  a->dy[1] = grad__add_tangents(a->p, a->dy[1], change);
}

static void push_transpose(grad_transpose *a) {
  grad_id in[3] = {a->x[0], a->cy[0], a->cy[1]};
  for (int i = 0; i < 2; i++) {
    if (a->cy[i] == GRAD_NONE) in[1 + i] = grad__zeros_of(a->p, &a->yt[i]);
  }
  a->cx[1] = grad__emit(a->p, &grad__op_spectrum_pull, 3, in, 3,
                        (const int64_t[]){a->ins->params[0], a->cy[0] != GRAD_NONE, a->cy[1] != GRAD_NONE});
}

const grad_op grad__op_spectrum_push = {
    .name = "spectrum_push",
    .nin = 2,
    .nout = 2,
    .flags = GRAD_OP_REFUSES,
    .infer = push_infer,
    .eval = push_eval,
    .jvp = push_jvp,
    .transpose = push_transpose,
    .batch = grad__batch_same,
};

/* --- spectrum_pull */

static grad_status pull_infer(grad_infer *a) {
  grad_status status = infer_values(a, 2);
  if (!status) status = grad__infer_matrix(a, 2, true);
  return status ? status : grad__infer_out(a, 0, a->in[2].dtype, a->in[2].ndim, a->in[2].shape);
}

/* May the entries of the pair i, j of equal values become 0? */
static bool is_invariant(const grad_instr *ins, const grad_array *d, const grad_array *t, double least, int64_t i,
                         int64_t j) {
  const bool has_d = ins->params[1], has_t = ins->params[2];
  const double x = entry(t, i, j), y = entry(t, j, i);
  if (has_t && !has_d) return !(fabs(x - y) > least);
  return !(fabs(value(d, i) - value(d, j)) > least || fabs(x) > least || fabs(y) > least);
}

static grad_status pull_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items w = grad__items(a->in[0], 1), d = grad__items(a->in[1], 1), t = grad__items(a->in[2], 2),
             m = grad__items(a->out[0], 2);
  const int64_t k = w.item.shape[0];
  for (; m.at < m.count; grad__items_next(&w), grad__items_next(&d), grad__items_next(&t), grad__items_next(&m)) {
    const double gap = least_gap(&w.item);
    const double least = fmax(largest_entry(&t.item), largest_value(&d.item)) * least_fraction(&t.item);
    for (int64_t i = 0; i < k; i++) {
      const double di = value(&d.item, i);
      if (fabs(di) > least && is_kink(a->ins, &w.item, i, gap)) return refuse(a->ctx, &m, true, ambiguous);
      for (int64_t j = 0; j < k; j++) {
        const double between = value(&w.item, j) - value(&w.item, i);
        const bool divides = i != j && !(fabs(between) <= gap);
        if (i != j && !divides && !is_invariant(a->ins, &d.item, &t.item, least, i, j)) {
          return refuse(a->ctx, &m, false, ambiguous);
        }
        grad__item_put(&m.item, i * k + j, divides ? entry(&t.item, i, j) / between : i == j ? di : 0);
      }
    }
  }
  return GRAD_OK;
}

static void pull_jvp(grad_jvp *a) {
  grad_id in[3] = {a->x[0], a->dx[1], a->dx[2]};
  if (in[1] != GRAD_NONE || in[2] != GRAD_NONE) {
    for (int i = 1; i < 3; i++) {
      if (in[i] == GRAD_NONE) in[i] = grad__zeros_of(a->p, grad__type(a->p, a->x[i]));
    }
    a->dy[0] = grad__emit(a->p, &grad__op_spectrum_pull, 3, in, 3, a->ins->params);
  }
  const grad_id change = quotient_tangent(a->p, a->x[0], a->dx[0], a->y[0], GRAD_GAP_DIFFERENCE);
  a->dy[0] = grad__add_tangents(a->p, a->dy[0], change);
}

static void pull_transpose(grad_transpose *a) {
  grad_id d, t;
  grad__spectrum_push(a->p, a->x[0], a->cy[0], (grad_spectrum)a->ins->params[0], &d, &t);
  if (a->linear[1]) a->cx[1] = d;
  if (a->linear[2]) a->cx[2] = t;
}

const grad_op grad__op_spectrum_pull = {
    .name = "spectrum_pull",
    .nin = 3,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = pull_infer,
    .eval = pull_eval,
    .jvp = pull_jvp,
    .transpose = pull_transpose,
    .batch = grad__batch_same,
};

/* --- gap_divide */

static grad_status gap_infer(grad_infer *a) {
  grad_status status = infer_values(a, 1);
  if (!status) status = grad__infer_matrix(a, 1, a->params[0] != GRAD_GAP_COLUMN);
  return status ? status : grad__infer_out(a, 0, a->in[1].dtype, a->in[1].ndim, a->in[1].shape);
}

static double divisor_of(grad_gap divisor, const grad_array *w, int64_t i, int64_t j) {
  switch (divisor) {
  case GRAD_GAP_DIFFERENCE:
    return value(w, j) - value(w, i);
  case GRAD_GAP_SUM:
    return value(w, j) + value(w, i);
  case GRAD_GAP_COLUMN:
    break;
  }
  return value(w, j);
}

/* May the entry with a divisor of 0 become 0? */
static bool may_vanish(const grad_instr *ins, const grad_array *n, double least, int64_t i, int64_t j) {
  if (ins->params[1] == HIGHER) return false;
  const bool pair = ins->params[1] == REVERSE && ins->params[0] != GRAD_GAP_COLUMN;
  return !(fabs(entry(n, i, j) - (pair ? entry(n, j, i) : 0)) > least);
}

static grad_status gap_eval(const grad_eval *a) {
  static const char *const reasons[] = {[FORWARD] = abrupt, [REVERSE] = ambiguous, [HIGHER] = higher};
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  const grad_gap divisor = (grad_gap)a->ins->params[0];
  grad_items w = grad__items(a->in[0], 1), n = grad__items(a->in[1], 2), to = grad__items(a->out[0], 2);
  const int64_t rows = n.item.shape[0], columns = n.item.shape[1];
  for (; n.at < n.count; grad__items_next(&w), grad__items_next(&n), grad__items_next(&to)) {
    const double gap = least_gap(&w.item), least = largest_entry(&n.item) * least_fraction(&n.item);
    for (int64_t at = 0; at < rows * columns; at++) {
      const int64_t i = at / columns, j = at % columns;
      const bool counts = divisor == GRAD_GAP_COLUMN || i != j;
      const double over = divisor_of(divisor, &w.item, i, j);
      const bool divides = counts && !(fabs(over) <= gap);
      if (counts && !divides && !may_vanish(a->ins, &n.item, least, i, j)) {
        return refuse(a->ctx, &n, divisor != GRAD_GAP_DIFFERENCE, reasons[a->ins->params[1]]);
      }
      grad__item_put(&to.item, at, divides ? entry(&n.item, i, j) / over : 0);
    }
  }
  return GRAD_OK;
}

grad_id grad__gap_divide(grad_program *p, grad_id w, grad_id n, grad_gap divisor) {
  return gap_divide(p, w, n, divisor, FORWARD);
}

static void gap_jvp(grad_jvp *a) {
  const grad_gap divisor = (grad_gap)a->ins->params[0];
  if (a->dx[1] != GRAD_NONE) a->dy[0] = gap_divide(a->p, a->x[0], a->dx[1], divisor, (gap_sense)a->ins->params[1]);
  a->dy[0] = grad__add_tangents(a->p, a->dy[0], quotient_tangent(a->p, a->x[0], a->dx[0], a->y[0], divisor));
}

static void gap_transpose(grad_transpose *a) {
  static const gap_sense turned[] = {[FORWARD] = REVERSE, [REVERSE] = FORWARD, [HIGHER] = HIGHER};
  a->cx[1] = gap_divide(a->p, a->x[0], a->cy[0], (grad_gap)a->ins->params[0], turned[a->ins->params[1]]);
}

const grad_op grad__op_gap_divide = {
    .name = "gap_divide",
    .nin = 2,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .infer = gap_infer,
    .eval = gap_eval,
    .jvp = gap_jvp,
    .transpose = gap_transpose,
    .batch = grad__batch_same,
};

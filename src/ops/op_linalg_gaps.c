/* op_linalg_gaps.c: the division inside derivatives of eigenvectors and singular vectors.
 *
 * gap_divide  w ... k (eigenvalues or singular values), n ... r k -> ... r k; params {kind, sense}
 *             DIFFERENCE  n[i][j] / (w[j] - w[i])      SUM  n[i][j] / (w[j] + w[i])      COLUMN  n[i][j] / w[j]
 *             The diagonal of the first two (r = k) is 0.
 *
 * Where a divisor is 0 up to rounding (equal values, or no value), the vectors that belong to them are any basis of a
 * subspace: they have no derivative, but functions that do not depend on the choice of the basis may have one. Turning
 * that basis changes only the entries divided here, antisymmetrically for the square kinds. So:
 *  - in reverse (n is a cotangent) these entries of the result are 0, which is right exactly when the cotangent does
 * not see such a turn: n[i][j] = n[j][i] for the square kinds, n[i][j] = 0 for columns. Otherwise ENONDIFF.
 *  - forward (n is a tangent) they are 0 when n[i][j] is; otherwise the vectors jump, and it is ENONDIFF.
 *  - in derivatives of higher order (the tangent of w counts) such entries are ENONDIFF.
 */
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <math.h>

typedef enum gap_sense { FORWARD, REVERSE, HIGHER } gap_sense;

static grad_status gap_infer(grad_infer *a) {
  grad_status status = grad__infer_matrix(a, 1, a->params[0] != GRAD_GAP_COLUMN);
  if (status) return status;
  const grad_type *const w = &a->in[0], *const n = &a->in[1];
  const int lead = n->ndim - 2;
  if (w->dtype != n->dtype || w->ndim != lead + 1 || !grad__shape_equal(lead, w->shape, lead, n->shape) ||
      w->shape[lead] != n->shape[lead + 1]) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "gap_divide: values and matrix do not fit");
  }
  return grad__infer_out(a, 0, (grad_dtype)n->dtype, n->ndim, n->shape);
}

typedef struct gap_item {
  grad_gap kind;
  gap_sense sense;
  const grad_array *w, *n;
  double gap_least;   /* divisors up to here count as 0 */
  double entry_least; /* and entries up to here */
} gap_item;

static double value(const grad_array *w, int64_t i) { return grad__array_get(w, &i); }
static double entry(const grad_array *n, int64_t i, int64_t j) { return grad__array_get(n, (int64_t[]){i, j}); }

static gap_item gap_of(const grad_instr *ins, const grad_array *w, const grad_array *n) {
  const bool wide = n->dtype == GRAD_F64;
  gap_item g = {.kind = (grad_gap)ins->params[0], .sense = (gap_sense)ins->params[1], .w = w, .n = n};
  double largest = 0, largest_entry = 0;
  for (int64_t i = 0; i < w->shape[0]; i++) largest = fmax(largest, fabs(value(w, i)));
  for (int64_t i = 0; i < n->shape[0]; i++) {
    for (int64_t j = 0; j < n->shape[1]; j++) largest_entry = fmax(largest_entry, fabs(entry(n, i, j)));
  }
  g.gap_least = 16 * largest * (double)w->shape[0] * (wide ? 0x1p-52 : 0x1p-23);
  g.entry_least = largest_entry * (wide ? 1e-8 : 1e-3);
  return g;
}

static double divisor(const gap_item *g, int64_t i, int64_t j) {
  switch (g->kind) {
  case GRAD_GAP_DIFFERENCE:
    return value(g->w, j) - value(g->w, i);
  case GRAD_GAP_SUM:
    return value(g->w, j) + value(g->w, i);
  case GRAD_GAP_COLUMN:
    break;
  }
  return value(g->w, j);
}

/* May the entry with a divisor of 0 become 0? */
static bool may_vanish(const gap_item *g, int64_t i, int64_t j) {
  if (g->sense == HIGHER) return false;
  const bool pair = g->sense == REVERSE && g->kind != GRAD_GAP_COLUMN;
  const double x = entry(g->n, i, j) - (pair ? entry(g->n, j, i) : 0);
  return !(fabs(x) > g->entry_least);
}

static grad_status refuse(grad_ctx *ctx, const gap_item *g, const grad_items *n) {
  char text[GRAD_ITEM_TEXT];
  const char *const what =
      g->kind == GRAD_GAP_DIFFERENCE ? "equal eigenvalues or singular values" : "singular values that are 0";
  const char *const why = g->sense == REVERSE   ? "the result depends on which basis of their subspace is chosen"
                          : g->sense == FORWARD ? "their vectors are an arbitrary basis that changes abruptly; reverse "
                                                  "mode works when the result does not depend on that basis"
                                                : "derivatives of second and higher order do not exist there";
  return grad__fail(ctx, GRAD_ENONDIFF, "eigh, svd: the matrix%s has %s: %s", grad__item_text(n, text, sizeof text),
                    what, why);
}

static void put(const grad_array *to, int64_t at, double x) {
  if (to->dtype == GRAD_F64) {
    ((double *)to->data)[at] = x;
  } else {
    ((float *)to->data)[at] = (float)x;
  }
}

static grad_status gap_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items w = grad__items(a->in[0], 1), n = grad__items(a->in[1], 2), to = grad__items(a->out[0], 2);
  const int64_t rows = n.item.shape[0], columns = n.item.shape[1];
  for (; n.at < n.count; grad__items_next(&w), grad__items_next(&n), grad__items_next(&to)) {
    const gap_item g = gap_of(a->ins, &w.item, &n.item);
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < columns; j++) {
        double x = 0;
        if (g.kind == GRAD_GAP_COLUMN || i != j) {
          const double d = divisor(&g, i, j);
          if (!(fabs(d) <= g.gap_least)) {
            x = entry(&n.item, i, j) / d;
          } else if (!may_vanish(&g, i, j)) {
            return refuse(a->ctx, &g, &n);
          }
        }
        put(&to.item, i * columns + j, x);
      }
    }
  }
  return GRAD_OK;
}

static grad_id gap_divide(grad_program *p, grad_id w, grad_id n, grad_gap kind, gap_sense sense) {
  return grad__emit2(p, &grad__op_gap_divide, w, n, 2, (const int64_t[]){kind, sense});
}

grad_id grad__gap_divide(grad_program *p, grad_id w, grad_id n, grad_gap kind) {
  return gap_divide(p, w, n, kind, FORWARD);
}

/* d of the divisors, of the type of y. */
static grad_id divisor_tangent(grad_program *p, grad_id dw, const grad_type *y, grad_gap kind) {
  const int lead = y->ndim - 2;
  const grad_id columns = grad__broadcast(p, grad__insert_axis(p, dw, lead), y->ndim, y->shape);
  if (kind == GRAD_GAP_COLUMN) return columns;
  const grad_id rows = grad__broadcast(p, grad__insert_axis(p, dw, lead + 1), y->ndim, y->shape);
  return kind == GRAD_GAP_SUM ? grad__add(p, columns, rows) : grad__sub(p, columns, rows);
}

static void gap_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_gap kind = (grad_gap)a->ins->params[0];
  if (a->dx[1] != GRAD_NONE) a->dy[0] = gap_divide(p, a->x[0], a->dx[1], kind, (gap_sense)a->ins->params[1]);
  if (a->dx[0] == GRAD_NONE || a->y[0] == GRAD_NONE) return;
  const grad_type y = *grad__type(p, a->y[0]);
  const grad_id moved = grad__mulz(p, a->y[0], divisor_tangent(p, a->dx[0], &y, kind));
  const grad_id change = grad__neg(p, gap_divide(p, a->x[0], moved, kind, HIGHER));
  a->dy[0] = grad__add_tangents(p, a->dy[0], change);
}

static void gap_transpose(grad_transpose *a) {
  static const gap_sense turned[] = {[FORWARD] = REVERSE, [REVERSE] = FORWARD, [HIGHER] = HIGHER};
  a->cx[1] = gap_divide(a->p, a->x[0], a->cy[0], (grad_gap)a->ins->params[0], turned[a->ins->params[1]]);
}

const grad_op grad__op_gap_divide = {
    .name = "gap_divide",
    .nin = 2,
    .nout = 1,
    .row = -1,
    .doc = "division by gaps between eigenvalues, inside derivatives of eigh and svd",
    .infer = gap_infer,
    .eval = gap_eval,
    .jvp = gap_jvp,
    .transpose = gap_transpose,
    .batch = grad__batch_same,
};

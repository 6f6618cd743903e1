/* quadratic_program.c: the dual active set method. The constraints are numbered: general ones 0 .. rows - 1, then the
 * lower bounds, then the upper ones. Names of the paper: N = normals of the active set, J = inv(L)' Q, R with
 * N = L Q [R; 0], z the primal and r the dual step direction, u the multipliers. */
#include "optim/quadratic_program.h"

#include <float.h>

#include "optim/dense.h"

typedef struct solver {
  grad__qp *qp;
  int64_t n, total, active;                  /* constraints in all; how many are active */
  double *j, *r, *normal, *d, *z, *dual, *u; /* j, r: n x n */
  double *set;                               /* n + 1: which constraint is active at each place */
  double *state;                             /* total: 1 active, 2 set aside as dependent */
  double scale;
} solver;

int64_t grad__qp_work(int64_t n, int64_t rows) {
  const int64_t limit = (int64_t)1 << 20;
  if (n > limit || rows > limit * 64) return -1;
  return 3 * n * n + 4 * n + 2 * (n + 1) + n + rows + 2 * n;
}

static void place(solver *s, grad__qp *qp) {
  int64_t n = qp->n;
  double *at = qp->work;
  *s = (solver){.qp = qp, .n = n, .total = qp->rows + 2 * n};
  s->j = at, at += 2 * n * n; /* the second half: the Cholesky factor */
  s->r = at, at += n * n;
  s->normal = at, at += n;
  s->d = at, at += n;
  s->z = at, at += n;
  s->dual = at, at += n + 1;
  s->u = at, at += n + 1;
  s->set = at, at += n + 1;
  s->state = at;
  vec_fill(s->total, 0, s->state);
}

static void get_normal(const solver *s, int64_t i, double *out) {
  const grad__qp *qp = s->qp;
  if (i < qp->rows) {
    vec_copy(s->n, qp->normals + i * s->n, out);
    return;
  }
  vec_fill(s->n, 0, out);
  out[(i - qp->rows) % s->n] = i < qp->rows + s->n ? 1 : -1;
}

static double slack(const solver *s, int64_t i) {
  const grad__qp *qp = s->qp;
  if (i < qp->rows) return vec_dot(s->n, qp->normals + i * s->n, qp->x) + qp->offsets[i];
  int64_t k = (i - qp->rows) % s->n;
  return i < qp->rows + s->n ? qp->x[k] - qp->lower[k] : qp->upper[k] - qp->x[k];
}

/* d = J'normal, z = the free part of J d, dual = inv(R) d. Returns z'normal. */
static double directions(solver *s) {
  int64_t n = s->n, q = s->active;
  for (int64_t k = 0; k < n; k++) {
    s->d[k] = 0;
    for (int64_t i = 0; i < n; i++) s->d[k] += s->j[i * n + k] * s->normal[i];
  }
  for (int64_t i = 0; i < n; i++) s->z[i] = vec_dot(n - q, s->j + i * n + q, s->d + q);
  for (int64_t i = q - 1; i >= 0; i--) {
    s->dual[i] = s->d[i];
    for (int64_t k = i + 1; k < q; k++) s->dual[i] -= s->r[i * n + k] * s->dual[k];
    s->dual[i] /= s->r[i * n + i];
  }
  return vec_dot(n - q, s->d + q, s->d + q);
}

/* Rotates columns a and b = a + 1 of J by the rotation that takes (x, y) to (hypot, 0). */
static double rotate(solver *s, int64_t a, double x, double y) {
  double h = hypot(x, y), c = h > 0 ? x / h : 1, t = h > 0 ? y / h : 0;
  for (int64_t i = 0; i < s->n; i++) {
    double *row = s->j + i * s->n + a, p = row[0], q = row[1];
    row[0] = c * p + t * q;
    row[1] = c * q - t * p;
  }
  return h;
}

/* The constraint whose d is at hand becomes active; false when its normal depends on the active ones. */
static bool add(solver *s, int64_t i) {
  int64_t n = s->n, q = s->active;
  for (int64_t k = n - 1; k > q; k--) {
    double h = rotate(s, k - 1, s->d[k - 1], s->d[k]);
    s->d[k - 1] = h;
    s->d[k] = 0;
  }
  if (!(fabs(s->d[q]) > DBL_EPSILON * s->scale)) return false;
  s->scale = fmax(s->scale, fabs(s->d[q]));
  for (int64_t k = 0; k <= q; k++) s->r[k * n + q] = s->d[k];
  s->set[q] = (double)i;
  s->state[i] = 1;
  s->active++;
  return true;
}

static void drop(solver *s, int64_t at) {
  int64_t n = s->n;
  s->state[(int64_t)s->set[at]] = 0;
  for (int64_t k = at; k + 1 < s->active; k++) {
    s->set[k] = s->set[k + 1];
    s->u[k] = s->u[k + 1];
    for (int64_t i = 0; i < n; i++) s->r[i * n + k] = s->r[i * n + k + 1];
  }
  s->u[s->active - 1] = s->u[s->active];
  s->active--;
  for (int64_t k = at; k < s->active; k++) {
    double x = s->r[k * n + k], y = s->r[(k + 1) * n + k], h = rotate(s, k, x, y), c = h > 0 ? x / h : 1,
           t = h > 0 ? y / h : 0;
    for (int64_t i = k; i < s->active; i++) {
      double p = s->r[k * n + i], q = s->r[(k + 1) * n + i];
      s->r[k * n + i] = c * p + t * q;
      s->r[(k + 1) * n + i] = c * q - t * p;
    }
  }
}

/* inv(L)', L L' = G, and x = -inv(G) g. */
static bool start(solver *s) {
  int64_t n = s->n;
  double *l = s->j + n * n;
  vec_copy(n * n, s->qp->matrix, l);
  if (!grad__dense_cholesky(n, l)) return false;
  for (int64_t i = 0; i < n; i++) { /* row i of J: column i of inv(L) */
    vec_fill(n, 0, s->d);
    s->d[i] = 1;
    grad__dense_cholesky_forward(n, l, s->d);
    vec_copy(n, s->d, s->j + i * n);
  }
  vec_scaled(n, -1, s->qp->gradient, s->qp->x);
  grad__dense_cholesky_solve(n, l, s->qp->x);
  s->scale = 1;
  return true;
}

static grad__qp_end add_equalities(solver *s) {
  for (int64_t i = 0; i < s->qp->equalities; i++) {
    get_normal(s, i, s->normal);
    double bend = directions(s), gap = slack(s, i), size = vec_dot(s->n, s->d, s->d);
    if (!(bend > 1e2 * DBL_EPSILON * DBL_EPSILON * size)) { /* depends on the ones before: fits them, or contradicts */
      if (fabs(gap) > 1e-9 * (1 + fabs(s->qp->offsets[i]))) return GRAD__QP_INFEASIBLE;
      s->state[i] = 2;
      continue;
    }
    double t = -gap / bend;
    vec_axpy(s->n, t, s->z, s->qp->x);
    vec_axpy(s->active, -t, s->dual, s->u);
    s->u[s->active] = t;
    if (!add(s, i)) s->state[i] = 2;
  }
  return GRAD__QP_OK;
}

static int64_t most_violated(const solver *s, double *gap) {
  int64_t worst = -1;
  *gap = 0;
  for (int64_t i = s->qp->equalities; i < s->total; i++) {
    if (s->state[i] != 0) continue;
    double size = i < s->qp->rows ? fabs(s->qp->offsets[i]) : 0, here = slack(s, i);
    if (here >= *gap || here > -1e-12 * (1 + size)) continue;
    worst = i;
    *gap = here;
  }
  return worst;
}

/* The active inequality whose multiplier is the first to reach 0 along the dual step, and how far that is. */
static int64_t blocking(const solver *s, double *reach) {
  int64_t at = -1;
  *reach = VEC_INF;
  for (int64_t k = 0; k < s->active; k++) {
    if ((int64_t)s->set[k] < s->qp->equalities || !(s->dual[k] > 0)) continue;
    if (s->u[k] / s->dual[k] >= *reach) continue;
    *reach = s->u[k] / s->dual[k];
    at = k;
  }
  return at;
}

/* Makes constraint i satisfied, dropping others as needed. */
static grad__qp_end satisfy(solver *s, int64_t i) {
  get_normal(s, i, s->normal);
  s->u[s->active] = 0;
  for (int64_t pass = 0; pass <= 2 * s->n + 2; pass++) {
    double bend = directions(s), dual_reach, size = vec_dot(s->n, s->d, s->d);
    bool dependent = !(bend > 1e2 * DBL_EPSILON * DBL_EPSILON * size) || s->active == s->n;
    int64_t at = blocking(s, &dual_reach);
    double reach = dependent ? VEC_INF : fmax(0, -slack(s, i) / bend), t = fmin(reach, dual_reach);
    if (isinf(t)) return GRAD__QP_INFEASIBLE;
    if (!dependent) vec_axpy(s->n, t, s->z, s->qp->x);
    vec_axpy(s->active, -t, s->dual, s->u);
    s->u[s->active] += t;
    if (t == reach) {
      if (!add(s, i)) s->state[i] = 2;
      return GRAD__QP_OK;
    }
    drop(s, at);
  }
  return GRAD__QP_INFEASIBLE;
}

grad__qp_end grad__qp_solve(grad__qp *qp) {
  solver s;
  double gap = 0;
  place(&s, qp);
  if (!start(&s)) return GRAD__QP_NOT_CONVEX;
  grad__qp_end end = add_equalities(&s);
  for (int64_t k = 0; end == GRAD__QP_OK && k < 20 * (s.total + s.n) + 100; k++) {
    int64_t worst = most_violated(&s, &gap);
    if (worst < 0) break;
    end = satisfy(&s, worst);
  }
  vec_fill(qp->rows, 0, qp->multipliers);
  for (int64_t k = 0; k < s.active; k++)
    if ((int64_t)s.set[k] < qp->rows) qp->multipliers[(int64_t)s.set[k]] = s.u[k];
  return end;
}

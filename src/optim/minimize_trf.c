/* minimize_trf.c: M. A. Branch, T. F. Coleman, Y. Li (1999), "A subspace, interior, and conjugate gradient method for
 * large-scale bound-constrained minimization problems", SIAM J. Sci. Comput. 21, for least squares: the Coleman-Li
 * scaling keeps iterates inside the bounds, steps are reflected at the first bound they meet. Quantities in the scaled
 * variables x_hat = x / d end in _h. The matrix of the step's problem is [J diag(d); diag(sqrt(c))], on QR. */
#include "optim/jacobian_rows.h"
#include "optim/squares.h"

#include <float.h>

enum { TRF_D = SQUARES_OWN, TRF_C, TRF_GH, TRF_PH, TRF_RH, TRF_AH, TRF_ONES, TRF_S, TRF_T };

static void layout(grad_minimizer *m) {
  static const char *const names[] = {"d", "c", "gradient_h", "step_h", "reflected_h", "descent_h", "ones", "s", "t"};
  grad__squares_layout(m, m->n);
  for (int i = 0; i < 9; i++) grad__minimizer_array(m, names[i], m->n, false);
}

static double low(const grad_minimizer *m, int64_t i) { return m->problem.lower ? m->problem.lower[i] : -VEC_INF; }
static double high(const grad_minimizer *m, int64_t i) { return m->problem.upper ? m->problem.upper[i] : VEC_INF; }

/* Moves x strictly inside by `share` of the bounds' size, or to the next number. */
static void move_inside(const grad_minimizer *m, double share, double *x) {
  for (int64_t i = 0; i < m->n; i++) {
    double l = low(m, i), u = high(m, i);
    double above = share > 0 ? l + share * fmax(1, fabs(l)) : nextafter(l, u);
    double below = share > 0 ? u - share * fmax(1, fabs(u)) : nextafter(u, l);
    if (x[i] <= l) x[i] = above;
    if (x[i] >= u) x[i] = below;
    if (l < u && !(x[i] > l && x[i] < u)) x[i] = 0.5 * (l + u);
    if (l == u) x[i] = l;
  }
}

static grad_status begin(grad_minimizer *m) {
  double f = 0;
  vec_copy(m->n, m->x, m->trial_x);
  move_inside(m, 1e-10, m->trial_x);
  if (memcmp(m->x, m->trial_x, (size_t)m->n * sizeof *m->x) == 0) return grad__squares_keep(m);
  grad_status status = grad__residuals_f(m, m->trial_x, &f);
  if (status == GRAD_OK) status = grad__residuals_gradient(m, m->trial_x, m->trial_g);
  if (status != GRAD_OK || !isfinite(f)) return status;
  grad__minimizer_replace(m, f);
  return grad__squares_keep(m);
}

/* d, c and the gradient in the scaled variables. */
static void scale_variables(grad_minimizer *m) {
  const double *scale = grad__minimizer_own(m, SQUARES_SCALE);
  double *d = grad__minimizer_own(m, TRF_D), *c = grad__minimizer_own(m, TRF_C), *gh = grad__minimizer_own(m, TRF_GH);
  for (int64_t i = 0; i < m->n; i++) {
    double g = m->g[i], gap = g < 0 ? high(m, i) - m->x[i] : m->x[i] - low(m, i);
    bool held = g != 0 && isfinite(gap);
    d[i] = low(m, i) == high(m, i) ? 0 : held ? sqrt(gap * scale[i]) / scale[i] : 1 / scale[i];
    c[i] = held ? fabs(g) / scale[i] : 0;
    gh[i] = d[i] * g;
  }
}

static void factor(grad_minimizer *m, grad__damped *q) {
  int64_t rows = m->problem.residuals, height = rows + m->n;
  const double *j = m->arrays[ARRAY_J].data, *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  const double *d = grad__minimizer_own(m, TRF_D), *c = grad__minimizer_own(m, TRF_C);
  double *ones = grad__minimizer_own(m, TRF_ONES);
  vec_fill(m->n, 1, ones);
  grad__damped_place(q, height, m->n, m->sparse, grad__minimizer_own(m, SQUARES_BLOCK));
  q->scale = ones;
  q->gradient = grad__minimizer_own(m, TRF_GH);
  q->residual = grad__minimizer_own(m, SQUARES_WEIGHTED);
  q->ridge = c;
  q->matrix = (grad__sparse_matrix){.values = j, .row_scale = row_scale, .column_scale = d};
  if (m->sparse) {
    grad__damped_factor(q);
    return;
  }
  vec_fill(height * m->n, 0, q->qr.columns);
  vec_fill(height, 0, q->qtr);
  vec_copy(rows, q->residual, q->qtr);
  for (int64_t k = 0; k < m->n; k++) {
    for (int64_t i = 0; i < rows; i++) q->qr.columns[k * height + i] = row_scale[i] * j[i * m->n + k] * d[k];
    q->qr.columns[k * height + rows + k] = sqrt(c[k]);
  }
  grad__damped_factor(q);
}

/* s'(J_h'J_h + diag(c)) t */
static double bend(const grad_minimizer *m, const double *s, const double *t) {
  const double *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  const double *d = grad__minimizer_own(m, TRF_D), *c = grad__minimizer_own(m, TRF_C);
  double *ds = grad__minimizer_own(m, TRF_S), *dt = grad__minimizer_own(m, TRF_T), sum = 0;
  for (int64_t k = 0; k < m->n; k++) {
    ds[k] = d[k] * s[k];
    dt[k] = d[k] * t[k];
    sum += s[k] * c[k] * t[k];
  }
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    const grad__row row = grad__jacobian_row(m, i);
    const double js = row_scale[i] * grad__row_dot(row, ds);
    sum += js * (s == t ? js : row_scale[i] * grad__row_dot(row, dt));
  }
  return sum;
}

/* The model's value after step s_h. */
static double model(const grad_minimizer *m, const double *s) {
  return vec_dot(m->n, grad__minimizer_own(m, TRF_GH), s) + 0.5 * bend(m, s, s);
}

/* How far from x + from (both scaled steps) along s_h the first bound is; hits (may be NULL) is negated there. */
static double to_bound(const grad_minimizer *m, const double *from, const double *s, double *hits) {
  const double *d = grad__minimizer_own(m, TRF_D);
  double least = VEC_INF;
  for (int pass = 0; pass < (hits ? 2 : 1); pass++)
    for (int64_t i = 0; i < m->n; i++) {
      double at = m->x[i] + (from ? d[i] * from[i] : 0), move = d[i] * s[i];
      double reach = move > 0 ? (high(m, i) - at) / move : move < 0 ? (low(m, i) - at) / move : VEC_INF;
      if (pass == 0) least = fmin(least, fmax(0, reach));
      if (pass == 1 && reach <= least) hits[i] = -hits[i];
    }
  return least;
}

/* The larger t with |from + t s| = radius. */
static double to_radius(int64_t n, const double *from, const double *s, double radius) {
  double ss = vec_dot(n, s, s), fs = vec_dot(n, from, s), gap = fmax(0, radius * radius - vec_dot(n, from, from));
  return ss > 0 ? (sqrt(fs * fs + ss * gap) - fs) / ss : 0;
}

/* The t in [lo, hi] that minimizes the model along from + t s. */
static double best_on_line(const grad_minimizer *m, const double *from, const double *s, double lo, double hi) {
  double slope = vec_dot(m->n, grad__minimizer_own(m, TRF_GH), s) + (from ? bend(m, s, from) : 0),
         curvature = bend(m, s, s);
  if (curvature > 0) return vec_clamp(-slope / curvature, lo, hi);
  return slope < 0 ? hi : lo;
}

/* ph, a step that leaves the bounds, becomes the best of: itself cut short, reflected, and steepest descent. */
static double choose(grad_minimizer *m, double radius, double theta, double *ph) {
  double *rh = grad__minimizer_own(m, TRF_RH), *ah = grad__minimizer_own(m, TRF_AH);
  const double *gh = grad__minimizer_own(m, TRF_GH);
  int64_t n = m->n;
  vec_copy(n, ph, rh);
  double stride = to_bound(m, NULL, ph, rh), reflected = VEC_INF;
  if (stride > 1) return model(m, ph);
  vec_scale(n, stride, ph);
  double wall = to_bound(m, ph, rh, NULL), edge = to_radius(n, ph, rh, radius), most = fmin(wall, edge);
  double lo = most > 0 ? (1 - theta) * stride / most : 0, hi = most > 0 ? (most == wall ? theta * wall : edge) : -1;
  if (lo <= hi) {
    vec_add_scaled(n, ph, best_on_line(m, ph, rh, lo, hi), rh, rh);
    reflected = model(m, rh);
  }
  vec_scale(n, theta, ph);
  double cut = model(m, ph);
  vec_scaled(n, -1, gh, ah);
  wall = to_bound(m, NULL, ah, NULL);
  edge = radius / vec_norm2(n, ah);
  vec_scale(n, best_on_line(m, NULL, ah, 0, wall < edge ? theta * wall : edge), ah);
  double descent = model(m, ah);
  if (cut <= reflected && cut <= descent) return cut;
  vec_copy(n, reflected <= descent ? rh : ah, ph);
  return fmin(reflected, descent);
}

/* One radius: the trial in trial_x, *f there, by how much the model falls. */
static grad_status trial(grad_minimizer *m, grad__damped *q, double theta, double *f, double *reduction,
                         double *length) {
  double *ph = grad__minimizer_own(m, TRF_PH), *p = grad__minimizer_own(m, SQUARES_STEP);
  const double *d = grad__minimizer_own(m, TRF_D);
  grad__damped_solve(q, m->progress->radius, ph);
  *reduction = -choose(m, m->progress->radius, theta, ph);
  *length = vec_norm2(m->n, ph);
  for (int64_t i = 0; i < m->n; i++) m->trial_x[i] = m->x[i] + d[i] * ph[i];
  move_inside(m, 0, m->trial_x);
  vec_sub(m->n, m->trial_x, m->x, p);
  return grad__residuals_f(m, m->trial_x, f);
}

static grad_status accept(grad_minimizer *m, double f, bool *taken) {
  const double *p = grad__minimizer_own(m, SQUARES_STEP);
  grad_status status = grad__residuals_gradient(m, m->trial_x, m->trial_g);
  if (status != GRAD_OK) return status;
  *taken = vec_finite(m->n, m->trial_g);
  if (!*taken) return grad__squares_refresh(m);
  grad__move move = {p, 1, f, vec_dot(m->n, m->g, p), vec_dot(m->n, m->trial_g, p)};
  status = grad__minimizer_accept(m, &move);
  return status == GRAD_OK ? grad__squares_keep(m) : status;
}

static grad_status step(grad_minimizer *m) {
  grad__progress *progress = m->progress;
  grad__damped q;
  bool any_finite = false, taken = false;
  grad__squares_model(m);
  scale_variables(m);
  factor(m, &q);
  double theta = fmax(0.995, 1 - progress->gradient_norm), f = VEC_INF, reduction = 0, length = 0;
  if (progress->radius == 0)
    progress->radius = m->options.initial_step > 0 ? m->options.initial_step : fmax(1, grad__squares_norm(m, m->x));
  for (int k = 0; k < 100; k++) {
    grad_status status = trial(m, &q, theta, &f, &reduction, &length);
    if (status != GRAD_OK) return status;
    double ratio = isfinite(f) && reduction > 0 ? (progress->f - f) / reduction : -1;
    bool long_step = length > 0.95 * progress->radius;
    if (ratio < 0.25) progress->radius = 0.25 * length;
    if (ratio > 0.75 && long_step) progress->radius *= 2;
    any_finite |= isfinite(f);
    if (f < progress->f && ratio > 1e-4) status = accept(m, f, &taken);
    if (status != GRAD_OK || taken) return status;
    if (reduction <= 4 * DBL_EPSILON * progress->f || !(progress->radius > 0)) break;
  }
  if (!any_finite) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  if (reduction <= 1e-10 * progress->f) return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  const double *p = grad__minimizer_own(m, SQUARES_STEP);
  grad__move move = {.direction = p, .slope0 = vec_dot(m->n, m->g, p)};
  return grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &move);
}

/* Variables that have come next to a bound the gradient presses on are put on it when that is no worse. */
static grad_status polish(grad_minimizer *m) {
  bool near_bound = false, taken = false;
  vec_copy(m->n, m->x, m->trial_x);
  for (int64_t i = 0; i < m->n; i++) {
    double bound = m->g[i] > 0 ? low(m, i) : high(m, i);
    if (!isfinite(bound) || m->g[i] == 0 || fabs(m->x[i] - bound) > 1e-6 * fmax(1, fabs(bound))) continue;
    m->trial_x[i] = bound;
    near_bound = true;
  }
  grad_status status = near_bound ? grad__squares_replace(m, m->progress->f, &taken) : GRAD_OK;
  return status == GRAD_OK ? grad__squares_polish(m) : status;
}

const grad__method grad__method_trf = {.id = GRAD_METHOD_TRF,
                                       .traits = GRAD__TAKES_RESIDUALS | GRAD__TAKES_BOUNDS | GRAD__MONOTONE,
                                       .layout = layout,
                                       .begin = begin,
                                       .step = step,
                                       .polish = polish};

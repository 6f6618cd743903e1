/* minimize_lm.c: J. J. More (1978): Levenberg-Marquardt as a trust region method whose scaling only grows, on QR;
 * optionally with the geodesic acceleration of M. K. Transtrum, J. P. Sethna (2012), arXiv:1201.5885; ended by
 * Gauss-Newton steps, which converge faster than any damped ones once the answer is near. */
#include "optim/jacobian_rows.h"
#include "optim/squares.h"

#include <float.h>

enum { LM_SECOND = SQUARES_OWN, LM_SPARE };
enum { OWN_LAMBDA };

static void layout(grad_minimizer *m) {
  grad__squares_layout(m, 0);
  grad__minimizer_array(m, "second", m->n, false);
  grad__minimizer_array(m, "spare", m->problem.residuals, false);
}

/* p += a / 2, a the acceleration of the geodesic that starts along p, when it is small beside p. */
static grad_status accelerate(grad_minimizer *m, grad__damped *d, double *p) {
  const double h = 0.1; /* the paper's choice */
  double *a = grad__minimizer_own(m, LM_SECOND), *spare = grad__minimizer_own(m, LM_SPARE);
  const double *r = m->arrays[ARRAY_R].data, *ahead = m->arrays[ARRAY_TRIAL_R].data;
  double f = VEC_INF;
  vec_add_scaled(m->n, m->x, h, p, m->trial_x);
  grad_status status = grad__residuals_f(m, m->trial_x, &f);
  if (status != GRAD_OK || !isfinite(f)) return status;
  double *jts = m->arrays[ARRAY_COLUMNS].data;
  vec_fill(m->n, 0, jts);
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    const grad__row row = grad__jacobian_row(m, i);
    spare[i] = 2 / h * ((ahead[i] - r[i]) / h - grad__row_dot(row, p));
    grad__row_add(row, spare[i], jts);
  }
  grad__damped_resolve(d, spare, jts, a);
  if (2 * grad__squares_norm(m, a) <= 0.75 * grad__squares_norm(m, p)) vec_axpy(m->n, 0.5, a, p);
  return GRAD_OK;
}

static grad_status accept(grad_minimizer *m, double *p, double f, bool *finite) {
  grad__move move = {.direction = p, .alpha = 1, .f = f, .slope0 = vec_dot(m->n, m->g, p)};
  grad_status status = grad__residuals_gradient(m, m->trial_x, m->trial_g);
  if (status != GRAD_OK) return status;
  *finite = vec_finite(m->n, m->trial_g);
  if (!*finite) return GRAD_OK;
  move.slope1 = vec_dot(m->n, m->trial_g, p);
  status = grad__minimizer_accept(m, &move);
  return status == GRAD_OK ? grad__squares_keep(m) : status;
}

static void new_radius(grad_minimizer *m, const grad__damped *d, double ratio, double length) {
  grad__progress *p = m->progress;
  if (ratio <= 0.25) {
    p->radius = 0.25 * fmin(p->radius, 10 * length);
    p->own[OWN_LAMBDA] = d->lambda * 4;
  } else if (d->lambda == 0 || ratio >= 0.75) {
    p->radius = 2 * length;
    p->own[OWN_LAMBDA] = 0.5 * d->lambda;
  } else {
    p->own[OWN_LAMBDA] = d->lambda;
  }
}

/* One radius: a trial and its acceptance. */
static grad_status attempt(grad_minimizer *m, grad__damped *d, double *reduction, double *ratio, bool *finite) {
  double *p = grad__minimizer_own(m, SQUARES_STEP), f = VEC_INF;
  d->lambda = m->progress->own[OWN_LAMBDA];
  grad__damped_solve(d, m->progress->radius, p);
  double length = grad__squares_norm(m, p);
  if (m->progress->iteration == 0) m->progress->radius = fmin(m->progress->radius, fmax(length, DBL_MIN));
  *reduction = grad__squares_reduction(m, p);
  if (m->options.geodesic && m->options.loss == GRAD_LOSS_LINEAR) {
    grad_status status = accelerate(m, d, p);
    if (status != GRAD_OK) return status;
  }
  vec_add_scaled(m->n, m->x, 1, p, m->trial_x);
  grad_status status = grad__residuals_f(m, m->trial_x, &f);
  if (status != GRAD_OK) return status;
  *ratio = isfinite(f) && *reduction > 0 ? (m->progress->f - f) / *reduction : -1;
  *finite = isfinite(f);
  new_radius(m, d, *ratio, length);
  if (!(*ratio > 1e-4)) return GRAD_OK;
  status = accept(m, p, f, finite);
  if (status != GRAD_OK || *finite) return status;
  m->progress->radius = 0.25 * length;
  *ratio = -1;
  return grad__squares_refresh(m);
}

static grad_status step(grad_minimizer *m) {
  grad__damped d;
  bool any_finite = false;
  double *p = grad__minimizer_own(m, SQUARES_STEP);
  grad__squares_factor(m, &d);
  if (m->progress->radius == 0) {
    double size = grad__squares_norm(m, m->x);
    m->progress->radius = m->options.initial_step > 0 ? m->options.initial_step : size > 0 ? 100 * size : 100;
  }
  for (int trial = 0; trial < 100; trial++) {
    bool finite = false;
    double ratio = -1, reduction = 0;
    grad_status status = attempt(m, &d, &reduction, &ratio, &finite);
    if (status != GRAD_OK || ratio > 1e-4) return status;
    any_finite |= finite;
    double length = grad__squares_norm(m, p), size = grad__squares_norm(m, m->x);
    bool spent = reduction <= 4 * DBL_EPSILON * m->progress->f || length <= DBL_EPSILON * size;
    if (finite && spent) break;
    if (length <= 1e-6 * DBL_EPSILON * size || m->progress->radius < 1e-300) break;
  }
  if (!any_finite) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  grad__damped_solve(&d, VEC_INF, p);
  if (grad__squares_reduction(m, p) <= 1e-10 * m->progress->f) return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  grad__move move = {.direction = p, .slope0 = vec_dot(m->n, m->g, p)};
  return grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &move);
}

const grad__method grad__method_lm = {.id = GRAD_METHOD_LM,
                                      .traits = GRAD__TAKES_RESIDUALS | GRAD__MONOTONE,
                                      .layout = layout,
                                      .begin = grad__squares_keep,
                                      .step = step,
                                      .polish = grad__squares_polish};

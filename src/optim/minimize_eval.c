/* minimize_eval.c: evaluation of the problem with counting, second derivatives from what there is, and acceptance of
 * a step with the test that f and its gradient belong together. */
#include "optim/minimizer.h"

#include <float.h>

grad_status grad__minimizer_f(grad_minimizer *m, const double *x, double *f) {
  const grad_problem *p = &m->problem;
  grad_status status;
  double value = 0;
  if (!p->f && !p->f_gradient) return grad__residuals_f(m, x, f);
  m->progress->f_count++;
  if (p->f) {
    status = p->f(p->user, x, &value);
  } else {
    m->progress->g_count++;
    status = p->f_gradient(p->user, x, &value, m->trial_g);
  }
  if (status == GRAD_OK) *f = isfinite(value) ? value : VEC_INF;
  return status;
}

grad_status grad__minimizer_gradient(grad_minimizer *m, const double *x, double *gradient, bool *finite) {
  const grad_problem *p = &m->problem;
  double value = 0;
  if (!p->gradient && !p->f_gradient) {
    grad_status status = grad__residuals_f(m, x, &value);
    if (status == GRAD_OK) status = grad__residuals_gradient(m, x, gradient);
    if (status == GRAD_OK) *finite = isfinite(value) && vec_finite(m->n, gradient);
    return status;
  }
  m->progress->g_count++;
  if (!p->gradient) m->progress->f_count++;
  grad_status status = p->gradient ? p->gradient(p->user, x, gradient) : p->f_gradient(p->user, x, &value, gradient);
  if (status == GRAD_OK) *finite = vec_finite(m->n, gradient);
  return status;
}

/* f, Inf where it is not finite, and its gradient, which is not looked at. */
static grad_status evaluate(grad_minimizer *m, const double *x, double *f, double *gradient) {
  const grad_problem *p = &m->problem;
  grad_status status;
  double value = 0;
  if (p->f_gradient) {
    m->progress->f_count++;
    m->progress->g_count++;
    status = p->f_gradient(p->user, x, &value, gradient);
  } else {
    status = grad__minimizer_f(m, x, &value);
    if (status == GRAD_OK && isfinite(value)) {
      if (!p->gradient) {
        status = grad__residuals_gradient(m, x, gradient);
      } else {
        m->progress->g_count++;
        status = p->gradient(p->user, x, gradient);
      }
    }
  }
  if (status == GRAD_OK) *f = isfinite(value) ? value : VEC_INF;
  return status;
}

grad_status grad__minimizer_f_gradient(grad_minimizer *m, const double *x, double *f, double *gradient) {
  grad_status status = evaluate(m, x, f, gradient);
  if (status == GRAD_OK && isfinite(*f) && !vec_finite(m->n, gradient)) *f = VEC_INF;
  return status;
}

grad_status grad__minimizer_f_slope(grad_minimizer *m, const double *x, const double *direction, double *f,
                                    double *gradient, double *slope) {
  grad_status status = evaluate(m, x, f, gradient);
  if (status != GRAD_OK) return status;
  *slope = isfinite(*f) ? vec_dot(m->n, gradient, direction) : VEC_NAN;
  if (isfinite(*slope) || isinf(*f) || vec_finite(m->n, gradient)) return GRAD_OK; /* the sum may just overflow */
  *f = VEC_INF;
  *slope = VEC_NAN;
  return GRAD_OK;
}

/* Hv from the gradients at x + h v and x: h balances truncation against rounding (Nocedal-Wright (2006) 8.1). */
static grad_status hvp_by_difference(grad_minimizer *m, const double *v, double *scratch, double *product) {
  double length = vec_norm2(m->n, v);
  if (length == 0) {
    vec_fill(m->n, 0, product);
    return GRAD_OK;
  }
  double h = sqrt(DBL_EPSILON) * (1 + vec_norm2(m->n, m->x)) / length;
  bool finite = false;
  vec_add_scaled(m->n, m->x, h, v, scratch);
  grad_status status = grad__minimizer_gradient(m, scratch, product, &finite);
  if (status != GRAD_OK) return status;
  for (int64_t i = 0; i < m->n; i++) product[i] = (product[i] - m->g[i]) / h;
  return GRAD_OK;
}

grad_status grad__minimizer_hvp(grad_minimizer *m, const double *v, double *scratch, double *product) {
  const grad_problem *p = &m->problem;
  m->progress->hv_count++;
  if (p->hvp) return p->hvp(p->user, m->x, v, product);
  return hvp_by_difference(m, v, scratch, product);
}

static void symmetrize(int64_t n, double *hessian) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < i; j++)
      hessian[i * n + j] = hessian[j * n + i] = 0.5 * (hessian[i * n + j] + hessian[j * n + i]);
}

grad_status grad__minimizer_hessian(grad_minimizer *m, double *scratch, double *hessian) {
  const grad_problem *p = &m->problem;
  if (p->hessian) {
    m->progress->hv_count += (double)m->n;
    grad_status status = p->hessian(p->user, m->x, hessian);
    if (status == GRAD_OK) symmetrize(m->n, hessian);
    return status;
  }
  double *unit = scratch + m->n;
  for (int64_t j = 0; j < m->n; j++) {
    vec_fill(m->n, 0, unit);
    unit[j] = 1;
    grad_status status = grad__minimizer_hvp(m, unit, scratch, hessian + j * m->n);
    if (status != GRAD_OK) return status;
  }
  symmetrize(m->n, hessian);
  return GRAD_OK;
}

bool grad__minimizer_bounded(const grad_minimizer *m) { return m->problem.lower != NULL; }

double grad__minimizer_norm(const grad_minimizer *m, const double *x, const double *g) {
  bool bounded = grad__minimizer_bounded(m), squares = m->method->traits & GRAD__TAKES_RESIDUALS;
  if (!bounded && !squares) return vec_norm_inf(m->n, g);
  double largest = 0, *scale = m->arrays[ARRAY_COLUMNS].data;
  if (squares) grad__residuals_sizes(m, scale);
  for (int64_t i = 0; i < m->n; i++) {
    double step = fabs(g[i]) / (squares ? fmax(1, scale[i]) : 1);
    if (bounded) step = fmin(step, fabs(vec_clamp(x[i] - g[i], m->problem.lower[i], m->problem.upper[i]) - x[i]));
    if (isnan(step)) return VEC_NAN;
    if (step > largest) largest = step;
  }
  return largest;
}

/* Measures the slope of f along direction at x by central differences, with smaller steps until the two one-sided
 * slopes agree far better with each other than with slope0, and the slopes told at the ends are nearly slope0 as well.
 * *wrong only when that was seen: a kink, a cusp, curvature or rounding never accuse the gradient. */
static grad_status test_gradient(grad_minimizer *m, const double *direction, double slope0, bool *wrong) {
  double f0 = m->progress->f, ahead = 0, behind = 0, length = vec_norm_inf(m->n, direction), told[2] = {0};
  *wrong = false;
  if (!(length > 0) || m->options.skip_gradient_test) return GRAD_OK;
  double h = cbrt(DBL_EPSILON) * fmax(1, vec_norm_inf(m->n, m->x)) / length;
  for (int attempt = 0; attempt < 3; attempt++, h /= 16) {
    vec_add_scaled(m->n, m->x, h, direction, m->trial_x);
    grad_status status = grad__minimizer_f_slope(m, m->trial_x, direction, &ahead, m->trial_g, &told[0]);
    if (status != GRAD_OK) return status;
    vec_add_scaled(m->n, m->x, -h, direction, m->trial_x);
    status = grad__minimizer_f_slope(m, m->trial_x, direction, &behind, m->trial_g, &told[1]);
    if (status != GRAD_OK) return status;
    if (!isfinite(ahead) || !isfinite(behind)) continue;
    double slope = (ahead - behind) / (2 * h), spread = fabs((ahead - f0) - (f0 - behind)) / h;
    double noise = 8 * DBL_EPSILON * fmax(fabs(f0), fmax(fabs(ahead), fabs(behind))) / h;
    double off = fabs(slope - slope0);
    if (spread + 10 * noise > 0.1 * off) continue;
    if (!(fmax(fabs(told[0] - slope0), fabs(told[1] - slope0)) <= 0.1 * off)) continue;
    *wrong = off > 0.02 * fmax(fabs(slope), fabs(slope0));
    return GRAD_OK;
  }
  return GRAD_OK;
}

/* The trapezoidal rule is exact for quadratics: a steady mismatch means curvature that dominates, or a wrong gradient.
 */
static bool mismatched(const grad_minimizer *m, const grad__move *move) {
  double change = move->f - m->progress->f, predicted = 0.5 * move->alpha * (move->slope0 + move->slope1);
  double noise = 1e3 * DBL_EPSILON * fmax(fabs(move->f), fabs(m->progress->f));
  if (fabs(change) <= noise && fabs(predicted) <= noise) return false;
  return !(change * predicted > 0 && fabs(change) < 1.2 * fabs(predicted) && fabs(change) > fabs(predicted) / 1.2);
}

/* A point that passes the gradient test ends the run: it is the answer, though a point before it may lie lower by a
 * rounding error. */
static void keep_best(grad_minimizer *m) {
  grad__progress *p = m->progress;
  if (m->arrays[ARRAY_BEST_X].count == 0 || !(p->f < p->best_f || p->gradient_norm <= m->options.tol)) return;
  p->best_f = p->f;
  p->best_norm = p->gradient_norm;
  vec_copy(m->n, m->x, m->arrays[ARRAY_BEST_X].data);
  vec_copy(m->n, m->g, m->arrays[ARRAY_BEST_G].data);
}

static void swap_trial(grad_minimizer *m) {
  double *x = m->x, *g = m->g;
  m->x = m->arrays[ARRAY_X].data = m->trial_x;
  m->g = m->arrays[ARRAY_G].data = m->trial_g;
  m->trial_x = m->arrays[ARRAY_TRIAL_X].data = x;
  m->trial_g = m->arrays[ARRAY_TRIAL_G].data = g;
}

/* True when the gradient was tested and is wrong; the trial point is lost then. */
static grad_status refuse(grad_minimizer *m, const grad__move *move, double norm, bool *refused) {
  grad__progress *p = m->progress;
  *refused = false;
  if (!mismatched(m, move)) {
    p->mismatches = 0;
    return GRAD_OK;
  }
  p->mismatches++;
  bool due = p->mismatches >= 3 || norm <= m->options.tol;
  if (!due || p->iteration < p->next_test || m->options.skip_gradient_test) return GRAD_OK;
  double f = move->f; /* the test needs the trial point's memory: the point is put back after it */
  grad_status status = test_gradient(m, move->direction, move->slope0, refused);
  if (status != GRAD_OK || *refused) return status;
  p->next_test = 2 * p->iteration + 10;
  vec_add_scaled(m->n, m->x, move->alpha, move->direction, m->trial_x);
  if (grad__minimizer_bounded(m))
    for (int64_t i = 0; i < m->n; i++)
      m->trial_x[i] = vec_clamp(m->trial_x[i], m->problem.lower[i], m->problem.upper[i]);
  return grad__minimizer_f_gradient(m, m->trial_x, &f, m->trial_g);
}

void grad__minimizer_replace(grad_minimizer *m, double f) {
  m->progress->f = f;
  m->progress->gradient_norm = grad__minimizer_norm(m, m->trial_x, m->trial_g);
  swap_trial(m);
}

void grad__minimizer_commit(grad_minimizer *m, double f, double norm, double step) {
  grad__progress *p = m->progress;
  p->prior_f = p->f;
  p->f = f;
  p->gradient_norm = norm;
  p->step = step;
  p->iteration++;
  swap_trial(m);
  keep_best(m);
  grad__stop_test(m);
}

grad_status grad__minimizer_accept(grad_minimizer *m, const grad__move *move) {
  grad__progress *p = m->progress;
  bool refused = false;
  double norm = grad__minimizer_norm(m, m->trial_x, m->trial_g);
  grad_status status = refuse(m, move, norm, &refused);
  if (status != GRAD_OK) return status;
  if (refused) return grad__minimizer_fail(m, GRAD_FAILURE_INCONSISTENT, NULL);
  grad__minimizer_commit(m, move->f, norm, fabs(move->alpha) * vec_norm2(m->n, move->direction));
  if (p->f < -1e100) return grad__minimizer_fail(m, GRAD_FAILURE_UNBOUNDED, NULL);
  return GRAD_OK;
}

grad_status grad__minimizer_stop(grad_minimizer *m, grad_stop stop) {
  m->progress->stop = stop;
  return GRAD_OK;
}

grad_status grad__minimizer_fail(grad_minimizer *m, grad_failure failure, const grad__move *move) {
  if (failure == GRAD_FAILURE_LINE_SEARCH && move) {
    bool wrong = false;
    grad_status status = test_gradient(m, move->direction, move->slope0, &wrong);
    if (status != GRAD_OK) return status;
    if (wrong) failure = GRAD_FAILURE_INCONSISTENT;
  }
  m->progress->failure = failure;
  return grad__minimizer_stop(m, GRAD_STOP_FAILED);
}

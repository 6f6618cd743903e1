/* line_search.c: evaluation along a line, interpolation, Armijo's rule, and the choice of the rule. */
#include "optim/line_search.h"

#include <float.h>

double grad__line_cubic(double a, double fa, double da, double b, double fb, double db) {
  double theta = 3 * (fa - fb) / (b - a) + da + db;
  double scale = fmax(fabs(theta), fmax(fabs(da), fabs(db)));
  if (!(scale > 0)) return 0.5 * (a + b);
  double gamma = scale * sqrt(fmax(0, (theta / scale) * (theta / scale) - (da / scale) * (db / scale)));
  if (b < a) gamma = -gamma;
  return a + ((gamma - da) + theta) / (((gamma - da) + gamma) + db) * (b - a);
}

double grad__line_secant(double a, double da, double b, double db) { return a + da / (da - db) * (b - a); }

/* Rounding must not carry the trial past a bound. */
static void set_trial(grad_minimizer *m, double alpha, const double *direction) {
  vec_add_scaled(m->n, m->x, alpha, direction, m->trial_x);
  if (!grad__minimizer_bounded(m)) return;
  for (int64_t i = 0; i < m->n; i++) m->trial_x[i] = vec_clamp(m->trial_x[i], m->problem.lower[i], m->problem.upper[i]);
}

grad_status grad__line_eval(grad_minimizer *m, grad__line *line, double alpha) {
  double f = VEC_INF, slope = VEC_NAN;
  set_trial(m, alpha, line->direction);
  grad_status status = grad__minimizer_f_slope(m, m->trial_x, line->direction, &f, m->trial_g, &slope);
  if (status != GRAD_OK) return status;
  line->alpha = alpha;
  line->f = f;
  line->slope = slope;
  return GRAD_OK;
}

/* Backtracking: f alone at the trials, the gradient at the step that is taken. */
grad_status grad__line_armijo(grad_minimizer *m, grad__line *line) {
  double alpha = fmin(line->first, line->longest), noise = grad__line_noise(line);
  bool seen_finite = false;
  /* A change lost in rounding passes only where none could be seen, not because backtracking made it so small. */
  double allowance = -line->slope0 * alpha <= 100 * noise ? noise : 0;
  for (int trial = 0; trial < 60; trial++) {
    double f = VEC_INF;
    set_trial(m, alpha, line->direction);
    grad_status status = grad__minimizer_f(m, m->trial_x, &f);
    if (status != GRAD_OK) return status;
    bool finite = isfinite(f);
    if (finite && (f < line->f0 || allowance > 0) && f <= line->f0 + line->c1 * alpha * line->slope0 + allowance) {
      status = grad__minimizer_gradient(m, m->trial_x, m->trial_g, &finite);
      if (status != GRAD_OK) return status;
      line->alpha = alpha;
      line->f = f;
      line->slope = vec_dot(m->n, m->trial_g, line->direction);
      line->end = GRAD__LINE_OK;
      if (finite) return GRAD_OK;
    }
    seen_finite |= finite;
    double best = -0.5 * line->slope0 * alpha * alpha / (f - line->f0 - alpha * line->slope0);
    alpha = finite ? vec_clamp(best, 0.1 * alpha, 0.5 * alpha) : 0.25 * alpha;
  }
  line->end = seen_finite ? GRAD__LINE_FAILED : GRAD__LINE_REGION;
  return GRAD_OK;
}

grad_status grad__line_search(grad_minimizer *m, grad__line *line) {
  if (!(line->slope0 < 0)) { /* rounding has spoilt what the direction was made from */
    line->end = line->slope0 == 0 ? GRAD__LINE_PRECISION : GRAD__LINE_FAILED;
    return GRAD_OK;
  }
  if (line->longest == 0) line->longest = 1e12 * fmax(1, line->first);
  if (line->c1 == 0) line->c1 = 1e-4;
  if (line->c2 == 0) line->c2 = 0.9;
  grad_line_search rule = line->rule == GRAD_LINE_AUTO ? GRAD_LINE_WOLFE : line->rule;
  grad_status status = rule == GRAD_LINE_ARMIJO  ? grad__line_armijo(m, line)
                       : rule == GRAD_LINE_WOLFE ? grad__line_wolfe(m, line)
                                                 : grad__line_hager_zhang(m, line);
  if (status != GRAD_OK) return status;
  /* The first step of a method is of the size of a good one: where even its change of f is rounding, there is no
   * better. */
  if (line->end == GRAD__LINE_FAILED && -line->slope0 * line->first <= 100 * grad__line_noise(line) + DBL_MIN)
    line->end = GRAD__LINE_PRECISION;
  return GRAD_OK;
}

grad_status grad__line_settle(grad_minimizer *m, const grad__line *line, bool *moved) {
  grad__move move = {line->direction, line->alpha, line->f, line->slope0, line->slope};
  double iteration = m->progress->iteration;
  grad_status status = GRAD_OK;
  *moved = false;
  switch (line->end) {
  case GRAD__LINE_OK:
    status = grad__minimizer_accept(m, &move);
    *moved = status == GRAD_OK && m->progress->iteration > iteration;
    return status;
  case GRAD__LINE_PRECISION:
    return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  case GRAD__LINE_REGION:
    return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  case GRAD__LINE_UNBOUNDED:
    return grad__minimizer_fail(m, GRAD_FAILURE_UNBOUNDED, NULL);
  case GRAD__LINE_FAILED:
    break;
  }
  return grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &move);
}

grad_status grad__line_advance(grad_minimizer *m, grad__line *line, bool *moved) {
  *moved = false;
  grad_status status = grad__line_search(m, line);
  return status == GRAD_OK ? grad__line_settle(m, line, moved) : status;
}

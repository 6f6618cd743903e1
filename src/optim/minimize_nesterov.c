/* minimize_nesterov.c: Y. Nesterov (1983), "A method of solving a convex programming problem with convergence rate
 * O(1/k^2)", with the step found by backtracking (Beck, Teboulle (2009)) and momentum restarted when it points uphill
 * (B. O'Donoghue, E. Candes (2015), "Adaptive restart for accelerated gradient schemes"). The accepted points are the
 * extrapolated ones, where the gradient is known; f may rise between them, so the best one is kept. */
#include "optim/minimizer.h"

enum { NESTEROV_Z, NESTEROV_NEXT_Z, NESTEROV_MOVE };
enum { OWN_RATE, OWN_THETA, OWN_HAS_Z };

static void layout(grad_minimizer *m) {
  grad__minimizer_array(m, "z", m->n, true); /* the last gradient step's end */
  grad__minimizer_array(m, "next_z", m->n, false);
  grad__minimizer_array(m, "move", m->n, false);
}

static grad_status begin(grad_minimizer *m) {
  double length = vec_norm2(m->n, m->g), first = m->options.initial_step;
  m->progress->own[OWN_RATE] = m->options.learning_rate > 0 ? m->options.learning_rate
                               : length > 0                 ? (first > 0 ? first : fmin(1, length)) / length
                                                            : 1;
  m->progress->own[OWN_THETA] = 1;
  return GRAD_OK;
}

/* next_z = x - rate g with f there low enough for the rate; false in *found when no rate would do. */
static grad_status gradient_step(grad_minimizer *m, double *next_z, bool *found) {
  grad__progress *p = m->progress;
  double square = vec_dot(m->n, m->g, m->g), f = VEC_INF;
  bool fixed = m->options.learning_rate > 0;
  double begun = p->own[OWN_RATE];
  *found = true;
  if (!fixed) p->own[OWN_RATE] *= 1.1;
  for (int trial = 0; trial < 80; trial++) {
    vec_add_scaled(m->n, m->x, -p->own[OWN_RATE], m->g, next_z);
    if (fixed) return GRAD_OK;
    grad_status status = grad__minimizer_f(m, next_z, &f);
    if (status != GRAD_OK) return status;
    if ((f < p->f || trial < 2) && f <= p->f - 0.5 * p->own[OWN_RATE] * square + (trial < 2 ? 4e-16 * fabs(p->f) : 0))
      return GRAD_OK;
    p->own[OWN_RATE] *= 0.5;
  }
  p->own[OWN_RATE] = begun;
  *found = false;
  return GRAD_OK;
}

/* trial_x = next_z + momentum; without momentum when that turns uphill. */
static void extrapolate(grad_minimizer *m, const double *z, const double *next_z) {
  grad__progress *p = m->progress;
  double uphill = 0, theta = p->own[OWN_THETA];
  for (int64_t i = 0; i < m->n; i++) uphill += m->g[i] * (next_z[i] - z[i]);
  if (p->own[OWN_HAS_Z] == 0 || uphill > 0) theta = 1;
  double next = 0.5 * (1 + sqrt(1 + 4 * theta * theta));
  double momentum = p->own[OWN_HAS_Z] == 0 || uphill > 0 ? 0 : (theta - 1) / next;
  for (int64_t i = 0; i < m->n; i++) m->trial_x[i] = next_z[i] + momentum * (next_z[i] - z[i]);
  p->own[OWN_THETA] = next;
}

static grad_status evaluate(grad_minimizer *m, const double *next_z, double *f) {
  grad_status status = grad__minimizer_f_gradient(m, m->trial_x, f, m->trial_g);
  if (status != GRAD_OK || isfinite(*f)) return status;
  vec_copy(m->n, next_z, m->trial_x); /* momentum left the region where f is finite */
  m->progress->own[OWN_THETA] = 1;
  return grad__minimizer_f_gradient(m, m->trial_x, f, m->trial_g);
}

static grad_status step(grad_minimizer *m) {
  double *z = grad__minimizer_own(m, NESTEROV_Z), *next_z = grad__minimizer_own(m, NESTEROV_NEXT_Z);
  grad__move move = {.direction = grad__minimizer_own(m, NESTEROV_MOVE), .alpha = 1};
  bool found = false;
  vec_scaled(m->n, -1, m->g, next_z);
  grad__move descent = {.direction = next_z, .slope0 = -vec_dot(m->n, m->g, m->g)};
  grad_status status = gradient_step(m, next_z, &found);
  if (status != GRAD_OK) return status;
  if (!found) {
    vec_scaled(m->n, -1, m->g, next_z);
    bool tiny = m->progress->own[OWN_RATE] * -descent.slope0 <= 1e-13 * fabs(m->progress->f);
    status = grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &descent);
    bool precision = tiny && (grad_failure)m->progress->failure == GRAD_FAILURE_LINE_SEARCH;
    if (status != GRAD_OK || !precision) return status;
    m->progress->failure = GRAD_FAILURE_NONE;
    return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  }
  extrapolate(m, z, next_z);
  status = evaluate(m, next_z, &move.f);
  if (status != GRAD_OK) return status;
  if (!isfinite(move.f)) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  double *direction = grad__minimizer_own(m, NESTEROV_MOVE);
  vec_sub(m->n, m->trial_x, m->x, direction);
  move.slope0 = vec_dot(m->n, m->g, direction);
  move.slope1 = vec_dot(m->n, m->trial_g, direction);
  status = grad__minimizer_accept(m, &move);
  if (status != GRAD_OK) return status;
  vec_copy(m->n, next_z, z);
  m->progress->own[OWN_HAS_Z] = 1;
  return GRAD_OK;
}

const grad__method grad__method_nesterov = {.id = GRAD_METHOD_NESTEROV, .layout = layout, .begin = begin, .step = step};

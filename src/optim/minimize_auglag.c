/* minimize_auglag.c: A. R. Conn, N. I. M. Gould, P. L. Toint (1991), "A globally convergent augmented Lagrangian
 * algorithm", SIAM J. Numer. Anal. 28, with the inequalities of R. T. Rockafellar (1974) and the safeguards of
 * E. G. Birgin, J. M. Martinez (2014), "Practical augmented Lagrangian methods". One iteration is one minimization of
 * the augmented Lagrangian by another method, bounds being left to that. */
#include "optim/constrained.h"

enum { AL_C, AL_JACOBIAN, AL_TRIAL_Y };
enum { OWN_PENALTY, OWN_TOL, OWN_PRIOR, OWN_STALLS, OWN_STILL };

static void layout(grad_minimizer *m) {
  grad__minimizer_array(m, "c", m->constraints, true);
  grad__minimizer_array(m, "jacobian", grad__minimizer_product(m->constraints, m->n), false);
  grad__minimizer_array(m, "trial_multipliers", m->constraints, false);
}

/* What the multiplier of constraint i becomes at c, which is also its weight in the gradient. */
static double updated(const grad_minimizer *m, const double *c, int64_t i) {
  double y = m->multipliers[i] - m->progress->own[OWN_PENALTY] * c[i];
  return i < m->problem.equalities ? y : fmax(0, y);
}

/* f and gradient of the augmented Lagrangian; callback of the inner minimizer. */
static grad_status inner_f_gradient(void *user, const double *x, double *f, double *gradient) {
  grad_minimizer *m = user;
  double *c = grad__minimizer_own(m, AL_C), *jacobian = grad__minimizer_own(m, AL_JACOBIAN),
         penalty = m->progress->own[OWN_PENALTY];
  bool finite = false, finite_jacobian = false;
  grad_status status = grad__minimizer_f_gradient(m, x, f, gradient);
  if (status != GRAD_OK || !isfinite(*f)) return status;
  status = grad__constraints_eval(m, x, c, &finite);
  if (status == GRAD_OK && finite) status = grad__constraints_jacobian(m, x, jacobian, &finite_jacobian);
  if (status != GRAD_OK) return status;
  if (!finite || !finite_jacobian) *f = VEC_INF;
  for (int64_t i = 0; i < m->constraints && isfinite(*f); i++) {
    double y = m->multipliers[i], next = updated(m, c, i);
    *f += (next * next - y * y) / (2 * penalty);
    vec_axpy(m->n, -next, jacobian + i * m->n, gradient);
  }
  return GRAD_OK;
}

/* The inner run must not outlive the limits of the whole. */
static bool inner_on_step(void *user, const grad_step_info *info) {
  const grad_minimizer *m = user;
  const grad_minimize_options *o = &m->options;
  (void)info;
  bool late = o->max_seconds > 0 && grad__seconds() - m->began >= o->max_seconds;
  return late || (o->max_eval > 0 && m->progress->f_count >= (double)o->max_eval);
}

static grad_status prepare(grad_minimizer *m) {
  grad_minimize_options options = m->options;
  grad_problem problem = {
      .n = m->n, .user = m, .f_gradient = inner_f_gradient, .lower = m->problem.lower, .upper = m->problem.upper};
  options.method = m->options.inner == GRAD_METHOD_AUTO ? GRAD_METHOD_LBFGSB : m->options.inner;
  options.f_tol = options.x_tol = options.max_seconds = 0;
  options.target = -VEC_INF;
  options.max_iter = 1000;
  options.max_eval = 0;
  options.on_step = inner_on_step;
  options.on_step_user = m;
  return grad_minimizer_new(m->ctx, &problem, &options, m->x, &m->inner);
}

static grad_status begin(grad_minimizer *m) {
  grad__progress *p = m->progress;
  double *c = grad__minimizer_own(m, AL_C), square = 0;
  bool finite = false;
  grad_status status = grad__constraints_eval(m, m->x, c, &finite);
  if (status != GRAD_OK) return status;
  if (!finite) return grad__minimizer_fail(m, GRAD_FAILURE_NOT_FINITE, NULL);
  for (int64_t i = 0; i < m->constraints; i++)
    square += grad__constraint_violation(m, c, i) * grad__constraint_violation(m, c, i);
  p->violation = p->own[OWN_PRIOR] = grad__constraints_violation(m, c);
  double balanced =
      square > 0 ? 10 * fmax(1, fabs(p->f)) / (0.5 * square) : 10; /* Birgin-Martinez (2014), section 12.4 */
  p->own[OWN_PENALTY] = m->options.penalty > 0 ? m->options.penalty : vec_clamp(balanced, 1e-3, 1e3);
  p->own[OWN_TOL] = fmax(m->options.tol, 1e-2);
  return GRAD_OK;
}

/* The multipliers and the penalty for the next iteration; c belongs to the trial point. */
static void update(grad_minimizer *m, const double *c) {
  grad__progress *p = m->progress;
  double measure = 0; /* of feasibility and complementarity */
  for (int64_t i = 0; i < m->constraints; i++) {
    double limit = m->multipliers[i] / p->own[OWN_PENALTY];
    measure = fmax(measure, fabs(i < m->problem.equalities ? c[i] : fmin(c[i], limit)));
    m->multipliers[i] = vec_clamp(updated(m, c, i), -1e15, 1e15);
  }
  bool progress = measure <= 0.5 * p->own[OWN_PRIOR] || measure <= m->options.constraint_tol;
  p->own[OWN_STALLS] = measure <= 0.9 * p->own[OWN_PRIOR] ? 0 : p->own[OWN_STALLS] + 1;
  if (!progress) p->own[OWN_PENALTY] *= 10;
  p->own[OWN_PRIOR] = measure;
  p->own[OWN_TOL] = fmax(0.5 * m->options.tol, fmin(0.1 * p->own[OWN_TOL], 0.1 * measure));
}

static grad_status commit(grad_minimizer *m, const grad_minimize_result *inner) {
  double *c = grad__minimizer_own(m, AL_C), f = VEC_INF;
  bool finite = false;
  vec_copy(m->n, inner->x, m->trial_x);
  grad_status status = grad__minimizer_f_gradient(m, m->trial_x, &f, m->trial_g);
  if (status == GRAD_OK) status = grad__constraints_eval(m, m->trial_x, c, &finite);
  if (status != GRAD_OK) return status;
  m->progress->violation = grad__constraints_violation(m, c);
  update(m, c);
  vec_sub(m->n, m->trial_x, m->x, m->inner->trial_x);
  double norm = inner->gradient_norm, step = vec_norm2(m->n, m->inner->trial_x);
  for (int64_t i = m->problem.equalities; i < m->constraints; i++)
    norm = fmax(norm, m->multipliers[i] * fmin(fabs(c[i]), 1));
  grad__minimizer_commit(m, f, norm, step);
  if ((grad_stop)m->progress->stop != GRAD_STOP_RUNNING) return GRAD_OK;
  bool hopeless = m->progress->own[OWN_PENALTY] > 1e14 || m->progress->own[OWN_STALLS] >= 8;
  if (hopeless && m->progress->violation > m->options.constraint_tol)
    return grad__minimizer_fail(m, GRAD_FAILURE_INFEASIBLE, NULL);
  bool still = inner->stop != GRAD_STOP_GRADIENT && step <= 1e-12 * (1 + vec_norm2(m->n, m->x));
  m->progress->own[OWN_STILL] = still ? m->progress->own[OWN_STILL] + 1 : 0;
  if (m->progress->own[OWN_STILL] < 3) return GRAD_OK;
  /* The penalty's rounding, not f's, is what a line search on a feasible point fails at. */
  bool precise = m->constraints > 0 && m->progress->violation <= m->options.constraint_tol;
  bool failed = inner->stop == GRAD_STOP_FAILED && !(precise && inner->failure == GRAD_FAILURE_LINE_SEARCH);
  return failed ? grad__minimizer_fail(m, inner->failure, NULL) : grad__minimizer_stop(m, GRAD_STOP_PRECISION);
}

static grad_status step(grad_minimizer *m) {
  grad__progress *p = m->progress;
  grad_minimize_result inner;
  for (int attempt = 0; attempt < 12; attempt++) {
    grad__minimizer_restart(m->inner, m->x, p->own[OWN_TOL]);
    grad_status status = grad_minimizer_run(m->inner);
    if (status != GRAD_OK) return status;
    grad_minimizer_result(m->inner, &inner);
    if (inner.failure != GRAD_FAILURE_UNBOUNDED) break;
    p->own[OWN_PENALTY] *= 10; /* the penalty does not outweigh f yet */
  }
  if (inner.failure == GRAD_FAILURE_UNBOUNDED || inner.failure == GRAD_FAILURE_INCONSISTENT ||
      inner.failure == GRAD_FAILURE_NOT_FINITE)
    return grad__minimizer_fail(m, inner.failure, NULL);
  return commit(m, &inner);
}

const grad__method grad__method_auglag = {.id = GRAD_METHOD_AUGLAG,
                                          .traits = GRAD__TAKES_CONSTRAINTS | GRAD__TAKES_BOUNDS | GRAD__MONOTONE,
                                          .layout = layout,
                                          .begin = begin,
                                          .step = step,
                                          .prepare = prepare};

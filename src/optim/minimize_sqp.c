/* minimize_sqp.c: M. J. D. Powell (1978), "A fast algorithm for nonlinearly constrained optimization calculations":
 * damped BFGS of the Lagrangian, steps from quadratic programs, a line search on the exact penalty function, with the
 * second-order correction of R. Fletcher (1982) against the Maratos effect. Where the linearized constraints contradict
 * each other, they are relaxed by one more variable. */
#include "optim/constrained.h"
#include "optim/quadratic_program.h"

#include <float.h>

enum {
  SQP_B,
  SQP_C,
  SQP_JACOBIAN,
  SQP_WEIGHTS, /* saved */
  SQP_D,
  SQP_CORRECTED,
  SQP_Y,
  SQP_TRIAL_C,
  SQP_BY,
  SQP_LAGRANGIAN,
  SQP_OFFSETS,
  SQP_NORMALS,
  SQP_MATRIX,
  SQP_GRADIENT,
  SQP_BOUNDS,
  SQP_WORK
};
enum { OWN_UPDATES, OWN_RELAXED, OWN_STALLS, OWN_PRIOR, OWN_SCALE };

static void layout(grad_minimizer *m) {
  const int64_t n = m->n, rows = m->constraints;
  const int64_t square = grad__minimizer_product(n + 1, n + 1), entries = grad__minimizer_product(rows, n + 1);
  grad__minimizer_array(m, "b", square, true);
  grad__minimizer_array(m, "c", rows, true);
  grad__minimizer_array(m, "jacobian", entries, true);
  grad__minimizer_array(m, "weights", rows, true);
  grad__minimizer_array(m, "d", n + 1, false);
  grad__minimizer_array(m, "corrected", n + 1, false);
  grad__minimizer_array(m, "y", rows, false);
  grad__minimizer_array(m, "trial_c", rows, false);
  grad__minimizer_array(m, "by", n, false);
  grad__minimizer_array(m, "lagrangian", n, false);
  grad__minimizer_array(m, "offsets", rows, false);
  grad__minimizer_array(m, "normals", entries, false);
  grad__minimizer_array(m, "matrix", square, false);
  grad__minimizer_array(m, "qp_gradient", n + 1, false);
  grad__minimizer_array(m, "qp_bounds", 2 * (n + 1), false);
  grad__minimizer_array(m, "qp_work", grad__qp_work(n + 1, rows), false);
}

static void reset(grad_minimizer *m) {
  double *b = grad__minimizer_own(m, SQP_B);
  vec_fill(m->n * m->n, 0, b);
  for (int64_t i = 0; i < m->n; i++) b[i * (m->n + 1)] = 1;
  m->progress->own[OWN_UPDATES] = 0;
}

static grad_status begin(grad_minimizer *m) {
  double *c = grad__minimizer_own(m, SQP_C);
  bool finite = false, finite_jacobian = false;
  grad_status status = grad__constraints_eval(m, m->x, c, &finite);
  if (status == GRAD_OK)
    status = grad__constraints_jacobian(m, m->x, grad__minimizer_own(m, SQP_JACOBIAN), &finite_jacobian);
  if (status != GRAD_OK) return status;
  if (!finite || !finite_jacobian) return grad__minimizer_fail(m, GRAD_FAILURE_NOT_FINITE, NULL);
  m->progress->violation = grad__constraints_violation(m, c);
  m->progress->own[OWN_SCALE] = 1 + fabs(m->progress->f);
  reset(m);
  return GRAD_OK;
}

/* The quadratic program at x with constraint values `offsets`; d of n entries. */
static grad__qp_end solve_plain(grad_minimizer *m, const double *offsets, double *d) {
  double *bounds = grad__minimizer_own(m, SQP_BOUNDS);
  int64_t n = m->n;
  for (int64_t i = 0; i < n; i++) {
    bounds[i] = m->problem.lower ? m->problem.lower[i] - m->x[i] : -VEC_INF;
    bounds[n + i] = m->problem.upper ? m->problem.upper[i] - m->x[i] : VEC_INF;
  }
  grad__qp qp = {.n = n,
                 .equalities = m->problem.equalities,
                 .rows = m->constraints,
                 .matrix = grad__minimizer_own(m, SQP_B),
                 .gradient = m->g,
                 .normals = grad__minimizer_own(m, SQP_JACOBIAN),
                 .offsets = offsets,
                 .lower = bounds,
                 .upper = bounds + n,
                 .x = d,
                 .multipliers = grad__minimizer_own(m, SQP_Y),
                 .work = grad__minimizer_own(m, SQP_WORK)};
  return grad__qp_solve(&qp);
}

/* One more variable t in [0, 1], at a price, by whose share the violated constraints are let off; d = 0, t = 1 is
 * always allowed. *relaxed: t. */
static grad__qp_end solve_relaxed(grad_minimizer *m, double *d, double *relaxed) {
  int64_t n = m->n, w = n + 1;
  const double *b = grad__minimizer_own(m, SQP_B), *c = grad__minimizer_own(m, SQP_C),
               *j = grad__minimizer_own(m, SQP_JACOBIAN);
  double *matrix = grad__minimizer_own(m, SQP_MATRIX), *gradient = grad__minimizer_own(m, SQP_GRADIENT);
  double *normals = grad__minimizer_own(m, SQP_NORMALS), *bounds = grad__minimizer_own(m, SQP_BOUNDS);
  double price = 1e4 * fmax(1, vec_norm_inf(n, m->g));
  vec_fill(w * w, 0, matrix);
  for (int64_t i = 0; i < n; i++) vec_copy(n, b + i * n, matrix + i * w);
  matrix[n * w + n] = price;
  vec_copy(n, m->g, gradient);
  gradient[n] = price;
  for (int64_t i = 0; i < m->constraints; i++) {
    vec_copy(n, j + i * n, normals + i * w);
    normals[i * w + n] = i < m->problem.equalities || c[i] < 0 ? -c[i] : 0;
  }
  for (int64_t i = 0; i < n; i++) {
    bounds[i] = m->problem.lower ? m->problem.lower[i] - m->x[i] : -VEC_INF;
    bounds[w + i] = m->problem.upper ? m->problem.upper[i] - m->x[i] : VEC_INF;
  }
  bounds[n] = 0;
  bounds[w + n] = 1;
  grad__qp qp = {.n = w,
                 .equalities = m->problem.equalities,
                 .rows = m->constraints,
                 .matrix = matrix,
                 .gradient = gradient,
                 .normals = normals,
                 .offsets = c,
                 .lower = bounds,
                 .upper = bounds + w,
                 .x = d,
                 .multipliers = grad__minimizer_own(m, SQP_Y),
                 .work = grad__minimizer_own(m, SQP_WORK)};
  grad__qp_end end = grad__qp_solve(&qp);
  *relaxed = d[n];
  return end;
}

static double penalty(const grad_minimizer *m, const double *c) {
  const double *weights = grad__minimizer_own(m, SQP_WEIGHTS);
  double sum = 0;
  for (int64_t i = 0; i < m->constraints; i++) sum += weights[i] * grad__constraint_violation(m, c, i);
  return sum;
}

/* Powell's rule: large enough for the penalty to be exact, falling slowly. */
static void raise_weights(grad_minimizer *m) {
  double *weights = grad__minimizer_own(m, SQP_WEIGHTS);
  const double *y = grad__minimizer_own(m, SQP_Y);
  for (int64_t i = 0; i < m->constraints; i++) weights[i] = fmax(fabs(y[i]), 0.5 * (weights[i] + fabs(y[i])));
}

/* f + penalty at x + alpha d; Inf where something is not finite. */
static grad_status merit(grad_minimizer *m, double alpha, const double *d, double *f, double *value) {
  double *c = grad__minimizer_own(m, SQP_TRIAL_C);
  bool finite = false;
  vec_add_scaled(m->n, m->x, alpha, d, m->trial_x);
  for (int64_t i = 0; grad__minimizer_bounded(m) && i < m->n; i++)
    m->trial_x[i] = vec_clamp(m->trial_x[i], m->problem.lower[i], m->problem.upper[i]);
  grad_status status = grad__minimizer_f(m, m->trial_x, f);
  if (status == GRAD_OK && isfinite(*f)) status = grad__constraints_eval(m, m->trial_x, c, &finite);
  *value = finite ? *f + penalty(m, c) : VEC_INF;
  return status;
}

typedef struct search {
  double merit0, slope; /* the penalty function and its predicted change for a full step */
  double f, alpha;
  double *d; /* what was taken */
  bool found, seen_finite;
} search;

static bool enough(const search *s, double alpha, double value) {
  return isfinite(value) && value <= s->merit0 + 1e-4 * alpha * s->slope + 16 * DBL_EPSILON * fabs(s->merit0);
}

/* The full step failed: bend it along the constraints. */
static grad_status correct(grad_minimizer *m, search *s) {
  double *offsets = grad__minimizer_own(m, SQP_OFFSETS), *bent = grad__minimizer_own(m, SQP_CORRECTED), value = VEC_INF;
  const double *c = grad__minimizer_own(m, SQP_TRIAL_C), *j = grad__minimizer_own(m, SQP_JACOBIAN);
  for (int64_t i = 0; i < m->constraints; i++) offsets[i] = c[i] - vec_dot(m->n, j + i * m->n, s->d);
  double *y = grad__minimizer_own(m, SQP_Y), *kept = grad__minimizer_own(m, SQP_NORMALS);
  vec_copy(m->constraints, y, kept);
  grad__qp_end end = solve_plain(m, offsets, bent);
  vec_copy(m->constraints, kept, y);
  if (end != GRAD__QP_OK) return GRAD_OK;
  grad_status status = merit(m, 1, bent, &s->f, &value);
  if (status != GRAD_OK || !enough(s, 1, value)) return status;
  s->found = true;
  s->alpha = 1;
  s->d = bent;
  return GRAD_OK;
}

static grad_status find_step(grad_minimizer *m, search *s) {
  double alpha = 1, value = VEC_INF;
  for (int trial = 0; trial < 40; trial++) {
    grad_status status = merit(m, alpha, s->d, &s->f, &value);
    if (status != GRAD_OK) return status;
    s->seen_finite |= isfinite(value);
    if (enough(s, alpha, value)) {
      s->found = true;
      s->alpha = alpha;
      return GRAD_OK;
    }
    if (trial == 0 && isfinite(value)) {
      status = correct(m, s);
      if (status != GRAD_OK || s->found) return status;
    }
    double best = -0.5 * s->slope * alpha * alpha / (value - s->merit0 - alpha * s->slope);
    alpha = isfinite(value) ? vec_clamp(best, 0.1 * alpha, 0.5 * alpha) : 0.25 * alpha;
  }
  return GRAD_OK;
}

/* Powell's damped BFGS with s = trial_x - x and the change of the Lagrangian's gradient, before acceptance. */
static void update(grad_minimizer *m, const double *old_jacobian_part, double *step) {
  double *b = grad__minimizer_own(m, SQP_B), *bs = grad__minimizer_own(m, SQP_BY),
         *y = grad__minimizer_own(m, SQP_LAGRANGIAN);
  int64_t n = m->n;
  vec_sub(n, m->trial_x, m->x, step);
  vec_sub(n, y, old_jacobian_part, y);
  double sy = vec_dot(n, step, y), ss = vec_dot(n, step, step);
  if (!(ss > 0)) return;
  if (m->progress->own[OWN_UPDATES] == 0 && sy > 0) {
    double first = vec_clamp(vec_dot(n, y, y) / sy, 1e-4, 1e4);
    for (int64_t i = 0; i < n; i++) b[i * (n + 1)] = first;
  }
  for (int64_t i = 0; i < n; i++) bs[i] = vec_dot(n, b + i * n, step);
  double sbs = vec_dot(n, step, bs), share = sy >= 0.2 * sbs ? 1 : 0.8 * sbs / (sbs - sy);
  for (int64_t i = 0; i < n; i++) y[i] = share * y[i] + (1 - share) * bs[i];
  sy = vec_dot(n, step, y);
  if (!(sy > 0)) return;
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < n; k++) b[i * n + k] += y[i] * y[k] / sy - bs[i] * bs[k] / sbs;
  m->progress->own[OWN_UPDATES]++;
}

static grad_status accept(grad_minimizer *m, const search *s) {
  double *c = grad__minimizer_own(m, SQP_C), *j = grad__minimizer_own(m, SQP_JACOBIAN),
         *y = grad__minimizer_own(m, SQP_Y);
  double *lagrangian = grad__minimizer_own(m, SQP_LAGRANGIAN), *before = grad__minimizer_own(m, SQP_GRADIENT);
  double *new_jacobian = grad__minimizer_own(m, SQP_NORMALS), *moved = grad__minimizer_own(m, SQP_CORRECTED);
  bool finite = false, finite_jacobian = false;
  grad_status status = grad__minimizer_gradient(m, m->trial_x, m->trial_g, &finite);
  if (status == GRAD_OK) status = grad__constraints_jacobian(m, m->trial_x, new_jacobian, &finite_jacobian);
  if (status != GRAD_OK) return status;
  if (!finite || !finite_jacobian) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  grad__constraints_lagrangian(m, m->g, j, y, before);
  grad__constraints_lagrangian(m, m->trial_g, new_jacobian, y, lagrangian);
  vec_copy(m->constraints, y, m->multipliers);
  vec_copy(m->constraints, grad__minimizer_own(m, SQP_TRIAL_C), c);
  double kkt = grad__constraints_kkt(m, m->trial_x, lagrangian, c, y);
  update(m, before, moved);
  vec_copy(m->constraints * m->n, new_jacobian, j);
  m->progress->violation = grad__constraints_violation(m, c);
  grad__minimizer_commit(m, s->f, kkt, vec_norm2(m->n, moved));
  /* B's rounding limits the length of a step, and with it how low f gets. */
  if (m->progress->f < -1e12 * m->progress->own[OWN_SCALE])
    return grad__minimizer_fail(m, GRAD_FAILURE_UNBOUNDED, NULL);
  return GRAD_OK;
}

/* No step lowers the penalty function: the conditions hold here with the new multipliers, or it is time to say why not.
 */
static grad_status give_up(grad_minimizer *m, const search *s) {
  double *lagrangian = grad__minimizer_own(m, SQP_LAGRANGIAN), *y = grad__minimizer_own(m, SQP_Y);
  const double *c = grad__minimizer_own(m, SQP_C);
  grad__constraints_lagrangian(m, m->g, grad__minimizer_own(m, SQP_JACOBIAN), y, lagrangian);
  double kkt = grad__constraints_kkt(m, m->x, lagrangian, c, y);
  if (kkt < m->progress->gradient_norm) {
    m->progress->gradient_norm = kkt;
    vec_copy(m->constraints, y, m->multipliers);
  }
  bool feasible = m->progress->violation <= m->options.constraint_tol;
  if (feasible && m->progress->gradient_norm <= m->options.tol) return grad__minimizer_stop(m, GRAD_STOP_GRADIENT);
  if (-s->slope <= 1e-10 * fmax(1, fabs(s->merit0)))
    return feasible ? grad__minimizer_stop(m, GRAD_STOP_PRECISION)
                    : grad__minimizer_fail(m, GRAD_FAILURE_INFEASIBLE, NULL);
  if (!s->seen_finite) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  const double *d = grad__minimizer_own(m, SQP_D);
  grad__move move = {.direction = d, .slope0 = vec_dot(m->n, m->g, d)};
  return grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &move);
}

/* The step of the quadratic program, relaxed if it must be, and what it promises. */
static bool find_direction(grad_minimizer *m, search *s) {
  const double *c = grad__minimizer_own(m, SQP_C), *b = grad__minimizer_own(m, SQP_B);
  double relaxed = 0, curvature = 0;
  grad__qp_end end = solve_plain(m, c, s->d);
  if (end == GRAD__QP_INFEASIBLE) end = solve_relaxed(m, s->d, &relaxed);
  if (end != GRAD__QP_OK || !vec_finite(m->n, s->d)) return false;
  m->progress->own[OWN_RELAXED] = relaxed;
  raise_weights(m);
  s->merit0 = m->progress->f + penalty(m, c);
  s->slope = vec_dot(m->n, m->g, s->d) - (1 - relaxed) * penalty(m, c);
  for (int64_t i = 0; i < m->n; i++) curvature += s->d[i] * vec_dot(m->n, b + i * m->n, s->d);
  if (s->slope > -0.1 * curvature) s->slope = -0.1 * curvature; /* rounding in nearly contradictory constraints */
  return true;
}

/* Let off nearly everything again and again, and no closer for it. */
static bool hopeless(grad_minimizer *m) {
  double *own = m->progress->own;
  bool stalled = own[OWN_RELAXED] > 0.9 && m->progress->violation >= 0.99 * own[OWN_PRIOR];
  own[OWN_STALLS] = stalled ? own[OWN_STALLS] + 1 : 0;
  own[OWN_PRIOR] = m->progress->violation;
  return own[OWN_STALLS] >= 10 && m->progress->violation > m->options.constraint_tol;
}

static grad_status step(grad_minimizer *m) {
  if (hopeless(m)) return grad__minimizer_fail(m, GRAD_FAILURE_INFEASIBLE, NULL);
  for (int attempt = 0; attempt < 2; attempt++) { /* the second time from steepest descent */
    search s = {.d = grad__minimizer_own(m, SQP_D)};
    bool fresh = m->progress->own[OWN_UPDATES] == 0;
    if (find_direction(m, &s)) {
      grad_status status = find_step(m, &s);
      if (status != GRAD_OK) return status;
      if (s.found) return accept(m, &s);
      if (fresh || attempt == 1 || -s.slope <= 1e-10 * fmax(1, fabs(s.merit0))) return give_up(m, &s);
    } else if (fresh) {
      return grad__minimizer_fail(m, GRAD_FAILURE_SINGULAR, NULL);
    }
    reset(m);
  }
  return grad__minimizer_fail(m, GRAD_FAILURE_SINGULAR, NULL);
}

const grad__method grad__method_sqp = {.id = GRAD_METHOD_SQP,
                                       .traits = GRAD__TAKES_CONSTRAINTS | GRAD__TAKES_BOUNDS | GRAD__MONOTONE,
                                       .layout = layout,
                                       .begin = begin,
                                       .step = step};

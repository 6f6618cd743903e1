/* minimize_newton.c: Newton's method with a line search; where the Hessian is not positive definite, a multiple of the
 * identity is added to it (J. Nocedal, S. Wright (2006), section 3.4). */
#include "optim/dense.h"
#include "optim/line_search.h"

enum { NEWTON_HESSIAN, NEWTON_FACTOR, NEWTON_DIRECTION, NEWTON_SCRATCH };

static void layout(grad_minimizer *m) {
  const int64_t square = grad__minimizer_product(m->n, m->n);
  grad__minimizer_array(m, "hessian", square, false);
  grad__minimizer_array(m, "factor", square, false);
  grad__minimizer_array(m, "direction", m->n, false);
  grad__minimizer_array(m, "scratch", grad__minimizer_product(2, m->n), false);
}

static grad_status step(grad_minimizer *m) {
  double *hessian = grad__minimizer_own(m, NEWTON_HESSIAN), *factor = grad__minimizer_own(m, NEWTON_FACTOR);
  double *direction = grad__minimizer_own(m, NEWTON_DIRECTION);
  bool moved = false;
  grad_status status = grad__minimizer_hessian(m, grad__minimizer_own(m, NEWTON_SCRATCH), hessian);
  if (status != GRAD_OK) return status;
  if (isinf(grad__dense_cholesky_shifted(m->n, hessian, vec_norm2(m->n, m->g), factor)))
    return grad__minimizer_fail(m, GRAD_FAILURE_SINGULAR, NULL);
  vec_scaled(m->n, -1, m->g, direction);
  grad__dense_cholesky_solve(m->n, factor, direction);
  grad__line line = {.rule = m->options.line_search,
                     .direction = direction,
                     .f0 = m->progress->f,
                     .slope0 = vec_dot(m->n, m->g, direction),
                     .first = 1};
  if (!(line.slope0 < 0)) return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  return grad__line_advance(m, &line, &moved);
}

const grad__method grad__method_newton = {
    .id = GRAD_METHOD_NEWTON, .traits = GRAD__USES_HESSIAN | GRAD__MONOTONE, .layout = layout, .step = step};

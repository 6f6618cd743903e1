/* minimize_gn.c: Gauss-Newton with a line search (A. Bjorck (1996), "Numerical methods for least squares problems",
 * section 9.2): fast where residuals are small or nearly linear, and where lm's damping is not wanted. */
#include "optim/line_search.h"
#include "optim/squares.h"

static void layout(grad_minimizer *m) { grad__squares_layout(m, 0); }

static grad_status step(grad_minimizer *m) {
  double *p = grad__minimizer_own(m, SQUARES_STEP);
  grad__damped d;
  bool moved = false;
  grad__squares_factor(m, &d);
  grad__damped_solve(&d, VEC_INF, p);
  grad__line line = {
      .rule = GRAD_LINE_ARMIJO, .direction = p, .f0 = m->progress->f, .slope0 = vec_dot(m->n, m->g, p), .first = 1};
  if (!(line.slope0 < 0)) return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
  grad_status status = grad__line_advance(m, &line, &moved);
  if (status != GRAD_OK) return status;
  return moved ? grad__squares_keep(m) : grad__squares_refresh(m);
}

const grad__method grad__method_gn = {.id = GRAD_METHOD_GN,
                                      .traits = GRAD__TAKES_RESIDUALS | GRAD__MONOTONE,
                                      .layout = layout,
                                      .begin = grad__squares_keep,
                                      .step = step,
                                      .polish = grad__squares_polish};

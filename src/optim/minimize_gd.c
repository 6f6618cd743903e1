/* minimize_gd.c: gradient descent. The first trial step is that of Barzilai and Borwein (1988), "Two-point step size
 * gradient methods", IMA J. Numer. Anal. 8; the line search (strong Wolfe unless asked otherwise) makes it monotone. */
#include "optim/line_search.h"

enum { GD_DIRECTION };

static void layout(grad_minimizer *m) { grad__minimizer_array(m, "direction", m->n, false); }

/* own[0]: the step to try first; 0 at the start. */
static double first_step(const grad_minimizer *m) {
  if (m->progress->own[0] > 0) return m->progress->own[0];
  if (m->options.initial_step > 0) return m->options.initial_step / vec_norm2(m->n, m->g);
  return fmin(1, 1 / vec_norm2(m->n, m->g));
}

static grad_status step(grad_minimizer *m) {
  double *direction = grad__minimizer_own(m, GD_DIRECTION);
  bool moved = false;
  vec_scaled(m->n, -1, m->g, direction);
  grad__line line = {.rule = m->options.line_search,
                     .direction = direction,
                     .f0 = m->progress->f,
                     .slope0 = -vec_dot(m->n, m->g, m->g),
                     .first = first_step(m)};
  grad_status status = grad__line_advance(m, &line, &moved);
  if (status != GRAD_OK || !moved) return status;
  double curvature = line.alpha * (line.slope - line.slope0); /* s'y / alpha, s = -alpha g */
  double bb = curvature > 0 ? -line.alpha * line.alpha * line.slope0 / curvature : 2 * line.alpha;
  m->progress->own[0] = vec_clamp(bb, 1e-10 * line.alpha, 1e10 * line.alpha);
  return GRAD_OK;
}

const grad__method grad__method_gd = {GRAD_METHOD_GD, GRAD__MONOTONE, layout, NULL, step};

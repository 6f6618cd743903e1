/* minimize_gd.c: gradient descent with the step of J. Barzilai, J. Borwein (1988), "Two-point step size gradient
 * methods", IMA J. Numer. Anal. 8, made global as M. Raydan (1997) does: f must fall below the largest of its last ten
 * values, so that the long steps the method lives by are seldom cut. With another line search than Armijo's it is
 * monotone. */
#include "optim/line_search.h"

enum { GD_RECENT, GD_DIRECTION };
enum { OWN_FIRST }; /* the step to try first; 0 at the start */
enum { RECENT = 10 };

static void layout(grad_minimizer *m) {
  grad__minimizer_array(m, "recent_f", RECENT, true);
  grad__minimizer_array(m, "direction", m->n, false);
}

static grad_status begin(grad_minimizer *m) {
  vec_fill(RECENT, m->progress->f, grad__minimizer_own(m, GD_RECENT));
  return GRAD_OK;
}

static double first_step(const grad_minimizer *m) {
  double length = vec_norm2(m->n, m->g);
  if (m->progress->own[OWN_FIRST] > 0) return m->progress->own[OWN_FIRST];
  return m->options.initial_step > 0 ? m->options.initial_step / length : fmin(1, 1 / length);
}

static grad_status step(grad_minimizer *m) {
  double *direction = grad__minimizer_own(m, GD_DIRECTION), *recent = grad__minimizer_own(m, GD_RECENT);
  bool monotone = m->options.line_search > GRAD_LINE_ARMIJO, moved = false;
  double highest = m->progress->f;
  for (int i = 0; i < RECENT && !monotone; i++) highest = fmax(highest, recent[i]);
  vec_scaled(m->n, -1, m->g, direction);
  grad__line line = {.rule = monotone ? m->options.line_search : GRAD_LINE_ARMIJO,
                     .direction = direction,
                     .f0 = highest,
                     .slope0 = -vec_dot(m->n, m->g, m->g),
                     .first = first_step(m)};
  grad_status status = grad__line_advance(m, &line, &moved);
  if (status != GRAD_OK || !moved) return status;
  double curvature = line.alpha * (line.slope - line.slope0); /* s'y / alpha, s = -alpha g */
  double bb = curvature > 0 ? -line.alpha * line.alpha * line.slope0 / curvature : 2 * line.alpha;
  m->progress->own[OWN_FIRST] = vec_clamp(bb, 1e-10 * line.alpha, 1e10 * line.alpha);
  recent[(int64_t)m->progress->iteration % RECENT] = m->progress->f;
  return GRAD_OK;
}

const grad__method grad__method_gd = {.id = GRAD_METHOD_GD, .layout = layout, .begin = begin, .step = step};

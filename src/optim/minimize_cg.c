/* minimize_cg.c: nonlinear conjugate gradients: R. Fletcher, C. Reeves (1964); E. Polak, G. Ribiere (1969) with
 * J. C. Gilbert, J. Nocedal's (1992) nonnegative beta; M. R. Hestenes, E. Stiefel (1952). Restarted where successive
 * gradients are far from orthogonal (M. J. D. Powell (1977)) or the direction is no descent. */
#include "optim/line_search.h"

enum { CG_DIRECTION };
enum { OWN_SLOPE, OWN_ALPHA }; /* of the last step; 0 before it */

static void layout(grad_minimizer *m) { grad__minimizer_array(m, "direction", m->n, true); }

static double conjugacy(const grad_minimizer *m, const double *direction) {
  const double *g = m->g, *prior = m->trial_g; /* after acceptance */
  double gg = vec_dot(m->n, g, g), cross = vec_dot(m->n, g, prior), old = vec_dot(m->n, prior, prior);
  switch (m->options.cg_update) {
  case GRAD_CG_FR:
    return fabs(cross) >= 0.2 * gg ? 0 : gg / old;
  case GRAD_CG_HS: {
    double dy = vec_dot(m->n, direction, g) - vec_dot(m->n, direction, prior);
    return dy > 0 ? fmax(0, (gg - cross) / dy) : 0;
  }
  case GRAD_CG_PR_PLUS:
    break;
  }
  return fmax(0, (gg - cross) / old);
}

static double first_step(const grad_minimizer *m, double slope) {
  const grad__progress *p = m->progress;
  double length = vec_norm2(m->n, m->g);
  if (p->own[OWN_ALPHA] > 0) return fmin(p->own[OWN_ALPHA] * p->own[OWN_SLOPE] / slope, 100 * p->own[OWN_ALPHA]);
  return m->options.initial_step > 0 ? m->options.initial_step / length : fmin(1, 1 / length);
}

static grad_status begin(grad_minimizer *m) {
  vec_scaled(m->n, -1, m->g, grad__minimizer_own(m, CG_DIRECTION));
  return GRAD_OK;
}

static grad_status search(grad_minimizer *m, grad__line *line) {
  const double *direction = grad__minimizer_own(m, CG_DIRECTION);
  double slope = vec_dot(m->n, m->g, direction);
  *line = (grad__line){
      .rule = m->options.line_search, .direction = direction, .f0 = m->progress->f, .slope0 = slope, .c2 = 0.1};
  line->first = first_step(m, slope);
  return grad__line_search(m, line);
}

static grad_status step(grad_minimizer *m) {
  double *direction = grad__minimizer_own(m, CG_DIRECTION);
  grad__progress *p = m->progress;
  grad__line line;
  bool moved = false;
  grad_status status = search(m, &line);
  if (status == GRAD_OK && line.end != GRAD__LINE_OK && line.end != GRAD__LINE_UNBOUNDED && p->own[OWN_ALPHA] > 0) {
    begin(m); /* once more along the gradient */
    p->own[OWN_ALPHA] = 0;
    status = search(m, &line);
  }
  if (status == GRAD_OK) status = grad__line_settle(m, &line, &moved);
  if (status != GRAD_OK || !moved) return status;
  p->own[OWN_ALPHA] = line.alpha;
  p->own[OWN_SLOPE] = line.slope0;
  double beta = conjugacy(m, direction);
  for (int64_t i = 0; i < m->n; i++) direction[i] = beta * direction[i] - m->g[i];
  if (!(vec_dot(m->n, direction, m->g) < 0)) begin(m);
  return GRAD_OK;
}

const grad__method grad__method_cg = {
    .id = GRAD_METHOD_CG, .traits = GRAD__MONOTONE, .layout = layout, .begin = begin, .step = step};

/* minimize_lbfgs.c: D. C. Liu, J. Nocedal (1989), "On the limited memory BFGS method for large scale optimization",
 * Math. Program. 45: the two-loop recursion over the last `memory` pairs. A pair enters only from an accepted, finite
 * step of enough curvature. */
#include "optim/line_search.h"

enum { LBFGS_S, LBFGS_Y, LBFGS_RHO, LBFGS_WEIGHT, LBFGS_DIRECTION };
enum { OWN_COUNT, OWN_NEXT }; /* pairs held; the slot the next one goes to */

static void layout(grad_minimizer *m) {
  int64_t memory = m->options.memory, size = -1;
  if (!grad__mul_i64(memory, m->n, &size)) size = -1;
  grad__minimizer_array(m, "s", size, true);
  grad__minimizer_array(m, "y", size, true);
  grad__minimizer_array(m, "rho", memory, true);
  grad__minimizer_array(m, "weight", memory, false);
  grad__minimizer_array(m, "direction", m->n, false);
}

static int64_t slot_back(const grad_minimizer *m, int64_t back) {
  int64_t memory = m->options.memory;
  return ((int64_t)m->progress->own[OWN_NEXT] - 1 - back + memory) % memory;
}

/* direction = -H g. */
static void find_direction(grad_minimizer *m) {
  const double *s = grad__minimizer_own(m, LBFGS_S), *y = grad__minimizer_own(m, LBFGS_Y);
  const double *rho = grad__minimizer_own(m, LBFGS_RHO);
  double *weight = grad__minimizer_own(m, LBFGS_WEIGHT), *q = grad__minimizer_own(m, LBFGS_DIRECTION);
  int64_t n = m->n, count = (int64_t)m->progress->own[OWN_COUNT];
  vec_scaled(n, -1, m->g, q);
  for (int64_t back = 0; back < count; back++) {
    int64_t k = slot_back(m, back);
    weight[k] = rho[k] * vec_dot(n, s + k * n, q);
    vec_axpy(n, -weight[k], y + k * n, q);
  }
  if (count > 0) {
    int64_t k = slot_back(m, 0);
    vec_scale(n, 1 / (rho[k] * vec_dot(n, y + k * n, y + k * n)), q);
  }
  for (int64_t back = count - 1; back >= 0; back--) {
    int64_t k = slot_back(m, back);
    vec_axpy(n, weight[k] - rho[k] * vec_dot(n, y + k * n, q), s + k * n, q);
  }
}

/* After acceptance: the prior point and gradient are the trial arrays. */
static void remember(grad_minimizer *m) {
  grad__progress *p = m->progress;
  int64_t n = m->n, k = (int64_t)p->own[OWN_NEXT], memory = m->options.memory;
  double *s = grad__minimizer_own(m, LBFGS_S) + k * n, *y = grad__minimizer_own(m, LBFGS_Y) + k * n;
  vec_sub(n, m->x, m->trial_x, s);
  vec_sub(n, m->g, m->trial_g, y);
  double sy = vec_dot(n, s, y);
  if (!(sy > 2.2e-16 * vec_dot(n, y, y))) return;
  grad__minimizer_own(m, LBFGS_RHO)[k] = 1 / sy;
  p->own[OWN_NEXT] = (double)((k + 1) % memory);
  p->own[OWN_COUNT] = fmin(p->own[OWN_COUNT] + 1, (double)memory);
}

static grad_status search_line(grad_minimizer *m, grad__line *line) {
  bool fresh = m->progress->own[OWN_COUNT] == 0;
  find_direction(m);
  const double *direction = grad__minimizer_own(m, LBFGS_DIRECTION);
  *line = (grad__line){.rule = m->options.line_search, .direction = direction, .f0 = m->progress->f, .first = 1};
  line->slope0 = vec_dot(m->n, m->g, direction);
  if (fresh) {
    double length = vec_norm2(m->n, m->g);
    line->first = m->options.initial_step > 0 ? m->options.initial_step / length : fmin(1, 1 / length);
  }
  return grad__line_search(m, line);
}

static grad_status step(grad_minimizer *m) {
  grad__line line;
  bool moved = false;
  grad_status status = search_line(m, &line);
  bool stale = line.end != GRAD__LINE_OK && line.end != GRAD__LINE_UNBOUNDED && m->progress->own[OWN_COUNT] > 0;
  if (status == GRAD_OK && stale) { /* the pairs may mislead: once more along the gradient */
    m->progress->own[OWN_COUNT] = 0;
    status = search_line(m, &line);
  }
  if (status == GRAD_OK) status = grad__line_settle(m, &line, &moved);
  if (status == GRAD_OK && moved) remember(m);
  return status;
}

const grad__method grad__method_lbfgs = {GRAD_METHOD_LBFGS, GRAD__MONOTONE, layout, NULL, step, NULL, NULL};

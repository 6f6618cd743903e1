/* minimize_bfgs.c: Broyden, Fletcher, Goldfarb, Shanno (1970), as J. Nocedal, S. Wright (2006), algorithm 6.1: the
 * inverse Hessian is kept, scaled by s'y / y'y before its first update (their 6.20). */
#include "optim/line_search.h"

enum { BFGS_H, BFGS_DIRECTION, BFGS_S, BFGS_Y, BFGS_HY };
enum { OWN_UPDATES };

static void layout(grad_minimizer *m) {
  const int64_t square = grad__minimizer_product(m->n, m->n);
  grad__minimizer_array(m, "inverse_hessian", square, true);
  grad__minimizer_array(m, "direction", m->n, false);
  grad__minimizer_array(m, "s", m->n, false);
  grad__minimizer_array(m, "y", m->n, false);
  grad__minimizer_array(m, "hy", m->n, false);
}

static void set_diagonal(grad_minimizer *m, double value) {
  double *h = grad__minimizer_own(m, BFGS_H);
  vec_fill(m->n * m->n, 0, h);
  for (int64_t i = 0; i < m->n; i++) h[i * (m->n + 1)] = value;
}

static grad_status begin(grad_minimizer *m) {
  set_diagonal(m, 1);
  return GRAD_OK;
}

/* H <- (I - rho s y') H (I - rho y s') + rho s s', after acceptance. */
static void update(grad_minimizer *m) {
  int64_t n = m->n;
  double *h = grad__minimizer_own(m, BFGS_H), *s = grad__minimizer_own(m, BFGS_S);
  double *y = grad__minimizer_own(m, BFGS_Y), *hy = grad__minimizer_own(m, BFGS_HY);
  vec_sub(n, m->x, m->trial_x, s);
  vec_sub(n, m->g, m->trial_g, y);
  double sy = vec_dot(n, s, y), yy = vec_dot(n, y, y);
  if (!(sy > 2.2e-16 * yy)) return;
  if (m->progress->own[OWN_UPDATES] == 0) set_diagonal(m, sy / yy);
  m->progress->own[OWN_UPDATES]++;
  for (int64_t i = 0; i < n; i++) hy[i] = vec_dot(n, h + i * n, y);
  double rho = 1 / sy, c = rho * (1 + rho * vec_dot(n, y, hy));
  for (int64_t i = 0; i < n; i++) {
    double a = c * s[i] - rho * hy[i], b = rho * s[i];
    for (int64_t j = 0; j < n; j++) h[i * n + j] += a * s[j] - b * hy[j];
  }
}

static grad_status search(grad_minimizer *m, grad__line *line) {
  double *direction = grad__minimizer_own(m, BFGS_DIRECTION);
  const double *h = grad__minimizer_own(m, BFGS_H);
  bool fresh = m->progress->own[OWN_UPDATES] == 0;
  for (int64_t i = 0; i < m->n; i++) direction[i] = -vec_dot(m->n, h + i * m->n, m->g);
  double slope = vec_dot(m->n, m->g, direction), length = vec_norm2(m->n, m->g);
  *line = (grad__line){
      .rule = m->options.line_search, .direction = direction, .f0 = m->progress->f, .slope0 = slope, .first = 1};
  if (fresh) line->first = m->options.initial_step > 0 ? m->options.initial_step / length : fmin(1, 1 / length);
  return grad__line_search(m, line);
}

static grad_status step(grad_minimizer *m) {
  grad__line line;
  bool moved = false;
  grad_status status = search(m, &line);
  bool stale = line.end != GRAD__LINE_OK && line.end != GRAD__LINE_UNBOUNDED && m->progress->own[OWN_UPDATES] > 0;
  if (status == GRAD_OK && stale) { /* once more along the gradient */
    m->progress->own[OWN_UPDATES] = 0;
    set_diagonal(m, 1);
    status = search(m, &line);
  }
  if (status == GRAD_OK) status = grad__line_settle(m, &line, &moved);
  if (status == GRAD_OK && moved) update(m);
  return status;
}

const grad__method grad__method_bfgs = {
    .id = GRAD_METHOD_BFGS, .traits = GRAD__MONOTONE, .layout = layout, .begin = begin, .step = step};

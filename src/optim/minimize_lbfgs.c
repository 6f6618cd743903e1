/* minimize_lbfgs.c: D. C. Liu, J. Nocedal (1989), "On the limited memory BFGS method for large scale optimization",
 * Math. Program. 45, with the inverse matrix in the compact form of R. H. Byrd, J. Nocedal, R. B. Schnabel (1994),
 * theorem 2.2: what the two-loop recursion computes, in two passes over the pairs instead of four, the first of which
 * takes in the new pair. Per iteration 4 m + 14 vectors pass through memory, the evaluation apart; 4 m is the least
 * possible, since the coefficients need all pairs' products with the gradient, and the direction needs the
 * coefficients. A pair enters only from an accepted, finite step of enough curvature. */
#include "optim/line_search.h"
#include "optim/pair_history.h"

enum { LBFGS_S, LBFGS_Y, LBFGS_SY, LBFGS_YY, LBFGS_SG, LBFGS_YG, LBFGS_A, LBFGS_B, LBFGS_WORK, LBFGS_DIRECTION };
enum { OWN_COUNT, OWN_NEXT }; /* pairs held; the slot the next one goes to */

static void layout(grad_minimizer *m) {
  const int64_t memory = m->options.memory;
  const int64_t size = grad__minimizer_product(memory, m->n), square = grad__minimizer_product(memory, memory);
  grad__minimizer_array(m, "s", size, true);
  grad__minimizer_array(m, "y", size, true);
  grad__minimizer_array(m, "sy", square, true);
  grad__minimizer_array(m, "yy", square, true);
  grad__minimizer_array(m, "s_gradient", memory, true);
  grad__minimizer_array(m, "y_gradient", memory, true);
  grad__minimizer_array(m, "a", memory, false);
  grad__minimizer_array(m, "b", memory, false);
  grad__minimizer_array(m, "work", grad__pairs_work(m->n, memory), false);
  grad__minimizer_array(m, "direction", m->n, false);
}

static grad__pairs pairs_of(const grad_minimizer *m) {
  const double *own = m->progress->own;
  return (grad__pairs){.ctx = m->ctx,
                       .n = m->n,
                       .memory = m->options.memory,
                       .count = (int64_t)own[OWN_COUNT],
                       .next = (int64_t)own[OWN_NEXT],
                       .s = grad__minimizer_own(m, LBFGS_S),
                       .y = grad__minimizer_own(m, LBFGS_Y),
                       .sy = grad__minimizer_own(m, LBFGS_SY),
                       .yy = grad__minimizer_own(m, LBFGS_YY),
                       .work = grad__minimizer_own(m, LBFGS_WORK)};
}

/* direction = -H g = S a + Y b - scale g, of which S'g and Y'g are known; returns g'direction. With R the upper
 * triangle of S'Y and D its diagonal: b = scale inv(R) S'g, a = -inv(R') ((D / scale + Y'Y) b - scale Y'g). */
static double find_direction(grad_minimizer *m) {
  const grad__pairs p = pairs_of(m);
  const double *sg = grad__minimizer_own(m, LBFGS_SG), *yg = grad__minimizer_own(m, LBFGS_YG);
  double *a = grad__minimizer_own(m, LBFGS_A), *b = grad__minimizer_own(m, LBFGS_B);
  const int64_t last = grad__pairs_slot(&p, p.count - 1) * (p.memory + 1);
  const double scale = p.count > 0 ? p.sy[last] / p.yy[last] : 1;
  for (int64_t i = p.count - 1; i >= 0; i--) {
    const double *row = p.sy + grad__pairs_slot(&p, i) * p.memory;
    b[i] = scale * sg[i];
    for (int64_t j = i + 1; j < p.count; j++) b[i] -= row[grad__pairs_slot(&p, j)] * b[j];
    b[i] /= row[grad__pairs_slot(&p, i)];
  }
  for (int64_t i = 0; i < p.count; i++) {
    const int64_t k = grad__pairs_slot(&p, i);
    const double diagonal = p.sy[k * (p.memory + 1)];
    a[i] = scale * yg[i] - diagonal / scale * b[i];
    for (int64_t j = 0; j < p.count; j++) a[i] -= p.yy[k * p.memory + grad__pairs_slot(&p, j)] * b[j];
    for (int64_t j = 0; j < i; j++) a[i] -= p.sy[grad__pairs_slot(&p, j) * p.memory + k] * a[j];
    a[i] /= diagonal;
  }
  return grad__pairs_combine(&p, a, b, -scale, m->g, grad__minimizer_own(m, LBFGS_DIRECTION));
}

/* After acceptance: the prior point and gradient are the trial arrays. */
static void remember(grad_minimizer *m) {
  grad__pairs p = pairs_of(m);
  grad__pairs_push(&p, m->x, m->trial_x, m->g, m->trial_g, grad__minimizer_own(m, LBFGS_SG),
                   grad__minimizer_own(m, LBFGS_YG));
  m->progress->own[OWN_COUNT] = (double)p.count;
  m->progress->own[OWN_NEXT] = (double)p.next;
}

static grad_status search_line(grad_minimizer *m, grad__line *line) {
  const double *direction = grad__minimizer_own(m, LBFGS_DIRECTION);
  *line = (grad__line){.rule = m->options.line_search, .direction = direction, .f0 = m->progress->f, .first = 1};
  line->slope0 = find_direction(m);
  if (m->progress->own[OWN_COUNT] == 0) {
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

const grad__method grad__method_lbfgs = {
    .id = GRAD_METHOD_LBFGS, .traits = GRAD__MONOTONE, .layout = layout, .step = step};

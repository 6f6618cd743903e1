/* minimize_lbfgsb.c: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu (1995), "A limited memory algorithm for bound constrained
 * optimization", SIAM J. Sci. Comput. 16: the generalized Cauchy point fixes the active bounds, the model is minimized
 * over the rest (direct primal method), the step is projected (J. L. Morales, J. Nocedal (2011)), then a line search.
 * Symbols t, d, p, c, r are the paper's. */
#include "optim/compact_bfgs.h"
#include "optim/line_search.h"
#include "optim/small_lu.h"

enum {
  LB_S,
  LB_Y,
  LB_SY,
  LB_SS,
  LB_YY, /* the pairs and their products */
  LB_CAUCHY,
  LB_DIRECTION,
  LB_BREAK,
  LB_HEAP, /* n each */
  LB_FIXED,
  LB_R,
  LB_P,
  LB_C,
  LB_ROW,
  LB_MC,
  LB_MROW,
  LB_K,
  LB_WORK,
  LB_PASS,
  LB_PRODUCTS,
};
enum { OWN_COUNT, OWN_NEXT, OWN_THETA };

static void layout(grad_minimizer *m) {
  static const char *const saved[] = {"s", "y", "sy", "ss", "yy"};
  static const char *const vectors[] = {"cauchy", "direction", "break", "heap", "fixed", "r"};
  static const char *const small[] = {"p", "c", "row", "mc", "mrow"};
  const int64_t memory = m->options.memory, square = memory <= 10000 ? memory * memory : -1;
  const int64_t size = grad__minimizer_product(memory, m->n);
  for (int i = 0; i < 5; i++) grad__minimizer_array(m, saved[i], i < 2 ? size : square, true);
  for (int i = 0; i < 6; i++) grad__minimizer_array(m, vectors[i], m->n, false);
  for (int i = 0; i < 5; i++) grad__minimizer_array(m, small[i], 2 * memory, false);
  grad__minimizer_array(m, "k", 4 * square, false);
  grad__minimizer_array(m, "work", 4 * square, false);
  grad__minimizer_array(m, "pass", grad__pairs_work(m->n, memory), false);
  grad__minimizer_array(m, "products", grad__compact_work(memory), false);
}

static grad__compact matrix_of(const grad_minimizer *m) {
  const double *own = m->progress->own;
  return (grad__compact){.theta = own[OWN_THETA],
                         .pairs = {.ctx = m->ctx,
                                   .n = m->n,
                                   .memory = m->options.memory,
                                   .count = (int64_t)own[OWN_COUNT],
                                   .next = (int64_t)own[OWN_NEXT],
                                   .s = grad__minimizer_own(m, LB_S),
                                   .y = grad__minimizer_own(m, LB_Y),
                                   .sy = grad__minimizer_own(m, LB_SY),
                                   .ss = grad__minimizer_own(m, LB_SS),
                                   .yy = grad__minimizer_own(m, LB_YY),
                                   .work = grad__minimizer_own(m, LB_PASS)}};
}

/* out = K^-1 v; false when K is singular. */
static bool apply_middle(const grad_minimizer *m, int64_t width, const double *v, double *out) {
  double *work = grad__minimizer_own(m, LB_WORK);
  vec_copy(width * width, grad__minimizer_own(m, LB_K), work);
  vec_copy(width, v, out);
  return grad__small_solve(width, work, out);
}

static void sift_down(double *heap, int64_t count, int64_t at, const double *key) {
  for (;;) {
    int64_t child = 2 * at + 1;
    if (child >= count) return;
    if (child + 1 < count && key[(int64_t)heap[child + 1]] < key[(int64_t)heap[child]]) child++;
    if (key[(int64_t)heap[at]] <= key[(int64_t)heap[child]]) return;
    double held = heap[at];
    heap[at] = heap[child];
    heap[child] = held;
    at = child;
  }
}

/* The breakpoints of the projected gradient path, d = -g where it moves, and the heap of finite ones. */
static int64_t find_breakpoints(const grad_minimizer *m, double *t, double *d, double *heap) {
  int64_t count = 0;
  for (int64_t i = 0; i < m->n; i++) {
    double g = m->g[i], gap = g < 0 ? m->x[i] - m->problem.upper[i] : m->x[i] - m->problem.lower[i];
    t[i] = g == 0 ? VEC_INF : gap / g;
    d[i] = t[i] > 0 ? -g : 0;
    if (t[i] > 0 && t[i] < VEC_INF) heap[count++] = (double)i;
  }
  for (int64_t i = count / 2 - 1; i >= 0; i--) sift_down(heap, count, i, t);
  return count;
}

/* Crosses the breakpoint of variable b: the model's slopes f1, f2 beyond it. */
static bool cross(grad_minimizer *m, const grad__compact *w, int64_t b, double dt, double *f1, double *f2) {
  double *p = grad__minimizer_own(m, LB_P), *c = grad__minimizer_own(m, LB_C), *row = grad__minimizer_own(m, LB_ROW);
  double *mrow = grad__minimizer_own(m, LB_MROW), *d = grad__minimizer_own(m, LB_DIRECTION),
         *cauchy = grad__minimizer_own(m, LB_CAUCHY);
  int64_t width = 2 * w->pairs.count;
  double g = m->g[b], bound = d[b] > 0 ? m->problem.upper[b] : m->problem.lower[b], z = bound - m->x[b];
  cauchy[b] = bound;
  d[b] = 0;
  grad__compact_row(w, b, row);
  if (!apply_middle(m, width, row, mrow)) return false;
  vec_axpy(width, dt, p, c);
  *f1 += dt * *f2 + g * g + w->theta * g * z - g * vec_dot(width, mrow, c);
  *f2 -= w->theta * g * g + 2 * g * vec_dot(width, mrow, p) + g * g * vec_dot(width, mrow, row);
  vec_axpy(width, g, row, p);
  return true;
}

/* Algorithm CP: the first local minimizer of the model along the projected gradient; c = W'(cauchy - x). */
static bool find_cauchy(grad_minimizer *m, const grad__compact *w) {
  double *t = grad__minimizer_own(m, LB_BREAK), *d = grad__minimizer_own(m, LB_DIRECTION),
         *heap = grad__minimizer_own(m, LB_HEAP);
  double *cauchy = grad__minimizer_own(m, LB_CAUCHY), *p = grad__minimizer_own(m, LB_P),
         *c = grad__minimizer_own(m, LB_C);
  double *mp = grad__minimizer_own(m, LB_MC), time = 0;
  int64_t width = 2 * w->pairs.count, left = find_breakpoints(m, t, d, heap);
  vec_copy(m->n, m->x, cauchy);
  vec_fill(width, 0, c);
  grad__compact_project(w, d, p);
  if (!apply_middle(m, width, p, mp)) return false;
  double f1 = -vec_dot(m->n, d, d), f2 = -w->theta * f1 - vec_dot(width, p, mp);
  const double least = 2.2e-16 * f2;
  double dt = -f1 / f2;
  while (left > 0) {
    int64_t b = (int64_t)heap[0];
    double gap = t[b] - time;
    if (dt < gap) break;
    heap[0] = heap[--left];
    sift_down(heap, left, 0, t);
    if (!cross(m, w, b, gap, &f1, &f2)) return false;
    f2 = fmax(f2, least);
    time = t[b];
    dt = -f1 / f2;
  }
  dt = isfinite(dt) ? fmax(dt, 0) : 0;
  time += dt;
  for (int64_t i = 0; i < m->n; i++)
    if (d[i] != 0) cauchy[i] = vec_clamp(m->x[i] + time * d[i], m->problem.lower[i], m->problem.upper[i]);
  vec_axpy(width, dt, p, c);
  return true;
}

static void mark_fixed(const grad_minimizer *m, const double *cauchy, double *fixed) {
  for (int64_t i = 0; i < m->n; i++) fixed[i] = cauchy[i] <= m->problem.lower[i] || cauchy[i] >= m->problem.upper[i];
}

/* The direct primal method: r becomes the step from the Cauchy point on the free variables. */
static bool minimize_free(grad_minimizer *m, const grad__compact *w, bool bounded) {
  double *r = grad__minimizer_own(m, LB_R), *c = grad__minimizer_own(m, LB_C), *mc = grad__minimizer_own(m, LB_MC);
  double *fixed = grad__minimizer_own(m, LB_FIXED), *v = grad__minimizer_own(m, LB_P),
         *k = grad__minimizer_own(m, LB_K);
  const double *cauchy = grad__minimizer_own(m, LB_CAUCHY);
  int64_t n = m->n, width = 2 * w->pairs.count;
  vec_copy(n, m->g, r);
  if (bounded) {
    if (!apply_middle(m, width, c, mc)) return false;
    for (int64_t i = 0; i < n; i++) r[i] += w->theta * (cauchy[i] - m->x[i]);
    grad__compact_combine(w, 1, r, -1, mc, r);
    for (int64_t i = 0; i < n; i++) r[i] = fixed[i] != 0 ? 0 : r[i];
  }
  grad__compact_project(w, r, v);
  grad__compact_reduce(w, fixed, grad__minimizer_own(m, LB_PRODUCTS), k);
  if (!grad__small_solve(width, k, v)) return false;
  double t = 1 / w->theta;
  grad__compact_combine(w, -t, r, -t * t, v, r);
  for (int64_t i = 0; bounded && i < n; i++) r[i] = fixed[i] != 0 ? 0 : r[i];
  return true;
}

/* direction = x_bar - x: the projection of the free step, or the free step cut at the first bound. */
static void set_direction(grad_minimizer *m, bool bounded) {
  const double *cauchy = grad__minimizer_own(m, LB_CAUCHY), *r = grad__minimizer_own(m, LB_R);
  double *direction = grad__minimizer_own(m, LB_DIRECTION), slope = 0, share = 1;
  const double *lower = m->problem.lower, *upper = m->problem.upper;
  if (!bounded) {
    vec_copy(m->n, r, direction);
    return;
  }
  for (int64_t i = 0; i < m->n; i++) {
    direction[i] = vec_clamp(cauchy[i] + r[i], lower[i], upper[i]) - m->x[i];
    slope += direction[i] * m->g[i];
  }
  if (slope < 0) return;
  for (int64_t i = 0; i < m->n; i++) {
    double room = r[i] > 0 ? upper[i] - cauchy[i] : lower[i] - cauchy[i];
    if (r[i] != 0 && r[i] * share * (r[i] > 0 ? 1 : -1) > fabs(room)) share = fmax(0, room / r[i]);
  }
  for (int64_t i = 0; i < m->n; i++) direction[i] = cauchy[i] + share * r[i] - m->x[i];
}

static void find_direction(grad_minimizer *m) {
  bool bounded = grad__minimizer_bounded(m);
  grad__compact w = matrix_of(m);
  double *r = grad__minimizer_own(m, LB_R), *fixed = grad__minimizer_own(m, LB_FIXED);
  for (int attempt = 0; attempt < 2; attempt++) { /* the second time with no pairs, where nothing is singular */
    bool fine = true;
    if (w.pairs.count == 0) w.theta = 1;
    grad__compact_middle(&w, grad__minimizer_own(m, LB_K));
    vec_fill(m->n, 0, fixed);
    if (bounded) {
      fine = find_cauchy(m, &w);
      if (fine) mark_fixed(m, grad__minimizer_own(m, LB_CAUCHY), fixed);
    }
    fine = fine && minimize_free(m, &w, bounded);
    if (fine && vec_finite(m->n, r)) break;
    w.pairs.count = 0;
    m->progress->own[OWN_COUNT] = 0;
  }
  set_direction(m, bounded);
}

/* The longest step that stays inside; Inf when no bound is in the way. */
static double longest_step(const grad_minimizer *m, const double *direction) {
  double longest = VEC_INF;
  for (int64_t i = 0; grad__minimizer_bounded(m) && i < m->n; i++) {
    double room = direction[i] > 0 ? m->problem.upper[i] - m->x[i] : m->problem.lower[i] - m->x[i];
    if (direction[i] != 0) longest = fmin(longest, room / direction[i]);
  }
  return longest < 1 && longest > 1 - 1e-10 ? 1 : longest;
}

static grad_status search(grad_minimizer *m, grad__line *line) {
  const double *direction = grad__minimizer_own(m, LB_DIRECTION);
  find_direction(m);
  double slope = vec_dot(m->n, m->g, direction), wall = longest_step(m, direction);
  *line = (grad__line){
      .rule = m->options.line_search, .direction = direction, .f0 = m->progress->f, .slope0 = slope, .first = 1};
  line->end = GRAD__LINE_FAILED;
  if (!(slope < 0) || wall == 0) return GRAD_OK;
  if (m->progress->own[OWN_COUNT] == 0) {
    double length = vec_norm2(m->n, direction);
    line->first = m->options.initial_step > 0 ? m->options.initial_step / length : fmin(1, 1 / length);
  }
  line->walled = wall < VEC_INF;
  line->longest = line->walled ? wall : 0;
  return grad__line_search(m, line);
}

static void remember(grad_minimizer *m) {
  grad__compact w = matrix_of(m);
  grad__compact_push(&w, m->x, m->trial_x, m->g, m->trial_g);
  m->progress->own[OWN_COUNT] = (double)w.pairs.count;
  m->progress->own[OWN_NEXT] = (double)w.pairs.next;
  m->progress->own[OWN_THETA] = w.theta;
}

static grad_status step(grad_minimizer *m) {
  grad__line line;
  bool moved = false;
  grad_status status = search(m, &line);
  bool stale = line.end != GRAD__LINE_OK && line.end != GRAD__LINE_UNBOUNDED && m->progress->own[OWN_COUNT] > 0;
  if (status == GRAD_OK && stale) {
    m->progress->own[OWN_COUNT] = 0;
    status = search(m, &line);
  }
  if (status == GRAD_OK) status = grad__line_settle(m, &line, &moved);
  if (status == GRAD_OK && moved) remember(m);
  return status;
}

const grad__method grad__method_lbfgsb = {
    .id = GRAD_METHOD_LBFGSB, .traits = GRAD__TAKES_BOUNDS | GRAD__MONOTONE, .layout = layout, .step = step};

/* The pairs of limited-memory methods: products, combinations and refused pairs against plain sums, for every length of
 * ring, instruction set and number of threads. That lbfgs's direction is the two-loop recursion's is tested through the
 * minimizer, which then ends on a quadratic as conjugate gradients do. */
#include "optim/pair_history.h"

#include <stdlib.h>

#include "check_ctx.h"
#include "optim/minimize.h"

enum { MEMORY = 4, MOST = 70000 };

typedef struct history {
  grad__pairs p;
  double *block, *x, *prior_x, *g, *prior_g, *out;
  double sy[MEMORY * MEMORY], ss[MEMORY * MEMORY], yy[MEMORY * MEMORY], s_g[MEMORY], y_g[MEMORY];
} history;

static double wave(int64_t i, int k) { return sin(0.7 * (double)i + 1.3 * k) + 0.1; }

static bool make(history *h, grad_ctx *ctx, int64_t n, bool with_ss) {
  const int64_t work = grad__pairs_work(n, MEMORY);
  *h = (history){.block = calloc((size_t)((2 * MEMORY + 5) * n + work + 1), sizeof(double))};
  if (!check(h->block != NULL)) return false;
  h->p = (grad__pairs){.ctx = ctx, .n = n, .memory = MEMORY, .s = h->block, .y = h->block + MEMORY * n};
  h->x = h->p.y + MEMORY * n, h->prior_x = h->x + n, h->g = h->prior_x + n, h->prior_g = h->g + n;
  h->out = h->prior_g + n, h->p.work = h->out + n;
  h->p.sy = h->sy, h->p.ss = with_ss ? h->ss : NULL, h->p.yy = h->yy;
  return true;
}

/* The k-th pair; of negative curvature when k is 5. */
static bool push(history *h, int k) {
  for (int64_t i = 0; i < h->p.n; i++) {
    const double s = wave(i, k);
    h->prior_x[i] = wave(i, k + 20), h->x[i] = h->prior_x[i] + s;
    h->prior_g[i] = wave(i, k + 40), h->g[i] = h->prior_g[i] + (k == 5 ? -1 : 1 + 0.5 * wave(i, k + 60)) * s;
  }
  return grad__pairs_push(&h->p, h->x, h->prior_x, h->g, h->prior_g, h->s_g, h->y_g);
}

static double plain_dot(int64_t n, const double *a, const double *b, const double *fixed) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += fixed && fixed[i] != 0 ? 0 : a[i] * b[i];
  return sum;
}

static const double *s_of(const history *h, int64_t i) { return h->p.s + grad__pairs_slot(&h->p, i) * h->p.n; }
static const double *y_of(const history *h, int64_t i) { return h->p.y + grad__pairs_slot(&h->p, i) * h->p.n; }

static void check_products(const history *h, const double *fixed, const double *sy, const double *ss,
                           const double *yy) {
  const int64_t n = h->p.n;
  const double tol = 1e-12 * (double)(n + 1);
  for (int64_t i = 0; i < h->p.count; i++)
    for (int64_t j = 0; j < h->p.count; j++) {
      const int64_t at = grad__pairs_slot(&h->p, i) * MEMORY + grad__pairs_slot(&h->p, j);
      check_near(yy[at], plain_dot(n, y_of(h, i), y_of(h, j), fixed), tol);
      if (ss || i <= j) check_near(sy[at], plain_dot(n, s_of(h, i), y_of(h, j), fixed), tol);
      if (ss) check_near(ss[at], plain_dot(n, s_of(h, i), s_of(h, j), fixed), tol);
    }
}

static void check_pass(grad_ctx *ctx, int64_t n, bool with_ss) {
  history h;
  double a[MEMORY], b[MEMORY];
  if (!make(&h, ctx, n, with_ss)) return;
  for (int k = 0; k < 9; k++) {
    const int64_t before = h.p.count;
    const bool kept = push(&h, k);
    check(kept == (k != 5));
    check(h.p.count == (kept ? (before < MEMORY ? before + 1 : MEMORY) : (before < MEMORY ? before : MEMORY - 1)));
    check_products(&h, NULL, h.sy, h.p.ss, h.yy);
    if (with_ss) grad__pairs_project(&h.p, h.g, h.s_g, h.y_g);
    for (int64_t i = 0; i < h.p.count; i++) {
      check_near(h.s_g[i], plain_dot(n, s_of(&h, i), h.g, NULL), 1e-12 * (double)(n + 1));
      check_near(h.y_g[i], plain_dot(n, y_of(&h, i), h.g, NULL), 1e-12 * (double)(n + 1));
      a[i] = 0.3 * (double)(i + 1), b[i] = 1 - 0.2 * (double)i;
    }
    const double slope = grad__pairs_combine(&h.p, a, b, -0.5, h.g, h.out);
    check_near(slope, plain_dot(n, h.g, h.out, NULL), 1e-12 * (double)(n + 1));
    for (int64_t at = 0; at < n; at += 1 + n / 50) {
      double want = -0.5 * h.g[at];
      for (int64_t i = 0; i < h.p.count; i++) want += a[i] * s_of(&h, i)[at] + b[i] * y_of(&h, i)[at];
      check_near(h.out[at], want, 1e-13);
    }
  }
  if (with_ss) {
    double sy[MEMORY * MEMORY], ss[MEMORY * MEMORY], yy[MEMORY * MEMORY];
    double *scratch = calloc((size_t)grad__pairs_masked_work(MEMORY), sizeof *scratch);
    for (int64_t i = 0; i < n; i++) h.out[i] = i % 3 == 0;
    grad__pairs_masked(&h.p, h.out, scratch, sy, ss, yy);
    check_products(&h, h.out, sy, ss, yy);
    free(scratch);
  }
  free(h.block);
}

/* The same bits for each instruction set and number of threads. */
static void check_bits(grad_ctx *ctx) {
  const grad_simd best = ctx->simd;
  history want, got;
  if (!make(&want, ctx, MOST, true)) return;
  grad_ctx_set_threads(ctx, 1);
  ctx->simd = GRAD_SIMD_BASELINE;
  for (int k = 0; k < 5; k++) push(&want, k);
  for (grad_simd simd = GRAD_SIMD_BASELINE; simd <= best; simd++)
    for (int threads = 1; threads <= 3; threads += 2) {
      if (!make(&got, ctx, MOST, true)) break;
      ctx->simd = simd;
      grad_ctx_set_threads(ctx, threads);
      for (int k = 0; k < 5; k++) push(&got, k);
      check(memcmp(want.sy, got.sy, sizeof got.sy) == 0 && memcmp(want.yy, got.yy, sizeof got.yy) == 0);
      free(got.block);
    }
  free(want.block);
}

/* f = sum d_i x_i^2 / 2 with five different d_i: with enough memory and nearly exact searches, few steps suffice, as
 * for conjugate gradients; with a direction that is not the recursion's they do not. */
static grad_status quadratic(void *user, const double *x, double *f, double *g) {
  const int64_t n = *(const int64_t *)user;
  *f = 0;
  for (int64_t i = 0; i < n; i++) {
    const double d = (double)(1 + i % 5 * i % 7);
    g[i] = d * x[i];
    *f += 0.5 * d * x[i] * x[i];
  }
  return GRAD_OK;
}

static void check_minimizer(grad_ctx *ctx) {
  int64_t n = 500;
  double x[500];
  grad_problem p = {.n = n, .user = &n, .f_gradient = quadratic};
  grad_minimize_options options;
  for (int64_t memory = 1; memory <= 12; memory += 11) {
    grad_minimize_result r;
    grad_minimize_defaults(&options);
    options.method = GRAD_METHOD_LBFGS, options.memory = memory, options.tol = 1e-10;
    for (int64_t i = 0; i < n; i++) x[i] = wave(i, 0);
    check(grad_minimize(ctx, &p, &options, x, &r) == GRAD_OK && r.converged);
    if (!check(r.iterations <= (memory == 1 ? 200 : 30))) fprintf(stderr, "  %s\n", r.message);
  }
}

int main(void) {
  static const int64_t lengths[] = {1, 7, 8, 1023, 1025, 16384, 16391, MOST};
  grad_ctx *ctx = check_open();
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    check_pass(ctx, lengths[i], false);
    check_pass(ctx, lengths[i], true);
  }
  history empty;
  if (make(&empty, ctx, 0, false)) check(!push(&empty, 0) && empty.p.count == 0), free(empty.block);
  check_bits(ctx);
  check_minimizer(ctx);
  grad_ctx_free(ctx);
  return check_done();
}

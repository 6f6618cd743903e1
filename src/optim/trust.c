/* trust.c: the trust region loop (J. Nocedal, S. Wright (2006), algorithm 4.1) and Steihaug's conjugate gradients. */
#include "optim/trust.h"

#include <float.h>

double grad__trust_reduction(int64_t n, const double *g, const double *hessian, const double *p) {
  double curvature = 0;
  for (int64_t i = 0; i < n; i++) curvature += p[i] * vec_dot(n, hessian + i * n, p);
  return -vec_dot(n, g, p) - 0.5 * curvature;
}

static double first_radius(const grad_minimizer *m) {
  if (m->options.initial_step > 0) return m->options.initial_step;
  double length = vec_norm2(m->n, m->g);
  return fmax(1e-3, fmin(length, fmax(1, 0.1 * vec_norm2(m->n, m->x))));
}

static void new_radius(grad__progress *p, double ratio, double length) {
  if (!(ratio >= 0.25)) p->radius = 0.25 * length;
  if (ratio > 0.75 && length >= 0.9 * p->radius)
    p->radius = fmin(2 * p->radius, 1e150); /* an exact step ends within a tenth */
}

/* The model's promise is lost in the rounding of f: a step counts when it lowers the gradient. */
static grad_status finish(grad_minimizer *m, grad__move *move) {
  double noise = 64 * DBL_EPSILON * fabs(m->progress->f);
  bool flat = isfinite(move->f) && move->f <= m->progress->f + noise;
  if (flat && grad__minimizer_norm(m, m->trial_x, m->trial_g) < 0.9 * m->progress->gradient_norm)
    return grad__minimizer_accept(m, move);
  return grad__minimizer_stop(m, GRAD_STOP_PRECISION);
}

grad_status grad__trust_step(grad_minimizer *m, grad__trust_solve solve, double *p) {
  grad__progress *progress = m->progress;
  grad__move move = {.direction = p, .alpha = 1};
  bool finite = false;
  if (progress->radius == 0) progress->radius = first_radius(m);
  for (int trial = 0; trial < 100; trial++) {
    double reduction = 0;
    grad_status status = solve(m, progress->radius, p, &reduction);
    if (status != GRAD_OK) return status;
    double length = vec_norm2(m->n, p);
    vec_add_scaled(m->n, m->x, 1, p, m->trial_x);
    status = grad__minimizer_f_gradient(m, m->trial_x, &move.f, m->trial_g);
    if (status != GRAD_OK) return status;
    move.slope0 = vec_dot(m->n, m->g, p);
    move.slope1 = isfinite(move.f) ? vec_dot(m->n, m->trial_g, p) : 0;
    if (trial == 0 && reduction <= 4 * DBL_EPSILON * fabs(progress->f)) return finish(m, &move);
    double ratio = isfinite(move.f) ? (progress->f - move.f) / reduction : -1;
    finite |= isfinite(move.f);
    new_radius(progress, ratio, length);
    if (ratio > 1e-4 && move.f < progress->f) return grad__minimizer_accept(m, &move);
    if (progress->radius <= 1e-3 * DBL_EPSILON * vec_norm2(m->n, m->x) || progress->radius < 1e-300) break;
    if (finite && reduction <= 4 * DBL_EPSILON * fabs(progress->f)) break;
  }
  if (!finite) return grad__minimizer_fail(m, GRAD_FAILURE_REGION, NULL);
  return grad__minimizer_fail(m, GRAD_FAILURE_LINE_SEARCH, &move);
}

/* The step from p along d to the radius: the positive root of |p + t d| = radius. */
static double to_radius(int64_t n, const double *p, const double *d, double radius) {
  double dd = vec_dot(n, d, d), pd = vec_dot(n, p, d), pp = vec_dot(n, p, p), gap = fmax(0, radius * radius - pp);
  double root = sqrt(pd * pd + dd * gap);
  return pd > 0 ? gap / (root + pd) : (root - pd) / dd;
}

static void hold(int64_t n, const double *fixed, double *v) {
  for (int64_t i = 0; fixed && i < n; i++)
    if (fixed[i] != 0) v[i] = 0;
}

grad_status grad__trust_cg(grad_minimizer *m, grad__cg_inner *in, double *p, double *reduction) {
  int64_t n = m->n, limit = 2 * n + 10;
  vec_fill(n, 0, p);
  vec_copy(n, m->g, in->r);
  hold(n, in->fixed, in->r);
  vec_scaled(n, -1, in->r, in->d);
  double rr = vec_dot(n, in->r, in->r);
  *reduction = 0;
  in->bent = false;
  for (int64_t k = 0; k < limit && sqrt(rr) > in->tol; k++) {
    grad_status status = grad__minimizer_hvp(m, in->d, in->scratch, in->hd);
    if (status != GRAD_OK) return status;
    hold(n, in->fixed, in->hd);
    double curvature = vec_dot(n, in->d, in->hd), dd = vec_dot(n, in->d, in->d), alpha = rr / curvature;
    bool bent = !(curvature > DBL_EPSILON * dd * 1e-8);
    if (bent && isinf(in->radius)) {
      in->bent = true;
      if (k == 0) vec_copy(n, in->d, p);
      return GRAD_OK;
    }
    double reach = isinf(in->radius) ? VEC_INF : to_radius(n, p, in->d, in->radius);
    in->bent = bent || alpha >= reach;
    if (in->bent) alpha = reach;
    vec_axpy(n, alpha, in->d, p);
    *reduction += alpha * rr - 0.5 * alpha * alpha * curvature; /* r'd = -rr */
    if (in->bent) return GRAD_OK;
    vec_axpy(n, alpha, in->hd, in->r);
    double next = vec_dot(n, in->r, in->r), beta = next / rr;
    for (int64_t i = 0; i < n; i++) in->d[i] = beta * in->d[i] - in->r[i];
    rr = next;
  }
  return GRAD_OK;
}

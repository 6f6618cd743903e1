/* minimize_trust_ncg.c: T. Steihaug (1983), "The conjugate gradient method and trust regions in large scale
 * optimization", SIAM J. Numer. Anal. 20. With bounds, the variables at (or, by D. P. Bertsekas (1982), nearly at) a
 * bound that the gradient presses on stay, and the step is projected; the projected gradient step is taken where its
 * model value is lower. */
#include "optim/trust.h"

enum { NCG_P, NCG_R, NCG_D, NCG_HD, NCG_FIXED, NCG_CAUCHY, NCG_SCRATCH };

static void layout(grad_minimizer *m) {
  static const char *const names[] = {"step", "r", "d", "hd", "fixed", "cauchy"};
  for (int i = 0; i < 6; i++) grad__minimizer_array(m, names[i], m->n, false);
  grad__minimizer_array(m, "scratch", grad__minimizer_product(2, m->n), false);
}

static void find_fixed(const grad_minimizer *m, double *fixed) {
  double near = fmin(1e-3, m->progress->gradient_norm);
  for (int64_t i = 0; i < m->n; i++) {
    bool low = m->x[i] <= m->problem.lower[i] + near && m->g[i] > 0;
    bool high = m->x[i] >= m->problem.upper[i] - near && m->g[i] < 0;
    fixed[i] = low || high;
  }
}

/* p becomes P(x + p) - x; the model's reduction there. */
static grad_status project(grad_minimizer *m, double *p, double *reduction) {
  double *hd = grad__minimizer_own(m, NCG_HD);
  for (int64_t i = 0; i < m->n; i++)
    p[i] = vec_clamp(m->x[i] + p[i], m->problem.lower[i], m->problem.upper[i]) - m->x[i];
  grad_status status = grad__minimizer_hvp(m, p, grad__minimizer_own(m, NCG_SCRATCH), hd);
  if (status == GRAD_OK) *reduction = -vec_dot(m->n, m->g, p) - 0.5 * vec_dot(m->n, p, hd);
  return status;
}

static grad_status solve_bounded(grad_minimizer *m, double radius, double *p, double *reduction) {
  double *cauchy = grad__minimizer_own(m, NCG_CAUCHY), fallback = 0, t = radius / vec_norm2(m->n, m->g);
  grad_status status = project(m, p, reduction);
  if (status != GRAD_OK) return status;
  for (int halving = 0; halving < 30; halving++, t *= 0.25) { /* descent along the projected gradient */
    vec_scaled(m->n, -t, m->g, cauchy);
    status = project(m, cauchy, &fallback);
    if (status != GRAD_OK) return status;
    if (fallback >= -0.1 * vec_dot(m->n, m->g, cauchy)) break;
  }
  if (!(fallback > *reduction)) return GRAD_OK;
  vec_copy(m->n, cauchy, p);
  *reduction = fallback;
  return GRAD_OK;
}

static grad_status solve(grad_minimizer *m, double radius, double *p, double *reduction) {
  bool bounded = grad__minimizer_bounded(m);
  double *fixed = grad__minimizer_own(m, NCG_FIXED), length = vec_norm2(m->n, m->g);
  if (bounded) find_fixed(m, fixed);
  grad__cg_inner inner = {.radius = radius,
                          .tol = fmin(0.5, sqrt(length)) * length,
                          .fixed = bounded ? fixed : NULL,
                          .r = grad__minimizer_own(m, NCG_R),
                          .d = grad__minimizer_own(m, NCG_D),
                          .hd = grad__minimizer_own(m, NCG_HD),
                          .scratch = grad__minimizer_own(m, NCG_SCRATCH)};
  if (bounded) {
    for (int64_t i = 0; i < m->n; i++) inner.r[i] = fixed[i] != 0 ? 0 : m->g[i];
    length = vec_norm2(m->n, inner.r);
    inner.tol = fmin(0.5, sqrt(length)) * length;
  }
  grad_status status = grad__trust_cg(m, &inner, p, reduction);
  return status == GRAD_OK && bounded ? solve_bounded(m, radius, p, reduction) : status;
}

static grad_status step(grad_minimizer *m) { return grad__trust_step(m, solve, grad__minimizer_own(m, NCG_P)); }

const grad__method grad__method_trust_ncg = {.id = GRAD_METHOD_TRUST_NCG,
                                             .traits = GRAD__USES_HESSIAN | GRAD__TAKES_BOUNDS | GRAD__MONOTONE,
                                             .layout = layout,
                                             .step = step};

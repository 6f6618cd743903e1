/* minimize_newton_cg.c: truncated Newton: R. S. Dembo, T. Steihaug (1983), "Truncated Newton algorithms for large-scale
 * unconstrained optimization", Math. Program. 26: conjugate gradients on the Newton equations to a tolerance that
 * tightens with the gradient, stopped at negative curvature; then a line search. */
#include "optim/line_search.h"
#include "optim/trust.h"

enum { NEWTON_CG_P, NEWTON_CG_R, NEWTON_CG_D, NEWTON_CG_HD, NEWTON_CG_SCRATCH };

static void layout(grad_minimizer *m) {
  static const char *const names[] = {"direction", "r", "d", "hd"};
  for (int i = 0; i < 4; i++) grad__minimizer_array(m, names[i], m->n, false);
  grad__minimizer_array(m, "scratch", grad__minimizer_product(2, m->n), false);
}

static grad_status step(grad_minimizer *m) {
  double *p = grad__minimizer_own(m, NEWTON_CG_P), length = vec_norm2(m->n, m->g), reduction = 0;
  grad__cg_inner inner = {.radius = VEC_INF,
                          .tol = fmin(0.5, sqrt(length)) * length,
                          .r = grad__minimizer_own(m, NEWTON_CG_R),
                          .d = grad__minimizer_own(m, NEWTON_CG_D),
                          .hd = grad__minimizer_own(m, NEWTON_CG_HD),
                          .scratch = grad__minimizer_own(m, NEWTON_CG_SCRATCH)};
  bool moved = false;
  grad_status status = grad__trust_cg(m, &inner, p, &reduction);
  if (status != GRAD_OK) return status;
  double slope = vec_dot(m->n, m->g, p);
  bool gradient_step = inner.bent && reduction == 0;
  if (!(slope < 0)) {
    vec_scaled(m->n, -1, m->g, p);
    slope = -length * length;
    gradient_step = true;
  }
  grad__line line = {.rule = m->options.line_search,
                     .direction = p,
                     .f0 = m->progress->f,
                     .slope0 = slope,
                     .first = gradient_step ? fmin(1, 1 / length) : 1};
  return grad__line_advance(m, &line, &moved);
}

const grad__method grad__method_newton_cg = {
    .id = GRAD_METHOD_NEWTON_CG, .traits = GRAD__USES_HESSIAN | GRAD__MONOTONE, .layout = layout, .step = step};

/* minimize_dogleg.c: M. J. D. Powell (1970), "A hybrid method for nonlinear equations", on the model with the Hessian,
 * shifted where it is not positive definite: the path from the steepest descent's minimizer to Newton's. */
#include "optim/dense.h"
#include "optim/trust.h"

enum { DOGLEG_HESSIAN, DOGLEG_FACTOR, DOGLEG_P, DOGLEG_NEWTON, DOGLEG_SCRATCH };

static void layout(grad_minimizer *m) {
  const int64_t square = grad__minimizer_product(m->n, m->n);
  grad__minimizer_array(m, "hessian", square, false);
  grad__minimizer_array(m, "factor", square, false);
  grad__minimizer_array(m, "step", m->n, false);
  grad__minimizer_array(m, "newton", m->n, false);
  grad__minimizer_array(m, "scratch", grad__minimizer_product(2, m->n), false);
}

static grad_status solve(grad_minimizer *m, double radius, double *p, double *reduction) {
  const double *b = grad__minimizer_own(m, DOGLEG_HESSIAN), *newton = grad__minimizer_own(m, DOGLEG_NEWTON);
  int64_t n = m->n;
  double square = vec_dot(n, m->g, m->g), curvature = 0;
  for (int64_t i = 0; i < n; i++) curvature += m->g[i] * vec_dot(n, b + i * n, m->g);
  double descent = square / curvature; /* steepest descent's step: -descent g */
  if (vec_norm2(n, newton) <= radius) {
    vec_copy(n, newton, p);
  } else if (descent * sqrt(square) >= radius) {
    vec_scaled(n, -radius / sqrt(square), m->g, p);
  } else { /* on the second leg: |u + t (newton - u)| = radius */
    double uu = descent * descent * square, ud = 0, dd = 0;
    for (int64_t i = 0; i < n; i++) {
      double u = -descent * m->g[i], d = newton[i] - u;
      ud += u * d;
      dd += d * d;
    }
    double gap = radius * radius - uu, root = sqrt(ud * ud + dd * gap);
    double t = ud > 0 ? gap / (root + ud) : (root - ud) / dd;
    for (int64_t i = 0; i < n; i++) p[i] = -(1 - t) * descent * m->g[i] + t * newton[i];
  }
  *reduction = grad__trust_reduction(n, m->g, b, p);
  return GRAD_OK;
}

static grad_status step(grad_minimizer *m) {
  double *b = grad__minimizer_own(m, DOGLEG_HESSIAN), *factor = grad__minimizer_own(m, DOGLEG_FACTOR);
  double *newton = grad__minimizer_own(m, DOGLEG_NEWTON);
  grad_status status = grad__minimizer_hessian(m, grad__minimizer_own(m, DOGLEG_SCRATCH), b);
  if (status != GRAD_OK) return status;
  double shift = grad__dense_cholesky_shifted(m->n, b, 1e-100, factor);
  if (isinf(shift)) return grad__minimizer_fail(m, GRAD_FAILURE_SINGULAR, NULL);
  for (int64_t i = 0; i < m->n; i++) b[i * (m->n + 1)] += shift;
  vec_scaled(m->n, -1, m->g, newton);
  grad__dense_cholesky_solve(m->n, factor, newton);
  return grad__trust_step(m, solve, grad__minimizer_own(m, DOGLEG_P));
}

const grad__method grad__method_dogleg = {
    .id = GRAD_METHOD_DOGLEG, .traits = GRAD__USES_HESSIAN | GRAD__MONOTONE, .layout = layout, .step = step};

/* minimize_trust_exact.c: J. J. More, D. C. Sorensen (1983), "Computing a trust region step", SIAM J. Sci. Stat.
 * Comput. 4: the multiplier lambda with |p(lambda)| = radius, by safeguarded Newton on 1/radius - 1/|p|; in the hard
 * case p is moved along a direction of least curvature, found by inverse iteration. */
#include "optim/dense.h"
#include "optim/trust.h"

#include <float.h>

enum { EXACT_HESSIAN, EXACT_FACTOR, EXACT_P, EXACT_Q, EXACT_Z, EXACT_SCRATCH };

static void layout(grad_minimizer *m) {
  const int64_t square = grad__minimizer_product(m->n, m->n);
  grad__minimizer_array(m, "hessian", square, false);
  grad__minimizer_array(m, "factor", square, false);
  grad__minimizer_array(m, "step", m->n, false);
  grad__minimizer_array(m, "q", m->n, false);
  grad__minimizer_array(m, "z", m->n, false);
  grad__minimizer_array(m, "scratch", grad__minimizer_product(2, m->n), false);
}

typedef struct range {
  double lo, hi;
} range;

/* Gershgorin's bounds on the spectrum bound lambda (section 3 of the paper). */
static range first_range(int64_t n, const double *h, double over) {
  range spectrum = {VEC_INF, -VEC_INF};
  double diagonal = VEC_INF;
  for (int64_t i = 0; i < n; i++) {
    double off = 0, d = h[i * (n + 1)];
    for (int64_t j = 0; j < n; j++) off += j == i ? 0 : fabs(h[i * n + j]);
    spectrum.lo = fmin(spectrum.lo, d - off);
    spectrum.hi = fmax(spectrum.hi, d + off);
    diagonal = fmin(diagonal, d);
  }
  return (range){fmax(0, fmax(-diagonal, over - spectrum.hi)), fmax(0, over - spectrum.lo) * (1 + 1e-10) + DBL_MIN};
}

static bool factor_at(const grad_minimizer *m, double lambda, double *factor) {
  vec_copy(m->n * m->n, grad__minimizer_own(m, EXACT_HESSIAN), factor);
  for (int64_t i = 0; i < m->n; i++) factor[i * (m->n + 1)] += lambda;
  return grad__dense_cholesky(m->n, factor);
}

/* z: nearly the unit eigenvector of the least eigenvalue of L L'; returns |L'z|^2. */
static double least_direction(int64_t n, const double *factor, double *z) {
  double inverse = 1;
  for (int64_t i = 0; i < n; i++) z[i] = 1 + 0.1 * (double)(i % 7) * (i % 2 == 0 ? 1 : -1);
  for (int k = 0; k < 4; k++) {
    vec_scale(n, 1 / vec_norm2(n, z), z);
    grad__dense_cholesky_solve(n, factor, z);
    inverse = vec_norm2(n, z);
  }
  vec_scale(n, 1 / inverse, z);
  return 1 / inverse;
}

/* p + t z on the boundary where that is as good as the exact step. */
static bool hard_case(const grad_minimizer *m, double lambda, double radius, double *p, range *r) {
  double *z = grad__minimizer_own(m, EXACT_Z);
  double least = least_direction(m->n, grad__minimizer_own(m, EXACT_FACTOR), z);
  double pz = vec_dot(m->n, p, z), gap = radius * radius - vec_dot(m->n, p, p);
  double t = gap / (sqrt(pz * pz + gap) + fabs(pz)) * (pz < 0 ? -1 : 1); /* |p + t z| = radius, the smaller |t| */
  r->lo = fmax(r->lo, lambda - least);
  double model = -vec_dot(m->n, m->g, p) + lambda * radius * radius; /* |L'p|^2 + lambda radius^2 */
  if (t * t * least > 0.19 * model) return false;
  vec_axpy(m->n, t, z, p);
  return true;
}

static grad_status solve(grad_minimizer *m, double radius, double *p, double *reduction) {
  const double *h = grad__minimizer_own(m, EXACT_HESSIAN);
  double *factor = grad__minimizer_own(m, EXACT_FACTOR), *q = grad__minimizer_own(m, EXACT_Q);
  range r = first_range(m->n, h, vec_norm2(m->n, m->g) / radius);
  double lambda = r.lo > 0 ? fmax(sqrt(r.lo * r.hi), r.lo + 0.01 * (r.hi - r.lo)) : 0;
  vec_fill(m->n, 0, p);
  for (int trial = 0; trial < 60; trial++) {
    if (!factor_at(m, lambda, factor)) {
      r.lo = fmax(r.lo, lambda);
      lambda = fmax(sqrt(r.lo * r.hi), r.lo + 0.01 * (r.hi - r.lo));
      continue;
    }
    vec_scaled(m->n, -1, m->g, p);
    grad__dense_cholesky_solve(m->n, factor, p);
    double length = vec_norm2(m->n, p);
    if (lambda == 0 && length <= radius) break;
    if (fabs(length - radius) <= 0.1 * radius) break;
    if (length < radius) {
      r.hi = fmin(r.hi, lambda);
      if (hard_case(m, lambda, radius, p, &r)) break;
    } else {
      r.lo = fmax(r.lo, lambda);
    }
    vec_copy(m->n, p, q);
    grad__dense_cholesky_forward(m->n, factor, q);
    double ratio = length / vec_norm2(m->n, q), next = lambda + ratio * ratio * (length - radius) / radius;
    lambda = next > r.lo && next < r.hi ? next
             : r.lo == 0 && next <= 0   ? 0
                                        : fmax(sqrt(r.lo * r.hi), r.lo + 0.01 * (r.hi - r.lo));
  }
  double length = vec_norm2(m->n, p);
  if (length > radius) vec_scale(m->n, radius / length, p);
  *reduction = grad__trust_reduction(m->n, m->g, h, p);
  return GRAD_OK;
}

static grad_status step(grad_minimizer *m) {
  grad_status status =
      grad__minimizer_hessian(m, grad__minimizer_own(m, EXACT_SCRATCH), grad__minimizer_own(m, EXACT_HESSIAN));
  if (status != GRAD_OK) return status;
  if (!vec_finite(m->n * m->n, grad__minimizer_own(m, EXACT_HESSIAN)))
    return grad__minimizer_fail(m, GRAD_FAILURE_SINGULAR, NULL);
  return grad__trust_step(m, solve, grad__minimizer_own(m, EXACT_P));
}

const grad__method grad__method_trust_exact = {
    .id = GRAD_METHOD_TRUST_EXACT, .traits = GRAD__USES_HESSIAN | GRAD__MONOTONE, .layout = layout, .step = step};

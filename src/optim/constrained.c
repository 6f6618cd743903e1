/* constrained.c: evaluation of constraints and the first-order conditions. */
#include "optim/constrained.h"

grad_status grad__constraints_eval(grad_minimizer *m, const double *x, double *c, bool *finite) {
  *finite = true;
  if (m->constraints == 0) return GRAD_OK;
  grad_status status = m->problem.constraints(m->problem.user, x, c);
  if (status == GRAD_OK) *finite = vec_finite(m->constraints, c);
  return status;
}

grad_status grad__constraints_jacobian(grad_minimizer *m, const double *x, double *jacobian, bool *finite) {
  *finite = true;
  if (m->constraints == 0) return GRAD_OK;
  m->progress->jac_count++;
  grad_status status = m->problem.jacobian(m->problem.user, x, jacobian);
  if (status == GRAD_OK) *finite = vec_finite(m->constraints * m->n, jacobian);
  return status;
}

double grad__constraints_violation(const grad_minimizer *m, const double *c) {
  double largest = 0;
  for (int64_t i = 0; i < m->constraints; i++) largest = fmax(largest, grad__constraint_violation(m, c, i));
  return largest;
}

void grad__constraints_lagrangian(const grad_minimizer *m, const double *g, const double *jacobian, const double *y,
                                  double *out) {
  vec_copy(m->n, g, out);
  for (int64_t i = 0; i < m->constraints; i++) vec_axpy(m->n, -y[i], jacobian + i * m->n, out);
}

double grad__constraints_kkt(const grad_minimizer *m, const double *x, const double *lagrangian, const double *c,
                             const double *y) {
  double norm = grad__minimizer_norm(m, x, lagrangian);
  for (int64_t i = m->problem.equalities; i < m->constraints; i++) norm = fmax(norm, fabs(y[i]) * fmin(fabs(c[i]), 1));
  return norm;
}

/* constrained.h: what the methods with constraints share. Multipliers y: the Lagrangian is f - y'c, y >= 0 for the
 * inequalities c >= 0. */
#ifndef GRAD_OPTIM_CONSTRAINED_H
#define GRAD_OPTIM_CONSTRAINED_H

#include "optim/minimizer.h"

/* c(x), and its Jacobian, counted; *finite tells whether all entries are. */
grad_status grad__constraints_eval(grad_minimizer *m, const double *x, double *c, bool *finite);
grad_status grad__constraints_jacobian(grad_minimizer *m, const double *x, double *jacobian, bool *finite);

/* The part of c_i that violates its constraint. */
static inline double grad__constraint_violation(const grad_minimizer *m, const double *c, int64_t i) {
  return i < m->problem.equalities ? fabs(c[i]) : fmax(0, -c[i]);
}
/* The largest one. */
double grad__constraints_violation(const grad_minimizer *m, const double *c);

/* out = g - J'y; J has m->constraints rows. */
void grad__constraints_lagrangian(const grad_minimizer *m, const double *g, const double *jacobian, const double *y,
                                  double *out);

/* The norm of the first-order conditions: of the Lagrangian's (projected) gradient, and the largest |y_i c_i| of the
 * inequalities. */
double grad__constraints_kkt(const grad_minimizer *m, const double *x, const double *lagrangian, const double *c,
                             const double *y);

#endif

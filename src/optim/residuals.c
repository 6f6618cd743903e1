/* residuals.c: sums of squares: the losses, f and its gradient from residuals and their Jacobian, and the Gauss-Newton
 * model of a loss (B. Triggs et al. (2000), "Bundle adjustment", section 4.3). */
#include "optim/jacobian_rows.h"

#include <float.h>

/* rho and its first two derivatives at z >= 0 */
typedef struct loss_value {
  double rho, first, second;
} loss_value;

static loss_value loss_at(grad_loss loss, double z) {
  double root;
  switch (loss) {
  case GRAD_LOSS_HUBER:
    if (z <= 1) break;
    root = sqrt(z);
    return (loss_value){2 * root - 1, 1 / root, -0.5 / (z * root)};
  case GRAD_LOSS_SOFT_L1:
    root = sqrt(1 + z);
    return (loss_value){2 * (root - 1), 1 / root, -0.5 / (root * root * root)};
  case GRAD_LOSS_CAUCHY:
    return (loss_value){log1p(z), 1 / (1 + z), -1 / ((1 + z) * (1 + z))};
  case GRAD_LOSS_ARCTAN:
    root = 1 + z * z;
    return (loss_value){atan(z), 1 / root, -2 * z / (root * root)};
  case GRAD_LOSS_LINEAR:
    break;
  }
  return (loss_value){z, 1, 0};
}

static double scaled_square(const grad_minimizer *m, double r) {
  return (r / m->options.f_scale) * (r / m->options.f_scale);
}

grad_status grad__residuals_f(grad_minimizer *m, const double *x, double *f) {
  const grad_problem *p = &m->problem;
  double *r = m->arrays[ARRAY_TRIAL_R].data, sum = 0;
  m->progress->f_count++;
  grad_status status = p->residual(p->user, x, r);
  if (status != GRAD_OK) return status;
  if (m->options.loss == GRAD_LOSS_LINEAR) {
    sum = vec_dot(p->residuals, r, r);
  } else {
    for (int64_t i = 0; i < p->residuals; i++) sum += loss_at(m->options.loss, scaled_square(m, r[i])).rho;
    sum *= m->options.f_scale * m->options.f_scale;
  }
  *f = isfinite(sum) ? 0.5 * sum : VEC_INF;
  return GRAD_OK;
}

grad_status grad__residuals_gradient(grad_minimizer *m, const double *x, double *gradient) {
  const grad_problem *p = &m->problem;
  const double *r = m->arrays[ARRAY_TRIAL_R].data;
  double *j = m->arrays[ARRAY_J].data;
  m->progress->jac_count++;
  grad_status status = p->residual_jacobian(p->user, x, j);
  if (status != GRAD_OK) return status;
  vec_fill(m->n, 0, gradient);
  for (int64_t i = 0; i < p->residuals; i++)
    grad__row_add(grad__jacobian_row(m, i), r[i] * loss_at(m->options.loss, scaled_square(m, r[i])).first, gradient);
  return GRAD_OK;
}

void grad__residuals_sizes(const grad_minimizer *m, double *sizes) {
  const double *r = m->arrays[ARRAY_TRIAL_R].data;
  vec_fill(m->n, 0, sizes);
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    const grad__row row = grad__jacobian_row(m, i);
    const double weight = fabs(r[i] * loss_at(m->options.loss, scaled_square(m, r[i])).first);
    for (int64_t e = 0; e < row.count; e++) sizes[row.column ? row.column[e] : e] += fabs(row.value[e]) * weight;
  }
}

void grad__residuals_model(const grad_minimizer *m, const double *r, double *weighted, double *scale) {
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    double z = scaled_square(m, r[i]);
    loss_value v = loss_at(m->options.loss, z);
    scale[i] = sqrt(fmax(v.first + 2 * v.second * z, DBL_EPSILON)); /* convex even where the loss is not */
    weighted[i] = r[i] * v.first / scale[i];
  }
}

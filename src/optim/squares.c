/* squares.c: the Gauss-Newton model at the accepted point, and the Gauss-Newton steps at the end of a run. */
#include "optim/squares.h"

#include <float.h>

void grad__squares_layout(grad_minimizer *m, int64_t extra) {
  int64_t rows = m->problem.residuals;
  grad__minimizer_array(m, "scale", m->n, true);
  grad__minimizer_array(m, "step", m->n, false);
  grad__minimizer_array(m, "weighted", rows, false);
  grad__minimizer_array(m, "row_scale", rows, false);
  grad__minimizer_array(m, "block", grad__damped_size(rows + extra, m->n), false);
}

grad_status grad__squares_keep(grad_minimizer *m) {
  vec_copy(m->problem.residuals, m->arrays[ARRAY_TRIAL_R].data, m->arrays[ARRAY_R].data);
  return GRAD_OK;
}

grad_status grad__squares_refresh(grad_minimizer *m) {
  double f = 0;
  grad_status status = grad__residuals_f(m, m->x, &f);
  return status == GRAD_OK ? grad__residuals_gradient(m, m->x, m->g) : status;
}

void grad__squares_model(grad_minimizer *m) {
  const double *j = m->arrays[ARRAY_J].data;
  double *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE), *scale = grad__minimizer_own(m, SQUARES_SCALE);
  grad__residuals_model(m, m->arrays[ARRAY_R].data, grad__minimizer_own(m, SQUARES_WEIGHTED), row_scale);
  for (int64_t k = 0; k < m->n; k++) {
    double sum = 0;
    for (int64_t i = 0; i < m->problem.residuals; i++)
      sum += (row_scale[i] * j[i * m->n + k]) * (row_scale[i] * j[i * m->n + k]);
    if (scale[k] == 0 && sum == 0) sum = 1;
    scale[k] = fmax(scale[k], sqrt(sum));
  }
}

void grad__squares_factor(grad_minimizer *m, grad__damped *d) {
  int64_t rows = m->problem.residuals;
  const double *j = m->arrays[ARRAY_J].data, *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  grad__squares_model(m);
  grad__damped_place(d, rows, m->n, grad__minimizer_own(m, SQUARES_BLOCK));
  vec_copy(rows, grad__minimizer_own(m, SQUARES_WEIGHTED), d->qtr);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t k = 0; k < m->n; k++) d->qr.columns[k * rows + i] = row_scale[i] * j[i * m->n + k];
  grad__damped_factor(d);
  d->scale = grad__minimizer_own(m, SQUARES_SCALE);
}

double grad__squares_norm(const grad_minimizer *m, const double *v) {
  const double *scale = grad__minimizer_own(m, SQUARES_SCALE);
  double sum = 0, largest = 0;
  for (int64_t i = 0; i < m->n; i++) largest = fmax(largest, fabs(scale[i] * v[i]));
  if (!(largest > 0)) return 0;
  for (int64_t i = 0; i < m->n; i++) sum += (scale[i] * v[i] / largest) * (scale[i] * v[i] / largest);
  return largest * sqrt(sum);
}

double grad__squares_reduction(const grad_minimizer *m, const double *p) {
  const double *j = m->arrays[ARRAY_J].data, *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  const double *weighted = grad__minimizer_own(m, SQUARES_WEIGHTED);
  double reduction = 0;
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    double jp = row_scale[i] * vec_dot(m->n, j + i * m->n, p);
    reduction -= jp * (weighted[i] + 0.5 * jp);
  }
  return reduction;
}

grad_status grad__squares_polish(grad_minimizer *m) {
  double *p = grad__minimizer_own(m, SQUARES_STEP), prior = VEC_INF, f = VEC_INF;
  grad__damped d;
  for (int k = 0; k < 60; k++) {
    grad__squares_factor(m, &d);
    if (d.rank < m->n) return GRAD_OK;
    grad__damped_solve(&d, VEC_INF, p);
    double length = grad__squares_norm(m, p);
    if (!(length < 0.9 * prior) || length <= 1e-14 * grad__squares_norm(m, m->x)) return GRAD_OK;
    vec_add_scaled(m->n, m->x, 1, p, m->trial_x);
    grad_status status = grad__residuals_f(m, m->trial_x, &f);
    if (status != GRAD_OK) return status;
    if (!(f <= m->progress->f * (1 + 1e-9))) return grad__squares_refresh(m);
    status = grad__residuals_gradient(m, m->trial_x, m->trial_g);
    if (status != GRAD_OK) return status;
    if (!vec_finite(m->n, m->trial_g)) return grad__squares_refresh(m);
    double norm = grad__minimizer_norm(m, m->trial_x, m->trial_g);
    if (norm > fmax(m->progress->gradient_norm, m->options.tol)) return grad__squares_refresh(m);
    prior = length;
    grad__minimizer_replace(m, f);
    grad__squares_keep(m);
  }
  return GRAD_OK;
}

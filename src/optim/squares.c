/* squares.c: the Gauss-Newton model at the accepted point, and the Gauss-Newton steps at the end of a run. */
#include "optim/squares.h"

#include "optim/jacobian_rows.h"

#include <float.h>

void grad__squares_layout(grad_minimizer *m, int64_t extra) {
  int64_t rows = m->problem.residuals;
  grad__minimizer_array(m, "scale", m->n, true);
  grad__minimizer_array(m, "step", m->n, false);
  grad__minimizer_array(m, "weighted", rows, false);
  grad__minimizer_array(m, "row_scale", rows, false);
  grad__minimizer_array(m, "block", grad__damped_size(rows + extra, m->n, m->sparse), false);
  grad__minimizer_array(m, "free", m->n, false);
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
  double *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE), *scale = grad__minimizer_own(m, SQUARES_SCALE);
  double *sums = m->arrays[ARRAY_COLUMNS].data;
  grad__residuals_model(m, m->arrays[ARRAY_R].data, grad__minimizer_own(m, SQUARES_WEIGHTED), row_scale);
  grad__jacobian_squares(m, row_scale, sums);
  for (int64_t k = 0; k < m->n; k++) scale[k] = scale[k] == 0 && sums[k] == 0 ? 1 : fmax(scale[k], sqrt(sums[k]));
}

/* The model of the columns times `free` (NULL: 1). */
static void factor(grad_minimizer *m, const double *free, grad__damped *d) {
  int64_t rows = m->problem.residuals;
  const double *j = m->arrays[ARRAY_J].data, *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  grad__squares_model(m);
  grad__damped_place(d, rows, m->n, m->sparse, grad__minimizer_own(m, SQUARES_BLOCK));
  d->scale = grad__minimizer_own(m, SQUARES_SCALE);
  d->gradient = m->g;
  d->residual = grad__minimizer_own(m, SQUARES_WEIGHTED);
  d->matrix = (grad__sparse_matrix){.values = j, .row_scale = row_scale, .column_scale = free};
  if (!m->sparse) {
    vec_copy(rows, d->residual, d->qtr);
    for (int64_t i = 0; i < rows; i++)
      for (int64_t k = 0; k < m->n; k++)
        d->qr.columns[k * rows + i] = (free ? free[k] : 1) * row_scale[i] * j[i * m->n + k];
  }
  grad__damped_factor(d);
}

void grad__squares_factor(grad_minimizer *m, grad__damped *d) { factor(m, NULL, d); }

double grad__squares_norm(const grad_minimizer *m, const double *v) {
  const double *scale = grad__minimizer_own(m, SQUARES_SCALE);
  double sum = 0, largest = 0;
  for (int64_t i = 0; i < m->n; i++) largest = fmax(largest, fabs(scale[i] * v[i]));
  if (!(largest > 0)) return 0;
  for (int64_t i = 0; i < m->n; i++) sum += (scale[i] * v[i] / largest) * (scale[i] * v[i] / largest);
  return largest * sqrt(sum);
}

double grad__squares_reduction(const grad_minimizer *m, const double *p) {
  const double *row_scale = grad__minimizer_own(m, SQUARES_ROW_SCALE);
  const double *weighted = grad__minimizer_own(m, SQUARES_WEIGHTED);
  double reduction = 0;
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    double jp = row_scale[i] * grad__row_dot(grad__jacobian_row(m, i), p);
    reduction -= jp * (weighted[i] + 0.5 * jp);
  }
  return reduction;
}

/* free = 0 for the variables on a bound, 1 for the others, which are counted. */
static int64_t find_free(const grad_minimizer *m, double *free) {
  int64_t count = 0;
  for (int64_t i = 0; i < m->n; i++) {
    bool held = grad__minimizer_bounded(m) && (m->x[i] <= m->problem.lower[i] || m->x[i] >= m->problem.upper[i]);
    free[i] = held ? 0 : 1;
    count += !held;
  }
  return count;
}

static bool inside(const grad_minimizer *m, const double *x) {
  for (int64_t i = 0; grad__minimizer_bounded(m) && i < m->n; i++)
    if (x[i] < m->problem.lower[i] || x[i] > m->problem.upper[i]) return false;
  return true;
}

grad_status grad__squares_replace(grad_minimizer *m, double highest, bool *taken) {
  double f = VEC_INF;
  *taken = false;
  grad_status status = grad__residuals_f(m, m->trial_x, &f);
  if (status != GRAD_OK) return status;
  if (!(f <= highest)) return grad__squares_refresh(m);
  status = grad__residuals_gradient(m, m->trial_x, m->trial_g);
  if (status != GRAD_OK) return status;
  double norm = vec_finite(m->n, m->trial_g) ? grad__minimizer_norm(m, m->trial_x, m->trial_g) : VEC_INF;
  if (!(norm <= fmax(m->progress->gradient_norm, m->options.tol))) return grad__squares_refresh(m);
  *taken = true;
  grad__minimizer_replace(m, f);
  return grad__squares_keep(m);
}

grad_status grad__squares_polish(grad_minimizer *m) {
  double *p = grad__minimizer_own(m, SQUARES_STEP), *free = grad__minimizer_own(m, SQUARES_FREE), prior = VEC_INF;
  grad__damped d;
  bool taken = true;
  for (int k = 0; k < 60 && taken; k++) {
    int64_t count = find_free(m, free);
    factor(m, free, &d);
    if (d.rank < count) return GRAD_OK;
    grad__damped_solve(&d, VEC_INF, p);
    double length = grad__squares_norm(m, p);
    if (!(length < 0.9 * prior) || length <= 1e-14 * grad__squares_norm(m, m->x)) return GRAD_OK;
    vec_add_scaled(m->n, m->x, 1, p, m->trial_x);
    if (!inside(m, m->trial_x)) return GRAD_OK;
    grad_status status = grad__squares_replace(m, m->progress->f * (1 + 1e-9), &taken);
    if (status != GRAD_OK) return status;
    prior = length;
  }
  return GRAD_OK;
}

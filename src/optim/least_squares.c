/* least_squares.c: covariance and standard errors of a fit (A. Bjorck (1996), "Numerical methods for least squares
 * problems", section 2.8). */
#include "optim/least_squares.h"

#include <float.h>

#include "optim/dense.h"
#include "optim/minimizer.h"

const char *grad_loss_name(grad_loss loss) {
  static const char *const names[] = {
#define XX(id, name, text) #name,
      GRAD_LOSS_MAP(XX)
#undef XX
  };
  return names[loss];
}

/* covariance = variance inv(R) inv(R)' with the columns, which were divided by `size`, put back in their places; rows
 * is scratch of n x n. */
static void fill(const grad__qr *qr, int64_t rank, double variance, const double *size, double *rows,
                 double *covariance) {
  int64_t n = qr->n;
  vec_fill(n * n, 0, covariance);
  for (int64_t k = 0; k < rank; k++) { /* rows[k] = row k of inv(R'), which is column k of inv(R) */
    double *column = rows + k * n;
    vec_fill(n, 0, column);
    column[k] = 1;
    grad__qr_back(qr, rank, column);
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) {
      double sum = 0;
      for (int64_t k = 0; k < rank; k++) sum += rows[k * n + i] * rows[k * n + j];
      int64_t a = (int64_t)qr->pivot[i], b = (int64_t)qr->pivot[j];
      bool determined = i < rank && j < rank;
      covariance[a * n + b] = covariance[b * n + a] = determined ? variance * (sum / size[a] / size[b]) : VEC_INF;
    }
}

static double variance_of(const grad_minimizer *m, double f, int64_t rank) {
  return m->problem.residuals > rank ? 2 * f / (double)(m->problem.residuals - rank) : VEC_NAN;
}

/* A sparse Jacobian's covariance is dense, and made a column at a time only when asked for; the errors are not. */
static grad_status fit_sparse(grad_minimizer *m, double f, double *covariance, double *errors, grad_fit *fit) {
  int64_t n = m->n, rows = m->problem.residuals;
  const size_t bytes = (size_t)(2 * rows + 2 * n + 1) * sizeof(double);
  double *weighted = grad__alloc(m->ctx, bytes);
  if (!weighted) return GRAD_ENOMEM;
  double *scale = weighted + rows, *variances = scale + rows, *unit = variances + n;
  grad__residuals_model(m, m->arrays[ARRAY_TRIAL_R].data, weighted, scale);
  grad__sparse_matrix matrix = {.values = m->arrays[ARRAY_J].data, .row_scale = scale};
  fit->rank = grad__sparse_qr_factor(m->sparse, &matrix, weighted);
  fit->variance = variance_of(m, f, fit->rank);
  grad_status status = grad__sparse_qr_variances(m->sparse, variances);
  for (int64_t i = 0; status == GRAD_OK && errors && i < n; i++)
    errors[i] = isinf(variances[i]) ? VEC_INF : sqrt(fit->variance * variances[i]);
  for (int64_t i = 0; status == GRAD_OK && covariance && i < n; i++) {
    vec_fill(n, 0, unit);
    unit[i] = 1;
    grad__sparse_qr_normal(m->sparse, unit, covariance + i * n);
    for (int64_t k = 0; k < n; k++)
      covariance[i * n + k] =
          isinf(variances[i]) || isinf(variances[k]) ? VEC_INF : fit->variance * covariance[i * n + k];
  }
  grad__free(m->ctx, weighted, bytes);
  return status;
}

static grad_status fit_dense(grad_minimizer *m, double f, double *covariance, double *errors, grad_fit *fit) {
  int64_t n = m->n, rows = m->problem.residuals;
  int64_t count = n * rows + 4 * n + 2 * rows + 2 * n * n;
  double *block = grad__alloc(m->ctx, (size_t)(count + 1) * sizeof *block);
  if (!block) return GRAD_ENOMEM;
  grad__qr qr = {.m = rows, .n = n, .columns = block, .tau = block + n * rows};
  qr.norm = qr.tau + n;
  qr.pivot = qr.norm + n;
  double *weighted = qr.pivot + n, *scale = weighted + rows, *inverse = scale + rows, *result = inverse + n * n;
  double *size = result + n * n;
  const double *j = m->arrays[ARRAY_J].data;
  grad__residuals_model(m, m->arrays[ARRAY_TRIAL_R].data, weighted, scale);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t k = 0; k < n; k++) qr.columns[k * rows + i] = scale[i] * j[i * n + k];
  grad__qr_unit_columns(&qr, size);
  grad__qr_factor(&qr);
  fit->rank = grad__qr_rank(&qr, DBL_EPSILON * (double)(rows > n ? rows : n));
  fit->variance = variance_of(m, f, fit->rank);
  fill(&qr, fit->rank, fit->variance, size, inverse, result);
  if (covariance) vec_copy(n * n, result, covariance);
  for (int64_t i = 0; errors && i < n; i++) errors[i] = sqrt(result[i * (n + 1)]);
  grad__free(m->ctx, block, (size_t)(count + 1) * sizeof *block);
  return GRAD_OK;
}

grad_status grad_least_squares_fit(grad_minimizer *m, double *covariance, double *errors, grad_fit *fit) {
  if (!m->problem.residual) return grad__fail(m->ctx, GRAD_EVALUE, "least_squares: the problem has no residuals");
  grad_minimize_result at;
  double f = 0;
  grad_minimizer_result(m, &at);
  grad_status status = grad__residuals_f(m, at.x, &f);
  if (status == GRAD_OK) status = grad__residuals_gradient(m, at.x, m->trial_g);
  if (status != GRAD_OK) return status;
  return m->sparse ? fit_sparse(m, f, covariance, errors, fit) : fit_dense(m, f, covariance, errors, fit);
}

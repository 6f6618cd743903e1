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

/* covariance = variance inv(R) inv(R)' with the columns put back in their places; row is scratch of n. */
static void fill(const grad__qr *qr, int64_t rank, double variance, double *rows, double *covariance) {
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
      covariance[a * n + b] = covariance[b * n + a] = determined ? variance * sum : VEC_INF;
    }
}

grad_status grad_least_squares_fit(grad_minimizer *m, double *covariance, double *errors, grad_fit *fit) {
  int64_t n = m->n, rows = m->problem.residuals;
  if (!m->problem.residual) return grad__fail(m->ctx, GRAD_EVALUE, "least_squares: the problem has no residuals");
  int64_t count = n * rows + 3 * n + 2 * rows + 2 * n * n;
  double *block = grad__alloc(m->ctx, (size_t)(count + 1) * sizeof *block);
  if (!block) return GRAD_ENOMEM;
  grad__qr qr = {.m = rows, .n = n, .columns = block, .tau = block + n * rows};
  qr.norm = qr.tau + n;
  qr.pivot = qr.norm + n;
  double *weighted = qr.pivot + n, *scale = weighted + rows, *inverse = scale + rows, *result = inverse + n * n, f = 0;
  grad_minimize_result at;
  grad_minimizer_result(m, &at);
  grad_status status = grad__residuals_f(m, at.x, &f);
  if (status == GRAD_OK) status = grad__residuals_gradient(m, at.x, m->trial_g);
  if (status == GRAD_OK) {
    const double *j = m->arrays[ARRAY_J].data;
    grad__residuals_model(m, m->arrays[ARRAY_TRIAL_R].data, weighted, scale);
    for (int64_t i = 0; i < rows; i++)
      for (int64_t k = 0; k < n; k++) qr.columns[k * rows + i] = scale[i] * j[i * n + k];
    grad__qr_factor(&qr);
    fit->rank = grad__qr_rank(&qr, DBL_EPSILON * (double)(rows > n ? rows : n));
    fit->variance = rows > fit->rank ? 2 * f / (double)(rows - fit->rank) : VEC_NAN;
    fill(&qr, fit->rank, fit->variance, inverse, result);
    if (covariance) vec_copy(n * n, result, covariance);
    for (int64_t i = 0; errors && i < n; i++) errors[i] = sqrt(result[i * (n + 1)]);
  }
  grad__free(m->ctx, block, (size_t)(count + 1) * sizeof *block);
  return status;
}

/* dense.c: Cholesky and Householder QR, of our own: hosts use the minimizers without LAPACK, a saved run must go on to
 * the same bits under any BLAS and number of threads, and for the tens of unknowns of a dense method a call into a
 * library costs as much as the work. Large systems go to the limited-memory methods and to sparse_qr.c. */
#include "optim/dense.h"

#include <float.h>

bool grad__dense_cholesky(int64_t n, double *a) {
  double largest = 0;
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, a[i * n + i]);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < i; j++) a[i * n + j] = (a[i * n + j] - vec_dot(j, a + i * n, a + j * n)) / a[j * n + j];
    double square = a[i * n + i] - vec_dot(i, a + i * n, a + i * n);
    if (!(square > DBL_EPSILON * DBL_EPSILON * largest) || isinf(square)) return false;
    a[i * n + i] = sqrt(square);
  }
  return true;
}

void grad__dense_cholesky_forward(int64_t n, const double *l, double *b) {
  for (int64_t i = 0; i < n; i++) b[i] = (b[i] - vec_dot(i, l + i * n, b)) / l[i * n + i];
}

void grad__dense_cholesky_solve(int64_t n, const double *l, double *b) {
  grad__dense_cholesky_forward(n, l, b);
  for (int64_t i = n - 1; i >= 0; i--) {
    b[i] /= l[i * n + i];
    vec_axpy(i, -b[i], l + i * n, b);
  }
}

double grad__dense_cholesky_shifted(int64_t n, const double *hessian, double least, double *work) {
  double smallest = VEC_INF, scale = 0;
  for (int64_t i = 0; i < n; i++) {
    smallest = fmin(smallest, hessian[i * n + i]);
    scale = fmax(scale, vec_norm_inf(n, hessian + i * n));
  }
  if (scale > 0) least = 1e-3 * scale;
  double shift = n == 0 || smallest > 0 ? 0 : least - smallest;
  for (int trial = 0; trial < 64; trial++, shift = fmax(2 * shift, least)) {
    vec_copy(n * n, hessian, work);
    for (int64_t i = 0; i < n; i++) work[i * (n + 1)] += shift;
    if (grad__dense_cholesky(n, work)) return shift;
  }
  return VEC_INF;
}

static void swap_columns(grad__qr *qr, int64_t j, int64_t k) {
  for (int64_t i = 0; i < qr->m; i++) {
    double held = qr->columns[j * qr->m + i];
    qr->columns[j * qr->m + i] = qr->columns[k * qr->m + i];
    qr->columns[k * qr->m + i] = held;
  }
  double held = qr->pivot[j];
  qr->pivot[j] = qr->pivot[k];
  qr->pivot[k] = held;
  qr->norm[k] = qr->norm[j];
}

/* The reflection I - tau v v', v = (1, v2), that takes column j's tail to (beta, 0); v2 is stored in its place. */
static void reflect(grad__qr *qr, int64_t j) {
  double *v = qr->columns + j * qr->m + j;
  int64_t length = qr->m - j;
  double tail = vec_norm2(length - 1, v + 1), beta = hypot(v[0], tail);
  qr->tau[j] = 0;
  if (tail == 0) return;
  if (v[0] > 0) beta = -beta;
  qr->tau[j] = (beta - v[0]) / beta;
  vec_scale(length - 1, 1 / (v[0] - beta), v + 1);
  v[0] = beta;
}

static void apply(const grad__qr *qr, int64_t j, double *b) {
  const double *v = qr->columns + j * qr->m + j;
  int64_t length = qr->m - j;
  double sum = qr->tau[j] * (b[j] + vec_dot(length - 1, v + 1, b + j + 1));
  b[j] -= sum;
  vec_axpy(length - 1, -sum, v + 1, b + j + 1);
}

static int64_t steps(const grad__qr *qr) { return qr->m < qr->n ? qr->m : qr->n; }

void grad__qr_factor(grad__qr *qr) {
  int64_t m = qr->m, n = qr->n;
  for (int64_t j = 0; j < n; j++) {
    if (qr->pivot) qr->pivot[j] = (double)j;
    qr->norm[j] = vec_norm2(m, qr->columns + j * m);
  }
  for (int64_t j = 0; j < steps(qr); j++) {
    int64_t largest = j;
    for (int64_t k = j + 1; qr->pivot && k < n; k++)
      if (qr->norm[k] > qr->norm[largest]) largest = k;
    if (largest != j) swap_columns(qr, j, largest);
    reflect(qr, j);
    for (int64_t k = j + 1; k < n; k++) {
      apply(qr, j, qr->columns + k * m);
      qr->norm[k] = qr->pivot ? vec_norm2(m - j - 1, qr->columns + k * m + j + 1) : 0;
    }
  }
}

void grad__qr_unit_columns(grad__qr *qr, double *size) {
  for (int64_t j = 0; j < qr->n; j++) {
    double *column = qr->columns + j * qr->m;
    size[j] = vec_norm2(qr->m, column);
    if (!(size[j] > 0)) size[j] = 1;
    vec_scale(qr->m, 1 / size[j], column);
  }
}

void grad__qr_project(const grad__qr *qr, double *b) {
  for (int64_t j = 0; j < steps(qr); j++) apply(qr, j, b);
}

int64_t grad__qr_rank(const grad__qr *qr, double tol) {
  int64_t rank = 0, most = steps(qr);
  double first = most > 0 ? fabs(grad__qr_r(qr, 0, 0)) : 0;
  while (rank < most && fabs(grad__qr_r(qr, rank, rank)) > tol * first) rank++;
  return rank;
}

void grad__qr_back(const grad__qr *qr, int64_t rank, double *b) {
  for (int64_t i = rank; i < qr->n; i++) b[i] = 0;
  for (int64_t j = rank - 1; j >= 0; j--) {
    b[j] /= grad__qr_r(qr, j, j);
    vec_axpy(j, -b[j], qr->columns + j * qr->m, b);
  }
}

void grad__qr_back_transposed(const grad__qr *qr, int64_t rank, double *b) {
  for (int64_t j = 0; j < rank; j++) b[j] = (b[j] - vec_dot(j, qr->columns + j * qr->m, b)) / grad__qr_r(qr, j, j);
  for (int64_t i = rank; i < qr->n; i++) b[i] = 0;
}

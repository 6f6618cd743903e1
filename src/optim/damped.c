/* damped.c: the Levenberg-Marquardt step. */
#include "optim/damped.h"

#include <float.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t grad__damped_size(int64_t m, int64_t n, bool sparse) {
  const int64_t limit = (int64_t)1 << 30;
  if (m > limit || n > limit || (!sparse && n > 0 && m > ((int64_t)1 << 40) / n)) return -1;
  return sparse ? 2 * n : n * m + 7 * n + m + 2 * n * n + (m > 2 * n ? m : 2 * n);
}

void grad__damped_place(grad__damped *d, int64_t m, int64_t n, grad__sparse_qr *sparse, double *block) {
  *d = (grad__damped){.m = m, .n = n, .sparse = sparse, .newton = block, .diagonal = block + n};
  if (sparse) return;
  d->qr = (grad__qr){.m = m, .n = n};
  d->stacked = (grad__qr){.m = smaller(m, n) + n, .n = n};
  d->size = block + n;
  d->qr.columns = block + 2 * n, block = d->qr.columns + n * m;
  d->qr.tau = block, block += n;
  d->qr.norm = block, block += n;
  d->qr.pivot = block, block += n;
  d->qtr = block, block += m;
  d->stacked.columns = block, block += 2 * n * n;
  d->stacked.tau = block, block += n;
  d->stacked.norm = block, block += n;
  d->rhs = block;
}

/* p = -inv(S) P b */
static void unpivot(const grad__damped *d, const double *b, double *p) {
  for (int64_t j = 0; j < d->n; j++) {
    int64_t k = (int64_t)d->qr.pivot[j];
    p[k] = -b[j] / d->size[k];
  }
}

static double scaled_norm(const grad__damped *d, const double *p) {
  double sum = 0, largest = 0;
  for (int64_t i = 0; i < d->n; i++) largest = fmax(largest, fabs(d->scale[i] * p[i]));
  if (!(largest > 0)) return 0;
  for (int64_t i = 0; i < d->n; i++) sum += (d->scale[i] * p[i] / largest) * (d->scale[i] * p[i] / largest);
  return largest * sqrt(sum);
}

static void undamped(grad__damped *d, const double *projected, double *p) {
  vec_copy(smaller(d->m, d->n), projected, d->rhs);
  grad__qr_back(&d->qr, d->rank, d->rhs);
  unpivot(d, d->rhs, p);
}

static void factor_sparse(grad__damped *d, double *p) {
  for (int64_t i = 0; i < d->n; i++)
    d->diagonal[i] = sqrt((d->ridge ? d->ridge[i] : 0) + d->lambda * d->scale[i] * d->scale[i]);
  d->matrix.diagonal = d->lambda > 0 || d->ridge ? d->diagonal : NULL;
  d->rank = grad__sparse_qr_factor(d->sparse, &d->matrix, d->residual);
  grad__sparse_qr_solve(d->sparse, p);
  vec_scale(d->n, -1, p);
}

static void solve_stacked(grad__damped *d, const double *projected, double *p) {
  vec_fill(d->stacked.m, 0, d->rhs);
  vec_copy(smaller(d->m, d->n), projected, d->rhs);
  grad__qr_project(&d->stacked, d->rhs);
  grad__qr_back(&d->stacked, d->n, d->rhs);
  unpivot(d, d->rhs, p);
}

/* The step with damping lambda > 0. */
static void damped(grad__damped *d, double *p) {
  int64_t n = d->n, rows = smaller(d->m, n), height = d->stacked.m;
  if (d->sparse) {
    const int64_t rank = d->rank;
    factor_sparse(d, p);
    d->rank = rank;
    return;
  }
  vec_fill(n * height, 0, d->stacked.columns);
  for (int64_t j = 0; j < n; j++) {
    const int64_t k = (int64_t)d->qr.pivot[j];
    double *column = d->stacked.columns + j * height;
    for (int64_t i = 0; i < rows && i <= j; i++) column[i] = grad__qr_r(&d->qr, i, j);
    column[rows + j] = sqrt(d->lambda) * (d->scale[k] / d->size[k]);
  }
  grad__qr_factor(&d->stacked);
  solve_stacked(d, d->qtr, p);
}

void grad__damped_resolve(grad__damped *d, double *b, const double *jtb, double *p) {
  if (d->sparse) {
    grad__sparse_qr_normal(d->sparse, jtb, p);
    vec_scale(d->n, -1, p);
    return;
  }
  grad__qr_project(&d->qr, b);
  if (d->lambda > 0) {
    solve_stacked(d, b, p);
  } else {
    undamped(d, b, p);
  }
}

/* |inv(T') v| / |D p|, Inf for p = 0, v being D^2 p, or inv(S) D^2 p where the columns are scaled, for the triangle T
 * of the last factorization: the derivative of |D p| by lambda, which Newton's step needs. */
static double sensitivity(grad__damped *d, const double *p, double length) {
  if (!(length > 0)) return VEC_INF;
  if (d->sparse) {
    for (int64_t i = 0; i < d->n; i++) d->diagonal[i] = d->scale[i] * (d->scale[i] * p[i] / length);
    return grad__sparse_qr_half_norm(d->sparse, d->diagonal);
  }
  const bool plain = d->lambda == 0;
  for (int64_t j = 0; j < d->n; j++) {
    int64_t k = (int64_t)d->qr.pivot[j];
    d->rhs[j] = d->scale[k] / d->size[k] * (d->scale[k] * p[k] / length);
  }
  grad__qr_back_transposed(plain ? &d->qr : &d->stacked, plain ? d->rank : d->n, d->rhs);
  return vec_norm2(d->n, d->rhs);
}

void grad__damped_factor(grad__damped *d) {
  if (d->sparse) {
    d->lambda = 0;
    factor_sparse(d, d->newton);
  } else {
    grad__qr_unit_columns(&d->qr, d->size);
    grad__qr_factor(&d->qr);
    grad__qr_project(&d->qr, d->qtr);
    d->rank = grad__qr_rank(&d->qr, DBL_EPSILON * (double)(d->m > d->n ? d->m : d->n));
    undamped(d, d->qtr, d->newton);
  }
  d->newton_length = scaled_norm(d, d->newton);
  d->newton_change = d->rank == d->n ? sensitivity(d, d->newton, d->newton_length) : VEC_INF;
}

/* |inv(D) J'r| / radius: an upper bound of lambda. */
static double highest(const grad__damped *d, double radius) {
  double sum = 0;
  for (int64_t i = 0; i < d->n; i++) sum += (d->gradient[i] / d->scale[i]) * (d->gradient[i] / d->scale[i]);
  return fmax(sqrt(sum) / radius, DBL_MIN);
}

void grad__damped_solve(grad__damped *d, double radius, double *p) {
  double guess = d->lambda;
  d->lambda = 0;
  vec_copy(d->n, d->newton, p);
  if (isinf(radius)) return;
  double length = d->newton_length, over = length - radius;
  if (over <= 0.1 * radius) return;
  double lo = over / radius / d->newton_change / d->newton_change, hi = highest(d, radius);
  d->lambda = vec_clamp(guess > 0 ? guess : highest(d, radius) / fmax(length, DBL_MIN) * radius, lo, hi);
  for (int trial = 0; trial < 10; trial++) {
    if (d->lambda == 0) d->lambda = fmax(DBL_MIN, 0.001 * hi);
    damped(d, p);
    length = scaled_norm(d, p);
    double before = over;
    over = length - radius;
    if (fabs(over) <= 0.1 * radius || (lo == 0 && over <= before && before < 0)) return;
    double change = sensitivity(d, p, length);
    if (over > 0) lo = fmax(lo, d->lambda);
    if (over < 0) hi = fmin(hi, d->lambda);
    d->lambda = fmax(lo, d->lambda + over / radius / change / change);
  }
}

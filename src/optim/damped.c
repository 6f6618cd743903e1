/* damped.c: the Levenberg-Marquardt step. */
#include "optim/damped.h"

#include <float.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t grad__damped_size(int64_t m, int64_t n) {
  const int64_t limit = (int64_t)1 << 30;
  if (m > limit || n > limit || (n > 0 && m > ((int64_t)1 << 40) / n)) return -1;
  return n * m + 3 * n + m + 2 * n * n + 2 * n + 2 * n;
}

void grad__damped_place(grad__damped *d, int64_t m, int64_t n, double *block) {
  *d = (grad__damped){.qr = {.m = m, .n = n}, .stacked = {.m = smaller(m, n) + n, .n = n}};
  d->qr.columns = block, block += n * m;
  d->qr.tau = block, block += n;
  d->qr.norm = block, block += n;
  d->qr.pivot = block, block += n;
  d->qtr = block, block += m;
  d->stacked.columns = block, block += 2 * n * n;
  d->stacked.tau = block, block += n;
  d->stacked.norm = block, block += n;
  d->rhs = block;
}

void grad__damped_factor(grad__damped *d) {
  grad__qr_factor(&d->qr);
  grad__qr_project(&d->qr, d->qtr);
  d->rank = grad__qr_rank(&d->qr, DBL_EPSILON * (double)(d->qr.m > d->qr.n ? d->qr.m : d->qr.n));
}

/* p[pivot[j]] = -b[j] */
static void unpivot(const grad__damped *d, const double *b, double *p) {
  for (int64_t j = 0; j < d->qr.n; j++) p[(int64_t)d->qr.pivot[j]] = -b[j];
}

static double scaled_norm(const grad__damped *d, const double *p) {
  double sum = 0, largest = 0;
  for (int64_t i = 0; i < d->qr.n; i++) largest = fmax(largest, fabs(d->scale[i] * p[i]));
  if (!(largest > 0)) return 0;
  for (int64_t i = 0; i < d->qr.n; i++) sum += (d->scale[i] * p[i] / largest) * (d->scale[i] * p[i] / largest);
  return largest * sqrt(sum);
}

static void gauss_newton(grad__damped *d, const double *projected, double *p) {
  vec_copy(smaller(d->qr.m, d->qr.n), projected, d->rhs);
  grad__qr_back(&d->qr, d->rank, d->rhs);
  unpivot(d, d->rhs, p);
}

static void factor_stacked(grad__damped *d) {
  int64_t n = d->qr.n, rows = smaller(d->qr.m, n), height = d->stacked.m;
  vec_fill(n * height, 0, d->stacked.columns);
  for (int64_t j = 0; j < n; j++) {
    double *column = d->stacked.columns + j * height;
    for (int64_t i = 0; i < rows && i <= j; i++) column[i] = grad__qr_r(&d->qr, i, j);
    column[rows + j] = sqrt(d->lambda) * d->scale[(int64_t)d->qr.pivot[j]];
  }
  grad__qr_factor(&d->stacked);
}

static void solve_stacked(grad__damped *d, const double *projected, double *p) {
  int64_t n = d->qr.n, rows = smaller(d->qr.m, n);
  vec_fill(d->stacked.m, 0, d->rhs);
  vec_copy(rows, projected, d->rhs);
  grad__qr_project(&d->stacked, d->rhs);
  grad__qr_back(&d->stacked, n, d->rhs);
  unpivot(d, d->rhs, p);
}

void grad__damped_resolve(grad__damped *d, const double *projected, double *p) {
  if (d->lambda > 0) {
    solve_stacked(d, projected, p);
  } else {
    gauss_newton(d, projected, p);
  }
}

/* |inv(T') P'D^2 p| / |D p| for the triangle T of qr: the derivative of |D p| by lambda, Newton's step needs. */
static double sensitivity(grad__damped *d, const grad__qr *triangle, int64_t rank, const double *p, double length) {
  for (int64_t j = 0; j < d->qr.n; j++) {
    int64_t k = (int64_t)d->qr.pivot[j];
    d->rhs[j] = d->scale[k] * (d->scale[k] * p[k] / length);
  }
  grad__qr_back_transposed(triangle, rank, d->rhs);
  return vec_norm2(d->qr.n, d->rhs);
}

/* |inv(D) J'r| / radius: an upper bound of lambda. */
static double highest(const grad__damped *d, double radius) {
  double sum = 0;
  int64_t rows = smaller(d->qr.m, d->qr.n);
  for (int64_t j = 0; j < d->qr.n; j++) {
    double g =
        vec_dot(j + 1 < rows ? j + 1 : rows, d->qr.columns + j * d->qr.m, d->qtr) / d->scale[(int64_t)d->qr.pivot[j]];
    sum += g * g;
  }
  return fmax(sqrt(sum) / radius, DBL_MIN);
}

void grad__damped_solve(grad__damped *d, double radius, double *p) {
  double guess = d->lambda;
  d->lambda = 0;
  gauss_newton(d, d->qtr, p);
  if (isinf(radius)) return;
  double length = scaled_norm(d, p), over = length - radius;
  if (over <= 0.1 * radius) return;
  double lo = 0, hi = highest(d, radius);
  if (d->rank == d->qr.n) {
    double change = sensitivity(d, &d->qr, d->rank, p, length);
    lo = over / radius / change / change;
  }
  d->lambda = vec_clamp(guess > 0 ? guess : highest(d, radius) / fmax(length, DBL_MIN) * radius, lo, hi);
  for (int trial = 0; trial < 10; trial++) {
    if (d->lambda == 0) d->lambda = fmax(DBL_MIN, 0.001 * hi);
    factor_stacked(d);
    solve_stacked(d, d->qtr, p);
    length = scaled_norm(d, p);
    double before = over;
    over = length - radius;
    if (fabs(over) <= 0.1 * radius || (lo == 0 && over <= before && before < 0)) return;
    double change = sensitivity(d, &d->stacked, d->qr.n, p, length);
    if (over > 0) lo = fmax(lo, d->lambda);
    if (over < 0) hi = fmin(hi, d->lambda);
    d->lambda = fmax(lo, d->lambda + over / radius / change / change);
  }
}

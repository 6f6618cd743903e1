/* small_lu.c: elimination with partial pivoting. */
#include "optim/small_lu.h"

#include <float.h>
#include <math.h>

static void swap_rows(int64_t n, double *a, double *b, int64_t i, int64_t k) {
  for (int64_t j = 0; i != k && j < n; j++) {
    double held = a[i * n + j];
    a[i * n + j] = a[k * n + j];
    a[k * n + j] = held;
  }
  double held = b[i];
  b[i] = b[k];
  b[k] = held;
}

bool grad__small_solve(int64_t n, double *a, double *b) {
  double largest = 0;
  for (int64_t i = 0; i < n * n; i++) largest = fmax(largest, fabs(a[i]));
  for (int64_t k = 0; k < n; k++) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; i++)
      if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
    if (!(fabs(a[pivot * n + k]) > DBL_EPSILON * 1e-4 * largest)) return false;
    swap_rows(n, a, b, k, pivot);
    for (int64_t i = k + 1; i < n; i++) {
      double factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
      b[i] -= factor * b[k];
    }
  }
  for (int64_t k = n - 1; k >= 0; k--) {
    for (int64_t j = k + 1; j < n; j++) b[k] -= a[k * n + j] * b[j];
    b[k] /= a[k * n + k];
  }
  return true;
}

/* vec.h: what the optimizers do with vectors of doubles. Sums run in eight interleaved partial sums, in an order that
 * depends on n alone: results are the same for every number of threads, as a continued run must repeat to the bit,
 * which a threaded BLAS does not promise. */
#ifndef GRAD_LINALG_VEC_H
#define GRAD_LINALG_VEC_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { VEC_LANES = 8 };

/* The standard's macros are floats. */
static const double VEC_INF = (double)INFINITY, VEC_NAN = (double)NAN;

static inline double vec__total(const double *lane) {
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

/* Adds to the partial sums, for a sum in pieces: all but the last of a length that VEC_LANES divides. */
static inline void vec_dot_lanes(int64_t n, const double *a, const double *b, double *lane) {
  int64_t i = 0;
  for (; i + VEC_LANES <= n; i += VEC_LANES)
    for (int k = 0; k < VEC_LANES; k++) lane[k] += a[i + k] * b[i + k];
  for (; i < n; i++) lane[i % VEC_LANES] += a[i] * b[i];
}

static inline double vec_dot(int64_t n, const double *a, const double *b) {
  double lane[VEC_LANES] = {0};
  vec_dot_lanes(n, a, b, lane);
  return vec__total(lane);
}

/* Scaled only when the plain sum of squares overflows or underflows. */
static inline double vec_norm2(int64_t n, const double *a) {
  double square = vec_dot(n, a, a), scale = 0;
  if (square > 1e-280 && square < 1e280) return sqrt(square);
  for (int64_t i = 0; i < n; i++) scale = fabs(a[i]) > scale ? fabs(a[i]) : scale;
  if (!(scale > 0) || isinf(scale)) return isnan(square) ? VEC_NAN : scale;
  square = 0;
  for (int64_t i = 0; i < n; i++) square += (a[i] / scale) * (a[i] / scale);
  return scale * sqrt(square);
}

/* The largest magnitude; NaN when any entry is. */
static inline double vec_norm_inf(int64_t n, const double *a) {
  double largest = 0;
  bool nan = false;
  for (int64_t i = 0; i < n; i++) {
    double v = fabs(a[i]);
    nan |= v != v;
    largest = v > largest ? v : largest;
  }
  return nan ? VEC_NAN : largest;
}

static inline bool vec_finite(int64_t n, const double *a) {
  double zero = 0; /* stays 0 unless an entry is Inf or NaN */
  for (int64_t i = 0; i < n; i++) zero += a[i] * 0.0;
  return zero == 0;
}

static inline void vec_copy(int64_t n, const double *from, double *to) {
  if (n > 0) memcpy(to, from, (size_t)n * sizeof *to);
}

static inline void vec_fill(int64_t n, double value, double *to) {
  for (int64_t i = 0; i < n; i++) to[i] = value;
}

static inline void vec_scale(int64_t n, double s, double *a) {
  for (int64_t i = 0; i < n; i++) a[i] *= s;
}

/* y += s x */
static inline void vec_axpy(int64_t n, double s, const double *x, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] += s * x[i];
}

/* out = a + s b; out may be a or b */
static inline void vec_add_scaled(int64_t n, const double *a, double s, const double *b, double *out) {
  for (int64_t i = 0; i < n; i++) out[i] = a[i] + s * b[i];
}

/* out = a - b */
static inline void vec_sub(int64_t n, const double *a, const double *b, double *out) {
  for (int64_t i = 0; i < n; i++) out[i] = a[i] - b[i];
}

/* out = s a */
static inline void vec_scaled(int64_t n, double s, const double *a, double *out) {
  for (int64_t i = 0; i < n; i++) out[i] = s * a[i];
}

static inline double vec_clamp(double v, double lo, double hi) { return v < lo ? lo : v > hi ? hi : v; }

#endif

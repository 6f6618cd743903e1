/* compact_bfgs.c: the compact limited-memory BFGS matrix. */
#include "optim/compact_bfgs.h"

static void shift(grad__compact *b) {
  int64_t m = b->memory, n = b->n;
  memmove(b->s, b->s + n, (size_t)((m - 1) * n) * sizeof *b->s);
  memmove(b->y, b->y + n, (size_t)((m - 1) * n) * sizeof *b->y);
  for (int64_t i = 0; i + 1 < m; i++)
    for (int64_t j = 0; j + 1 < m; j++) {
      b->sy[i * m + j] = b->sy[(i + 1) * m + j + 1];
      b->ss[i * m + j] = b->ss[(i + 1) * m + j + 1];
      b->yy[i * m + j] = b->yy[(i + 1) * m + j + 1];
    }
  b->count--;
}

bool grad__compact_push(grad__compact *b, const double *s, const double *y) {
  double curvature = vec_dot(b->n, s, y), square = vec_dot(b->n, y, y);
  if (!(curvature > 2.2e-16 * square) || b->n == 0) return false;
  if (b->count == b->memory) shift(b);
  int64_t m = b->memory, n = b->n, k = b->count++;
  vec_copy(n, s, b->s + k * n);
  vec_copy(n, y, b->y + k * n);
  for (int64_t i = 0; i <= k; i++) {
    const double *si = b->s + i * n, *yi = b->y + i * n;
    b->sy[i * m + k] = vec_dot(n, si, y);
    b->sy[k * m + i] = vec_dot(n, s, yi);
    b->ss[i * m + k] = b->ss[k * m + i] = vec_dot(n, si, s);
    b->yy[i * m + k] = b->yy[k * m + i] = vec_dot(n, yi, y);
  }
  b->theta = square / curvature;
  return true;
}

void grad__compact_project(const grad__compact *b, const double *v, double *out) {
  for (int64_t i = 0; i < b->count; i++) {
    out[i] = vec_dot(b->n, b->y + i * b->n, v);
    out[b->count + i] = b->theta * vec_dot(b->n, b->s + i * b->n, v);
  }
}

void grad__compact_row(const grad__compact *b, int64_t i, double *out) {
  for (int64_t k = 0; k < b->count; k++) {
    out[k] = b->y[k * b->n + i];
    out[b->count + k] = b->theta * b->s[k * b->n + i];
  }
}

void grad__compact_middle(const grad__compact *b, double *k) {
  int64_t c = b->count, m = b->memory, w = 2 * c;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) {
      double lower = i > j ? b->sy[i * m + j] : 0;
      k[i * w + j] = i == j ? -b->sy[i * m + i] : 0;
      k[(c + i) * w + j] = lower;
      k[j * w + c + i] = lower;
      k[(c + i) * w + c + j] = b->theta * b->ss[i * m + j];
    }
}

/* sum over the variables whose `fixed` equals `which` */
static double partial_dot(int64_t n, const double *a, const double *b, const double *fixed, double which) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += fixed[i] == which ? a[i] * b[i] : 0;
  return sum;
}

void grad__compact_reduce(const grad__compact *b, const double *fixed, double *k) {
  int64_t c = b->count, m = b->memory, w = 2 * c, n = b->n, held = 0;
  double t = b->theta;
  for (int64_t i = 0; i < n; i++) held += fixed[i] != 0;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) {
      const double *si = b->s + i * n, *sj = b->s + j * n, *yi = b->y + i * n, *yj = b->y + j * n;
      double yy = b->yy[i * m + j], sy = b->sy[i * m + j], ss = b->ss[i * m + j];
      if (held > 0) { /* sums over the free ones: the whole less the held ones cancels too much when few are free */
        yy = i <= j ? partial_dot(n, yi, yj, fixed, 0) : 0;
        ss = i <= j ? partial_dot(n, si, sj, fixed, 0) : 0;
        sy = partial_dot(n, si, yj, fixed, 0);
      }
      if (held == 0 || i <= j) k[i * w + j] -= yy / t, k[(c + i) * w + c + j] -= t * ss;
      if (held > 0 && i < j) k[j * w + i] -= yy / t, k[(c + j) * w + c + i] -= t * ss;
      k[(c + i) * w + j] -= sy;
      k[j * w + c + i] -= sy;
    }
}

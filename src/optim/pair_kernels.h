/* pair_kernels.h: the loops of pair_history.c, compiled once for each instruction set. KERNELS is their table. Vectors
 * are the compiler's (gcc, clang), which splits those that are wider than the processor's; a sum is VEC_LANES partial
 * sums, as vec_dot's, so that the bits are the same everywhere. */
#include "optim/pair_history.h"

typedef double lanes8 __attribute__((vector_size(VEC_LANES * sizeof(double)), aligned(sizeof(double)), may_alias));
#define AT(p) (*(const lanes8 *)(const void *)(p))
#define TO(p) (*(lanes8 *)(void *)(p))

enum { AHEAD = 256 }; /* elements fetched early: measured to be worth a fifth of the time when pairs come from memory */

static void dots(int64_t n, const double *s, const double *y, const double *u, const double *v, double *sums) {
  lanes8 su = AT(sums), yu = AT(sums + VEC_LANES), sv = AT(sums + 2 * VEC_LANES), yv = AT(sums + 3 * VEC_LANES);
  int64_t i = 0;
  for (; i + VEC_LANES <= n; i += VEC_LANES) {
    __builtin_prefetch(s + i + AHEAD);
    __builtin_prefetch(y + i + AHEAD);
    su += AT(s + i) * AT(u + i);
    yu += AT(y + i) * AT(u + i);
    sv += AT(s + i) * AT(v + i);
    yv += AT(y + i) * AT(v + i);
  }
  TO(sums) = su, TO(sums + VEC_LANES) = yu, TO(sums + 2 * VEC_LANES) = sv, TO(sums + 3 * VEC_LANES) = yv;
  for (; i < n; i++, sums++) {
    sums[0] += s[i] * u[i];
    sums[VEC_LANES] += y[i] * u[i];
    sums[2 * VEC_LANES] += s[i] * v[i];
    sums[3 * VEC_LANES] += y[i] * v[i];
  }
}

static void combine(int64_t n, double a, const double *s, double b, const double *y, double *restrict out) {
  int64_t i = 0;
  for (; i + VEC_LANES <= n; i += VEC_LANES) TO(out + i) += a * AT(s + i) + b * AT(y + i);
  for (; i < n; i++) out[i] += a * s[i] + b * y[i];
}

const grad__pair_kernels KERNELS = {dots, combine};

/* grad_scalar.h: what the column `scalar` of ops.def uses beside math.h: plain C for one number, at no particular
 * speed. The tests compile it with GRAD_SCALAR as long double and compare the vector kernels with it.
 */
#ifndef GRAD_SCALAR_H
#define GRAD_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <tgmath.h>

#ifndef GRAD_SCALAR
#define GRAD_SCALAR double
#endif

static inline GRAD_SCALAR grad_scalar_sign(GRAD_SCALAR a) { return a > 0 ? 1 : a < 0 ? -1 : a; }

static inline GRAD_SCALAR grad_scalar_max(GRAD_SCALAR a, GRAD_SCALAR b) { return a > b || a != a ? a : b; }

static inline GRAD_SCALAR grad_scalar_min(GRAD_SCALAR a, GRAD_SCALAR b) { return a < b || a != a ? a : b; }

/* Lua's %: the remainder takes the sign of b. */
static inline GRAD_SCALAR grad_scalar_mod(GRAD_SCALAR a, GRAD_SCALAR b) {
  const GRAD_SCALAR m = fmod(a, b);
  return (m > 0 && b < 0) || (m < 0 && b > 0) ? m + b : m;
}

static inline GRAD_SCALAR grad_scalar_sigmoid(GRAD_SCALAR a) {
  const GRAD_SCALAR z = exp(-fabs(a));
  return (a < 0 ? z : 1) / (1 + z);
}

static inline GRAD_SCALAR grad_scalar_softplus(GRAD_SCALAR a) {
  return fmax(a, (GRAD_SCALAR)0) + log1p(exp(-fabs(a))) + (a != a ? a : 0);
}

static inline GRAD_SCALAR grad_scalar_logaddexp(GRAD_SCALAR a, GRAD_SCALAR b) {
  return a == b ? a + log((GRAD_SCALAR)2) : grad_scalar_max(a, b) + log1p(exp(-fabs(a - b)));
}

/* The Bernoulli numbers B(2), B(4), ..., B(24) of Euler and Maclaurin's formula. */
static inline GRAD_SCALAR grad_scalar_bernoulli(int k) {
  static const double over[] = {1, -1, 1, -1, 5, -691, 7, -3617, 43867, -174611, 854513, -236364091};
  static const double under[] = {6, 30, 42, 30, 66, 2730, 6, 510, 798, 330, 138, 2730};
  return (GRAD_SCALAR)over[k - 1] / (GRAD_SCALAR)under[k - 1];
}

/* Asymptotic series (Abramowitz and Stegun 6.3.18) after the argument has been raised above 16 (6.3.5), reflection
 * (6.3.7) for negative ones. */
static inline GRAD_SCALAR grad_scalar_digamma(GRAD_SCALAR a) {
  const GRAD_SCALAR pi = (GRAD_SCALAR)3.14159265358979323846264338327950288L;
  GRAD_SCALAR below = 0;
  if (a <= 0) {
    const GRAD_SCALAR turn = a - rint(a); /* tan has period pi; the integers are poles */
    if (turn == 0) return a == 0 ? -1 / a : (GRAD_SCALAR)NAN;
    below = -pi / tan(pi * turn);
    a = 1 - a;
  }
  for (; a < 16; a += 1) below -= 1 / a;
  const GRAD_SCALAR r = 1 / (a * a);
  GRAD_SCALAR tail = 0, power = r;
  for (int k = 1; k <= 12; k++, power *= r) tail += grad_scalar_bernoulli(k) / (GRAD_SCALAR)(2 * k) * power;
  return log(a) - 1 / (2 * a) - tail + below;
}

/* The n-th derivative of cot(pi x) is a polynomial in c = cot(pi x): P <- -pi (1 + c^2) P', beginning with c. */
static inline GRAD_SCALAR grad_scalar_cot_derivative(int n, GRAD_SCALAR x) {
  enum { MOST = 172 };
  const GRAD_SCALAR pi = (GRAD_SCALAR)3.14159265358979323846264338327950288L;
  const GRAD_SCALAR turn = x - rint(x), half = (GRAD_SCALAR)0.5;
  const GRAD_SCALAR c = fabs(turn) <= half / 2 ? 1 / tan(pi * turn) : copysign(tan(pi * (half - fabs(turn))), turn);
  GRAD_SCALAR p[MOST + 2] = {0, 1}, value = 0;
  for (int k = 1; k <= n;
       k++) { /* degree k - 1 + 1 to k + 1, in place: q[j] = -pi ((j + 1) p[j + 1] + (j - 1) p[j - 1]) */
    GRAD_SCALAR before = 0;
    for (int j = 0; j <= k + 1; j++) {
      const GRAD_SCALAR here = p[j];
      p[j] = -pi * ((GRAD_SCALAR)(j + 1) * p[j + 1] + (GRAD_SCALAR)(j - 1) * before);
      before = here;
    }
  }
  for (int j = n + 1; j >= 0; j--) value = value * c + p[j];
  return value;
}

/* (-1)^(n+1) n! zeta(n + 1, a) for a > 0: Euler and Maclaurin's formula for Hurwitz's zeta function. */
static inline GRAD_SCALAR grad_scalar_polygamma_positive(GRAD_SCALAR n, GRAD_SCALAR a) {
  const GRAD_SCALAR s = n + 1, factor = (fmod(n, (GRAD_SCALAR)2) == 0 ? -1 : 1) * tgamma(s);
  GRAD_SCALAR sum = 0;
  for (; a < 16 + n; a += 1) sum += pow(a, -s);
  GRAD_SCALAR term = pow(a, -s) * (s / a), tail = pow(a, -n) * (1 / n + (GRAD_SCALAR)0.5 / a);
  for (int k = 1; k <= 12; k++) {
    tail += term * grad_scalar_bernoulli(k) / tgamma((GRAD_SCALAR)(2 * k + 1));
    term *= (s + (GRAD_SCALAR)(2 * k - 1)) * (s + (GRAD_SCALAR)(2 * k)) / (a * a);
  }
  return factor * (sum + tail);
}

/* Orders up to 170, whose factorial is a double. Reflection (Abramowitz and Stegun 6.4.7) below 0. At the poles 0, -1,
 * -2,
 * ... odd orders are Inf; even ones, which change sign there, NaN. */
static inline GRAD_SCALAR grad_scalar_polygamma(GRAD_SCALAR n, GRAD_SCALAR a) {
  if (n == 0) return grad_scalar_digamma(a);
  if (!(n > 0 && n <= 170) || n != floor(n) || a != a || (a < 0 && isinf(a))) return (GRAD_SCALAR)NAN;
  if (a > 0) return isinf(a) ? 0 : grad_scalar_polygamma_positive(n, a);
  const bool even = fmod(n, (GRAD_SCALAR)2) == 0;
  if (a == rint(a)) return even ? (GRAD_SCALAR)NAN : (GRAD_SCALAR)INFINITY;
  const GRAD_SCALAR pi = (GRAD_SCALAR)3.14159265358979323846264338327950288L,
                    mirrored = grad_scalar_polygamma_positive(n, 1 - a);
  return (even ? mirrored : -mirrored) - pi * grad_scalar_cot_derivative((int)n, a);
}

#endif

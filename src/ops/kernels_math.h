/* kernels_math.h: the functions over vectors that the value column of ops.def names. Error bounds, in units in the last
 * place, are those that tests/c/elementwise_values_test.c holds them to. */
#ifndef GRAD_OPS_KERNELS_MATH_H
#define GRAD_OPS_KERNELS_MATH_H

#include "ops/grad_scalar.h"
#include "ops/kernels_vector.h"

#define IS_F64 (REAL_BITS == 64)
#define PICK(f64, f32) ((real)(IS_F64 ? (f64) : (f32)))
#define PICK_INT(f64, f32) ((lane_int)(IS_F64 ? (f64) : (f32)))
#define V(x) v_splat((real)(x))

/* f(a) lane by lane, for functions that are rarely used or for lanes that are rarely special. */
#define EACH_LANE(result, expression)                                                                                  \
  do {                                                                                                                 \
    for (int lane = 0; lane < LANES; lane++) {                                                                         \
      (result)[lane] = (real)(expression);                                                                             \
    }                                                                                                                  \
  } while (0)

/* --- arithmetic */

static inline vec v_mulz(vec a, vec b) { return v_keep(m_and(v_ne(a, V(0)), v_ne(b, V(0))), a * b); }
static inline vec v_max(vec a, vec b) { return v_select(m_or(v_lt(b, a), v_ne(a, a)), a, b); }
static inline vec v_min(vec a, vec b) { return v_select(m_or(v_lt(a, b), v_ne(a, a)), a, b); }
static inline vec v_relu(vec a) { return v_max(a, V(0)); }
static inline vec v_at_most(vec a, real limit) { return INTRINSIC(min)(V(limit), a); } /* NaN goes through */
static inline vec v_at_least(vec a, real limit) { return INTRINSIC(max)(V(limit), a); }
static inline vec v_sign(vec a) { return v_select(m_or(v_eq(a, V(0)), v_ne(a, a)), a, v_with_sign_of(V(1), a)); }
static inline vec v_floor(vec a) { return v_round(a, DOWN); }
static inline vec v_ceil(vec a) { return v_round(a, UP); }
static inline vec v_rint(vec a) { return v_round(a, NEAREST); }
static inline vec v_floordiv(vec a, vec b) { return v_floor(a / b); }
static inline vec v_rsqrt(vec a) { return V(1) / v_sqrt(a); }
static inline mask v_isinf(vec a) { return v_eq(v_abs(a), V(INFINITY)); }
static inline mask v_isfinite(vec a) { return v_lt(v_abs(a), V(INFINITY)); }

/* Exact, as C's fmod, then moved to the sign of b. The fused product leaves a - q b without error as long as q is an
 * integer within the mantissa; q may be one off. Other lanes go through fmod. */
static inline vec v_mod(vec a, vec b) {
#if HAVE_FMA
  const vec q = v_floor(a / b);
  vec r = v_fma(-q, b, a);
  r = v_select(v_lt(r * v_with_sign_of(V(1), b), V(0)), r + b, r);
  r = v_select(v_lt(v_abs(b), v_abs(r)), r - b, r);
  const mask plain = m_and(v_lt(v_abs(q), V(PICK(0x1p52, 0x1p23))), v_lt(v_abs(b), V(INFINITY)));
  if (!m_any(m_not(plain))) return r;
  vec other = a;
  EACH_LANE(other, grad_scalar_mod((double)a[lane], (double)b[lane]));
  return v_select(plain, r, other);
#else
  vec r = a;
  EACH_LANE(r, grad_scalar_mod((double)a[lane], (double)b[lane]));
  return r;
#endif
}

/* --- polynomials
 * Where an interval is named, a series is the expansion in Chebyshev polynomials over it, cut off, as powers. */

/* a b + c, rounded once where the instruction set can. */
static inline vec v_muladd(vec a, vec b, vec c) {
#if HAVE_FMA
  return v_fma(a, b, c);
#else
  return a * b + c;
#endif
}

/* The polynomial of `count` > 2 coefficients, the highest power first: those of even and of odd powers are summed side
 * by side, which halves the time that each step waits for the one before. */
static inline vec v_polynomial(vec x, const double *series, int count) {
  const vec xx = x * x;
  vec a = V(series[0]), b = V(series[1]);
  for (int i = 2; i + 1 < count; i += 2) {
    a = v_muladd(a, xx, V(series[i]));
    b = v_muladd(b, xx, V(series[i + 1]));
  }
  if (count % 2 == 0) return v_muladd(a, x, b);
  a = v_muladd(a, xx, V(series[count - 1]));
  return v_muladd(b, x, a);
}

/* --- e^x, which needs a fused multiply-add */

#if HAVE_FMA

/* e^x = 2^k (1 + high + low) for |x| < 1400: x = k ln(2) + r with r in two parts (Cody and Waite), then e^r - 1, whose
 * first term r is added last. The series is that of (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2. */
typedef struct exp_parts {
  vec high, low, k;
  ivec exponent;
} exp_parts;

static inline exp_parts split_exp(vec x) {
  const real ln2_high = PICK(6.93147180369123816490e-01, 6.9313812256e-01);
  const real ln2_low = PICK(1.90821492927058770002e-10, 9.0580006145e-06);
  const vec shift = V(PICK(0x1.8p52, 0x1.8p23)); /* adding it leaves the nearest integer in the lowest bits */
  const vec shifted = v_fma(x, V(M_LOG2E), shift), k = shifted - shift;
  const vec rest = v_fma(-k, V(ln2_high), x), r = v_fma(-k, V(ln2_low), rest);
  const vec r_low = v_fma(-k, V(ln2_low), rest - r);
  static const double series64[] = {2.091813817e-9,
                                    2.51052177e-8,
                                    2.755726327779e-7,
                                    2.7557255398339e-6,
                                    2.48015873364436e-5,
                                    0.000198412698748223,
                                    0.0013888888888879073,
                                    0.0083333333333261346,
                                    0.041666666666666677,
                                    0.16666666666666671,
                                    0.5};
  static const double series32[] = {0.00019899287840538398, 0.0013933652487807975, 0.0083332984663998711,
                                    0.04166646489535542,    0.16666666719039148,   0.5};
  const vec sum = IS_F64 ? v_polynomial(r, series64, 11) : v_polynomial(r, series32, 6);
  const vec square = r * r, high = v_fma(square, sum, r);
  return (exp_parts){high, v_fma(square, sum, r - high) + r_low, k, (ivec)shifted - (ivec)shift};
}

/* 2^n for n within the range of normal numbers. */
static inline vec power_of_2(ivec n) { return (vec)((n + PICK_INT(1023, 127)) << PICK_INT(52, 23)); }

/* y 2^k, rounded once, also where it is subnormal. */
static inline vec v_scale(vec y, exp_parts e) {
#if defined __AVX512F__
  return INTRINSIC(scalef)(y, e.k);
#else
  const ivec half = e.exponent >> 1;
  return y * power_of_2(half) * power_of_2(e.exponent - half);
#endif
}

static inline vec v_exp(vec a) {
  const exp_parts e = split_exp(v_at_most(v_at_least(a, PICK(-746, -105)), PICK(710, 89)));
  return v_scale(V(1) + e.high, e);
}

#else

static inline vec v_exp(vec a) { return SLEEF(exp, u10)(a); }

#endif

/* --- straight from SLEEF, within 1 ulp */

static inline vec v_exp2(vec a) { return SLEEF(exp2, u10)(a); }
static inline vec v_log(vec a) { return SLEEF(log, u10)(a); }
static inline vec v_log2(vec a) { return SLEEF(log2, u10)(a); }
static inline vec v_log10(vec a) { return SLEEF(log10, u10)(a); }
static inline vec v_cbrt(vec a) { return SLEEF(cbrt, u10)(a); }
static inline vec v_sin(vec a) { return SLEEF(sin, u10)(a); }
static inline vec v_cos(vec a) { return SLEEF(cos, u10)(a); }
static inline vec v_tan(vec a) { return SLEEF(tan, u10)(a); }
static inline vec v_asin(vec a) { return SLEEF(asin, u10)(a); }
static inline vec v_acos(vec a) { return SLEEF(acos, u10)(a); }
static inline vec v_atan(vec a) { return SLEEF(atan, u10)(a); }
static inline vec v_atan2(vec a, vec b) { return SLEEF(atan2, u10)(a, b); }
static inline vec v_atanh(vec a) { return SLEEF(atanh, u10)(a); }
static inline vec v_hypot(vec a, vec b) { return SLEEF(hypot, u05)(a, b); }

/* --- SLEEF, mended at the ends of its range */

/* e^a / 2 for a above k, where e^a itself overflows: e^(a - k) e^k / 2. The constants happen to be within 0.2 ulp. */
static inline vec half_exp_large(vec a) {
  const real k = PICK(709, 88), half_exp_k = PICK(4.109203730777486e+307, 8.2581813e+37);
  return v_exp(a - k) * half_exp_k;
}

static inline vec v_sinh(vec a) {
  const vec y = SLEEF(sinh, u10)(a), size = v_abs(a);
  const mask large = v_lt(V(PICK(709, 88)), size);
  return m_any(large) ? v_select(large, v_with_sign_of(half_exp_large(size), a), y) : y;
}

static inline vec v_cosh(vec a) {
  const vec y = SLEEF(cosh, u10)(a), size = v_abs(a);
  const mask large = v_lt(V(PICK(709, 88)), size);
  return m_any(large) ? v_select(large, half_exp_large(size), y) : y;
}

/* For large arguments both inverses are log(2 a), where SLEEF overflows. */
static inline vec log_twice(vec size) { return v_log(size) + PICK(0.693147180559945309417, 0.693147180559945309417); }

static inline vec v_asinh(vec a) {
  const vec y = SLEEF(asinh, u10)(a), size = v_abs(a);
  const mask large = v_lt(V(PICK(0x1p60, 0x1p30)), size);
  return m_any(large) ? v_select(large, v_with_sign_of(log_twice(size), a), y) : y;
}

static inline vec v_acosh(vec a) {
  const vec y = SLEEF(acosh, u10)(a);
  const mask large = v_lt(V(PICK(0x1p60, 0x1p30)), a);
  return m_any(large) ? v_select(large, log_twice(a), y) : y;
}

static inline vec v_lgamma(vec a) { return v_select(v_isinf(a), V(INFINITY), SLEEF(lgamma, u10)(a)); }

/* Exponents 1, 2, 3, -1 are products, whose rounding is no worse than that of the general way; and sqrt for 1/2. A lane
 * takes the product whether or not its neighbours do; only the time depends on them. */
static inline vec v_pow(vec a, vec b) {
  const mask one = v_eq(b, V(1)), two = v_eq(b, V(2)), three = v_eq(b, V(3)), inverse = v_eq(b, V(-1));
  const mask root = m_and(v_eq(b, V(0.5)), v_lt(V(0), a));
  const vec aa = a * a;
  vec y = v_select(two, aa, a);
  y = v_select(three, aa * a, y);
  if (m_any(m_or(inverse, root))) y = v_select(inverse, V(1) / a, v_select(root, v_sqrt(a), y));
  const mask easy = m_or(m_or(one, two), m_or(three, m_or(inverse, root)));
  return m_any(m_not(easy)) ? v_select(easy, y, SLEEF(pow, u10)(a, b)) : y;
}

/* --- log(1 + a): twice as fast as SLEEF's, within 1 ulp */

typedef PASTE_REAL(uint, , 64_t, 32_t) lane_bits;
typedef lane_bits bits_vec __attribute__((vector_size(VECTOR_BYTES)));

/* log(1 + f) + k ln(2) for 1 + f between sqrt(1/2) and sqrt(2): with s = f / (2 + f) it is 2 s + s R(s^2), written so
 * that f is the last term added (the form is that of fdlibm). The series is that of R(w) / w for w up to 0.02945, where
 * f ends. `low` is added with the small terms. */
static inline vec log_of_parts(vec f, vec k, vec low) {
  static const double series64[] = {0.14617807153417324964, 0.15331611722055007885, 0.18182892432536871201,
                                    0.22222211089379496214, 0.28571428626253837606, 0.39999999999898890514,
                                    0.66666666666666697077};
  static const double series32[] = {0.29580985929974422621, 0.39988757716604847003, 0.66666685095429068746};
  const double *const series = IS_F64 ? series64 : series32;
  const int count = IS_F64 ? 7 : 3;
  const real ln2_high = PICK(6.93147180369123816490e-01, 6.9313812256e-01);
  const real ln2_low = PICK(1.90821492927058770002e-10, 9.0580006145e-06);
  const vec s = f / (V(2) + f), w = s * s, half = V(0.5) * f * f, sum = v_polynomial(w, series, count);
  const vec small = v_muladd(s, v_muladd(sum, w, half), v_muladd(k, V(ln2_low), low));
  return v_muladd(k, V(ln2_high), f - (half - small));
}

/* 1 + a = 2^k (1 + f), but f is a itself where k would be 0: there nothing is rounded. What rounding 1 + a loses is
 * divided by 1 + f well enough with a few terms of a series. */
static inline vec v_log1p(vec a) {
  const vec one = V(1), u = one + a, root = V(M_SQRT1_2);
  const int digits = PICK_INT(52, 23);
  const bits_vec over = ((bits_vec)u - (bits_vec)root) + ((bits_vec){0} + ((lane_bits)1 << (REAL_BITS - 2)));
  const ivec exponent = (ivec)(over >> digits) - (PICK_INT(1, 1) << (REAL_BITS - 2 - digits));
  const vec shift = V(PICK(0x1.8p52, 0x1.8p23)), k = (vec)(exponent + (ivec)shift) - shift;
  const mask whole = v_eq(k, V(0)), exact = m_or(whole, v_lt(V(64), k));
  const vec f = v_select(whole, a, (vec)((bits_vec)u - ((bits_vec)exponent << digits)) - one);
  const vec lost = v_select(v_lt(one, a), one - (u - a), a - (u - one)), inverse = v_muladd(f, f - one, one);
  const vec scale = (vec)((bits_vec)(PICK_INT(1023, 127) - exponent) << digits);
  const vec y = log_of_parts(f, k, v_keep(m_not(exact), lost * scale * inverse));
  const mask plain = m_and(v_lt(V(-1), a), v_lt(a, V(INFINITY)));
  if (!m_any(m_not(plain))) return y;
  const vec other = v_select(v_lt(a, V(-1)), V(NAN), v_select(v_eq(a, V(-1)), V(-INFINITY), a)); /* a: Inf and NaN */
  return v_select(plain, y, other);
}

/* log(1 + z) for z in [0, 1]: 1 + z is at most twice as large as it may be, so f is exact. */
static inline vec log1p_unit(vec z) {
  const mask upper = v_lt(V(M_SQRT2 - 1), z);
  return log_of_parts(v_select(upper, V(0.5) * (z - V(1)), z), v_keep(upper, V(1)), V(0));
}

/* --- functions made of e^x: two to three times as fast as SLEEF's */

#if HAVE_FMA

/* (a + a_low) / (b + b_low), the low parts being corrections. */
static inline vec quotient(vec a, vec a_low, vec b, vec b_low) {
  const vec inverse = V(1) / b, q = a * inverse;
  return v_fma(v_fma(-q, b, a) + v_fma(-q, b_low, a_low), inverse, q);
}

/* tanh |a| = m / (m + 2), m = e^2|a| - 1. */
static inline vec v_tanh(vec a) {
  const exp_parts e = split_exp(V(2) * v_at_most(v_abs(a), PICK(20, 10)));
  const vec power = power_of_2(e.exponent), less = power - V(1), two = V(2);
  const vec m = v_fma(power, e.high, less), m_low = v_fma(power, e.low, v_fma(power, e.high, less - m));
  const vec sum = m + two, sum_low = (m - (sum - two)) + m_low;
  return v_with_sign_of(quotient(m, m_low, sum, sum_low), a);
}

/* Half of it, since 2^k may overflow where the result does not. */
static inline vec v_expm1(vec a) {
  const exp_parts e = split_exp(v_at_most(v_at_least(a, PICK(-40, -20)), PICK(710, 89)));
  const vec half = V(0.5), power = power_of_2(e.exponent - 1), less = power - half, lost = (power - less) - half;
  const vec m = v_fma(power, e.high, less), m_low = v_fma(power, e.low, v_fma(power, e.high, less - m)) + lost;
  return v_with_sign_of((m + m_low) * V(2), a);
}

/* erfc(z) = e^(-z^2) t P(u) for z >= 0, with t = 1 / (z + K), u = 1 - 2 K t (the form is that of Shepherd and
 * Laframboise, Math. Comp. 36, 1981). P is made for z in [0, 27.3] (f32: [0, 10.2]): its two lowest coefficients by
 * Chebyshev approximation, rounded; then the others by least squares of the relative error in three times as many
 * Chebyshev points. K is such that the constant term hardly needs rounding, and erfc(0) is 1. What rounding the factors
 * loses, to first order, is carried along. */
static inline vec erfc_positive(vec z) {
  static const double series64[] = {
      1.1346645475520634e-9,  4.6309206837808441e-9,  1.2118153796655795e-10, -2.9028983460786673e-8,
      -4.4850010151293705e-8, 6.2405498954614503e-8,  2.7527523209391771e-7,  1.4711713144238116e-7,
      -9.208487091037038e-7,  -1.9196903920808932e-6, 1.4615328193913637e-6,  1.0576550992856992e-5,
      5.2603521815062044e-6,  -4.6883340423906445e-5, -6.8361368845239775e-5, 0.00020890654110173284,
      0.00049635690868299196, -0.0012072765593847097, -0.0031624375031458239, 0.011100820183852183,
      0.011982291955497337,   -0.13837755251667646,   0.41684012340259829};
  static const double series32[] = {4.50244286e-5, 0.000243573166, 9.35982497e-5, -0.00160485976, -0.00108220226,
                                    0.0117311497,  -0.00188757691, -0.105759941,  0.377294834};
  const vec c1 = V(PICK(-0.78148659576825974, -0.755801916)), c0 = V(PICK(1.0478953169132301, 1.04094589));
  const vec k = V(PICK(2.3837890625, 2.2666015625)), one = V(1);
  z = v_at_most(z, PICK(28, 11));
  const vec sum = z + k, lost = z - (sum - k), t = one / sum;
  const vec t_error = v_fma(-t, sum, one) - t * lost; /* 1 / (z + K) = t (1 + t_error) */
  const vec u = v_fma(V(-2) * k * t, t_error, v_fma(V(-2) * k, t, one));
  const vec higher = IS_F64 ? v_polynomial(u, series64, 23) : v_polynomial(u, series32, 9);
  const vec rest = v_fma(u, higher, c1), rest_low = v_fma(u, higher, c1 - rest);
  const vec p = v_fma(u, rest, c0), p_low = v_fma(u, rest, c0 - p) + u * rest_low;
  const vec tp = t * p, tp_low = v_fma(t, p, -tp) + v_fma(t, p_low, t_error * tp);
  const vec square = z * z, square_low = v_fma(z, z, -square);
  const exp_parts e = split_exp(-square);
  const vec power = one + e.high, power_low = ((one - power) + e.high) + v_fma(-square_low, power, e.low);
  const vec y = power * tp, y_low = v_fma(power, tp, -y) + v_fma(power, tp_low, power_low * tp);
  return v_scale(y + y_low, e);
}

static inline vec v_erfc(vec a) {
  const vec y = erfc_positive(v_abs(a));
  return v_select(v_lt(a, V(0)), V(2) - y, y);
}

/* Up to 0.9 an odd polynomial: a + a R(a^2). The series is that of R for a^2 in [0, 1]. */
static inline vec v_erf(vec a) {
  static const double series64[] = {-7.7985438505499469e-10, 1.3721520406351094e-8,  -1.6208829856810201e-7,
                                    1.6447471190594618e-6,   -1.4924740785377575e-5, 0.00012055295112667001,
                                    -0.00085483259825432251, 0.0052239776072699453,  -0.026866170643256994,
                                    0.1128379167094513,      -0.37612638903183544,   0.12837916709551257};
  static const double series32[] = {7.8824971100866636e-5, -0.0008018854992786387, 0.0051893119426866177,
                                    -0.026854328796067244, 0.11283597463488053,    -0.37612626903580438,
                                    0.12837916588150263};
  const vec size = v_abs(a), square = a * a;
  const mask large = v_lt(V(0.9), size);
  const vec y = v_fma(a, IS_F64 ? v_polynomial(square, series64, 12) : v_polynomial(square, series32, 7), a);
  return m_any(large) ? v_select(large, v_with_sign_of(V(1) - erfc_positive(size), a), y) : y;
}

#else

static inline vec v_tanh(vec a) { return SLEEF(tanh, u10)(a); }
static inline vec v_expm1(vec a) { return SLEEF(expm1, u10)(a); }
static inline vec v_erfc(vec a) { return SLEEF(erfc, u15)(a); }

/* Next to 0 SLEEF loses bits of subnormal results; there erf(a) is 2 / sqrt(pi) a. */
static inline vec v_erf(vec a) {
  const mask small = v_lt(v_abs(a), V(PICK(0x1p-30, 0x1p-14)));
  const vec y = SLEEF(erf, u10)(a);
  return m_any(small) ? v_select(small, a + a * PICK(0.128379167095512573896, 0.128379167095512573896), y) : y;
}

#endif

/* --- compositions, within 2 ulp */

static inline vec v_sigmoid(vec a) {
  const vec z = v_exp(-v_abs(a));
  return v_select(v_lt(a, V(0)), z, V(1)) / (V(1) + z);
}

static inline vec v_softplus(vec a) { return v_max(a, V(0)) + log1p_unit(v_exp(-v_abs(a))); }

static inline vec v_softsign(vec a) { return v_select(v_isinf(a), v_with_sign_of(V(1), a), a / (V(1) + v_abs(a))); }

static inline vec v_logaddexp(vec a, vec b) {
  const vec gap = v_select(v_eq(a, b), V(0), v_abs(a - b));
  return v_max(a, b) + log1p_unit(v_exp(-gap));
}

/* --- gamma functions */

/* digamma above 10: the asymptotic series (Abramowitz and Stegun 6.3.18). */
static inline vec digamma_large(vec a) {
  const vec r = V(1) / (a * a);
  static const double series[] = {691.0 / 32760, -1.0 / 132, 1.0 / 240, -1.0 / 252, 1.0 / 120, -1.0 / 12};
  vec tail = V(-1.0 / 12);
  for (int k = 0; k < 6; k++) tail = tail * r + V(series[k]);
  return v_log(a) + (tail * r - V(0.5) / a);
}

/* digamma on [1, 2] over the distance from its zero, by Chebyshev approximation in 2 a - 3: within 2e-17. */
static inline vec digamma_unit(vec a) {
  const real zero = (real)1.4616321449683622, zero_low = (real)9.549995429965697e-17;
  static const double series[] = {
      -8.25512972008104003e-11,  2.47654744400317636e-10,  -2.88936363921611136e-10, 8.66825737376165726e-10,
      -3.6788868183645545e-9,    1.10370884388543002e-8,   -3.16661807202716207e-8,  9.50092619292409624e-8,
      -2.86287552800386846e-7,   8.59132422241766613e-7,   -2.5781078482702169e-6,   7.74115688125370707e-6,
      -0.0000232582382843137593, 0.0000699502048416062476, -0.000210748412157330069, 0.000636888028319074,
      -0.00193506666478326662,   0.00593679527843382583,   -0.0185506153817386072,   0.0601356210601935546,
      -0.211813710640730252,     0.951055876031832893};
  vec sum = V(series[0]);
  for (int i = 1; i < (int)(sizeof series / sizeof *series); i++) sum = sum * (V(2) * a - V(3)) + V(series[i]);
  return ((a - zero) - zero_low) * sum;
}

/* Between 0 and 10 the argument is brought to [1, 2] by the recurrence (6.3.5), whose terms then all have one sign. */
static inline vec digamma_positive(vec a) {
  const mask large = v_le(V(10), a), low = v_lt(a, V(1));
  vec x = a + v_keep(low, V(1)), sum = v_keep(low, V(-1) / a);
  const mask small = m_not(large);
  for (mask above = m_and(small, v_lt(V(2), x)); m_any(above); above = m_and(small, v_lt(V(2), x))) {
    x -= v_keep(above, V(1));
    sum += v_keep(above, V(1) / x);
  }
  const vec y = digamma_unit(x) + sum;
  return m_any(large) ? v_select(large, digamma_large(a), y) : y;
}

/* Below 0 by reflection (6.3.7). */
static inline vec v_digamma(vec a) {
  const mask negative = v_lt(a, V(0));
  vec y = digamma_positive(v_select(v_lt(V(0), a), a, v_select(negative, V(1) - a, V(1))));
  if (m_any(negative)) { /* cot(pi a) has period 1, and a - rint(a) is exact */
    const vec turn = a - v_rint(a);
    y = v_select(negative, y - V(M_PI) * (SLEEF(cospi, u05)(turn) / SLEEF(sinpi, u05)(turn)), y);
    y = v_select(m_and(negative, m_or(v_eq(turn, V(0)), v_isinf(a))), V(NAN), y);
  }
  const mask tiny = v_lt(v_abs(a), V(0x1p-60)); /* there it is -1 / a, which may be infinite */
  return v_select(tiny, V(-1) / a, v_select(v_ne(a, a), a, y));
}

/* trigamma above 0: recurrence up to 12 and the asymptotic series (6.4.6, 6.4.12); below by reflection (6.4.7). */
static inline vec trigamma_positive(vec a) {
  vec below = V(0);
  for (mask low = v_lt(a, V(12)); m_any(low); low = v_lt(a, V(12))) {
    const vec q = V(1) / a;
    below += v_keep(low, q * q);
    a += v_keep(low, V(1));
  }
  const vec q = V(1) / a, r = q * q;
  static const double series[] = {-691.0 / 2730, 5.0 / 66, -1.0 / 30, 1.0 / 42, -1.0 / 30, 1.0 / 6};
  vec tail = V(7.0 / 6);
  for (int k = 0; k < 6; k++) tail = tail * r + V(series[k]);
  return below + (q + (V(0.5) * r + tail * r * q));
}

static inline vec v_trigamma(vec a) {
  const mask negative = v_lt(a, V(0));
  vec y = trigamma_positive(v_select(v_lt(V(0), a), a, v_select(negative, V(1) - a, V(1))));
  if (m_any(negative)) {
    const vec s = V(M_PI) / SLEEF(sinpi, u05)(a - v_rint(a));
    y = v_select(negative, s * s - y, y);
  }
  return v_select(v_eq(a, V(0)), V(INFINITY), v_select(v_ne(a, a), a, y));
}

static inline vec v_polygamma(vec order, vec a) {
  vec y = a;
  EACH_LANE(y, grad_scalar_polygamma((double)order[lane], (double)a[lane]));
  return y;
}

#endif

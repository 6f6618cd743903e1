/* kernels_math.h: the functions over vectors that the value column of ops.def names. Error bounds, in units in the last
 * place, are those that tests/c/elementwise_test.c holds them to. */
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

/* --- straight from SLEEF, within 1 ulp */

static inline vec v_exp(vec a) { return SLEEF(exp, u10)(a); }
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

/* Next to 0 SLEEF loses bits of subnormal results; there erf(a) is 2 / sqrt(pi) a. */
static inline vec v_erf(vec a) {
  const mask small = v_lt(v_abs(a), V(PICK(0x1p-30, 0x1p-14)));
  const vec y = SLEEF(erf, u10)(a);
  return m_any(small) ? v_select(small, a + a * PICK(0.128379167095512573896, 0.128379167095512573896), y) : y;
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

/* --- erfc: f32 in f64, for which a short formula is exact enough, since its tails are steep */

#if REAL_BITS == 64

static inline vec v_erfc(vec a) { return SLEEF(erfc, u15)(a); }

#else

typedef double wide __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t wide_int __attribute__((vector_size(VECTOR_BYTES)));
typedef float half_vec __attribute__((vector_size(VECTOR_BYTES / 2)));

#if defined __AVX512F__
#define WIDE_FMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#elif defined __AVX2__
#define WIDE_FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#elif defined __aarch64__
#define WIDE_FMA(a, b, c) vfmaq_f64(c, a, b)
#else
#define WIDE_FMA(a, b, c) ((a) * (b) + (c))
#endif

static inline wide wide_polynomial(wide x, int count, const double *series) {
  wide sum = (wide){0} + series[0];
  for (int i = 1; i < count; i++) sum = WIDE_FMA(sum, x, (wide){0} + series[i]);
  return sum;
}

/* Within 1e-10 of e^x, for |x| < 700. */
static inline wide wide_exp(wide x) {
  const wide shifted = x * M_LOG2E + 0x1.8p52, r = x - (shifted - 0x1.8p52) * M_LN2;
  static const double series[] = {1 / 40320.0, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5, 1, 1};
  return wide_polynomial(r, (int)(sizeof series / sizeof *series), series) * (wide)(((wide_int)shifted + 1023) << 52);
}

/* erfc(z) = t e^(P(t) - z^2), t = 2 / (2 + z), for z >= 0: P by Chebyshev approximation for z <= 12, where erfc leaves
 * f32; within 4e-10. (The form is that of Press et al., Numerical Recipes, 6.2.) */
static inline wide wide_erfc(wide x) {
  static const double series[] = {7.3231450866439227e-6,   -8.7346568965448356e-6, -4.8822357905027256e-5,
                                  0.00010096586384571586,  0.00016139731602016543, -0.00070483531672924595,
                                  -0.00020432142440134922, 0.0043199505410249975,  -0.0017649371512111472,
                                  -0.03190743732266354,    0.019323647938279975,   0.58560210531999665,
                                  -0.57487630161613003};
  const wide_int below = x < 0;
  wide z = (wide)((wide_int)x & INT64_MAX);
  const wide_int far = z > 12; /* not for NaN, which goes through */
  z = (wide)((far & (wide_int)((wide){0} + 12)) | (~far & (wide_int)z));
  const wide t = 2 / (2 + z), u = (t - 4.0 / 7) * (7.0 / 3);
  const wide y = t * wide_exp(wide_polynomial(u, (int)(sizeof series / sizeof *series), series) - z * z);
  return (wide)((below & (wide_int)(2 - y)) | (~below & (wide_int)y));
}

static inline vec v_erfc(vec a) {
  half_vec halves[2];
  memcpy(halves, &a, sizeof a);
  for (int i = 0; i < 2; i++) {
    halves[i] = __builtin_convertvector(wide_erfc(__builtin_convertvector(halves[i], wide)), half_vec);
  }
  memcpy(&a, halves, sizeof a);
  return a;
}

#endif

/* --- log(1 + a): twice as fast as SLEEF's, within 1 ulp */

typedef PASTE_REAL(uint, , 64_t, 32_t) lane_bits;
typedef lane_bits bits_vec __attribute__((vector_size(VECTOR_BYTES)));

/* log(1 + f) + k ln(2) for 1 + f between sqrt(1/2) and sqrt(2): with s = f / (2 + f) it is 2 s + s R(s^2), R by
 * Chebyshev approximation, written so that f is the last term added (the form is that of fdlibm). `low` is added with
 * the small terms. */
static inline vec log_of_parts(vec f, vec k, vec low) {
  static const double series64[] = {0.14617807153417324964, 0.15331611722055007885, 0.18182892432536871201,
                                    0.22222211089379496214, 0.28571428626253837606, 0.39999999999898890514,
                                    0.66666666666666697077};
  static const double series32[] = {0.29580985929974422621, 0.39988757716604847003, 0.66666685095429068746};
  const double *const series = IS_F64 ? series64 : series32;
  const int count = IS_F64 ? 7 : 3;
  const real ln2_high = PICK(6.93147180369123816490e-01, 6.9313812256e-01);
  const real ln2_low = PICK(1.90821492927058770002e-10, 9.0580006145e-06);
  const vec s = f / (V(2) + f), w = s * s, half = V(0.5) * f * f;
  vec sum = V(series[0]);
  for (int i = 1; i < count; i++) sum = sum * w + V(series[i]);
  return k * ln2_high + (f - (half - (s * (half + sum * w) + (k * ln2_low + low))));
}

/* 1 + a = 2^k (1 + f), but f is a itself where k would be 0: there nothing is rounded. What rounding 1 + a loses is
 * divided by 1 + f well enough with a few terms of a series. */
static inline vec v_log1p(vec a) {
  const vec u = V(1) + a, root = V(M_SQRT1_2);
  const int digits = PICK_INT(52, 23);
  const bits_vec over = ((bits_vec)u - (bits_vec)root) + ((bits_vec){0} + ((lane_bits)1 << (REAL_BITS - 2)));
  const ivec exponent = (ivec)(over >> digits) - (PICK_INT(1, 1) << (REAL_BITS - 2 - digits));
  const vec shift = V(PICK(0x1.8p52, 0x1.8p23)), k = (vec)(exponent + (ivec)shift) - shift;
  const mask whole = v_eq(k, V(0)), large = v_lt(V(1), a), exact = m_or(whole, v_lt(V(64), k));
  const vec f = v_select(whole, a, (vec)((bits_vec)u - ((bits_vec)exponent << digits)) - V(1));
  const vec lost = v_select(large, V(1) - (u - a), a - (u - V(1)));
  const vec inverse = V(1) - f * (V(1) - f * (V(1) - f));
  const vec scale = (vec)((bits_vec)(PICK_INT(1023, 127) - exponent) << digits);
  vec y = log_of_parts(f, k, v_select(exact, V(0), lost * scale * inverse));
  y = v_select(v_lt(a, V(INFINITY)), y, a); /* and NaN */
  return v_select(v_lt(V(-1), a), y, v_select(v_eq(a, V(-1)), V(-INFINITY), V(NAN)));
}

/* log(1 + z) for z in [0, 1]: 1 + z is at most twice as large as it may be, so f is exact. */
static inline vec log1p_unit(vec z) {
  const mask upper = v_lt(V(M_SQRT2 - 1), z);
  return log_of_parts(v_select(upper, V(0.5) * (z - V(1)), z), v_keep(upper, V(1)), V(0));
}

/* --- functions of e^x as quotients: twice as fast as SLEEF's, within 1 ulp. They need a fused multiply-add */

#if HAVE_FMA

/* e^x = 2^k (1 + high + low) for |x| < 1400: x = k ln(2) + r with r in two parts (Cody and Waite), then Taylor's series
 * of e^r - 1, whose first term r is added last. */
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
  static const double series[] = {1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0,
                                  1 / 362880.0,     1 / 40320.0,     1 / 5040.0,     1 / 720.0,
                                  1 / 120.0,        1 / 24.0,        1 / 6.0,        1 / 2.0};
  const int first = IS_F64 ? 0 : 5, count = (int)(sizeof series / sizeof *series);
  vec sum = V(series[first]);
  for (int i = first + 1; i < count; i++) sum = v_fma(sum, r, V(series[i]));
  const vec tail = (r * r) * sum, high = r + tail;
  return (exp_parts){high, ((r - high) + tail) + r_low, k, (ivec)shifted - (ivec)shift};
}

/* 2^n for n within the range of normal numbers. */
static inline vec power_of_2(ivec n) { return (vec)((n + PICK_INT(1023, 127)) << PICK_INT(52, 23)); }

/* (a + a_low) / (b + b_low), the low parts being corrections. */
static inline vec quotient(vec a, vec a_low, vec b, vec b_low) {
  const vec inverse = V(1) / b, q = a * inverse;
  return v_fma(v_fma(-q, b, a) + (a_low - q * b_low), inverse, q);
}

/* tanh |a| = (e^2|a| - 1) / (e^2|a| + 1), both sides over 2^k: high -+ 2^-k + 1. */
static inline vec v_tanh(vec a) {
  const vec size = v_abs(a), most = V(PICK(20, 10)), one = V(1);
  const exp_parts e = split_exp(V(2) * v_select(v_lt(most, size), most, size));
  const vec scale = power_of_2(-e.exponent), less = one - scale, more = one + scale;
  const vec over = less + e.high, under = more + e.high;
  const vec over_low = ((less - over) + e.high) + (((one - less) - scale) + e.low);
  const vec under_low = ((more - under) + e.high) + (((one - more) + scale) + e.low);
  return v_with_sign_of(quotient(over, over_low, under, under_low), a);
}

/* 2^k (high + 1 - 2^-k) */
static inline vec v_expm1(vec a) {
  const vec least = V(PICK(-40, -20)), most = V(PICK(710, 89)), one = V(1);
  const vec x = v_select(v_lt(a, least), least, v_select(v_lt(most, a), most, a));
  const exp_parts e = split_exp(x);
  const vec scale = v_keep(v_lt(e.k, V(100)), power_of_2(-e.exponent)), less = one - scale, sum = less + e.high;
  const vec error = v_select(v_lt(v_abs(less), v_abs(e.high)), (e.high - sum) + less, (less - sum) + e.high);
  const vec low = error + (v_select(v_lt(scale, one), (one - less) - scale, V(0)) + e.low);
  return v_with_sign_of((sum + low) * power_of_2(e.exponent - 1) * V(2), a);
}

#else

static inline vec v_tanh(vec a) { return SLEEF(tanh, u10)(a); }
static inline vec v_expm1(vec a) { return SLEEF(expm1, u10)(a); }

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

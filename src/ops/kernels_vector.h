/* kernels_vector.h: vectors of the instruction set this file is compiled for, under one set of names:
 *
 *   vec, LANES           a vector of REAL; + - * / work on it
 *   mask                 the outcome of a comparison: v_lt ..., m_and, m_or, m_not, m_any, v_select(m, yes, no)
 *   v_load ... v_store   unaligned; the _rest forms take the first `count` < LANES elements
 *   m_load, m_store      a mask from and to bytes of 0 and 1
 *   v_sqrt, v_round(x, NEAREST | DOWN | UP | CUT), v_fma (where HAVE_FMA)
 *   SLEEF(f, u)          the SLEEF function f with error bound u. The variants cinz and finz, whose results for one
 * lane do not depend on the others, and are the same in all sets that have (finz) a fused multiply-add.
 *
 * REAL_BITS is 64 or 32.
 */
#ifndef GRAD_OPS_KERNELS_VECTOR_H
#define GRAD_OPS_KERNELS_VECTOR_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <sleef.h>
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic pop
#endif

#if REAL_BITS == 64
typedef double real;
typedef int64_t lane_int;
#define PASTE_REAL(prefix, f, suffix64, suffix32) prefix##f##suffix64
#else
typedef float real;
typedef int32_t lane_int;
#define PASTE_REAL(prefix, f, suffix64, suffix32) prefix##f##suffix32
#endif

#if defined __AVX512F__
#define VECTOR_BYTES 64
#define INTRINSIC(f) PASTE_REAL(_mm512_, f, _pd, _ps)
#define HAVE_FMA 1
#if REAL_BITS == 64
#define SLEEF(f, u) Sleef_finz_##f##d8_##u##avx512f
typedef __m512d vec;
typedef __mmask8 mask;
#else
#define SLEEF(f, u) Sleef_finz_##f##f16_##u##avx512f
typedef __m512 vec;
typedef __mmask16 mask;
#endif
#elif defined __AVX2__
#define VECTOR_BYTES 32
#define INTRINSIC(f) PASTE_REAL(_mm256_, f, _pd, _ps)
#define HAVE_FMA 1
#if REAL_BITS == 64
#define SLEEF(f, u) Sleef_finz_##f##d4_##u##avx2
typedef __m256d vec;
#else
#define SLEEF(f, u) Sleef_finz_##f##f8_##u##avx2
typedef __m256 vec;
#endif
#elif defined __x86_64__
#define VECTOR_BYTES 16
#define INTRINSIC(f) PASTE_REAL(_mm_, f, _pd, _ps)
#define HAVE_FMA 0
#if REAL_BITS == 64
#define SLEEF(f, u) Sleef_cinz_##f##d2_##u##sse2
typedef __m128d vec;
#else
#define SLEEF(f, u) Sleef_cinz_##f##f4_##u##sse2
typedef __m128 vec;
#endif
#elif defined __aarch64__
#define VECTOR_BYTES 16
#define INTRINSIC(f) PASTE_REAL(v, f, q_f64, q_f32)
#define HAVE_FMA 1
#if REAL_BITS == 64
#define SLEEF(f, u) Sleef_finz_##f##d2_##u##advsimd
typedef float64x2_t vec;
#else
#define SLEEF(f, u) Sleef_finz_##f##f4_##u##advsimd
typedef float32x4_t vec;
#endif
#endif

enum { LANES = VECTOR_BYTES / sizeof(real) };
typedef lane_int ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t bytes_of_mask __attribute__((vector_size(VECTOR_BYTES / sizeof(real))));

/* --- memory */

static inline vec v_load(const real *p) {
  vec v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline void v_store(real *p, vec v) { memcpy(p, &v, sizeof v); }

static inline vec v_splat(real x) { return (vec){0} + x; }

#if defined __AVX512F__
static inline mask m_first(int count) { return (mask)((1u << count) - 1); }
static inline vec v_load_first(const real *p, int count) { return INTRINSIC(maskz_loadu)(m_first(count), p); }
static inline void v_store_first(real *p, vec v, int count) { INTRINSIC(mask_storeu)(p, m_first(count), v); }
#else
static inline vec v_load_first(const real *p, int count) {
  real lanes[LANES] = {0};
  for (int i = 0; i < count; i++) lanes[i] = p[i];
  return v_load(lanes);
}

static inline void v_store_first(real *p, vec v, int count) {
  real lanes[LANES];
  v_store(lanes, v);
  for (int i = 0; i < count; i++) p[i] = lanes[i];
}
#endif

/* One number is loaded and stored as such: a processor hands a store on to a load of the same width long before it
 * reaches the cache, which programs of single numbers wait for at every step. */
static inline vec v_load_rest(const real *p, int count) { return count == 1 ? (vec){p[0]} : v_load_first(p, count); }

static inline void v_store_rest(real *p, vec v, int count) {
  if (count == 1)
    *p = v[0];
  else
    v_store_first(p, v, count);
}

/* --- masks */

#if defined __AVX512F__
#define COMPARE(a, b, how) PASTE_REAL(_mm512_cmp, , _pd_mask, _ps_mask)(a, b, how)
static inline mask v_eq(vec a, vec b) { return COMPARE(a, b, _CMP_EQ_OQ); }
static inline mask v_ne(vec a, vec b) { return COMPARE(a, b, _CMP_NEQ_UQ); }
static inline mask v_lt(vec a, vec b) { return COMPARE(a, b, _CMP_LT_OQ); }
static inline mask v_le(vec a, vec b) { return COMPARE(a, b, _CMP_LE_OQ); }
static inline mask m_and(mask a, mask b) { return a & b; }
static inline mask m_or(mask a, mask b) { return a | b; }
static inline mask m_not(mask a) { return (mask)~a; }
static inline bool m_any(mask a) { return a != 0; }
static inline vec v_select(mask m, vec yes, vec no) { return INTRINSIC(mask_blend)(m, no, yes); }
static inline vec v_keep(mask m, vec v) { return INTRINSIC(maskz_mov)(m, v); }

static inline mask m_load_rest(const uint8_t *p, int count) {
  const __m128i bytes = _mm_maskz_loadu_epi8((__mmask16)((1u << count) - 1), p);
  return (mask)_mm_test_epi8_mask(bytes, bytes);
}

static inline void m_store_rest(uint8_t *p, mask m, int count) {
  _mm_mask_storeu_epi8(p, (__mmask16)((1u << count) - 1), _mm_maskz_set1_epi8((__mmask16)m, 1));
}

static inline mask m_load(const uint8_t *p) { return m_load_rest(p, LANES); }
static inline void m_store(uint8_t *p, mask m) { m_store_rest(p, m, LANES); }
#else
typedef ivec mask;
static inline mask v_eq(vec a, vec b) { return (mask)(a == b); }
static inline mask v_ne(vec a, vec b) { return (mask)(a != b); }
static inline mask v_lt(vec a, vec b) { return (mask)(a < b); }
static inline mask v_le(vec a, vec b) { return (mask)(a <= b); }
static inline mask m_and(mask a, mask b) { return a & b; }
static inline mask m_or(mask a, mask b) { return a | b; }
static inline mask m_not(mask a) { return ~a; }

static inline bool m_any(mask a) {
  lane_int any = 0;
  for (int i = 0; i < LANES; i++) any |= a[i];
  return any != 0;
}

static inline vec v_select(mask m, vec yes, vec no) { return (vec)((m & (ivec)yes) | (~m & (ivec)no)); }
static inline vec v_keep(mask m, vec v) { return (vec)(m & (ivec)v); }

static inline mask m_load(const uint8_t *p) {
  bytes_of_mask bytes;
  memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, ivec) != 0;
}

static inline void m_store(uint8_t *p, mask m) {
  const bytes_of_mask bytes = __builtin_convertvector(m & 1, bytes_of_mask);
  memcpy(p, &bytes, sizeof bytes);
}

static inline mask m_load_rest(const uint8_t *p, int count) {
  uint8_t lanes[LANES] = {0};
  for (int i = 0; i < count; i++) lanes[i] = p[i];
  return m_load(lanes);
}

static inline void m_store_rest(uint8_t *p, mask m, int count) {
  uint8_t lanes[LANES];
  m_store(lanes, m);
  for (int i = 0; i < count; i++) p[i] = lanes[i];
}
#endif

/* --- bits of a sign */

#define SIGN_BIT ((lane_int)((uint64_t)1 << (REAL_BITS - 1)))
static inline vec v_abs(vec a) { return (vec)((ivec)a & ~SIGN_BIT); }
static inline vec v_with_sign_of(vec a, vec sign) { return (vec)(((ivec)a & ~SIGN_BIT) | ((ivec)sign & SIGN_BIT)); }

/* --- rounding, roots */

enum { NEAREST, DOWN, UP, CUT };

#if defined __AVX512F__
#define v_sqrt(a) INTRINSIC(sqrt)(a)
#define v_fma(a, b, c) INTRINSIC(fmadd)(a, b, c)
#define v_round(a, how) INTRINSIC(roundscale)(a, (how) | _MM_FROUND_NO_EXC)
#elif defined __AVX2__
#define v_sqrt(a) INTRINSIC(sqrt)(a)
#define v_fma(a, b, c) INTRINSIC(fmadd)(a, b, c)
#define v_round(a, how) INTRINSIC(round)(a, (how) | _MM_FROUND_NO_EXC)
#else
#if defined __aarch64__
#define v_sqrt(a) INTRINSIC(sqrt)(a)
#define v_fma(a, b, c) INTRINSIC(fma)(c, a, b)
#else
#define v_sqrt(a) INTRINSIC(sqrt)(a)
#endif
/* Adding and subtracting 2^52 (2^23) leaves the nearest integer, halves to even; larger numbers are integers. */
static inline vec v_round(vec a, int how) {
  const vec big = v_splat(1 / (real)(REAL_BITS == 64 ? DBL_EPSILON : (double)FLT_EPSILON)), size = v_abs(a);
  const vec near = v_with_sign_of((size + big) - big, a);
  const vec one = v_splat(1);
  vec y = near;
  if (how == DOWN) y = near - v_keep(v_lt(a, near), one);
  if (how == UP) y = near + v_keep(v_lt(near, a), one);
  if (how == CUT) y = near - v_with_sign_of(v_keep(v_lt(size, v_abs(near)), one), a);
  return v_select(v_lt(size, big), v_with_sign_of(y, a), a);
}
#endif

#endif

/* random_draws_loops.h: the loops of random_draws.h, compiled once for each instruction set. DRAWS is their table. */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "ops/random_draws.h"

/* --- Philox: a word in each 64-bit lane, whose upper half is not looked at */

#if defined __AVX2__
#include <immintrin.h>
#if defined __AVX512F__
enum { LANES = 8 };
#define MULTIPLY(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#else
enum { LANES = 4 };
#define MULTIPLY(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#endif
typedef uint64_t lanes __attribute__((vector_size(LANES * sizeof(uint64_t))));
typedef uint32_t halves __attribute__((vector_size(LANES * sizeof(uint32_t)), aligned(sizeof(uint32_t)), may_alias));

static inline lanes every(uint64_t x) { return x - (lanes){0}; }

static inline void store(uint32_t *to, lanes x) {
  *(halves *)(void *)to = __builtin_convertvector(x & every(UINT32_MAX), halves);
}

static void draw_words(uint64_t key, uint64_t counter, int64_t blocks, grad_random_words *out) {
  lanes place;
  for (int l = 0; l < LANES; l++) place[l] = (uint64_t)l;
  for (int64_t i = 0; i < blocks; i += LANES) {
    const lanes count = every(counter + (uint64_t)i) + place;
    lanes x0 = count, x1 = count >> 32, x2 = every(0), x3 = x2;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < GRAD_RNG_ROUNDS; round++) {
      const lanes a = (lanes)MULTIPLY(x0, every(GRAD_RNG_MUL_A)), b = (lanes)MULTIPLY(x2, every(GRAD_RNG_MUL_B));
      x0 = (b >> 32) ^ x1 ^ every(k0);
      x1 = b;
      x2 = (a >> 32) ^ x3 ^ every(k1);
      x3 = a;
      k0 += GRAD_RNG_WEYL_A;
      k1 += GRAD_RNG_WEYL_B;
    }
    store(&out->at[0][i], x0);
    store(&out->at[1][i], x1);
    store(&out->at[2][i], x2);
    store(&out->at[3][i], x3);
  }
}
#else
static void draw_words(uint64_t key, uint64_t counter, int64_t blocks, grad_random_words *out) {
  for (int64_t i = 0; i < blocks; i++) {
    uint32_t words[4];
    grad__rng_block(key, counter + (uint64_t)i, words);
    for (int k = 0; k < 4; k++) out->at[k][i] = words[k];
  }
}
#endif

/* --- uniform in [0, 1) */

static inline uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double from_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Below 2^52, by an addition: not every instruction set converts 64-bit integers. */
static inline double from_small(uint64_t x) { return from_bits(UINT64_C(0x4330000000000000) | x) - 0x1p52; }

/* With all 53 bits. */
static inline double uniform_of(uint32_t high, uint32_t low) {
  return (from_small(high) * 0x1p21 + from_small(low >> 11)) * 0x1p-53;
}

static void uniform_f64(int64_t blocks, const grad_random_words *words, void *out) {
  double *restrict y = out;
  for (int64_t i = 0; i < blocks; i++) {
    y[2 * i] = uniform_of(words->at[0][i], words->at[1][i]);
    y[2 * i + 1] = uniform_of(words->at[2][i], words->at[3][i]);
  }
}

/* The leading 24 bits, so that rounding never gives 1. */
static void uniform_f32(int64_t blocks, const grad_random_words *words, void *out) {
  float *restrict y = out;
  for (int64_t i = 0; i < blocks; i++) {
    y[2 * i] = (float)(int32_t)(words->at[0][i] >> 8) * 0x1p-24f;
    y[2 * i + 1] = (float)(int32_t)(words->at[2][i] >> 8) * 0x1p-24f;
  }
}

/* --- normal: Box and Muller 1958, "A note on the generation of random normal deviates". Two elements from one block;
 * the tails reach 8.57 (53 bits). The polynomials are those of fdlibm (e_log.c, k_sin.c, k_cos.c), within 1 ulp. */

/* log x for a normal x in (0, 1]: x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). */
static inline double log_of(double x) {
  const uint64_t root_half = UINT64_C(0x3fe6a09e00000000), one = UINT64_C(0x3ff0000000000000);
  const uint64_t shifted = bits_of(x) + (one - root_half);
  const double k = from_small(shifted >> 52) - 1023;
  const double f = from_bits((shifted & UINT64_C(0x000fffffffffffff)) + root_half) - 1;
  const double s = f / (2 + f), z = s * s, w = z * z, half = 0.5 * f * f;
  const double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  return s * (half + even + odd) + k * 1.90821492927058770002e-10 - half + f + k * 6.93147180369123816490e-01;
}

static inline double sine_of(double x) {
  const double z = x * x;
  return x + x * z *
                 (-1.66666666666666324348e-01 +
                  z * (8.33333333332248946124e-03 +
                       z * (-1.98412698298579493134e-04 +
                            z * (2.75573137070700676789e-06 +
                                 z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
}

static inline double cosine_of(double x) {
  const double z = x * x;
  return 1 - (0.5 * z - z * z *
                            (4.16666666666666019037e-02 +
                             z * (-1.38888888888741095749e-03 +
                                  z * (2.48015872894767294178e-05 +
                                       z * (-2.75573143513906633035e-07 +
                                            z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11))))));
}

/* The angle is u turns: what u is beyond the nearest quarter, and how many quarters that are, by adding 1.5 x 2^52,
 * beyond which only integers are left. */
static inline void normal_pair(const grad_random_words *words, int64_t i, double *first, double *second) {
  const double half_pi = 1.57079632679489661923, integers = 0x1.8p52;
  const double radius = sqrt(-2 * log_of(1 - uniform_of(words->at[0][i], words->at[1][i])));
  const double quarters = 4 * uniform_of(words->at[2][i], words->at[3][i]), nearest = quarters + integers;
  const double angle = (quarters - (nearest - integers)) * half_pi;
  const uint64_t quadrant = bits_of(nearest), swap = 0 - (quadrant & 1);
  const uint64_t sine = bits_of(sine_of(angle)), cosine = bits_of(cosine_of(angle));
  const uint64_t along = (cosine & ~swap) | (sine & swap), across = (sine & ~swap) | (cosine & swap);
  *first = radius * from_bits(along ^ ((quadrant + 1) & 2) << 62);
  *second = radius * from_bits(across ^ (quadrant & 2) << 62);
}

#define NORMAL(name, real)                                                                                             \
  static void name(int64_t blocks, const grad_random_words *words, void *out) {                                        \
    real *restrict y = out;                                                                                            \
    for (int64_t i = 0; i < blocks; i++) {                                                                             \
      double first, second;                                                                                            \
      normal_pair(words, i, &first, &second);                                                                          \
      y[2 * i] = (real)first;                                                                                          \
      y[2 * i + 1] = (real)second;                                                                                     \
    }                                                                                                                  \
  }
NORMAL(normal_f32, float)
NORMAL(normal_f64, double)

const grad_draws DRAWS = {
    .words = draw_words, .uniform = {uniform_f32, uniform_f64}, .normal = {normal_f32, normal_f64}};

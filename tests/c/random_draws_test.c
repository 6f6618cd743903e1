/* Draws by the hundred against Philox block by block, on every instruction set of this machine. */
#include <math.h>
#include <string.h>

#include "check_program.h"
#include "core/rng.h"
#include "exec/exec.h"
#include "ops/compose.h"
#include "ops/random_draws.h"

enum { BLOCKS = GRAD_DRAW_BLOCKS, PAIRS = 2 * BLOCKS };

static void check_words(const grad_draws *draws, uint64_t key, uint64_t counter, int64_t blocks) {
  grad_random_words words;
  int64_t wrong = 0;
  draws->words(key, counter, blocks, &words);
  for (int64_t i = 0; i < blocks; i++) {
    uint32_t want[4];
    grad__rng_block(key, counter + (uint64_t)i, want);
    for (int k = 0; k < 4; k++) wrong += words.at[k][i] != want[k];
  }
  check(wrong == 0);
}

static void check_values(const grad_draws *draws, const grad_random_words *words) {
  double uniform[PAIRS], normal[PAIRS];
  float uniform_f32[PAIRS], normal_f32[PAIRS];
  int64_t wrong = 0;
  draws->uniform[1](BLOCKS, words, uniform);
  draws->uniform[0](BLOCKS, words, uniform_f32);
  draws->normal[1](BLOCKS, words, normal);
  draws->normal[0](BLOCKS, words, normal_f32);
  for (int i = 0; i < BLOCKS; i++) {
    const double u = grad__rng_uniform(words->at[0][i], words->at[1][i]);
    const double v = grad__rng_uniform(words->at[2][i], words->at[3][i]);
    const double radius = sqrt(-2 * log1p(-u)), angle = 6.283185307179586476925286766559 * v;
    wrong += uniform[2 * i] != u || uniform[2 * i + 1] != v;
    wrong += uniform_f32[2 * i] != (float)(words->at[0][i] >> 8) * 0x1p-24f || uniform_f32[2 * i + 1] >= 1;
    wrong += !(fabs(normal[2 * i] - radius * cos(angle)) < 1e-14);
    wrong += !(fabs(normal[2 * i + 1] - radius * sin(angle)) < 1e-14);
    wrong += normal_f32[2 * i] != (float)normal[2 * i] || normal_f32[2 * i + 1] != (float)normal[2 * i + 1];
  }
  check(wrong == 0);
}

/* Ends of the interval, quarters of a turn, and draws. */
static void fill_words(grad_random_words *words) {
  for (int i = 0; i < BLOCKS; i++)
    for (int k = 0; k < 4; k++) {
      const uint32_t ends[] = {0, UINT32_MAX, 1, UINT32_C(0x80000000)};
      words->at[k][i] = i < 256 / 2 ? ends[i >> 2 * k & 3] : (uint32_t)(i * 2654435761U * (unsigned)(k + 1));
    }
}

static void test_kernels(const grad_draws *draws) {
  grad_random_words words;
  for (int64_t blocks = 1; blocks <= BLOCKS; blocks += blocks < 20 ? 1 : 59) check_words(draws, 12345, 77, blocks);
  check_words(draws, UINT64_MAX, UINT32_MAX - 5, BLOCKS);
  check_words(draws, UINT64_C(1) << 63, UINT64_MAX - 100, BLOCKS);
  draws->words(1, 2, BLOCKS, &words);
  check_values(draws, &words);
  fill_words(&words);
  check_values(draws, &words);
}

static void draw(grad_ctx *ctx, int which, int64_t n, grad_array *out) {
  grad_program *p = NULL;
  int64_t state[2] = {99, INT64_C(1) << 32}, two = 2;
  grad_array in;
  const grad_array *inputs[] = {&in};
  grad__array_wrap(&in, state, GRAD_I64, 1, &two);
  p = check_new(ctx);
  const grad_id s = grad__program_input(p, GRAD_I64, 1, &two);
  grad__program_output(p, which == 0   ? grad__random_uniform(p, s, 3, GRAD_F64, 1, &n)
                          : which == 1 ? grad__random_normal(p, s, 3, GRAD_F32, 1, &n)
                                       : grad__random_integers(p, s, 3, -5, INT64_C(3) << 60, 1, &n));
  check(grad__direct_run(p, inputs, NULL, out) == GRAD_OK);
  grad__program_release(p);
}

/* A shorter draw is the beginning of a longer one, whatever the number of threads and the instruction set. */
static void test_lengths(grad_ctx *ctx, grad_simd simd) {
  static const int64_t lengths[] = {0, 1, 2, 3, 511, 512, 513, 16383, 16384, 16385, 40001};
  for (int which = 0; which < 3; which++) {
    grad_array all = {0}, part = {0};
    ctx->simd = GRAD_SIMD_BASELINE;
    draw(ctx, which, 50000, &all);
    ctx->simd = simd;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      grad_ctx_set_threads(ctx, 1 + (int)i % 2);
      draw(ctx, which, lengths[i], &part);
      const size_t bytes = (size_t)lengths[i] * grad__dtype_size(part.dtype);
      check(bytes == 0 || memcmp(part.data, all.data, bytes) == 0);
      grad__array_release(&part);
    }
    grad__array_release(&all);
  }
  grad_ctx_set_threads(ctx, 1);
}

int main(void) {
  grad_ctx *ctx = check_open();
  const grad_simd best = ctx->simd;
  test_kernels(&grad__draws_baseline);
#if defined __x86_64__
  if (best >= GRAD_SIMD_AVX2) test_kernels(&grad__draws_avx2);
  if (best >= GRAD_SIMD_AVX512) test_kernels(&grad__draws_avx512);
#endif
  for (int simd = 0; simd <= (int)best; simd++) test_lengths(ctx, (grad_simd)simd);
  check_close(ctx);
  return check_done();
}

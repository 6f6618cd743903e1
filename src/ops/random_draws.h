/* random_draws.h: random numbers by the hundred: what op_random.c is made of. Each instruction set has the same bits:
 * the loops are sums, products, quotients and roots of doubles, which IEEE 754 rounds in one way only. */
#ifndef GRAD_OPS_RANDOM_DRAWS_H
#define GRAD_OPS_RANDOM_DRAWS_H

#include "core/ctx.h"

enum { GRAD_DRAW_BLOCKS = 256 };

/* Word k of block i of Philox (core/rng.h) is at[k][i]. */
typedef struct grad_random_words {
  uint32_t at[4][GRAD_DRAW_BLOCKS];
} grad_random_words;

/* Two elements from each of the first `blocks` blocks. */
typedef void (*grad_draw_fn)(int64_t blocks, const grad_random_words *words, void *out);

typedef struct grad_draws {
  /* Blocks from `counter` on, at most GRAD_DRAW_BLOCKS; the rest of `out` is anything. */
  void (*words)(uint64_t key, uint64_t counter, int64_t blocks, grad_random_words *out);
  grad_draw_fn uniform[2], normal[2]; /* f32, f64 */
} grad_draws;

extern const grad_draws grad__draws_baseline;
#if defined __x86_64__
extern const grad_draws grad__draws_avx2, grad__draws_avx512;
#endif

#endif

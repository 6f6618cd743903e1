/* rng.c: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011). The counter fills the low words of the block's 128-bit
 * counter; the high words are zero. */
#include "core/rng.h"

void grad__rng_block(uint64_t key, uint64_t counter, uint32_t out[4]) {
  uint32_t x0 = (uint32_t)counter, x1 = (uint32_t)(counter >> 32), x2 = 0, x3 = 0;
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < GRAD_RNG_ROUNDS; round++) {
    const uint64_t a = (uint64_t)GRAD_RNG_MUL_A * x0, b = (uint64_t)GRAD_RNG_MUL_B * x2;
    x0 = (uint32_t)(b >> 32) ^ x1 ^ k0;
    x1 = (uint32_t)b;
    x2 = (uint32_t)(a >> 32) ^ x3 ^ k1;
    x3 = (uint32_t)a;
    k0 += GRAD_RNG_WEYL_A;
    k1 += GRAD_RNG_WEYL_B;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

double grad__rng_uniform(uint32_t high, uint32_t low) {
  const uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
  return (double)bits * 0x1p-53;
}

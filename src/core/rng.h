/* rng.h: counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A draw is a pure function of (key, counter): the same on every platform and thread count. */
#ifndef GRAD_CORE_RNG_H
#define GRAD_CORE_RNG_H

#include <stdint.h>

/* The paper's multipliers and Weyl constants. */
#define GRAD_RNG_MUL_A 0xD2511F53U
#define GRAD_RNG_MUL_B 0xCD9E8D57U
#define GRAD_RNG_WEYL_A 0x9E3779B9U
#define GRAD_RNG_WEYL_B 0xBB67AE85U
enum { GRAD_RNG_ROUNDS = 10 };

/* The 128 bits of block number `counter` of stream `key`. ops/random_draws.h makes many at once. */
void grad__rng_block(uint64_t key, uint64_t counter, uint32_t out[4]);

/* Uniform in [0, 1) with all 53 bits, from two words. */
double grad__rng_uniform(uint32_t high, uint32_t low);

#endif

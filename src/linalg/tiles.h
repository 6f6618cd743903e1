/* tiles.h: cutting a large product into pieces, for the context's threads and for a prompt interrupt. */
#ifndef GRAD_LINALG_TILES_H
#define GRAD_LINALG_TILES_H

#include <stdint.h>

typedef struct grad_tiles {
  int64_t rows, cols;   /* of one tile of the result; those at its lower and right end may be smaller */
  int64_t down, across; /* how many there are */
} grad_tiles;

/* The cut of an m x n result with inner extent k. It depends on these alone, never on the number of threads: BLAS may
 * add up an element in another order when the matrix around it is smaller, so only a fixed cut gives the same bits
 * always. A tile takes some tens of milliseconds at most, and is large enough that cutting costs at most 5 % on one
 * thread. */
grad_tiles grad__tiles(int64_t m, int64_t n, int64_t k);

#endif

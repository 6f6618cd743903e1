/* tiles.c: see tiles.h. */
#include "linalg/tiles.h"

/* Multiply-adds: what pays for waking a second thread (100 us), and what a core does in 20 to 50 ms. */
static const double least_work = 8e6, most_work = 1e9;
/* Cutting an extent e in two costs about 12 / e of the time, for packing the other factor once more. */
enum { FIRST_CUT = 256, LATER_CUTS = 2048, GRAIN = 48 };

/* Half of it or a little more: a multiple of what kernels hold in registers. */
static int64_t halved(int64_t extent) { return ((extent + 1) / 2 + GRAIN - 1) / GRAIN * GRAIN; }

static int64_t pieces(int64_t extent, int64_t of) { return (extent + of - 1) / of; }

grad_tiles grad__tiles(int64_t m, int64_t n, int64_t k) {
  grad_tiles t = {.rows = m, .cols = n, .down = 1, .across = 1};
  for (;;) {
    const double work = (double)t.rows * (double)t.cols * (double)k;
    int64_t *const longer = t.rows >= t.cols ? &t.rows : &t.cols;
    const int64_t least = t.down * t.across == 1 || work > most_work ? FIRST_CUT : LATER_CUTS;
    if (work < least_work || *longer < least) return t;
    *longer = halved(*longer);
    t.down = pieces(m, t.rows);
    t.across = pieces(n, t.cols);
  }
}

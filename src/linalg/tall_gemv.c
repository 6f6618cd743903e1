/* tall_gemv.c: see tall_gemv.h. Rows are cut into chunks by the shape alone; the sums over rows have a partial result
 * for each, which are added in order.
 */
#include "linalg/tall_gemv.h"

#include <stdatomic.h>
#include <string.h>

#include "core/pool.h"

enum { MOST_COLUMNS = 128, FEWEST_COLUMNS = 4, FEWEST_ROWS = 64, CHUNK_ROWS = 2048, MOST_CHUNKS = 32 };

#define DECLARE(level) extern const grad_tall_kernels grad__tall_kernels_##level[2];
DECLARE(baseline)
#if defined __x86_64__
DECLARE(avx2)
DECLARE(avx512)
#endif
#undef DECLARE

static const grad_tall_kernels *kernels_of(grad_simd simd, grad_dtype dtype) {
  const int slot = dtype == GRAD_F64;
#if defined __x86_64__
  if (simd == GRAD_SIMD_AVX512) return &grad__tall_kernels_avx512[slot];
  if (simd == GRAD_SIMD_AVX2) return &grad__tall_kernels_avx2[slot];
#endif
  (void)simd;
  return &grad__tall_kernels_baseline[slot];
}

typedef union vector {
  float f[MOST_COLUMNS];
  double d[MOST_COLUMNS];
} vector;

typedef struct tall_product {
  grad_ctx *ctx;
  const grad_tall_kernels *kernels;
  bool ta;
  int64_t m, n, lda, chunk, size;
  const char *a, *x;
  char *y;
  vector *partial;
  _Atomic int stopped;
} tall_product;

static void run_rows(void *ud, int64_t index, int worker) {
  tall_product *const p = ud;
  (void)worker;
  if (p->stopped) return;
  if (p->ctx->interrupt && p->ctx->interrupt(p->ctx->interrupt_ud)) {
    p->stopped = 1;
    return;
  }
  const int64_t first = index * p->chunk, rows = p->m - first < p->chunk ? p->m - first : p->chunk;
  const char *const a = p->a + first * p->lda * p->size;
  if (p->ta) {
    memset(&p->partial[index], 0, sizeof p->partial[index]);
    p->kernels->combine(rows, p->n, a, p->lda, p->x + first * p->size, &p->partial[index]);
  } else {
    p->kernels->dots(rows, p->n, a, p->lda, p->x, p->y + first * p->size);
  }
}

bool grad__tall_gemv_fits(int64_t m, int64_t n) {
  return m >= FEWEST_ROWS && n >= FEWEST_COLUMNS && n <= MOST_COLUMNS && n <= m;
}

static void add_partials(grad_dtype dtype, const tall_product *p, int64_t nchunks) {
  for (int64_t j = 0; j < p->n; j++) {
    double sum = 0;
    for (int64_t i = 0; i < nchunks; i++) sum += dtype == GRAD_F64 ? p->partial[i].d[j] : (double)p->partial[i].f[j];
    if (dtype == GRAD_F64) {
      ((double *)(void *)p->y)[j] = sum;
    } else {
      ((float *)(void *)p->y)[j] = (float)sum;
    }
  }
}

grad_status grad__tall_gemv(grad_ctx *ctx, grad_dtype dtype, bool ta, int64_t m, int64_t n, const void *a, int64_t lda,
                            const void *x, void *y) {
  vector partial[MOST_CHUNKS];
  const int64_t size = dtype == GRAD_F64 ? 8 : 4, even = (m + MOST_CHUNKS - 1) / MOST_CHUNKS;
  tall_product p = {.ctx = ctx,
                    .kernels = kernels_of(ctx->simd, dtype),
                    .ta = ta,
                    .m = m,
                    .n = n,
                    .lda = lda,
                    .chunk = even > CHUNK_ROWS ? even : CHUNK_ROWS,
                    .size = size,
                    .a = a,
                    .x = x,
                    .y = y,
                    .partial = partial};
  const int64_t nchunks = (m + p.chunk - 1) / p.chunk;
  grad__pool_run(ctx, nchunks, run_rows, &p);
  if (p.stopped) return grad__fail(ctx, GRAD_EINTERRUPT, "interrupted");
  if (ta) add_partials(dtype, &p, nchunks);
  return GRAD_OK;
}

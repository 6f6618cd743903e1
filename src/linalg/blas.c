/* blas.c: row-major wrappers of BLAS. A row-major matrix is the transpose of the column-major one in the same memory,
 * so factors are swapped or transposed instead of copied. */
#include "linalg/blas.h"
#include "core/pool.h"
#include "linalg/blas_library.h"
#include "linalg/gemm_blocks.h"
#include "linalg/small_gemm.h"
#include "linalg/tall_gemv.h"
#include "linalg/tiles.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

/* Fortran calling convention; f32 and f64 differ in what the pointers to numbers point at. */
typedef void (*gemv_fn)(const char *ta, const int *m, const int *n, const void *alpha, const void *a, const int *lda,
                        const void *x, const int *incx, const void *beta, void *y, const int *incy);
typedef void (*trsm_fn)(const char *side, const char *uplo, const char *ta, const char *diag, const int *m,
                        const int *n, const void *alpha, const void *a, const int *lda, void *b, const int *ldb);

/* Index 0: f32, 1: f64. Written once; see blas_library.c. */
static struct {
  grad_gemm_fn gemm[2];
  gemv_fn gemv[2];
  trsm_fn trsm[2];
  bool complete;
  bool has_small_kernels; /* see gemm_blocks.h */
} blas;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What the library says of itself; "" when it does not. */
static const char *text_of(const char *name) {
  char *(*const get)(void) = (char *(*)(void))grad__blas_library_symbol(name);
  return get ? get() : "";
}

static void find_symbols(void) {
  blas.gemm[0] = (grad_gemm_fn)grad__blas_library_symbol("sgemm_");
  blas.gemm[1] = (grad_gemm_fn)grad__blas_library_symbol("dgemm_");
  blas.gemv[0] = (gemv_fn)grad__blas_library_symbol("sgemv_");
  blas.gemv[1] = (gemv_fn)grad__blas_library_symbol("dgemv_");
  blas.trsm[0] = (trsm_fn)grad__blas_library_symbol("strsm_");
  blas.trsm[1] = (trsm_fn)grad__blas_library_symbol("dtrsm_");
  blas.complete = true;
  for (int i = 0; i < 2; i++) blas.complete = blas.complete && blas.gemm[i] && blas.gemv[i] && blas.trsm[i];
  blas.has_small_kernels = strcmp(text_of("openblas_get_corename"), "SkylakeX") == 0;
}

static grad_status load(grad_ctx *ctx) {
  const grad_status status = grad__blas_library_load(ctx);
  if (status) return status;
  pthread_once(&once, find_symbols);
  if (blas.complete) return GRAD_OK;
  return grad__fail(ctx, GRAD_EUNSUPPORTED, "the BLAS library that was found lacks functions of the standard BLAS");
}

/* The library, and that all extents fit its 32-bit integers. */
static grad_status ready(grad_ctx *ctx, int n, const int64_t *extents) {
  for (int i = 0; i < n; i++) {
    if (extents[i] > INT_MAX || extents[i] < -INT_MAX) {
      return grad__fail(ctx, GRAD_EUNSUPPORTED, "a matrix with an extent of %" PRId64 " is too large: %d is the most",
                        extents[i], INT_MAX);
    }
  }
  return load(ctx);
}

static int slot(grad_dtype dtype) { return dtype == GRAD_F64; }

/* BLAS wants the lowest address of a vector whatever the sign of its step. */
static const void *lowest(grad_dtype dtype, const void *x, int64_t n, int64_t step) {
  return step < 0 ? (const char *)x + (n - 1) * step * (int64_t)grad__dtype_size(dtype) : x;
}

/* A product in tiles: what their threads share. */
typedef struct product {
  grad_ctx *ctx;
  grad_tiles tiles;
  grad_gemm whole;
  _Atomic int stopped; /* a worker must not write to the context: the caller records the interrupt */
} product;

static void multiply(const grad_gemm *p) {
  if (blas.has_small_kernels && grad__gemm_blocks_fit(p)) {
    grad__gemm_blocks(p);
  } else {
    grad__gemm_whole(p);
  }
}

static void run_tile(void *ud, int64_t chunk, int worker) {
  (void)worker;
  product *const p = ud;
  if (p->stopped) return;
  if (p->ctx->interrupt && p->ctx->interrupt(p->ctx->interrupt_ud)) {
    p->stopped = 1;
    return;
  }
  const int64_t row = chunk / p->tiles.across * p->tiles.rows, col = chunk % p->tiles.across * p->tiles.cols;
  const grad_gemm tile = grad__gemm_part(&p->whole, row, col, 0, (int64_t[]){p->tiles.rows, p->tiles.cols, p->whole.k});
  multiply(&tile);
}

grad_status grad__gemm(grad_ctx *ctx, grad_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha,
                       const void *a, int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc) {
  if (m == 0 || n == 0) return GRAD_OK;
  if (k == 0 || grad__small_gemm_fits(m, n, k)) {
    grad__small_gemm(dtype, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return GRAD_OK;
  }
  const grad_status status = ready(ctx, 6, (int64_t[]){m, n, k, lda, ldb, ldc});
  if (status) return status;
  product p = {.ctx = ctx,
               .tiles = grad__tiles(m, n, k),
               .whole = {.fn = blas.gemm[slot(dtype)],
                         .dtype = dtype,
                         .ta = ta,
                         .tb = tb,
                         .m = (int)m,
                         .n = (int)n,
                         .k = (int)k,
                         .lda = (int)lda,
                         .ldb = (int)ldb,
                         .ldc = (int)ldc,
                         .alpha = grad__blas_number(dtype, alpha),
                         .beta = grad__blas_number(dtype, beta),
                         .a = a,
                         .b = b,
                         .c = c}};
  const int64_t ntiles = p.tiles.down * p.tiles.across;
  if (ntiles == 1) {
    const grad_status stopped = grad__interrupted(ctx);
    if (stopped == GRAD_OK) multiply(&p.whole);
    return stopped;
  }
  grad__pool_run(ctx, ntiles, run_tile, &p);
  return p.stopped ? grad__fail(ctx, GRAD_EINTERRUPT, "interrupted") : GRAD_OK;
}

grad_status grad__gemv(grad_ctx *ctx, grad_dtype dtype, bool ta, int64_t m, int64_t n, const void *a, int64_t lda,
                       const void *x, int64_t incx, void *y) {
  const int64_t nx = ta ? m : n, ny = ta ? n : m;
  if (ny == 0) return GRAD_OK;
  if (nx == 0 || (incx == 1 && grad__small_gemm_fits(ny, 1, nx))) { /* BLAS leaves y as it is when nx is 0 */
    grad__small_gemm(dtype, ta, false, ny, 1, nx, 1, a, lda, x, 1, 0, y, 1);
    return GRAD_OK;
  }
  if (incx == 1 && grad__tall_gemv_fits(m, n)) return grad__tall_gemv(ctx, dtype, ta, m, n, a, lda, x, y);
  const grad_status status = ready(ctx, 4, (int64_t[]){m, n, lda, incx});
  if (status) return status;
  const int rows = (int)m, cols = (int)n, la = (int)lda, step = (int)incx, dense = 1;
  const grad_blas_number one = grad__blas_number(dtype, 1), zero = grad__blas_number(dtype, 0);
  blas.gemv[slot(dtype)](ta ? "N" : "T", &cols, &rows, &one, a, &la, lowest(dtype, x, nx, incx), &step, &zero, y,
                         &dense);
  return GRAD_OK;
}

grad_status grad__trsm(grad_ctx *ctx, grad_dtype dtype, bool lower, bool ta, int64_t m, int64_t n, const void *a,
                       int64_t lda, void *b, int64_t ldb) {
  if (m == 0 || n == 0) return GRAD_OK;
  const grad_status status = ready(ctx, 4, (int64_t[]){m, n, lda, ldb});
  if (status) return status;
  const int rows = (int)m, cols = (int)n, la = (int)lda, lb = (int)ldb;
  const grad_blas_number one = grad__blas_number(dtype, 1);
  blas.trsm[slot(dtype)]("R", lower ? "U" : "L", ta ? "T" : "N", "N", &cols, &rows, &one, a, &la, b, &lb);
  return GRAD_OK;
}

grad_status grad__blas_info(grad_ctx *ctx, grad_blas_info *out) {
  const grad_status status = load(ctx);
  if (status) return status;
  int (*const threads)(void) = (int (*)(void))grad__blas_library_symbol("openblas_get_num_threads");
  *out = (grad_blas_info){.version = text_of("openblas_get_config"),
                          .core = text_of("openblas_get_corename"),
                          .threads = threads ? threads() : 1};
  return GRAD_OK;
}

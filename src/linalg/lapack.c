/* lapack.c: wrappers of LAPACK. Its functions are Fortran's: everything by address, and the length of every text behind
 * the other arguments. */
#include "linalg/lapack.h"
#include "linalg/blas_library.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>

enum { BLOCK = 64 }; /* at least LAPACK's block size, for workspace that lets it work in blocks */

typedef void (*getrf_fn)(const int *m, const int *n, void *a, const int *lda, int *pivots, int *info);
typedef void (*getrs_fn)(const char *trans, const int *n, const int *k, const void *a, const int *lda,
                         const int *pivots, void *b, const int *ldb, int *info, size_t);
typedef void (*getri_fn)(const int *n, void *a, const int *lda, const int *pivots, void *work, const int *lwork,
                         int *info);
typedef void (*potrf_fn)(const char *uplo, const int *n, void *a, const int *lda, int *info, size_t);
typedef void (*geqrf_fn)(const int *m, const int *n, void *a, const int *lda, void *tau, void *work, const int *lwork,
                         int *info);
typedef void (*orgqr_fn)(const int *m, const int *n, const int *k, void *a, const int *lda, const void *tau, void *work,
                         const int *lwork, int *info);
typedef void (*gesdd_fn)(const char *job, const int *m, const int *n, void *a, const int *lda, void *s, void *u,
                         const int *ldu, void *vt, const int *ldvt, void *work, const int *lwork, int *iwork, int *info,
                         size_t);
typedef void (*syevd_fn)(const char *job, const char *uplo, const int *n, void *a, const int *lda, void *w, void *work,
                         const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);

/* Index 0: f32, 1: f64. Written once; see blas_library.c. */
static struct {
  getrf_fn getrf[2];
  getrs_fn getrs[2];
  getri_fn getri[2];
  potrf_fn potrf[2];
  geqrf_fn geqrf[2];
  orgqr_fn orgqr[2];
  gesdd_fn gesdd[2];
  syevd_fn syevd[2];
  bool complete;
} lapack;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_symbols(void) {
  lapack.getrf[0] = (getrf_fn)grad__blas_library_symbol("sgetrf_");
  lapack.getrf[1] = (getrf_fn)grad__blas_library_symbol("dgetrf_");
  lapack.getrs[0] = (getrs_fn)grad__blas_library_symbol("sgetrs_");
  lapack.getrs[1] = (getrs_fn)grad__blas_library_symbol("dgetrs_");
  lapack.getri[0] = (getri_fn)grad__blas_library_symbol("sgetri_");
  lapack.getri[1] = (getri_fn)grad__blas_library_symbol("dgetri_");
  lapack.potrf[0] = (potrf_fn)grad__blas_library_symbol("spotrf_");
  lapack.potrf[1] = (potrf_fn)grad__blas_library_symbol("dpotrf_");
  lapack.geqrf[0] = (geqrf_fn)grad__blas_library_symbol("sgeqrf_");
  lapack.geqrf[1] = (geqrf_fn)grad__blas_library_symbol("dgeqrf_");
  lapack.orgqr[0] = (orgqr_fn)grad__blas_library_symbol("sorgqr_");
  lapack.orgqr[1] = (orgqr_fn)grad__blas_library_symbol("dorgqr_");
  lapack.gesdd[0] = (gesdd_fn)grad__blas_library_symbol("sgesdd_");
  lapack.gesdd[1] = (gesdd_fn)grad__blas_library_symbol("dgesdd_");
  lapack.syevd[0] = (syevd_fn)grad__blas_library_symbol("ssyevd_");
  lapack.syevd[1] = (syevd_fn)grad__blas_library_symbol("dsyevd_");
  lapack.complete = true;
  for (int i = 0; i < 2; i++) {
    lapack.complete = lapack.complete && lapack.getrf[i] && lapack.getrs[i] && lapack.getri[i] && lapack.potrf[i] &&
                      lapack.geqrf[i] && lapack.orgqr[i] && lapack.gesdd[i] && lapack.syevd[i];
  }
}

/* The library, and that extents and workspace fit its 32-bit integers. Polls for an interrupt, for batches. */
static grad_status ready(grad_ctx *ctx, int64_t largest, int64_t work) {
  if (largest > INT_MAX || work > INT_MAX) {
    return grad__fail(ctx, GRAD_EUNSUPPORTED, "a matrix with an extent of %" PRId64 " is too large to be factored",
                      largest);
  }
  const grad_status status = grad__blas_library_load(ctx);
  if (status) return status;
  pthread_once(&once, find_symbols);
  if (lapack.complete) return grad__interrupted(ctx);
  return grad__fail(ctx, GRAD_EUNSUPPORTED, "the BLAS library that was found has no LAPACK: install OpenBLAS with it");
}

static int slot(grad_dtype dtype) { return dtype == GRAD_F64; }
static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* A negative info names a bad argument: ours, since nothing that a user gives gets here unchecked. */
static grad_status checked(grad_ctx *ctx, const char *name, int info) {
  if (info >= 0) return GRAD_OK;
  return grad__fail(ctx, GRAD_EINTERNAL, "LAPACK's %s refuses its argument %d: please report it", name, -info);
}

static grad_status converged(grad_ctx *ctx, const char *name, int info) {
  if (info <= 0) return checked(ctx, name, info);
  return grad__fail(ctx, GRAD_ENOCONV, "LAPACK's %s did not converge (%d)", name, info);
}

grad_status grad__getrf(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, int *pivots) {
  const grad_status status = ready(ctx, n, 0);
  if (status) return status;
  const int order = (int)n;
  int info = 0;
  lapack.getrf[slot(dtype)](&order, &order, a, &order, pivots, &info);
  return checked(ctx, "getrf", info);
}

grad_status grad__getrs(grad_ctx *ctx, grad_dtype dtype, bool transposed, int64_t n, int64_t k, const void *lu,
                        const int *pivots, void *b) {
  const grad_status status = ready(ctx, max_i64(n, k), 0);
  if (status) return status;
  const int order = (int)n, columns = (int)k;
  int info = 0;
  lapack.getrs[slot(dtype)](transposed ? "T" : "N", &order, &columns, lu, &order, pivots, b, &order, &info, 1);
  return checked(ctx, "getrs", info);
}

int64_t grad__work_inverse(int64_t n) { return n * BLOCK; }

grad_status grad__getri(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *lu, const int *pivots, void *work) {
  const int64_t size = grad__work_inverse(n);
  const grad_status status = ready(ctx, n, size);
  if (status) return status;
  const int order = (int)n, lwork = (int)size;
  int info = 0;
  lapack.getri[slot(dtype)](&order, lu, &order, pivots, work, &lwork, &info);
  return checked(ctx, "getri", info);
}

grad_status grad__potrf(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, int64_t *minor) {
  const grad_status status = ready(ctx, n, 0);
  if (status) return status;
  const int order = (int)n;
  int info = 0;
  lapack.potrf[slot(dtype)]("U", &order, a, &order, &info, 1);
  if (info <= 0) return checked(ctx, "potrf", info);
  *minor = info;
  return GRAD_ENOTPD;
}

int64_t grad__work_qr(int64_t m, int64_t n) {
  (void)m;
  return n * BLOCK;
}

grad_status grad__geqrf(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t n, void *a, void *tau, void *work) {
  const int64_t size = grad__work_qr(m, n);
  const grad_status status = ready(ctx, max_i64(m, n), size);
  if (status) return status;
  const int rows = (int)m, columns = (int)n, lwork = (int)size;
  int info = 0;
  lapack.geqrf[slot(dtype)](&rows, &columns, a, &rows, tau, work, &lwork, &info);
  return checked(ctx, "geqrf", info);
}

grad_status grad__orgqr(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t k, void *a, const void *tau, void *work) {
  const int64_t size = grad__work_qr(m, k);
  const grad_status status = ready(ctx, max_i64(m, k), size);
  if (status) return status;
  const int rows = (int)m, columns = (int)k, lwork = (int)size;
  int info = 0;
  lapack.orgqr[slot(dtype)](&rows, &columns, &columns, a, &rows, tau, work, &lwork, &info);
  return checked(ctx, "orgqr", info);
}

/* The documented minimum for job 'S', and room for blocks. */
int64_t grad__work_svd(int64_t m, int64_t n, int64_t *iwork) {
  const int64_t k = min_i64(m, n);
  *iwork = 8 * k;
  return 4 * k * k + 7 * k + BLOCK * (m + n);
}

grad_status grad__gesdd(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t n, void *a, void *s, void *u, void *vt,
                        void *work, int *iwork) {
  int64_t integers;
  const int64_t size = grad__work_svd(m, n, &integers);
  const grad_status status = ready(ctx, max_i64(m, n), size);
  if (status) return status;
  const int rows = (int)m, columns = (int)n, least = (int)min_i64(m, n), lwork = (int)size;
  int info = 0;
  lapack.gesdd[slot(dtype)]("S", &rows, &columns, a, &rows, s, u, &rows, vt, &least, work, &lwork, iwork, &info, 1);
  return converged(ctx, "gesdd", info);
}

/* The documented minimum, and room for blocks. */
int64_t grad__work_eigh(int64_t n, int64_t *iwork) {
  *iwork = 3 + 5 * n;
  return 1 + 6 * n + 2 * n * n + BLOCK * n;
}

grad_status grad__syevd(grad_ctx *ctx, grad_dtype dtype, int64_t n, void *a, void *w, void *work, int *iwork) {
  int64_t integers;
  const int64_t size = grad__work_eigh(n, &integers);
  const grad_status status = ready(ctx, n, size);
  if (status) return status;
  const int order = (int)n, lwork = (int)size, liwork = (int)integers;
  int info = 0;
  lapack.syevd[slot(dtype)]("V", "L", &order, a, &order, w, work, &lwork, iwork, &liwork, &info, 1, 1);
  return converged(ctx, "syevd", info);
}

/* blas_test.c: the row-major wrappers of BLAS against plain loops, around the size where the small loop hands over. */
#include "check_alloc.h"

#include <pthread.h>
#include <stdlib.h>

#include "array/array.h"
#include "linalg/blas.h"

static grad_ctx *ctx;
enum { LD = 44, MOST = 40 * LD };

/* Small integers, so that every product is exact in f32 too. */
static void randomize(grad_dtype dtype, void *data) {
  for (int64_t i = 0; i < MOST; i++) grad__float_put(dtype, data, i, (double)(rand() % 9 - 4));
}

static double op(grad_dtype dtype, const void *a, bool transposed, int64_t i, int64_t j) {
  return grad__float_get(dtype, a, transposed ? j * LD + i : i * LD + j);
}

static void test_gemm(grad_dtype dtype, int64_t m, int64_t n, int64_t k, bool ta, bool tb, double alpha, double beta) {
  static double a[MOST], b[MOST], c[MOST], before[MOST];
  randomize(dtype, a);
  randomize(dtype, b);
  randomize(dtype, c);
  if (beta == 0 && m > 0 && n > 0) grad__float_put(dtype, c, 0, (double)NAN);
  memcpy(before, c, sizeof c);
  check(grad__gemm(ctx, dtype, ta, tb, m, n, k, alpha, a, LD, b, LD, beta, c, LD) == GRAD_OK);
  bool same = true;
  for (int64_t i = 0; i < MOST / LD; i++) {
    for (int64_t j = 0; j < LD; j++) {
      double want = 0;
      const double old = grad__float_get(dtype, before, i * LD + j);
      for (int64_t p = 0; p < k; p++) want += i < m && j < n ? op(dtype, a, ta, i, p) * op(dtype, b, tb, p, j) : 0;
      want = i < m && j < n ? alpha * want + (beta == 0 ? 0 : beta * old) : old;
      same = same && grad__float_get(dtype, c, i * LD + j) == want;
    }
  }
  if (!check(same)) fprintf(stderr, "  gemm %d: %d x %d x %d, %d %d\n", dtype, (int)m, (int)n, (int)k, ta, tb);
}

static void test_gemv(grad_dtype dtype, int64_t m, int64_t n, bool ta, int64_t incx) {
  static double a[MOST], x[MOST], y[MOST];
  const int64_t middle = MOST / 2, size = dtype == GRAD_F32 ? 4 : 8, ny = ta ? n : m;
  randomize(dtype, a);
  randomize(dtype, x);
  for (int64_t i = 0; i <= ny; i++) grad__float_put(dtype, y, i, i < ny ? (double)NAN : 7);
  check(grad__gemv(ctx, dtype, ta, m, n, a, LD, (char *)x + middle * size, incx, y) == GRAD_OK);
  bool same = grad__float_get(dtype, y, ny) == 7;
  for (int64_t i = 0; i < ny; i++) {
    double want = 0;
    for (int64_t j = 0; j < (ta ? m : n); j++)
      want += op(dtype, a, ta, i, j) * grad__float_get(dtype, x, middle + j * incx);
    same = same && grad__float_get(dtype, y, i) == want;
  }
  if (!check(same)) fprintf(stderr, "  gemv %d: %d x %d, %d, step %d\n", dtype, (int)m, (int)n, ta, (int)incx);
}

static void test_trsm(grad_dtype dtype, bool lower, bool ta) {
  static double a[MOST], x[MOST], b[MOST];
  const int64_t m = 9, n = 7;
  randomize(dtype, a);
  randomize(dtype, x);
  for (int64_t i = 0; i < m; i++) grad__float_put(dtype, a, i * LD + i, 2);
  memcpy(b, x, sizeof b);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < m; p++) {
        const bool stored = (lower != ta) ? p <= i : p >= i;
        if (stored) sum += op(dtype, a, ta, i, p) * grad__float_get(dtype, x, p * LD + j);
      }
      grad__float_put(dtype, b, i * LD + j, sum);
    }
  }
  check(grad__trsm(ctx, dtype, lower, ta, m, n, a, LD, b, LD) == GRAD_OK);
  for (int64_t i = 0; i < m * LD; i++) {
    if (i % LD < n)
      check_near(grad__float_get(dtype, b, i), grad__float_get(dtype, x, i), dtype == GRAD_F32 ? 2e-3 : 1e-10);
  }
}

/* Polled from any thread. */
static int keep_going(void *ud) { return ++*(_Atomic int *)ud > 1000; }
static int stop(void *ud) { return ++*(_Atomic int *)ud > 1; }

/* Any number of threads, and the cuts that let an interrupt in, give the same bits. */
static void test_threads(grad_dtype dtype, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  const size_t size = dtype == GRAD_F32 ? 4 : 8, bytes = (size_t)(m * n) * size;
  char *const a = malloc((size_t)(m * k) * size), *const b = malloc((size_t)(k * n) * size);
  char *const whole = malloc(bytes), *const cut = malloc(bytes);
  for (int64_t i = 0; i < m * k; i++) grad__float_put(dtype, a, i, sin((double)i * 0.7));
  for (int64_t i = 0; i < k * n; i++) grad__float_put(dtype, b, i, cos((double)i * 1.3));
  check(grad__gemm(ctx, dtype, ta, tb, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, whole, n) == GRAD_OK);
  for (int threads = 2; threads <= 7; threads += 1 + threads % 2) {
    _Atomic int polls = 0;
    grad_ctx *other;
    const grad_config config = {.threads = threads, .interrupt = keep_going, .interrupt_ud = &polls};
    check(grad_ctx_new(&config, &other) == GRAD_OK);
    check(grad__gemm(other, dtype, ta, tb, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, cut, n) == GRAD_OK);
    if (!check(memcmp(whole, cut, bytes) == 0)) {
      fprintf(stderr, "  %d x %d x %d, %d %d, %d threads\n", (int)m, (int)n, (int)k, ta, tb, threads);
    }
    grad_ctx_free(other);
  }
  free(a);
  free(b);
  free(whole);
  free(cut);
}

static void test_interrupt(void) {
  _Atomic int polls = 0;
  grad_ctx *other;
  check(grad_ctx_new(&(grad_config){.threads = 4, .interrupt = stop, .interrupt_ud = &polls}, &other) == GRAD_OK);
  double *const a = calloc(512 * 512, sizeof *a), *const c = malloc(512 * 512 * sizeof *c);
  check(grad__gemm(other, GRAD_F64, false, false, 512, 512, 512, 1, a, 512, a, 512, 0, c, 512) == GRAD_EINTERRUPT);
  free(a);
  free(c);
  grad_ctx_free(other);
}

/* Contexts share nothing: many threads, each with its own, multiply at once. */
static void *multiply_alone(void *ud) {
  enum { N = 60 };
  grad_ctx *own;
  double a[N * N], c[N * N];
  for (int i = 0; i < N * N; i++) a[i] = i % 7;
  if (grad_ctx_new(&(grad_config){.threads = 2}, &own) != GRAD_OK) return NULL;
  bool good = true;
  for (int repeat = 0; repeat < 20; repeat++) {
    good = good && grad__gemm(own, GRAD_F64, false, false, N, N, N, 1, a, N, a, N, 0, c, N) == GRAD_OK;
    double want = 0;
    for (int k = 0; k < N; k++) want += a[3 * N + k] * a[k * N + 5];
    good = good && c[3 * N + 5] == want;
  }
  grad_ctx_free(own);
  *(bool *)ud = good;
  return NULL;
}

static void test_contexts(void) {
  enum { THREADS = 16 };
  pthread_t threads[THREADS];
  bool good[THREADS] = {false};
  for (int i = 0; i < THREADS; i++) check(pthread_create(&threads[i], NULL, multiply_alone, &good[i]) == 0);
  for (int i = 0; i < THREADS; i++) check(pthread_join(threads[i], NULL) == 0 && good[i]);
}

static void test_limits(void) {
  double x = 0;
  check(grad__gemm(ctx, GRAD_F64, false, false, INT64_C(1) << 40, 1, 1, 1, &x, 1, &x, 1, 0, &x, 1) ==
        GRAD_EUNSUPPORTED);
}

static void test_info(void) {
  grad_blas_info info;
  check(grad__blas_info(ctx, &info) == GRAD_OK && info.version && info.core);
  check(getenv("OPENBLAS_NUM_THREADS") || info.threads == 1);
}

int main(void) {
  test_contexts(); /* first of all, so that they load the library at once */
  static const int64_t sizes[] = {0, 1, 2, 5, 8, 17, 40}, steps[] = {1, -2, 3};
  ctx = check_open();
  for (grad_dtype dtype = GRAD_F32; dtype <= GRAD_F64; dtype++) {
    for (int i = 0; i < 7 * 7 * 7; i++) {
      const int64_t m = sizes[i % 7], n = sizes[i / 7 % 7], k = sizes[i / 49];
      test_gemm(dtype, m, n, k, i % 2, i / 2 % 2, 1, i % 3);
      test_gemm(dtype, m, n, k, (i + 1) % 2, i / 2 % 2, 2, 0);
    }
    for (int i = 0; i < 49 * 2; i++) test_gemv(dtype, sizes[i % 7], sizes[i / 7 % 7], i / 49, steps[i % 3]);
    for (int i = 0; i < 4; i++) test_trsm(dtype, i & 1, i & 2);
    test_threads(dtype, 64, 128, 784, false, false);
    test_threads(dtype, 784, 130, 97, true, false);
    test_threads(dtype, 301, 257, 300, false, true);
    test_threads(dtype, 1000, 17, 801, true, true);
    test_threads(dtype, 33, 500, 1024, false, false);
  }
  test_interrupt();
  test_limits();
  test_info();
  check_close(ctx);
  return check_done();
}

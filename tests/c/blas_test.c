/* blas_test.c: the row-major wrappers of BLAS against plain loops, around the size where the small loop hands over. */
#include "check_alloc.h"

#include <pthread.h>
#include <stdlib.h>

#include "linalg/blas.h"

static grad_ctx *ctx;
enum { LD = 44, MOST = 40 * LD };

static double get(grad_dtype dtype, const void *data, int64_t i) {
  return dtype == GRAD_F32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

static void put(grad_dtype dtype, void *data, int64_t i, double x) {
  if (dtype == GRAD_F32) {
    ((float *)data)[i] = (float)x;
  } else {
    ((double *)data)[i] = x;
  }
}

/* Small integers, so that every product is exact in f32 too. */
static void randomize(grad_dtype dtype, void *data) {
  for (int64_t i = 0; i < MOST; i++) put(dtype, data, i, (double)(rand() % 9 - 4));
}

static double op(grad_dtype dtype, const void *a, bool transposed, int64_t i, int64_t j) {
  return get(dtype, a, transposed ? j * LD + i : i * LD + j);
}

static void test_gemm(grad_dtype dtype, int64_t m, int64_t n, int64_t k, bool ta, bool tb, double alpha, double beta) {
  static double a[MOST], b[MOST], c[MOST], before[MOST];
  randomize(dtype, a);
  randomize(dtype, b);
  randomize(dtype, c);
  if (beta == 0 && m > 0 && n > 0) put(dtype, c, 0, (double)NAN);
  memcpy(before, c, sizeof c);
  check(grad__gemm(ctx, dtype, ta, tb, m, n, k, alpha, a, LD, b, LD, beta, c, LD) == GRAD_OK);
  bool same = true;
  for (int64_t i = 0; i < MOST / LD; i++) {
    for (int64_t j = 0; j < LD; j++) {
      double want = 0;
      const double old = get(dtype, before, i * LD + j);
      for (int64_t p = 0; p < k; p++) want += i < m && j < n ? op(dtype, a, ta, i, p) * op(dtype, b, tb, p, j) : 0;
      want = i < m && j < n ? alpha * want + (beta == 0 ? 0 : beta * old) : old;
      same = same && get(dtype, c, i * LD + j) == want;
    }
  }
  if (!check(same)) fprintf(stderr, "  gemm %d: %d x %d x %d, %d %d\n", dtype, (int)m, (int)n, (int)k, ta, tb);
}

static void test_gemv(grad_dtype dtype, int64_t m, int64_t n, bool ta, int64_t incx, int64_t incy, double beta) {
  static double a[MOST], x[MOST], y[MOST], before[MOST];
  randomize(dtype, a);
  randomize(dtype, x);
  randomize(dtype, y);
  if (beta == 0) put(dtype, y, MOST / 2, (double)NAN);
  memcpy(before, y, sizeof y);
  const int64_t middle = MOST / 2, size = dtype == GRAD_F32 ? 4 : 8, ny = ta ? n : m;
  check(grad__gemv(ctx, dtype, ta, m, n, 2, a, LD, (char *)x + middle * size, incx, beta, (char *)y + middle * size,
                   incy) == GRAD_OK);
  bool same = true;
  for (int64_t i = 0; i < ny; i++) {
    double want = beta == 0 ? 0 : beta * get(dtype, before, middle + i * incy);
    for (int64_t j = 0; j < (ta ? m : n); j++) want += 2 * op(dtype, a, ta, i, j) * get(dtype, x, middle + j * incx);
    same = same && (get(dtype, y, middle + i * incy) == want);
  }
  if (!check(same))
    fprintf(stderr, "  gemv %d: %d x %d, %d, steps %d %d\n", dtype, (int)m, (int)n, ta, (int)incx, (int)incy);
}

static void test_syrk(grad_dtype dtype, bool lower, bool ta) {
  static double a[MOST], c[MOST], want[MOST];
  randomize(dtype, a);
  randomize(dtype, c);
  memcpy(want, c, sizeof c);
  const int64_t n = 20, k = 13;
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += op(dtype, a, ta, i, p) * op(dtype, a, ta, j, p);
      if (lower ? j <= i : j >= i) put(dtype, want, i * LD + j, sum + 3 * get(dtype, c, i * LD + j));
    }
  }
  check(grad__syrk(ctx, dtype, lower, ta, n, k, 1, a, LD, 3, c, LD) == GRAD_OK);
  check(memcmp(c, want, sizeof c) == 0);
}

static void test_trsm(grad_dtype dtype, bool right, bool lower, bool ta, bool unit) {
  static double a[MOST], x[MOST], b[MOST];
  const int64_t m = 9, n = 7, order = right ? n : m;
  randomize(dtype, a);
  randomize(dtype, x);
  for (int64_t i = 0; i < order; i++) put(dtype, a, i * LD + i, 2);
  memcpy(b, x, sizeof b);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < order; p++) {
        const int64_t row = right ? p : i, col = right ? j : p, r = ta ? col : row, c = ta ? row : col;
        const double factor = r == c && unit ? 1 : (lower ? c > r : c < r) ? 0 : get(dtype, a, r * LD + c);
        sum += factor * get(dtype, x, right ? i * LD + p : p * LD + j);
      }
      put(dtype, b, i * LD + j, sum);
    }
  }
  check(grad__trsm(ctx, dtype, right, lower, ta, unit, m, n, 1, a, LD, b, LD) == GRAD_OK);
  for (int64_t i = 0; i < m * LD; i++) {
    if (i % LD < n) check_near(get(dtype, b, i), get(dtype, x, i), dtype == GRAD_F32 ? 2e-3 : 1e-10);
  }
}

static void test_dot(grad_dtype dtype) {
  static double x[MOST], y[MOST];
  randomize(dtype, x);
  randomize(dtype, y);
  double want = 0, got = 0;
  for (int64_t i = 0; i < 100; i++) want += get(dtype, x, 200 - 2 * i) * get(dtype, y, i * 3);
  const int64_t size = dtype == GRAD_F32 ? 4 : 8;
  check(grad__dot(ctx, dtype, 100, (char *)x + 200 * size, -2, y, 3, &got) == GRAD_OK && got == want);
  check(grad__dot(ctx, dtype, 0, x, 1, y, 1, &got) == GRAD_OK && got == 0);
}

/* Polled from any thread. */
static int keep_going(void *ud) { return ++*(_Atomic int *)ud > 1000; }
static int stop(void *ud) { return ++*(_Atomic int *)ud > 1; }

/* Any number of threads, and the cuts that let an interrupt in, give the same bits. */
static void test_threads(grad_dtype dtype, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  const size_t size = dtype == GRAD_F32 ? 4 : 8, bytes = (size_t)(m * n) * size;
  char *const a = malloc((size_t)(m * k) * size), *const b = malloc((size_t)(k * n) * size);
  char *const whole = malloc(bytes), *const cut = malloc(bytes);
  for (int64_t i = 0; i < m * k; i++) put(dtype, a, i, sin((double)i * 0.7));
  for (int64_t i = 0; i < k * n; i++) put(dtype, b, i, cos((double)i * 1.3));
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
  check(grad__blas_set_threads(ctx, 0) == GRAD_EVALUE);
}

static void test_info(void) {
  grad_blas_info info;
  check(getenv("OPENBLAS_NUM_THREADS") || (grad__blas_info(ctx, &info) == GRAD_OK && info.threads == 1 && info.ours));
  check(grad__blas_info(ctx, &info) == GRAD_OK && info.version && info.core);
  check(grad__blas_set_threads(ctx, 2) == GRAD_OK && grad__blas_info(ctx, &info) == GRAD_OK);
  check(info.threads == 2 || strstr(info.version, "OpenBLAS") == NULL);
  check(grad__blas_set_threads(ctx, 1) == GRAD_OK);
}

int main(void) {
  test_contexts(); /* first of all, so that they load the library at once */
  static const int64_t sizes[] = {0, 1, 2, 5, 8, 17, 40}, steps[] = {1, -2, 3};
  check(grad_ctx_new(NULL, &ctx) == GRAD_OK);
  for (grad_dtype dtype = GRAD_F32; dtype <= GRAD_F64; dtype++) {
    for (int i = 0; i < 7 * 7 * 7; i++) {
      const int64_t m = sizes[i % 7], n = sizes[i / 7 % 7], k = sizes[i / 49];
      test_gemm(dtype, m, n, k, i % 2, i / 2 % 2, 1, i % 3);
      test_gemm(dtype, m, n, k, (i + 1) % 2, i / 2 % 2, 2, 0);
    }
    for (int i = 0; i < 49 * 2; i++)
      test_gemv(dtype, sizes[i % 7], sizes[i / 7 % 7], i / 49, steps[i % 3], 1 + i % 2, i % 5 > 0);
    for (int i = 0; i < 16; i++) {
      test_trsm(dtype, i & 1, i & 2, i & 4, i & 8);
      test_syrk(dtype, i & 1, i & 2);
    }
    test_dot(dtype);
    test_threads(dtype, 64, 128, 784, false, false);
    test_threads(dtype, 784, 130, 97, true, false);
    test_threads(dtype, 301, 257, 300, false, true);
    test_threads(dtype, 1000, 17, 801, true, true);
    test_threads(dtype, 33, 500, 1024, false, false);
  }
  test_interrupt();
  test_limits();
  test_info();
  check(ctx->used == 0);
  grad_ctx_free(ctx);
  return check_done();
}

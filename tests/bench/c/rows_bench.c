/* rows_bench.c: row-wise patterns: value and gradient of the mean cross entropy of softmax, and of a layer norm,
 * against C by hand that does each row in one go, with the same SLEEF functions. */
#include "bench.h"

#if defined __AVX512F__
#include <immintrin.h>
#include <sleef.h>

/* e[i] = exp(x[i] - top); returns their sum */
static double exponentials(int64_t n, const double *x, double top, double *e) {
  __m512d sum = _mm512_setzero_pd(), t = _mm512_set1_pd(top);
  for (int64_t i = 0; i < n; i += 8) {
    __m512d v = Sleef_finz_expd8_u10avx512f(_mm512_sub_pd(_mm512_loadu_pd(x + i), t));
    _mm512_storeu_pd(e + i, v);
    sum = _mm512_add_pd(sum, v);
  }
  return _mm512_reduce_add_pd(sum);
}
#else
static double exponentials(int64_t n, const double *x, double top, double *e) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += e[i] = exp(x[i] - top);
  return sum;
}
#endif

/* -mean over rows of sum(y * log_softmax(x)) */
static grad_program *cross_entropy(grad_ctx *ctx, int64_t rows, int64_t columns) {
  grad_program *p = bench_program(ctx);
  const int64_t shape[] = {rows, columns};
  grad_id x = grad__program_input(p, GRAD_F64, 2, shape), y = grad__program_input(p, GRAD_F64, 2, shape);
  grad_id shifted =
      grad__sub(p, x, grad__emit(p, &grad__op_stop_gradient, 1, (grad_id[]){grad__max(p, x, 2, true)}, 0, NULL));
  grad_id sum = grad__sum(p, grad__op1(p, &grad__op_exp, shifted), 2, true);
  grad_id logp = grad__sub(p, shifted, grad__op1(p, &grad__op_log, sum));
  grad_id loss = grad__sum(p, grad__mul(p, logp, y), 3, false);
  grad__program_output(p, grad__mul(p, loss, grad__lit(p, -1 / (double)rows, loss)));
  return bench_grad(p, 1);
}

static double hand_value, *hand_gradient;

static void cross_entropy_by_hand(void *ud) {
  bench_plan *p = ud;
  const int64_t rows = p->in[0].shape[0], n = p->in[0].shape[1];
  double total = 0;
  for (int64_t r = 0; r < rows; r++) {
    const double *x = bench_in(p, 0) + r * n, *y = bench_in(p, 1) + r * n;
    double *g = hand_gradient + r * n, top = -INFINITY, dot = 0, weight = 0;
    for (int64_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    const double sum = exponentials(n, x, top, g), log_sum = log(sum);
    for (int64_t i = 0; i < n; i++) {
      dot += y[i] * (x[i] - top - log_sum);
      weight += y[i];
    }
    total += dot;
    const double scale = 1 / (double)rows, share = weight / sum;
    for (int64_t i = 0; i < n; i++) g[i] = scale * (g[i] * share - y[i]);
  }
  hand_value = -total / (double)rows;
}

/* sum(y * (x - mean) / sqrt(variance + eps)) */
static grad_program *layer_norm(grad_ctx *ctx, int64_t rows, int64_t columns) {
  grad_program *p = bench_program(ctx);
  const int64_t shape[] = {rows, columns};
  grad_id x = grad__program_input(p, GRAD_F64, 2, shape), y = grad__program_input(p, GRAD_F64, 2, shape);
  grad_id sum = grad__sum(p, x, 2, true),
          centred = grad__sub(p, x, grad__mul(p, sum, grad__lit(p, 1 / (double)columns, sum)));
  grad_id square = grad__sum(p, grad__mul(p, centred, centred), 2, true);
  grad_id variance = grad__mul(p, square, grad__lit(p, 1 / (double)columns, square));
  grad_id scale = grad__op1(p, &grad__op_rsqrt, grad__add(p, variance, grad__lit(p, 1e-5, variance)));
  grad__program_output(p, grad__sum(p, grad__mul(p, grad__mul(p, centred, scale), y), 3, false));
  return bench_grad(p, 1);
}

static void layer_norm_by_hand(void *ud) {
  bench_plan *p = ud;
  const int64_t rows = p->in[0].shape[0], n = p->in[0].shape[1];
  hand_value = 0;
  for (int64_t r = 0; r < rows; r++) {
    const double *x = bench_in(p, 0) + r * n, *y = bench_in(p, 1) + r * n;
    double *g = hand_gradient + r * n, sum = 0, square = 0, dot = 0, weight = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
      const double c = x[i] - mean;
      square += c * c;
      dot += c * y[i];
      weight += y[i];
    }
    const double scale = 1 / sqrt(square / (double)n + 1e-5), k = dot * scale * scale / (double)n;
    hand_value += dot * scale;
    for (int64_t i = 0; i < n; i++) g[i] = scale * (y[i] - weight / (double)n - (x[i] - mean) * k);
  }
}

static void run_plan(void *ud) { bench_plan_run(ud); }

static void bench_rows(grad_ctx *ctx, const char *what, grad_program *p, bench_fn by_hand, bool print) {
  bench_plan b;
  double ours, theirs;
  char name[96];
  bench_plan_open(&b, ctx, p);
  if (print) {
    grad_text text = {.ctx = ctx};
    bench_ok(ctx, grad__plan_print(b.plan, &text));
    printf("%s", text.data);
    grad__text_clear(&text);
  }
  const int64_t rows = b.in[0].shape[0], columns = b.in[0].shape[1];
  hand_gradient = malloc((size_t)(rows * columns) * sizeof *hand_gradient);
  bench_pair(run_plan, by_hand, &b, &ours, &theirs);
  bench_same("value", bench_out(&b, 0), &hand_value, 1, 1e-10);
  bench_same("gradient", bench_out(&b, 1), hand_gradient, rows * columns, 1e-11);
  snprintf(name, sizeof name, "%s, %lld x %lld", what, (long long)rows, (long long)columns);
  bench_report(name, ours, theirs, 2);
  free(hand_gradient);
  bench_plan_close(&b);
}

int main(int argc, char **argv) {
  static const int64_t shapes[][2] = {{64, 64}, {512, 128}, {1024, 512}, {4096, 512}, {64, 32768}};
  grad_ctx *ctx;
  (void)argv;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const bool print = argc > 1 && i == 1;
    bench_rows(ctx, "cross entropy", cross_entropy(ctx, shapes[i][0], shapes[i][1]), cross_entropy_by_hand, print);
    bench_rows(ctx, "layer norm", layer_norm(ctx, shapes[i][0], shapes[i][1]), layer_norm_by_hand, print);
  }
  grad_ctx_free(ctx);
  return 0;
}

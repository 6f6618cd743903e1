/* regression_bench.c: value and gradient of logistic regression, 569 x 30 and 100,000 x 30, against C by hand: one pass
 * over the rows, with the same SLEEF functions where the compiler has vectors of eight doubles. */
#include "bench.h"

#if defined __AVX512F__
#include <immintrin.h>
#endif
#include <sleef.h>

/* mean of log(1 + exp(-s)) over s = y (X w + b) */
static grad_program *logistic(grad_ctx *ctx, int64_t rows, int64_t columns) {
  grad_program *p = bench_program(ctx);
  grad_id w = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){columns, 1});
  grad_id b = grad__program_input(p, GRAD_F64, 0, NULL);
  grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){rows, columns});
  grad_id y = grad__program_input(p, GRAD_F64, 1, &rows);
  grad_id z = grad__add(p, grad__reshape(p, grad__matmul(p, x, w, false, false), 1, &rows), b);
  grad_id s = grad__neg(p, grad__mul(p, y, z));
  grad_id loss = grad__sum(p, grad__op1(p, &grad__op_softplus, s), 1, false);
  grad__program_output(p, grad__mul(p, loss, grad__lit(p, 1 / (double)rows, loss)));
  return bench_grad(p, 2);
}

static double hand_value, hand_b, hand_w[64];
static double *hand_r;

/* Two passes over the rows' products, one over the residuals: what a careful person writes. */
static void logistic_by_hand(void *ud) {
  bench_plan *p = ud;
  const double *w = bench_in(p, 0), b = bench_in(p, 1)[0], *x = bench_in(p, 2), *y = bench_in(p, 3);
  const int64_t rows = p->in[2].shape[0], columns = p->in[2].shape[1];
  double value = 0, sum = 0;
  for (int64_t i = 0; i < rows; i++) {
    double z = b;
    for (int64_t j = 0; j < columns; j++) z += x[i * columns + j] * w[j];
    hand_r[i] = -y[i] * z;
  }
  int64_t i = 0;
#if defined __AVX512F__
  __m512d total = _mm512_set1_pd(0);
  for (; i + 8 <= rows; i += 8) {
    const __m512d s = _mm512_loadu_pd(hand_r + i), one = _mm512_set1_pd(1);
    const __m512d e = Sleef_expd8_u10avx512f(_mm512_sub_pd(_mm512_setzero_pd(), _mm512_abs_pd(s)));
    total = _mm512_add_pd(total, _mm512_add_pd(_mm512_max_pd(s, _mm512_setzero_pd()), Sleef_log1pd8_u10avx512f(e)));
    const __mmask8 positive = _mm512_cmp_pd_mask(s, _mm512_setzero_pd(), _CMP_GE_OQ);
    const __m512d top = _mm512_mask_blend_pd(positive, e, one), g = _mm512_div_pd(top, _mm512_add_pd(one, e));
    _mm512_storeu_pd(hand_r + i, _mm512_sub_pd(_mm512_setzero_pd(), _mm512_mul_pd(g, _mm512_loadu_pd(y + i))));
  }
  value = _mm512_reduce_add_pd(total);
#endif
  for (; i < rows; i++) {
    const double s = hand_r[i], e = exp(-fabs(s));
    value += (s > 0 ? s : 0) + log1p(e);
    hand_r[i] = -(s >= 0 ? 1 : e) / (1 + e) * y[i];
  }
  memset(hand_w, 0, sizeof hand_w);
  for (i = 0; i < rows; i++) {
    const double r = hand_r[i];
    sum += r;
    for (int64_t j = 0; j < columns; j++) hand_w[j] += r * x[i * columns + j];
  }
  for (int64_t j = 0; j < columns; j++) hand_w[j] /= (double)rows;
  hand_value = value / (double)rows;
  hand_b = sum / (double)rows;
}

static void run_plan(void *ud) { bench_plan_run(ud); }

static void bench_logistic(grad_ctx *ctx, int64_t rows, bool print) {
  bench_plan b;
  double ours, theirs;
  char name[64];
  bench_plan_open(&b, ctx, logistic(ctx, rows, 30));
  if (print) {
    grad_text text = {.ctx = ctx};
    bench_ok(ctx, grad__plan_print(b.plan, &text));
    printf("%s", text.data);
    grad__text_clear(&text);
  }
  hand_r = malloc((size_t)rows * sizeof *hand_r);
  bench_pair(run_plan, logistic_by_hand, &b, &ours, &theirs);
  bench_same("value", bench_out(&b, 0), &hand_value, 1, 1e-12);
  bench_same("gradient of w", bench_out(&b, 1), hand_w, 30, 1e-12);
  bench_same("gradient of b", bench_out(&b, 2), &hand_b, 1, 1e-12);
  snprintf(name, sizeof name, "logistic regression, value + grad, %lld x 30", (long long)rows);
  bench_report(name, ours, theirs, 1.3);
  free(hand_r);
  bench_plan_close(&b);
}

int main(int argc, char **argv) {
  grad_ctx *ctx;
  (void)argv;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  bench_logistic(ctx, 569, argc > 1);
  bench_logistic(ctx, 100000, false);
  grad_ctx_free(ctx);
  return 0;
}

/* chain_bench.c: elementwise chains. Value and gradient of sum(tanh(a x + b) exp(-x^2 / 2) + log1p(x^2)) against a loop
 * fused by hand over the same SLEEF functions, and a chain of nine arithmetic instructions against the compiler's. */
#include "bench.h"

#include <sleef.h>

#if defined __AVX512F__
#include <immintrin.h>
typedef __m512d vec;
enum { WIDTH = 8 };
#define V(op) _mm512_##op##_pd
#define VTANH Sleef_tanhd8_u10avx512f
#define VEXP Sleef_expd8_u10avx512f
#define VLOG1P Sleef_log1pd8_u10avx512f
#elif defined __AVX2__
#include <immintrin.h>
typedef __m256d vec;
enum { WIDTH = 4 };
#define V(op) _mm256_##op##_pd
#define VTANH Sleef_tanhd4_u10avx2
#define VEXP Sleef_expd4_u10avx2
#define VLOG1P Sleef_log1pd4_u10avx2
#endif

static grad_program *transcendental(grad_ctx *ctx, int64_t n) {
  grad_program *p = bench_program(ctx);
  grad_id x = grad__program_input(p, GRAD_F64, 1, &n);
  p->nscalars = 2;
  grad_id a = grad__scalar(p, GRAD_F64, 0), b = grad__scalar(p, GRAD_F64, 1), q = grad__mul(p, x, x);
  grad_id t = grad__op1(p, &grad__op_tanh, grad__add(p, grad__mul(p, a, x), b));
  grad_id e = grad__op1(p, &grad__op_exp, grad__mul(p, q, grad__lit(p, -0.5, q)));
  grad_id y = grad__add(p, grad__mul(p, t, e), grad__op1(p, &grad__op_log1p, q));
  grad__program_output(p, grad__sum(p, y, 1, false));
  return bench_grad(p, 1);
}

static double hand_value;
static double *hand_gradient;

#if defined V
static void transcendental_by_hand(void *ud) {
  bench_plan *b = ud;
  const double *x = bench_in(b, 0);
  const vec a = V(set1)(b->scalars[0]), c = V(set1)(b->scalars[1]), one = V(set1)(1), two = V(set1)(2);
  vec sum = V(set1)(0);
  for (int64_t i = 0; i < b->in[0].shape[0]; i += WIDTH) {
    vec v = V(loadu)(x + i), q = V(mul)(v, v);
    vec t = VTANH(V(add)(V(mul)(a, v), c)), e = VEXP(V(mul)(q, V(set1)(-0.5)));
    vec te = V(mul)(t, e);
    sum = V(add)(sum, V(add)(te, VLOG1P(q)));
    vec g = V(mul)(V(mul)(a, V(sub)(one, V(mul)(t, t))), e);
    g = V(sub)(g, V(mul)(v, te));
    g = V(add)(g, V(div)(V(mul)(two, v), V(add)(one, q)));
    V(storeu)(hand_gradient + i, g);
  }
  double lanes[WIDTH];
  V(storeu)(lanes, sum);
  hand_value = 0;
  for (int k = 0; k < WIDTH; k++) hand_value += lanes[k];
}
#endif

static void run_plan(void *ud) { bench_plan_run(ud); }

static void bench_transcendental(grad_ctx *ctx, int64_t n) {
#if defined V
  bench_plan b;
  double ours, theirs;
  char name[64];
  bench_plan_open(&b, ctx, transcendental(ctx, n));
  hand_gradient = malloc((size_t)n * sizeof *hand_gradient);
  bench_pair(run_plan, transcendental_by_hand, &b, &ours, &theirs);
  bench_same("value", bench_out(&b, 0), &hand_value, 1, 1e-11);
  bench_same("gradient", bench_out(&b, 1), hand_gradient, n, 1e-12);
  snprintf(name, sizeof name, "transcendental chain, value + grad, n = %lld", (long long)n);
  bench_report(name, ours, theirs, 1.3);
  free(hand_gradient);
  bench_plan_close(&b);
#endif
}

/* y = ((x + a) * x - b) * (x * c + a) + (x - b) * x - x * a: nine instructions after sharing */
static grad_program *arithmetic(grad_ctx *ctx, int64_t n) {
  grad_program *p = bench_program(ctx);
  grad_id x = grad__program_input(p, GRAD_F64, 1, &n), y = grad__program_input(p, GRAD_F64, 1, &n);
  p->nscalars = 2;
  grad_id a = grad__scalar(p, GRAD_F64, 0), b = grad__scalar(p, GRAD_F64, 1);
  grad_id u = grad__add(p, x, a);              /* 1 */
  grad_id v = grad__mul(p, u, y);              /* 2 */
  v = grad__sub(p, v, b);                      /* 3 */
  grad_id w = grad__mul(p, x, b);              /* 4 */
  w = grad__add(p, w, y);                      /* 5 */
  v = grad__mul(p, v, w);                      /* 6 */
  v = grad__add(p, v, u);                      /* 7 */
  v = grad__mul(p, v, y);                      /* 8 */
  grad__program_output(p, grad__sub(p, v, x)); /* 9 */
  return p;
}

static double *hand_chain;

static void arithmetic_by_hand(void *ud) {
  bench_plan *plan = ud;
  const double *restrict px = bench_in(plan, 0), *restrict py = bench_in(plan, 1);
  const double a = plan->scalars[0], b = plan->scalars[1];
  double *restrict out = hand_chain;
  const int64_t n = plan->in[0].shape[0];
  for (int64_t i = 0; i < n; i++) {
    double x = px[i], y = py[i], u = x + a;
    out[i] = ((u * y - b) * (x * b + y) + u) * y - x;
  }
}

static void bench_arithmetic(grad_ctx *ctx, int64_t n, double bound) {
  bench_plan b;
  double ours, theirs;
  char name[64];
  bench_plan_open(&b, ctx, arithmetic(ctx, n));
  hand_chain = malloc((size_t)n * sizeof *hand_chain);
  bench_pair(run_plan, arithmetic_by_hand, &b, &ours, &theirs);
  bench_same("chain", bench_out(&b, 0), hand_chain, n, 1e-12);
  snprintf(name, sizeof name, "nine arithmetic instructions, n = %lld", (long long)n);
  bench_report(name, ours, theirs, bound);
  free(hand_chain);
  bench_plan_close(&b);
}

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  bench_transcendental(ctx, 1024);
  bench_transcendental(ctx, 65536);
  bench_transcendental(ctx, 1 << 20);
  bench_arithmetic(ctx, 256, 3.5);
  bench_arithmetic(ctx, 4096, 3.5);
  bench_arithmetic(ctx, 65536, 3.5);
  bench_arithmetic(ctx, 1000000, 1.7);
  grad_ctx_free(ctx);
  return 0;
}

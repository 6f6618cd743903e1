/* dynamics_bench.c: the gradient through 100 steps of RK4 (unrolled, n = 1,000), and a Hessian-vector product of the
 * Rosenbrock function (n = 100,000), against C by hand. */
#include "bench.h"

enum { STEPS = 100 };

/* y' = sin(a y) - 0.3 y, elementwise; loss is the mean of y(T)^2. */
static grad_id slope(grad_program *p, grad_id y, grad_id a) {
  return grad__sub(p, grad__op1(p, &grad__op_sin, grad__mul(p, a, y)), grad__mul(p, y, grad__lit(p, 0.3, y)));
}

static grad_program *rk4(grad_ctx *ctx, int64_t n) {
  grad_program *p = bench_program(ctx);
  const double h = 0.01;
  grad_id y = grad__program_input(p, GRAD_F64, 1, &n), a = grad__program_input(p, GRAD_F64, 0, NULL);
  for (int i = 0; i < STEPS; i++) {
    grad_id half = grad__lit(p, h / 2, y), full = grad__lit(p, h, y), two = grad__lit(p, 2, y);
    grad_id k1 = slope(p, y, a);
    grad_id k2 = slope(p, grad__add(p, y, grad__mul(p, k1, half)), a);
    grad_id k3 = slope(p, grad__add(p, y, grad__mul(p, k2, half)), a);
    grad_id k4 = slope(p, grad__add(p, y, grad__mul(p, k3, full)), a);
    grad_id sum = grad__add(p, grad__add(p, k1, grad__mul(p, two, k2)), grad__add(p, grad__mul(p, two, k3), k4));
    y = grad__add(p, y, grad__mul(p, sum, grad__lit(p, h / 6, y)));
  }
  grad_id loss = grad__sum(p, grad__mul(p, y, y), 1, false);
  grad__program_output(p, grad__mul(p, loss, grad__lit(p, 1 / (double)n, loss)));
  return bench_grad(p, 2);
}

static double hand_value, *hand_gradient, hand_a;

#if defined __AVX512F__
#include <immintrin.h>
#include <sleef.h>
typedef __m512d vec;
enum { WIDTH = 8 };
static inline vec sine(vec x) { return Sleef_sind8_u10avx512f(x); }
static inline vec cosine(vec x) { return Sleef_cosd8_u10avx512f(x); }
static inline double total(vec x) { return _mm512_reduce_add_pd(x); }
#else
typedef double vec;
enum { WIDTH = 1 };
static inline vec sine(vec x) { return sin(x); }
static inline vec cosine(vec x) { return cos(x); }
static inline double total(vec x) { return x; }
#endif

static inline vec hand_slope(vec y, double a) { return sine(a * y) - 0.3 * y; }

/* One column of vectors at a time: forward through all steps, storing the states, then backward. */
static void rk4_by_hand(void *ud) {
  bench_plan *p = ud;
  const double *y0 = bench_in(p, 0), a = bench_in(p, 1)[0], h = 0.01;
  const int64_t n = p->in[0].shape[0];
  vec stage[STEPS][4], value = {0}, da = {0};
  for (int64_t i = 0; i < n; i += WIDTH) {
    vec y;
    memcpy(&y, y0 + i, sizeof y);
    for (int s = 0; s < STEPS; s++) {
      stage[s][0] = y;
      vec k1 = hand_slope(y, a);
      stage[s][1] = y + h / 2 * k1;
      vec k2 = hand_slope(stage[s][1], a);
      stage[s][2] = y + h / 2 * k2;
      vec k3 = hand_slope(stage[s][2], a);
      stage[s][3] = y + h * k3;
      y = y + h / 6 * (k1 + 2 * k2 + (2 * k3 + hand_slope(stage[s][3], a)));
    }
    value += y * y;
    vec g = 2 / (double)n * y;
    for (int s = STEPS - 1; s >= 0; s--) {
      vec dk[4] = {h / 6 * g, h / 3 * g, h / 3 * g, h / 6 * g}, dy = g;
      static const double weight[4] = {0, 0.5, 0.5, 1};
      for (int k = 3; k >= 0; k--) {
        vec c = cosine(a * stage[s][k]) * dk[k];
        vec d = a * c - 0.3 * dk[k];
        da += stage[s][k] * c;
        dy += d;
        if (k > 0) dk[k - 1] += weight[k] * h * d;
      }
      g = dy;
    }
    memcpy(hand_gradient + i, &g, sizeof g);
  }
  hand_value = total(value) / (double)n;
  hand_a = total(da);
}

static void run_plan(void *ud) { bench_plan_run(ud); }

static void bench_rk4(grad_ctx *ctx) {
  const int64_t n = 1000;
  bench_plan b;
  double ours, theirs;
  bench_plan_open(&b, ctx, rk4(ctx, n));
  hand_gradient = malloc((size_t)n * sizeof *hand_gradient);
  bench_pair(run_plan, rk4_by_hand, &b, &ours, &theirs);
  bench_same("value", bench_out(&b, 0), &hand_value, 1, 1e-12);
  bench_same("gradient of y", bench_out(&b, 1), hand_gradient, n, 1e-11);
  bench_same("gradient of a", bench_out(&b, 2), &hand_a, 1, 1e-11);
  bench_report("RK4, 100 steps, n = 1,000, value + grad", ours, theirs, 4);
  free(hand_gradient);
  bench_plan_close(&b);
}

/* sum of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2, its gradient's derivative along v */
static grad_program *rosenbrock_hvp(grad_ctx *ctx, int64_t n) {
  grad_program *p = bench_program(ctx), *hvp = NULL, *picked = NULL;
  grad_id x = grad__program_input(p, GRAD_F64, 1, &n);
  const int64_t zero = 0, next = 1, most = n - 1, step = 1;
  grad_id a = grad__slice(p, x, &zero, &most, &step), b = grad__slice(p, x, &next, &most, &step);
  grad_id u = grad__sub(p, b, grad__mul(p, a, a)), v = grad__sub(p, grad__lit(p, 1, a), a);
  grad_id y = grad__add(p, grad__mul(p, grad__lit(p, 100, u), grad__mul(p, u, u)), grad__mul(p, v, v));
  grad__program_output(p, grad__sum(p, y, 1, false));
  grad_program *g = bench_grad(p, 1);
  bench_ok(ctx, grad__ad_jvp(g, (const bool[]){true}, &hvp));
  grad__program_release(g);
  bench_ok(ctx, grad__extract(hvp, hvp->ninputs, hvp->inputs, 1, &hvp->outputs[3], false, &picked));
  grad__program_release(hvp);
  return picked;
}

static void hvp_by_hand(void *ud) {
  bench_plan *p = ud;
  const double *restrict x = bench_in(p, 0), *restrict v = bench_in(p, 1);
  double *restrict out = hand_gradient;
  const int64_t n = p->in[0].shape[0];
  out[0] = (1200 * x[0] * x[0] - 400 * x[1] + 2) * v[0] - 400 * x[0] * v[1];
  for (int64_t i = 1; i < n - 1; i++) {
    out[i] = (1200 * x[i] * x[i] - 400 * x[i + 1] + 202) * v[i] - 400 * (x[i] * v[i + 1] + x[i - 1] * v[i - 1]);
  }
  out[n - 1] = 200 * v[n - 1] - 400 * x[n - 2] * v[n - 2];
}

static void bench_hvp(grad_ctx *ctx, bool print) {
  const int64_t n = 100000;
  bench_plan b;
  double ours, theirs;
  bench_plan_open(&b, ctx, rosenbrock_hvp(ctx, n));
  if (print) {
    grad_text text = {.ctx = ctx};
    bench_ok(ctx, grad__plan_print(b.plan, &text));
    printf("%s", text.data);
    grad__text_clear(&text);
  }
  hand_gradient = malloc((size_t)n * sizeof *hand_gradient);
  bench_pair(run_plan, hvp_by_hand, &b, &ours, &theirs);
  bench_same("product", bench_out(&b, 0), hand_gradient, n, 1e-11);
  bench_report("Rosenbrock Hessian-vector product, n = 100,000", ours, theirs, 4);
  free(hand_gradient);
  bench_plan_close(&b);
}

int main(int argc, char **argv) {
  grad_ctx *ctx;
  (void)argv;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  bench_rk4(ctx);
  bench_hvp(ctx, argc > 1);
  grad_ctx_free(ctx);
  return 0;
}

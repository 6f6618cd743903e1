/* loops_bench.c: loops whose steps are small, against C by hand: 10,000 steps of five operations on one number and
 * their gradient, and 1,000 steps of Runge-Kutta 4 of ten coupled oscillators. */
#include "ad/control.h"
#include "bench.h"

enum { STEPS = 10000, RK_STEPS = 1000, WIDTH = 10 };

/* x -> c x (1 - x) + x / 100 */
static grad_program *logistic_step(grad_ctx *ctx) {
  grad_program *p = bench_program(ctx);
  const grad_id c = grad__program_input(p, GRAD_F64, 0, NULL), x = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id grown = grad__mul(p, grad__mul(p, c, x), grad__sub(p, grad__lit(p, 1, x), x));
  grad__program_output(p, grad__add(p, grown, grad__mul(p, grad__lit(p, 0.01, x), x)));
  return p;
}

/* Inputs: c, the first x. */
static grad_program *logistic(grad_ctx *ctx) {
  grad_program *p = bench_program(ctx), *body = logistic_step(ctx);
  const grad_id c = grad__program_input(p, GRAD_F64, 0, NULL), x = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_loop loop = {.body = body, .nconsts = 1, .ncarry = 1, .consts = &c, .init = &x, .length = STEPS};
  grad_id last;
  grad__scan(p, &loop, &last);
  grad__program_output(p, last);
  grad__program_release(body);
  return p;
}

static double by_hand[4], *states;

static void logistic_by_hand(void *ud) {
  const double c = bench_in(ud, 0)[0];
  double x = bench_in(ud, 1)[0];
  for (int i = 0; i < STEPS; i++) x = c * x * (1 - x) + 0.01 * x;
  by_hand[0] = x;
}

static void gradient_by_hand(void *ud) {
  const double c = bench_in(ud, 0)[0];
  double x = bench_in(ud, 1)[0], dc = 0, dx = 1;
  for (int i = 0; i < STEPS; i++) {
    states[i] = x;
    x = c * x * (1 - x) + 0.01 * x;
  }
  by_hand[0] = x;
  for (int i = STEPS - 1; i >= 0; i--) {
    dc += dx * states[i] * (1 - states[i]);
    dx *= c * (1 - 2 * states[i]) + 0.01;
  }
  by_hand[1] = dc;
  by_hand[2] = dx;
}

static grad_id field(grad_program *p, grad_id y) {
  const int64_t last = WIDTH - 1, rest = 0, one = 1, others = WIDTH - 1;
  const grad_id parts[] = {grad__slice(p, y, &last, &one, &one), grad__slice(p, y, &rest, &others, &one)};
  return grad__sub(p, grad__op1(p, &grad__op_sin, grad__concat(p, 2, parts, 0)), y);
}

static grad_id along(grad_program *p, grad_id y, grad_id k, double h) {
  return grad__add(p, y, grad__mul(p, grad__lit(p, h, k), k));
}

static grad_program *oscillators(grad_ctx *ctx) {
  const int64_t width = WIDTH;
  const double h = 0.01;
  grad_program *p = bench_program(ctx), *body = bench_program(ctx);
  const grad_id y = grad__program_input(body, GRAD_F64, 1, &width);
  const grad_id a = field(body, y), b = field(body, along(body, y, a, h / 2)),
                c = field(body, along(body, y, b, h / 2));
  const grad_id d = field(body, along(body, y, c, h)), middle = grad__add(body, b, c);
  const grad_id sum = grad__add(body, grad__add(body, a, d), grad__mul(body, grad__lit(body, 2, middle), middle));
  grad__program_output(body, along(body, y, sum, h / 6));
  const grad_id init = grad__program_input(p, GRAD_F64, 1, &width);
  const grad_loop loop = {.body = body, .ncarry = 1, .init = &init, .length = RK_STEPS};
  grad_id last;
  grad__scan(p, &loop, &last);
  grad__program_output(p, last);
  grad__program_release(body);
  return p;
}

static double oscillators_end[WIDTH];

static void field_by_hand(const double *y, double *k) {
  for (int i = 0; i < WIDTH; i++) k[i] = sin(y[(i + WIDTH - 1) % WIDTH]) - y[i];
}

static void oscillators_by_hand(void *ud) {
  const double h = 0.01, ahead[3] = {h / 2, h / 2, h};
  double *y = oscillators_end, k[4][WIDTH], z[WIDTH];
  memcpy(y, bench_in(ud, 0), sizeof oscillators_end);
  for (int s = 0; s < RK_STEPS; s++) {
    field_by_hand(y, k[0]);
    for (int stage = 0; stage < 3; stage++) {
      for (int i = 0; i < WIDTH; i++) z[i] = y[i] + ahead[stage] * k[stage][i];
      field_by_hand(z, k[stage + 1]);
    }
    for (int i = 0; i < WIDTH; i++) y[i] += h / 6 * (k[0][i] + k[3][i] + 2 * (k[1][i] + k[2][i]));
  }
}

static void run_plan(void *ud) { bench_plan_run(ud); }

/* Opens the plan; c is 2.7, where the map has one fixed point. */
static void open_logistic(bench_plan *b, grad_ctx *ctx, grad_program *p) {
  bench_plan_open(b, ctx, p);
  bench_in(b, 0)[0] = 2.7;
  bench_in(b, 1)[0] = 0.3;
}

static void report(bench_plan *b, const char *name, bench_fn hand, const double *want, int64_t n, double bound) {
  double ours, reference;
  run_plan(b);
  hand(b);
  bench_same(name, bench_out(b, 0), want, n, 1e-9);
  bench_pair(run_plan, hand, b, &ours, &reference);
  bench_report(name, ours, reference, bound);
  bench_plan_close(b);
}

int main(void) {
  grad_ctx *ctx;
  bench_plan b;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  states = malloc(STEPS * sizeof *states);
  if (!states) return 1;
  open_logistic(&b, ctx, logistic(ctx));
  report(&b, "10,000 steps of 5 operations on a number", logistic_by_hand, by_hand, 1, 1.5);
  open_logistic(&b, ctx, bench_grad(logistic(ctx), 2));
  report(&b, "the same, value and gradient", gradient_by_hand, by_hand, 1, 3.0);
  bench_plan_open(&b, ctx, oscillators(ctx));
  report(&b, "1,000 steps of RK4, n = 10", oscillators_by_hand, oscillators_end, WIDTH, 1.5);
  free(states);
  grad_ctx_free(ctx);
  return 0;
}

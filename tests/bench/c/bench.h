/* bench.h: timing two ways to do the same work, interleaved, and their ratio. All run on one thread and are charged the
 * time that the processor gave them. Times on a shared machine vary all the same; of many short rounds the fastest of
 * each side tells what the code costs, and both sides see the same neighbours. */
#ifndef BENCH_H
#define BENCH_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ad/ad.h"
#include "exec/exec.h"
#include "ops/ops.h"

typedef void (*bench_fn)(void *ud);

static inline double bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline double bench_round(bench_fn fn, void *ud, int repeats) {
  double start = bench_now();
  for (int i = 0; i < repeats; i++) fn(ud);
  return (bench_now() - start) / repeats;
}

/* Seconds a call of each, the best of the rounds that fit into the budget. */
static inline void bench_pair(bench_fn a, bench_fn b, void *ud, double *ta, double *tb) {
  const double budget = 0.4, round = 2e-3;
  const double once = bench_round(a, ud, 1) + bench_round(b, ud, 1);
  int repeats = (int)(round / once);
  if (repeats < 1) repeats = 1;
  *ta = *tb = 1e9;
  for (double start = bench_now(); bench_now() - start < budget;) {
    double x = bench_round(a, ud, repeats), y = bench_round(b, ud, repeats);
    if (x < *ta) *ta = x;
    if (y < *tb) *tb = y;
  }
}

/* One line of the table: ours, the reference, their ratio and its bound. */
static inline void bench_report(const char *name, double ours, double reference, double bound) {
  printf("%-46s %12.3f us %12.3f us  %6.2f  (at most %.2f)%s\n", name, 1e6 * ours, 1e6 * reference, ours / reference,
         bound, ours / reference <= bound ? "" : "  MISSED");
}

static inline void bench_same(const char *name, const double *a, const double *b, int64_t n, double tolerance) {
  for (int64_t i = 0; i < n; i++) {
    if (fabs(a[i] - b[i]) <= tolerance * (1 + fabs(b[i]))) continue;
    printf("%s: element %lld is %.17g, the reference has %.17g\n", name, (long long)i, a[i], b[i]);
    exit(1);
  }
}

static inline void bench_ok(grad_ctx *ctx, grad_status status) {
  if (status == GRAD_OK) return;
  printf("%s: %s\n", grad_status_name(status), grad_message(ctx));
  exit(1);
}

/* A plan with its inputs and outputs bound to memory. */
enum { BENCH_MOST = 32 };
typedef struct bench_plan {
  grad_ctx *ctx;
  grad_program *program;
  grad_plan *plan;
  grad_array in[BENCH_MOST], out[BENCH_MOST];
  const grad_array *inputs[BENCH_MOST];
  double scalars[BENCH_MOST];
} bench_plan;

/* Takes over the program; inputs are filled with numbers in [-1, 1) that depend on the position only. */
static inline void bench_plan_open(bench_plan *b, grad_ctx *ctx, grad_program *p) {
  *b = (bench_plan){.ctx = ctx, .program = p};
  bench_ok(ctx, p->status);
  bench_ok(ctx, grad__plan_new(p, &b->plan));
  uint64_t state = 1;
  for (int k = 0; k < p->ninputs; k++) {
    const grad_type *t = grad__type(p, p->inputs[k]);
    bench_ok(ctx, grad__array_new(ctx, t->dtype, t->ndim, t->shape, &b->in[k]));
    for (int64_t i = 0; i < grad__array_numel(&b->in[k]); i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      double x = (double)(state >> 11) * 0x1p-52 - 1;
      if (t->dtype == GRAD_F64)
        ((double *)b->in[k].data)[i] = x;
      else
        ((float *)b->in[k].data)[i] = (float)x;
    }
    b->inputs[k] = &b->in[k];
  }
  for (int k = 0; k < BENCH_MOST; k++) b->scalars[k] = 0.5 + 0.25 * k;
  bench_ok(ctx, grad__plan_run(b->plan, b->inputs, b->scalars, b->out));
}

static inline void bench_plan_run(bench_plan *b) {
  bench_ok(b->ctx, grad__plan_run(b->plan, b->inputs, b->scalars, b->out));
}

static inline void bench_plan_close(bench_plan *b) {
  grad__plan_free(b->plan);
  for (int k = 0; k < BENCH_MOST; k++) {
    grad__array_release(&b->in[k]);
    grad__array_release(&b->out[k]);
  }
  grad__program_release(b->program);
}

static inline double *bench_in(bench_plan *b, int k) { return b->in[k].data; }
static inline double *bench_out(bench_plan *b, int k) { return b->out[k].data; }

/* The program of value and gradients with respect to the inputs below nwrt; takes over p. */
static inline grad_program *bench_grad(grad_program *p, int nwrt) {
  bool wrt[BENCH_MOST] = {0};
  grad_program *g = NULL;
  for (int k = 0; k < nwrt; k++) wrt[k] = true;
  bench_ok(p->ctx, p->status);
  bench_ok(p->ctx, grad__ad_grad(p, wrt, &g));
  grad__program_release(p);
  return g;
}

static inline grad_program *bench_program(grad_ctx *ctx) {
  grad_program *p;
  bench_ok(ctx, grad__program_new(ctx, &p));
  return p;
}

#endif

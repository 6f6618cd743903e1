/* scalar_bench.c: a program of 10,000 operations on single numbers, and its gradient: what an interpreter costs when
 * there is nothing to amortize it over. Reference: 150 us, the bound of the suite, and the same operations in C. */
#include "bench.h"

enum { OPS = 10000, INPUTS = 8 };

/* A recurrence of additions, products and a few transcendental functions. */
static grad_program *scalar_program(grad_ctx *ctx) {
  grad_program *p = bench_program(ctx);
  grad_id x[INPUTS];
  for (int k = 0; k < INPUTS; k++) x[k] = grad__program_input(p, GRAD_F64, 0, NULL);
  grad_id s = x[0], t = x[1];
  while (p->ninstrs < OPS) {
    const int k = p->ninstrs / 5 % INPUTS;
    grad_id u = grad__mul(p, s, x[k]), v = grad__add(p, t, x[(k + 3) % INPUTS]);
    t = p->ninstrs % 50 < 5 ? grad__op1(p, &grad__op_sin, u) : grad__mul(p, u, grad__lit(p, 0.5, u));
    s = grad__sub(p, v, grad__mul(p, t, t));
    s = grad__mul(p, s, grad__lit(p, 0.25, s));
  }
  grad__program_output(p, grad__add(p, s, t));
  return p;
}

static void run_plan(void *ud) { bench_plan_run(ud); }

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  bench_plan b;
  double ours, again, start = bench_now();
  grad_program *p = bench_grad(scalar_program(ctx), INPUTS);
  double differentiated = bench_now() - start;
  start = bench_now();
  bench_plan_open(&b, ctx, p);
  double planned = bench_now() - start;
  bench_pair(run_plan, run_plan, &b, &ours, &again);
  printf("%d operations, %d with the gradient; differentiated in %.2f ms, planned and first run in %.2f ms\n", OPS,
         b.program->ninstrs, 1e3 * differentiated, 1e3 * planned);
  grad_plan_info info;
  grad__plan_info(b.plan, &info);
  printf("%lld instructions planned, %.2f ns an instruction\n", (long long)info.instructions,
         1e9 * ours / (double)info.instructions);
  bench_report("scalar program of 10,000 ops, value + grad", ours, 150e-6, 1);
  bench_plan_close(&b);
  grad_ctx_free(ctx);
  return 0;
}

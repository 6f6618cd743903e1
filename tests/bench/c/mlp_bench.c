/* mlp_bench.c: value and gradient of small and larger networks: 4-8-2 with batch 32 (overheads) and 784-128-10 with
 * batch 64 (matrix products). References: 3 us, and the five products alone. */
#include "bench.h"

/* Mean of -log softmax at the given one-hot targets, after one hidden layer of tanh. */
static grad_program *network(grad_ctx *ctx, grad_dtype dtype, int64_t batch, int64_t in, int64_t hidden, int64_t out) {
  grad_program *p = bench_program(ctx);
  grad_id w1 = grad__program_input(p, dtype, 2, (const int64_t[]){in, hidden});
  grad_id b1 = grad__program_input(p, dtype, 1, (const int64_t[]){hidden});
  grad_id w2 = grad__program_input(p, dtype, 2, (const int64_t[]){hidden, out});
  grad_id b2 = grad__program_input(p, dtype, 1, (const int64_t[]){out});
  grad_id x = grad__program_input(p, dtype, 2, (const int64_t[]){batch, in});
  grad_id y = grad__program_input(p, dtype, 2, (const int64_t[]){batch, out});
  grad_id h = grad__op1(p, &grad__op_tanh, grad__add(p, grad__matmul(p, x, w1, false, false), b1));
  grad_id z = grad__add(p, grad__matmul(p, h, w2, false, false), b2);
  grad_id shifted = grad__sub(p, z, grad__max(p, z, 2, true));
  grad_id sum = grad__sum(p, grad__op1(p, &grad__op_exp, shifted), 2, true);
  grad_id logp = grad__sub(p, shifted, grad__op1(p, &grad__op_log, sum));
  grad_id loss = grad__sum(p, grad__mul(p, logp, y), 3, false);
  grad__program_output(p, grad__mul(p, loss, grad__lit(p, -1.0 / (double)batch, loss)));
  return bench_grad(p, 4);
}

static void run_plan(void *ud) { bench_plan_run(ud); }

typedef struct products {
  grad_ctx *ctx;
  bench_plan plan[5];
} products;

static grad_program *product(grad_ctx *ctx, grad_dtype dtype, int64_t m, int64_t k, int64_t n, bool ta, bool tb) {
  grad_program *p = bench_program(ctx);
  grad_id a = grad__program_input(p, dtype, 2, ta ? (const int64_t[]){k, m} : (const int64_t[]){m, k});
  grad_id b = grad__program_input(p, dtype, 2, tb ? (const int64_t[]){n, k} : (const int64_t[]){k, n});
  grad__program_output(p, grad__matmul(p, a, b, ta, tb));
  return p;
}

static void run_products(void *ud) {
  products *s = ud;
  for (int i = 0; i < 5; i++) bench_plan_run(&s->plan[i]);
}

typedef struct both {
  bench_plan net;
  products products;
} both;

static void run_net(void *ud) { bench_plan_run(&((both *)ud)->net); }
static void run_gemm(void *ud) { run_products(&((both *)ud)->products); }

static void bench_large(grad_ctx *ctx, grad_dtype dtype, const char *name) {
  both b;
  double ours, theirs;
  bench_plan_open(&b.net, ctx, network(ctx, dtype, 64, 784, 128, 10));
  bench_plan_open(&b.products.plan[0], ctx, product(ctx, dtype, 64, 784, 128, false, false));
  bench_plan_open(&b.products.plan[1], ctx, product(ctx, dtype, 64, 128, 10, false, false));
  bench_plan_open(&b.products.plan[2], ctx, product(ctx, dtype, 784, 64, 128, true, false));
  bench_plan_open(&b.products.plan[3], ctx, product(ctx, dtype, 128, 64, 10, true, false));
  bench_plan_open(&b.products.plan[4], ctx, product(ctx, dtype, 64, 10, 128, false, true));
  bench_pair(run_net, run_gemm, &b, &ours, &theirs);
  bench_report(name, ours, theirs, 1 / 0.75);
  bench_plan_close(&b.net);
  for (int i = 0; i < 5; i++) bench_plan_close(&b.products.plan[i]);
}

int main(int argc, char **argv) {
  grad_ctx *ctx;
  if (grad_ctx_new(&(grad_config){.threads = 1}, &ctx) != GRAD_OK) return 1;
  bench_plan b;
  double ours, again;
  bench_plan_open(&b, ctx, network(ctx, GRAD_F64, 32, 4, 8, 2));
  if (argc > 1) {
    grad_text text = {.ctx = ctx};
    bench_ok(ctx, grad__plan_print(b.plan, &text));
    printf("%s", text.data);
    grad__text_clear(&text);
  }
  bench_pair(run_plan, run_plan, &b, &ours, &again);
  bench_report("MLP 4-8-2, batch 32, value + grad", ours, 3e-6, 1);
  bench_plan_close(&b);
  bench_large(ctx, GRAD_F32, "MLP 784-128-10, batch 64, f32 (to its GEMMs)");
  bench_large(ctx, GRAD_F64, "MLP 784-128-10, batch 64, f64 (to its GEMMs)");
  (void)argv;
  grad_ctx_free(ctx);
  return 0;
}

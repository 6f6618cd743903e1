/* rematerialize_test.c: what a differentiated loop stacks, and that computing the rest again changes nothing. */
#include "ad/loop.h"
#include "check_compare.h"

/* Like a Runge-Kutta step: k = x (1, z_1) for z = y + x (1, y_1) / 2, e = exp(k); y + k + e t, k e. All but y and e is
 * arithmetic. */
static grad_program *step_body(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), y = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id t = grad__program_input(p, GRAD_F64, 1, two);
  grad_id k = GRAD_NONE, z = y;
  for (int stage = 0; stage < 2; stage++) {
    const grad_id shifted = grad__slice(p, z, (const int64_t[]){0}, (const int64_t[]){1}, (const int64_t[]){1});
    const grad_id parts[] = {grad__lit(p, 1, shifted), shifted};
    k = grad__mul(p, x, grad__concat(p, 2, parts, 0));
    z = grad__add(p, y, grad__mul(p, k, grad__lit(p, 0.5, k)));
  }
  const grad_id e = grad__op1(p, &grad__op_exp, k), next = grad__add(p, grad__add(p, y, k), grad__mul(p, e, t));
  return finished(p, 2, (const grad_id[]){next, grad__mul(p, k, e)});
}

static grad_program *steps(grad_ctx *ctx, bool staged) {
  grad_program *p = check_new(ctx), *body = step_body(ctx);
  const grad_id in[] = {grad__program_input(p, GRAD_F64, 1, two), grad__program_input(p, GRAD_F64, 1, two),
                        grad__program_input(p, GRAD_F64, 2, rows)};
  const grad_loop loop = {
      .body = body, .nconsts = 1, .ncarry = 1, .nxs = 1, .consts = in, .init = in + 1, .xs = in + 2, .length = 5};
  grad_id out[2];
  if (staged) {
    grad__scan(p, &loop, out);
  } else {
    unroll(p, body, in, false, out);
  }
  grad__program_release(body);
  const grad_id total = grad__add(p, grad__sum(p, out[0], 1, false), grad__sum(p, out[1], 3, false));
  return finished(p, 3, (const grad_id[]){total, out[0], out[1]});
}

/* How many stacks the first loop of the gradient makes, besides the ys of the function. */
static int32_t stacks(const grad_program *p) {
  grad_program *g = NULL;
  int32_t n = -1;
  if (!check(grad__ad_grad(p, all, &g) == GRAD_OK)) return n;
  for (int32_t i = 0; i < g->ninstrs && n < 0; i++) {
    if (g->instrs[i].op == &grad__op_scan) n = grad__loop_view(&g->instrs[i]).nys - 1;
  }
  grad__program_release(g);
  return n;
}

/* The state and the exponential are kept; the rows are read again. */
static void test_stacks(grad_ctx *ctx) {
  grad_program *p = steps(ctx, true);
  check(stacks(p) == 2);
  grad__program_release(p);
}

static grad_status task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *body = NULL;
  grad_cut cut = {0};
  grad_status status = grad__program_new(ctx, &body);
  if (status) return status;
  const grad_id x = grad__program_input(body, GRAD_F64, 1, two), y = grad__program_input(body, GRAD_F64, 1, two);
  const grad_id a = grad__mul(body, x, y), b = grad__mul(body, a, a);
  grad__program_output(body, grad__mul(body, b, a));
  status = grad__cut_body(body, all, 1, 8, false, &cut);
  if (!status) status = grad__cut_lighten(1, 1, &cut);
  grad__cut_clear(&cut);
  grad__program_release(body);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  compare(ctx, steps(ctx, true), steps(ctx, false), "scan of arithmetic");
  compare_third(ctx, steps(ctx, true), steps(ctx, false), "vmap of vjp of vjp of scan of arithmetic");
  test_stacks(ctx);
  check_close(ctx);
  check_failing_alloc("rematerialize", task, NULL);
  return check_done();
}

/* custom_test.c: rules of a function's own, linear systems without a matrix, implicit functions. */
#include "check_compare.h"

/* --- custom: f = sin(x) a, its rules written by hand */

enum { WITH_JVP = 1, WITH_VJP = 2 };

static grad_program *custom_f(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), a = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id y = grad__mul(p, grad__op1(p, &grad__op_sin, x), a);
  return finished(p, 2, (const grad_id[]){y, grad__op2(p, &grad__op_gt, y, x)});
}

static grad_program *custom_rule(grad_ctx *ctx, bool reverse, double factor) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), a = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id slope = grad__mul(p, grad__lit(p, factor, x), grad__mul(p, grad__op1(p, &grad__op_cos, x), a));
  const grad_id value = grad__op1(p, &grad__op_sin, x), v = grad__program_input(p, GRAD_F64, 1, two);
  if (reverse) return finished(p, 2, (const grad_id[]){grad__mul(p, v, slope), grad__mul(p, v, value)});
  const grad_id da = grad__program_input(p, GRAD_F64, 1, two);
  return finished(p, 1, (const grad_id[]){grad__add(p, grad__mul(p, v, slope), grad__mul(p, da, value))});
}

static grad_program *with_custom(grad_ctx *ctx, int rules, double factor) {
  grad_program *p = check_new(ctx), *f = custom_f(ctx);
  grad_program *jvp = rules & WITH_JVP ? custom_rule(ctx, false, factor) : NULL;
  grad_program *vjp = rules & WITH_VJP ? custom_rule(ctx, true, factor) : NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), a = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id args[] = {grad__op1(p, &grad__op_exp, x), a};
  grad_id out[2];
  if (rules) {
    grad__custom(p, f, jvp, vjp, 2, args, out);
  } else {
    grad__inline(p, f, args, NULL, out, NULL);
  }
  grad__program_release(f);
  grad__program_release(jvp);
  grad__program_release(vjp);
  return finished(p, 2, (const grad_id[]){grad__sum(p, grad__mul(p, out[0], x), 1, false), out[0]});
}

/* The rule is what counts, right or wrong; rules of other types are refused. */
static void test_custom_rule(grad_ctx *ctx) {
  for (int rules = WITH_JVP; rules <= (WITH_JVP | WITH_VJP); rules++) {
    grad_program *right = with_custom(ctx, rules, 1), *wrong = with_custom(ctx, rules, 2), *g[2] = {NULL, NULL};
    check(grad__ad_grad(right, all, &g[0]) == GRAD_OK && grad__ad_grad(wrong, all, &g[1]) == GRAD_OK);
    check_arrays in = {0}, out[2];
    uint64_t state = 5;
    check_push_random(ctx, &in, g[0], 0, 2, &state);
    for (int i = 0; i < 2; i++) check(check_run(g[i], &in, NULL, &out[i]) == GRAD_OK);
    const double x = check_get(&in.a[0], 0), a = check_get(&in.a[1], 0), e = exp(x);
    check_near(check_get(&out[0].a[2], 0), sin(e) * a + x * cos(e) * a * e, 1e-13);
    check_near(check_get(&out[1].a[2], 0), sin(e) * a + 2 * x * cos(e) * a * e, 1e-13);
    for (int i = 0; i < 2; i++) {
      check_release(&out[i]);
      grad__program_release(g[i]);
    }
    check_release(&in);
    grad__program_release(right);
    grad__program_release(wrong);
  }
  grad_program *p = check_new(ctx), *f = custom_f(ctx), *rule = custom_rule(ctx, true, 1);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two);
  grad_id out[2];
  grad__custom(p, f, rule, NULL, 2, (const grad_id[]){x, x}, out); /* a vjp rule as jvp */
  check(p->status == GRAD_ESHAPE && out[0] == GRAD_NONE && strstr(grad_message(ctx), "jvp rule"));
  grad__program_release(p);
  grad__program_release(f);
  grad__program_release(rule);
}

/* --- implicit functions: x + 0.2 sin(W x) = b, against the fixed point iterated */

static grad_program *equation(grad_ctx *ctx, bool fixed_point) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), w = grad__program_input(p, GRAD_F64, 2, square);
  const grad_id b = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id column = grad__matmul(p, w, grad__reshape(p, x, 2, (const int64_t[]){2, 1}), false, false);
  const grad_id s = grad__op1(p, &grad__op_sin, grad__reshape(p, column, 1, two));
  const grad_id g = grad__sub(p, b, grad__mul(p, grad__lit(p, 0.2, s), s));
  return finished(p, 1, (const grad_id[]){fixed_point ? g : grad__sub(p, x, g)});
}

static grad_program *with_root(grad_ctx *ctx, bool implicit) {
  grad_program *p = check_new(ctx), *body = equation(ctx, !implicit);
  const grad_id w = grad__program_input(p, GRAD_F64, 2, square), b = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id args[] = {w, grad__op1(p, &grad__op_exp, b)};
  grad_id x = args[1];
  if (implicit) {
    x = grad__newton(p, body, x, 2, args, 1e-14, 30);
  } else {
    for (int i = 0; i < 30; i++) grad__inline(p, body, (const grad_id[]){x, args[0], args[1]}, NULL, &x, NULL);
  }
  grad__program_release(body);
  return finished(p, 2, (const grad_id[]){grad__sum(p, grad__mul(p, x, x), 1, false), x});
}

/* Beyond the dense size: a tridiagonal system by GMRES, and its derivative in b. */
static grad_program *tridiagonal(grad_ctx *ctx, int64_t n) {
  grad_program *p = check_new(ctx);
  const grad_id c = grad__program_input(p, GRAD_F64, 0, NULL), v = grad__program_input(p, GRAD_F64, 1, &n);
  const int64_t one = 1, zero = 0, count = n - 1;
  const grad_id up = grad__slice(p, v, &one, &count, &one), down = grad__slice(p, v, &zero, &count, &one);
  const grad_id beside = grad__add(p, grad__pad(p, up, &zero, &one, 0), grad__pad(p, down, &one, &zero, 0));
  return finished(p, 1,
                  (const grad_id[]){grad__add(p, grad__mul(p, grad__lit(p, 3, v), v),
                                              grad__mul(p, grad__broadcast(p, c, 1, &n), beside))});
}

static void test_gmres(grad_ctx *ctx) {
  const int64_t n = 500;
  grad_program *p = check_new(ctx), *a = tridiagonal(ctx, n), *g = NULL;
  const grad_id c = grad__program_input(p, GRAD_F64, 0, NULL), b = grad__program_input(p, GRAD_F64, 1, &n);
  const grad_id x = grad__linear_solve(p, a, a, 1, &c, b);
  grad_id product;
  grad__inline(p, a, (const grad_id[]){c, x}, NULL, &product, NULL);
  finished(p, 2, (const grad_id[]){grad__sum(p, grad__mul(p, x, b), 1, false), product});
  check(grad__ad_grad(p, all, &g) == GRAD_OK);
  check_arrays in = {0}, out;
  uint64_t state = 8;
  check_push_random(ctx, &in, g, 0, 2, &state);
  if (check(check_run(g, &in, NULL, &out) == GRAD_OK)) {
    check(check_same_array(&out.a[1], &in.a[1], 1e-9)); /* A x = b */
    check_set(&in.a[0], 0, check_get(&in.a[0], 0) + 1e-5);
    check_arrays high, low;
    check(check_run(p, &in, NULL, &high) == GRAD_OK);
    check_set(&in.a[0], 0, check_get(&in.a[0], 0) - 2e-5);
    check(check_run(p, &in, NULL, &low) == GRAD_OK);
    check_near(check_get(&out.a[2], 0), (check_get(&high.a[0], 0) - check_get(&low.a[0], 0)) / 2e-5, 1e-6);
    check_release(&high);
    check_release(&low);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(g);
  grad__program_release(a);
  grad__program_release(p);
}

/* x^2 = a at a = 0: the equation does not determine dx. */
static void test_singular(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *r = check_new(ctx), *g = NULL;
  const grad_id rx = grad__program_input(r, GRAD_F64, 0, NULL), ra = grad__program_input(r, GRAD_F64, 0, NULL);
  finished(r, 1, (const grad_id[]){grad__sub(r, grad__mul(r, rx, rx), ra)});
  const grad_id a = grad__program_input(p, GRAD_F64, 0, NULL);
  finished(p, 1, (const grad_id[]){grad__implicit(p, r, grad__op1(p, &grad__op_sqrt, a), 1, &a)});
  check(grad__ad_grad(p, all, &g) == GRAD_OK);
  for (int i = 0; i < 2; i++) {
    check_arrays in = {0}, out;
    check_push(ctx, &in, GRAD_F64, 0, NULL, (const double[]){i ? 0 : 4});
    const grad_status status = check_run(g, &in, NULL, &out);
    if (i) {
      check(status == GRAD_ESINGULAR);
    } else if (check(status == GRAD_OK)) {
      check_near(check_get(&out.a[1], 0), 0.25, 1e-15);
    }
    check_release(&out);
    check_release(&in);
  }
  grad__program_release(g);
  grad__program_release(r);
  grad__program_release(p);
}

/* A checkpoint, a branch and a root in a row. */
static grad_status chain(grad_ctx *ctx, grad_program **out) {
  grad_program *f = NULL, *p = NULL, *r = NULL;
  grad_status status = grad__program_new(ctx, &f);
  if (!status) status = grad__program_new(ctx, &p);
  if (!status) status = grad__program_new(ctx, &r);
  if (!status) {
    const grad_id a = grad__program_input(f, GRAD_F64, 0, NULL), b = grad__program_input(f, GRAD_F64, 0, NULL);
    grad__program_output(f, grad__add(f, grad__op1(f, &grad__op_sin, a), grad__mul(f, a, b)));
    const grad_id x = grad__program_input(r, GRAD_F64, 0, NULL), c = grad__program_input(r, GRAD_F64, 0, NULL);
    grad__program_output(r, grad__sub(r, grad__mul(r, x, grad__lit(r, 2, x)), c));
    grad_id in[] = {grad__program_input(p, GRAD_F64, 0, NULL), grad__program_input(p, GRAD_F64, 0, NULL)}, y;
    grad__checkpoint(p, f, 2, in, &in[0]);
    if (!p->status) grad__cond(p, grad__op2(p, &grad__op_gt, in[0], in[1]), f, f, 2, in, &y);
    if (!p->status) grad__program_output(p, grad__newton(p, r, y, 1, &y, 1e-12, 5));
    status = p->status;
  }
  grad__program_release(f);
  grad__program_release(r);
  if (status) {
    grad__program_release(p);
  } else {
    *out = p;
  }
  return status;
}

static grad_status chain_task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *p = NULL, *h = NULL;
  grad_status status = chain(ctx, &p);
  if (!status) status = grad__fn_hvp(p, (const bool[]){true, true}, &h);
  check_arrays in = {0}, out;
  for (int32_t i = 0; i < 4 && !status; i++) {
    if (!check_push(ctx, &in, GRAD_F64, 0, NULL, (const double[]){0.5})) status = ctx->status;
  }
  if (!status) {
    status = check_run(h, &in, NULL, &out);
    if (!status) check_release(&out);
  }
  check_release(&in);
  grad__program_release(h);
  grad__program_release(p);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  for (int rules = WITH_JVP; rules <= (WITH_JVP | WITH_VJP); rules++) {
    compare(ctx, with_custom(ctx, rules, 1), with_custom(ctx, 0, 1), "custom");
  }
  compare(ctx, with_root(ctx, true), with_root(ctx, false), "a root by Newton's method");
  test_custom_rule(ctx);
  test_gmres(ctx);
  test_singular(ctx);
  check_close(ctx);
  check_failing_alloc("chain", chain_task, NULL);
  return check_done();
}

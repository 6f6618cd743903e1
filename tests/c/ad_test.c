/* ad_test.c: forward, reverse, linearize, transpose and vmap: closed forms, refusals, failing memory. The identities
 * between them, on every op and on random programs, are in transforms_test.c. */
#include "check_alloc.h"
#include "check_program.h"
#include "random_program.h"

static grad_program *verified(grad_program *p) {
  if (p) check(grad__verify(p) == GRAD_OK);
  return p;
}

/* --- closed forms: f(x, y) = sum(sin(x) * y), with a number k from outside: k * f */

static const int64_t three[] = {3};

static grad_program *sample(grad_ctx *ctx) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three), y = grad__program_input(p, GRAD_F64, 1, three);
  const grad_id f = grad__sum(p, grad__mul(p, grad__op1(p, &grad__op_sin, x), y), 1, false);
  grad__program_output(p, grad__mul(p, f, grad__scalar(p, GRAD_F64, 0)));
  return p;
}

static const double at_x[] = {0.3, -1.1, 2.0}, at_y[] = {1.5, 0.2, -0.7}, k[] = {3};

static void sample_point(grad_ctx *ctx, check_arrays *in) {
  memset(in, 0, sizeof *in);
  check_push(ctx, in, GRAD_F64, 1, three, at_x);
  check_push(ctx, in, GRAD_F64, 1, three, at_y);
}

static void test_grad(grad_ctx *ctx) {
  grad_program *p = sample(ctx), *g = NULL;
  check(grad__ad_grad(p, (const bool[]){true, true}, &g) == GRAD_OK);
  verified(g);
  check(g->ninputs == 2 && g->noutputs == 3 && g->nscalars == 1);
  check_arrays in, out;
  sample_point(ctx, &in);
  if (check(check_run(g, &in, k, &out) == GRAD_OK)) {
    for (int i = 0; i < 3; i++) {
      check_near(check_get(&out.a[1], i), 3 * cos(at_x[i]) * at_y[i], 1e-15);
      check_near(check_get(&out.a[2], i), 3 * sin(at_x[i]), 1e-15);
    }
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(g);
  grad__program_release(p);
}

static void test_jvp(grad_ctx *ctx) {
  grad_program *p = sample(ctx), *j = NULL;
  check(grad__ad_jvp(p, (const bool[]){false, true}, &j) == GRAD_OK);
  verified(j);
  check(j->ninputs == 3 && j->noutputs == 2);
  check_arrays in, out;
  sample_point(ctx, &in);
  check_push(ctx, &in, GRAD_F64, 1, three, (const double[]){1, 2, 3});
  if (check(check_run(j, &in, k, &out) == GRAD_OK)) {
    check_near(check_get(&out.a[1], 0), 3 * (sin(0.3) + 2 * sin(-1.1) + 3 * sin(2.0)), 1e-15);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(j);
  grad__program_release(p);
}

/* A function that does not depend on its argument has derivative zero; integer arguments have none. */
static void test_zero_and_refusals(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *g = NULL;
  const grad_id x = grad__program_input(p, GRAD_F32, 1, three), n = grad__program_input(p, GRAD_I64, 1, three);
  grad__program_output(p, grad__full(p, 7, GRAD_F32, 0, NULL));
  grad__program_output(p, grad__op2(p, &grad__op_gt, x, grad__lit(p, 0, x)));
  grad__program_output(p, n);
  check(grad__ad_grad(p, (const bool[]){true, false}, &g) == GRAD_OK);
  check_arrays in = {0}, out;
  check_push(ctx, &in, GRAD_F32, 1, three, at_x);
  check_push(ctx, &in, GRAD_I64, 1, three, at_x);
  if (check(check_run(g, &in, NULL, &out) == GRAD_OK)) {
    check(out.n == 4 && out.a[3].dtype == GRAD_F32 && check_get(&out.a[3], 2) == 0);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(g);
  g = NULL;
  check(grad__ad_grad(p, (const bool[]){true, true}, &g) == GRAD_EDTYPE && !g);
  check(strstr(grad_message(ctx), "i64") != NULL);
  p->outputs[0] = x;
  check(grad__ad_grad(p, (const bool[]){true, false}, &g) == GRAD_ESHAPE && !g);
  check(grad__ad_jvp(p, (const bool[]){true, false}, &g) == GRAD_OK && g->noutputs == 4); /* one tangent: x's */
  grad__program_release(g);
  grad__program_release(p);
}

/* Lines survive differentiation: every instruction of the gradient names the line of what it came from. */
static void test_lines(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *g = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three);
  p->where = grad__program_add_where(p, "m.lua:1");
  const grad_id s = grad__op1(p, &grad__op_sin, x);
  p->where = grad__program_add_where(p, "m.lua:2");
  grad__program_output(p, grad__sum(p, grad__op1(p, &grad__op_exp, s), 1, false));
  check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK);
  int first = 0, second = 0;
  for (int32_t i = 0; i < g->ninstrs; i++) {
    const char *where = grad__program_where(g, &g->instrs[i]);
    first += strcmp(where, "m.lua:1") == 0;
    second += strcmp(where, "m.lua:2") == 0;
    if (g->instrs[i].op == &grad__op_cos) check_text(where, "m.lua:1");
  }
  check(first >= 3 && second >= 2 && first + second >= g->ninstrs - 1);
  grad__program_release(g);
  grad__program_release(p);
}

/* The branch not taken does not poison: d/dx where(x > 0, sqrt(x), 0) at 0 is 0. */
static void test_where(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *g = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL), zero = grad__lit(p, 0, x);
  const grad_id root = grad__op1(p, &grad__op_sqrt, x);
  grad__program_output(p, grad__where(p, grad__op2(p, &grad__op_gt, x, zero), root, zero));
  check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK);
  for (int i = 0; i < 3; i++) {
    static const double points[] = {0, 4, -1}, slopes[] = {0, 0.25, 0};
    check_arrays in = {0}, out;
    check_push(ctx, &in, GRAD_F64, 0, NULL, &points[i]);
    if (check(check_run(g, &in, NULL, &out) == GRAD_OK)) check_near(check_get(&out.a[1], 0), slopes[i], 0);
    check_release(&out);
    check_release(&in);
  }
  grad__program_release(g);
  grad__program_release(p);
}

/* Every elementwise op with a derivative, at third order: d3/dx3 exp(sin x) and the like have closed forms. */
static void test_third_order(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  grad__program_output(p, grad__op1(p, &grad__op_exp, grad__op1(p, &grad__op_sin, x)));
  for (int order = 0; order < 3; order++) {
    grad_program *g = NULL, *next = NULL;
    check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK);
    check(grad__extract(g, 1, g->inputs, 1, &g->outputs[1], true, &next) == GRAD_OK);
    grad__program_release(g);
    grad__program_release(p);
    p = next;
  }
  check_arrays in = {0}, out;
  const double t = 0.7, s = sin(t), c = cos(t);
  check_push(ctx, &in, GRAD_F64, 0, NULL, &t);
  if (check(check_run(p, &in, NULL, &out) == GRAD_OK)) {
    check_near(check_get(&out.a[0], 0), exp(s) * (c * c * c - 3 * s * c - c), 1e-13);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(p);
}

/* All passes are linear in the length of the program and do not recurse. */
static void test_long(grad_ctx *ctx) {
  enum { N = 100000 };
  grad_program *p = check_new(ctx), *g = NULL, *b = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  grad_id v = x;
  for (int i = 0; i < N / 2; i++) v = grad__op1(p, &grad__op_sin, grad__add(p, v, x));
  grad__program_output(p, v);
  check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK && g->ninstrs > N);
  check(grad__ad_vmap(g, 2, (const bool[]){true}, NULL, &b) == GRAD_OK);
  double y = 0.5, dy = 1;
  for (int i = 0; i < N / 2; i++) {
    dy = cos(y + 0.5) * (dy + 1);
    y = sin(y + 0.5);
  }
  check_arrays in = {0}, out;
  check_push(ctx, &in, GRAD_F64, 0, NULL, (const double[]){0.5});
  if (check(check_run(g, &in, NULL, &out) == GRAD_OK)) {
    check_near(check_get(&out.a[1], 0), dy, 1e-9);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(b);
  grad__program_release(g);
  grad__program_release(p);
}

/* --- refusals and failing memory */

static const grad_op no_rules = {.name = "no_rules", .nin = 1, .nout = 1};

static grad_status same_type(grad_infer *a) {
  a->out[0].dtype = a->in[0].dtype;
  a->out[0].ndim = a->in[0].ndim;
  memcpy(a->out[0].shape, a->in[0].shape, (size_t)a->in[0].ndim * sizeof(int64_t));
  return GRAD_OK;
}

static void test_missing_rules(grad_ctx *ctx) {
  grad_op op = no_rules;
  op.infer = same_type;
  grad_program *p = check_new(ctx), *out = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three);
  p->where = grad__program_add_where(p, "here.lua:5");
  grad__program_output(p, grad__emit(p, &op, 1, &x, 0, NULL));
  check(grad__ad_jvp(p, (const bool[]){true}, &out) == GRAD_EUNSUPPORTED && !out);
  check(strstr(grad_message(ctx), "no_rules") && strstr(grad_message(ctx), "here.lua:5"));
  check(grad__ad_vmap(p, 4, (const bool[]){true}, NULL, &out) == GRAD_EUNSUPPORTED && !out);
  check(strstr(grad_message(ctx), "no_rules") && strstr(grad_message(ctx), "here.lua:5"));
  op.flags = GRAD_OP_LINEAR;
  check(grad__ad_vjp(p, (const bool[]){true}, 1, &out) == GRAD_EUNSUPPORTED && !out);
  check(strstr(grad_message(ctx), "no_rules") && strstr(grad_message(ctx), "here.lua:5"));
  grad__program_release(p);
}

/* Every registered op can be batched, and has a derivative unless it says that it has none. */
static void test_registry(void) {
  for (int i = 0; i < grad__op_count(); i++) {
    const grad_op *op = grad__op_at(i);
    const bool batches = op->nin == 0 || op->batch || op->flags & GRAD_OP_ELEMENTWISE;
    const bool derives = op->jvp || op->flags & (GRAD_OP_LINEAR | GRAD_OP_NONDIFF);
    const bool transposes = op->transpose || !(op->flags & GRAD_OP_LINEAR);
    if (!check(batches && derives && transposes)) fprintf(stderr, "  op %s\n", op->name);
  }
}

static grad_status derive_all(grad_ctx *ctx, void *ud) {
  (void)ud;
  const random_options o = {
      .smooth = true, .ninputs = 3, .ninstrs = 40, .noutputs = 2, .rows = 3, .columns = 2, .dtype = GRAD_F64};
  const bool wrt[] = {true, true, true, false};
  grad_program *p = random_program_unchecked(ctx, 6, &o);
  grad_program *made[5] = {NULL};
  grad_status status = p ? p->status : ctx->status;
  if (!status) status = grad__ad_jvp(p, wrt, &made[0]);
  if (!status) status = grad__ad_vjp(p, wrt, 2, &made[1]);
  if (!status) status = grad__ad_linearize(p, wrt, 2, &made[2], &made[3]);
  if (!status) status = grad__ad_vmap(p, 2, wrt, NULL, &made[4]);
  for (int i = 0; i < 5; i++) grad__program_release(made[i]);
  grad__program_release(p);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_grad(ctx);
  test_jvp(ctx);
  test_zero_and_refusals(ctx);
  test_lines(ctx);
  test_where(ctx);
  test_third_order(ctx);
  test_long(ctx);
  test_missing_rules(ctx);
  test_registry();
  check_close(ctx);
  check_failing_alloc("ad", derive_all, NULL);
  return check_done();
}

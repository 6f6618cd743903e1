/* control_test.c: cond, scan, while, checkpoint: each against the same function written without them. */
#include "check_compare.h"

/* --- cond: x > 0 in its first element ? sum(sin(x) a) : sum(x^2) + a-part */

static grad_program *branch(grad_ctx *ctx, bool positive) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), a = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id v = positive ? grad__mul(p, grad__op1(p, &grad__op_sin, x), a) : grad__mul(p, x, grad__mul(p, x, x));
  return finished(p, 2, (const grad_id[]){grad__sum(p, v, 1, false), v});
}

static grad_program *with_cond(grad_ctx *ctx, bool staged) {
  grad_program *p = check_new(ctx), *yes = branch(ctx, true), *no = branch(ctx, false);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), a = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id first =
      grad__sum(p, grad__slice(p, x, (const int64_t[]){0}, (const int64_t[]){1}, (const int64_t[]){1}), 1, false);
  const grad_id positive = grad__op2(p, &grad__op_gt, first, grad__lit(p, 0, first)), args[] = {x, a};
  grad_id out[2], other[2];
  if (staged) {
    grad__cond(p, positive, yes, no, 2, args, out);
  } else {
    grad__inline(p, yes, args, NULL, out, NULL);
    grad__inline(p, no, args, NULL, other, NULL);
    for (int k = 0; k < 2; k++)
      out[k] = grad__where(p, k ? grad__broadcast(p, positive, 1, two) : positive, out[k], other[k]);
  }
  grad__program_release(yes);
  grad__program_release(no);
  return finished(p, 2, out);
}

/* --- scan: h = tanh(W h + x), y = h sum(x) */

static grad_program *cell(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id w = grad__program_input(p, GRAD_F64, 2, square), h = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id column =
      grad__matmul(p, grad__op1(p, &grad__op_sin, w), grad__reshape(p, h, 2, (const int64_t[]){2, 1}), false, false);
  const grad_id next = grad__op1(p, &grad__op_tanh, grad__add(p, grad__reshape(p, column, 1, two), x));
  return finished(p, 2, (const grad_id[]){next, grad__mul(p, next, grad__sum(p, x, 1, false))});
}

typedef enum scan_form { PLAIN, STAGED, CHECKPOINTED } scan_form;

static grad_program *with_scan(grad_ctx *ctx, scan_form form, bool reverse) {
  grad_program *p = check_new(ctx), *body = cell(ctx);
  const grad_id in[] = {grad__program_input(p, GRAD_F64, 2, square), grad__program_input(p, GRAD_F64, 1, two),
                        grad__program_input(p, GRAD_F64, 2, rows)};
  const grad_loop loop = {.body = body,
                          .nconsts = 1,
                          .ncarry = 1,
                          .nxs = 1,
                          .consts = in,
                          .init = in + 1,
                          .xs = in + 2,
                          .length = 5,
                          .reverse = reverse};
  grad_id out[2];
  if (form == PLAIN) {
    unroll(p, body, in, reverse, out);
  } else if (form == STAGED) {
    grad__scan(p, &loop, out);
  } else {
    grad__scan_checkpointed(p, &loop, 2, out);
  }
  grad__program_release(body);
  const grad_id total = grad__add(p, grad__sum(p, out[0], 1, false), grad__sum(p, out[1], 3, false));
  return finished(p, 3, (const grad_id[]){total, out[0], out[1]});
}

/* --- checkpoint: around a branch, a loop and plain instructions */

static grad_program *checkpointed_body(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *loop = with_scan(ctx, STAGED, false), *choice = with_cond(ctx, true);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two), w = grad__program_input(p, GRAD_F64, 2, square);
  const grad_id xs = grad__program_input(p, GRAD_F64, 2, rows);
  grad_id a[3], b[2];
  grad__inline(p, loop, (const grad_id[]){w, grad__op1(p, &grad__op_sin, x), xs}, NULL, a, NULL);
  grad__inline(p, choice, (const grad_id[]){x, a[1]}, NULL, b, NULL);
  grad__program_release(loop);
  grad__program_release(choice);
  return finished(p, 2, (const grad_id[]){grad__mul(p, a[0], b[0]), b[1]});
}

static grad_program *with_checkpoint(grad_ctx *ctx, bool staged) {
  grad_program *p = check_new(ctx), *body = checkpointed_body(ctx);
  const grad_id args[] = {grad__program_input(p, GRAD_F64, 1, two), grad__program_input(p, GRAD_F64, 2, square),
                          grad__program_input(p, GRAD_F64, 2, rows)};
  grad_id out[2];
  if (staged) {
    grad__checkpoint(p, body, 3, args, out);
  } else {
    grad__inline(p, body, args, NULL, out, NULL);
  }
  grad__program_release(body);
  return finished(p, 2, out);
}

/* --- while: v = sin(v) a + 1, i = i + 1 while i < n; the state starts without a tangent in part */

static grad_program *while_step(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id a = grad__program_input(p, GRAD_F64, 1, two), v = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id s = grad__program_input(p, GRAD_F64, 0, NULL), i = grad__program_input(p, GRAD_I64, 0, NULL);
  const grad_id next =
      grad__add(p, grad__mul(p, grad__op1(p, &grad__op_sin, v), grad__op1(p, &grad__op_exp, a)), grad__lit(p, 1, v));
  const grad_id sum = grad__add(p, s, grad__sum(p, grad__mul(p, v, next), 1, false));
  return finished(p, 3, (const grad_id[]){next, sum, grad__add(p, i, grad__lit(p, 1, i))});
}

static grad_program *while_test(grad_ctx *ctx, int n) {
  grad_program *p = check_new(ctx);
  grad__program_input(p, GRAD_F64, 1, two);
  grad__program_input(p, GRAD_F64, 1, two);
  grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id i = grad__program_input(p, GRAD_I64, 0, NULL);
  return finished(p, 1, (const grad_id[]){grad__op2(p, &grad__op_lt, i, grad__full(p, n, GRAD_I64, 0, NULL))});
}

static grad_program *with_while(grad_ctx *ctx, bool staged, int n) {
  grad_program *p = check_new(ctx), *body = while_step(ctx), *test = while_test(ctx, n);
  const grad_id a = grad__program_input(p, GRAD_F64, 1, two), v = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id init[] = {v, grad__full(p, 0, GRAD_F64, 0, NULL), grad__full(p, 0, GRAD_I64, 0, NULL)};
  grad_id out[3] = {init[0], init[1], init[2]};
  if (staged) {
    grad__while_loop(p, test, &(grad_loop){.body = body, .nconsts = 1, .ncarry = 3, .consts = &a, .init = init}, out);
  } else {
    for (int i = 0; i < n; i++) grad__inline(p, body, (const grad_id[]){a, out[0], out[1], out[2]}, NULL, out, NULL);
  }
  grad__program_release(body);
  grad__program_release(test);
  return finished(p, 2, (const grad_id[]){grad__add(p, out[1], grad__sum(p, out[0], 1, false)), out[0]});
}

/* A while whose number of steps depends on the data: x doubles until it passes 100: x 2^k, with slope 2^k. */
static grad_program *doubling(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *body = check_new(ctx), *test = check_new(ctx);
  const grad_id b = grad__program_input(body, GRAD_F64, 0, NULL), t = grad__program_input(test, GRAD_F64, 0, NULL);
  finished(body, 1, (const grad_id[]){grad__mul(body, b, grad__lit(body, 2, b))});
  finished(test, 1, (const grad_id[]){grad__op2(test, &grad__op_lt, t, grad__lit(test, 100, t))});
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  grad_id out;
  grad__while_loop(p, test, &(grad_loop){.body = body, .ncarry = 1, .init = &x}, &out);
  grad__program_release(body);
  grad__program_release(test);
  return finished(p, 1, (const grad_id[]){grad__mul(p, out, out)});
}

static void test_data_dependent(grad_ctx *ctx) {
  grad_program *p = doubling(ctx), *g = NULL, *wide = NULL, *wide_first = NULL, *late = NULL, *h = NULL;
  check(grad__ad_grad(p, all, &g) == GRAD_OK && grad__ad_vmap(g, 4, all, NULL, &wide) == GRAD_OK);
  check(grad__ad_vmap(p, 4, all, NULL, &wide_first) == GRAD_OK && grad__ad_vjp(wide_first, all, 1, &late) == GRAD_OK);
  check(grad__fn_hessian(p, all, &h) == GRAD_OK);
  const double x[] = {1.5, 60, 130, 0.01}, factor[] = {128, 2, 1, 16384}, ones[] = {1, 1, 1, 1};
  const int64_t four[] = {4};
  check_arrays in = {0}, out;
  check_push(ctx, &in, GRAD_F64, 1, four, x);
  if (check(check_run(wide, &in, NULL, &out) == GRAD_OK)) {
    for (int i = 0; i < 4; i++) check_near(check_get(&out.a[1], i), 2 * x[i] * factor[i] * factor[i], 1e-14);
    check_release(&out);
  }
  check_push(ctx, &in, GRAD_F64, 1, four, ones);
  if (check(check_run(late, &in, NULL, &out) == GRAD_OK)) {
    for (int i = 0; i < 4; i++) check_near(check_get(&out.a[1], i), 2 * x[i] * factor[i] * factor[i], 1e-14);
    check_release(&out);
  }
  check_release(&in);
  check_push(ctx, &in, GRAD_F64, 0, NULL, x);
  if (check(check_run(h, &in, NULL, &out) == GRAD_OK)) {
    check_near(check_get(&out.a[1], 0), 2 * factor[0] * factor[0], 1e-14);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(h);
  grad__program_release(late);
  grad__program_release(wide_first);
  grad__program_release(wide);
  grad__program_release(g);
  grad__program_release(p);
}

/* --- a while and a cond inside a scan */

static grad_program *nested_body(grad_ctx *ctx, bool staged) {
  grad_program *p = check_new(ctx), *inner = with_while(ctx, staged, 3), *choice = with_cond(ctx, staged);
  const grad_id w = grad__program_input(p, GRAD_F64, 1, two), h = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two);
  grad_id a[2], b[2];
  grad__inline(p, inner, (const grad_id[]){w, grad__mul(p, h, x)}, NULL, a, NULL);
  grad__inline(p, choice, (const grad_id[]){x, a[1]}, NULL, b, NULL);
  grad__program_release(inner);
  grad__program_release(choice);
  const grad_id next = grad__op1(p, &grad__op_tanh, grad__add(p, b[1], h));
  return finished(p, 2, (const grad_id[]){next, a[0]});
}

static grad_program *with_nested(grad_ctx *ctx, bool staged) {
  grad_program *p = check_new(ctx), *body = nested_body(ctx, staged);
  const grad_id w = grad__program_input(p, GRAD_F64, 1, two), h = grad__program_input(p, GRAD_F64, 1, two);
  const grad_id xs = grad__program_input(p, GRAD_F64, 2, rows);
  grad_id out[2];
  if (staged) {
    grad__scan(p,
               &(grad_loop){
                   .body = body, .nconsts = 1, .ncarry = 1, .nxs = 1, .consts = &w, .init = &h, .xs = &xs, .length = 5},
               out);
  } else {
    grad_id ys[5], step[2] = {h};
    for (int64_t t = 0; t < 5; t++) {
      const grad_id x = grad__slice(p, xs, (const int64_t[]){t, 0}, (const int64_t[]){1, 2}, (const int64_t[]){1, 1});
      grad__inline(p, body, (const grad_id[]){w, step[0], grad__reshape(p, x, 1, two)}, NULL, step, NULL);
      ys[t] = grad__reshape(p, step[1], 1, (const int64_t[]){1});
    }
    out[0] = step[0];
    out[1] = grad__concat(p, 5, ys, 0);
  }
  grad__program_release(body);
  return finished(
      p, 2, (const grad_id[]){grad__add(p, grad__sum(p, out[0], 1, false), grad__sum(p, out[1], 1, false)), out[0]});
}

/* --- memory: a deep network, layer by layer; with checkpoints, of `every` layers each */

static const int64_t wide[] = {64, 64};

static grad_program *layers(grad_ctx *ctx, int n) {
  grad_program *p = check_new(ctx);
  const grad_id w = grad__program_input(p, GRAD_F64, 2, wide);
  grad_id h = grad__program_input(p, GRAD_F64, 2, wide);
  for (int i = 0; i < n; i++) h = grad__op1(p, &grad__op_tanh, grad__matmul(p, w, h, false, false));
  return finished(p, 1, &h);
}

static int64_t peak_of(grad_ctx *ctx, int depth, int every, double *result) {
  grad_program *p = check_new(ctx), *block = layers(ctx, every ? every : depth), *g = NULL;
  const grad_id w = grad__program_input(p, GRAD_F64, 2, wide), x = grad__program_input(p, GRAD_F64, 2, wide);
  grad_id h = x;
  for (int i = 0; i < depth; i += every ? every : depth) {
    const grad_id args[] = {w, h};
    if (every) {
      grad__checkpoint(p, block, 2, args, &h);
    } else {
      grad__inline(p, block, args, NULL, &h, NULL);
    }
  }
  const grad_id total = grad__sum(p, h, 3, false);
  finished(p, 1, &total);
  check(grad__ad_grad(p, (const bool[]){true, false}, &g) == GRAD_OK);
  grad_plan *plan = NULL;
  grad_plan_info info = {0};
  check_arrays in = {0}, out = {.n = g->noutputs};
  uint64_t state = 3;
  check_push_random(ctx, &in, g, 0, 2, &state);
  const grad_array *args[] = {&in.a[0], &in.a[1]};
  if (check(grad__plan_new(g, &plan) == GRAD_OK) && check(grad__plan_run(plan, args, NULL, out.a) == GRAD_OK)) {
    const uint64_t before = ctx->allocations;
    check(grad__plan_run(plan, args, NULL, out.a) == GRAD_OK && ctx->allocations == before);
    *result = check_get(&out.a[1], 7);
    grad__plan_info(plan, &info);
    check_release(&out);
  }
  grad__plan_free(plan);
  check_release(&in);
  grad__program_release(g);
  grad__program_release(block);
  grad__program_release(p);
  return info.peak;
}

static void test_checkpoint_memory(grad_ctx *ctx) {
  double plain = 0, saved = 1;
  const int64_t kept = peak_of(ctx, 64, 0, &plain), recomputed = peak_of(ctx, 64, 8, &saved);
  check_near(saved, plain, 1e-12);
  if (!check(kept > 60 * 64 * 64 * 8 && 2 * recomputed < kept)) {
    fprintf(stderr, "  peak %lld, with checkpoints %lld bytes\n", (long long)kept, (long long)recomputed);
  }
}

/* --- bad input */

static void test_refusals(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *body = check_new(ctx);
  const grad_id h = grad__program_input(body, GRAD_F64, 1, two);
  finished(body, 1, (const grad_id[]){grad__concat(body, 2, (const grad_id[]){h, h}, 0)});
  const grad_id x = grad__program_input(p, GRAD_F64, 1, two);
  grad_id out;
  grad__scan(p, &(grad_loop){.body = body, .ncarry = 1, .init = &x, .length = 3}, &out);
  check(p->status == GRAD_ESHAPE && out == GRAD_NONE);
  check(strstr(grad_message(ctx), "keeps its shape") && strstr(grad_message(ctx), "f64 4"));
  grad__program_release(p);
  grad__program_release(body);

  p = check_new(ctx);
  grad_program *yes = branch(ctx, true), *no = check_new(ctx);
  const grad_id a = grad__program_input(no, GRAD_F64, 1, two), b = grad__program_input(no, GRAD_F64, 1, two);
  finished(no, 2, (const grad_id[]){a, b});
  const grad_id y = grad__program_input(p, GRAD_F64, 1, two), test = grad__program_input(p, GRAD_BOOL, 0, NULL);
  grad_id two_out[2];
  grad__cond(p, test, yes, no, 2, (const grad_id[]){y, y}, two_out);
  check(p->status == GRAD_ESHAPE && strstr(grad_message(ctx), "result 1"));
  grad__program_release(p);

  p = check_new(ctx);
  const grad_id z = grad__program_input(p, GRAD_F64, 1, two);
  grad__cond(p, z, yes, yes, 2, (const grad_id[]){z, z}, two_out);
  check(p->status == GRAD_EDTYPE && strstr(grad_message(ctx), "bool"));
  grad__program_release(p);
  grad__program_release(yes);
  grad__program_release(no);
}

static void test_close_scalars(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *closed = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id a = grad__scalar(p, GRAD_F64, 0), b = grad__scalar(p, GRAD_F64, 1);
  finished(p, 1, (const grad_id[]){grad__add(p, grad__mul(p, x, b), a)});
  int32_t numbers[8], count = 0;
  grad_dtype dtypes[8];
  check(grad__close_scalars(p, numbers, dtypes, &count, &closed) == GRAD_OK);
  check(count == 2 && closed->ninputs == 3 && closed->nscalars == 0 && dtypes[0] == GRAD_F64);
  check(numbers[0] + numbers[1] == 1 && grad__verify(closed) == GRAD_OK);
  grad__program_release(closed);
  grad__program_release(p);
}

/* --- failing memory */

static grad_status loops_task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *body = NULL, *p = NULL, *g = NULL, *wide = NULL;
  grad_status status = grad__program_new(ctx, &body);
  if (!status) status = grad__program_new(ctx, &p);
  if (!status) {
    const grad_id w = grad__program_input(body, GRAD_F64, 0, NULL), h = grad__program_input(body, GRAD_F64, 0, NULL);
    const grad_id x = grad__program_input(body, GRAD_F64, 0, NULL);
    grad__program_output(body, grad__op1(body, &grad__op_sin, grad__add(body, grad__mul(body, w, h), x)));
    status = body->status;
  }
  if (!status) {
    const int64_t three = 3;
    const grad_id in[] = {grad__program_input(p, GRAD_F64, 0, NULL), grad__program_input(p, GRAD_F64, 0, NULL),
                          grad__program_input(p, GRAD_F64, 1, &three)};
    grad_id out;
    grad__scan(
        p,
        &(grad_loop){
            .body = body, .nconsts = 1, .ncarry = 1, .nxs = 1, .consts = in, .init = in + 1, .xs = in + 2, .length = 3},
        &out);
    grad__program_output(p, out);
    status = p->status;
  }
  if (!status) status = grad__ad_grad(p, all, &g);
  if (!status) status = grad__ad_vmap(g, 2, all, NULL, &wide);
  check_arrays in = {0}, out;
  for (int32_t i = 0; i < 3 && !status; i++) {
    const grad_type *t = grad__type(wide, wide->inputs[i]);
    if (!check_push(ctx, &in, GRAD_F64, t->ndim, t->shape, NULL)) status = ctx->status;
  }
  if (!status) {
    status = check_run(wide, &in, NULL, &out);
    if (!status) check_release(&out);
  }
  check_release(&in);
  grad__program_release(wide);
  grad__program_release(g);
  grad__program_release(p);
  grad__program_release(body);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  compare(ctx, with_cond(ctx, true), with_cond(ctx, false), "cond");
  compare(ctx, with_scan(ctx, STAGED, false), with_scan(ctx, PLAIN, false), "scan");
  compare(ctx, with_scan(ctx, STAGED, true), with_scan(ctx, PLAIN, true), "scan in reverse");
  compare(ctx, with_scan(ctx, CHECKPOINTED, false), with_scan(ctx, PLAIN, false), "checkpointed scan");
  compare(ctx, with_scan(ctx, CHECKPOINTED, true), with_scan(ctx, PLAIN, true), "checkpointed scan in reverse");
  compare(ctx, with_checkpoint(ctx, true), with_checkpoint(ctx, false), "checkpoint");
  compare(ctx, with_while(ctx, true, 4), with_while(ctx, false, 4), "while");
  compare(ctx, with_while(ctx, true, 0), with_while(ctx, false, 0), "while of no step");
  compare(ctx, with_nested(ctx, true), with_nested(ctx, false), "a while and a cond in a scan");
  compare_third(ctx, with_while(ctx, true, 4), with_while(ctx, false, 4), "vmap of vjp of vjp of while");
  compare_third(ctx, with_scan(ctx, STAGED, false), with_scan(ctx, PLAIN, false), "vmap of vjp of vjp of scan");
  compare_third(ctx, with_nested(ctx, true), with_nested(ctx, false), "vmap of vjp of vjp of nested loops");
  test_data_dependent(ctx);
  test_checkpoint_memory(ctx);
  test_refusals(ctx);
  test_close_scalars(ctx);
  check_close(ctx);
  check_failing_alloc("loops", loops_task, NULL);
  return check_done();
}

/* program_test.c: the builder (sharing, sticky failure), hash and equality, inlining, extraction, verifier, printer. */
#include "check_alloc.h"
#include "check_program.h"

static const int64_t three[] = {3};

static void build_sample(grad_program *p, bool extra) {
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three);
  p->where = grad__program_add_where(p, "a.lua:1");
  const grad_id k = grad__broadcast(p, grad__scalar(p, GRAD_F64, 0), 1, three);
  const grad_id y = grad__mul(p, grad__op1(p, &grad__op_sin, x), k);
  p->where = grad__program_add_where(p, "a.lua:2");
  grad__program_output(p, extra ? grad__op1(p, &grad__op_exp, y) : y);
}

static grad_program *sample(grad_ctx *ctx, bool extra) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  build_sample(p, extra);
  return p;
}

static void test_sharing(grad_ctx *ctx) {
  grad_program *p = sample(ctx, true);
  const int32_t n = p->ninstrs;
  const grad_id a = grad__op1(p, &grad__op_sin, p->inputs[0]), b = grad__op1(p, &grad__op_sin, p->inputs[0]);
  check(a == b && p->ninstrs == n);
  check(grad__op1(p, &grad__op_cos, p->inputs[0]) != a && p->ninstrs == n + 1);
  check(grad__verify(p) == GRAD_OK);
  check(grad__program_add_where(p, "a.lua:1") == 1);
  check_text(grad__program_where(p, grad__producer(p, p->outputs[0])), "a.lua:2");
  check(grad__where_is_told("solve: singular [a.lua:1]", "a.lua:1") && grad__where_is_told("solve: singular", ""));
  check(!grad__where_is_told("solve: singular [a.lua:12]", "a.lua:1"));
  grad__program_release(p);
}

static void test_equality(grad_ctx *ctx) {
  grad_program *a = sample(ctx, true), *b = sample(ctx, true), *c = sample(ctx, false);
  check(grad__program_equal(a, b) && grad__program_hash(a) == grad__program_hash(b));
  check(!grad__program_equal(a, c) && grad__program_hash(a) != grad__program_hash(c));
  grad__program_output(b, b->inputs[0]);
  check(!grad__program_equal(a, b) && grad__program_hash(a) != grad__program_hash(b));
  grad__program_release(a);
  grad__program_release(b);
  grad__program_release(c);
}

static void test_restart(grad_ctx *ctx) {
  grad_program *a = sample(ctx, false), *b = sample(ctx, true);
  const int32_t n = b->ninstrs;
  grad__program_retain(b);
  check(!grad__program_restart(b) && b->ninstrs == n);
  grad__program_release(b);
  grad__program_fail(b, GRAD_EVALUE, "no");
  const uint64_t allocations = ctx->allocations;
  check(grad__program_restart(b));
  build_sample(b, false);
  check(ctx->allocations == allocations);
  check(grad__program_equal(a, b) && grad__program_hash(a) == grad__program_hash(b) && grad__verify(b) == GRAD_OK);
  check_text(grad__program_where(b, grad__producer(b, b->outputs[0])), "a.lua:1");
  for (int i = 0; i < 1000; i++) grad__program_input(b, GRAD_F64, 1, &(int64_t){i});
  check(!grad__program_restart(b) && b->ninputs == 1001);
  grad__program_release(a);
  grad__program_release(b);
}

static void test_sticky_failure(grad_ctx *ctx) {
  grad_program *p = sample(ctx, true);
  const grad_id bad = grad__add(p, p->inputs[0], grad__program_input(p, GRAD_F64, 1, (const int64_t[]){4}));
  check(bad == GRAD_NONE && p->status == GRAD_ESHAPE);
  check(strstr(grad_message(ctx), "3") && strstr(grad_message(ctx), "4") && strstr(grad_message(ctx), "add"));
  check(grad__op1(p, &grad__op_sin, bad) == GRAD_NONE);
  check(grad__op1(p, &grad__op_sin, p->inputs[0]) == GRAD_NONE);
  check(grad__program_fail(p, GRAD_EVALUE, "later") == GRAD_NONE && p->status == GRAD_ESHAPE);
  grad_program *q = NULL;
  check(grad__prune(p, &q) == GRAD_ESHAPE && q == NULL);
  check(grad__ad_jvp(p, (const bool[]){true, false}, &q) == GRAD_ESHAPE && q == NULL);
  grad__program_release(p);
}

static void test_inline(grad_ctx *ctx) {
  grad_program *inner = sample(ctx, true), *outer = NULL;
  if (!check(grad__program_new(ctx, &outer) == GRAD_OK)) return;
  const grad_id x = grad__program_input(outer, GRAD_F64, 1, three);
  grad__scalar(outer, GRAD_F64, 0);
  grad_id once, twice, keep[32];
  grad__inline(outer, inner, &x, NULL, &once, keep);
  check(outer->nscalars == 2 && keep[inner->inputs[0]] == x && keep[inner->outputs[0]] == once);
  const grad_id number = grad__scalar(outer, GRAD_F64, 0);
  grad__inline(outer, inner, &once, &number, &twice, NULL);
  check(outer->nscalars == 2);
  grad__program_output(outer, twice);
  check(grad__verify(outer) == GRAD_OK);
  check_text(grad__program_where(outer, grad__producer(outer, twice)), "a.lua:2");
  check_arrays in = {0}, out;
  check_push(ctx, &in, GRAD_F64, 1, three, (const double[]){0.1, 0.2, -0.3});
  if (check(check_run(outer, &in, (const double[]){2, 3}, &out) == GRAD_OK)) {
    for (int i = 0; i < 3; i++) {
      const double first = exp(3 * sin(check_get(&in.a[0], i)));
      check_near(check_get(&out.a[0], i), exp(2 * sin(first)), 1e-14);
    }
    check_release(&out);
  }
  check_release(&in);
  const grad_id wrong = grad__program_input(outer, GRAD_F32, 1, three);
  grad__inline(outer, inner, &wrong, NULL, &once, NULL);
  check(outer->status == GRAD_EINTERNAL && once == GRAD_NONE);
  grad__program_release(inner);
  grad__program_release(outer);
}

static void test_extract(grad_ctx *ctx) {
  grad_program *p = sample(ctx, true), *pruned = NULL, *part = NULL;
  grad__op1(p, &grad__op_cos, p->inputs[0]); /* dead */
  check(grad__prune(p, &pruned) == GRAD_OK && pruned->ninstrs == p->ninstrs - 1);
  check(pruned->nscalars == 1 && pruned->ninputs == 1);
  const grad_id middle = grad__producer(p, p->outputs[0])->in[0];
  check(grad__extract(p, 1, &middle, 1, p->outputs, true, &part) == GRAD_OK);
  check(part->ninstrs == 1 && part->instrs[0].op == &grad__op_exp && part->ninputs == 1);
  grad_program *none = NULL;
  check(grad__extract(p, 0, NULL, 1, p->outputs, true, &none) == GRAD_EINTERNAL && !none);
  grad__program_release(p);
  grad__program_release(pruned);
  grad__program_release(part);
}

static void test_verify(grad_ctx *ctx) {
  grad_program *p = sample(ctx, true);
  const grad_type saved = p->types[p->outputs[0]];
  p->types[p->outputs[0]].dtype = GRAD_F32;
  check(grad__verify(p) == GRAD_EINTERNAL);
  p->types[p->outputs[0]] = saved;
  const grad_id output = p->outputs[0];
  p->outputs[0] = 999;
  check(grad__verify(p) == GRAD_EINTERNAL);
  p->outputs[0] = output;
  check(grad__verify(p) == GRAD_OK);
  grad__program_release(p);
}

static void test_print(grad_ctx *ctx) {
  grad_program *p = sample(ctx, true);
  grad_text text = {.ctx = ctx};
  check(grad__program_print(p, &text) == GRAD_OK);
  check(strstr(text.data, "in %0:f64[3]") && strstr(text.data, "= sin %0  # a.lua:1"));
  check(strstr(text.data, ":f64[3] = exp %") && strstr(text.data, "# a.lua:2\nout %"));
  grad__text_clear(&text);
  check_text(grad__type_text(grad__type(p, p->inputs[0])).chars, "f64 3");
  grad__program_release(p);
}

/* Many instructions: growth of every array, the table included. */
static void test_large(grad_ctx *ctx) {
  enum { N = 50000 };
  grad_program *p = check_new(ctx);
  grad_id v = grad__program_input(p, GRAD_F64, 0, NULL);
  const grad_id x = v;
  for (int i = 0; i < N; i++) v = grad__op2(p, i % 2 ? &grad__op_mul : &grad__op_add, v, x);
  grad__program_output(p, v);
  check(p->ninstrs == N && p->status == GRAD_OK && grad__verify(p) == GRAD_OK);
  grad_id w = x;
  for (int i = 0; i < N; i++) w = grad__op2(p, i % 2 ? &grad__op_mul : &grad__op_add, w, x);
  check(w == v && p->ninstrs == N);
  grad__program_release(p);
}

static grad_status build_all(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *p = NULL, *pruned = NULL;
  grad_status status = grad__program_new(ctx, &p);
  if (status) return status;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three);
  p->where = grad__program_add_where(p, "a.lua:1");
  grad_id v = x;
  for (int i = 0; i < 40; i++) v = grad__add(p, grad__op1(p, &grad__op_sin, v), x);
  grad__program_output(p, v);
  status = p->status ? p->status : grad__prune(p, &pruned);
  grad_text text = {.ctx = ctx};
  if (!status) status = grad__program_print(pruned, &text);
  grad__text_clear(&text);
  grad__program_release(pruned);
  grad__program_release(p);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_sharing(ctx);
  test_equality(ctx);
  test_restart(ctx);
  test_sticky_failure(ctx);
  test_inline(ctx);
  test_extract(ctx);
  test_verify(ctx);
  test_print(ctx);
  test_large(ctx);
  check_close(ctx);
  check_failing_alloc("program", build_all, NULL);
  return check_done();
}

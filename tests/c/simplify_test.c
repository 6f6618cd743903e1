/* Each simplification rule: that it fires, that it does not where it must not, and that the simplified program gives
 * the same bits for NaN, Inf, -0, huge and tiny operands. Cases are built without the builders, which simplify already.
 */
#include "check.h"
#include "exec/exec.h"
#include "exec/planner.h"
#include "ops/ops.h"

static const double special[] = {
    (double)NAN, (double)INFINITY, -(double)INFINITY, 0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 1e308, -1e308, 5e-324};
enum { SPECIAL = sizeof special / sizeof *special, N = SPECIAL * SPECIAL, COLUMNS = SPECIAL };

static grad_id emit(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  return grad__emit(p, op, b == GRAD_NONE ? 1 : 2, (const grad_id[]){a, b}, 0, NULL);
}

static grad_id view(grad_program *p, const grad_op *op, grad_id a, int n, const int64_t *params) {
  return grad__emit(p, op, 1, &a, n, params);
}

#define OP(name) (&grad__op_##name)
#define NEG(a) emit(p, OP(neg), a, GRAD_NONE)
#define LIT(x) grad__lit(p, x, a)
typedef grad_id (*build_fn)(grad_program *p, grad_id a, grad_id b);
#define CASE(name, expression)                                                                                         \
  static grad_id name(grad_program *p, grad_id a, grad_id b) {                                                         \
    (void)b;                                                                                                           \
    return expression;                                                                                                 \
  }

CASE(fold, emit(p, OP(add), a, emit(p, OP(mul), LIT(3), LIT(0.1))))
CASE(add_minus_zero, emit(p, OP(add), a, LIT(-0.0)))
CASE(add_zero, emit(p, OP(add), a, LIT(0)))
CASE(sub_zero, emit(p, OP(sub), a, LIT(0)))
CASE(sub_same, emit(p, OP(sub), a, a))
CASE(add_neg, emit(p, OP(add), a, NEG(b)))
CASE(neg_add, emit(p, OP(add), NEG(a), b))
CASE(sub_neg, emit(p, OP(sub), a, NEG(b)))
CASE(neg_neg, NEG(NEG(a)))
CASE(neg_sub, NEG(emit(p, OP(sub), a, b)))
CASE(mul_one, emit(p, OP(mul), LIT(1), a))
CASE(mul_minus_one, emit(p, OP(mul), a, LIT(-1)))
CASE(mul_zero, emit(p, OP(mul), a, LIT(0)))
CASE(mul_negs, emit(p, OP(mul), NEG(a), NEG(b)))
CASE(neg_product, NEG(emit(p, OP(mul), LIT(3), a)))
CASE(product_of_neg, emit(p, OP(mul), NEG(a), LIT(0.1)))
CASE(mulz_zero, emit(p, OP(mulz), a, LIT(0)))
CASE(mulz_two, emit(p, OP(mulz), a, LIT(2)))
CASE(mulz_inf, emit(p, OP(mulz), a, LIT((double)INFINITY)))
CASE(div_one, emit(p, OP(div), a, LIT(1)))
CASE(div_four, emit(p, OP(div), a, LIT(-4)))
CASE(div_three, emit(p, OP(div), a, LIT(3)))
CASE(div_same, emit(p, OP(div), a, a))
CASE(pow_half, emit(p, OP(pow), a, LIT(0.5)))
CASE(exp_log, emit(p, OP(exp), emit(p, OP(log), a, GRAD_NONE), GRAD_NONE))
CASE(log_exp, emit(p, OP(log), emit(p, OP(exp), a, GRAD_NONE), GRAD_NONE))
CASE(ordered, emit(p, OP(sub), emit(p, OP(mul), a, b), emit(p, OP(mul), b, a)))
CASE(unordered, emit(p, OP(sub), emit(p, OP(div), a, b), emit(p, OP(div), b, a)))
CASE(where_same, grad__emit(p, OP(where), 3, (const grad_id[]){emit(p, OP(lt), a, b), a, a}, 0, NULL))
CASE(where_open, grad__emit(p, OP(where), 3, (const grad_id[]){emit(p, OP(lt), a, b), a, b}, 0, NULL))

static const int64_t square[2] = {COLUMNS, COLUMNS}, line[1] = {N}, row[1] = {COLUMNS};
#define RESHAPE(x, n, shape) view(p, OP(reshape), x, n, shape)
#define BROADCAST(x, n, shape) view(p, OP(broadcast), x, n, shape)
#define REDUCE(op, x, axes) view(p, OP(op), x, 1, (const int64_t[]){axes})
#define SWAP(x) view(p, OP(permute), x, 2, (const int64_t[]){1, 0})
#define FIRST(x) view(p, OP(slice), x, 3, (const int64_t[]){0, COLUMNS, 1})
CASE(reshapes, RESHAPE(RESHAPE(a, 2, square), 1, line))
CASE(reshape_constant, emit(p, OP(add), RESHAPE(a, 2, square), RESHAPE(LIT(3), 2, square)))
CASE(permute_constant, emit(p, OP(add), RESHAPE(a, 2, square), SWAP(grad__full(p, 3, GRAD_F64, 2, square))))
CASE(permutes, RESHAPE(SWAP(SWAP(RESHAPE(a, 2, square))), 1, line))
CASE(broadcasts, BROADCAST(BROADCAST(REDUCE(sum, a, 1), 1, row), 2, square))
CASE(spread_mixed, emit(p, OP(add), BROADCAST(FIRST(a), 2, square), RESHAPE(b, 2, square)))
CASE(slice_unslice, view(p, OP(slice), view(p, OP(unslice), FIRST(a), 3, (const int64_t[]){N, 5, 2}), 3,
                         (const int64_t[]){5, COLUMNS, 2}))
CASE(slice_elsewhere, view(p, OP(slice), view(p, OP(unslice), FIRST(a), 3, (const int64_t[]){N, 5, 2}), 3,
                           (const int64_t[]){4, COLUMNS, 2}))
CASE(slice_part, view(p, OP(slice), grad__emit(p, OP(concat), 2, (const grad_id[]){a, b}, 1, (const int64_t[]){0}), 3,
                      (const int64_t[]){N, N, 1}))
CASE(slice_parts, view(p, OP(slice), grad__emit(p, OP(concat), 2, (const grad_id[]){a, b}, 1, (const int64_t[]){0}), 3,
                       (const int64_t[]){N - 1, N, 1}))
CASE(concat_rows, RESHAPE(grad__emit(p, OP(concat), 2, (const grad_id[]){RESHAPE(a, 2, square), RESHAPE(b, 2, square)},
                                     1, (const int64_t[]){0}),
                          1, (const int64_t[]){2 * N}))
CASE(concat_columns, view(p, OP(permute),
                          grad__emit(p, OP(concat), 2, (const grad_id[]){RESHAPE(a, 2, square), RESHAPE(b, 2, square)},
                                     1, (const int64_t[]){1}),
                          2, (const int64_t[]){1, 0}))
CASE(stop_gradient, view(p, OP(stop_gradient), a, 0, NULL))
CASE(max_twice, REDUCE(max, REDUCE(max, RESHAPE(a, 2, square), 1), 1))
CASE(max_permuted, REDUCE(max, SWAP(RESHAPE(a, 2, square)), 1))
CASE(max_spread, REDUCE(max, BROADCAST(FIRST(a), 2, square), 1))
CASE(spread_unary, REDUCE(max, emit(p, OP(exp), BROADCAST(FIRST(a), 2, square), GRAD_NONE), 1))

/* left: instructions of that op after simplification */
typedef struct rule_case {
  const char *name;
  build_fn build;
  const grad_op *op;
  int left;
  bool zero_sign_open;
} rule_case;

static const rule_case cases[] = {
    {"op(constants)", fold, OP(mul), 0, false},
    {"x + -0", add_minus_zero, OP(add), 0, false},
    {"x + 0", add_zero, OP(add), 1, false},
    {"x - 0", sub_zero, OP(sub), 0, false},
    {"x - x", sub_same, OP(sub), 1, false},
    {"a + -b", add_neg, OP(neg), 0, false},
    {"-a + b", neg_add, OP(neg), 0, false},
    {"a - -b", sub_neg, OP(neg), 0, false},
    {"-(-x)", neg_neg, OP(neg), 0, false},
    {"-(a - b)", neg_sub, OP(neg), 1, false},
    {"x * 1", mul_one, OP(mul), 0, false},
    {"x * -1", mul_minus_one, OP(mul), 0, false},
    {"x * 0", mul_zero, OP(mul), 1, false},
    {"-a * -b", mul_negs, OP(neg), 0, false},
    {"-(3 * x)", neg_product, OP(neg), 0, false},
    {"-x * 0.1", product_of_neg, OP(neg), 0, false},
    {"mulz(x, 0)", mulz_zero, OP(mulz), 0, true},
    {"mulz(x, 2)", mulz_two, OP(mulz), 0, true},
    {"mulz(x, inf)", mulz_inf, OP(mulz), 1, false},
    {"x / 1", div_one, OP(div), 0, false},
    {"x / -4", div_four, OP(div), 0, false},
    {"x / 3", div_three, OP(div), 1, false},
    {"x / x", div_same, OP(div), 1, false},
    {"x ^ 0.5", pow_half, OP(pow), 1, false},
    {"exp(log x)", exp_log, OP(exp), 1, false},
    {"log(exp x)", log_exp, OP(log), 1, false},
    {"a * b - b * a", ordered, OP(mul), 1, false},
    {"a / b - b / a", unordered, OP(div), 2, false},
    {"where(m, x, x)", where_same, OP(where), 0, false},
    {"where(m, x, y)", where_open, OP(where), 1, false},
    {"reshape(reshape x)", reshapes, OP(reshape), 0, false},
    {"reshape(constant)", reshape_constant, OP(reshape), 1, false},
    {"permute(constant)", permute_constant, OP(permute), 0, false},
    {"permute(permute x)", permutes, OP(permute), 0, false},
    {"broadcast(broadcast x)", broadcasts, OP(broadcast), 1, false},
    {"op(broadcast x, y)", spread_mixed, OP(broadcast), 1, false},
    {"slice(unslice x)", slice_unslice, OP(unslice), 0, false},
    {"slice(unslice x) elsewhere", slice_elsewhere, OP(unslice), 1, false},
    {"slice(concat)", slice_part, OP(concat), 0, false},
    {"slice(concat) across parts", slice_parts, OP(concat), 1, false},
    {"concat of reshaped rows", concat_rows, OP(reshape), 0, false},
    {"concat of reshaped columns", concat_columns, OP(reshape), 2, false},
    {"stop_gradient x", stop_gradient, OP(stop_gradient), 0, false},
    {"max(max x)", max_twice, OP(max), 1, false},
    {"max(permute x)", max_permuted, OP(permute), 0, false},
    {"max(broadcast x)", max_spread, OP(max), 0, false},
    {"exp(broadcast x)", spread_unary, OP(max), 0, false},
};

static int count_op(const grad_program *p, const grad_op *op) {
  int n = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) n += p->instrs[i].op == op;
  return n;
}

/* All pairs of special numbers. */
static void fill_operands(double *a, double *b) {
  for (int i = 0; i < N; i++) {
    a[i] = special[i % SPECIAL];
    b[i] = special[i / SPECIAL];
  }
}

static bool same_number(double x, double y, bool zero_sign_open) {
  if (isnan(x) || isnan(y)) return isnan(x) && isnan(y);
  return x == y && (zero_sign_open || signbit(x) == signbit(y));
}

static bool run_both(grad_program *p, grad_program *q, bool zero_sign_open) {
  double a[N], b[N];
  grad_array in[2], x = {0}, y = {0};
  fill_operands(a, b);
  grad__array_wrap(&in[0], a, GRAD_F64, 1, line);
  grad__array_wrap(&in[1], b, GRAD_F64, 1, line);
  const grad_array *inputs[] = {&in[0], &in[1]};
  bool same = grad__direct_run(p, inputs, NULL, &x) == GRAD_OK && grad__direct_run(q, inputs, NULL, &y) == GRAD_OK;
  for (int64_t i = 0; same && i < grad__array_numel(&x); i++) {
    same = same_number(((double *)x.data)[i], ((double *)y.data)[i], zero_sign_open);
  }
  grad__array_release(&x);
  grad__array_release(&y);
  return same;
}

static grad_program *build_case(grad_ctx *ctx, build_fn build) {
  grad_program *p = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  grad_id a = grad__program_input(p, GRAD_F64, 1, line), b = grad__program_input(p, GRAD_F64, 1, line);
  grad__program_output(p, build(p, a, b));
  check(p->status == GRAD_OK);
  return p;
}

static void test_rule(grad_ctx *ctx, const rule_case *c) {
  grad_program *p = build_case(ctx, c->build), *q = NULL;
  bool good = check(grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK) && check(grad__verify(q) == GRAD_OK);
  good = good && check(count_op(q, c->op) == c->left) && check(run_both(p, q, c->zero_sign_open));
  if (!good) fprintf(stderr, "  in case %s\n", c->name);
  grad__program_release(p);
  grad__program_release(q);
}

/* Sums of repeated operands: work is done before they are spread, and products become matrix products. */
static void test_contractions(grad_ctx *ctx) {
  grad_program *p = NULL, *q = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  const int64_t whole[4] = {3, 5, 6, 7};
  grad_id a = grad__program_input(p, GRAD_F64, 3, (const int64_t[]){3, 5, 7});
  grad_id b = grad__program_input(p, GRAD_F64, 3, (const int64_t[]){3, 6, 7});
  grad_id x = grad__broadcast(p, grad__insert_axis(p, a, 2), 4, whole);
  grad_id y = grad__broadcast(p, grad__insert_axis(p, b, 1), 4, whole);
  grad__program_output(p, grad__sum(p, grad__mul(p, x, y), 8, false));
  grad__program_output(p, grad__sum(p, grad__op1(p, &grad__op_exp, x), 4, false));
  check(grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK);
  check(count_op(q, OP(matmul)) == 1 && count_op(q, OP(mul)) == 1 && count_op(q, OP(sum)) == 0);
  double left[105], right[126];
  for (int i = 0; i < 126; i++) left[i % 105] = sin(i), right[i] = cos(3 * i);
  grad_array in[2], want[2] = {{0}}, got[2] = {{0}};
  grad__array_wrap(&in[0], left, GRAD_F64, 3, (const int64_t[]){3, 5, 7});
  grad__array_wrap(&in[1], right, GRAD_F64, 3, (const int64_t[]){3, 6, 7});
  const grad_array *inputs[] = {&in[0], &in[1]};
  check(grad__direct_run(p, inputs, NULL, want) == GRAD_OK && grad__direct_run(q, inputs, NULL, got) == GRAD_OK);
  for (int k = 0; k < 2; k++) {
    for (int64_t i = 0; i < grad__array_numel(&want[k]); i++) {
      check_near(((double *)got[k].data)[i], ((double *)want[k].data)[i], 1e-14);
    }
    grad__array_release(&want[k]);
    grad__array_release(&got[k]);
  }
  grad__program_release(p);
  grad__program_release(q);
}

static void test_transposes(grad_ctx *ctx) {
  grad_program *p = NULL, *q = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  grad_id a = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){3, 4});
  grad_id b = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){5, 4});
  grad_id once = grad__matmul(p, a, SWAP(b), false, false);
  grad_id twice = grad__matmul(p, SWAP(a), SWAP(once), false, true);
  grad__program_output(p, SWAP(twice));
  grad__program_output(p, once);
  check(p->status == GRAD_OK && grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK);
  check(count_op(q, OP(permute)) == 0 && count_op(q, OP(matmul)) == 2);
  grad__program_release(p);
  grad__program_release(q);
}

/* The gradient of a loop over slices: one sum of pieces, whatever the nesting; sums needed elsewhere stay. */
static void test_pieces(grad_ctx *ctx) {
  enum { PIECES = 50, EXTENT = 60 };
  grad_program *p = NULL, *q = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  const int64_t extent = EXTENT, three = 3;
  grad_id x = grad__program_input(p, GRAD_F64, 1, &extent), y = grad__program_input(p, GRAD_F64, 1, &three);
  grad_id sum = grad__op1(p, &grad__op_sin, x), half = GRAD_NONE;
  for (int64_t i = 0; i < PIECES; i++) {
    grad_id piece = emit(p, OP(mul), y, grad__lit(p, (double)i, y));
    const int64_t params[] = {extent, i, i % 5 + 1};
    grad_id placed = view(p, OP(unslice), piece, 3, params);
    sum = i % 2 ? emit(p, OP(add), sum, placed) : emit(p, OP(add), placed, sum);
    if (i == PIECES / 2) half = sum;
  }
  grad__program_output(p, sum);
  grad__program_output(p, half);
  check(p->status == GRAD_OK && grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK);
  check(count_op(q, OP(unslice)) == 0 && count_op(q, OP(add)) == 0);
  check(q->ninstrs <= PIECES + 3 + PIECES);
  double a[EXTENT], b[3] = {1, -2, 0.5};
  for (int i = 0; i < EXTENT; i++) a[i] = 0.1 * i;
  grad_array in[2], want[2] = {{0}}, got[2] = {{0}};
  grad__array_wrap(&in[0], a, GRAD_F64, 1, &extent);
  grad__array_wrap(&in[1], b, GRAD_F64, 1, &three);
  const grad_array *inputs[] = {&in[0], &in[1]};
  check(grad__direct_run(p, inputs, NULL, want) == GRAD_OK && grad__direct_run(q, inputs, NULL, got) == GRAD_OK);
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < EXTENT; i++) check_near(((double *)got[k].data)[i], ((double *)want[k].data)[i], 1e-14);
    grad__array_release(&want[k]);
    grad__array_release(&got[k]);
  }
  grad__program_release(p);
  grad__program_release(q);
}

/* The gradient of a weight that is used again and again, and of columns that were taken apart: one product, one concat.
 */
static void test_sums(grad_ctx *ctx) {
  enum { TIMES = 6, BATCH = 3, IN = 4, OUT = 5 };
  grad_program *p = NULL, *q = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  grad_id x = grad__program_input(p, GRAD_F64, 3, (const int64_t[]){TIMES, BATCH, IN});
  grad_id g = grad__program_input(p, GRAD_F64, 3, (const int64_t[]){TIMES, BATCH, OUT});
  grad_id sum = GRAD_NONE, whole = GRAD_NONE;
  for (int64_t t = 0; t < TIMES; t++) {
    const int64_t start[] = {t, 0, 0}, step[] = {1, 1, 1};
    grad_id a = grad__reshape(p, grad__slice(p, x, start, (const int64_t[]){1, BATCH, IN}, step), 2,
                              (const int64_t[]){BATCH, IN});
    grad_id b = grad__reshape(p, grad__slice(p, g, start, (const int64_t[]){1, BATCH, OUT}, step), 2,
                              (const int64_t[]){BATCH, OUT});
    grad_id product = grad__matmul(p, grad__op1(p, &grad__op_sin, a), b, true, false);
    sum = sum == GRAD_NONE ? product : emit(p, OP(add), product, sum);
    const int64_t params[] = {BATCH, IN * TIMES, 0, IN * (TIMES - 1 - t), 1, 1};
    grad_id placed = view(p, OP(unslice), emit(p, OP(mul), a, a), 6, params);
    whole = whole == GRAD_NONE ? placed : emit(p, OP(add), whole, placed);
  }
  grad__program_output(p, sum);
  grad__program_output(p, whole);
  check(p->status == GRAD_OK && grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK);
  check(count_op(q, OP(matmul)) == 1 && count_op(q, OP(add)) == 0 && count_op(q, OP(unslice)) == 0);
  check(count_op(q, OP(concat)) == 3);
  double left[TIMES * BATCH * IN], right[TIMES * BATCH * OUT];
  for (int i = 0; i < TIMES * BATCH * IN; i++) left[i] = sin(i);
  for (int i = 0; i < TIMES * BATCH * OUT; i++) right[i] = cos(2 * i);
  grad_array in[2], want[2] = {{0}}, got[2] = {{0}};
  grad__array_wrap(&in[0], left, GRAD_F64, 3, (const int64_t[]){TIMES, BATCH, IN});
  grad__array_wrap(&in[1], right, GRAD_F64, 3, (const int64_t[]){TIMES, BATCH, OUT});
  const grad_array *inputs[] = {&in[0], &in[1]};
  check(grad__direct_run(p, inputs, NULL, want) == GRAD_OK && grad__direct_run(q, inputs, NULL, got) == GRAD_OK);
  for (int k = 0; k < 2; k++) {
    check(grad__array_numel(&want[k]) == grad__array_numel(&got[k]));
    for (int64_t i = 0; i < grad__array_numel(&want[k]); i++) {
      check_near(((double *)got[k].data)[i], ((double *)want[k].data)[i], 1e-14);
    }
    grad__array_release(&want[k]);
    grad__array_release(&got[k]);
  }
  grad__program_release(p);
  grad__program_release(q);
}

/* Before differentiating, what only derivatives see stays. */
static void test_not_final(grad_ctx *ctx) {
  grad_program *p = build_case(ctx, stop_gradient), *q = NULL;
  check(grad__simplify(p, 0, &q) == GRAD_OK && count_op(q, OP(stop_gradient)) == 1);
  grad__program_release(p);
  grad__program_release(q);
}

int main(void) {
  grad_ctx *ctx;
  if (!check(grad_ctx_new(NULL, &ctx) == GRAD_OK)) return check_done();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_rule(ctx, &cases[i]);
  test_contractions(ctx);
  test_transposes(ctx);
  test_pieces(ctx);
  test_sums(ctx);
  test_not_final(ctx);
  check(ctx->used == 0);
  grad_ctx_free(ctx);
  return check_done();
}

/* Each simplification rule: that it fires, that it does not where it must not, and that the simplified program gives
 * the same bits, in f64 and f32, for NaN, Inf, -0, huge and tiny operands (plan_random_test has random programs). Cases
 * are built without the builders, which simplify already. */
#include "exec/exec.h"
#include "exec/planner.h"
#include "exec/simplify.h"
#include "check_program.h"

static const double special[] = {
    (double)NAN, (double)INFINITY, -(double)INFINITY, 0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 1e308, -1e308, 5e-324};
enum { SPECIAL = sizeof special / sizeof *special, N = SPECIAL * SPECIAL, COLUMNS = SPECIAL };

static grad_dtype dtype_of(const grad_program *p, grad_id v) { return grad__type(p, v)->dtype; }

static grad_id emit(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  return grad__emit(p, op, b == GRAD_NONE ? 1 : 2, (const grad_id[]){a, b}, 0, NULL);
}

static grad_id view(grad_program *p, const grad_op *op, grad_id a, int n, const int64_t *params) {
  return grad__emit(p, op, 1, &a, n, params);
}

static const int64_t square[2] = {COLUMNS, COLUMNS}, halved[3] = {COLUMNS, 2, COLUMNS / 2}, line[1] = {N},
                     row[1] = {COLUMNS};

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
CASE(mulz_one, emit(p, OP(mulz), LIT(1), a))
CASE(mulz_minus_one, emit(p, OP(mulz), a, LIT(-1)))
CASE(mulz_negs, emit(p, OP(mulz), NEG(a), NEG(b)))
CASE(mulz_ordered, emit(p, OP(sub), emit(p, OP(mulz), a, b), emit(p, OP(mulz), b, a)))
CASE(mulz_below_f32, emit(p, OP(mulz), a, grad__convert(p, grad__full(p, 1e-60, GRAD_F32, 1, line), dtype_of(p, a))))
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
CASE(sum_ordered, emit(p, OP(sub), emit(p, OP(add), a, b), emit(p, OP(add), b, a)))
CASE(unordered, emit(p, OP(sub), emit(p, OP(div), a, b), emit(p, OP(div), b, a)))
CASE(where_same, grad__emit(p, OP(where), 3, (const grad_id[]){emit(p, OP(lt), a, b), a, a}, 0, NULL))
CASE(where_known, grad__emit(p, OP(where), 3, (const grad_id[]){grad__full(p, 1, GRAD_BOOL, 1, line), a, b}, 0, NULL))
CASE(where_open, grad__emit(p, OP(where), 3, (const grad_id[]){emit(p, OP(lt), a, b), a, b}, 0, NULL))

#define RESHAPE(x, n, shape) view(p, OP(reshape), x, n, shape)
#define BROADCAST(x, n, shape) view(p, OP(broadcast), x, n, shape)
#define REDUCE(op, x, axes) view(p, OP(op), x, 1, (const int64_t[]){axes})
#define SWAP(x) view(p, OP(permute), x, 2, (const int64_t[]){1, 0})
#define FIRST(x) view(p, OP(slice), x, 3, (const int64_t[]){0, COLUMNS, 1})
CASE(reshapes, RESHAPE(RESHAPE(a, 2, square), 1, line))
CASE(reshape_constant, emit(p, OP(add), RESHAPE(a, 2, square), RESHAPE(LIT(3), 2, square)))
CASE(permute_constant, emit(p, OP(add), RESHAPE(a, 2, square), SWAP(grad__full(p, 3, dtype_of(p, a), 2, square))))
CASE(reshape_permuted, RESHAPE(SWAP(RESHAPE(a, 2, square)), 1, line))
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
CASE(convert_same, view(p, OP(convert), a, 1, (const int64_t[]){dtype_of(p, a)}))
CASE(convert_narrow,
     view(p, OP(convert), view(p, OP(convert), a, 1, (const int64_t[]){GRAD_F32}), 1, (const int64_t[]){GRAD_F64}))
CASE(stop_gradient, view(p, OP(stop_gradient), a, 0, NULL))
#define COLUMNS_OF(x) BROADCAST(FIRST(x), 2, square)
#define MASK(x) RESHAPE(emit(p, OP(gt), x, LIT(0)), 2, square)
CASE(sum_twice, REDUCE(sum, REDUCE(sum, RESHAPE(a, 2, square), 1), 1))
CASE(min_twice, REDUCE(min, REDUCE(min, RESHAPE(a, 2, square), 1), 1))
CASE(max_of_min, REDUCE(max, REDUCE(min, RESHAPE(a, 2, square), 1), 1))
CASE(prod_twice, REDUCE(prod, REDUCE(prod, RESHAPE(a, 2, square), 1), 1))
CASE(sum_permuted, REDUCE(sum, SWAP(RESHAPE(a, 2, square)), 1))
CASE(sum_reshaped, REDUCE(sum, RESHAPE(SWAP(RESHAPE(a, 2, square)), 3, halved), 1))
CASE(sum_part, REDUCE(sum, RESHAPE(SWAP(RESHAPE(a, 2, square)), 3, halved), 2))
CASE(max_reshaped, REDUCE(max, RESHAPE(SWAP(RESHAPE(a, 2, square)), 3, halved), 6))
CASE(min_reshaped, REDUCE(min, RESHAPE(SWAP(RESHAPE(a, 2, square)), 3, halved), 6))
CASE(prod_permuted, REDUCE(prod, SWAP(RESHAPE(a, 2, square)), 1))
CASE(min_permuted, REDUCE(min, SWAP(RESHAPE(a, 2, square)), 1))
CASE(any_permuted, REDUCE(any, SWAP(MASK(a)), 1))
CASE(all_permuted, REDUCE(all, SWAP(MASK(a)), 1))
CASE(sum_spread, REDUCE(sum, COLUMNS_OF(a), 1))
CASE(sum_along, REDUCE(sum, COLUMNS_OF(a), 2))
CASE(min_spread, REDUCE(min, COLUMNS_OF(a), 1))
CASE(prod_spread, REDUCE(prod, COLUMNS_OF(a), 1))
CASE(max_twice, REDUCE(max, REDUCE(max, RESHAPE(a, 2, square), 1), 1))
CASE(max_permuted, REDUCE(max, SWAP(RESHAPE(a, 2, square)), 1))
CASE(max_spread, REDUCE(max, BROADCAST(FIRST(a), 2, square), 1))
CASE(spread_unary, REDUCE(max, emit(p, OP(exp), BROADCAST(FIRST(a), 2, square), GRAD_NONE), 1))

/* What the results may differ in; sums and products are taken of small integers, NaN and Inf, where no rounding hides
 * what a rule does. */
enum { EXACT, ZERO_SIGN, ROUNDING };

/* name: of the rule that fires; where it begins with "not " none does. left: instructions of that op afterwards. */
typedef struct rule_case {
  const char *name;
  build_fn build;
  const grad_op *op;
  int left, open;
} rule_case;

static const rule_case cases[] = {
    {"op(constants)", fold, OP(mul), 0, EXACT},
    {"x + -0", add_minus_zero, OP(add), 0, EXACT},
    {"not x + 0", add_zero, OP(add), 1, EXACT},
    {"x - 0", sub_zero, OP(sub), 0, EXACT},
    {"not x - x", sub_same, OP(sub), 1, EXACT},
    {"a + -b", add_neg, OP(neg), 0, EXACT},
    {"a + -b", neg_add, OP(neg), 0, EXACT},
    {"a - -b", sub_neg, OP(neg), 0, EXACT},
    {"-(-x)", neg_neg, OP(neg), 0, EXACT},
    {"not -(a - b)", neg_sub, OP(neg), 1, EXACT},
    {"x * 1", mul_one, OP(mul), 0, EXACT},
    {"x * -1", mul_minus_one, OP(mul), 0, EXACT},
    {"not x * 0", mul_zero, OP(mul), 1, EXACT},
    {"-a * -b", mul_negs, OP(neg), 0, EXACT},
    {"-(x * c)", neg_product, OP(neg), 0, EXACT},
    {"-x * c", product_of_neg, OP(neg), 0, EXACT},
    {"mulz(x, 1)", mulz_one, OP(mulz), 0, ZERO_SIGN},
    {"mulz(x, -1)", mulz_minus_one, OP(mulz), 0, ZERO_SIGN},
    {"mulz(-a, -b)", mulz_negs, OP(neg), 0, ZERO_SIGN},
    {"mulz(b, a)", mulz_ordered, OP(mulz), 1, ZERO_SIGN},
    {"mulz(x, 0)", mulz_zero, OP(mulz), 0, ZERO_SIGN},
    {"mulz(x, c)", mulz_two, OP(mulz), 0, ZERO_SIGN},
    {"not mulz(x, inf)", mulz_inf, OP(mulz), 1, EXACT},
    {"mulz(x, 0)", mulz_below_f32, OP(mulz), 0, ZERO_SIGN},
    {"x / 1", div_one, OP(div), 0, EXACT},
    {"x / 2^k", div_four, OP(div), 0, EXACT},
    {"not x / 3", div_three, OP(div), 1, EXACT},
    {"not x / x", div_same, OP(div), 1, EXACT},
    {"not x ^ 0.5", pow_half, OP(pow), 1, EXACT},
    {"not exp(log x)", exp_log, OP(exp), 1, EXACT},
    {"not log(exp x)", log_exp, OP(log), 1, EXACT},
    {"b * a", ordered, OP(mul), 1, EXACT},
    {"b + a", sum_ordered, OP(add), 1, EXACT},
    {"not a / b - b / a", unordered, OP(div), 2, EXACT},
    {"where(m, x, x)", where_same, OP(where), 0, EXACT},
    {"where(m, x, x)", where_known, OP(where), 0, EXACT},
    {"not where(m, x, y)", where_open, OP(where), 1, EXACT},
    {"reshape(reshape x)", reshapes, OP(reshape), 0, EXACT},
    {"not reshape(permute x)", reshape_permuted, OP(reshape), 2, EXACT},
    {"reshape(constant)", reshape_constant, OP(reshape), 1, EXACT},
    {"permute(constant)", permute_constant, OP(permute), 0, EXACT},
    {"permute(permute x)", permutes, OP(permute), 0, EXACT},
    {"broadcast(broadcast x)", broadcasts, OP(broadcast), 1, EXACT},
    {"not op(broadcast x, y)", spread_mixed, OP(broadcast), 1, EXACT},
    {"slice(unslice x)", slice_unslice, OP(unslice), 0, EXACT},
    {"not slice(unslice x) elsewhere", slice_elsewhere, OP(unslice), 1, EXACT},
    {"slice(concat parts)", slice_part, OP(concat), 0, EXACT},
    {"not slice(concat) across parts", slice_parts, OP(concat), 1, EXACT},
    {"concat of reshaped rows", concat_rows, OP(reshape), 0, EXACT},
    {"not concat of reshaped columns", concat_columns, OP(reshape), 2, EXACT},
    {"convert to the same dtype", convert_same, OP(convert), 0, EXACT},
    {"stop_gradient x", stop_gradient, OP(stop_gradient), 0, EXACT},
    {"max(max x)", max_twice, OP(max), 1, EXACT},
    {"max(permute x)", max_permuted, OP(permute), 0, EXACT},
    {"max(broadcast x)", max_spread, OP(max), 0, EXACT},
    {"op(broadcast x)", spread_unary, OP(max), 0, EXACT},
    {"min(min x)", min_twice, OP(min), 1, EXACT},
    {"not max(min x)", max_of_min, OP(min), 1, EXACT},
    {"min(permute x)", min_permuted, OP(permute), 0, EXACT},
    {"min(broadcast x)", min_spread, OP(min), 0, EXACT},
    {"any(permute x)", any_permuted, OP(permute), 0, EXACT},
    {"all(permute x)", all_permuted, OP(permute), 0, EXACT},
    {"sum(sum x)", sum_twice, OP(sum), 1, ROUNDING},
    {"not prod(prod x)", prod_twice, OP(prod), 2, ROUNDING},
    {"sum(reshape(permute x))", sum_reshaped, OP(permute), 0, ROUNDING},
    {"not sum(reshape(permute x)) of a part", sum_part, OP(permute), 1, ROUNDING},
    {"max(reshape(permute x))", max_reshaped, OP(permute), 0, EXACT},
    {"min(reshape(permute x))", min_reshaped, OP(permute), 0, EXACT},
    {"sum(permute x)", sum_permuted, OP(permute), 0, ROUNDING},
    {"prod(permute x)", prod_permuted, OP(permute), 0, ROUNDING},
    {"sum(broadcast x)", sum_spread, OP(sum), 0, ROUNDING},
    {"not sum(broadcast x) along x", sum_along, OP(sum), 1, ROUNDING},
    {"not prod(broadcast x)", prod_spread, OP(prod), 1, ROUNDING},
};

static int count_op(const grad_program *p, const grad_op *op) {
  int n = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) n += p->instrs[i].op == op;
  return n;
}

/* All pairs of special numbers, or of what can be added and multiplied without rounding. */
static void fill_operands(int open, double *a, double *b) {
  static const double whole[SPECIAL] = {1, -2, 3, 1, 2, -1, 1, -3, 1, 2, (double)INFINITY, (double)NAN};
  const double *const from = open == ROUNDING ? whole : special;
  for (int i = 0; i < N; i++) {
    a[i] = from[i % SPECIAL];
    b[i] = from[i / SPECIAL];
  }
}

static bool same_number(double x, double y, int open) {
  if (isnan(x) || isnan(y)) return isnan(x) && isnan(y);
  return x == y && (open != EXACT || signbit(x) == signbit(y));
}

static bool same_numbers(const grad_array *x, const grad_array *y, int open) {
  const int64_t n = grad__array_numel(x);
  bool same = n == grad__array_numel(y) && x->dtype == y->dtype;
  for (int64_t i = 0; same && i < n; i++) same = same_number(check_get(x, i), check_get(y, i), open);
  return same;
}

static bool run_both(grad_program *p, grad_program *q, int open) {
  double operands[2][N];
  grad_array in[2] = {{0}}, wide, x = {0}, y = {0};
  fill_operands(open, operands[0], operands[1]);
  for (int k = 0; k < 2; k++) {
    grad__array_wrap(&wide, operands[k], GRAD_F64, 1, line);
    check(grad__array_new(p->ctx, dtype_of(p, p->inputs[k]), 1, line, &in[k]) == GRAD_OK);
    grad__array_copy(&in[k], &wide);
  }
  const grad_array *inputs[] = {&in[0], &in[1]};
  const bool same = grad__direct_run(p, inputs, NULL, &x) == GRAD_OK &&
                    grad__direct_run(q, inputs, NULL, &y) == GRAD_OK && same_numbers(&x, &y, open);
  grad__array_release(&x);
  grad__array_release(&y);
  for (int k = 0; k < 2; k++) grad__array_release(&in[k]);
  return same;
}

static grad_program *build_case(grad_ctx *ctx, build_fn build, grad_dtype dtype) {
  grad_program *p = check_new(ctx);
  grad_id a = grad__program_input(p, dtype, 1, line), b = grad__program_input(p, dtype, 1, line);
  grad__program_output(p, build(p, a, b));
  check(p->status == GRAD_OK);
  return p;
}

static void test_rule(grad_ctx *ctx, const rule_case *c, grad_dtype dtype) {
  grad_program *p = build_case(ctx, c->build, dtype), *q = NULL;
  bool good = check(grad__simplify(p, GRAD_SIMPLIFY_FINAL, &q) == GRAD_OK) && check(grad__verify(q) == GRAD_OK);
  good = good && check(count_op(q, c->op) == c->left) && check(run_both(p, q, c->open));
  if (!good) fprintf(stderr, "  in case %s, %s\n", c->name, grad__dtype_name(dtype));
  grad__program_release(p);
  grad__program_release(q);
}

/* What rounds to another number is not taken back. */
static void test_narrowing(grad_ctx *ctx) {
  static const rule_case c = {"not convert(convert x)", convert_narrow, OP(convert), 2, EXACT};
  test_rule(ctx, &c, GRAD_F64);
}

/* A rule without a case here has no test. */
static void test_all_rules(void) {
  static const char *const elsewhere[] = {"sum(broadcast a * broadcast b)", "matmul of a transpose",
                                          "transpose of a matmul"}; /* test_contractions, test_transposes */
  const grad_rule *const tables[] = {grad__algebra_rules, grad__shape_rules};
  for (int t = 0; t < 2; t++) {
    for (const grad_rule *rule = tables[t]; rule->apply; rule++) {
      bool found = false;
      for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) found = found || !strcmp(cases[i].name, rule->name);
      for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        found = found || !strcmp(elsewhere[i], rule->name);
      if (!check(found)) fprintf(stderr, "  rule %s has no case\n", rule->name);
    }
  }
}

/* Sums of repeated operands: work is done before they are spread, and products become matrix products. */
static void test_contractions(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *q = NULL;
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
  grad_program *p = check_new(ctx), *q = NULL;
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
  grad_program *p = check_new(ctx), *q = NULL;
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
  grad_program *p = check_new(ctx), *q = NULL;
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
  grad_program *p = build_case(ctx, stop_gradient, GRAD_F64), *q = NULL;
  check(grad__simplify(p, 0, &q) == GRAD_OK && count_op(q, OP(stop_gradient)) == 1);
  grad__program_release(p);
  grad__program_release(q);
}

int main(void) {
  grad_ctx *ctx = check_open();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    test_rule(ctx, &cases[i], GRAD_F64);
    test_rule(ctx, &cases[i], GRAD_F32);
  }
  test_narrowing(ctx);
  test_all_rules();
  test_contractions(ctx);
  test_transposes(ctx);
  test_pieces(ctx);
  test_sums(ctx);
  test_not_final(ctx);
  check_close(ctx);
  return check_done();
}

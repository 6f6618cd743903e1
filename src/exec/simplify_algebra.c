/* simplify_algebra.c: rules for elementwise instructions: constants, signs, neutral elements, broadcast operands. */
#include <math.h>

#include "exec/planner.h"
#include "exec/simplify.h"
#include "ops/kernels.h"

/* --- constants */

typedef union number {
  double f64;
  float f32;
  int64_t i64;
  uint8_t mask;
} number;

static number number_of(double value, grad_dtype dtype) {
  number x = {.i64 = 0};
  if (dtype == GRAD_F64) x.f64 = value;
  if (dtype == GRAD_F32) x.f32 = (float)value;
  if (dtype == GRAD_BOOL) x.mask = value != 0;
  return x;
}

static double value_of(number x, grad_dtype dtype) {
  if (dtype == GRAD_F64) return x.f64;
  return dtype == GRAD_F32 ? (double)x.f32 : x.mask;
}

/* i64 stays as it is: a constant is kept as a double, which does not hold all of them. */
static grad_id fold(const grad_rewrite *r) {
  const grad_instr *ins = r->ins;
  const grad_type *out = grad__type(r->from, ins->out);
  const grad_dtype dtype = grad__type(r->p, r->in[ins->nin - 1])->dtype;
  const grad_kernel kernel = grad__kernel(r->p->ctx, ins->op, dtype);
  number operands[3], result = {.i64 = 0};
  const void *in[3] = {&operands[0], &operands[1], &operands[2]};
  if (!kernel || ins->nin > 3) return GRAD_NONE;
  for (int k = 0; k < ins->nin; k++) {
    const grad_dtype type = grad__type(r->p, r->in[k])->dtype;
    double value;
    if (type == GRAD_I64 || !grad__is_const(r->p, r->in[k], &value)) return GRAD_NONE;
    operands[k] = number_of(value, type);
  }
  kernel(1, &result, in);
  return grad__full(r->p, value_of(result, out->dtype), out->dtype, out->ndim, out->shape);
}

/* --- operands that repeat: the work is done before they are spread out */

static grad_id spread_last(const grad_rewrite *r) {
  const grad_type *out = grad__type(r->from, r->ins->out);
  const grad_type *common = NULL;
  grad_id in[3];
  for (int k = 0; k < r->ins->nin && k < 3; k++) {
    const grad_instr *spread = grad__made_by(r->p, r->in[k], &grad__op_broadcast);
    in[k] = spread ? spread->in[0] : r->in[k];
    double value;
    if (grad__is_const(r->p, r->in[k], &value)) continue;
    if (!spread) return GRAD_NONE;
    const grad_type *t = grad__type(r->p, in[k]);
    if (common && !grad__shape_equal(common->ndim, common->shape, t->ndim, t->shape)) return GRAD_NONE;
    common = t;
  }
  if (!common || grad__type_numel(common) >= grad__type_numel(out)) return GRAD_NONE;
  const int ndim = common->ndim;
  const int64_t *shape = common->shape;
  for (int k = 0; k < r->ins->nin; k++) {
    double value;
    if (!grad__is_const(r->p, r->in[k], &value)) continue;
    in[k] = grad__full(r->p, value, grad__type(r->p, r->in[k])->dtype, ndim, shape);
  }
  return grad__broadcast(r->p, grad__emit(r->p, r->ins->op, r->ins->nin, in, 0, NULL), out->ndim, out->shape);
}

/* --- sums and signs */

static grad_id add_neg(const grad_rewrite *r) {
  const grad_instr *right = grad__made_by(r->p, r->in[1], &grad__op_neg);
  if (right) return grad__sub(r->p, r->in[0], right->in[0]);
  const grad_instr *left = grad__made_by(r->p, r->in[0], &grad__op_neg);
  return left ? grad__sub(r->p, r->in[1], left->in[0]) : GRAD_NONE;
}

static grad_id add_minus_zero(const grad_rewrite *r) {
  if (grad__is_number(r->p, r->in[1], -0.0)) return r->in[0];
  return grad__is_number(r->p, r->in[0], -0.0) ? r->in[1] : GRAD_NONE;
}

static grad_id sub_zero(const grad_rewrite *r) { return grad__is_number(r->p, r->in[1], 0) ? r->in[0] : GRAD_NONE; }

static grad_id sub_neg(const grad_rewrite *r) {
  const grad_instr *right = grad__made_by(r->p, r->in[1], &grad__op_neg);
  return right ? grad__add(r->p, r->in[0], right->in[0]) : GRAD_NONE;
}

static grad_id neg_neg(const grad_rewrite *r) {
  const grad_instr *inner = grad__made_by(r->p, r->in[0], &grad__op_neg);
  return inner ? inner->in[0] : GRAD_NONE;
}

/* --- products */

static grad_id mul_one(const grad_rewrite *r) {
  if (grad__is_number(r->p, r->in[1], 1)) return r->in[0];
  return grad__is_number(r->p, r->in[0], 1) ? r->in[1] : GRAD_NONE;
}

static grad_id mul_minus_one(const grad_rewrite *r) {
  if (grad__is_number(r->p, r->in[1], -1)) return grad__neg(r->p, r->in[0]);
  return grad__is_number(r->p, r->in[0], -1) ? grad__neg(r->p, r->in[1]) : GRAD_NONE;
}

static grad_id mul_zero(const grad_rewrite *r) {
  double value;
  if (grad__is_const(r->p, r->in[1], &value) && value == 0) return r->in[1];
  return grad__is_const(r->p, r->in[0], &value) && value == 0 ? r->in[0] : GRAD_NONE;
}

static grad_id mul_negs(const grad_rewrite *r) {
  const grad_instr *left = grad__made_by(r->p, r->in[0], &grad__op_neg);
  const grad_instr *right = grad__made_by(r->p, r->in[1], &grad__op_neg);
  return left && right ? grad__op2(r->p, r->ins->op, left->in[0], right->in[0]) : GRAD_NONE;
}

/* -(x * c) and -x * c are x * -c. */
static grad_id neg_product(const grad_rewrite *r) {
  double value;
  const grad_instr *inner = grad__made_by(r->p, r->in[0], &grad__op_mul);
  for (int k = 0; inner && k < 2; k++) {
    const grad_id factor = inner->in[k], other = inner->in[1 - k];
    if (!grad__is_const(r->p, factor, &value)) continue;
    return grad__mul(r->p, other, grad__lit(r->p, -value, factor));
  }
  return GRAD_NONE;
}

static grad_id product_of_neg(const grad_rewrite *r) {
  for (int k = 0; k < 2; k++) {
    double value;
    const grad_instr *inner = grad__made_by(r->p, r->in[k], &grad__op_neg);
    if (!inner || !grad__is_const(r->p, r->in[1 - k], &value)) continue;
    const grad_id x = inner->in[0];
    return grad__mul(r->p, x, grad__lit(r->p, -value, r->in[1 - k]));
  }
  return GRAD_NONE;
}

/* A finite factor other than zero cannot make the products differ, but for the sign of zero, which mulz leaves open. */
static grad_id mulz_finite(const grad_rewrite *r) {
  for (int k = 0; k < 2; k++) {
    double value;
    if (grad__is_const(r->p, r->in[k], &value) && isfinite(value) && value != 0) {
      return grad__mul(r->p, r->in[0], r->in[1]);
    }
  }
  return GRAD_NONE;
}

static grad_id div_one(const grad_rewrite *r) { return grad__is_number(r->p, r->in[1], 1) ? r->in[0] : GRAD_NONE; }

/* The reciprocal of a power of two is exact, and so is the product where the quotient is. */
static grad_id div_power_of_two(const grad_rewrite *r) {
  double value;
  int exponent;
  if (!grad__is_const(r->p, r->in[1], &value) || fabs(frexp(value, &exponent)) != 0.5) return GRAD_NONE;
  if (exponent < -100 || exponent > 100) return GRAD_NONE;
  return grad__mul(r->p, r->in[0], grad__lit(r->p, 1 / value, r->in[1]));
}

/* --- choices */

static grad_id where_known(const grad_rewrite *r) {
  double mask;
  if (r->in[1] == r->in[2]) return r->in[1];
  return grad__is_const(r->p, r->in[0], &mask) ? r->in[mask != 0 ? 1 : 2] : GRAD_NONE;
}

/* Operands of a symmetric op in order of age, so that a + b and b + a are shared. */
static grad_id in_order(const grad_rewrite *r) {
  if (r->in[0] <= r->in[1]) return GRAD_NONE;
  return grad__emit(r->p, r->ins->op, 2, (const grad_id[]){r->in[1], r->in[0]}, 0, NULL);
}

enum { ALWAYS = 0 };
const grad_rule grad__algebra_rules[] = {
    {NULL, fold, ALWAYS, "op(constants)"},
    {&grad__op_add, add_minus_zero, ALWAYS, "x + -0"},
    {&grad__op_sub, sub_zero, ALWAYS, "x - 0"},
    {&grad__op_neg, neg_neg, ALWAYS, "-(-x)"},
    {&grad__op_mul, mul_one, ALWAYS, "x * 1"},
    {&grad__op_mulz, mul_one, ALWAYS, "mulz(x, 1)"},
    {&grad__op_mulz, mul_zero, ALWAYS, "mulz(x, 0)"},
    {&grad__op_mul, mul_minus_one, ALWAYS, "x * -1"},
    {&grad__op_mulz, mul_minus_one, ALWAYS, "mulz(x, -1)"},
    {&grad__op_div, div_one, ALWAYS, "x / 1"},
    {&grad__op_div, div_power_of_two, ALWAYS, "x / 2^k"},
    {&grad__op_where, where_known, ALWAYS, "where(m, x, x)"},
    {NULL, spread_last, ALWAYS, "op(broadcast x)"},
    {&grad__op_add, add_neg, ALWAYS, "a + -b"},
    {&grad__op_sub, sub_neg, ALWAYS, "a - -b"},
    {&grad__op_neg, neg_product, ALWAYS, "-(x * c)"},
    {&grad__op_mul, product_of_neg, ALWAYS, "-x * c"},
    {&grad__op_mul, mul_negs, ALWAYS, "-a * -b"},
    {&grad__op_mulz, mul_negs, ALWAYS, "mulz(-a, -b)"},
    {&grad__op_mulz, mulz_finite, ALWAYS, "mulz(x, c)"},
    {&grad__op_add, in_order, ALWAYS, "b + a"},
    {&grad__op_mul, in_order, ALWAYS, "b * a"},
    {&grad__op_mulz, in_order, ALWAYS, "mulz(b, a)"},
    {NULL, NULL, ALWAYS, NULL},
};

/* build.c: builders of elementwise instructions: operands are converted to one dtype and broadcast to one shape, and
 * what an exact identity already knows is not computed. */
#include "ops/ops.h"

#include <math.h>

/* --- identities: GRAD_NONE when none applies */

static bool is_number(const grad_program *p, grad_id v, double wanted) {
  double value;
  return grad__is_const(p, v, &value) && value == wanted;
}

static grad_id producer_input(const grad_program *p, grad_id v, const grad_op *op) {
  const grad_instr *ins = grad__producer(p, v);
  return ins && ins->op == op ? ins->in[0] : GRAD_NONE;
}

/* mulz(x, where(m, 1, 0)) is where(m, x, 0), exactly, and cheaper: the slope of relu, clamp, maximum ... */
static grad_id mulz_choice(grad_program *p, grad_id x, grad_id choice) {
  const grad_instr *ins = grad__producer(p, choice);
  if (!ins || ins->op != &grad__op_where) return GRAD_NONE;
  const grad_id mask = ins->in[0], yes = ins->in[1], no = ins->in[2];
  if (is_number(p, yes, 1) && is_number(p, no, 0)) return grad__where(p, mask, x, no);
  if (is_number(p, yes, 0) && is_number(p, no, 1)) return grad__where(p, mask, yes, x);
  return GRAD_NONE;
}

static grad_id product_identity(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  if (is_number(p, b, 1)) return a;
  if (is_number(p, b, -1)) return grad__neg(p, a);
  if (op != &grad__op_mulz) return GRAD_NONE;
  if (is_number(p, b, 0)) return b;
  return mulz_choice(p, a, b);
}

/* Is v the zero of that sign? Integers have one. */
static bool is_zero(const grad_program *p, grad_id v, bool negative) {
  double value;
  if (!grad__is_const(p, v, &value) || value != 0) return false;
  return !grad__dtype_is_float(grad__type(p, v)->dtype) || (signbit(value) != 0) == negative;
}

/* x + -0 and x - 0 are x, and -0 - x is -x; with the other zero they are not: x may be a zero, and 1 / x tells which.
 */
static grad_id identity2(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  if (op == &grad__op_add) return is_zero(p, b, true) ? a : is_zero(p, a, true) ? b : GRAD_NONE;
  if (op == &grad__op_sub) return is_zero(p, b, false) ? a : is_zero(p, a, true) ? grad__neg(p, b) : GRAD_NONE;
  if (op == &grad__op_mul || op == &grad__op_mulz) {
    const grad_id right = product_identity(p, op, a, b);
    if (right != GRAD_NONE) return right;
    const grad_id left = product_identity(p, op, b, a);
    if (left != GRAD_NONE) return left;
    return a == b && op == &grad__op_mul ? grad__op1(p, &grad__op_square, a) : GRAD_NONE;
  }
  if (op == &grad__op_div)
    return is_number(p, b, 1) ? a : is_number(p, a, 1) ? grad__op1(p, &grad__op_reciprocal, b) : GRAD_NONE;
  if (op == &grad__op_pow) {
    if (is_number(p, b, 0)) return grad__lit(p, 1, a);
    if (is_number(p, b, 1)) return a;
    if (is_number(p, b, 2)) return grad__op1(p, &grad__op_square, a);
    if (is_number(p, b, -1)) return grad__op1(p, &grad__op_reciprocal, a);
  }
  if (op == &grad__op_polygamma) {
    if (is_number(p, a, 0)) return grad__op1(p, &grad__op_digamma, b);
    if (is_number(p, a, 1)) return grad__op1(p, &grad__op_trigamma, b);
  }
  return GRAD_NONE;
}

/* Constants are folded where the value is exact in any float dtype, so that slopes such as -(1) or 2 - 1 stay
 * constants. */
static grad_id fold2(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  double x, y, value;
  if (!grad__is_const(p, a, &x) || !grad__is_const(p, b, &y)) return GRAD_NONE;
  if (op == &grad__op_add)
    value = x + y;
  else if (op == &grad__op_sub)
    value = x - y;
  else if (op == &grad__op_mul)
    value = x * y;
  else
    return GRAD_NONE;
  const bool small = fabs(value) <= 1 << 20 && value == rint(value); /* an integer: no rounding, no wrapping */
  return small ? grad__lit(p, value, a) : GRAD_NONE;
}

static grad_id identity1(grad_program *p, const grad_op *op, grad_id a) {
  double value;
  if (op == &grad__op_neg) {
    if (grad__is_const(p, a, &value)) return grad__lit(p, -value, a);
    return producer_input(p, a, &grad__op_neg);
  }
  if (op == &grad__op_not) return producer_input(p, a, &grad__op_not);
  if (op == &grad__op_reciprocal || op == &grad__op_square) return is_number(p, a, 1) ? a : GRAD_NONE;
  return GRAD_NONE;
}

/* --- operands */

static grad_id refuse_dtype(grad_program *p, const grad_op *op, grad_dtype got) {
  return grad__program_fail(p, GRAD_EDTYPE, "%s: expected bool operands (masks), got %s", op->name,
                            grad__dtype_name(got));
}

static grad_id refuse_shapes(grad_program *p, const grad_op *op, const grad_type *a, const grad_type *b) {
  return grad__program_fail(
      p, GRAD_ESHAPE,
      "%s: shapes %s and %s do not fit together; extents, matched from the last axis, must be equal or 1", op->name,
      grad__shape_text(a->ndim, a->shape).chars, grad__shape_text(b->ndim, b->shape).chars);
}

/* The common shape of all operands; false when they do not fit. */
static bool common_shape(grad_program *p, const grad_op *op, int n, const grad_id *x, int *ndim, int64_t *shape) {
  const grad_type *first = grad__type(p, x[0]);
  *ndim = first->ndim;
  for (int k = 0; k < first->ndim; k++) shape[k] = first->shape[k];
  for (int i = 1; i < n; i++) {
    const grad_type *t = grad__type(p, x[i]);
    int64_t joint[GRAD_MAX_AXES];
    int joint_ndim;
    if (!grad__shape_broadcast(*ndim, shape, t->ndim, t->shape, &joint_ndim, joint)) {
      const grad_type so_far = {.shape = shape, .ndim = *ndim};
      refuse_shapes(p, op, &so_far, t);
      return false;
    }
    *ndim = joint_ndim;
    for (int k = 0; k < joint_ndim; k++) shape[k] = joint[k];
  }
  return true;
}

/* Converts x[from], ..., x[n - 1] to the dtype in which op computes; false when op does not take them. */
static bool common_dtype(grad_program *p, const grad_op *op, int from, int n, grad_id *x) {
  grad_dtype dtype = grad__type(p, x[from])->dtype;
  for (int i = from + 1; i < n; i++) dtype = grad__dtype_promote(dtype, grad__type(p, x[i])->dtype);
  const grad_dtype wanted = grad__operand_dtype(op, dtype);
  if (wanted < dtype) {
    refuse_dtype(p, op, dtype);
    return false;
  }
  bool ok = true;
  for (int i = from; i < n; i++) {
    x[i] = grad__convert(p, x[i], wanted);
    ok = ok && x[i] != GRAD_NONE;
  }
  return ok;
}

static bool prepare(grad_program *p, const grad_op *op, int n, grad_id *x) {
  for (int i = 0; i < n; i++) {
    if (x[i] == GRAD_NONE) return false;
  }
  const int from = grad__op_row(op)->kind == GRAD_KIND_SELECT ? 1 : 0;
  if (from == 1 && grad__type(p, x[0])->dtype != GRAD_BOOL) {
    grad__program_fail(p, GRAD_EDTYPE, "%s: the mask must be bool, got %s; compare it, as in x:ne(0)", op->name,
                       grad__dtype_name(grad__type(p, x[0])->dtype));
    return false;
  }
  int64_t shape[GRAD_MAX_AXES];
  int ndim;
  if (!common_dtype(p, op, from, n, x) || !common_shape(p, op, n, x, &ndim, shape)) return false;
  bool ok = true;
  for (int i = 0; i < n; i++) {
    x[i] = grad__broadcast(p, x[i], ndim, shape);
    ok = ok && x[i] != GRAD_NONE;
  }
  return ok;
}

/* --- builders */

grad_id grad__op1(grad_program *p, const grad_op *op, grad_id a) {
  if (!prepare(p, op, 1, &a)) return GRAD_NONE;
  const grad_id known = identity1(p, op, a);
  return known != GRAD_NONE ? known : grad__emit(p, op, 1, &a, 0, NULL);
}

grad_id grad__op2(grad_program *p, const grad_op *op, grad_id a, grad_id b) {
  grad_id x[] = {a, b};
  if (!prepare(p, op, 2, x)) return GRAD_NONE;
  grad_id known = identity2(p, op, x[0], x[1]);
  if (known == GRAD_NONE) known = fold2(p, op, x[0], x[1]);
  return known != GRAD_NONE ? known : grad__emit(p, op, 2, x, 0, NULL);
}

grad_id grad__op3(grad_program *p, const grad_op *op, grad_id a, grad_id b, grad_id c) {
  grad_id x[] = {a, b, c};
  if (!prepare(p, op, 3, x)) return GRAD_NONE;
  if (op == &grad__op_where && x[1] == x[2]) return x[1];
  return grad__emit(p, op, 3, x, 0, NULL);
}

grad_id grad__add(grad_program *p, grad_id a, grad_id b) { return grad__op2(p, &grad__op_add, a, b); }
grad_id grad__sub(grad_program *p, grad_id a, grad_id b) { return grad__op2(p, &grad__op_sub, a, b); }
grad_id grad__mul(grad_program *p, grad_id a, grad_id b) { return grad__op2(p, &grad__op_mul, a, b); }
grad_id grad__div(grad_program *p, grad_id a, grad_id b) { return grad__op2(p, &grad__op_div, a, b); }
grad_id grad__neg(grad_program *p, grad_id a) { return grad__op1(p, &grad__op_neg, a); }
grad_id grad__mulz(grad_program *p, grad_id a, grad_id b) { return grad__op2(p, &grad__op_mulz, a, b); }

grad_id grad__where(grad_program *p, grad_id mask, grad_id a, grad_id b) {
  return grad__op3(p, &grad__op_where, mask, a, b);
}

grad_id grad__add_tangents(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || is_number(p, a, 0)) return b;
  return b == GRAD_NONE || is_number(p, b, 0) ? a : grad__add(p, a, b);
}

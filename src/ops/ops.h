/* ops.h: the registry, and one builder for each op, so that derivative rules read as formulas.
 *
 * Builders take and give value ids of one program, never fail (GRAD_NONE passes through, see program.h), and apply
 * exact identities at once (x + 0, x * 1, neg(neg x), reshape to the same shape, ...), so that rules need not avoid
 * them. Elementwise instructions take operands of equal shape; grad__op2 and friends broadcast and convert dtypes
 * first.
 */
#ifndef GRAD_OPS_OPS_H
#define GRAD_OPS_OPS_H

#include "program/opdef.h"

/* Elementwise ops: one row each in ops.def; here only their names become symbols: grad__op_add, grad__op_sin, ... */
#define OP1(name, ...) extern const grad_op grad__op_##name;
#define OP2(name, ...) extern const grad_op grad__op_##name;
#define OP3(name, ...) extern const grad_op grad__op_##name;
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

/* Structured ops: the line that registers each is in structured.def: STRUCTURED(name), file op_<family>.c. */
#define STRUCTURED(name) extern const grad_op grad__op_##name;
#include "ops/structured.def"
#undef STRUCTURED

/* --- registry.c */
int grad__op_count(void);
const grad_op *grad__op_at(int i);
const grad_op *grad__op_find(const char *name); /* NULL: no such op */

/* --- elementwise.c: what stands in a row besides the rules */
typedef enum grad_kind {
  GRAD_KIND_FLOAT,
  GRAD_KIND_ARITH,
  GRAD_KIND_PREDICATE,
  GRAD_KIND_LOGICAL,
  GRAD_KIND_SELECT
} grad_kind;

/* How a person writes the op. A template holds '$' where operands go (see ops.def); otherwise it is the name of a
 * function. */
typedef struct grad_notation {
  int level;
  const char *text, *latex;
} grad_notation;

typedef struct grad_row {
  grad_kind kind;
  grad_notation notation;
  double domain[3][2]; /* of each operand */
} grad_row;
const grad_row *grad__op_row(const grad_op *op); /* NULL: not elementwise */

/* The dtype to which operands of the promoted dtype are converted (for SELECT: the branches), and that of the result.
 * Float ops take integers as f64, arithmetic takes masks as i64. */
grad_dtype grad__operand_dtype(const grad_op *op, grad_dtype promoted);
grad_dtype grad__result_dtype(const grad_op *op, grad_dtype operand);

/* --- partials.c */
/* Partial derivative of an elementwise row in operand i at x, y, as a value of the given type (dtype and shape);
 * GRAD_NONE: zero. For operands in which the op is linear, x[i] and y may be GRAD_NONE. */
grad_id grad__partial(grad_program *p, const grad_op *op, int i, const grad_id *x, grad_id y, const grad_type *type);

/* --- build.c: elementwise with broadcasting and dtype promotion */
grad_id grad__op1(grad_program *p, const grad_op *op, grad_id a);
grad_id grad__op2(grad_program *p, const grad_op *op, grad_id a, grad_id b);
grad_id grad__op3(grad_program *p, const grad_op *op, grad_id a, grad_id b, grad_id c);

grad_id grad__add(grad_program *p, grad_id a, grad_id b);
grad_id grad__sub(grad_program *p, grad_id a, grad_id b);
grad_id grad__mul(grad_program *p, grad_id a, grad_id b);
grad_id grad__div(grad_program *p, grad_id a, grad_id b);
grad_id grad__neg(grad_program *p, grad_id a);
/* Product in which a zero factor wins over Inf and NaN. Every product of a tangent or cotangent with a partial
 * derivative is one: a branch that was not taken (zero cotangent) can then never turn into NaN. Symmetric and bilinear.
 */
grad_id grad__mulz(grad_program *p, grad_id a, grad_id b);
grad_id grad__where(grad_program *p, grad_id mask, grad_id a, grad_id b);
/* Tangent or cotangent sum where either may be GRAD_NONE (zero). */
grad_id grad__add_tangents(grad_program *p, grad_id a, grad_id b);

/* Constants. lit: a number of the type (dtype and shape) of `like`; full: of a given type; zeros_type likewise. */
grad_id grad__lit(grad_program *p, double value, grad_id like);
grad_id grad__full(grad_program *p, double value, grad_dtype dtype, int ndim, const int64_t *shape);
grad_id grad__zeros_of(grad_program *p, const grad_type *type);
bool grad__is_const(const grad_program *p, grad_id v, double *value); /* is v a `full` of one number? */
/* The k-th of the numbers given at each run, as a 0-d value. */
grad_id grad__scalar(grad_program *p, grad_dtype dtype, int32_t k);
/* 0, 1, 2, ... along an axis. */
grad_id grad__iota(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape, int axis);

grad_id grad__stop_gradient(grad_program *p, grad_id x); /* x, a constant for every derivative */

/* Shape. Axes from 0. */
grad_id grad__convert(grad_program *p, grad_id a, grad_dtype dtype);
grad_id grad__broadcast(grad_program *p, grad_id a, int ndim, const int64_t *shape);
grad_id grad__reshape(grad_program *p, grad_id a, int ndim, const int64_t *shape);
/* The axes of two shapes of one array that has elements, in groups: the fewest that have as many elements in both. A
 * group begins at an axis of each, and ends where the next begins. */
typedef struct grad_axes_pair {
  int x, y;
} grad_axes_pair;
grad_axes_pair grad__reshape_group_end(const grad_type *x, const grad_type *y, grad_axes_pair begin);
grad_id grad__permute(grad_program *p, grad_id a, const int *axes);
grad_id grad__swap_axes(grad_program *p, grad_id a, int i, int j);
grad_id grad__insert_axis(grad_program *p, grad_id a, int axis); /* extent 1 */
grad_id grad__drop_axis(grad_program *p, grad_id a, int axis);   /* of extent 1 */
grad_id grad__slice(grad_program *p, grad_id a, const int64_t *start, const int64_t *count, const int64_t *step);
grad_id grad__pad(grad_program *p, grad_id a, const int64_t *before, const int64_t *after, double value);
grad_id grad__concat(grad_program *p, int n, const grad_id *parts, int axis);

/* Reductions over the axes in the bit mask; keepdim leaves extent 1. sum_to undoes a broadcast: sums a down to a shape.
 */
grad_id grad__reduce(grad_program *p, const grad_op *op, grad_id a, uint32_t axes,
                     bool keepdim); /* any of op_reduce.c */
grad_id grad__sum(grad_program *p, grad_id a, uint32_t axes, bool keepdim);
grad_id grad__max(grad_program *p, grad_id a, uint32_t axes, bool keepdim);
grad_id grad__sum_to(grad_program *p, grad_id a, int ndim, const int64_t *shape);
grad_id grad__arg_extremum(grad_program *p, const grad_op *op, grad_id a, int axis); /* argmax, argmin: i64 from 0 */

/* Batched matrix product over the last two axes, leading axes equal; ta, tb: read a factor transposed. */
grad_id grad__matmul(grad_program *p, grad_id a, grad_id b, bool ta, bool tb);

#endif

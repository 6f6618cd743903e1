/* simplify.h: rules that make a program smaller (simplify.c applies them; simplify_*.c have them).
 *
 * A rule sees one instruction with its operands already rewritten, and gives the value that stands for its result, or
 * GRAD_NONE when it does not apply. What it emits is shared and simplified no further; dead instructions are pruned.
 *
 * Rules are exact: the same number for every operand, NaN, Inf and -0 included, with these exceptions. The sign of the
 * zero that mulz gives for a zero factor is open, as its definition is. A sum or product that is taken of fewer terms,
 * in another order (simplify_sums.c, of a permuted operand, of a part: ops/demand.h) or as a matrix product is rounded
 * otherwise. Of zeros of both signs, max and min give any.
 */
#ifndef GRAD_EXEC_SIMPLIFY_H
#define GRAD_EXEC_SIMPLIFY_H

#include "ops/ops.h"

typedef struct grad_rewrite {
  grad_program *p; /* being built */
  const grad_program *from;
  const grad_instr *ins; /* of `from` */
  const grad_id *in;     /* its operands in p */
  const int32_t *uses;   /* of the values of `from` */
} grad_rewrite;

typedef struct grad_rule {
  const grad_op *op; /* NULL: any elementwise */
  grad_id (*apply)(const grad_rewrite *r);
  int needs; /* GRAD_SIMPLIFY_... without which it does not apply */
  const char *name;
} grad_rule;

/* Tables end with a rule without `apply`. */
extern const grad_rule grad__algebra_rules[], grad__shape_rules[];

/* simplify_sums.c, op_place_sum.c */
grad_status grad__simplify_sums(grad_program *p, grad_program **out);
extern const grad_op grad__op_place_sum;

/* Concatenates along the first axis. Parts that are reshaped arrays of equal rows are put together as they were, and
 * the whole is reshaped: so a stack of matrices is their rows, and both ways of saying it are one value. */
grad_id grad__concat_rows(grad_program *p, int32_t n, const grad_id *parts);

/* The instruction of p that makes v, if it applies op. */
static inline const grad_instr *grad__made_by(const grad_program *p, grad_id v, const grad_op *op) {
  const grad_instr *ins = grad__producer(p, v);
  return ins && ins->op == op ? ins : NULL;
}

static inline bool grad__is_number(const grad_program *p, grad_id v, double wanted) {
  double value;
  return grad__is_const(p, v, &value) && grad__bits(value) == grad__bits(wanted);
}

#endif

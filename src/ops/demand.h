/* demand.h: computing only the elements that are wanted.
 *
 * A person indexes a result: f(x)[-1], one row of a product, one step of a sequence. The pass goes backwards through a
 * program and finds for each value the box that holds all elements which outputs need (Ragan-Kelley et al. 2013,
 * "Halide": bounds inference); then it builds the program again, each value computed on its box. What an op needs of
 * its operands, and how it computes a part of its result, is the slot `crop` of the op. Boxes rather than sets:
 * arithmetic on them costs nanoseconds, and a box of an array is a view.
 *
 * A value keeps its shape when its box has more than half of its elements, when its op has no slot, and where computing
 * less could hide a failure (grad__may_refuse). Draws are made whole, so that they keep their numbers.
 */
#ifndef GRAD_OPS_DEMAND_H
#define GRAD_OPS_DEMAND_H

#include "ops/ops.h"

/* grad__demand: *out: the smaller program of p's inputs and outputs; NULL when there is none (and then it took one pass
 * over the instructions). It is worth doing before a derivative is taken, since reverse mode keeps less for a program
 * that computes less. */
grad_status grad__demand(const grad_program *p, grad_program **out);

/* --- for crop slots */

/* A box of operand i; `box` inside of its shape. While boxes are found it is noted, and GRAD_NONE given. */
grad_id grad__crop_operand(grad_crop *a, int32_t i, const grad_range *box);
/* The instruction as it is, of whole operands: for cases that a slot does not treat. */
void grad__crop_keep(grad_crop *a);
/* For ops that hold programs, whose boxes are found first: is the op built anew? Else it failed, or is kept. */
bool grad__crop_decide(grad_crop *a, grad_status status, bool pays);
/* Are boxes found, not instructions built? */
bool grad__crop_is_finding(const grad_crop *a);
/* The whole rule of ops whose output elements each depend on the elements at their place only. */
void grad__crop_same(grad_crop *a);
/* ... of ops that work along the axis params[0], each line for itself, on operands of one shape: that axis stays whole.
 */
void grad__crop_lines(grad_crop *a);
/* ... of ops of one operand whose result lacks the axes of the mask: these stay whole. */
void grad__crop_reduced(grad_crop *a, uint32_t axes);

/* v, which holds the elements of `have`, cut to `want`, a box inside of it. */
grad_id grad__crop_between(grad_program *p, grad_id v, const grad_range *have, const grad_range *want);

void grad__box_whole(const grad_type *t, grad_range *box);
bool grad__box_is_whole(const grad_type *t, const grad_range *box);
bool grad__box_equal(int ndim, const grad_range *a, const grad_range *b);
/* Makes `box` the hull of both; did it grow? */
bool grad__box_join(int ndim, grad_range *box, const grad_range *other);
/* Makes `box` the whole when it has more than half of the elements, or is not worth it: `few` elements in all. Did it
 * grow?
 */
bool grad__box_round(const grad_type *t, int64_t few, grad_range *box);
/* The type of a box of a value of type t; `shape` has room for its axes. */
grad_type grad__box_type(const grad_type *t, const grad_range *box, int64_t *shape);

/* --- for ops with nested programs: the two halves of the pass */

typedef struct grad_demand {
  const grad_program *p;
  int64_t few; /* values of no more elements stay whole */
  grad_arena arena;
  grad_program closed; /* what slots build into while boxes are found: nothing */
  grad_range **boxes;  /* by value */
  bool *wanted;        /* by value: else its box does not count */
  grad_id *operands;   /* room for those of any instruction */
  grad_id *map;        /* by value, while building: its id, which holds the elements of its box */
  bool crops;          /* something is computed in part */
  grad_status status;
} grad_demand;

/* Nothing is wanted at first. grad__demand_end may follow a failed start. */
grad_status grad__demand_start(grad_demand *d, const grad_program *p, int64_t few);
void grad__demand_end(grad_demand *d);
void grad__demand_reset(grad_demand *d);
/* Adds to what is wanted of v; box NULL: all of it. */
void grad__demand_want(grad_demand *d, grad_id v, const grad_range *box);
/* Finds the boxes of all that these depend on. */
grad_status grad__demand_find(grad_demand *d);
/* NULL: nothing is wanted of v. */
static inline const grad_range *grad__demand_box(const grad_demand *d, grad_id v) {
  return d->wanted[v] ? d->boxes[v] : NULL;
}
/* grad__demand_build: the program that computes the boxes out[k] of d->p's outputs (NULL: it lacks that output) from
 * the boxes in[i] of its inputs, which hold what is wanted of them (NULL: it lacks that input). Elements of out[k] that
 * were not wanted may be zeros. */
grad_status grad__demand_build(grad_demand *d, const grad_range *const *in, const grad_range *const *out,
                               grad_program **result);

/* May the instruction fail, or not end, for some values of its inputs? The same of any in a program. Then vmap must not
 * run it for elements that do not need it, and no part of it may be left out. */
bool grad__instr_may_refuse(const grad_program *p, const grad_instr *ins);
bool grad__may_refuse(const grad_program *p);

#endif

/* unroll.h: a small program as code on single numbers: every element of every value has a slot. Moving elements then
 * costs nothing, a step of an operation on a few numbers no more than the arithmetic. This is how the bodies of loops
 * run that are too small for anything else to pay (repeat.c).
 */
#ifndef GRAD_EXEC_UNROLL_H
#define GRAD_EXEC_UNROLL_H

#include "exec/numbers.h"
#include "program/program.h"

typedef struct grad_unrolled {
  grad_ctx *ctx;
  grad_program *p; /* simplified */
  grad_arena arena;
  grad_number_code code;
  double *slots; /* constants stand in it throughout */
  int32_t nslots;
  int32_t *inputs;            /* by input: its first slot, the others follow */
  int32_t **outputs;          /* by output: the slot of each element */
  const void **call_operands; /* three for each kernel that is called */
  int64_t scratch_bytes;
  char *scratch; /* of the instructions that run by their eval slot */
} grad_unrolled;

enum {
  GRAD_MOST_UNROLLED = 64
}; /* elements of a value: from there on vectors are full, and a plan's steps cost little */

/* *out is NULL when the program is not small. The last `spare` slots are for others. p reads no numbers. */
grad_status grad__unroll(const grad_program *p, int64_t spare, grad_unrolled **out);
void grad__unrolled_free(grad_unrolled *u); /* NULL: nothing */

#endif

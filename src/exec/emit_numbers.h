/* emit_numbers.h: the steps of a loop with an unrolled body (repeat.c) as machine code. */
#ifndef GRAD_EXEC_EMIT_NUMBERS_H
#define GRAD_EXEC_EMIT_NUMBERS_H

#include "exec/machine_code.h"
#include "exec/unroll.h"

/* A row of a stack: its elements, without gaps, and the slots they go to or come from. */
typedef struct grad_number_row {
  char *at;     /* that of the next step */
  int64_t step; /* bytes to the one after it */
  int32_t *slots;
  int32_t n, size; /* elements, bytes of one */
} grad_number_row;

typedef struct grad_slot_move {
  int32_t from, to;
} grad_slot_move;

/* A step: rows are read, the code runs, rows are written, then the moves, in order. */
typedef struct grad_number_step {
  const grad_unrolled *u;
  grad_number_row *rows; /* those that are read first */
  int32_t nread, nwritten;
  grad_slot_move *moves;
  int32_t nmoves;
  int32_t test; /* the slot of the mask that says whether to go on; -1: always */
} grad_number_step;

/* Runs at most that many steps, at least one; gives how many of them were left when the test failed, or -1 when an
 * instruction did (the context has the error). Rows are moved on. */
typedef int64_t (*grad_steps_fn)(int64_t steps);

/* Machine code for steps, whose parts stay where they are; NULL where there can be none. Errors: ENOMEM. */
grad_status grad__emit_steps(const grad_number_step *step, grad_code *code, grad_steps_fn *out);

#endif

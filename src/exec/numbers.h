/* numbers.h: a region of one position as compact code over an array of slots: programs of single numbers have thousands
 * of instructions and nothing to amortize them over. */
#ifndef GRAD_EXEC_NUMBERS_H
#define GRAD_EXEC_NUMBERS_H

#include "exec/region.h"

typedef struct grad_number_op {
  uint16_t code;
  int32_t out, in[3]; /* slots */
} grad_number_op;

/* A slot filled before the code runs, or emptied after it. */
typedef struct grad_number_move {
  int32_t slot;
  uint8_t size;
  int32_t operand; /* of the region; -1: the place of reductions[reduction] */
  int32_t reduction;
} grad_number_move;

struct grad_numbers {
  grad_number_op *ops;
  grad_kernel *calls; /* of ops that have no code of their own, in order */
  grad_copier *copiers;
  grad_number_move *loads, *stores;
  int32_t nops, nloads, nstores, nslots;
};

/* Fills region->numbers. alloc: zeroed memory that lives as long as the region; NULL fails. */
grad_status grad__numbers_build(grad_region *region, void *(*alloc)(void *ud, size_t count, size_t size), void *ud,
                                grad_ctx *ctx);
void grad__numbers_run(const grad_region *region, char *const *bases, char *scratch);

#endif

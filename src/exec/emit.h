/* emit.h: machine code for stretches of a region's instructions, in place of calls of kernels: values then stay in
 * vector registers instead of going through a block of memory each. The kernels remain the oracle, and the way
 * everywhere that no code is emitted for: results are the same bits (but for which NaN it is).
 */
#ifndef GRAD_EXEC_EMIT_H
#define GRAD_EXEC_EMIT_H

#include "exec/planner.h"

/* Fills region->coded of the plan's regions where that pays. What cannot be had (another processor, no executable
 * memory) leaves the interpreter. Errors: ENOMEM. */
grad_status grad__emit_plan(grad_planner *pl);

/* May the micro be a part of a stretch? */
bool grad__emits(const grad_ctx *ctx, const grad_micro *micro);

/* x86-64. Emits one stretch of micros [from, ...) into code and returns where it ends (from: none could be emitted);
 * *at is its offset. */
typedef struct grad_emitter grad_emitter;
grad_emitter *grad__emitter_new(grad_planner *pl, grad_code *code, const grad_region *region); /* NULL: ENOMEM */
int32_t grad__emit_stretch(grad_emitter *e, int32_t from, int64_t *at);
/* A micro stays with the interpreter. */
void grad__emit_not(grad_emitter *e, int32_t micro);
/* The whole region is done: repeated numbers that only code reads need not fill a block. */
void grad__emitter_finish(grad_emitter *e);

#endif

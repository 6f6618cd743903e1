/* repeat.h: loops with small bodies, without what a call of a plan costs a step. */
#ifndef GRAD_EXEC_REPEAT_H
#define GRAD_EXEC_REPEAT_H

#include "exec/unroll.h"

typedef struct grad_repeater grad_repeater;

/* The one for loops like this, of which only the programs and the counts matter here: that of the list, or a new one at
 * its front. *out is NULL when the body is not small (unroll.h). The programs are those of instructions that live as
 * long as the list. */
grad_status grad__repeater_of(grad_repeater **list, const grad_repeat *loop, grad_repeater **out);
int64_t grad__repeaters_count(const grad_repeater *list); /* of small bodies */
void grad__repeaters_free(grad_ctx *ctx, grad_repeater *list);
/* how: tells how programs nested in the body are called. */
grad_status grad__repeater_run(grad_repeater *r, const grad_eval *how, grad_repeat *loop);

#endif

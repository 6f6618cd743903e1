/* parts.h: what the drivers share: putting programs together and taking outputs out of them. */
#ifndef GRAD_FN_PARTS_H
#define GRAD_FN_PARTS_H

#include "fn/fn.h"
#include "ops/ops.h"

/* grad__fn_inline: as grad__inline, for programs of which number k is the same number k. */
void grad__fn_inline(grad_program *dst, const grad_program *src, const grad_id *inputs, grad_id *outputs);

/* grad__fn_select: p with just these of its outputs, in this order. */
grad_status grad__fn_select(const grad_program *p, int32_t n, const int32_t *which, grad_program **out);

int32_t grad__fn_count(const bool *flags, int32_t n);

#endif

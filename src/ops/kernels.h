/* kernels.h: what an elementwise row does to a block of numbers. kernels_<level>.c compile ops.def once for each
 * instruction set; which one runs is the context's choice. */
#ifndef GRAD_OPS_KERNELS_H
#define GRAD_OPS_KERNELS_H

#include "ops/ops.h"

/* n contiguous elements. Any n >= 0; out may be the same memory as an input of the same width, or overlap none. The
 * value of an element never depends on its place in the block. */
typedef void (*grad_kernel)(int64_t n, void *out, const void *const *in);

/* The kernel of an elementwise row for a dtype of its operands (for where: of the branches); NULL when the row does not
 * exist for that dtype (infer refuses it). */
grad_kernel grad__kernel(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype);

/* i64 floordiv and mod: eval refuses a zero divisor before it calls the kernel, which gives 0 for it. Who calls the
 * kernel without eval must look too. */
static inline bool grad__kernel_divides(const grad_op *op, grad_dtype dtype) {
  return dtype == GRAD_I64 && (op == &grad__op_floordiv || op == &grad__op_mod);
}

enum { GRAD_BLOCK = 256 }; /* elements handled at a time; 2 KB of doubles a register stays in L1 */

#endif

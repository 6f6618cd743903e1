/* kernels.c: which kernel runs: by dtype, and by what the context's CPU can do. */
#include "ops/kernels_table.h"

grad_kernel grad__kernel(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  (void)ctx;
  switch (dtype) {
  case GRAD_F64:
    return grad__kernels_f64_portable[op->row];
  case GRAD_F32:
    return grad__kernels_f32_portable[op->row];
  case GRAD_I64:
    return grad__kernels_i64[op->row];
  default:
    return grad__kernels_bool[op->row];
  }
}

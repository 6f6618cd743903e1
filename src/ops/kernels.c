/* kernels.c: which kernel runs: by dtype, and by what the context's CPU can do. */
#include "ops/kernels_table.h"

#if defined __x86_64__
#define TABLES(dtype)                                                                                                  \
  { grad__kernels_##dtype##_baseline, grad__kernels_##dtype##_avx2, grad__kernels_##dtype##_avx512 }
#elif defined __aarch64__
#define TABLES(dtype)                                                                                                  \
  { grad__kernels_##dtype##_baseline, grad__kernels_##dtype##_baseline, grad__kernels_##dtype##_baseline }
#else
#define TABLES(dtype)                                                                                                  \
  { grad__kernels_##dtype##_portable, grad__kernels_##dtype##_portable, grad__kernels_##dtype##_portable }
#endif

static const grad_kernel *const f64_tables[] = TABLES(f64); /* by grad_simd */
static const grad_kernel *const f32_tables[] = TABLES(f32);

grad_kernel grad__kernel(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  switch (dtype) {
  case GRAD_F64:
    return f64_tables[ctx->simd][op->row];
  case GRAD_F32:
    return f32_tables[ctx->simd][op->row];
  case GRAD_I64:
    return grad__kernels_i64[op->row];
  default:
    return grad__kernels_bool[op->row];
  }
}

/* reduce.h: reducing a strided array over some of its axes.
 *
 * The order of combination is a tree whose shape follows from the array's shape and strides alone: never from the
 * instruction set, the number of threads or the block size of a plan. The rounding error of a sum of n terms grows with
 * log n instead of n (pairwise summation; Higham 1993, "The accuracy of floating point summation"). */
#ifndef GRAD_OPS_REDUCE_H
#define GRAD_OPS_REDUCE_H

#include "array/array.h"

typedef enum grad_reduction {
  GRAD_REDUCE_SUM,
  GRAD_REDUCE_PROD,
  GRAD_REDUCE_MAX,
  GRAD_REDUCE_MIN,
  GRAD_REDUCE_ANY,
  GRAD_REDUCE_ALL
} grad_reduction;

/* out: row-major, of in's dtype, in's shape without the axes of the mask. Sum and prod: not of bool; any and all: of
 * bool only. NaN wins in max and min. With nothing to combine: 0, 1, true for all, false for any; max and min are never
 * asked. Errors: EINTERRUPT. */
grad_status grad__reduce_run(grad_ctx *ctx, grad_reduction kind, const grad_array *in, uint32_t axes, grad_array *out);

#endif

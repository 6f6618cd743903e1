/* op_place_sum.c: the sum of arrays that are zero outside a regular piece, in one pass: what a chain of
 * add(unslice, add(unslice, ...)) becomes (simplify_sums.c). The gradient of a loop over slices then costs as much as
 * the slices have elements, not as the whole array for each.
 *
 * inputs  an array of the full shape if there is one (params[0]), then the pieces
 * params  {has whole, axes n, full extent x n, then for each piece start x n, step x n}
 */
#include "exec/planner.h"
#include "exec/simplify.h"

static grad_status place_sum_infer(grad_infer *a) {
  const int n = (int)a->params[1], pieces = a->nin - (int)a->params[0];
  if (pieces < 1 || a->nparams != 2 + n + 2 * n * pieces) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "place_sum: %d parameters for %d pieces", a->nparams, pieces);
  }
  a->out[0].dtype = a->in[0].dtype;
  a->out[0].ndim = n;
  for (int i = 0; i < n; i++) a->out[0].shape[i] = a->params[2 + i];
  return GRAD_OK;
}

static void add_numbers(int64_t n, grad_dtype dtype, char *to, int64_t to_step, const char *from, int64_t from_step) {
  if (dtype == GRAD_F64) {
    for (int64_t i = 0; i < n; i++)
      ((double *)(void *)to)[i * to_step] += ((const double *)(const void *)from)[i * from_step];
  } else {
    for (int64_t i = 0; i < n; i++)
      ((float *)(void *)to)[i * to_step] += ((const float *)(const void *)from)[i * from_step];
  }
}

static void add_piece(grad_ctx *ctx, const grad_array *whole, const grad_array *piece, const int64_t *start,
                      const int64_t *step) {
  const grad_reducer sum = grad__reducer(ctx->simd, GRAD_REDUCE_SUM, whole->dtype);
  grad_array view = *whole;
  for (int i = 0; i < whole->ndim; i++) {
    const grad_array before = view;
    grad__view_slice(&before, i, piece->shape[i] > 0 ? start[i] : 0, piece->shape[i], step[i], &view);
  }
  grad_walk w;
  for (grad__walk_start(&w, 2, (const grad_array *[]){&view, piece}); !w.done; grad__walk_next(&w)) {
    if (w.step[0] == 1 && w.step[1] == 1) {
      sum.accumulate(w.inner, w.at[0], w.at[1]);
    } else {
      add_numbers(w.inner, whole->dtype, w.at[0], w.step[0], w.at[1], w.step[1]);
    }
  }
}

static grad_status place_sum_eval(const grad_eval *a) {
  const int64_t n = a->ins->params[1], *piece = a->ins->params + 2 + n;
  const int32_t first = (int32_t)a->ins->params[0];
  if (first) {
    grad__array_copy(a->out[0], a->in[0]);
  } else {
    grad__array_fill(a->out[0], 0);
  }
  for (int32_t k = first; k < a->ins->nin; k++, piece += 2 * n) {
    add_piece(a->ctx, a->out[0], a->in[k], piece, piece + n);
  }
  return GRAD_OK;
}

const grad_op grad__op_place_sum = {
    .name = "place_sum",
    .nin = -1,
    .nout = 1,
    .flags = GRAD_OP_LINEAR,
    .infer = place_sum_infer,
    .eval = place_sum_eval,
};

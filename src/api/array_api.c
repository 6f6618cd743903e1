/* array_api.c: grad.h's arrays. A handle is an array header in a block of its own; its storage always exists. */
#include "array/array.h"

#include <string.h>

static void keep(void *ud, void *data) { (void)ud, (void)data; }

static grad_status check_dtype(grad_ctx *ctx, grad_dtype dtype) {
  if (dtype <= GRAD_F64) return GRAD_OK;
  return grad__fail(ctx, GRAD_EDTYPE, "an array cannot have dtype number %d", (int)dtype);
}

/* Moves a header that `status` says was made into a block of its own. */
static grad_status own(grad_ctx *ctx, grad_status status, grad_array *made, grad_array **out) {
  if (status) return status;
  grad_array *array = grad__alloc(ctx, sizeof *array);
  if (!array) {
    grad__array_release(made);
    return ctx->status;
  }
  *array = *made;
  *out = array;
  return GRAD_OK;
}

grad_status grad_array_new(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, grad_array **out) {
  grad_array made;
  grad_status status = check_dtype(ctx, dtype);
  if (!status) status = grad__array_new(ctx, dtype, ndim, shape, &made);
  if (!status) grad__array_fill(&made, 0);
  return own(ctx, status, &made, out);
}

grad_status grad_array_borrow(grad_ctx *ctx, void *data, grad_dtype dtype, int ndim, const int64_t *shape,
                              const int64_t *strides, int readonly, void (*release)(void *ud, void *data),
                              void *release_ud, grad_array **out) {
  grad_array made;
  grad_status status = check_dtype(ctx, dtype);
  if (!status) {
    status = grad__array_borrow(ctx, data, dtype, ndim, shape, keep, release_ud, &made);
  }
  if (!status) {
    made.storage->readonly = readonly != 0;
    if (strides && ndim > 0) memcpy(made.strides, strides, (size_t)ndim * sizeof *strides);
  }
  status = own(ctx, status, &made, out);
  if (!status && release) made.storage->release = release; /* not before: after a failure the memory is the caller's */
  return status;
}

void grad_array_free(grad_array *array) {
  if (!array) return;
  grad_ctx *ctx = array->storage->ctx;
  grad__array_release(array);
  grad__free(ctx, array, sizeof *array);
}

void *grad_array_data(const grad_array *array) { return array->data; }
grad_dtype grad_array_dtype(const grad_array *array) { return array->dtype; }
int grad_array_ndim(const grad_array *array) { return array->ndim; }
const int64_t *grad_array_shape(const grad_array *array) { return array->shape; }
const int64_t *grad_array_strides(const grad_array *array) { return array->strides; }
int64_t grad_array_numel(const grad_array *array) { return grad__array_numel(array); }

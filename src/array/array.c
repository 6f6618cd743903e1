/* array.c: storage and array headers. An array's own storage is one block: the storage header, then the elements. */
#include "array/array.h"

#include <string.h>

enum { DATA_OFFSET = 64 };
_Static_assert(sizeof(grad_storage) <= DATA_OFFSET, "elements follow the storage header at a 64-byte boundary");

bool grad__array_is_contiguous(const grad_array *a) {
  int64_t step = 1;
  bool row_major = true;
  for (int i = a->ndim - 1; i >= 0; i--) {
    if (a->shape[i] == 0) return true;
    if (a->shape[i] != 1 && a->strides[i] != step) row_major = false;
    step *= a->shape[i];
  }
  return row_major;
}

void grad__array_wrap(grad_array *out, void *data, grad_dtype dtype, int ndim, const int64_t *shape) {
  out->data = data; /* not one compound literal: clearing the axes that there are not takes longer than all else */
  out->storage = NULL;
  out->dtype = dtype;
  out->ndim = ndim;
  for (int i = 0; i < ndim; i++) out->shape[i] = shape[i];
  grad__strides_contiguous(ndim, out->shape, out->strides);
}

static grad_status check_shape(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, size_t *bytes) {
  int64_t numel;
  if (ndim < 0 || ndim > GRAD_MAX_AXES) {
    return grad__fail(ctx, GRAD_ESHAPE, "an array has at most %d axes, not %d", GRAD_MAX_AXES, ndim);
  }
  if (!grad__shape_numel(ndim, shape, &numel) || numel > INT64_MAX / 8 - DATA_OFFSET) {
    return grad__fail(ctx, GRAD_ESHAPE, "an array of shape %s is too large or has a negative extent",
                      grad__shape_text(ndim, shape).chars);
  }
  *bytes = (size_t)numel * grad__dtype_size(dtype);
  return GRAD_OK;
}

grad_status grad__array_new(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, grad_array *out) {
  size_t bytes;
  const grad_status status = check_shape(ctx, dtype, ndim, shape, &bytes);
  if (status) return status;
  grad_storage *const storage = grad__alloc_aligned(ctx, DATA_OFFSET + bytes);
  if (!storage) return ctx->status;
  *storage = (grad_storage){.ctx = ctx, .data = (char *)storage + DATA_OFFSET, .bytes = bytes, .refs = 1};
  grad__array_wrap(out, storage->data, dtype, ndim, shape);
  out->storage = storage;
  return GRAD_OK;
}

grad_status grad__array_borrow(grad_ctx *ctx, void *data, grad_dtype dtype, int ndim, const int64_t *shape,
                               void (*release)(void *ud, void *data), void *release_ud, grad_array *out) {
  size_t bytes;
  const grad_status status = check_shape(ctx, dtype, ndim, shape, &bytes);
  if (status) return status;
  grad_storage *const storage = grad__alloc(ctx, sizeof *storage);
  if (!storage) return ctx->status;
  *storage =
      (grad_storage){.ctx = ctx, .data = data, .bytes = bytes, .refs = 1, .release = release, .release_ud = release_ud};
  grad__array_wrap(out, data, dtype, ndim, shape);
  out->storage = storage;
  return GRAD_OK;
}

void grad__array_retain(const grad_array *a) {
  if (a->storage) a->storage->refs++;
}

static void free_storage(grad_storage *storage) {
  grad_ctx *const ctx = storage->ctx;
  if (!storage->release) {
    grad__free_aligned(ctx, storage, DATA_OFFSET + storage->bytes);
    return;
  }
  storage->release(storage->release_ud, storage->data);
  grad__free(ctx, storage, sizeof *storage);
}

void grad__array_release(grad_array *a) {
  if (a->storage && --a->storage->refs == 0) free_storage(a->storage);
  a->data = NULL;
  a->storage = NULL;
  a->dtype = 0;
  a->ndim = 0;
}

double grad__array_get(const grad_array *a, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < a->ndim; i++) at += index[i] * a->strides[i];
  switch (a->dtype) {
  case GRAD_BOOL:
    return (double)((const uint8_t *)a->data)[at];
  case GRAD_I64:
    return (double)((const int64_t *)a->data)[at];
  case GRAD_F32:
    return (double)((const float *)a->data)[at];
  case GRAD_F64:
    return ((const double *)a->data)[at];
  }
  return 0;
}

/* view.c: other headers on the same elements. */
#include "array/array.h"

#include <string.h>

/* a with its storage and dtype, without axes. */
static grad_array bare(const grad_array *a) {
  return (grad_array){.data = a->data, .storage = a->storage, .dtype = a->dtype};
}

bool grad__view_broadcast(const grad_array *a, int ndim, const int64_t *shape, grad_array *out) {
  if (ndim < a->ndim || ndim > GRAD_MAX_AXES) return false;
  grad_array view = bare(a);
  view.ndim = ndim;
  for (int i = 0; i < ndim; i++) {
    const int from = i - (ndim - a->ndim);
    view.shape[i] = shape[i];
    if (from < 0) continue;
    if (a->shape[from] != shape[i] && a->shape[from] != 1) return false;
    view.strides[i] = a->shape[from] == shape[i] ? a->strides[from] : 0;
  }
  *out = view;
  return true;
}

/* Axes of extent 1 say nothing about the layout; drops them. Returns the number of axes left. */
static int real_axes(const grad_array *a, int64_t *shape, int64_t *strides) {
  int n = 0;
  for (int i = 0; i < a->ndim; i++) {
    if (a->shape[i] == 1) continue;
    shape[n] = a->shape[i];
    strides[n++] = a->strides[i];
  }
  return n;
}

bool grad__view_reshape(const grad_array *a, int ndim, const int64_t *shape, grad_array *out) {
  grad_array view = bare(a);
  view.ndim = ndim;
  memcpy(view.shape, shape, (size_t)ndim * sizeof *shape);
  grad__strides_contiguous(ndim, view.shape, view.strides);
  if (grad__array_is_contiguous(a)) {
    *out = view;
    return true;
  }
  /* Groups of old and new axes with equal products: within a group the old axes must merge into one. */
  int64_t old_shape[GRAD_MAX_AXES], old_strides[GRAD_MAX_AXES];
  const int nold = real_axes(a, old_shape, old_strides);
  for (int o = 0, n = 0; o < nold;) {
    int64_t old_count = old_shape[o], new_count = 1;
    const int first = n;
    int last = o;
    while (n < ndim && new_count < old_count) {
      new_count *= shape[n++];
      while (new_count > old_count && last + 1 < nold) {
        if (old_strides[last] != old_shape[last + 1] * old_strides[last + 1]) return false;
        old_count *= old_shape[++last];
      }
    }
    if (new_count != old_count) return false;
    for (int64_t i = n - 1, step = old_strides[last]; i >= first; i--) {
      view.strides[i] = step;
      step *= shape[i];
    }
    o = last + 1;
  }
  *out = view;
  return true;
}

void grad__view_permute(const grad_array *a, const int *axes, grad_array *out) {
  grad_array view = bare(a);
  view.ndim = a->ndim;
  for (int i = 0; i < a->ndim; i++) {
    view.shape[i] = a->shape[axes[i]];
    view.strides[i] = a->strides[axes[i]];
  }
  *out = view;
}

static void *element(const grad_array *a, int axis, int64_t index) {
  if (!a->data) return NULL;
  return (char *)a->data + index * a->strides[axis] * (int64_t)grad__dtype_size(a->dtype);
}

void grad__view_slice(const grad_array *a, int axis, int64_t start, int64_t count, int64_t step, grad_array *out) {
  grad_array view = *a;
  if (count > 0) view.data = element(a, axis, start);
  view.shape[axis] = count;
  view.strides[axis] = count > 1 ? a->strides[axis] * step : a->strides[axis];
  *out = view;
}

void grad__view_drop(const grad_array *a, int axis, int64_t index, grad_array *out) {
  grad_array view = bare(a);
  view.data = element(a, axis, index);
  view.ndim = a->ndim - 1;
  for (int i = 0; i < view.ndim; i++) {
    view.shape[i] = a->shape[i < axis ? i : i + 1];
    view.strides[i] = a->strides[i < axis ? i : i + 1];
  }
  *out = view;
}

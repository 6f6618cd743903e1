/* axes.h: visiting some axes of a strided array in row order. */
#ifndef GRAD_OPS_AXES_H
#define GRAD_OPS_AXES_H

#include "array/array.h"

/* Begins with ndim and offset 0, which is that of the current index, in elements; the rest is set as axes are added. */
typedef struct grad_axes {
  int ndim;
  int64_t shape[GRAD_MAX_AXES], strides[GRAD_MAX_AXES], index[GRAD_MAX_AXES];
  int64_t offset;
} grad_axes;

/* Appends an axis, faster than those before; one that the last axis runs into is merged with it. */
static inline void grad__axes_add(grad_axes *w, int64_t extent, int64_t stride) {
  if (extent == 1) return;
  if (w->ndim > 0 && w->strides[w->ndim - 1] == stride * extent) {
    w->shape[w->ndim - 1] *= extent;
    w->strides[w->ndim - 1] = stride;
    return;
  }
  w->shape[w->ndim] = extent;
  w->strides[w->ndim] = stride;
  w->index[w->ndim] = 0;
  w->ndim++;
}

/* Axes from..to - 1 of an array. */
static inline void grad__axes_of(const grad_array *a, int from, int to, grad_axes *out) {
  out->ndim = 0;
  out->offset = 0;
  for (int i = from; i < to; i++) grad__axes_add(out, a->shape[i], a->strides[i]);
}

/* false when all indices have been visited; the walk then stands at the first again. Not for empty axes. */
static inline bool grad__axes_next(grad_axes *w) {
  for (int i = w->ndim - 1; i >= 0; i--) {
    w->offset += w->strides[i];
    if (++w->index[i] < w->shape[i]) return true;
    w->offset -= w->strides[i] * w->shape[i];
    w->index[i] = 0;
  }
  return false;
}

/* Takes the last axis out, to be an inner loop; extent 1, step 1 when there is none. */
static inline void grad__axes_take_last(grad_axes *w, int64_t *extent, int64_t *step) {
  *extent = w->ndim > 0 ? w->shape[w->ndim - 1] : 1;
  *step = w->ndim > 0 ? w->strides[w->ndim - 1] : 1;
  if (w->ndim > 0) w->ndim--;
}

#endif

/* walk.c: visiting strided arrays of one shape in row-major order, as few and as long runs as their strides allow. */
#include "array/array.h"

/* Copies the axes that matter, merging each into the one before it wherever every array allows. Returns their number.
 */
static int merge_axes(grad_walk *w, const grad_array *const *arrays) {
  int n = 0;
  for (int axis = 0; axis < arrays[0]->ndim; axis++) {
    const int64_t extent = arrays[0]->shape[axis];
    if (extent == 1) continue;
    bool merges = n > 0;
    for (int k = 0; k < w->narrays && merges; k++) {
      merges = w->strides[k][n - 1] == extent * arrays[k]->strides[axis];
    }
    const int to = merges ? n - 1 : n++;
    w->shape[to] = merges ? w->shape[to] * extent : extent;
    for (int k = 0; k < w->narrays; k++) w->strides[k][to] = arrays[k]->strides[axis];
  }
  return n;
}

void grad__walk_start(grad_walk *w, int narrays, const grad_array *const *arrays) {
  w->narrays = narrays;
  w->inner = 1;
  w->done = false;
  for (int axis = 0; axis < arrays[0]->ndim; axis++) w->done |= arrays[0]->shape[axis] == 0;
  for (int k = 0; k < narrays; k++) {
    w->at[k] = arrays[k]->data;
    w->size[k] = grad__dtype_size(arrays[k]->dtype);
    w->step[k] = 0;
  }
  w->ndim = w->done ? 0 : merge_axes(w, arrays);
  if (w->ndim == 0) return;
  w->ndim--;
  w->inner = w->shape[w->ndim];
  for (int k = 0; k < narrays; k++) w->step[k] = w->strides[k][w->ndim];
  for (int axis = 0; axis < w->ndim; axis++) w->index[axis] = 0;
}

void grad__walk_next(grad_walk *w) {
  for (int axis = w->ndim - 1; axis >= 0; axis--) {
    const bool more = ++w->index[axis] < w->shape[axis];
    const int64_t steps = more ? 1 : 1 - w->shape[axis];
    for (int k = 0; k < w->narrays; k++) w->at[k] += steps * w->strides[k][axis] * (int64_t)w->size[k];
    if (more) return;
    w->index[axis] = 0;
  }
  w->done = true;
}

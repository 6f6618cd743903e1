/* layout.c: which elements of a strided view flat positions stand for (see region.h). */
#include <string.h>

#include "exec/region.h"

void grad__layout_of(const grad_array *view, grad_layout *out) {
  int n = 0;
  for (int axis = 0; axis < view->ndim; axis++) {
    const int64_t extent = view->shape[axis], stride = view->strides[axis];
    if (extent == 1) continue;
    if (n > 0 && out->stride[n - 1] == extent * stride) {
      out->extent[n - 1] *= extent;
      out->stride[n - 1] = stride;
    } else {
      out->extent[n] = extent;
      out->stride[n++] = stride;
    }
  }
  if (n == 1 && out->stride[0] == 0) n = 0;
  out->naxes = n;
}

static void set_run(grad_runs *r, int64_t offset) {
  const grad_layout *l = r->layout;
  const int last = l->naxes - 1;
  r->offset = offset;
  r->count = last < 0 ? r->left : l->extent[last] - r->index[last];
  if (r->count > r->left) r->count = r->left;
}

void grad__runs_start(grad_runs *r, const grad_layout *l, int64_t pos, int64_t n) {
  int64_t offset = 0;
  r->layout = l;
  r->left = n;
  for (int axis = l->naxes - 1; axis >= 0; axis--) {
    int64_t whole = pos / l->extent[axis];
    r->index[axis] = pos - whole * l->extent[axis];
    offset += r->index[axis] * l->stride[axis];
    pos = whole;
  }
  set_run(r, offset);
}

void grad__runs_next(grad_runs *r) {
  const grad_layout *l = r->layout;
  r->left -= r->count;
  if (r->left <= 0) {
    r->count = 0;
    return;
  }
  int axis = l->naxes - 1;
  int64_t offset = r->offset - r->index[axis] * l->stride[axis];
  r->index[axis] = 0;
  for (axis--; axis >= 0; axis--) {
    offset += l->stride[axis];
    if (++r->index[axis] < l->extent[axis]) break;
    offset -= l->extent[axis] * l->stride[axis];
    r->index[axis] = 0;
  }
  set_run(r, offset);
}

static grad_dtype dtype_of_size(int size) { return size == 1 ? GRAD_BOOL : size == 4 ? GRAD_F32 : GRAD_I64; }

#define REPEAT(name, type)                                                                                             \
  static void name(int64_t n, void *to, const void *from) {                                                            \
    const type value = *(const type *)from;                                                                            \
    type *const t = to;                                                                                                \
    for (int64_t i = 0; i < n; i++) t[i] = value;                                                                      \
  }
REPEAT(repeat8, uint64_t)
REPEAT(repeat4, uint32_t)

static void repeat(int size, int64_t n, char *to, const char *from) {
  if (size == 8) {
    repeat8(n, to, from);
  } else if (size == 4) {
    repeat4(n, to, from);
  } else {
    memset(to, *from, (size_t)n);
  }
}

void grad__layout_gather(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to) {
  if (l->naxes == 0) {
    repeat(size, n, to, from);
    return;
  }
  const grad_dtype dtype = dtype_of_size(size);
  const grad_copier copy = grad__array_copier(dtype, dtype);
  const int64_t step = l->stride[l->naxes - 1];
  grad_runs r;
  for (grad__runs_start(&r, l, pos, n); r.count > 0; grad__runs_next(&r)) {
    if (step == 0) {
      repeat(size, r.count, to, from + r.offset * size);
    } else {
      copy(r.count, to, 1, from + r.offset * size, step);
    }
    to += r.count * size;
  }
}

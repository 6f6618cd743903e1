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

enum { SHORT_ROW = 16 };

static grad_dtype dtype_of_size(int size) { return size == 1 ? GRAD_BOOL : size == 4 ? GRAD_F32 : GRAD_I64; }

/* spread: an element for each row of `columns`, written `width` at a time, so that the last may go up to width -
 * columns elements too far. gather: a layout of two axes whose rows are too short to be worth a call each. */
#define LOOPS(type, size)                                                                                              \
  static inline void spread##size(int64_t rows, int64_t columns, int64_t step, int width, const void *from,            \
                                  void *to) {                                                                          \
    type *t = to;                                                                                                      \
    for (const type *f = from; rows > 0; rows--, f += step, t += columns) {                                            \
      for (int k = 0; k < width; k++) t[k] = *f;                                                                       \
    }                                                                                                                  \
  }                                                                                                                    \
  static void spread_rows##size(int64_t rows, int64_t columns, int64_t step, const void *from, void *to) {             \
    if (columns <= 2)                                                                                                  \
      spread##size(rows, columns, step, 2, from, to);                                                                  \
    else if (columns <= 4)                                                                                             \
      spread##size(rows, columns, step, 4, from, to);                                                                  \
    else                                                                                                               \
      spread##size(rows, columns, step, 8, from, to);                                                                  \
  }                                                                                                                    \
  static void gather##size(const grad_layout *l, const void *from, int64_t pos, int64_t n, void *to) {                 \
    const int64_t columns = l->extent[1], step = l->stride[1], row_step = l->stride[0];                                \
    int64_t row = pos / columns, col = pos - row * columns;                                                            \
    type *t = to;                                                                                                      \
    for (const type *f = (const type *)from + row * row_step; n > 0; f += row_step, col = 0) {                         \
      const int64_t count = columns - col < n ? columns - col : n;                                                     \
      for (int64_t i = 0; i < count; i++) t[i] = f[(col + i) * step];                                                  \
      t += count;                                                                                                      \
      n -= count;                                                                                                      \
    }                                                                                                                  \
  }
LOOPS(uint64_t, 8)
LOOPS(uint32_t, 4)
LOOPS(uint8_t, 1)
#undef LOOPS

/* The same row again and again: what is there already is copied behind itself. */
static void repeat_row(int64_t bytes, int64_t n, const char *from, char *to) {
  int64_t done = bytes < n ? bytes : n;
  memcpy(to, from, (size_t)done);
  for (; done < n; done *= 2) memcpy(to + done, to, (size_t)(n - done < done ? n - done : done));
}

#define BY_SIZE(f, ...) (size == 8 ? f##8(__VA_ARGS__) : size == 4 ? f##4(__VA_ARGS__) : f##1(__VA_ARGS__))

static void copy_run(int size, int64_t n, char *to, const char *from, int64_t step, grad_repeat_fn repeat) {
  const grad_dtype dtype = dtype_of_size(size);
  if (step == 0) {
    repeat(n, size, to, from);
  } else if (step == 1) {
    memcpy(to, from, (size_t)(n * size));
  } else {
    grad__array_copier(dtype, dtype)(n, to, 1, from, step);
  }
}

static void gather_rows(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to,
                        grad_repeat_fn repeat) {
  const int64_t row = pos / l->extent[1];
  int64_t col = pos - row * l->extent[1];
  for (from += row * l->stride[0] * size; n > 0; from += l->stride[0] * size, col = 0) {
    const int64_t left = l->extent[1] - col, count = left < n ? left : n;
    copy_run(size, count, to, from + col * l->stride[1] * size, l->stride[1], repeat);
    to += count * size;
    n -= count;
  }
}

static void gather_plane(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to,
                         grad_repeat_fn repeat) {
  const int64_t columns = l->extent[1], row = pos / columns;
  const bool starts_row = row * columns == pos;
  if (starts_row && l->stride[0] == 0 && l->stride[1] == 1) {
    repeat_row(columns * size, n * size, from, to);
  } else if (starts_row && n % columns == 0 && l->stride[1] == 0 && columns <= 8) {
    BY_SIZE(spread_rows, n / columns, columns, l->stride[0], from + row * l->stride[0] * size, to);
  } else if (columns < SHORT_ROW) {
    BY_SIZE(gather, l, from, pos, n, to);
  } else {
    gather_rows(l, size, from, pos, n, to, repeat);
  }
}

/* More axes are walked a plane of the last two at a time. */
static void gather_planes(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to,
                          grad_repeat_fn repeat) {
  const int rows = l->naxes - 2, columns = l->naxes - 1;
  const grad_layout plane = {
      .naxes = 2, .extent = {l->extent[rows], l->extent[columns]}, .stride = {l->stride[rows], l->stride[columns]}};
  const int64_t elements = plane.extent[0] * plane.extent[1];
  while (n > 0) {
    int64_t index = pos / elements, offset = 0;
    const int64_t at = pos - index * elements, count = elements - at < n ? elements - at : n;
    for (int axis = rows - 1; axis >= 0; axis--) {
      const int64_t outer = index / l->extent[axis];
      offset += (index - outer * l->extent[axis]) * l->stride[axis];
      index = outer;
    }
    gather_plane(&plane, size, from + offset * size, at, count, to, repeat);
    to += count * size;
    pos += count;
    n -= count;
  }
}

void grad__layout_gather(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to,
                         grad_repeat_fn repeat) {
  if (l->naxes == 0) {
    repeat(n, size, to, from);
  } else if (l->naxes == 1) {
    copy_run(size, n, to, from + pos * l->stride[0] * size, l->stride[0], repeat);
  } else if (l->naxes == 2) {
    gather_plane(l, size, from, pos, n, to, repeat);
  } else {
    gather_planes(l, size, from, pos, n, to, repeat);
  }
}

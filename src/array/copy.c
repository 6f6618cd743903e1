/* copy.c: copying with conversion between any two layouts, and filling. */
#include "array/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* i64 from a float truncates towards zero; out of range gives the nearest integer, NaN gives 0 (C leaves both open). */
static inline int64_t i64_from(double x) {
  if (isnan(x)) return 0;
  if (x >= 0x1p63) return INT64_MAX;
  return x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

#define TO_BOOL(x) ((uint8_t)((x) != 0))
#define TO_F32(x) ((float)(x))
#define TO_F64(x) ((double)(x))
#define TO_I64(x) ((int64_t)(x))
#define TO_I64_CHECKED(x) i64_from((double)(x))

#define COPY(name, to_type, from_type, convert)                                                                        \
  static void name(int64_t n, void *restrict to, int64_t ts, const void *restrict from, int64_t fs) {                  \
    to_type *const t = to;                                                                                             \
    const from_type *const f = from;                                                                                   \
    if (ts == 1 && fs == 1) {                                                                                          \
      for (int64_t i = 0; i < n; i++) t[i] = convert(f[i]);                                                            \
    } else {                                                                                                           \
      for (int64_t i = 0; i < n; i++) t[i * ts] = convert(f[i * fs]);                                                  \
    }                                                                                                                  \
  }

COPY(bool_from_bool, uint8_t, uint8_t, TO_BOOL)
COPY(bool_from_i64, uint8_t, int64_t, TO_BOOL)
COPY(bool_from_f32, uint8_t, float, TO_BOOL)
COPY(bool_from_f64, uint8_t, double, TO_BOOL)
COPY(i64_from_bool, int64_t, uint8_t, TO_I64)
COPY(i64_from_i64, int64_t, int64_t, TO_I64)
COPY(i64_from_f32, int64_t, float, TO_I64_CHECKED)
COPY(i64_from_f64, int64_t, double, TO_I64_CHECKED)
COPY(f32_from_bool, float, uint8_t, TO_F32)
COPY(f32_from_i64, float, int64_t, TO_F32)
COPY(f32_from_f32, float, float, TO_F32)
COPY(f32_from_f64, float, double, TO_F32)
COPY(f64_from_bool, double, uint8_t, TO_F64)
COPY(f64_from_i64, double, int64_t, TO_F64)
COPY(f64_from_f32, double, float, TO_F64)
COPY(f64_from_f64, double, double, TO_F64)

static const grad_copier copies[4][4] = {
    [GRAD_BOOL] = {bool_from_bool, bool_from_i64, bool_from_f32, bool_from_f64},
    [GRAD_I64] = {i64_from_bool, i64_from_i64, i64_from_f32, i64_from_f64},
    [GRAD_F32] = {f32_from_bool, f32_from_i64, f32_from_f32, f32_from_f64},
    [GRAD_F64] = {f64_from_bool, f64_from_i64, f64_from_f32, f64_from_f64},
};

grad_copier grad__array_copier(grad_dtype to, grad_dtype from) { return copies[to][from]; }

/* Reorders the axes of both alike, so that `to` is written in the order of its memory. */
static void order_axes(grad_array *to, grad_array *from) {
  int axes[GRAD_MAX_AXES];
  for (int i = 0; i < to->ndim; i++) {
    int at = i;
    for (; at > 0 && llabs(to->strides[axes[at - 1]]) < llabs(to->strides[i]); at--) axes[at] = axes[at - 1];
    axes[at] = i;
  }
  grad__view_permute(to, axes, to);
  grad__view_permute(from, axes, from);
}

/* Copies rows x cols elements in tiles, so that both the written rows and the read columns stay in cache. */
enum { TILE = 32 };
typedef struct plane {
  int64_t rows, cols;
  int64_t to_row, to_col, from_row, from_col;
} plane;

static void copy_plane(const plane *p, grad_copier copy, char *to, size_t to_size, const char *from, size_t from_size) {
  for (int64_t col = 0; col < p->cols; col += TILE) {
    const int64_t n = p->cols - col < TILE ? p->cols - col : TILE;
    for (int64_t row = 0; row < p->rows; row++) {
      copy(n, to + (row * p->to_row + col * p->to_col) * (int64_t)to_size, p->to_col,
           from + (row * p->from_row + col * p->from_col) * (int64_t)from_size, p->from_col);
    }
  }
}

/* The axis along which `from` is contiguous while `to` is so along its last: then a plane of both is transposed. */
static int transposed_axis(const grad_array *to, const grad_array *from) {
  const int last = to->ndim - 1;
  if (last < 1 || from->strides[last] == 1 || from->strides[last] == 0) return -1;
  for (int i = 0; i < last; i++) {
    if (from->strides[i] == 1 && from->shape[i] > 1) return i;
  }
  return -1;
}

/* Runs of a few elements cost more than steps: a narrow plane is copied column by column. */
static plane turned_if_narrow(plane p) {
  enum { NARROW = 8 };
  if (p.cols >= NARROW || p.rows <= p.cols) return p;
  return (plane){.rows = p.cols,
                 .cols = p.rows,
                 .to_row = p.to_col,
                 .to_col = p.to_row,
                 .from_row = p.from_col,
                 .from_col = p.from_row};
}

static void copy_transposed(const grad_array *to, const grad_array *from, int axis, grad_copier copy) {
  const int last = to->ndim - 1;
  const plane p = turned_if_narrow((plane){.rows = to->shape[axis],
                                           .cols = to->shape[last],
                                           .to_row = to->strides[axis],
                                           .to_col = to->strides[last],
                                           .from_row = from->strides[axis],
                                           .from_col = from->strides[last]});
  grad_array outer_to, outer_from;
  grad__view_drop(to, last, 0, &outer_to);
  grad__view_drop(&outer_to, axis, 0, &outer_to);
  grad__view_drop(from, last, 0, &outer_from);
  grad__view_drop(&outer_from, axis, 0, &outer_from);
  grad_walk w;
  for (grad__walk_start(&w, 2, (const grad_array *[]){&outer_to, &outer_from}); !w.done; grad__walk_next(&w)) {
    for (int64_t i = 0; i < w.inner; i++) {
      copy_plane(&p, copy, w.at[0] + i * w.step[0] * (int64_t)w.size[0], w.size[0],
                 w.at[1] + i * w.step[1] * (int64_t)w.size[1], w.size[1]);
    }
  }
}

static bool same_layout(const grad_array *a, const grad_array *b) {
  if (a->data != b->data || a->dtype != b->dtype) return false;
  for (int i = 0; i < a->ndim; i++) {
    if (a->strides[i] != b->strides[i]) return false;
  }
  return true;
}

void grad__array_copy(const grad_array *to, const grad_array *from) {
  const grad_copier copy = copies[to->dtype][from->dtype];
  const int64_t numel = grad__array_numel(to);
  if (numel == 0 || same_layout(to, from)) return;
  if (to->dtype == from->dtype && grad__array_is_contiguous(to) && grad__array_is_contiguous(from)) {
    memcpy(to->data, from->data, (size_t)numel * grad__dtype_size(to->dtype));
    return;
  }
  grad_array t = *to, f = *from;
  order_axes(&t, &f);
  const int axis = transposed_axis(&t, &f);
  if (axis >= 0) {
    copy_transposed(&t, &f, axis, copy);
    return;
  }
  grad_walk w;
  for (grad__walk_start(&w, 2, (const grad_array *[]){&t, &f}); !w.done; grad__walk_next(&w)) {
    if (t.dtype == f.dtype && w.step[0] == 1 && w.step[1] == 1) {
      memcpy(w.at[0], w.at[1], (size_t)w.inner * w.size[0]);
    } else {
      copy(w.inner, w.at[0], w.step[0], w.at[1], w.step[1]);
    }
  }
}

void grad__array_fill(const grad_array *to, double value) {
  union {
    uint8_t b;
    int64_t i;
    float f;
    double d;
  } one;
  const grad_copier convert = copies[to->dtype][GRAD_F64], copy = copies[to->dtype][to->dtype];
  convert(1, &one, 1, &value, 1);
  const bool zero_bytes = value == 0 && !signbit(value);
  grad_array t = *to, same = *to;
  order_axes(&t, &same);
  grad_walk w;
  for (grad__walk_start(&w, 1, (const grad_array *[]){&t}); !w.done; grad__walk_next(&w)) {
    if (zero_bytes && w.step[0] == 1) {
      memset(w.at[0], 0, (size_t)w.inner * w.size[0]);
    } else {
      copy(w.inner, w.at[0], w.step[0], &one, 0);
    }
  }
}

/* window.c: sliding windows over planes; see window.h. */
#include "ops/window.h"

#include <math.h>

void grad__window_params(const grad_window *w, int64_t *params) {
  for (int i = 0; i < 2; i++) {
    params[i] = w->kernel[i];
    params[2 + i] = w->stride[i];
    params[4 + i] = w->padding[i];
    params[6 + i] = w->dilation[i];
  }
}

grad_window grad__window_of(const int64_t *params) {
  grad_window w = {{0}, {0}, {0}, {0}, {0}, {0}};
  for (int i = 0; i < 2; i++) {
    w.kernel[i] = params[i];
    w.stride[i] = params[2 + i];
    w.padding[i] = params[4 + i];
    w.dilation[i] = params[6 + i];
  }
  return w;
}

grad_status grad__window_fit(grad_ctx *ctx, const char *what, grad_window *w, const int64_t *in) {
  const int64_t most = INT32_MAX; /* keeps every product of two of these numbers far from overflow */
  for (int i = 0; i < 2; i++) {
    w->in[i] = in[i];
    if (w->kernel[i] < 1 || w->stride[i] < 1 || w->dilation[i] < 1 || w->padding[i] < 0)
      return grad__fail(ctx, GRAD_EVALUE,
                        "%s: kernel %lld, stride %lld and dilation %lld must be at least 1, padding %lld at least 0",
                        what, (long long)w->kernel[i], (long long)w->stride[i], (long long)w->dilation[i],
                        (long long)w->padding[i]);
    if (w->kernel[i] > most || w->stride[i] > most || w->dilation[i] > most || w->padding[i] > most || in[i] > most)
      return grad__fail(ctx, GRAD_EVALUE, "%s: kernel, stride, padding or dilation is too large", what);
    const int64_t reach = w->dilation[i] * (w->kernel[i] - 1) + 1, room = in[i] + 2 * w->padding[i];
    if (reach > room)
      return grad__fail(ctx, GRAD_ESHAPE,
                        "%s: a kernel of %lld (reaching over %lld with dilation) does not fit into %lld elements with "
                        "padding %lld on both sides",
                        what, (long long)w->kernel[i], (long long)reach, (long long)in[i], (long long)w->padding[i]);
    w->out[i] = (room - reach) / w->stride[i] + 1;
  }
  return GRAD_OK;
}

int64_t grad__window_holding(const grad_window *w, int i, int64_t k, int64_t at) {
  const int64_t from = at + w->padding[i] - k * w->dilation[i], t = from / w->stride[i];
  return from >= 0 && from % w->stride[i] == 0 && t < w->out[i] ? t : -1;
}

/* The windows along axis i whose element k lies inside the plane: from..to - 1; element k of window t is at[0] + t *
 * stride. */
typedef struct inside {
  int64_t first, from, to;
} inside;

static inside windows_inside(const grad_window *w, int i, int64_t k) {
  const int64_t first = k * w->dilation[i] - w->padding[i], stride = w->stride[i];
  inside r = {.first = first, .from = first >= 0 ? 0 : (-first + stride - 1) / stride};
  r.to = first < w->in[i] ? (w->in[i] - 1 - first) / stride + 1 : 0;
  if (r.to > w->out[i]) r.to = w->out[i];
  if (r.from > r.to) r.from = r.to;
  return r;
}

/* One row of windows. The loops are made for each step that is common, since only a step that is known when they are
 * compiled lets them run on vectors: a convolution spends most of its time here otherwise. */
#define ROWS(T, name)                                                                                                  \
  static inline void copy_##name(int64_t n, T *restrict y, const T *restrict x, int64_t step) {                        \
    for (int64_t u = 0; u < n; u++) y[u] = x[u * step];                                                                \
  }                                                                                                                    \
  static inline void add_##name(int64_t n, T *restrict x, int64_t step, const T *restrict y) {                         \
    for (int64_t u = 0; u < n; u++) x[u * step] += y[u];                                                               \
  }                                                                                                                    \
  static inline void larger_##name(int64_t n, T *restrict y, const T *restrict x, int64_t step) {                      \
    for (int64_t u = 0; u < n; u++) {                                                                                  \
      const T a = x[u * step];                                                                                         \
      y[u] = a > y[u] || a != a ? a : y[u];                                                                            \
    }                                                                                                                  \
  }
ROWS(double, f64)
ROWS(float, f32)

/* Windows one element apart, as many in a row as a row of the plane has elements in memory: then element k of all of
 * them is the plane itself, moved; what came from beyond the ends of its rows is overwritten. */
static bool is_moved_plane(const grad_window *w, const int64_t *step, inside h, inside v) {
  return w->stride[0] == 1 && w->stride[1] == 1 && step[1] == 1 && step[0] == w->out[1] && h.from < h.to &&
         v.from < v.to;
}

#define LOOPS(T, name)                                                                                                 \
  static void move_##name(const grad_window *w, inside h, inside v, const T *x, T *y) {                                \
    const int64_t width = w->out[1], outside = v.from + width - v.to;                                                  \
    copy_##name((h.to - h.from) * width - outside, y + h.from * width + v.from,                                        \
                x + (h.first + h.from) * width + v.first + v.from, 1);                                                 \
    for (int64_t i = 0; i < h.from * width; i++) y[i] = 0;                                                             \
    for (int64_t i = h.to * width; i < w->out[0] * width; i++) y[i] = 0;                                               \
    for (T *row = y + h.from * width; row < y + h.to * width; row += width) {                                          \
      for (int64_t u = 0; u < v.from; u++) row[u] = 0;                                                                 \
      for (int64_t u = v.to; u < width; u++) row[u] = 0;                                                               \
    }                                                                                                                  \
  }                                                                                                                    \
  static void unfold_##name(const grad_window *w, const T *x, const int64_t *step, T *y) {                             \
    for (int64_t kh = 0; kh < w->kernel[0]; kh++)                                                                      \
      for (int64_t kw = 0; kw < w->kernel[1]; kw++) {                                                                  \
        const inside h = windows_inside(w, 0, kh), v = windows_inside(w, 1, kw);                                       \
        const int64_t hop = w->stride[1] * step[1];                                                                    \
        if (is_moved_plane(w, step, h, v)) {                                                                           \
          move_##name(w, h, v, x, y);                                                                                  \
          y += w->out[0] * w->out[1];                                                                                  \
          continue;                                                                                                    \
        }                                                                                                              \
        for (int64_t t = 0; t < w->out[0]; t++, y += w->out[1]) {                                                      \
          const bool row_inside = t >= h.from && t < h.to;                                                             \
          const int64_t from = row_inside ? v.from : 0, to = row_inside ? v.to : 0;                                    \
          const int64_t row = (h.first + t * w->stride[0]) * step[0] + v.first * step[1];                              \
          for (int64_t u = 0; u < from; u++) y[u] = 0;                                                                 \
          if (hop == 1 && to > from) {                                                                                 \
            copy_##name(to - from, y + from, x + row + from, 1);                                                       \
          } else if (to > from) {                                                                                      \
            copy_##name(to - from, y + from, x + row + from * hop, hop);                                               \
          }                                                                                                            \
          for (int64_t u = to; u < w->out[1]; u++) y[u] = 0;                                                           \
        }                                                                                                              \
      }                                                                                                                \
  }                                                                                                                    \
  static void fold_##name(const grad_window *w, const T *y, T *x) {                                                    \
    for (int64_t kh = 0; kh < w->kernel[0]; kh++)                                                                      \
      for (int64_t kw = 0; kw < w->kernel[1]; kw++, y += w->out[0] * w->out[1]) {                                      \
        const inside h = windows_inside(w, 0, kh), v = windows_inside(w, 1, kw);                                       \
        for (int64_t t = h.from; t < h.to; t++) {                                                                      \
          const int64_t row = (h.first + t * w->stride[0]) * w->in[1] + v.first;                                       \
          const T *from = y + t * w->out[1];                                                                           \
          T *const to = x + row + v.from * w->stride[1];                                                               \
          if (w->stride[1] == 1) {                                                                                     \
            add_##name(v.to - v.from, to, 1, from + v.from);                                                           \
          } else {                                                                                                     \
            add_##name(v.to - v.from, to, w->stride[1], from + v.from);                                                \
          }                                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
  }                                                                                                                    \
  static void max_##name(const grad_window *w, const T *x, const int64_t *step, T *y) {                                \
    for (int64_t i = 0; i < w->out[0] * w->out[1]; i++) y[i] = -(T)INFINITY;                                           \
    for (int64_t kh = 0; kh < w->kernel[0]; kh++)                                                                      \
      for (int64_t kw = 0; kw < w->kernel[1]; kw++) {                                                                  \
        const inside h = windows_inside(w, 0, kh), v = windows_inside(w, 1, kw);                                       \
        const int64_t hop = w->stride[1] * step[1];                                                                    \
        for (int64_t t = h.from; t < h.to; t++) {                                                                      \
          const int64_t row = (h.first + t * w->stride[0]) * step[0] + v.first * step[1];                              \
          T *const to = y + t * w->out[1] + v.from;                                                                    \
          const T *const from = x + row + v.from * hop;                                                                \
          if (hop == 1) {                                                                                              \
            larger_##name(v.to - v.from, to, from, 1);                                                                 \
          } else if (hop == 2) {                                                                                       \
            larger_##name(v.to - v.from, to, from, 2);                                                                 \
          } else {                                                                                                     \
            larger_##name(v.to - v.from, to, from, hop);                                                               \
          }                                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
  }
LOOPS(double, f64)
LOOPS(float, f32)

void grad__window_unfold(const grad_window *w, grad_dtype dtype, const void *plane, const int64_t *step, void *cols) {
  if (dtype == GRAD_F32)
    unfold_f32(w, plane, step, cols);
  else
    unfold_f64(w, plane, step, cols);
}

void grad__window_fold(const grad_window *w, grad_dtype dtype, const void *cols, void *plane) {
  if (dtype == GRAD_F64)
    fold_f64(w, cols, plane);
  else
    fold_f32(w, cols, plane);
}

void grad__window_max(const grad_window *w, grad_dtype dtype, const void *plane, const int64_t *step, void *out) {
  if (dtype == GRAD_F64)
    max_f64(w, plane, step, out);
  else
    max_f32(w, plane, step, out);
}

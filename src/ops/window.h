/* window.h: the geometry of sliding windows over planes (the last two axes), and the loops that convolution and pooling
 * share. Element k of window t along an axis is element t * stride - padding + k * dilation of the plane; outside it
 * there are zeros (for max: nothing). */
#ifndef GRAD_OPS_WINDOW_H
#define GRAD_OPS_WINDOW_H

#include "program/opdef.h"

/* Each pair: rows, columns. */
typedef struct grad_window {
  int64_t kernel[2], stride[2], padding[2], dilation[2];
  int64_t in[2], out[2]; /* extents of the plane; how many windows */
} grad_window;

/* As params: kernel, stride, padding, dilation, pair by pair. */
enum { GRAD_WINDOW_PARAMS = 8 };
void grad__window_params(const grad_window *w, int64_t *params);
grad_window grad__window_of(const int64_t *params);

/* Sets `in` and counts the windows; fails when the geometry is not possible. what: name of the op, for the message. */
grad_status grad__window_fit(grad_ctx *ctx, const char *what, grad_window *w, const int64_t *in);

/* The window along axis i (0: rows, 1: columns) whose element k is element `at` of the plane; -1: there is none. */
int64_t grad__window_holding(const grad_window *w, int i, int64_t k, int64_t at);

/* One plane with its steps in elements. unfold: to kernel x out, row-major; also of i64, as it only moves elements.
 * fold: its transpose, adds to a row-major plane. max: to out, row-major; NaN wins. f64 and f32. */
void grad__window_unfold(const grad_window *w, grad_dtype dtype, const void *plane, const int64_t *step, void *cols);
void grad__window_fold(const grad_window *w, grad_dtype dtype, const void *cols, void *plane);
void grad__window_max(const grad_window *w, grad_dtype dtype, const void *plane, const int64_t *step, void *out);

#endif

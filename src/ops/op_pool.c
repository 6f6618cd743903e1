/* op_pool.c: sliding windows over the last two axes, and pooling.
 *
 * windows       ... H W -> ... KH KW TH TW      params  window (window.h); outside the plane are zeros
 * fold_windows  ... KH KW TH TW -> ... H W      params  window, H, W; adds up: the transpose of windows
 * max_pool      ... H W -> ... TH TW            params  window without padding
 *
 * max_pool only has its own value; its derivative is that of a maximum over the axes that windows makes. */
#include <math.h>
#include <string.h>

#include "ops/axes.h"
#include "ops/compose.h"
#include "ops/structured.h"
#include "ops/window.h"

static grad_status infer_plane(grad_infer *a, int axes) {
  const grad_type *x = &a->in[0];
  if (x->ndim < axes)
    return grad__fail(a->ctx, GRAD_ESHAPE, "%s: expected at least %d axes, got %s", a->op->name, axes,
                      grad__type_text(x).chars);
  if (!grad__dtype_is_float(x->dtype))
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: expected f64 or f32, got %s", a->op->name, grad__type_text(x).chars);
  return GRAD_OK;
}

/* The geometry that infer has checked. */
static grad_window window_over(const grad_eval *a, const int64_t *plane) {
  grad_window w = grad__window_of(a->ins->params);
  grad__window_fit(a->ctx, a->ins->op->name, &w, plane);
  return w;
}

/* Calls `run` for every plane of a; `out` goes on by `bytes` each time. */
static void each_plane(const grad_array *a, const grad_window *w, char *out, int64_t bytes,
                       void (*run)(const grad_window *w, grad_dtype dtype, const void *plane, const int64_t *step,
                                   void *out)) {
  if (grad__array_numel(a) == 0) return;
  const size_t size = grad__dtype_size(a->dtype);
  grad_axes at;
  grad__axes_of(a, 0, a->ndim - 2, &at);
  do {
    run(w, a->dtype, (const char *)a->data + at.offset * (int64_t)size, a->strides + a->ndim - 2, out);
    out += bytes;
  } while (grad__axes_next(&at));
}

/* --- windows */

static grad_status windows_infer(grad_infer *a) {
  grad_status status = infer_plane(a, 2);
  if (status != GRAD_OK) return status;
  const grad_type *x = &a->in[0];
  grad_window w = grad__window_of(a->params);
  status = grad__window_fit(a->ctx, "windows", &w, x->shape + x->ndim - 2);
  if (status != GRAD_OK) return status;
  int64_t shape[GRAD_MAX_AXES + 2];
  memcpy(shape, x->shape, sizeof *shape * x->ndim);
  int64_t *const last = shape + x->ndim - 2;
  memcpy(last, w.kernel, sizeof w.kernel);
  memcpy(last + 2, w.out, sizeof w.out);
  return grad__infer_out(a, 0, x->dtype, x->ndim + 2, shape);
}

static grad_status windows_eval(const grad_eval *a) {
  const grad_array *x = a->in[0];
  const grad_window w = window_over(a, x->shape + x->ndim - 2);
  const int64_t cols = w.kernel[0] * w.kernel[1] * w.out[0] * w.out[1];
  each_plane(x, &w, a->out[0]->data, cols * (int64_t)grad__dtype_size(x->dtype), grad__window_unfold);
  return GRAD_OK;
}

static void windows_transpose(grad_transpose *a) {
  int64_t params[GRAD_WINDOW_PARAMS + 2];
  memcpy(params, a->ins->params, GRAD_WINDOW_PARAMS * sizeof *params);
  memcpy(params + GRAD_WINDOW_PARAMS, a->xt[0].shape + a->xt[0].ndim - 2, 2 * sizeof *params);
  a->cx[0] = grad__emit1(a->p, &grad__op_fold_windows, a->cy[0], GRAD_WINDOW_PARAMS + 2, params);
}

const grad_op grad__op_windows = {.name = "windows",
                                  .nin = 1,
                                  .nout = 1,
                                  .sparsity = GRAD_SPARSITY_MAP,
                                  .flags = GRAD_OP_LINEAR,
                                  .infer = windows_infer,
                                  .eval = windows_eval,
                                  .transpose = windows_transpose,
                                  .batch = grad__batch_same};

/* --- fold_windows */

static grad_status fold_infer(grad_infer *a) {
  grad_status status = infer_plane(a, 4);
  if (status != GRAD_OK) return status;
  const grad_type *y = &a->in[0];
  grad_window w = grad__window_of(a->params);
  status = grad__window_fit(a->ctx, "fold_windows", &w, a->params + GRAD_WINDOW_PARAMS);
  if (status != GRAD_OK) return status;
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, y->shape, sizeof *shape * y->ndim);
  int64_t *const last = shape + y->ndim - 4;
  if (memcmp(last, w.kernel, sizeof w.kernel) != 0 || memcmp(last + 2, w.out, sizeof w.out) != 0) {
    return grad__fail(a->ctx, GRAD_ESHAPE, "fold_windows: shape %s is not that of windows over %lld x %lld",
                      grad__shape_text(y->ndim, y->shape).chars, (long long)w.in[0], (long long)w.in[1]);
  }
  memcpy(last, w.in, sizeof w.in);
  return grad__infer_out(a, 0, y->dtype, y->ndim - 2, shape);
}

static int64_t fold_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *y = grad__type(p, ins->in[0]);
  int64_t n = (int64_t)grad__dtype_size(y->dtype);
  for (int i = y->ndim - 4; i < y->ndim; i++) n *= y->shape[i];
  return n;
}

static grad_status fold_eval(const grad_eval *a) {
  const grad_array *y = a->in[0];
  const grad_window w = window_over(a, a->ins->params + GRAD_WINDOW_PARAMS);
  const int64_t size = (int64_t)grad__dtype_size(y->dtype);
  const int64_t bytes = grad__array_numel(a->out[0]) * size;
  if (bytes > 0) memset(a->out[0]->data, 0, (size_t)bytes);
  if (bytes == 0 || grad__array_numel(y) == 0) return GRAD_OK;
  grad_array from = *y, copy;
  from.ndim = 4;
  memcpy(from.shape, y->shape + y->ndim - 4, 4 * sizeof *from.shape);
  memcpy(from.strides, y->strides + y->ndim - 4, 4 * sizeof *from.strides);
  grad__array_wrap(&copy, a->scratch, y->dtype, 4, from.shape);
  grad_axes at;
  grad__axes_of(y, 0, y->ndim - 4, &at);
  char *to = a->out[0]->data;
  do {
    from.data = (char *)y->data + at.offset * size;
    const bool as_is = grad__array_is_contiguous(&from);
    if (!as_is) grad__array_copy(&copy, &from);
    grad__window_fold(&w, y->dtype, as_is ? from.data : copy.data, to);
    to += w.in[0] * w.in[1] * size;
  } while (grad__axes_next(&at));
  return GRAD_OK;
}

/* An element of the plane, on the windows that hold it. */
static grad_status fold_dependence(grad_sparsity *a) {
  grad_window w = grad__window_of(a->ins->params);
  grad_status status = grad__window_fit(a->p->ctx, "fold_windows", &w, a->ins->params + GRAD_WINDOW_PARAMS);
  const int64_t plane = w.in[0] * w.in[1], row = a->element % plane / w.in[1], column = a->element % w.in[1];
  const int64_t places = w.out[0] * w.out[1], first = a->element / plane * w.kernel[0] * w.kernel[1] * places;
  for (int64_t i = 0; i < w.kernel[0]; i++)
    for (int64_t k = 0; k < w.kernel[1] && status == GRAD_OK; k++) {
      const int64_t t = grad__window_holding(&w, 0, i, row), u = grad__window_holding(&w, 1, k, column);
      if (t >= 0 && u >= 0) status = a->add(a, 0, first + ((i * w.kernel[1] + k) * w.out[0] + t) * w.out[1] + u);
    }
  return status;
}

static void fold_transpose(grad_transpose *a) {
  a->cx[0] = grad__emit1(a->p, &grad__op_windows, a->cy[0], GRAD_WINDOW_PARAMS, a->ins->params);
}

const grad_op grad__op_fold_windows = {.name = "fold_windows",
                                       .nin = 1,
                                       .nout = 1,
                                       .sparsity = GRAD_SPARSITY_CUSTOM,
                                       .dependence = fold_dependence,
                                       .flags = GRAD_OP_LINEAR,
                                       .infer = fold_infer,
                                       .eval = fold_eval,
                                       .scratch = fold_scratch,
                                       .transpose = fold_transpose,
                                       .batch = grad__batch_same};

/* --- max_pool */

static grad_status max_pool_infer(grad_infer *a) {
  grad_status status = infer_plane(a, 2);
  if (status != GRAD_OK) return status;
  const grad_type *x = &a->in[0];
  grad_window w = grad__window_of(a->params);
  status = grad__window_fit(a->ctx, "max_pool2d", &w, x->shape + x->ndim - 2);
  if (status != GRAD_OK) return status;
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, x->shape, sizeof *shape * x->ndim);
  memcpy(shape + x->ndim - 2, w.out, sizeof w.out);
  return grad__infer_out(a, 0, x->dtype, x->ndim, shape);
}

static grad_status max_pool_eval(const grad_eval *a) {
  const grad_array *x = a->in[0];
  const grad_window w = window_over(a, x->shape + x->ndim - 2);
  each_plane(x, &w, a->out[0]->data, w.out[0] * w.out[1] * (int64_t)grad__dtype_size(x->dtype), grad__window_max);
  return GRAD_OK;
}

static grad_id windows_of(grad_program *p, grad_id x, const int64_t *params) {
  return grad__emit1(p, &grad__op_windows, x, GRAD_WINDOW_PARAMS, params);
}

/* A window's largest, on all of the window. */
static grad_status max_pool_dependence(grad_sparsity *a) {
  const grad_type *x = grad__type(a->p, a->ins->in[0]);
  grad_window w = grad__window_of(a->ins->params);
  grad_status status = grad__window_fit(a->p->ctx, "max_pool2d", &w, x->shape + x->ndim - 2);
  const int64_t places = w.out[0] * w.out[1], t = a->element % places / w.out[1], u = a->element % w.out[1];
  for (int64_t i = 0; i < w.kernel[0]; i++)
    for (int64_t k = 0; k < w.kernel[1] && status == GRAD_OK; k++) {
      const int64_t row = t * w.stride[0] + i * w.dilation[0], column = u * w.stride[1] + k * w.dilation[1];
      status = a->add(a, 0, (a->element / places * w.in[0] + row) * w.in[1] + column);
    }
  return status;
}

static void max_pool_jvp(grad_jvp *a) {
  if (a->y[0] == GRAD_NONE) return;
  const uint32_t axes = 3u << (grad__ndim(a->p, a->y[0]) - 2);
  const int64_t *params = a->ins->params;
  a->dy[0] =
      grad__shared_tangent(a->p, windows_of(a->p, a->x[0], params), a->y[0], windows_of(a->p, a->dx[0], params), axes);
}

static double max_pool_flops(const grad_program *p, const grad_instr *ins) {
  return (double)grad__type_numel(grad__type(p, ins->out)) * (double)(ins->params[0] * ins->params[1]);
}

const grad_op grad__op_max_pool = {.name = "max_pool",
                                   .nin = 1,
                                   .nout = 1,
                                   .sparsity = GRAD_SPARSITY_CUSTOM,
                                   .dependence = max_pool_dependence,
                                   .infer = max_pool_infer,
                                   .eval = max_pool_eval,
                                   .jvp = max_pool_jvp,
                                   .batch = grad__batch_same,
                                   .flops = max_pool_flops};

/* --- builders */

static bool pool_params(grad_program *p, const char *name, grad_id x, const grad_pool2d *pool, bool pads,
                        int64_t *params) {
  if (grad__ndim(p, x) < 2) {
    const grad_type *t = grad__type(p, x);
    grad__program_fail(p, GRAD_ESHAPE, "%s: expected images ... H W, got shape %s", name,
                       grad__shape_text(t->ndim, t->shape).chars);
    return false;
  }
  grad_window w = {.dilation = {1, 1}};
  for (int i = 0; i < 2; i++) {
    w.kernel[i] = pool->kernel[i];
    w.stride[i] = pool->stride[i];
    w.padding[i] = pads ? pool->padding[i] : 0;
    if (pool->padding[i] < 0 || pool->padding[i] > pool->kernel[i] / 2) {
      grad__program_fail(p, GRAD_EVALUE, "%s: padding %lld must be at least 0 and at most half of the window, %lld",
                         name, (long long)pool->padding[i], (long long)pool->kernel[i]);
      return false;
    }
  }
  grad__window_params(&w, params);
  return true;
}

grad_id grad__max_pool2d(grad_program *p, grad_id x, const grad_pool2d *pool) {
  int64_t params[GRAD_WINDOW_PARAMS];
  x = grad__as_float(p, x);
  if (x == GRAD_NONE || !pool_params(p, "max_pool2d", x, pool, false, params)) return GRAD_NONE;
  int64_t around[GRAD_MAX_AXES] = {0};
  memcpy(around + grad__ndim(p, x) - 2, pool->padding, sizeof pool->padding);
  if (pool->padding[0] || pool->padding[1]) x = grad__pad(p, x, around, around, -(double)INFINITY);
  return grad__emit1(p, &grad__op_max_pool, x, GRAD_WINDOW_PARAMS, params);
}

grad_id grad__avg_pool2d(grad_program *p, grad_id x, const grad_pool2d *pool) {
  int64_t params[GRAD_WINDOW_PARAMS];
  x = grad__as_float(p, x);
  if (x == GRAD_NONE || !pool_params(p, "avg_pool2d", x, pool, true, params)) return GRAD_NONE;
  const uint32_t axes = 3u << (grad__ndim(p, x) - 2);
  return grad__mean(p, windows_of(p, x, params), axes, false);
}

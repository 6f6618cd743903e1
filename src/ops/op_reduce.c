/* op_reduce.c: sum, prod, max, min, any, all, argmax, argmin.
 *
 * params  reductions: {bit mask of the axes that go}   argmax, argmin: {axis}
 * The axes go; a builder that keeps them with extent 1 adds a reshape, which costs nothing. */
#include "ops/demand.h"
#include "ops/reduce.h"
#include "ops/structured.h"

/* --- what all have in common */

static grad_status infer_dtype(grad_infer *a, bool allowed, const char *expected) {
  if (allowed) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_EDTYPE, "%s: expected %s, got %s", a->op->name, expected,
                    grad__dtype_name(a->in[0].dtype));
}

static grad_status infer_reduced(grad_infer *a) {
  const grad_type *x = &a->in[0];
  if (a->params[0] >= 0 && a->params[0] <= grad__all_axes(x->ndim))
    return grad__infer_reduced(a, x->dtype, (uint32_t)a->params[0]);
  return grad__fail(a->ctx, GRAD_EVALUE, "%s: an axis does not exist in an array with %d axes", a->op->name, x->ndim);
}

/* max and min of nothing do not exist */
static grad_status infer_nonempty(grad_infer *a) {
  const grad_type *x = &a->in[0];
  for (int i = 0; i < x->ndim; i++)
    if (a->params[0] >> i & 1 && x->shape[i] == 0) {
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: axis %d of shape %s has no elements", a->op->name, i + 1,
                        grad__shape_text(x->ndim, x->shape).chars);
    }
  return GRAD_OK;
}

static grad_status reduce_eval(const grad_eval *a) {
  const grad_reduction kind = (grad_reduction)a->ins->op->row;
  return grad__reduce_run(a->ctx, kind, a->in[0], (uint32_t)a->ins->params[0], a->out[0]);
}

static void batch_axes(grad_batch *a) { grad__batch_with(a, (const int64_t[]){a->ins->params[0] << 1}); }

static void crop_axes(grad_crop *a) { grad__crop_reduced(a, (uint32_t)a->ins->params[0]); }

static double flops_input(const grad_program *p, const grad_instr *ins) {
  return (double)grad__type_numel(grad__type(p, ins->in[0]));
}

/* What the reductions differ in follows their kind (a grad_reduction, as `row`): flags, infer, and the rule of
 * derivatives if there is one. */
#define REDUCTION(id, kind, depends, ...)                                                                              \
  const grad_op grad__op_##id = {                                                                                      \
      .name = #id,                                                                                                     \
      .nin = 1,                                                                                                        \
      .nout = 1,                                                                                                       \
      .row = kind,                                                                                                     \
      .sparsity = depends,                                                                                             \
      .eval = reduce_eval,                                                                                             \
      .batch = batch_axes,                                                                                             \
      .crop = crop_axes,                                                                                               \
      .flops = flops_input,                                                                                            \
      __VA_ARGS__,                                                                                                     \
  };

/* v, which lacks the axes of the mask, repeated along them: the shape of t again. */
static grad_id spread(grad_program *p, grad_id v, const grad_type *t, uint32_t axes) {
  int64_t shape[GRAD_MAX_AXES] = {0};
  for (int i = 0; i < t->ndim; i++) shape[i] = axes >> i & 1 ? 1 : t->shape[i];
  return grad__broadcast(p, grad__reshape(p, v, t->ndim, shape), t->ndim, t->shape);
}

/* A reduction of a permuted value is the permuted reduction: memory is then read in its own order. */
static grad_id reduce_permuted(grad_program *p, const grad_op *op, const grad_instr *permute, uint32_t axes) {
  const int ndim = permute->nparams;
  const int64_t *source = permute->params;
  uint32_t from = 0;
  for (int i = 0; i < ndim; i++) from |= (axes >> i & 1) << source[i];
  int order[GRAD_MAX_AXES], n = 0;
  for (int i = 0; i < ndim; i++) {
    if (axes >> i & 1) continue;
    order[n] = 0; /* place of the source axis among those that stay */
    for (int64_t k = 0; k < source[i]; k++) order[n] += !(from >> k & 1);
    n++;
  }
  return grad__permute(p, grad__emit1(p, op, permute->in[0], 1, (const int64_t[]){from}), order);
}

grad_id grad__reduce(grad_program *p, const grad_op *op, grad_id a, uint32_t axes, bool keepdim) {
  if (a == GRAD_NONE) return a;
  grad_dtype dtype = grad__type(p, a)->dtype;
  if (op == &grad__op_any || op == &grad__op_all)
    dtype = GRAD_BOOL;
  else if (dtype == GRAD_BOOL && (op == &grad__op_sum || op == &grad__op_prod))
    dtype = GRAD_I64;
  a = grad__convert(p, a, dtype);
  const grad_type t = *grad__type(p, a);
  int64_t kept[GRAD_MAX_AXES], dropped[GRAD_MAX_AXES];
  int ndropped = 0;
  bool single = axes <= grad__all_axes(t.ndim); /* each reduced axis has extent 1: nothing is combined */
  for (int i = 0; i < t.ndim; i++) {
    const bool goes = axes >> i & 1;
    kept[i] = goes ? 1 : t.shape[i];
    if (!goes)
      dropped[ndropped++] = t.shape[i];
    else
      single = single && t.shape[i] == 1;
  }
  const grad_instr *made_by = grad__producer(p, a);
  grad_id y;
  if (single)
    y = grad__reshape(p, a, ndropped, dropped);
  else if (made_by && made_by->op == &grad__op_permute && axes <= grad__all_axes(t.ndim))
    y = reduce_permuted(p, op, made_by, axes);
  else
    y = grad__emit1(p, op, a, 1, (const int64_t[]){axes});
  return keepdim ? grad__reshape(p, y, t.ndim, kept) : y;
}

/* --- sum */

static grad_status sum_infer(grad_infer *a) {
  const grad_status status = infer_dtype(a, a->in[0].dtype != GRAD_BOOL, "numbers");
  return status == GRAD_OK ? infer_reduced(a) : status;
}

static void sum_transpose(grad_transpose *a) {
  a->cx[0] = spread(a->p, a->cy[0], &a->xt[0], (uint32_t)a->ins->params[0]);
}

REDUCTION(sum, GRAD_REDUCE_SUM, GRAD_SPARSITY_REDUCE, .flags = GRAD_OP_LINEAR, .infer = sum_infer,
          .transpose = sum_transpose)

grad_id grad__sum(grad_program *p, grad_id a, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_sum, a, axes, keepdim);
}

grad_id grad__sum_to(grad_program *p, grad_id a, int ndim, const int64_t *shape) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  uint32_t axes = 0;
  for (int i = 0; i < t->ndim; i++) {
    const int k = i - (t->ndim - ndim);
    if (k < 0 || (shape[k] == 1 && t->shape[i] != 1)) axes |= 1u << i;
  }
  return grad__reshape(p, axes ? grad__sum(p, a, axes, false) : a, ndim, shape);
}

/* --- prod */

grad_id grad__merge_axes(grad_program *p, grad_id x, uint32_t axes) {
  if (x == GRAD_NONE) return x;
  const grad_type t = *grad__type(p, x);
  int order[GRAD_MAX_AXES], ndim = 0, moved = 0;
  int64_t shape[GRAD_MAX_AXES], length = 1;
  for (int i = 0; i < t.ndim; i++)
    if (!(axes >> i & 1)) {
      shape[ndim] = t.shape[i];
      order[ndim++] = i;
    }
  for (int i = 0; i < t.ndim; i++)
    if (axes >> i & 1) {
      length *= t.shape[i];
      order[ndim + moved++] = i;
    }
  shape[ndim] = length;
  return grad__reshape(p, grad__permute(p, x, order), ndim + 1, shape);
}

/* Products of pairs along the last axis until one factor is left, each pair with its product rule: right where factors
 * are zero, one or several, and to every order, with O(n) work and no division. */
static void prod_jvp(grad_jvp *a) {
  grad_program *p = a->p;
  const uint32_t axes = (uint32_t)a->ins->params[0];
  grad_id x = grad__merge_axes(p, a->x[0], axes), dx = grad__merge_axes(p, a->dx[0], axes);
  if (x == GRAD_NONE || dx == GRAD_NONE) return;
  const int last = grad__ndim(p, x) - 1;
  if (grad__extent(p, x, last) == 0) return;
  for (int64_t n = grad__extent(p, x, last); n > 1; n = (n + 1) / 2) {
    const int64_t half = n / 2;
    const grad_id l = grad__slice_axis(p, x, last, 0, half, 1), r = grad__slice_axis(p, x, last, half, half, 1);
    const grad_id dl = grad__slice_axis(p, dx, last, 0, half, 1), dr = grad__slice_axis(p, dx, last, half, half, 1);
    const grad_id y = grad__mul(p, l, r), dy = grad__add(p, grad__mulz(p, dl, r), grad__mulz(p, dr, l));
    const grad_id odd = grad__slice_axis(p, x, last, n - 1, n % 2, 1);
    const grad_id dodd = grad__slice_axis(p, dx, last, n - 1, n % 2, 1);
    x = n % 2 ? grad__concat(p, 2, (const grad_id[]){y, odd}, last) : y;
    dx = n % 2 ? grad__concat(p, 2, (const grad_id[]){dy, dodd}, last) : dy;
    if (x == GRAD_NONE || dx == GRAD_NONE) return;
  }
  a->dy[0] = grad__drop_axis(p, dx, last);
}

REDUCTION(prod, GRAD_REDUCE_PROD, GRAD_SPARSITY_REDUCE, .infer = sum_infer, .jvp = prod_jvp)

/* --- max, min */

static grad_status extremum_infer(grad_infer *a) {
  const grad_status status = infer_reduced(a);
  return status == GRAD_OK ? infer_nonempty(a) : status;
}

grad_id grad__shared_tangent(grad_program *p, grad_id x, grad_id y, grad_id dx, uint32_t axes) {
  if (x == GRAD_NONE || y == GRAD_NONE || dx == GRAD_NONE) return GRAD_NONE;
  const grad_type t = *grad__type(p, x);
  const grad_id tied = grad__op2(p, &grad__op_eq, x, spread(p, y, &t, axes));
  const grad_id mask = grad__convert(p, tied, t.dtype);
  const grad_id share = grad__div(p, mask, spread(p, grad__sum(p, mask, axes, false), &t, axes));
  return grad__sum(p, grad__mulz(p, dx, share), axes, false);
}

static void extremum_jvp(grad_jvp *a) {
  a->dy[0] = grad__shared_tangent(a->p, a->x[0], a->y[0], a->dx[0], (uint32_t)a->ins->params[0]);
}

REDUCTION(max, GRAD_REDUCE_MAX, GRAD_SPARSITY_REDUCE, .infer = extremum_infer, .jvp = extremum_jvp)
REDUCTION(min, GRAD_REDUCE_MIN, GRAD_SPARSITY_REDUCE, .infer = extremum_infer, .jvp = extremum_jvp)

grad_id grad__max(grad_program *p, grad_id a, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_max, a, axes, keepdim);
}

/* --- any, all */

static grad_status logical_infer(grad_infer *a) {
  const grad_status status = infer_dtype(a, a->in[0].dtype == GRAD_BOOL, "bool");
  return status == GRAD_OK ? infer_reduced(a) : status;
}

REDUCTION(any, GRAD_REDUCE_ANY, GRAD_SPARSITY_NONE, .flags = GRAD_OP_NONDIFF, .infer = logical_infer)
REDUCTION(all, GRAD_REDUCE_ALL, GRAD_SPARSITY_NONE, .flags = GRAD_OP_NONDIFF, .infer = logical_infer)

/* --- argmax, argmin: the first position that attains the extremum; of NaN, when there is one, the first */

static grad_status arg_infer(grad_infer *a) {
  const grad_status status = grad__infer_axis(a);
  if (status != GRAD_OK) return status;
  const grad_type *x = &a->in[0];
  const int64_t axis = a->params[0];
  if (x->shape[axis] > 0) return grad__infer_reduced(a, GRAD_I64, 1u << axis);
  return grad__fail(a->ctx, GRAD_ESHAPE, "%s: axis %lld of shape %s has no elements", a->op->name, (long long)axis + 1,
                    grad__shape_text(x->ndim, x->shape).chars);
}

/* y beats x when it goes further in the direction asked for, or is NaN; nothing beats NaN. Elements are looked at in
 * groups, since few groups hold a better one: a comparison of a whole group is a few vector instructions. */
#define FIRST(name, T, BEATS)                                                                                          \
  static int64_t name(const void *from, int64_t n, int64_t step) {                                                     \
    enum { GROUP = 16 };                                                                                               \
    const T *x = from;                                                                                                 \
    int64_t best = 0, i = 1;                                                                                           \
    while (i < n && x[best * step] == x[best * step]) {                                                                \
      const T value = x[best * step];                                                                                  \
      int beaten = 0;                                                                                                  \
      if (step == 1 && i + GROUP <= n) {                                                                               \
        for (int k = 0; k < GROUP; k++) beaten |= BEATS(x[i + k], value);                                              \
        if (!beaten) {                                                                                                 \
          i += GROUP;                                                                                                  \
          continue;                                                                                                    \
        }                                                                                                              \
      }                                                                                                                \
      if (BEATS(x[i * step], value)) best = i;                                                                         \
      i++;                                                                                                             \
    }                                                                                                                  \
    return best;                                                                                                       \
  }
/* The same for `width` neighbouring lines at once, row by row. */
#define FIRSTS(name, T, BEATS)                                                                                         \
  static void name(const void *from, int64_t n, int64_t step, int64_t width, int64_t *to) {                            \
    const T *x = from;                                                                                                 \
    T value[ARG_COLUMNS];                                                                                              \
    for (int64_t c = 0; c < width; c++) {                                                                              \
      value[c] = x[c];                                                                                                 \
      to[c] = 0;                                                                                                       \
    }                                                                                                                  \
    for (int64_t i = 1; i < n; i++)                                                                                    \
      for (int64_t c = 0; c < width; c++) {                                                                            \
        const T next = x[i * step + c];                                                                                \
        const bool beaten = BEATS(next, value[c]) & (value[c] == value[c]);                                            \
        to[c] = beaten ? i : to[c];                                                                                    \
        value[c] = beaten ? next : value[c];                                                                           \
      }                                                                                                                \
  }
#define FLOAT_ABOVE(y, x) (!((y) <= (x)))
#define FLOAT_BELOW(y, x) (!((y) >= (x)))
#define INT_ABOVE(y, x) ((y) > (x))
#define INT_BELOW(y, x) ((y) < (x))

enum { ARG_COLUMNS = 64 };

typedef struct arg_loops {
  int64_t (*one)(const void *x, int64_t n, int64_t step);
  void (*many)(const void *x, int64_t n, int64_t step, int64_t width, int64_t *to);
} arg_loops;

#define ARGS(name, T, BEATS)                                                                                           \
  FIRST(first_##name, T, BEATS)                                                                                        \
  FIRSTS(firsts_##name, T, BEATS)
ARGS(max_f64, double, FLOAT_ABOVE)
ARGS(max_f32, float, FLOAT_ABOVE)
ARGS(max_i64, int64_t, INT_ABOVE)
ARGS(max_bool, uint8_t, INT_ABOVE)
ARGS(min_f64, double, FLOAT_BELOW)
ARGS(min_f32, float, FLOAT_BELOW)
ARGS(min_i64, int64_t, INT_BELOW)
ARGS(min_bool, uint8_t, INT_BELOW)

static void arg_run(const grad_eval *a, const arg_loops *loops) {
  const grad_array *x = a->in[0];
  const int axis = (int)a->ins->params[0];
  const int64_t n = x->shape[axis], step = x->strides[axis];
  grad_array heads; /* first element along the axis, one for each result */
  grad__view_drop(x, axis, 0, &heads);
  const grad_array *walked[] = {a->out[0], &heads};
  grad_walk w;
  for (grad__walk_start(&w, 2, walked); !w.done; grad__walk_next(&w)) {
    const bool rows = step != 1 && w.step[0] == 1 && w.step[1] == 1;
    for (int64_t i = 0; i < w.inner; i += rows ? ARG_COLUMNS : 1) {
      int64_t *to = (int64_t *)(void *)w.at[0] + i * w.step[0];
      const char *from = w.at[1] + i * w.step[1] * (int64_t)w.size[1];
      if (rows)
        loops->many(from, n, step, w.inner - i < ARG_COLUMNS ? w.inner - i : ARG_COLUMNS, to);
      else
        *to = loops->one(from, n, step);
    }
  }
}

enum { LARGEST, SMALLEST };

static grad_status arg_eval(const grad_eval *a) {
#define OF(name)                                                                                                       \
  { first_##name, firsts_##name }
  static const arg_loops loops[][GRAD_F64 + 1] = {
      [LARGEST] = {OF(max_bool), OF(max_i64), OF(max_f32), OF(max_f64)},
      [SMALLEST] = {OF(min_bool), OF(min_i64), OF(min_f32), OF(min_f64)},
  };
#undef OF
  arg_run(a, &loops[a->ins->op->row][a->in[0]->dtype]);
  return GRAD_OK;
}

static void arg_crop(grad_crop *a) { grad__crop_reduced(a, 1u << a->ins->params[0]); }

#define ARG_EXTREMUM(id, which)                                                                                        \
  const grad_op grad__op_##id = {                                                                                      \
      .name = #id,                                                                                                     \
      .nin = 1,                                                                                                        \
      .nout = 1,                                                                                                       \
      .row = which,                                                                                                    \
      .sparsity = GRAD_SPARSITY_NONE,                                                                                  \
      .flags = GRAD_OP_NONDIFF,                                                                                        \
      .infer = arg_infer,                                                                                              \
      .eval = arg_eval,                                                                                                \
      .batch = grad__batch_axis,                                                                                       \
      .crop = arg_crop,                                                                                                \
      .flops = flops_input,                                                                                            \
  };
ARG_EXTREMUM(argmax, LARGEST)
ARG_EXTREMUM(argmin, SMALLEST)

grad_id grad__arg_extremum(grad_program *p, const grad_op *op, grad_id a, int axis) {
  return grad__emit1(p, op, a, 1, (const int64_t[]){axis});
}

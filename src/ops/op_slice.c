/* op_slice.c: slice, unslice, concat: taking pieces of an array and putting pieces together.
 *
 * params, with n axes
 *   slice    {start x n, count x n, step x n}; element i of an axis is element start + i * step; a step may be negative
 *   unslice  {full extent x n, start x n, step x n}; the piece's extents are the counts; everything else is zero
 *   concat   {axis}
 *
 * unslice is the transpose of slice. The gradient of x[1] + ... + x[T] is a chain add(unslice, add(unslice, ...)): run
 * as it stands that costs O(T) for each step, so exec adds such chains in place.
 */
#include "ops/demand.h"
#include "ops/structured.h"

#include <string.h>

/* Do the positions start, start + step, ... (count of them) lie in [0, extent)? */
static bool range_fits(int64_t extent, int64_t start, int64_t count, int64_t step) {
  if (count < 0 || (step == 0 && count > 1)) return false;
  if (count == 0) return true;
  int64_t span, last;
  if (!grad__mul_i64(count - 1, step, &span) || !grad__add_i64(start, span, &last)) return false;
  return start >= 0 && start < extent && last >= 0 && last < extent;
}

static grad_status range_fail(grad_infer *a, int axis, int64_t extent, int64_t start, int64_t count, int64_t step) {
  return grad__fail(
      a->ctx, GRAD_EINDEX,
      "%s: %lld elements from position %lld in steps of %lld leave axis %d, which has positions 1 to %lld", a->op->name,
      (long long)count, (long long)start + 1, (long long)step, axis + 1, (long long)extent);
}

static grad_status wrong_params(grad_infer *a) {
  return grad__fail(a->ctx, GRAD_EVALUE, "%s: %d numbers describe the piece of an array with %d axes, expected %d",
                    a->op->name, a->nparams, a->in[0].ndim, 3 * a->in[0].ndim);
}

/* --- slice */

static grad_status slice_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  const int n = x->ndim;
  if (a->nparams != 3 * n) return wrong_params(a);
  const int64_t *start = a->params, *count = start + n, *step = count + n;
  for (int i = 0; i < n; i++)
    if (!range_fits(x->shape[i], start[i], count[i], step[i]))
      return range_fail(a, i, x->shape[i], start[i], count[i], step[i]);
  return grad__infer_out(a, 0, x->dtype, n, count);
}

/* The view of `whole` that a slice reads, or an unslice writes. */
static void piece_view(const grad_array *whole, const int64_t *start, const int64_t *count, const int64_t *step,
                       grad_array *out) {
  *out = *whole;
  for (int i = 0; i < whole->ndim; i++) {
    const grad_array axis_before = *out;
    grad__view_slice(&axis_before, i, count[i] > 0 ? start[i] : 0, count[i], step[i], out);
  }
}

static bool slice_view(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out) {
  (void)out_type;
  const int n = in->ndim;
  piece_view(in, ins->params, ins->params + n, ins->params + 2 * n, out);
  return true;
}

static grad_status slice_eval(const grad_eval *a) {
  grad_array view;
  slice_view(a->ins, a->in[0], NULL, &view);
  grad__array_copy(a->out[0], &view);
  return GRAD_OK;
}

static void slice_transpose(grad_transpose *a) {
  const int n = a->xt[0].ndim;
  a->cx[0] = grad__unslice(a->p, a->cy[0], n, a->xt[0].shape, a->ins->params, a->ins->params + 2 * n);
}

static void slice_batch(grad_batch *a) {
  const int n = a->xt[0].ndim;
  const int64_t *params = a->ins->params;
  int64_t start[GRAD_MAX_AXES + 1] = {0}, count[GRAD_MAX_AXES + 1] = {a->size}, step[GRAD_MAX_AXES + 1] = {1};
  for (int i = 0; i < n; i++) {
    start[i + 1] = params[i];
    count[i + 1] = params[n + i];
    step[i + 1] = params[2 * n + i];
  }
  a->y[0] = grad__slice(a->p, a->x[0], start, count, step);
}

static void slice_crop(grad_crop *a) {
  const int n = grad__type(a->from, a->ins->out)->ndim;
  const int64_t *start = a->ins->params, *step = start + 2 * n;
  grad_range in[GRAD_MAX_AXES];
  int64_t first[GRAD_MAX_AXES], count[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) {
    const grad_range *box = &a->box[0][i];
    const int64_t from = start[i] + box->from * step[i], last = start[i] + (box->to - 1) * step[i];
    count[i] = box->to - box->from;
    in[i] =
        count[i] == 0 ? (grad_range){0, 0} : (grad_range){from < last ? from : last, (from < last ? last : from) + 1};
    first[i] = from - in[i].from;
  }
  a->y[0] = grad__slice(a->p, grad__crop_operand(a, 0, in), first, count, step);
}

const grad_op grad__op_slice = {
    .name = "slice",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR | GRAD_OP_VIEW,
    .infer = slice_infer,
    .eval = slice_eval,
    .view = slice_view,
    .transpose = slice_transpose,
    .batch = slice_batch,
    .crop = slice_crop,
};

grad_id grad__slice(grad_program *p, grad_id a, const int64_t *start, const int64_t *count, const int64_t *step) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  const int n = t->ndim;
  int64_t params[3 * (GRAD_MAX_AXES + 1)];
  bool whole = true;
  for (int i = 0; i < n; i++) {
    params[i] = start[i];
    params[n + i] = count[i];
    params[2 * n + i] = count[i] == 1 ? 1 : step[i]; /* one spelling for one meaning, so that equal slices are shared */
    whole = whole && count[i] == t->shape[i] && (count[i] == 0 || (start[i] == 0 && params[2 * n + i] == 1));
  }
  if (whole) return a;
  return grad__emit1(p, &grad__op_slice, a, 3 * n, params);
}

grad_id grad__slice_axis(grad_program *p, grad_id a, int axis, int64_t start, int64_t count, int64_t step) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  int64_t starts[GRAD_MAX_AXES] = {0}, counts[GRAD_MAX_AXES], steps[GRAD_MAX_AXES];
  for (int i = 0; i < t->ndim; i++) {
    starts[i] = i == axis ? start : 0;
    counts[i] = i == axis ? count : t->shape[i];
    steps[i] = i == axis ? step : 1;
  }
  return grad__slice(p, a, starts, counts, steps);
}

/* --- unslice */

static grad_status unslice_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  const int n = x->ndim;
  if (a->nparams != 3 * n) return wrong_params(a);
  const int64_t *full = a->params, *start = full + n, *step = start + n;
  for (int i = 0; i < n; i++)
    if (!range_fits(full[i], start[i], x->shape[i], step[i]))
      return range_fail(a, i, full[i], start[i], x->shape[i], step[i]);
  return grad__infer_out(a, 0, x->dtype, n, full);
}

static grad_status unslice_eval(const grad_eval *a) {
  const grad_array *x = a->in[0];
  const int n = x->ndim;
  if (grad__array_numel(x) < grad__array_numel(a->out[0]))
    memset(a->out[0]->data, 0, (size_t)grad__array_numel(a->out[0]) * grad__dtype_size(x->dtype));
  grad_array place;
  piece_view(a->out[0], a->ins->params + n, x->shape, a->ins->params + 2 * n, &place);
  grad__array_copy(&place, x);
  return GRAD_OK;
}

static void unslice_transpose(grad_transpose *a) {
  const int n = a->xt[0].ndim;
  a->cx[0] = grad__slice(a->p, a->cy[0], a->ins->params + n, a->xt[0].shape, a->ins->params + 2 * n);
}

static void unslice_batch(grad_batch *a) {
  const int n = a->xt[0].ndim;
  const int64_t *params = a->ins->params;
  int64_t full[GRAD_MAX_AXES + 1] = {a->size}, start[GRAD_MAX_AXES + 1] = {0}, step[GRAD_MAX_AXES + 1] = {1};
  for (int i = 0; i < n; i++) {
    full[i + 1] = params[i];
    start[i + 1] = params[n + i];
    step[i + 1] = params[2 * n + i];
  }
  a->y[0] = grad__unslice(a->p, a->x[0], n + 1, full, start, step);
}

static int64_t between(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* The elements i of an axis of the piece, [0, count), that lie at positions start + i * step inside of the box. */
static grad_range elements_inside(const grad_range *box, int64_t start, int64_t count, int64_t step) {
  const int64_t by = step < 0 ? -step : step ? step : 1;
  const int64_t before = step < 0 ? start - box->to + 1 : box->from - start; /* positions from element 0 to the box */
  const int64_t after = before + box->to - box->from;
  const int64_t from = between(before <= 0 ? 0 : (before - 1) / by + 1, 0, count);
  return (grad_range){from, between(after <= 0 ? 0 : (after - 1) / by + 1, from, count)};
}

static void unslice_crop(grad_crop *a) {
  const grad_type *piece = grad__type(a->from, a->ins->in[0]);
  const int n = piece->ndim;
  const int64_t *start = a->ins->params + n, *step = start + n;
  grad_range in[GRAD_MAX_AXES];
  int64_t full[GRAD_MAX_AXES], first[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) {
    const grad_range *box = &a->box[0][i];
    in[i] = elements_inside(box, start[i], piece->shape[i], step[i]);
    full[i] = box->to - box->from;
    first[i] = start[i] + in[i].from * step[i] - box->from;
  }
  a->y[0] = grad__unslice(a->p, grad__crop_operand(a, 0, in), n, full, first, step);
}

const grad_op grad__op_unslice = {
    .name = "unslice",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR,
    .infer = unslice_infer,
    .eval = unslice_eval,
    .transpose = unslice_transpose,
    .batch = unslice_batch,
    .crop = unslice_crop,
};

grad_id grad__unslice(grad_program *p, grad_id a, int ndim, const int64_t *full, const int64_t *start,
                      const int64_t *step) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  double value;
  if (ndim == t->ndim && grad__is_const(p, a, &value) && value == 0) return grad__full(p, 0, t->dtype, ndim, full);
  int64_t params[3 * (GRAD_MAX_AXES + 1)];
  bool whole = ndim == t->ndim;
  for (int i = 0; i < ndim; i++) {
    params[i] = full[i];
    params[ndim + i] = start[i];
    params[2 * ndim + i] = i < t->ndim && t->shape[i] == 1 ? 1 : step[i];
    whole = whole && t->shape[i] == full[i] && (full[i] == 0 || (start[i] == 0 && params[2 * ndim + i] == 1));
  }
  if (whole) return a;
  return grad__emit1(p, &grad__op_unslice, a, 3 * ndim, params);
}

/* --- concat */

static grad_status concat_infer(grad_infer *a) {
  if (a->nin < 1) return grad__fail(a->ctx, GRAD_EVALUE, "concat: needs at least one array");
  const grad_type *first = &a->in[0];
  const int64_t axis = a->params[0];
  const grad_status status = grad__infer_axis(a);
  if (status != GRAD_OK) return status;
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, first->shape, sizeof *shape * first->ndim);
  for (int i = 1; i < a->nin; i++) {
    const grad_type *t = &a->in[i];
    bool fits = t->ndim == first->ndim && t->dtype == first->dtype;
    for (int k = 0; fits && k < t->ndim; k++) fits = k == axis || t->shape[k] == first->shape[k];
    if (!fits)
      return grad__fail(a->ctx, t->dtype == first->dtype ? GRAD_ESHAPE : GRAD_EDTYPE,
                        "concat: part %d (%s) must agree with part 1 (%s) in dtype and in all but axis %lld", i + 1,
                        grad__type_text(t).chars, grad__type_text(first).chars, (long long)axis + 1);
    if (!grad__add_i64(shape[axis], t->shape[axis], &shape[axis]))
      return grad__fail(a->ctx, GRAD_ESHAPE, "concat: axis %lld gets too long", (long long)axis + 1);
  }
  return grad__infer_out(a, 0, first->dtype, first->ndim, shape);
}

static grad_status concat_eval(const grad_eval *a) {
  const int axis = (int)a->ins->params[0];
  int64_t at = 0;
  for (int i = 0; i < a->ins->nin; i++) {
    const int64_t count = a->in[i]->shape[axis];
    if (count == 0) continue;
    grad_array place;
    grad__view_slice(a->out[0], axis, at, count, 1, &place);
    grad__array_copy(&place, a->in[i]);
    at += count;
  }
  return GRAD_OK;
}

static void concat_transpose(grad_transpose *a) {
  const int axis = (int)a->ins->params[0];
  int64_t at = 0;
  for (int i = 0; i < a->ins->nin; i++) {
    const int64_t count = a->xt[i].shape[axis];
    if (a->linear[i]) a->cx[i] = grad__slice_axis(a->p, a->cy[0], axis, at, count, 1);
    at += count;
  }
}

/* Of each part what lies inside of the box; parts outside of it are left out. */
static void concat_crop(grad_crop *a) {
  const int axis = (int)a->ins->params[0], ndim = grad__type(a->from, a->ins->out)->ndim;
  grad_range in[GRAD_MAX_AXES];
  memcpy(in, a->box[0], (size_t)ndim * sizeof *in);
  const grad_range wanted = in[axis];
  int64_t at = 0;
  int n = 0;
  for (int32_t k = 0; k < a->ins->nin; k++) {
    const int64_t extent = grad__type(a->from, a->ins->in[k])->shape[axis];
    in[axis] = (grad_range){between(wanted.from - at, 0, extent), between(wanted.to - at, 0, extent)};
    if (in[axis].from < in[axis].to) a->in[n++] = grad__crop_operand(a, k, in);
    at += extent;
  }
  if (n > 0) {
    a->y[0] = grad__concat(a->p, n, a->in, axis);
  } else {
    grad__crop_keep(a);
  }
}

const grad_op grad__op_concat = {
    .name = "concat",
    .nin = -1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR,
    .infer = concat_infer,
    .eval = concat_eval,
    .transpose = concat_transpose,
    .batch = grad__batch_axis,
    .crop = concat_crop,
};

/* Parts of different dtypes are promoted; a single part is itself. */
grad_id grad__concat(grad_program *p, int n, const grad_id *parts, int axis) {
  if (n < 1) return grad__program_fail(p, GRAD_EVALUE, "concat: needs at least one array");
  grad_dtype dtype = GRAD_BOOL;
  for (int i = 0; i < n; i++) {
    if (parts[i] == GRAD_NONE) return GRAD_NONE;
    dtype = grad__dtype_promote(dtype, grad__type(p, parts[i])->dtype);
  }
  grad_id *in = grad__arena_copy(&p->arena, parts, (size_t)n * sizeof *parts);
  if (!in) return grad__program_fail(p, GRAD_ENOMEM, "out of memory");
  for (int i = 0; i < n; i++) in[i] = grad__convert(p, parts[i], dtype);
  if (n == 1 && axis >= 0 && axis < grad__ndim(p, in[0])) return in[0];
  return grad__emit(p, &grad__op_concat, n, in, 1, (const int64_t[]){axis});
}

/* --- pad: a composition */

/* x with `value` before and after along one axis. */
static grad_id pad_axis(grad_program *p, grad_id x, int axis, int64_t before, int64_t after, double value) {
  if (x == GRAD_NONE) return x;
  const grad_type *t = grad__type(p, x);
  const grad_dtype dtype = t->dtype;
  const int ndim = t->ndim;
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, t->shape, sizeof *shape * (size_t)ndim);
  grad_id parts[3];
  int n = 0;
  shape[axis] = before;
  if (before > 0) parts[n++] = grad__full(p, value, dtype, ndim, shape);
  parts[n++] = x;
  shape[axis] = after;
  if (after > 0) parts[n++] = grad__full(p, value, dtype, ndim, shape);
  return grad__concat(p, n, parts, axis);
}

grad_id grad__pad(grad_program *p, grad_id a, const int64_t *before, const int64_t *after, double value) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  const int n = t->ndim;
  int64_t full[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) {
    step[i] = 1;
    if (before[i] < 0 || after[i] < 0)
      return grad__program_fail(p, GRAD_EVALUE, "pad: %lld before and %lld after axis %d; neither may be negative",
                                (long long)before[i], (long long)after[i], i + 1);
    if (!grad__add_i64(t->shape[i], before[i], &full[i]) || !grad__add_i64(full[i], after[i], &full[i]))
      return grad__program_fail(p, GRAD_ESHAPE, "pad: axis %d gets too long", i + 1);
  }
  if (value == 0) return grad__unslice(p, a, n, full, before, step);
  for (int i = 0; i < n; i++) a = pad_axis(p, a, i, before[i], after[i], value);
  return a;
}

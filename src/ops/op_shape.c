/* op_shape.c: convert, broadcast, reshape, permute, stop_gradient: the ops that change how elements are read, not which
 * there are.
 *
 * params  convert: {dtype}   broadcast, reshape: {target extents}   permute: {source axis of each axis}
 */
#include "ops/demand.h"
#include "ops/structured.h"

#include <math.h>

/* --- convert */

static grad_status convert_infer(grad_infer *a) {
  return grad__infer_out(a, 0, (grad_dtype)a->params[0], a->in[0].ndim, a->in[0].shape);
}

static grad_status convert_eval(const grad_eval *a) {
  grad__array_copy(a->out[0], a->in[0]);
  return GRAD_OK;
}

static void convert_jvp(grad_jvp *a) {
  const grad_dtype to = (grad_dtype)a->ins->params[0];
  if (grad__dtype_is_float(to)) a->dy[0] = grad__convert(a->p, a->dx[0], to);
}

static void convert_transpose(grad_transpose *a) { a->cx[0] = grad__convert(a->p, a->cy[0], a->xt[0].dtype); }

const grad_op grad__op_convert = {
    .name = "convert",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_ELEMENTWISE,
    .infer = convert_infer,
    .eval = convert_eval,
    .jvp = convert_jvp,
    .transpose = convert_transpose,
    .batch = grad__batch_same,
    .crop = grad__crop_same,
};

grad_id grad__convert(grad_program *p, grad_id a, grad_dtype dtype) {
  if (a == GRAD_NONE || grad__type(p, a)->dtype == dtype) return a;
  double value;
  if (grad__is_const(p, a, &value)) {
    if (dtype == GRAD_BOOL) value = value != 0;
    if (dtype == GRAD_I64) value = trunc(value);
    const grad_type *t = grad__type(p, a);
    return grad__full(p, value, dtype, t->ndim, t->shape);
  }
  return grad__emit1(p, &grad__op_convert, a, 1, (const int64_t[]){dtype});
}

/* --- broadcast */

static grad_status broadcast_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  int64_t shape[GRAD_MAX_AXES];
  int ndim = 0;
  const grad_status status = grad__infer_out(a, 0, x->dtype, a->nparams, a->params);
  if (status != GRAD_OK) return status;
  if (grad__shape_broadcast(x->ndim, x->shape, a->nparams, a->params, &ndim, shape) &&
      grad__shape_equal(ndim, shape, a->nparams, a->params))
    return GRAD_OK;
  return grad__fail(
      a->ctx, GRAD_ESHAPE,
      "broadcast: shape %s does not broadcast to %s; extents, matched from the last axis, must be equal or 1",
      grad__shape_text(x->ndim, x->shape).chars, grad__shape_text(a->nparams, a->params).chars);
}

static bool broadcast_view(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out) {
  (void)ins;
  return grad__view_broadcast(in, out_type->ndim, out_type->shape, out);
}

static grad_status broadcast_eval(const grad_eval *a) {
  grad_array view;
  grad__view_broadcast(a->in[0], a->out[0]->ndim, a->out[0]->shape, &view);
  grad__array_copy(a->out[0], &view);
  return GRAD_OK;
}

static void broadcast_transpose(grad_transpose *a) {
  a->cx[0] = grad__sum_to(a->p, a->cy[0], a->xt[0].ndim, a->xt[0].shape);
}

/* The batch axis must stay in front of the axes that the broadcast adds. */
static void broadcast_batch(grad_batch *a) {
  const int nx = a->xt[0].ndim, ny = a->ins->nparams;
  int64_t aligned[GRAD_MAX_AXES + 1] = {a->size}, shape[GRAD_MAX_AXES + 1] = {a->size};
  for (int i = 0; i < ny; i++) {
    aligned[i + 1] = i < ny - nx ? 1 : a->xt[0].shape[i - (ny - nx)];
    shape[i + 1] = a->ins->params[i];
  }
  a->y[0] = grad__broadcast(a->p, grad__reshape(a->p, a->x[0], ny + 1, aligned), ny + 1, shape);
}

/* An axis that repeats its only element takes that element. */
static void broadcast_crop(grad_crop *a) {
  const grad_type *x = grad__type(a->from, a->ins->in[0]);
  const int ndim = a->ins->nparams, added = ndim - x->ndim;
  grad_range in[GRAD_MAX_AXES];
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < x->ndim; i++) in[i] = x->shape[i] == 1 ? (grad_range){0, 1} : a->box[0][added + i];
  for (int i = 0; i < ndim; i++) shape[i] = a->box[0][i].to - a->box[0][i].from;
  a->y[0] = grad__broadcast(a->p, grad__crop_operand(a, 0, in), ndim, shape);
}

const grad_op grad__op_broadcast = {
    .name = "broadcast",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR | GRAD_OP_VIEW,
    .infer = broadcast_infer,
    .eval = broadcast_eval,
    .view = broadcast_view,
    .transpose = broadcast_transpose,
    .batch = broadcast_batch,
    .crop = broadcast_crop,
};

grad_id grad__broadcast(grad_program *p, grad_id a, int ndim, const int64_t *shape) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  if (grad__shape_equal(t->ndim, t->shape, ndim, shape)) return a;
  double value;
  int64_t joint[GRAD_MAX_AXES];
  int njoint;
  if (ndim <= GRAD_MAX_AXES && grad__is_const(p, a, &value) &&
      grad__shape_broadcast(t->ndim, t->shape, ndim, shape, &njoint, joint) &&
      grad__shape_equal(njoint, joint, ndim, shape))
    return grad__full(p, value, t->dtype, ndim, shape);
  return grad__emit1(p, &grad__op_broadcast, a, ndim, shape);
}

/* --- reshape */

static grad_status reshape_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  const grad_status status = grad__infer_out(a, 0, x->dtype, a->nparams, a->params);
  if (status != GRAD_OK) return status;
  int64_t from, to;
  grad__shape_numel(x->ndim, x->shape, &from);
  grad__shape_numel(a->nparams, a->params, &to);
  if (from == to) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_ESHAPE, "reshape: shape %s (%lld elements) does not fit into %s (%lld elements)",
                    grad__shape_text(x->ndim, x->shape).chars, (long long)from,
                    grad__shape_text(a->nparams, a->params).chars, (long long)to);
}

static bool reshape_view(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out) {
  (void)ins;
  return grad__view_reshape(in, out_type->ndim, out_type->shape, out);
}

static grad_status reshape_eval(const grad_eval *a) {
  grad_array as_input;
  grad__array_wrap(&as_input, a->out[0]->data, a->in[0]->dtype, a->in[0]->ndim, a->in[0]->shape);
  grad__array_copy(&as_input, a->in[0]);
  return GRAD_OK;
}

static void reshape_transpose(grad_transpose *a) {
  a->cx[0] = grad__reshape(a->p, a->cy[0], a->xt[0].ndim, a->xt[0].shape);
}

static void reshape_batch(grad_batch *a) {
  int64_t shape[GRAD_MAX_AXES + 1] = {a->size};
  for (int i = 0; i < a->ins->nparams; i++) shape[i + 1] = a->ins->params[i];
  a->y[0] = grad__reshape(a->p, a->x[0], a->ins->nparams + 1, shape);
}

grad_axes_pair grad__reshape_group_end(const grad_type *x, const grad_type *y, grad_axes_pair begin) {
  grad_axes_pair at = begin;
  int64_t nx = 1, ny = 1;
  do {
    if (at.y == y->ndim || (at.x < x->ndim && nx <= ny)) {
      nx *= x->shape[at.x++];
    } else {
      ny *= y->shape[at.y++];
    }
  } while (nx != ny);
  return at;
}

/* The first axes of a group, but for those of extent 1, are cut where rows of both begin; the others stay whole. */
static void crop_group(const grad_type *x, const grad_type *y, grad_axes_pair from, grad_axes_pair to,
                       const grad_range *box, grad_range *in, grad_range *made) {
  while (from.x < to.x && x->shape[from.x] == 1) from.x++;
  while (from.y < to.y && y->shape[from.y] == 1) from.y++;
  if (from.x == to.x || from.y == to.y) return;
  int64_t row_x = 1, row_y = 1;
  for (int i = from.x + 1; i < to.x; i++) row_x *= x->shape[i];
  for (int i = from.y + 1; i < to.y; i++) row_y *= y->shape[i];
  const grad_range wanted = {box[from.y].from * row_y, box[from.y].to * row_y};
  const grad_range rows = {wanted.from / row_x, (wanted.to + row_x - 1) / row_x};
  if (rows.from * row_x % row_y || rows.to * row_x % row_y) return;
  in[from.x] = rows;
  made[from.y] = (grad_range){rows.from * row_x / row_y, rows.to * row_x / row_y};
}

static void reshape_crop(grad_crop *a) {
  const grad_type *x = grad__type(a->from, a->ins->in[0]), *y = grad__type(a->from, a->ins->out);
  grad_range in[GRAD_MAX_AXES], made[GRAD_MAX_AXES];
  int64_t shape[GRAD_MAX_AXES];
  grad__box_whole(x, in);
  grad__box_whole(y, made);
  if (grad__type_numel(x) > 0) {
    for (grad_axes_pair at = {0, 0}, end; at.x < x->ndim || at.y < y->ndim; at = end) {
      end = grad__reshape_group_end(x, y, at);
      crop_group(x, y, at, end, a->box[0], in, made);
    }
  }
  grad__box_type(y, made, shape);
  a->y[0] =
      grad__crop_between(a->p, grad__reshape(a->p, grad__crop_operand(a, 0, in), y->ndim, shape), made, a->box[0]);
}

const grad_op grad__op_reshape = {
    .name = "reshape",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR | GRAD_OP_VIEW,
    .infer = reshape_infer,
    .eval = reshape_eval,
    .view = reshape_view,
    .transpose = reshape_transpose,
    .batch = reshape_batch,
    .crop = reshape_crop,
};

grad_id grad__reshape(grad_program *p, grad_id a, int ndim, const int64_t *shape) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  int64_t from, to;
  const bool fits = ndim <= GRAD_MAX_AXES && grad__shape_numel(t->ndim, t->shape, &from) &&
                    grad__shape_numel(ndim, shape, &to) && from == to;
  if (!fits) return grad__emit1(p, &grad__op_reshape, a, ndim, shape);
  const grad_instr *made_by = grad__producer(p, a);
  if (made_by && made_by->op == &grad__op_reshape) a = made_by->in[0];
  t = grad__type(p, a);
  if (grad__shape_equal(t->ndim, t->shape, ndim, shape)) return a;
  double value;
  if (grad__is_const(p, a, &value)) return grad__full(p, value, t->dtype, ndim, shape);
  return grad__emit1(p, &grad__op_reshape, a, ndim, shape);
}

grad_id grad__insert_axis(grad_program *p, grad_id a, int axis) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  int64_t shape[GRAD_MAX_AXES + 1];
  for (int i = 0; i <= t->ndim; i++) shape[i] = i < axis ? t->shape[i] : i == axis ? 1 : t->shape[i - 1];
  return grad__reshape(p, a, t->ndim + 1, shape);
}

grad_id grad__drop_axis(grad_program *p, grad_id a, int axis) {
  if (a == GRAD_NONE) return a;
  const grad_type *t = grad__type(p, a);
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i + 1 < t->ndim; i++) shape[i] = t->shape[i < axis ? i : i + 1];
  return grad__reshape(p, a, t->ndim - 1, shape);
}

/* --- permute */

static grad_status permute_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  uint32_t seen = 0;
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < a->nparams && i < x->ndim; i++) {
    const int64_t axis = a->params[i];
    if (axis < 0 || axis >= x->ndim) break;
    seen |= 1u << axis;
    shape[i] = x->shape[axis];
  }
  if (a->nparams == x->ndim && seen == grad__all_axes(x->ndim)) return grad__infer_out(a, 0, x->dtype, x->ndim, shape);
  return grad__fail(a->ctx, GRAD_ESHAPE, "permute: every axis of shape %s must be named exactly once",
                    grad__shape_text(x->ndim, x->shape).chars);
}

static void permute_axes(const grad_instr *ins, int *axes) {
  for (int i = 0; i < ins->nparams; i++) axes[i] = (int)ins->params[i];
}

static bool permute_view(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out) {
  (void)out_type;
  int axes[GRAD_MAX_AXES];
  permute_axes(ins, axes);
  grad__view_permute(in, axes, out);
  return true;
}

static grad_status permute_eval(const grad_eval *a) {
  grad_array view;
  permute_view(a->ins, a->in[0], NULL, &view);
  grad__array_copy(a->out[0], &view);
  return GRAD_OK;
}

static void permute_transpose(grad_transpose *a) {
  int inverse[GRAD_MAX_AXES];
  for (int i = 0; i < a->ins->nparams; i++) inverse[a->ins->params[i]] = i;
  a->cx[0] = grad__permute(a->p, a->cy[0], inverse);
}

static void permute_batch(grad_batch *a) {
  int axes[GRAD_MAX_AXES + 1] = {0};
  for (int i = 0; i < a->ins->nparams; i++) axes[i + 1] = (int)a->ins->params[i] + 1;
  a->y[0] = grad__permute(a->p, a->x[0], axes);
}

static void permute_crop(grad_crop *a) {
  int axes[GRAD_MAX_AXES];
  grad_range in[GRAD_MAX_AXES];
  permute_axes(a->ins, axes);
  for (int i = 0; i < a->ins->nparams; i++) in[axes[i]] = a->box[0][i];
  a->y[0] = grad__permute(a->p, grad__crop_operand(a, 0, in), axes);
}

const grad_op grad__op_permute = {
    .name = "permute",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_MAP,
    .flags = GRAD_OP_LINEAR | GRAD_OP_VIEW,
    .infer = permute_infer,
    .eval = permute_eval,
    .view = permute_view,
    .transpose = permute_transpose,
    .batch = permute_batch,
    .crop = permute_crop,
};

grad_id grad__permute(grad_program *p, grad_id a, const int *axes) {
  if (a == GRAD_NONE) return a;
  const int ndim = grad__ndim(p, a);
  int64_t params[GRAD_MAX_AXES];
  for (int i = 0; i < ndim; i++) params[i] = axes[i];
  const grad_instr *made_by = grad__producer(p, a);
  if (made_by && made_by->op == &grad__op_permute) {
    for (int i = 0; i < ndim; i++)
      if (axes[i] >= 0 && axes[i] < ndim) params[i] = made_by->params[axes[i]];
    a = made_by->in[0];
  }
  bool identity = true;
  for (int i = 0; i < ndim; i++) identity = identity && params[i] == i;
  if (identity) return a;
  return grad__emit1(p, &grad__op_permute, a, ndim, params);
}

grad_id grad__swap_axes(grad_program *p, grad_id a, int i, int j) {
  if (a == GRAD_NONE) return a;
  int axes[GRAD_MAX_AXES];
  for (int k = 0; k < grad__ndim(p, a); k++) axes[k] = k == i ? j : k == j ? i : k;
  return grad__permute(p, a, axes);
}

/* --- stop_gradient */

static grad_status stop_infer(grad_infer *a) {
  return grad__infer_out(a, 0, a->in[0].dtype, a->in[0].ndim, a->in[0].shape);
}

static bool stop_view(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out) {
  (void)ins, (void)out_type;
  *out = *in;
  return true;
}

const grad_op grad__op_stop_gradient = {
    .name = "stop_gradient",
    .nin = 1,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_NONE,
    .flags = GRAD_OP_NONDIFF | GRAD_OP_VIEW,
    .infer = stop_infer,
    .eval = convert_eval,
    .view = stop_view,
    .batch = grad__batch_same,
    .crop = grad__crop_same,
};

grad_id grad__stop_gradient(grad_program *p, grad_id x) { return grad__emit1(p, &grad__op_stop_gradient, x, 0, NULL); }

/* op_const.c: values that come from no other value: constants, numbers given at each run, positions.
 *
 * params  full: {dtype, grad__bits(value), extents}   scalar: {k, dtype}   iota: {dtype, axis, extents}
 */
#include "ops/demand.h"
#include "ops/structured.h"

static grad_status full_infer(grad_infer *a) {
  return grad__infer_out(a, 0, (grad_dtype)a->params[0], a->nparams - 2, a->params + 2);
}

static grad_status full_eval(const grad_eval *a) {
  grad__array_fill(a->out[0], grad__unbits(a->ins->params[1]));
  return GRAD_OK;
}

static void full_crop(grad_crop *a) {
  int64_t shape[GRAD_MAX_AXES];
  const grad_type part = grad__box_type(grad__type(a->from, a->ins->out), a->box[0], shape);
  a->y[0] = grad__full(a->p, grad__unbits(a->ins->params[1]), part.dtype, part.ndim, part.shape);
}

const grad_op grad__op_full = {
    .name = "full",
    .nin = 0,
    .nout = 1,
    .flags = GRAD_OP_NONDIFF,
    .sparsity = GRAD_SPARSITY_NONE,
    .infer = full_infer,
    .eval = full_eval,
    .crop = full_crop,
};

static grad_status scalar_infer(grad_infer *a) { return grad__infer_out(a, 0, (grad_dtype)a->params[1], 0, NULL); }

static grad_status scalar_eval(const grad_eval *a) {
  grad__array_fill(a->out[0], a->scalars[a->ins->params[0]]);
  return GRAD_OK;
}

const grad_op grad__op_scalar = {
    .name = "scalar",
    .nin = 0,
    .nout = 1,
    .flags = GRAD_OP_NONDIFF | GRAD_OP_SCALAR,
    .sparsity = GRAD_SPARSITY_NONE,
    .infer = scalar_infer,
    .eval = scalar_eval,
};

static grad_status iota_infer(grad_infer *a) {
  const int ndim = a->nparams - 2;
  if (a->params[1] < 0 || a->params[1] >= ndim)
    return grad__fail(a->ctx, GRAD_EINDEX, "iota: axis %lld of %d axes", (long long)a->params[1] + 1, ndim);
  if (a->params[0] == GRAD_BOOL) return grad__fail(a->ctx, GRAD_EDTYPE, "iota: positions cannot be bool");
  return grad__infer_out(a, 0, (grad_dtype)a->params[0], ndim, a->params + 2);
}

/* One position along the axis is a run of `inner` equal elements, `outer` times over. */
static grad_status iota_eval(const grad_eval *a) {
  const grad_array *out = a->out[0];
  const int axis = (int)a->ins->params[1];
  const int64_t numel = grad__array_numel(out), extent = out->shape[axis];
  int64_t inner = 1;
  for (int i = axis + 1; i < out->ndim; i++) inner *= out->shape[i];
  for (int64_t i = 0; i < numel; i++) {
    const int64_t position = i / inner % extent;
    if (out->dtype == GRAD_I64) ((int64_t *)out->data)[i] = position;
    if (out->dtype == GRAD_F32) ((float *)out->data)[i] = (float)position;
    if (out->dtype == GRAD_F64) ((double *)out->data)[i] = (double)position;
  }
  return GRAD_OK;
}

const grad_op grad__op_iota = {
    .name = "iota",
    .nin = 0,
    .nout = 1,
    .flags = GRAD_OP_NONDIFF,
    .sparsity = GRAD_SPARSITY_NONE,
    .infer = iota_infer,
    .eval = iota_eval,
};

/* --- builders */

static grad_id emit_filled(grad_program *p, const grad_op *op, grad_dtype dtype, int64_t second, int ndim,
                           const int64_t *shape) {
  int64_t params[2 + GRAD_MAX_AXES + 1] = {dtype, second}; /* one axis too many is for infer to refuse */
  for (int i = 0; i < ndim && i <= GRAD_MAX_AXES; i++) params[2 + i] = shape[i];
  return grad__emit(p, op, 0, NULL, 2 + ndim, params);
}

/* The constant is kept as the dtype has it: rules that look at its value must not see another than what is computed
 * with. */
grad_id grad__full(grad_program *p, double value, grad_dtype dtype, int ndim, const int64_t *shape) {
  if (dtype == GRAD_F32) value = (double)(float)value;
  if (dtype == GRAD_BOOL) value = value != 0;
  return emit_filled(p, &grad__op_full, dtype, grad__bits(value), ndim, shape);
}

grad_id grad__iota(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape, int axis) {
  return emit_filled(p, &grad__op_iota, dtype, axis, ndim, shape);
}

grad_id grad__scalar(grad_program *p, grad_dtype dtype, int32_t k) {
  return grad__emit(p, &grad__op_scalar, 0, NULL, 2, (const int64_t[]){k, dtype});
}

grad_id grad__lit(grad_program *p, double value, grad_id like) {
  if (like == GRAD_NONE) return GRAD_NONE;
  const grad_type *t = grad__type(p, like);
  return grad__full(p, value, t->dtype, t->ndim, t->shape);
}

grad_id grad__zeros_of(grad_program *p, const grad_type *type) {
  return grad__full(p, 0, type->dtype, type->ndim, type->shape);
}

/* Broadcasts of a constant are constants already when they are built, so looking at the producer is enough. */
bool grad__is_const(const grad_program *p, grad_id v, double *value) {
  if (v == GRAD_NONE) return false;
  const grad_instr *ins = grad__producer(p, v);
  if (!ins || ins->op != &grad__op_full) return false;
  *value = grad__unbits(ins->params[1]);
  return true;
}

/* structured.c: helpers of the structured ops; see structured.h. */
#include "ops/structured.h"

#include <string.h>

grad_status grad__infer_out(grad_infer *a, int k, grad_dtype dtype, int ndim, const int64_t *shape) {
  if (ndim > GRAD_MAX_AXES)
    return grad__fail(a->ctx, GRAD_ESHAPE, "%s: the result would have %d axes; an array has at most %d", a->op->name,
                      ndim, GRAD_MAX_AXES);
  for (int i = 0; i < ndim; i++)
    if (shape[i] < 0)
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: extent %lld of axis %d is negative", a->op->name, (long long)shape[i],
                        i + 1);
  int64_t numel;
  if (!grad__shape_numel(ndim, shape, &numel)) {
    return grad__fail(a->ctx, GRAD_ESHAPE, "%s: shape %s has more elements than memory can hold", a->op->name,
                      grad__shape_text(ndim, shape).chars);
  }
  a->out[k].dtype = dtype;
  a->out[k].ndim = ndim;
  if (ndim > 0) memmove(a->out[k].shape, shape, (size_t)ndim * sizeof *shape);
  return GRAD_OK;
}

grad_status grad__infer_reduced(grad_infer *a, grad_dtype dtype, uint32_t axes) {
  const grad_type *x = &a->in[0];
  int64_t shape[GRAD_MAX_AXES];
  int ndim = 0;
  for (int i = 0; i < x->ndim; i++)
    if (!(axes >> i & 1)) shape[ndim++] = x->shape[i];
  return grad__infer_out(a, 0, dtype, ndim, shape);
}

grad_status grad__infer_axis(const grad_infer *a) {
  const grad_type *x = &a->in[0];
  if (a->params[0] >= 0 && a->params[0] < x->ndim) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_EVALUE, "%s: axis %lld does not exist in shape %s", a->op->name,
                    (long long)a->params[0] + 1, grad__shape_text(x->ndim, x->shape).chars);
}

grad_id grad__emit1(grad_program *p, const grad_op *op, grad_id x, int nparams, const int64_t *params) {
  return grad__emit(p, op, 1, &x, nparams, params);
}

grad_id grad__emit2(grad_program *p, const grad_op *op, grad_id x, grad_id y, int nparams, const int64_t *params) {
  return grad__emit(p, op, 2, (const grad_id[]){x, y}, nparams, params);
}

grad_id grad__batched_input(const grad_batch *a, int i) {
  if (a->batched[i]) return a->x[i];
  int64_t shape[GRAD_MAX_AXES + 1] = {a->size};
  const grad_type *t = &a->xt[i];
  for (int k = 0; k < t->ndim; k++) shape[k + 1] = t->shape[k];
  return grad__broadcast(a->p, a->x[i], t->ndim + 1, shape);
}

void grad__batch_with(grad_batch *a, const int64_t *params) {
  enum { INLINE_INPUTS = 64 };
  grad_id local[INLINE_INPUTS], *in = local;
  if (a->ins->nin > INLINE_INPUTS && !(in = grad__ids_in(a->p, a->ins->nin))) return;
  for (int i = 0; i < a->ins->nin; i++) in[i] = grad__batched_input(a, i);
  const grad_id first = grad__emit(a->p, a->ins->op, a->ins->nin, in, a->ins->nparams, params);
  grad__ids_from(first, a->ins->nout, a->y);
}

void grad__batch_same(grad_batch *a) { grad__batch_with(a, a->ins->params); }

void grad__batch_axis(grad_batch *a) {
  int64_t params[4];
  for (int i = 0; i < a->ins->nparams; i++) params[i] = a->ins->params[i] + (i == 0);
  grad__batch_with(a, params);
}

grad_line grad__line_through(const grad_type *t, int axis, int64_t element) {
  grad_line line = {.extent = t->shape[axis], .step = 1};
  for (int i = axis + 1; i < t->ndim; i++) line.step *= t->shape[i];
  line.place = element / line.step % line.extent;
  line.start = element - line.place * line.step;
  return line;
}

grad_status grad__depend_on_line(grad_sparsity *a, const grad_line *line, int64_t from, int64_t to) {
  grad_status status = GRAD_OK;
  for (int32_t k = 0; k < a->ins->nin; k++)
    for (int64_t i = from; i < to && status == GRAD_OK; i++) status = a->add(a, k, line->start + i * line->step);
  return status;
}

bool grad__axis_exists(grad_program *p, const char *name, grad_id x, int axis) {
  const int ndim = grad__ndim(p, x);
  if (axis >= 0 && axis < ndim) return true;
  grad__program_fail(p, GRAD_EVALUE, "%s: axis %d does not exist in an array with %d axes", name, axis + 1, ndim);
  return false;
}

grad_id grad__as_float(grad_program *p, grad_id x) {
  if (x == GRAD_NONE || grad__dtype_is_float(grad__type(p, x)->dtype)) return x;
  return grad__convert(p, x, GRAD_F64);
}

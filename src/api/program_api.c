/* program_api.c: grad.h's builders. They check what the internal ones take for granted: ids, axes, counts. */
#include <string.h>

#include "ops/compose.h"

grad_status grad_program_new(grad_ctx *ctx, grad_program **out) { return grad__program_new(ctx, out); }
void grad_program_free(grad_program *program) { grad__program_release(program); }
grad_status grad_program_check(const grad_program *program) { return program->status; }

/* False, and the program failed, unless v is a value of p. */
static bool valid(grad_program *p, const char *what, grad_id v) {
  if (p->status || v == GRAD_NONE) return false;
  if (v >= 0 && v < p->nvalues) return true;
  grad__program_fail(p, GRAD_EVALUE, "%s: %d is no value of this program", what, v);
  return false;
}

static bool valid_all(grad_program *p, const char *what, int n, const grad_id *ids) {
  for (int i = 0; i < n; i++) {
    if (!valid(p, what, ids[i])) return false;
  }
  return true;
}

static bool valid_axis(grad_program *p, const char *what, grad_id x, int axis) {
  int ndim = grad__type(p, x)->ndim;
  if (axis >= 0 && axis < ndim) return true;
  grad__program_fail(p, GRAD_EVALUE, "%s: axis %d of an array of %d axes; axes count from 0", what, axis, ndim);
  return false;
}

/* The axes to reduce: none given means all. Fails for bits beyond x's axes. */
static bool reduced_axes(grad_program *p, const char *what, grad_id x, uint32_t *axes) {
  if (!valid(p, what, x)) return false;
  uint32_t all = (1u << grad__type(p, x)->ndim) - 1;
  if (*axes == 0) *axes = all;
  if (!(*axes & ~all)) return true;
  grad__program_fail(p, GRAD_EVALUE, "%s: axes 0x%x of an array of %d axes", what, *axes, grad__type(p, x)->ndim);
  return false;
}

static bool valid_shape(grad_program *p, const char *what, int ndim, const int64_t *shape) {
  int64_t numel;
  bool fits = ndim >= 0 && ndim <= GRAD_MAX_AXES && grad__shape_numel(ndim, shape, &numel);
  for (int i = 0; fits && i < ndim; i++) fits = shape[i] >= 0;
  if (!fits) grad__program_fail(p, GRAD_ESHAPE, "%s: no usable shape: %d axes", what, ndim);
  return fits;
}

grad_id grad_input(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape) {
  if (dtype > GRAD_F64) return grad__program_fail(p, GRAD_EDTYPE, "input: %d is no dtype", (int)dtype);
  return valid_shape(p, "input", ndim, shape) ? grad__program_input(p, dtype, ndim, shape) : GRAD_NONE;
}

grad_id grad_number(grad_program *p, double value) { return grad__full(p, value, GRAD_F64, 0, NULL); }

void grad_output(grad_program *p, grad_id value) {
  if (valid(p, "output", value))
    grad__program_output(p, value);
  else if (!p->status)
    grad__program_fail(p, GRAD_EVALUE, "output: the value is GRAD_NONE");
}

grad_id grad_apply(grad_program *p, const char *name, int n, const grad_id *operands) {
  const grad_op *op = grad__op_find(name);
  if (!op || !(op->flags & GRAD_OP_ELEMENTWISE)) {
    return grad__program_fail(p, GRAD_EVALUE, "apply: there is no elementwise function '%s'", name);
  }
  if (n != op->nin) {
    return grad__program_fail(p, GRAD_EVALUE, "apply: %s takes %d operands, was given %d", name, op->nin, n);
  }
  if (!valid_all(p, name, n, operands)) return GRAD_NONE;
  if (n == 1) return grad__op1(p, op, operands[0]);
  if (n == 2) return grad__op2(p, op, operands[0], operands[1]);
  return grad__op3(p, op, operands[0], operands[1], operands[2]);
}

grad_id grad_sum(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "sum", x, &axes) ? grad__sum(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_mean(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "mean", x, &axes) ? grad__mean(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_max(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "max", x, &axes) ? grad__max(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_min(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "min", x, &axes) ? grad__min(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_prod(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "prod", x, &axes) ? grad__prod(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_logsumexp(grad_program *p, grad_id x, uint32_t axes, int keepdim) {
  return reduced_axes(p, "logsumexp", x, &axes) ? grad__logsumexp(p, x, axes, keepdim != 0) : GRAD_NONE;
}

grad_id grad_softmax(grad_program *p, grad_id x, int axis) {
  if (!valid(p, "softmax", x) || !valid_axis(p, "softmax", x, axis)) return GRAD_NONE;
  return grad__softmax(p, x, axis);
}

grad_id grad_matmul(grad_program *p, grad_id a, grad_id b) {
  return valid(p, "matmul", a) && valid(p, "matmul", b) ? grad__matmul_any(p, a, b) : GRAD_NONE;
}

grad_id grad_reshape(grad_program *p, grad_id x, int ndim, const int64_t *shape) {
  if (!valid(p, "reshape", x) || !valid_shape(p, "reshape", ndim, shape)) return GRAD_NONE;
  return grad__reshape(p, x, ndim, shape);
}

grad_id grad_broadcast_to(grad_program *p, grad_id x, int ndim, const int64_t *shape) {
  if (!valid(p, "broadcast_to", x) || !valid_shape(p, "broadcast_to", ndim, shape)) return GRAD_NONE;
  return grad__broadcast(p, x, ndim, shape);
}

grad_id grad_permute(grad_program *p, grad_id x, const int *axes) {
  if (!valid(p, "permute", x)) return GRAD_NONE;
  uint32_t seen = 0;
  int ndim = grad__type(p, x)->ndim;
  for (int i = 0; i < ndim; i++) {
    if (!valid_axis(p, "permute", x, axes[i])) return GRAD_NONE;
    seen |= 1u << axes[i];
  }
  if (seen != (1u << ndim) - 1) return grad__program_fail(p, GRAD_EVALUE, "permute: an axis is named twice");
  return grad__permute(p, x, axes);
}

static bool valid_slice(grad_program *p, const grad_type *t, int axis, int64_t start, int64_t count, int64_t step) {
  int64_t extent = t->shape[axis], last;
  bool fits = count >= 0 && (count == 0 || (start >= 0 && start < extent));
  if (fits && count > 0) {
    fits = grad__mul_i64(count - 1, step, &last) && grad__add_i64(start, last, &last) && last >= 0 && last < extent;
  }
  if (fits) return true;
  grad__program_fail(p, GRAD_EINDEX, "slice: start %lld, count %lld, step %lld leave axis %d of extent %lld",
                     (long long)start, (long long)count, (long long)step, axis, (long long)extent);
  return false;
}

grad_id grad_slice(grad_program *p, grad_id x, const int64_t *start, const int64_t *count, const int64_t *step) {
  if (!valid(p, "slice", x)) return GRAD_NONE;
  const grad_type *t = grad__type(p, x);
  for (int i = 0; i < t->ndim; i++) {
    if (!valid_slice(p, t, i, start[i], count[i], step[i])) return GRAD_NONE;
  }
  return grad__slice(p, x, start, count, step);
}

grad_id grad_concat(grad_program *p, int n, const grad_id *parts, int axis) {
  if (n < 1) return grad__program_fail(p, GRAD_EVALUE, "concat: nothing to concatenate");
  if (!valid_all(p, "concat", n, parts) || !valid_axis(p, "concat", parts[0], axis)) return GRAD_NONE;
  return grad__concat(p, n, parts, axis);
}

grad_id grad_take(grad_program *p, grad_id x, grad_id positions, int axis) {
  if (!valid(p, "take", x) || !valid(p, "take", positions) || !valid_axis(p, "take", x, axis)) return GRAD_NONE;
  return grad__take(p, x, positions, axis);
}

grad_id grad_convert(grad_program *p, grad_id x, grad_dtype dtype) {
  if (dtype > GRAD_F64) return grad__program_fail(p, GRAD_EDTYPE, "convert: %d is no dtype", (int)dtype);
  return valid(p, "convert", x) ? grad__convert(p, x, dtype) : GRAD_NONE;
}

/* compose_index.c: reading and writing at positions, made of gather and scatter_add. See compose.h. */
#include <string.h>

#include "ops/compose.h"
#include "ops/structured.h"

grad_id grad__take(grad_program *p, grad_id x, grad_id index, int axis) {
  return grad__emit2(p, &grad__op_gather, x, index, 2, (const int64_t[]){axis, 0});
}

/* The shape of x with another one in place of axes from..to - 1; false when that is too many axes. */
static bool replace_axes(const grad_type *x, int from, int to, const grad_type *by, int *ndim, int64_t *shape) {
  *ndim = x->ndim - (to - from) + by->ndim;
  if (*ndim > GRAD_MAX_AXES) return false;
  int n = 0;
  for (int i = 0; i < from; i++) shape[n++] = x->shape[i];
  for (int i = 0; i < by->ndim; i++) shape[n++] = by->shape[i];
  for (int i = to; i < x->ndim; i++) shape[n++] = x->shape[i];
  return true;
}

/* --- torch's gather and scatter_add: all axes but one are shared, that one being moved to the end */

static grad_id axis_to_end(grad_program *p, grad_id x, int axis) {
  if (x == GRAD_NONE) return x;
  const int n = grad__ndim(p, x);
  int order[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) order[i] = i == n - 1 ? axis : i < axis ? i : i + 1;
  return grad__permute(p, x, order);
}

static grad_id axis_from_end(grad_program *p, grad_id x, int axis) {
  if (x == GRAD_NONE) return x;
  const int n = grad__ndim(p, x);
  int order[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) order[i] = i < axis ? i : i == axis ? n - 1 : i - 1;
  return grad__permute(p, x, order);
}

/* x cut down to the index's extents along all axes but one. */
static grad_id cut_to_index(grad_program *p, const char *name, grad_id x, grad_id index, int axis) {
  const grad_type t = *grad__type(p, x), shape = *grad__type(p, index);
  int64_t start[GRAD_MAX_AXES] = {0}, count[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  bool fits = t.ndim == shape.ndim && axis < t.ndim;
  for (int i = 0; fits && i < t.ndim; i++) {
    step[i] = 1;
    count[i] = i == axis ? t.shape[i] : shape.shape[i];
    fits = count[i] <= t.shape[i];
  }
  if (fits) return grad__slice(p, x, start, count, step);
  return grad__program_fail(
      p, GRAD_ESHAPE, "%s: positions %s must have as many axes as %s and, except along axis %d, no larger extents",
      name, grad__shape_text(shape.ndim, shape.shape).chars, grad__shape_text(t.ndim, t.shape).chars, axis + 1);
}

grad_id grad__gather(grad_program *p, grad_id x, int axis, grad_id index) {
  if (x == GRAD_NONE || index == GRAD_NONE || !grad__axis_exists(p, "gather", x, axis)) return GRAD_NONE;
  x = axis_to_end(p, cut_to_index(p, "gather", x, index, axis), axis);
  if (x == GRAD_NONE) return x;
  const int last = grad__ndim(p, x) - 1;
  const grad_id y = grad__emit2(p, &grad__op_gather, x, axis_to_end(p, index, axis), 2, (const int64_t[]){last, last});
  return axis_from_end(p, y, axis);
}

/* The part of the source that the index covers. */
static grad_id source_piece(grad_program *p, grad_id source, grad_id index) {
  const grad_type t = *grad__type(p, source), shape = *grad__type(p, index);
  int64_t start[GRAD_MAX_AXES] = {0}, step[GRAD_MAX_AXES];
  bool fits = t.ndim == shape.ndim;
  for (int i = 0; fits && i < t.ndim; i++) {
    step[i] = 1;
    fits = shape.shape[i] <= t.shape[i];
  }
  if (fits) return grad__slice(p, source, start, shape.shape, step);
  return grad__program_fail(p, GRAD_ESHAPE, "scatter_add: source %s does not cover the positions %s",
                            grad__shape_text(t.ndim, t.shape).chars, grad__shape_text(shape.ndim, shape.shape).chars);
}

grad_id grad__scatter_add(grad_program *p, grad_id x, int axis, grad_id index, grad_id source) {
  if (x == GRAD_NONE || index == GRAD_NONE || source == GRAD_NONE) return GRAD_NONE;
  if (!grad__axis_exists(p, "scatter_add", x, axis)) return GRAD_NONE;
  const grad_type t = *grad__type(p, x);
  const grad_id covered = cut_to_index(p, "scatter_add", x, index, axis);
  if (grad__ndim(p, source) == 0) source = grad__broadcast(p, source, t.ndim, grad__shape(p, index));
  const grad_id piece = grad__convert(p, source_piece(p, source, index), t.dtype);
  if (covered == GRAD_NONE || piece == GRAD_NONE) return GRAD_NONE;
  const int last = t.ndim - 1;
  const grad_id added = grad__emit2(p, &grad__op_scatter_add, axis_to_end(p, piece, axis), axis_to_end(p, index, axis),
                                    3, (const int64_t[]){last, last, t.shape[axis]});
  const int64_t start[GRAD_MAX_AXES] = {0}, step[GRAD_MAX_AXES] = {1, 1, 1, 1, 1, 1, 1, 1};
  return grad__add(p, x, grad__unslice(p, axis_from_end(p, added, axis), t.ndim, t.shape, start, step));
}

/* --- updated copies */

grad_id grad__put_slice(grad_program *p, grad_id x, const int64_t *start, const int64_t *count, const int64_t *step,
                        grad_id value) {
  if (x == GRAD_NONE || value == GRAD_NONE) return GRAD_NONE;
  const grad_type t = *grad__type(p, x);
  value = grad__broadcast(p, grad__convert(p, value, t.dtype), t.ndim, count);
  const grad_id piece = grad__full(p, 1, GRAD_BOOL, t.ndim, count);
  const grad_id covered = grad__unslice(p, piece, t.ndim, t.shape, start, step);
  return grad__where(p, covered, grad__unslice(p, value, t.ndim, t.shape, start, step), x);
}

/* The mask or positions m of one axis, of x's shape. */
static grad_id along_axis(grad_program *p, grad_id m, const grad_type *x, int axis) {
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < x->ndim; i++) shape[i] = i == axis ? x->shape[i] : 1;
  return grad__broadcast(p, grad__reshape(p, m, x->ndim, shape), x->ndim, x->shape);
}

/* Each place takes the last value that is meant for it, or keeps what it has. */
grad_id grad__put_index(grad_program *p, grad_id x, grad_id index, int axis, grad_id value) {
  if (x == GRAD_NONE || index == GRAD_NONE || value == GRAD_NONE || !grad__axis_exists(p, "put", x, axis))
    return GRAD_NONE;
  const grad_type t = *grad__type(p, x), positions = *grad__type(p, index);
  int64_t shape[GRAD_MAX_AXES];
  int ndim;
  if (!replace_axes(&t, axis, axis + 1, &positions, &ndim, shape))
    return grad__program_fail(p, GRAD_ESHAPE, "put: more than %d axes", GRAD_MAX_AXES);
  const int64_t count = grad__type_numel(&positions);
  const grad_type one = {.shape = &count, .ndim = 1};
  value = grad__broadcast(p, grad__convert(p, value, t.dtype), ndim, shape);
  if (count == 0 || value == GRAD_NONE) return value == GRAD_NONE ? value : x;
  replace_axes(&t, axis, axis + 1, &one, &ndim, shape);
  const grad_id rows = grad__reshape(p, value, ndim, shape);
  const grad_id writer = grad__emit1(p, &grad__op_last_writer, index, 2, (const int64_t[]){0, t.shape[axis]});
  const grad_id zero = grad__full(p, 0, GRAD_I64, 0, NULL);
  const grad_id written = grad__take(p, rows, grad__op2(p, &grad__op_maximum, writer, zero), axis);
  return grad__where(p, along_axis(p, grad__op2(p, &grad__op_ge, writer, zero), &t, axis), written, x);
}

/* A value for each true element: row `rank` of the value goes there. A spare row of zeros lets the ranks of a mask
 * without any true element be read. */
static grad_id rows_by_rank(grad_program *p, grad_id mask, grad_id value) {
  const int64_t count = grad__extent(p, value, 0);
  const int64_t before[GRAD_MAX_AXES] = {0}, after[GRAD_MAX_AXES] = {1};
  const grad_id rank = grad__emit1(p, &grad__op_mask_rank, mask, 2, (const int64_t[]){0, count});
  return grad__take(p, grad__pad(p, value, before, after, 0), rank, 0);
}

grad_id grad__put_mask(grad_program *p, grad_id x, grad_id mask, grad_id value) {
  if (x == GRAD_NONE || mask == GRAD_NONE || value == GRAD_NONE) return GRAD_NONE;
  const grad_type t = *grad__type(p, x), m = *grad__type(p, mask);
  if (m.dtype != GRAD_BOOL || m.ndim > t.ndim || !grad__shape_equal(m.ndim, m.shape, m.ndim, t.shape))
    return grad__program_fail(p, GRAD_ESHAPE, "put: the mask must be bool and cover the first axes of %s, got %s",
                              grad__shape_text(t.ndim, t.shape).chars, grad__type_text(&m).chars);
  value = grad__convert(p, value, t.dtype);
  const grad_type v = *grad__type(p, value);
  const int rest = t.ndim - m.ndim;
  const bool by_row =
      v.ndim == rest + 1 && v.shape[0] != 1 && grad__shape_equal(rest, v.shape + 1, rest, t.shape + m.ndim);
  const bool single = v.ndim == rest + 1 && v.shape[0] == 1;
  if (v.ndim > rest && !by_row && !single)
    return grad__program_fail(p, GRAD_ESHAPE, "put: a value of shape %s gives no rows for the true elements of %s",
                              grad__shape_text(v.ndim, v.shape).chars, grad__shape_text(t.ndim, t.shape).chars);
  if (by_row) value = rows_by_rank(p, mask, value);
  if (single) value = grad__drop_axis(p, value, 0);
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) shape[i] = i < m.ndim ? t.shape[i] : 1;
  const grad_id places = grad__broadcast(p, grad__reshape(p, mask, t.ndim, shape), t.ndim, t.shape);
  return grad__where(p, places, grad__broadcast(p, value, t.ndim, t.shape), x);
}

grad_id grad__one_hot(grad_program *p, grad_id index, int64_t n, grad_dtype dtype) {
  if (index == GRAD_NONE) return index;
  const grad_id classes = grad__iota(p, GRAD_I64, 1, &n, 0);
  const grad_id hot = grad__op2(p, &grad__op_eq, grad__insert_axis(p, index, grad__ndim(p, index)), classes);
  return grad__convert(p, hot, dtype);
}

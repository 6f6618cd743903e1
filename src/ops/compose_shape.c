/* compose_shape.c: rearrangements made of views and copies. See compose.h. */
#include <string.h>

#include "ops/compose.h"
#include "ops/structured.h"

grad_id grad__flip(grad_program *p, grad_id x, uint32_t axes) {
  if (x == GRAD_NONE) return x;
  const grad_type *t = grad__type(p, x);
  int64_t start[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  for (int i = 0; i < t->ndim; i++) {
    const bool flips = axes >> i & 1 && t->shape[i] > 1;
    start[i] = flips ? t->shape[i] - 1 : 0;
    step[i] = flips ? -1 : 1;
  }
  return grad__slice(p, x, start, t->shape, step);
}

grad_id grad__roll(grad_program *p, grad_id x, int64_t shift, int axis) {
  if (x == GRAD_NONE || !grad__axis_exists(p, "roll", x, axis)) return GRAD_NONE;
  const int64_t n = grad__extent(p, x, axis);
  if (n == 0) return x;
  const int64_t by = (shift % n + n) % n;
  if (by == 0) return x;
  const grad_id parts[] = {grad__slice_axis(p, x, axis, n - by, by, 1), grad__slice_axis(p, x, axis, 0, n - by, 1)};
  return grad__concat(p, 2, parts, axis);
}

/* --- repetition: every axis is handled as the second or third of four: before, copies, extent, after */

static void around(const grad_type *t, int axis, int64_t *before, int64_t *after) {
  *before = *after = 1;
  for (int i = 0; i < axis; i++) *before *= t->shape[i];
  for (int i = axis + 1; i < t->ndim; i++) *after *= t->shape[i];
}

/* n copies of an axis: one after the other, or of each element side by side. */
static grad_id repeat_axis(grad_program *p, grad_id x, int64_t n, int axis, bool interleave) {
  if (x == GRAD_NONE || n == 1) return x;
  const grad_type t = *grad__type(p, x);
  int64_t before, after, shape[GRAD_MAX_AXES], total;
  around(&t, axis, &before, &after);
  memcpy(shape, t.shape, sizeof *shape * t.ndim);
  if (n < 0 || !grad__mul_i64(shape[axis], n, &total))
    return grad__program_fail(p, GRAD_EVALUE, "%s: axis %d cannot be repeated %lld times",
                              interleave ? "repeat_interleave" : "tile", axis + 1, (long long)n);
  const int64_t extent = shape[axis];
  shape[axis] = total;
  const int64_t single[] = {before, interleave ? extent : 1, interleave ? 1 : extent, after};
  const int64_t copies[] = {before, interleave ? extent : n, interleave ? n : extent, after};
  return grad__reshape(p, grad__broadcast(p, grad__reshape(p, x, 4, single), 4, copies), t.ndim, shape);
}

grad_id grad__repeat_interleave(grad_program *p, grad_id x, int64_t n, int axis) {
  if (x == GRAD_NONE || !grad__axis_exists(p, "repeat_interleave", x, axis)) return GRAD_NONE;
  return repeat_axis(p, x, n, axis, true);
}

grad_id grad__tile(grad_program *p, grad_id x, int n, const int64_t *repeats) {
  if (x == GRAD_NONE) return x;
  const grad_type *t = grad__type(p, x);
  const int ndim = n > t->ndim ? n : t->ndim;
  int64_t shape[GRAD_MAX_AXES];
  if (ndim > GRAD_MAX_AXES)
    return grad__program_fail(p, GRAD_ESHAPE, "tile: %d axes; an array has at most %d", ndim, GRAD_MAX_AXES);
  for (int i = 0; i < ndim; i++) shape[i] = i < ndim - t->ndim ? 1 : t->shape[i - (ndim - t->ndim)];
  x = grad__reshape(p, x, ndim, shape);
  for (int i = 0; i < n; i++) x = repeat_axis(p, x, repeats[i], ndim - n + i, false);
  return x;
}

/* --- stack, split */

grad_id grad__stack(grad_program *p, int n, const grad_id *parts, int axis) {
  if (n < 1) return grad__program_fail(p, GRAD_EVALUE, "stack: needs at least one array");
  grad_id *in = grad__arena_copy(&p->arena, parts, (size_t)n * sizeof *parts);
  if (!in) return grad__program_fail(p, GRAD_ENOMEM, "out of memory");
  for (int i = 0; i < n; i++) {
    if (in[i] == GRAD_NONE) return GRAD_NONE;
    const grad_type *t = grad__type(p, parts[i]), *first = grad__type(p, parts[0]);
    if (!grad__shape_equal(t->ndim, t->shape, first->ndim, first->shape))
      return grad__program_fail(p, GRAD_ESHAPE, "stack: part %d has shape %s, part 1 has %s; all must be equal", i + 1,
                                grad__shape_text(t->ndim, t->shape).chars,
                                grad__shape_text(first->ndim, first->shape).chars);
    if (axis < 0 || axis > t->ndim)
      return grad__program_fail(p, GRAD_EVALUE, "stack: axis %d is not among 1 to %d", axis + 1, t->ndim + 1);
  }
  for (int i = 0; i < n; i++) in[i] = grad__insert_axis(p, in[i], axis);
  return grad__concat(p, n, in, axis);
}

void grad__split(grad_program *p, grad_id x, int n, const int64_t *sizes, int axis, grad_id *parts) {
  for (int i = 0; i < n; i++) parts[i] = GRAD_NONE;
  if (x == GRAD_NONE || !grad__axis_exists(p, "split", x, axis)) return;
  const int64_t extent = grad__extent(p, x, axis);
  int64_t at = 0;
  bool fits = true;
  for (int i = 0; i < n; i++) fits = fits && sizes[i] >= 0 && grad__add_i64(at, sizes[i], &at);
  if (!fits || at != extent) {
    grad__program_fail(p, GRAD_ESHAPE, "split: the sizes must be at least 0 and add up to %lld, the extent of axis %d",
                       (long long)extent, axis + 1);
    return;
  }
  at = 0;
  for (int i = 0; i < n; at += sizes[i++]) parts[i] = grad__slice_axis(p, x, axis, at, sizes[i], 1);
}

void grad__chunk(grad_program *p, grad_id x, int64_t n, int axis, int *count, grad_id *parts) {
  *count = 0;
  if (x == GRAD_NONE || !grad__axis_exists(p, "chunk", x, axis)) return;
  if (n < 1) {
    grad__program_fail(p, GRAD_EVALUE, "chunk: %lld parts asked for; at least 1", (long long)n);
    return;
  }
  const int64_t extent = grad__extent(p, x, axis), size = extent / n + (extent % n > 0);
  if (size == 0) {
    parts[(*count)++] = x;
    return;
  }
  for (int64_t at = 0; at < extent; at += size)
    parts[(*count)++] = grad__slice_axis(p, x, axis, at, extent - at < size ? extent - at : size, 1);
}

/* --- diagonals and triangles of the last two axes */

static bool is_matrix(grad_program *p, const char *name, grad_id x) {
  if (grad__ndim(p, x) >= 2) return true;
  const grad_type *t = grad__type(p, x);
  grad__program_fail(p, GRAD_ESHAPE, "%s: needs a matrix (at least two axes), got shape %s", name,
                     grad__shape_text(t->ndim, t->shape).chars);
  return false;
}

/* In row order the diagonal of a matrix with n columns is every (n + 1)-th element. */
grad_id grad__diagonal(grad_program *p, grad_id x, int64_t k) {
  if (x == GRAD_NONE || !is_matrix(p, "diagonal", x)) return GRAD_NONE;
  const grad_type t = *grad__type(p, x);
  const int last = t.ndim - 2;
  const int64_t rows = t.shape[last], cols = t.shape[last + 1];
  const int64_t height = k < 0 ? rows + k : rows, width = k < 0 ? cols : cols - k;
  const int64_t length = height < width ? height : width;
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < last; i++) shape[i] = t.shape[i];
  shape[last] = rows * cols;
  const grad_id flat = grad__reshape(p, x, last + 1, shape);
  if (length <= 0) return grad__slice_axis(p, flat, last, 0, 0, 1);
  return grad__slice_axis(p, flat, last, k < 0 ? -k * cols : k, length, cols + 1);
}

grad_id grad__diag_matrix(grad_program *p, grad_id x, int64_t k) {
  if (x == GRAD_NONE) return x;
  const grad_type t = *grad__type(p, x);
  if (t.ndim < 1) return grad__program_fail(p, GRAD_ESHAPE, "diag: needs a vector or a matrix, got a number");
  const int last = t.ndim - 1;
  const int64_t n = t.shape[last] + (k < 0 ? -k : k);
  int64_t full[GRAD_MAX_AXES + 1], start[GRAD_MAX_AXES] = {0}, step[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    full[i] = t.shape[i];
    step[i] = 1;
  }
  if (!grad__mul_i64(n, n, &full[last])) return grad__program_fail(p, GRAD_ESHAPE, "diag: the matrix is too large");
  start[last] = k < 0 ? -k * n : k;
  step[last] = n + 1;
  const grad_id flat = grad__unslice(p, x, t.ndim, full, start, step);
  full[last] = full[last + 1] = n;
  return grad__reshape(p, flat, t.ndim + 1, full);
}

grad_id grad__trace(grad_program *p, grad_id x) {
  const grad_id diagonal = x == GRAD_NONE || !is_matrix(p, "trace", x) ? GRAD_NONE : grad__diagonal(p, x, 0);
  return diagonal == GRAD_NONE ? GRAD_NONE : grad__sum(p, diagonal, 1u << (grad__ndim(p, diagonal) - 1), false);
}

/* true where column - row compares with k; the two are broadcast, not stored */
static grad_id band(grad_program *p, int64_t rows, int64_t cols, const grad_op *compare, int64_t k) {
  const grad_id column = grad__iota(p, GRAD_I64, 1, &cols, 0);
  const grad_id row = grad__iota(p, GRAD_I64, 2, (const int64_t[]){rows, 1}, 0);
  return grad__op2(p, compare, column, grad__add(p, row, grad__full(p, (double)k, GRAD_I64, 0, NULL)));
}

static grad_id triangle(grad_program *p, const char *name, grad_id x, const grad_op *compare, int64_t k) {
  if (x == GRAD_NONE || !is_matrix(p, name, x)) return GRAD_NONE;
  const grad_type t = *grad__type(p, x);
  const grad_id mask = band(p, t.shape[t.ndim - 2], t.shape[t.ndim - 1], compare, k);
  return grad__where(p, mask, x, grad__zeros_of(p, &t));
}

grad_id grad__tril(grad_program *p, grad_id x, int64_t k) { return triangle(p, "tril", x, &grad__op_le, k); }

grad_id grad__triu(grad_program *p, grad_id x, int64_t k) { return triangle(p, "triu", x, &grad__op_ge, k); }

grad_id grad__eye(grad_program *p, grad_dtype dtype, int64_t rows, int64_t cols) {
  return grad__convert(p, band(p, rows, cols, &grad__op_eq, 0), dtype);
}

/* linalg.c: what the ops of linear algebra share; see linalg.h and linalg_items.h. */
#include "ops/linalg.h"
#include "ops/linalg_items.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- builder */

grad_id grad__linalg_matrix(grad_program *p, const char *name, grad_id a, bool square) {
  if (a == GRAD_NONE) return GRAD_NONE;
  const grad_type *const t = grad__type(p, a);
  const bool fits = t->ndim >= 2 && (!square || t->shape[t->ndim - 1] == t->shape[t->ndim - 2]);
  if (!fits) {
    return grad__program_fail(p, GRAD_ESHAPE, "%s: %s expected on the last two axes, got shape %s", name,
                              square ? "a square matrix" : "a matrix", grad__shape_text(t->ndim, t->shape).chars);
  }
  return grad__dtype_is_float(t->dtype) ? a : grad__convert(p, a, GRAD_F64);
}

bool grad__linalg_system(grad_program *p, const char *name, bool square, grad_id *a, grad_id *b, bool *vector) {
  *a = grad__linalg_matrix(p, name, *a, square);
  if (*a == GRAD_NONE || *b == GRAD_NONE) return false;
  const grad_type m = *grad__type(p, *a), right = *grad__type(p, *b);
  const int rows = right.ndim < 2 ? 0 : right.ndim - 2; /* the axis of b that goes with the matrix's rows */
  if (right.ndim == 0 || right.shape[rows] != m.shape[m.ndim - 2]) {
    grad__program_fail(p, GRAD_ESHAPE, "%s: a matrix of shape %s and a right-hand side of shape %s do not fit", name,
                       grad__shape_text(m.ndim, m.shape).chars, grad__shape_text(right.ndim, right.shape).chars);
    return false;
  }
  *vector = right.ndim == 1;
  *b = grad__linalg_matrix(p, name, *vector ? grad__insert_axis(p, *b, 1) : *b, false);
  return *b != GRAD_NONE;
}

grad_id grad__linalg_solution(grad_program *p, grad_id x, bool vector) {
  return vector && x != GRAD_NONE ? grad__drop_axis(p, x, grad__ndim(p, x) - 1) : x;
}

/* With those leading axes, its last two kept. */
static grad_id with_leading(grad_program *p, grad_id a, int lead, const int64_t *leading) {
  const grad_type *const t = grad__type(p, a);
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, leading, (size_t)lead * sizeof *shape);
  memcpy(shape + lead, t->shape + t->ndim - 2, 2 * sizeof *shape);
  return grad__broadcast(p, a, lead + 2, shape);
}

void grad__linalg_align(grad_program *p, grad_id *a, grad_id *b) {
  if (*a == GRAD_NONE || *b == GRAD_NONE) {
    *a = *b = GRAD_NONE;
    return;
  }
  const grad_dtype dtype = grad__dtype_promote(grad__type(p, *a)->dtype, grad__type(p, *b)->dtype);
  const grad_type x = *grad__type(p, *a), y = *grad__type(p, *b);
  int lead;
  int64_t leading[GRAD_MAX_AXES];
  if (!grad__shape_broadcast(x.ndim - 2, x.shape, y.ndim - 2, y.shape, &lead, leading)) {
    *a = *b = grad__program_fail(p, GRAD_ESHAPE, "the leading axes of the matrices do not fit: shapes %s and %s",
                                 grad__shape_text(x.ndim, x.shape).chars, grad__shape_text(y.ndim, y.shape).chars);
    return;
  }
  *a = with_leading(p, grad__convert(p, *a, dtype), lead, leading);
  *b = with_leading(p, grad__convert(p, *b, dtype), lead, leading);
}

grad_id grad__linalg_transpose(grad_program *p, grad_id a) {
  if (a == GRAD_NONE) return GRAD_NONE;
  return grad__swap_axes(p, a, grad__ndim(p, a) - 2, grad__ndim(p, a) - 1);
}

grad_id grad__linalg_symmetric(grad_program *p, const char *name, grad_id a) {
  a = grad__linalg_matrix(p, name, a, true);
  if (a == GRAD_NONE) return GRAD_NONE;
  const grad_id sum = grad__add(p, a, grad__linalg_transpose(p, a));
  return grad__mul(p, sum, grad__lit(p, 0.5, sum));
}

/* --- inference */

grad_status grad__infer_matrix(const grad_infer *a, int i, bool square) {
  const grad_type *const t = &a->in[i];
  if (!grad__dtype_is_float(t->dtype)) {
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: f64 or f32 expected, got %s", a->op->name, grad__dtype_name(t->dtype));
  }
  if (t->ndim >= 2 && (!square || t->shape[t->ndim - 1] == t->shape[t->ndim - 2])) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_ESHAPE, "%s: %s expected on the last two axes, got shape %s", a->op->name,
                    square ? "a square matrix" : "a matrix", grad__shape_text(t->ndim, t->shape).chars);
}

grad_status grad__infer_like(grad_infer *a, int k, grad_dtype dtype, int tail, const int64_t *extents) {
  const int lead = a->in[0].ndim - 2;
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, a->in[0].shape, (size_t)lead * sizeof *shape);
  for (int i = 0; i < tail; i++) shape[lead + i] = extents[i];
  return grad__infer_out(a, k, dtype, lead + tail, shape);
}

/* --- evaluation */

/* Copies between the present matrix and packed memory. Matrices of a few elements, of which a batch may hold very many,
 * are copied here: grad__array_copy looks for the best way first. */
static void copy_packed(const grad_items *w, bool columns, void *memory, bool load) {
  enum { SMALL = 64 };
  const int64_t rows = w->item.shape[0], cols = w->item.shape[1];
  const int64_t row = columns ? 1 : cols, col = columns ? rows : 1;
  if (rows * cols > SMALL) {
    grad_array packed;
    grad__array_wrap(&packed, memory, w->item.dtype, 2, w->item.shape);
    packed.strides[0] = row;
    packed.strides[1] = col;
    grad__array_copy(load ? &packed : &w->item, load ? &w->item : &packed);
    return;
  }
  const size_t size = grad__dtype_size(w->item.dtype);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) {
      char *const in = (char *)memory + (i * row + j * col) * (int64_t)size;
      char *const out = (char *)w->item.data + (i * w->item.strides[0] + j * w->item.strides[1]) * (int64_t)size;
      if (size == sizeof(double)) {
        memcpy(load ? in : out, load ? out : in, sizeof(double));
      } else {
        memcpy(load ? in : out, load ? out : in, sizeof(float));
      }
    }
  }
}

void grad__item_load(const grad_items *w, bool columns, void *to) { copy_packed(w, columns, to, true); }

void grad__item_store(const grad_items *w, bool columns, const void *from) {
  copy_packed(w, columns, (void *)(uintptr_t)from, false);
}

bool grad__item_is_finite(const grad_items *w) {
  grad_walk walk;
  for (grad__walk_start(&walk, 1, (const grad_array *[]){&w->item}); !walk.done; grad__walk_next(&walk)) {
    for (int64_t i = 0; i < walk.inner; i++) {
      if (!isfinite(grad__float_get(w->item.dtype, walk.at[0], i * walk.step[0]))) return false;
    }
  }
  return true;
}

const char *grad__item_text(const grad_items *w, char *text, size_t size) {
  text[0] = '\0';
  if (w->count > 1) snprintf(text, size, " (matrix %" PRId64 " of the batch)", w->at + 1);
  return text;
}

/* linalg_items.h: what the eval functions of op_linalg_*.c share: visiting the matrices of a batch, checking types. */
#ifndef GRAD_OPS_LINALG_ITEMS_H
#define GRAD_OPS_LINALG_ITEMS_H

#include "ops/axes.h"
#include "ops/structured.h"

/* The matrices (tail = 2), vectors (1) or numbers (0) on the last axes of an array, one after the other in row order of
 * the leading axes. */
typedef struct grad_items {
  grad_array item; /* the present one, a view */
  char *base;
  grad_axes axes;
  int64_t count, at; /* how many there are, and which one this is */
} grad_items;

static inline grad_items grad__items(const grad_array *a, int tail) {
  const int lead = a->ndim - tail;
  grad_items w = {.item = {.data = a->data, .dtype = a->dtype, .ndim = tail}, .base = a->data, .count = 1};
  grad__axes_of(a, 0, lead, &w.axes);
  for (int i = 0; i < lead; i++) w.count *= a->shape[i];
  for (int i = 0; i < tail; i++) {
    w.item.shape[i] = a->shape[lead + i];
    w.item.strides[i] = a->strides[lead + i];
  }
  return w;
}

static inline void grad__items_next(grad_items *w) {
  grad__axes_next(&w->axes);
  w->at++;
  w->item.data = w->base + w->axes.offset * (int64_t)grad__dtype_size(w->item.dtype);
}

/* Copies the present matrix to `to`: rows one after the other, or with `columns` columns one after the other. */
void grad__item_load(const grad_items *w, bool columns, void *to);
/* The reverse. */
void grad__item_store(const grad_items *w, bool columns, const void *from);
bool grad__item_is_finite(const grad_items *w);
/* Element i of a packed matrix, vector or output. */
static inline void grad__item_put(const grad_array *to, int64_t i, double x) {
  grad__float_put(to->dtype, to->data, i, x);
}

/* " (matrix 3 of the batch)", or nothing when there is just one. */
const char *grad__item_text(const grad_items *w, char *text, size_t size);
enum { GRAD_ITEM_TEXT = 64 };

/* Splits scratch into parts of 64-byte alignment. With base NULL it only counts. */
typedef struct grad_carve {
  char *base;
  int64_t used;
} grad_carve;
static inline void *grad__carve(grad_carve *c, int64_t elements, size_t size) {
  void *const part = c->base ? c->base + c->used : NULL;
  c->used += (elements * (int64_t)size + 63) / 64 * 64;
  return part;
}

/* The order of the square matrices of input 0. */
static inline int64_t grad__matrix_order(const grad_program *p, const grad_instr *ins) {
  const grad_type *const t = grad__type(p, ins->in[0]);
  return t->shape[t->ndim - 1];
}

/* Input i: float, at least two axes, square if asked. */
grad_status grad__infer_matrix(const grad_infer *a, int i, bool square);
/* Output k: input 0's leading axes, then `tail` extents. */
grad_status grad__infer_like(grad_infer *a, int k, grad_dtype dtype, int tail, const int64_t *extents);

#endif

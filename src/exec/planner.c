/* planner.c: what all passes of planner.h use: memory, and the header that a value will have. */
#include "exec/planner.h"

void *grad__planner_alloc(grad_planner *pl, size_t count, size_t size) {
  return grad__arena_zeros(&pl->temp, count * size);
}

void *grad__plan_alloc(grad_planner *pl, size_t count, size_t size) {
  return grad__arena_zeros(&pl->plan->arena, count * size);
}

void grad__planner_header(const grad_planner *pl, grad_id v, grad_array *out) {
  const grad_type *t = grad__type(pl->p, v);
  if (pl->values[v].view) {
    *out = *pl->values[v].view;
  } else {
    grad__array_wrap(out, GRAD_FAKE_BASE, t->dtype, t->ndim, t->shape);
  }
}

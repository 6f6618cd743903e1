/* check_program.h: running small programs in tests: arrays from numbers, comparison of arrays. */
#ifndef CHECK_PROGRAM_H
#define CHECK_PROGRAM_H

#include <stdlib.h>

#include "ad/ad.h"
#include "check_ctx.h"
#include "core/rng.h"
#include "exec/exec.h"
#include "ops/compose.h"
#include "ops/ops.h"

enum { CHECK_MOST = 64 };

/* Arrays given to or got from a program. */
typedef struct check_arrays {
  int32_t n;
  grad_array a[CHECK_MOST];
} check_arrays;

/* An empty program. No test goes on without the memory for it. */
static inline grad_program *check_new(grad_ctx *ctx) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p) == GRAD_OK) return p;
  fprintf(stderr, "%s\n", grad_message(ctx));
  exit(1);
}

/* Element i of memory that holds this dtype, as a double; of a packed array. */
static inline double check_number(grad_dtype dtype, const void *data, int64_t i) {
  if (grad__dtype_is_float(dtype)) return grad__float_get(dtype, data, i);
  return dtype == GRAD_I64 ? (double)((const int64_t *)data)[i] : ((const uint8_t *)data)[i];
}

static inline void check_put(grad_dtype dtype, void *data, int64_t i, double value) {
  if (grad__dtype_is_float(dtype)) grad__float_put(dtype, data, i, value);
  if (dtype == GRAD_I64) ((int64_t *)data)[i] = (int64_t)value;
  if (dtype == GRAD_BOOL) ((uint8_t *)data)[i] = value != 0;
}

static inline double check_get(const grad_array *a, int64_t i) { return check_number(a->dtype, a->data, i); }
static inline void check_set(const grad_array *a, int64_t i, double value) { check_put(a->dtype, a->data, i, value); }

static inline void check_release(check_arrays *s) {
  for (int32_t i = 0; i < s->n; i++) grad__array_release(&s->a[i]);
  s->n = 0;
}

/* Appends a new array; values NULL: zeros. */
static inline grad_array *check_push(grad_ctx *ctx, check_arrays *s, grad_dtype dtype, int ndim, const int64_t *shape,
                                     const double *values) {
  grad_array *a = &s->a[s->n];
  *a = (grad_array){0};
  if (grad__array_new(ctx, dtype, ndim, shape, a)) return NULL;
  s->n++;
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) check_set(a, i, values ? values[i] : 0);
  return a;
}

static inline double check_uniform(uint64_t *state) {
  uint32_t words[4];
  grad__rng_block(77, (*state)++, words);
  return grad__rng_uniform(words[0], words[1]);
}

/* Appends arrays of the types of inputs [from, to) of p: floats in (-1, 1), positions in 0 and 1. */
static inline void check_push_random(grad_ctx *ctx, check_arrays *s, const grad_program *p, int32_t from, int32_t to,
                                     uint64_t *state) {
  for (int32_t i = from; i < to; i++) {
    const grad_type *t = grad__type(p, p->inputs[i]);
    grad_array *a = check_push(ctx, s, t->dtype, t->ndim, t->shape, NULL);
    const int64_t n = a ? grad__array_numel(a) : 0;
    for (int64_t k = 0; k < n; k++) {
      const double u = check_uniform(state);
      check_set(a, k, grad__dtype_is_float(t->dtype) ? 2 * u - 1 : u < 0.5);
    }
  }
}

static inline grad_status check_run(grad_program *p, const check_arrays *in, const double *scalars, check_arrays *out) {
  const grad_array *args[CHECK_MOST];
  for (int32_t i = 0; i < in->n; i++) args[i] = &in->a[i];
  memset(out, 0, sizeof *out);
  if (p->noutputs > CHECK_MOST || p->ninputs != in->n) return GRAD_EINTERNAL;
  grad_status status = grad__direct_run(p, args, scalars, out->a);
  out->n = status ? 0 : p->noutputs;
  return status;
}

static inline double check_inner(const grad_array *a, const grad_array *b) {
  double sum = 0;
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) sum += check_get(a, i) * check_get(b, i);
  return sum;
}

static inline bool check_same_array(const grad_array *a, const grad_array *b, double tolerance) {
  if (a->dtype != b->dtype || !grad__shape_equal(a->ndim, a->shape, b->ndim, b->shape)) return false;
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    const double x = check_get(a, i), y = check_get(b, i);
    if (!(x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= tolerance * (1 + fabs(y)))) return false;
  }
  return true;
}

#endif

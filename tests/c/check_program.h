/* check_program.h: running small programs in tests: arrays from numbers, random programs, comparison of arrays. */
#ifndef CHECK_PROGRAM_H
#define CHECK_PROGRAM_H

#include <stdlib.h>

#include "ad/ad.h"
#include "check.h"
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

static inline double check_get(const grad_array *a, int64_t i) {
  switch (a->dtype) {
  case GRAD_F64:
    return ((const double *)a->data)[i];
  case GRAD_F32:
    return (double)((const float *)a->data)[i];
  case GRAD_I64:
    return (double)((const int64_t *)a->data)[i];
  default:
    return ((const unsigned char *)a->data)[i];
  }
}

static inline void check_set(const grad_array *a, int64_t i, double value) {
  switch (a->dtype) {
  case GRAD_F64:
    ((double *)a->data)[i] = value;
    break;
  case GRAD_F32:
    ((float *)a->data)[i] = (float)value;
    break;
  case GRAD_I64:
    ((int64_t *)a->data)[i] = (int64_t)value;
    break;
  default:
    ((unsigned char *)a->data)[i] = value != 0;
  }
}

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
    grad_array *a = check_push(ctx, s, (grad_dtype)t->dtype, t->ndim, t->shape, NULL);
    const int64_t n = a ? grad__array_numel(a) : 0;
    for (int64_t k = 0; k < n; k++) {
      const double u = check_uniform(state);
      check_set(a, k, grad__dtype_is_float((grad_dtype)t->dtype) ? 2 * u - 1 : u < 0.5);
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

/* --- random programs */

typedef struct check_pool {
  grad_program *p;
  grad_id values[CHECK_MOST];
  int n;
  uint64_t *state;
} check_pool;

static inline int check_below(check_pool *pool, int n) { return (int)(check_uniform(pool->state) * n); }

static inline grad_id check_pick(check_pool *pool) { return pool->values[check_below(pool, pool->n)]; }

/* v moved smoothly into (low, high). */
static inline grad_id check_into(grad_program *p, grad_id v, double low, double high) {
  const grad_id s = grad__op1(p, &grad__op_sigmoid, v);
  return grad__add(p, grad__mul(p, s, grad__lit(p, high - low, v)), grad__lit(p, low, v));
}

static inline grad_id check_random_elementwise(check_pool *pool) {
  for (;;) {
    const grad_op *op = grad__op_at(check_below(pool, grad__op_count()));
    const grad_row *row = grad__op_row(op);
    if (!row || row->kind == GRAD_KIND_PREDICATE || row->kind == GRAD_KIND_LOGICAL || row->kind == GRAD_KIND_SELECT ||
        op->flags & GRAD_OP_NONDIFF)
      continue;
    grad_id x[3] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
    x[0] = check_pick(pool);
    const grad_type t = *grad__type(pool->p, x[0]);
    for (int i = 0; i < op->nin; i++) {
      const grad_id v = i ? check_pick(pool) : x[0];
      const grad_type *u = grad__type(pool->p, v);
      x[i] = grad__type_equal(u, &t) ? v : x[0];
    }
    for (int i = 0; i < op->nin; i++) x[i] = check_into(pool->p, x[i], row->domain[i][0], row->domain[i][1]);
    return grad__emit(pool->p, op, op->nin, x, 0, NULL);
  }
}

static inline grad_id check_random_shape(check_pool *pool) {
  grad_program *p = pool->p;
  const grad_id v = check_pick(pool);
  const grad_type t = *grad__type(p, v);
  const int64_t n = grad__type_numel(&t);
  int64_t start[GRAD_MAX_AXES] = {0}, count[GRAD_MAX_AXES], step[GRAD_MAX_AXES], wide[GRAD_MAX_AXES + 1] = {2};
  int axes[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    count[i] = t.shape[i] - (t.shape[i] > 2);
    start[i] = t.shape[i] - count[i];
    step[i] = 1;
    axes[i] = t.ndim - 1 - i;
    wide[i + 1] = t.shape[i];
  }
  switch (check_below(pool, 9)) {
  case 0:
    return grad__reshape(p, v, 1, &n);
  case 1:
    return grad__permute(p, v, axes);
  case 2:
    return grad__slice(p, v, start, count, step);
  case 3:
    return t.ndim ? grad__concat(p, 2, (const grad_id[]){v, v}, 0) : v;
  case 4:
    return t.ndim < 3 ? grad__broadcast(p, v, t.ndim + 1, wide) : v;
  case 5:
    return grad__sum(p, v, t.ndim ? 1 : 0, check_below(pool, 2));
  case 6:
    return grad__reduce(p, &grad__op_prod, v, t.ndim ? 1u << (t.ndim - 1) : 0, true);
  case 7:
    return t.ndim == 2 ? grad__matmul(p, v, v, true, false) : grad__op1(p, &grad__op_tanh, v);
  default:
    return t.ndim ? grad__cumsum(p, v, t.ndim - 1) : v;
  }
}

/* A program of about nops ops over f64 inputs of a few shapes; its outputs are a number and an array. */
static inline grad_program *check_random_program(grad_ctx *ctx, int nops, uint64_t *state) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  check_pool pool = {.p = p, .state = state};
  pool.values[pool.n++] = grad__program_input(p, GRAD_F64, 1, (const int64_t[]){3});
  pool.values[pool.n++] = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){2, 3});
  pool.values[pool.n++] = grad__program_input(p, GRAD_F64, 0, NULL);
  for (int i = 0; i < nops && pool.n < CHECK_MOST && !p->status; i++) {
    const grad_id v = check_below(&pool, 3) ? check_random_elementwise(&pool) : check_random_shape(&pool);
    if (v != GRAD_NONE && grad__type_numel(grad__type(p, v)) <= 64) pool.values[pool.n++] = v;
  }
  grad_id total = GRAD_NONE;
  for (int i = 0; i < pool.n; i++) {
    const grad_id tame = grad__op1(p, &grad__op_tanh, pool.values[i]);
    const int ndim = tame == GRAD_NONE ? 0 : grad__type(p, tame)->ndim;
    total = grad__add_tangents(p, total, grad__sum(p, tame, (1u << ndim) - 1, false));
  }
  grad__program_output(p, total);
  grad__program_output(p, pool.values[pool.n - 1]);
  return p;
}

#endif

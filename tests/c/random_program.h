/* random_program.h: random programs over the registry, for tests that compare two ways to run, transform or batch one.
 *
 * The same seed gives the same program. `smooth` keeps to ops that are differentiable everywhere, on values that stay
 * moderate, so that derivatives can be compared too; otherwise every elementwise row takes part, NaN and Inf appear.
 */
#ifndef RANDOM_PROGRAM_H
#define RANDOM_PROGRAM_H

#include <stdlib.h>

#include "check.h"
#include "ops/ops.h"

typedef struct random_options {
  bool smooth;
  int ninputs, ninstrs, noutputs;
  int64_t rows, columns; /* the extents that shapes are made of */
  grad_dtype dtype;      /* of the inputs */
} random_options;

typedef struct random_source {
  uint64_t state;
} random_source;

static inline uint64_t random_bits(random_source *r) {
  uint64_t x = r->state += 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

static inline int random_below(random_source *r, int n) { return (int)(random_bits(r) % (uint64_t)n); }
static inline double random_unit(random_source *r) { return (double)(random_bits(r) >> 11) * 0x1p-53; }

static const char *const random_smooth_ops[] = {"add",  "sub",     "mul",    "mulz",     "neg",  "sin", "cos",
                                                "tanh", "sigmoid", "square", "softplus", "atan", "erf", "hypot"};

static inline const grad_op *random_elementwise(random_source *r, const random_options *o) {
  if (o->smooth) {
    const int n = (int)(sizeof random_smooth_ops / sizeof *random_smooth_ops);
    return grad__op_find(random_smooth_ops[random_below(r, n)]);
  }
  for (;;) {
    const grad_op *op = grad__op_at(random_below(r, grad__op_count()));
    if (op->flags & GRAD_OP_ELEMENTWISE) return op;
  }
}

/* One of the program's values; is_bool: a mask, or GRAD_NONE when the tries run out. */
static inline grad_id random_value(random_source *r, const grad_program *p, bool is_bool) {
  for (int tries = 0; tries < 64; tries++) {
    grad_id v = random_below(r, p->nvalues);
    if ((grad__type(p, v)->dtype == GRAD_BOOL) == is_bool) return v;
  }
  return GRAD_NONE;
}

static inline bool random_fits(const grad_program *p, grad_id a, grad_id b) {
  int64_t shape[GRAD_MAX_AXES], numel;
  int ndim;
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  return grad__shape_broadcast(x->ndim, x->shape, y->ndim, y->shape, &ndim, shape) &&
         grad__shape_numel(ndim, shape, &numel) && numel <= 1 << 16;
}

static inline grad_id random_partner(random_source *r, const grad_program *p, grad_id a, bool is_bool) {
  for (int tries = 0; tries < 16; tries++) {
    grad_id v = random_value(r, p, is_bool);
    if (v != GRAD_NONE && random_fits(p, a, v)) return v;
  }
  return is_bool ? GRAD_NONE : a;
}

static inline void random_add_elementwise(random_source *r, grad_program *p, const random_options *o) {
  const grad_op *op = random_elementwise(r, o);
  const grad_row *row = grad__op_row(op);
  const bool logical = row->kind == GRAD_KIND_LOGICAL;
  grad_id a = random_value(r, p, logical || row->kind == GRAD_KIND_SELECT);
  if (a == GRAD_NONE) return;
  if (op->nin == 1) {
    grad__op1(p, op, a);
  } else if (op->nin == 2) {
    grad_id b = random_partner(r, p, a, logical);
    if (b != GRAD_NONE) grad__op2(p, op, a, b);
  } else {
    grad_id b = random_partner(r, p, a, false), c = random_partner(r, p, a, false);
    if (random_fits(p, a, b) && random_fits(p, a, c) && random_fits(p, b, c)) grad__op3(p, op, a, b, c);
  }
}

static inline void random_add_reduction(random_source *r, grad_program *p, grad_id a, bool smooth) {
  static const grad_op *const ops[] = {&grad__op_sum, &grad__op_max, &grad__op_min, &grad__op_prod};
  const int ndim = grad__type(p, a)->ndim;
  uint32_t axes = (uint32_t)random_below(r, 1 << ndim);
  if (grad__type_numel(grad__type(p, a)) == 0) return;
  grad__reduce(p, smooth ? ops[0] : ops[random_below(r, 4)], a, axes, random_below(r, 2));
}

static inline void random_add_slice(random_source *r, grad_program *p, grad_id a, bool back) {
  const grad_type t = *grad__type(p, a);
  int64_t start[GRAD_MAX_AXES], count[GRAD_MAX_AXES], step[GRAD_MAX_AXES], full[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    int64_t n = t.shape[i];
    step[i] = random_below(r, 4) == 0 ? -1 : 1 + random_below(r, 2);
    start[i] = step[i] < 0 ? n - 1 : random_below(r, n > 2 ? 2 : 1);
    count[i] = step[i] < 0 ? n : (n - start[i] + step[i] - 1) / step[i];
    full[i] = n;
  }
  grad_id piece = grad__slice(p, a, start, count, step);
  if (!back || piece == GRAD_NONE) return;
  const grad_op *unslice = grad__op_find("unslice");
  int64_t params[3 * GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    params[i] = full[i];
    params[t.ndim + i] = start[i];
    params[2 * t.ndim + i] = step[i];
  }
  grad_id whole = grad__emit(p, unslice, 1, &piece, 3 * t.ndim, params);
  grad__add(p, a, whole);
}

static inline void random_add_permute(random_source *r, grad_program *p, grad_id a) {
  int axes[GRAD_MAX_AXES], ndim = grad__type(p, a)->ndim;
  for (int i = 0; i < ndim; i++) axes[i] = i;
  for (int i = ndim - 1; i > 0; i--) {
    int k = random_below(r, i + 1), was = axes[i];
    axes[i] = axes[k];
    axes[k] = was;
  }
  grad__permute(p, a, axes);
}

static inline void random_add_matmul(random_source *r, grad_program *p, grad_id a) {
  grad_id b = random_value(r, p, false);
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  if (x->ndim != 2 || y->ndim != 2) return;
  bool ta = random_below(r, 2), tb = random_below(r, 2);
  if (x->shape[ta ? 0 : 1] == y->shape[tb ? 1 : 0] && x->shape[0] * y->shape[0] < 4096) grad__matmul(p, a, b, ta, tb);
}

static inline void random_add_shape(random_source *r, grad_program *p, const random_options *o, grad_id a) {
  const grad_type t = *grad__type(p, a);
  int64_t full[3] = {2, o->rows, o->columns}, flat[1] = {grad__type_numel(&t)}, got[GRAD_MAX_AXES];
  int ndim, extra = random_below(r, 3) == 0;
  switch (random_below(r, 5)) {
  case 0:
    if (grad__shape_broadcast(t.ndim, t.shape, 2 + extra, full + 1 - extra, &ndim, got) && ndim == 2 + extra &&
        grad__shape_equal(ndim, got, 2 + extra, full + 1 - extra)) {
      grad__broadcast(p, a, 2 + extra, full + 1 - extra);
    }
    return;
  case 1:
    random_add_permute(r, p, a);
    return;
  case 2:
    grad__reshape(p, a, 1, flat);
    return;
  case 3:
    random_add_slice(r, p, a, false);
    return;
  default:
    random_add_slice(r, p, a, true);
    return;
  }
}

static inline void random_add(random_source *r, grad_program *p, const random_options *o) {
  grad_id a = random_value(r, p, false);
  int choice = random_below(r, 20);
  if (a == GRAD_NONE) return;
  if (choice < 11) {
    random_add_elementwise(r, p, o);
  } else if (choice < 14) {
    random_add_reduction(r, p, a, o->smooth);
  } else if (choice < 17) {
    random_add_shape(r, p, o, a);
  } else if (choice == 17) {
    random_add_matmul(r, p, a);
  } else if (choice == 18) {
    if (grad__type(p, a)->ndim > 0) grad__concat(p, 2, (const grad_id[]){a, a}, 0);
  } else if (!o->smooth) {
    grad__convert(p, a, random_below(r, 2) ? GRAD_F32 : GRAD_F64);
  }
}

/* Inputs: matrices, rows, columns and numbers; p->nscalars is 2. Outputs: the last values (floats only when smooth).
 * NULL or a failed program when memory runs out. */
static inline grad_program *random_program_unchecked(grad_ctx *ctx, uint64_t seed, const random_options *o) {
  random_source r = {seed * 2654435761u + 1};
  grad_program *p;
  if (grad__program_new(ctx, &p) != GRAD_OK) return NULL;
  const int64_t shapes[4][2] = {{o->rows, o->columns}, {1, o->columns}, {o->rows, 1}, {1, 1}};
  for (int i = 0; i < o->ninputs; i++) {
    int which = random_below(&r, 5);
    if (which == 4)
      grad__program_input(p, o->dtype, 0, NULL);
    else
      grad__program_input(p, o->dtype, 2, shapes[which]);
  }
  p->nscalars = 2;
  grad__scalar(p, o->dtype, 0);
  grad__scalar(p, o->dtype, 1);
  grad__full(p, 0.75, o->dtype, 0, NULL);
  for (int tries = 0; p->ninstrs < o->ninstrs && tries < 20 * o->ninstrs && p->status == GRAD_OK; tries++) {
    random_add(&r, p, o);
  }
  for (grad_id v = p->nvalues - 1; v >= 0 && p->noutputs < o->noutputs && p->status == GRAD_OK; v--) {
    if (!o->smooth || grad__dtype_is_float((grad_dtype)grad__type(p, v)->dtype)) grad__program_output(p, v);
  }
  return p;
}

static inline grad_program *random_program(grad_ctx *ctx, uint64_t seed, const random_options *o) {
  grad_program *p = random_program_unchecked(ctx, seed, o);
  if (!check(p && p->status == GRAD_OK)) {
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, grad_message(ctx));
  }
  return p;
}

/* A new array of the type, maybe with unusual strides: transposed, reversed, spread out, or all the same element. */
static inline bool random_array(grad_ctx *ctx, random_source *r, const grad_type *t, bool strided, grad_array *out) {
  int64_t shape[GRAD_MAX_AXES];
  const bool twice = strided && t->ndim == 2 && random_below(r, 2), flip = strided && random_below(r, 2);
  for (int i = 0; i < t->ndim; i++) shape[twice ? t->ndim - 1 - i : i] = t->shape[i];
  if (grad__array_new(ctx, (grad_dtype)t->dtype, t->ndim, shape, out) != GRAD_OK) return false;
  const int64_t n = grad__array_numel(out);
  for (int64_t i = 0; i < n; i++) {
    double x = 3 * random_unit(r) - 1.5;
    if (t->dtype == GRAD_F64)
      ((double *)out->data)[i] = x;
    else
      ((float *)out->data)[i] = (float)x;
  }
  grad_array view = *out;
  if (twice) grad__view_permute(out, (const int[]){1, 0}, &view);
  if (flip && t->ndim > 0 && view.shape[0] > 0) {
    *out = view;
    grad__view_slice(out, 0, view.shape[0] - 1, view.shape[0], -1, &view);
  }
  view.storage = out->storage;
  *out = view;
  return true;
}

#endif

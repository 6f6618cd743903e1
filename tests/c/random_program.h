/* random_program.h: random programs over the whole registry, for tests that compare two ways to run, transform or batch
 * one.
 *
 * The same seed gives the same program. `smooth`: values stay moderate and every op is differentiable where it is
 * applied, so that derivatives can be compared too; structured ops take part as random_entries.h says. Otherwise
 * every elementwise row is applied to anything, NaN and Inf appear.
 */
#ifndef RANDOM_PROGRAM_H
#define RANDOM_PROGRAM_H

#include <stdlib.h>

#include "check.h"
#include "random_entries.h"

typedef struct random_options {
  bool smooth;
  bool exact;                     /* wild ones only: nothing whose rounding or zeros depend on how it is computed */
  int ninputs, ninstrs, noutputs; /* ninputs: floats; when smooth, the state of a generator follows */
  int64_t rows, columns;          /* the extents that shapes are made of */
  grad_dtype dtype;               /* of the float inputs */
  int depth;                      /* of programs nested in it; smooth ones only */
} random_options;

static inline const grad_op *random_elementwise(random_source *r) {
  for (;;) {
    const grad_op *op = grad__op_at(random_below(r, grad__op_count()));
    if (op->flags & GRAD_OP_ELEMENTWISE) return op;
  }
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

static inline void random_add_elementwise(random_source *r, grad_program *p, bool exact) {
  const grad_op *op = random_elementwise(r);
  if (exact && op == &grad__op_mulz) return;
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

/* Floats as near to 1 as their number asks for: products that overflow or vanish do so by the order of the factors. */
static inline grad_id random_factors(grad_program *p, grad_id a) {
  if (!grad__dtype_is_float(grad__type(p, a)->dtype)) return a;
  const double n = (double)grad__type_numel(grad__type(p, a));
  const grad_id off = grad__mul(p, grad__op1(p, &grad__op_tanh, a), grad__lit(p, 1 / n, a));
  return grad__add(p, off, grad__lit(p, 1, a));
}

static inline grad_id random_add_reduction(random_source *r, grad_program *p, const random_options *o, grad_id a) {
  static const grad_op *const ops[] = {&grad__op_max, &grad__op_min, &grad__op_sum, &grad__op_prod};
  const uint32_t axes = (uint32_t)random_below(r, 1 << grad__type(p, a)->ndim);
  const bool keep = random_below(r, 2);
  if (grad__type_numel(grad__type(p, a)) == 0) return a;
  if (o->exact) a = grad__add(p, a, grad__lit(p, 0, a)); /* no -0: which zero is the largest depends on the order */
  if (o->smooth) return grad__mean(p, a, axes, keep);
  const grad_op *op = ops[random_below(r, o->exact ? 2 : 4)];
  return grad__reduce(p, op, op == &grad__op_prod ? random_factors(p, a) : a, axes, keep);
}

static inline grad_id random_add_slice(random_source *r, grad_program *p, grad_id a, bool back) {
  const grad_type t = *grad__type(p, a);
  int64_t start[GRAD_MAX_AXES] = {0}, count[GRAD_MAX_AXES] = {0}, step[GRAD_MAX_AXES] = {0}, full[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    int64_t n = t.shape[i];
    step[i] = random_below(r, 4) == 0 ? -1 : 1 + random_below(r, 2);
    start[i] = step[i] < 0 ? n - 1 : random_below(r, n > 2 ? 2 : 1);
    count[i] = step[i] < 0 ? n : (n - start[i] + step[i] - 1) / step[i];
    full[i] = n;
  }
  grad_id piece = grad__slice(p, a, start, count, step);
  if (!back || piece == GRAD_NONE) return piece;
  const grad_op *unslice = grad__op_find("unslice");
  int64_t params[3 * GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) {
    params[i] = full[i];
    params[t.ndim + i] = start[i];
    params[2 * t.ndim + i] = step[i];
  }
  return grad__add(p, a, grad__emit(p, unslice, 1, &piece, 3 * t.ndim, params));
}

static inline grad_id random_add_permute(random_source *r, grad_program *p, grad_id a) {
  int axes[GRAD_MAX_AXES], ndim = grad__type(p, a)->ndim;
  for (int i = 0; i < ndim; i++) axes[i] = i;
  for (int i = ndim - 1; i > 0; i--) {
    int k = random_below(r, i + 1), was = axes[i];
    axes[i] = axes[k];
    axes[k] = was;
  }
  return grad__permute(p, a, axes);
}

static inline void random_add_matmul(random_source *r, grad_program *p, grad_id a) {
  grad_id b = random_value(r, p, false);
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  if (x->ndim != 2 || y->ndim != 2) return;
  bool ta = random_below(r, 2), tb = random_below(r, 2);
  if (x->shape[ta ? 0 : 1] == y->shape[tb ? 1 : 0] && x->shape[0] * y->shape[0] < 4096) grad__matmul(p, a, b, ta, tb);
}

static inline grad_id random_add_shape(random_source *r, grad_program *p, const random_options *o, grad_id a) {
  const grad_type t = *grad__type(p, a);
  int64_t full[3] = {2, o->rows, o->columns}, flat[1] = {grad__type_numel(&t)}, got[GRAD_MAX_AXES];
  int ndim, extra = random_below(r, 3) == 0;
  switch (random_below(r, 5)) {
  case 0:
    if (grad__shape_broadcast(t.ndim, t.shape, 2 + extra, full + 1 - extra, &ndim, got) && ndim == 2 + extra &&
        grad__shape_equal(ndim, got, 2 + extra, full + 1 - extra)) {
      return grad__broadcast(p, a, 2 + extra, full + 1 - extra);
    }
    return a;
  case 1:
    return random_add_permute(r, p, a);
  case 2:
    return grad__reshape(p, a, 1, flat);
  case 3:
    return random_add_slice(r, p, a, false);
  default:
    return random_add_slice(r, p, a, !o->exact);
  }
}

/* Anything to anything. */
static inline void random_add_wild(random_source *r, grad_program *p, const random_options *o) {
  grad_id a = random_value(r, p, false);
  int choice = random_below(r, 20);
  if (a == GRAD_NONE) return;
  if (choice < 11) {
    random_add_elementwise(r, p, o->exact);
  } else if (choice < 14) {
    random_add_reduction(r, p, o, a);
  } else if (choice < 17) {
    random_add_shape(r, p, o, a);
  } else if (choice == 17) {
    if (!o->exact) random_add_matmul(r, p, a);
  } else if (choice == 18) {
    if (grad__type(p, a)->ndim > 0) grad__concat(p, 2, (const grad_id[]){a, a}, 0);
  } else {
    grad__convert(p, a, random_below(r, 2) ? GRAD_F32 : GRAD_F64);
  }
}

/* --- smooth programs */

/* Comparisons and the like jump: what they compare with is a constant, so that no rounding decides. */
static inline bool random_jumps(const grad_op *op) {
  return grad__op_row(op)->kind == GRAD_KIND_PREDICATE || op == &grad__op_floordiv || op == &grad__op_mod;
}

/* An elementwise row inside its domain; what is no float becomes one, and counts as a factor. */
static inline grad_id random_add_row(random_builder *b) {
  const grad_op *op = random_elementwise(b->r);
  const grad_row *row = grad__op_row(op);
  grad_id x[3], first = random_pick(b);
  if (first == GRAD_NONE) return first;
  const grad_type t = *grad__type(b->p, first);
  for (int i = 0; i < op->nin; i++) {
    const bool mask = row->kind == GRAD_KIND_LOGICAL || (row->kind == GRAD_KIND_SELECT && i == 0);
    const double low = row->domain[i][0], high = row->domain[i][1];
    if (i && random_jumps(op)) {
      x[i] = random_number(b, low, high);
      continue;
    }
    const grad_id v = i ? random_shaped(b, t.ndim, t.shape) : first;
    x[i] = mask ? random_mask(b, t.ndim, t.shape) : random_into(b, v, low, high);
  }
  const grad_id y = op->nin == 1   ? grad__op1(b->p, op, x[0])
                    : op->nin == 2 ? grad__op2(b->p, op, x[0], x[1])
                                   : grad__op3(b->p, op, x[0], x[1], x[2]);
  if (y == GRAD_NONE || grad__dtype_is_float(grad__type(b->p, y)->dtype)) return y;
  return grad__mul(b->p, first, grad__convert(b->p, y, b->dtype));
}

static inline grad_id random_add_entry(random_builder *b) {
  for (;;) {
    const random_entry *e = &random_entries[random_below(b->r, RANDOM_ENTRIES)];
    if (e->weight > random_below(b->r, 3) && (!e->nested || b->depth > 0)) return random_settle(b, e->make(b));
  }
}

static inline void random_grow(random_builder *b, int nops) {
  for (int i = 0; i < nops && !b->p->status; i++) {
    random_keep(b, random_below(b->r, 3) ? random_add_entry(b) : random_add_row(b));
  }
}

/* Half of the steps on the shapes of the options, which may be large; outputs are the last results. */
static inline void random_smooth(random_source *r, grad_program *p, const random_options *o) {
  random_builder b = {.r = r, .p = p, .state = o->ninputs, .dtype = o->dtype, .depth = o->depth};
  for (grad_id v = 0; v < p->nvalues; v++) {
    if (v != b.state) random_keep(&b, v);
  }
  while (p->ninstrs < o->ninstrs && b.nresults < RANDOM_MOST && !p->status) {
    if (random_below(r, 2)) {
      random_grow(&b, 1);
    } else if (random_below(r, 2)) {
      random_keep(&b, random_add_reduction(r, p, o, random_pick(&b)));
    } else {
      random_keep(&b, random_add_shape(r, p, o, random_pick(&b)));
    }
  }
  for (int i = 0; i < o->noutputs && i < b.nresults && !p->status; i++) {
    grad__program_output(p, b.results[b.nresults - 1 - i]);
  }
}

/* Matrices, rows, columns, numbers; when smooth, the state after them. */
static inline void random_add_inputs(random_source *r, grad_program *p, const random_options *o) {
  const int64_t shapes[4][2] = {{o->rows, o->columns}, {1, o->columns}, {o->rows, 1}, {1, 1}};
  for (int i = 0; i < o->ninputs; i++) {
    const int which = random_below(r, 5);
    grad__program_input(p, o->dtype, which == 4 ? 0 : 2, shapes[which % 4]);
  }
  if (o->smooth) grad__program_input(p, GRAD_I64, 1, (const int64_t[]){2});
  p->nscalars = 2;
}

static inline void random_wild(random_source *r, grad_program *p, const random_options *o) {
  for (int tries = 0; p->ninstrs < o->ninstrs && tries < 20 * o->ninstrs && !p->status; tries++) {
    random_add_wild(r, p, o);
  }
  for (grad_id v = p->nvalues - 1; v >= 0 && p->noutputs < o->noutputs && !p->status; v--) grad__program_output(p, v);
}

/* p->nscalars is 2. NULL or a failed program when memory runs out. */
static inline grad_program *random_program_unchecked(grad_ctx *ctx, uint64_t seed, const random_options *o) {
  random_source r = {seed * 2654435761u + 1};
  grad_program *p;
  if (grad__program_new(ctx, &p) != GRAD_OK) return NULL;
  random_add_inputs(&r, p, o);
  grad__scalar(p, o->dtype, 0);
  grad__scalar(p, o->dtype, 1);
  static const double constants[] = {0.75, 0, -0.0, 1, -1, 2};
  for (int i = 0; i < (o->exact ? 6 : 1); i++) grad__full(p, constants[i], o->dtype, 0, NULL);
  if (o->smooth) {
    random_smooth(&r, p, o);
  } else {
    random_wild(&r, p, o);
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

static inline void random_fill(random_source *r, grad_array *a) {
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    const double x = 3 * random_unit(r) - 1.5;
    if (a->dtype == GRAD_F64)
      ((double *)a->data)[i] = x;
    else if (a->dtype == GRAD_I64)
      ((int64_t *)a->data)[i] = i + (x > 0);
    else
      ((float *)a->data)[i] = (float)x;
  }
}

/* A new array of the type; if so asked maybe transposed, or along one axis reversed, spread out (step -2), or the same
 * elements again and again (stride 0). */
static inline bool random_array(grad_ctx *ctx, random_source *r, const grad_type *t, bool strided, grad_array *out) {
  enum { TRANSPOSED = 1, REVERSED, SPREAD, REPEATED, LAYOUTS };
  const int layout = strided && t->ndim > 0 ? random_below(r, LAYOUTS) : 0;
  const int axis = t->ndim > 0 ? random_below(r, t->ndim) : 0;
  const bool transposed = layout == TRANSPOSED && t->ndim == 2;
  const int64_t n = t->ndim > 0 ? t->shape[axis] : 1;
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < t->ndim; i++) shape[transposed ? t->ndim - 1 - i : i] = t->shape[i];
  if (layout == SPREAD) shape[axis] = 2 * n;
  if (layout == REPEATED && n > 0) shape[axis] = 1;
  if (grad__array_new(ctx, t->dtype, t->ndim, shape, out) != GRAD_OK) return false;
  random_fill(r, out);
  grad_array view = *out;
  if (transposed) grad__view_permute(out, (const int[]){1, 0}, &view);
  if (layout == REVERSED && n > 0) grad__view_slice(out, axis, n - 1, n, -1, &view);
  if (layout == SPREAD && n > 0) grad__view_slice(out, axis, 2 * n - 1, n, -2, &view);
  if (layout == REPEATED) {
    view.shape[axis] = n;
    view.strides[axis] = 0;
  }
  view.storage = out->storage;
  *out = view;
  return true;
}

#endif

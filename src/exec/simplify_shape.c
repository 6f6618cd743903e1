/* simplify_shape.c: rules for views, reductions, pieces and matrix products. */
#include <string.h>

#include "exec/planner.h"
#include "exec/simplify.h"

/* --- chains of views */

static grad_id reshape_chain(const grad_rewrite *r) {
  return grad__made_by(r->p, r->in[0], &grad__op_reshape) ||
                 grad__shape_equal(r->ins->nparams, r->ins->params, grad__type(r->p, r->in[0])->ndim,
                                   grad__type(r->p, r->in[0])->shape)
             ? grad__reshape(r->p, r->in[0], r->ins->nparams, r->ins->params)
             : GRAD_NONE;
}

/* A number repeated has the elements of any arrangement of it. */
static grad_id constant_view(const grad_rewrite *r) {
  double value;
  const grad_type *t = grad__type(r->from, r->ins->out);
  if (!grad__is_const(r->p, r->in[0], &value)) return GRAD_NONE;
  return grad__full(r->p, value, t->dtype, t->ndim, t->shape);
}

static grad_id permute_chain(const grad_rewrite *r) {
  int axes[GRAD_MAX_AXES];
  bool identity = true;
  for (int i = 0; i < r->ins->nparams; i++) {
    axes[i] = (int)r->ins->params[i];
    identity = identity && axes[i] == i;
  }
  if (identity) return r->in[0];
  return grad__made_by(r->p, r->in[0], &grad__op_permute) ? grad__permute(r->p, r->in[0], axes) : GRAD_NONE;
}

/* Extents are matched from the last axis in both steps, so they can be taken at once. */
static grad_id broadcast_chain(const grad_rewrite *r) {
  const grad_instr *inner = grad__made_by(r->p, r->in[0], &grad__op_broadcast);
  const grad_type *t = grad__type(r->p, r->in[0]);
  double value;
  bool same = grad__shape_equal(t->ndim, t->shape, r->ins->nparams, r->ins->params);
  if (!inner && !same && !grad__is_const(r->p, r->in[0], &value)) return GRAD_NONE;
  return grad__broadcast(r->p, inner ? inner->in[0] : r->in[0], r->ins->nparams, r->ins->params);
}

static grad_id convert_same(const grad_rewrite *r) {
  double value;
  const bool same = grad__type(r->p, r->in[0])->dtype == r->ins->params[0];
  return same || grad__is_const(r->p, r->in[0], &value) ? grad__convert(r->p, r->in[0], (grad_dtype)r->ins->params[0])
                                                        : GRAD_NONE;
}

/* Says something to derivatives only, and these are made. */
static grad_id stop_gradient(const grad_rewrite *r) { return r->in[0]; }

/* --- pieces */

static bool same_numbers(int n, const int64_t *a, const int64_t *b) { return memcmp(a, b, (size_t)n * sizeof *a) == 0; }

/* A piece put into zeros and taken out again. */
static grad_id slice_unslice(const grad_rewrite *r) {
  const grad_instr *inner = grad__made_by(r->p, r->in[0], &grad__op_unslice);
  if (!inner) return GRAD_NONE;
  const grad_type *piece = grad__type(r->p, inner->in[0]);
  const int n = piece->ndim;
  const bool same = same_numbers(n, r->ins->params, inner->params + n) &&
                    same_numbers(n, r->ins->params + n, piece->shape) &&
                    same_numbers(n, r->ins->params + 2 * n, inner->params + 2 * n);
  return same ? inner->in[0] : GRAD_NONE;
}

/* One of the parts that were put together. */
static grad_id slice_concat(const grad_rewrite *r) {
  const grad_instr *inner = grad__made_by(r->p, r->in[0], &grad__op_concat);
  if (!inner) return GRAD_NONE;
  const grad_type *whole = grad__type(r->p, r->in[0]);
  const int n = whole->ndim, axis = (int)inner->params[0];
  const int64_t *start = r->ins->params, *count = start + n, *step = count + n;
  for (int i = 0; i < n; i++) {
    if (step[i] != 1 && count[i] > 1) return GRAD_NONE;
    if (i != axis && (start[i] != 0 || count[i] != whole->shape[i])) return GRAD_NONE;
  }
  int64_t at = 0;
  for (int32_t k = 0; k < inner->nin && at <= start[axis]; k++) {
    const int64_t extent = grad__type(r->p, inner->in[k])->shape[axis];
    if (at == start[axis] && extent == count[axis]) return inner->in[k];
    at += extent;
  }
  return GRAD_NONE;
}

/* Do all parts stand for arrays whose rows, from the second axis on, are alike? */
static bool are_reshaped_rows(const grad_program *p, int32_t n, const grad_id *parts) {
  const grad_type *first = NULL;
  for (int32_t k = 0; k < n; k++) {
    const grad_instr *reshape = grad__made_by(p, parts[k], &grad__op_reshape);
    const grad_type *t = reshape ? grad__type(p, reshape->in[0]) : NULL;
    if (!first) first = t;
    if (!t || t->ndim < 1 || t->dtype != first->dtype) return false;
    if (!grad__shape_equal(t->ndim - 1, t->shape + 1, first->ndim - 1, first->shape + 1)) return false;
  }
  return true;
}

grad_id grad__concat_rows(grad_program *p, int32_t n, const grad_id *parts) {
  if (!are_reshaped_rows(p, n, parts)) return grad__concat(p, n, parts, 0);
  grad_id *sources = grad__arena_copy(&p->arena, parts, (size_t)n * sizeof *parts);
  if (!sources) return grad__program_fail(p, GRAD_ENOMEM, "out of memory");
  const grad_type part = *grad__type(p, parts[0]);
  int64_t shape[GRAD_MAX_AXES] = {0};
  for (int i = 1; i < part.ndim; i++) shape[i] = part.shape[i];
  for (int32_t k = 0; k < n; k++) {
    sources[k] = grad__producer(p, parts[k])->in[0];
    shape[0] += grad__type(p, parts[k])->shape[0];
  }
  return grad__reshape(p, grad__concat(p, n, sources, 0), part.ndim, shape);
}

static grad_id concat_reshaped(const grad_rewrite *r) {
  if (r->ins->params[0] != 0 || !are_reshaped_rows(r->p, r->ins->nin, r->in)) return GRAD_NONE;
  return grad__concat_rows(r->p, r->ins->nin, r->in);
}

/* --- reductions */

/* The axes of `outer`, which counts those that `inner` left, as axes of inner's operand. */
static int64_t joint_axes(int64_t inner, int64_t outer, int ndim) {
  int64_t axes = inner;
  for (int i = 0, left = 0; i < ndim; i++) {
    if (inner >> i & 1) continue;
    if (outer >> left & 1) axes |= (int64_t)1 << i;
    left++;
  }
  return axes;
}

static grad_id reduce_twice(const grad_rewrite *r) {
  const grad_instr *inner = grad__made_by(r->p, r->in[0], r->ins->op);
  if (!inner) return GRAD_NONE;
  const int ndim = grad__type(r->p, inner->in[0])->ndim;
  const int64_t axes = joint_axes(inner->params[0], r->ins->params[0], ndim);
  return grad__reduce(r->p, r->ins->op, inner->in[0], (uint32_t)axes, false);
}

/* A reduction takes the axes that go in any order; those that stay are put in their order afterwards. */
static grad_id reduce_source(const grad_rewrite *r, const grad_instr *permuted, uint32_t reduced) {
  const int64_t *source = permuted->params; /* the axis of x that axis i of the operand is */
  uint32_t axes = 0;
  int order[GRAD_MAX_AXES], kept = 0;
  for (int i = 0; i < permuted->nparams; i++)
    if (reduced >> i & 1) axes |= 1u << source[i];
  for (int i = 0; i < permuted->nparams; i++) {
    if (axes >> source[i] & 1) continue;
    order[kept] = 0;
    for (int64_t k = 0; k < source[i]; k++) order[kept] += !(axes >> k & 1);
    kept++;
  }
  return grad__permute(r->p, grad__reduce(r->p, r->ins->op, permuted->in[0], axes, false), order);
}

static grad_id reduce_permuted(const grad_rewrite *r) {
  const grad_instr *permuted = grad__made_by(r->p, r->in[0], &grad__op_permute);
  return permuted ? reduce_source(r, permuted, (uint32_t)r->ins->params[0]) : GRAD_NONE;
}

/* The axes of `from` that hold the same elements as some axes of `to`, another shape of the same array; false where
 * only a part of an axis does, and where there are no elements. */
static bool axes_before_reshape(const grad_type *from, const grad_type *to, uint32_t axes, uint32_t *out) {
  if (grad__type_numel(from) == 0) return false;
  *out = 0;
  for (grad_axes_pair at = {0, 0}, end; at.x < from->ndim || at.y < to->ndim; at = end) {
    end = grad__reshape_group_end(from, to, at);
    uint32_t source = 0, target = 0;
    for (int i = at.x; i < end.x; i++) source |= 1u << i;
    for (int j = at.y; j < end.y; j++)
      if (to->shape[j] != 1) target |= 1u << j;
    if (target & axes && target & ~axes) return false;
    if (target & axes) *out |= source;
  }
  return true;
}

/* A permuted array is copied to be reshaped; not if it is reduced first. */
static grad_id reduce_reshaped(const grad_rewrite *r) {
  const grad_instr *reshaped = grad__made_by(r->p, r->in[0], &grad__op_reshape);
  const grad_instr *permuted = reshaped ? grad__made_by(r->p, reshaped->in[0], &grad__op_permute) : NULL;
  const grad_type *out = grad__type(r->from, r->ins->out);
  uint32_t axes;
  if (!permuted || !axes_before_reshape(grad__type(r->p, reshaped->in[0]), grad__type(r->p, r->in[0]),
                                        (uint32_t)r->ins->params[0], &axes))
    return GRAD_NONE;
  return grad__reshape(r->p, reduce_source(r, permuted, axes), out->ndim, out->shape);
}

/* The sum of equal terms is their number times one of them; their largest is any of them. */
static grad_id reduce_broadcast(const grad_rewrite *r) {
  const grad_instr *spread = grad__made_by(r->p, r->in[0], &grad__op_broadcast);
  if (!spread) return GRAD_NONE;
  const grad_type t = *grad__type(r->p, r->in[0]), *source = grad__type(r->p, spread->in[0]);
  const int added = t.ndim - source->ndim;
  uint32_t axes = 0;
  int64_t count = 1, dropped[GRAD_MAX_AXES];
  int ndropped = 0;
  for (int i = 0; i < t.ndim; i++) {
    const bool reduced = r->ins->params[0] >> i & 1,
               repeats = i < added || (source->shape[i - added] == 1 && t.shape[i] != 1);
    if (reduced && !repeats) return GRAD_NONE;
    if (reduced) count *= t.shape[i];
    if (reduced && i >= added) axes |= 1u << (i - added);
    if (!reduced) dropped[ndropped++] = t.shape[i];
  }
  if (count == 0) return GRAD_NONE;
  const grad_id one = grad__reduce(r->p, r->ins->op, spread->in[0], axes, false);
  const grad_id all = r->ins->op == &grad__op_sum ? grad__mul(r->p, one, grad__lit(r->p, (double)count, one)) : one;
  return grad__broadcast(r->p, all, ndropped, dropped);
}

/* --- sums of products of repeated operands: matrix products */

/* An operand of the product: what it is before it is spread over the product's axes, and along which it varies. */
typedef struct factor {
  grad_id source; /* of the product's ndim, extent 1 where it does not vary */
  uint32_t varies;
} factor;

static factor factor_of(grad_program *p, grad_id v, int ndim) {
  const grad_instr *spread = grad__made_by(p, v, &grad__op_broadcast);
  factor f = {.source = v, .varies = 0};
  if (spread) {
    const grad_type *t = grad__type(p, spread->in[0]);
    int64_t shape[GRAD_MAX_AXES];
    for (int i = 0; i < ndim; i++) shape[i] = i < ndim - t->ndim ? 1 : t->shape[i - (ndim - t->ndim)];
    f.source = grad__reshape(p, spread->in[0], ndim, shape);
  }
  if (f.source == GRAD_NONE) return f;
  const int64_t *shape = grad__type(p, f.source)->shape;
  for (int i = 0; i < ndim; i++) f.varies |= shape[i] != 1 ? 1u << i : 0;
  return f;
}

static int64_t extents_in(const int64_t *shape, uint32_t axes) {
  int64_t n = 1;
  for (int i = 0; i < GRAD_MAX_AXES; i++) {
    if (axes >> i & 1) n *= shape[i];
  }
  return n;
}

/* Appends the axes of the mask, in order. */
static int append_axes(int *order, int n, uint32_t axes) {
  for (int i = 0; i < GRAD_MAX_AXES; i++) {
    if (axes >> i & 1) order[n++] = i;
  }
  return n;
}

/* The factor as batch x rows x inner, its axes in that order. */
static grad_id as_matrices(grad_program *p, const factor *f, const int64_t *shape, int ndim, uint32_t batch,
                           uint32_t rows, uint32_t inner) {
  int order[GRAD_MAX_AXES];
  int n = append_axes(order, append_axes(order, append_axes(order, 0, batch), rows), inner);
  n = append_axes(order, n, ((1u << ndim) - 1) & ~(batch | rows | inner));
  const int64_t matrices[3] = {extents_in(shape, batch), extents_in(shape, rows), extents_in(shape, inner)};
  return grad__reshape(p, grad__permute(p, f->source, order), 3, matrices);
}

/* sum over `inner` of a * b, where a also has rows, b also columns, and both the batch axes. Pays when all three are
 * there: the product of all elements is then never made. */
static grad_id sum_of_product(const grad_rewrite *r) {
  const grad_instr *product = grad__made_by(r->p, r->in[0], &grad__op_mul);
  if (!product || !grad__dtype_is_float(grad__type(r->p, r->in[0])->dtype)) return GRAD_NONE;
  const grad_type t = *grad__type(r->p, r->in[0]);
  const grad_id left = product->in[0], right = product->in[1];
  const bool spread = grad__made_by(r->p, left, &grad__op_broadcast) && grad__made_by(r->p, right, &grad__op_broadcast);
  if (!spread) return GRAD_NONE;
  const factor a = factor_of(r->p, left, t.ndim), b = factor_of(r->p, right, t.ndim);
  const uint32_t sum = (uint32_t)r->ins->params[0], inner = a.varies & b.varies & sum;
  const uint32_t rows = a.varies & ~b.varies, columns = b.varies & ~a.varies, batch = a.varies & b.varies & ~sum;
  if ((rows | columns) & sum || sum & ~inner) return GRAD_NONE;
  if (extents_in(t.shape, rows) < 4 || extents_in(t.shape, columns) < 4 || extents_in(t.shape, inner) < 4)
    return GRAD_NONE;
  const grad_id x = as_matrices(r->p, &a, t.shape, t.ndim, batch, rows, inner);
  const grad_id y = as_matrices(r->p, &b, t.shape, t.ndim, batch, columns, inner);
  int order[GRAD_MAX_AXES], back[GRAD_MAX_AXES];
  const int n = append_axes(order, append_axes(order, append_axes(order, 0, batch), rows), columns);
  int64_t shape[GRAD_MAX_AXES], out[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) shape[i] = t.shape[order[i]];
  int kept = 0;
  for (int axis = 0; axis < t.ndim; axis++) {
    for (int i = 0; i < n; i++) {
      if (order[i] == axis) back[kept++] = i;
    }
  }
  grad_id z = grad__permute(r->p, grad__reshape(r->p, grad__matmul(r->p, x, y, false, true), n, shape), back);
  int nout = 0;
  for (int axis = 0; axis < t.ndim; axis++) {
    if (!(sum >> axis & 1)) out[nout++] = t.shape[axis];
  }
  return grad__reshape(r->p, z, nout, out);
}

/* --- transposes and matrix products */

static bool swaps_last_two(const grad_instr *permute) {
  const int n = permute->nparams;
  for (int i = 0; i < n; i++) {
    const int want = i == n - 2 ? n - 1 : i == n - 1 ? n - 2 : i;
    if (permute->params[i] != want) return false;
  }
  return n >= 2;
}

static grad_id matmul_of_transposed(const grad_rewrite *r) {
  grad_id in[2];
  bool transposed[2], any = false;
  for (int k = 0; k < 2; k++) {
    const grad_instr *permute = grad__made_by(r->p, r->in[k], &grad__op_permute);
    const bool swaps = permute && swaps_last_two(permute);
    in[k] = swaps ? permute->in[0] : r->in[k];
    transposed[k] = (r->ins->params[k] != 0) != swaps;
    any = any || swaps;
  }
  return any ? grad__matmul(r->p, in[0], in[1], transposed[0], transposed[1]) : GRAD_NONE;
}

/* (a b)' is b' a', made in its own order at once; not when the product is needed as it is too. */
static grad_id transposed_matmul(const grad_rewrite *r) {
  const grad_instr *product = grad__made_by(r->p, r->in[0], &grad__op_matmul);
  if (!product || !swaps_last_two(r->ins) || r->uses[r->ins->in[0]] != 1) return GRAD_NONE;
  return grad__matmul(r->p, product->in[1], product->in[0], !product->params[1], !product->params[0]);
}

enum { ALWAYS = 0, FINAL = GRAD_SIMPLIFY_FINAL };
const grad_rule grad__shape_rules[] = {
    {&grad__op_reshape, constant_view, ALWAYS, "reshape(constant)"},
    {&grad__op_permute, constant_view, ALWAYS, "permute(constant)"},
    {&grad__op_reshape, reshape_chain, ALWAYS, "reshape(reshape x)"},
    {&grad__op_permute, permute_chain, ALWAYS, "permute(permute x)"},
    {&grad__op_broadcast, broadcast_chain, ALWAYS, "broadcast(broadcast x)"},
    {&grad__op_convert, convert_same, ALWAYS, "convert to the same dtype"},
    {&grad__op_stop_gradient, stop_gradient, FINAL, "stop_gradient x"},
    {&grad__op_slice, slice_unslice, ALWAYS, "slice(unslice x)"},
    {&grad__op_slice, slice_concat, ALWAYS, "slice(concat parts)"},
    {&grad__op_concat, concat_reshaped, ALWAYS, "concat of reshaped rows"},
    {&grad__op_sum, sum_of_product, ALWAYS, "sum(broadcast a * broadcast b)"},
    {&grad__op_sum, reduce_broadcast, ALWAYS, "sum(broadcast x)"},
    {&grad__op_max, reduce_broadcast, ALWAYS, "max(broadcast x)"},
    {&grad__op_min, reduce_broadcast, ALWAYS, "min(broadcast x)"},
    {&grad__op_sum, reduce_permuted, ALWAYS, "sum(permute x)"},
    {&grad__op_prod, reduce_permuted, ALWAYS, "prod(permute x)"},
    {&grad__op_max, reduce_permuted, ALWAYS, "max(permute x)"},
    {&grad__op_min, reduce_permuted, ALWAYS, "min(permute x)"},
    {&grad__op_any, reduce_permuted, ALWAYS, "any(permute x)"},
    {&grad__op_all, reduce_permuted, ALWAYS, "all(permute x)"},
    {&grad__op_sum, reduce_reshaped, ALWAYS, "sum(reshape(permute x))"},
    {&grad__op_max, reduce_reshaped, ALWAYS, "max(reshape(permute x))"},
    {&grad__op_min, reduce_reshaped, ALWAYS, "min(reshape(permute x))"},
    {&grad__op_sum, reduce_twice, ALWAYS, "sum(sum x)"},
    {&grad__op_max, reduce_twice, ALWAYS, "max(max x)"},
    {&grad__op_min, reduce_twice, ALWAYS, "min(min x)"},
    {&grad__op_matmul, matmul_of_transposed, ALWAYS, "matmul of a transpose"},
    {&grad__op_permute, transposed_matmul, ALWAYS, "transpose of a matmul"},
    {NULL, NULL, ALWAYS, NULL},
};

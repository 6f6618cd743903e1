/* rows_shape.c: rearranging elements. What strides can express shares memory when eager. */
#include "lua/call.h"
#include "ops/compose.h"

static grad_id first(grad_call *c) { return grad__call_tensor(c, 1, "x"); }
static int ndim_of(const grad_call *c, grad_id x) { return grad__call_type(c, x)->ndim; }

/* One -1 is worked out from the others. */
static void infer_extent(grad_call *c, const grad_type *from, grad_shape *to) {
  int64_t known = 1, numel = grad__type_numel(from);
  int unknown = -1;
  for (int i = 0; i < to->ndim; i++) {
    if (to->at[i] >= 0)
      known *= to->at[i];
    else if (unknown >= 0)
      grad__lua_error(c->L, "only one extent of a shape can be -1");
    else
      unknown = i;
  }
  if (unknown >= 0 && known > 0 && numel % known == 0) {
    to->at[unknown] = numel / known;
    return;
  }
  if (unknown < 0 && known == numel) return;
  grad__lua_error(c->L, "a tensor of shape %s (%lld elements) cannot take the shape %s",
                  grad__shape_text(from->ndim, from->shape).chars, (long long)numel,
                  grad__shape_text(to->ndim, to->at).chars);
}

static void build_reshape(grad_call *c) {
  grad_id x = first(c);
  grad_shape shape;
  grad__arg_shape(c->L, 2, c->nargs, true, &shape);
  infer_extent(c, grad__call_type(c, x), &shape);
  grad__call_return(c, grad__reshape(c->p, x, shape.ndim, shape.at));
}

static void build_view_as(grad_call *c) {
  grad_id x = first(c);
  const grad_array *other = &grad__tensor_check(c->L, 2, "the other tensor")->array;
  grad_shape shape = {.ndim = other->ndim};
  for (int i = 0; i < other->ndim; i++) shape.at[i] = other->shape[i];
  infer_extent(c, grad__call_type(c, x), &shape);
  grad__call_return(c, grad__reshape(c->p, x, shape.ndim, shape.at));
}

static void build_flatten(grad_call *c) {
  grad_id x = first(c);
  const int ndim = ndim_of(c, x);
  int from = ndim ? grad__arg_axis_or(c->L, 2, "the first axis", ndim, 0) : 0;
  int to = ndim ? grad__arg_axis_or(c->L, 3, "the last axis", ndim, ndim - 1) : -1;
  int64_t shape[GRAD_MAX_AXES], merged = 1;
  int n = 0;
  if (to < from && ndim) grad__lua_error(c->L, "the last axis (%d) comes before the first (%d)", to + 1, from + 1);
  for (int i = 0; i < from; i++) shape[n++] = grad__call_type(c, x)->shape[i];
  for (int i = from; i <= to; i++) merged *= grad__call_type(c, x)->shape[i];
  shape[n++] = merged;
  for (int i = to + 1; i < ndim; i++) shape[n++] = grad__call_type(c, x)->shape[i];
  grad__call_return(c, grad__reshape(c->p, x, n, shape));
}

static void build_transpose(grad_call *c) {
  grad_id x = first(c);
  const int ndim = ndim_of(c, x);
  if (c->nargs < 2 && ndim < 2) grad__lua_error(c->L, "needs at least two axes, or the two axes to exchange");
  int a = c->nargs >= 2 ? grad__arg_axis(c->L, 2, "the first axis", ndim) : ndim - 2;
  int b = c->nargs >= 2 ? grad__arg_axis(c->L, 3, "the second axis", ndim) : ndim - 1;
  grad__call_return(c, grad__swap_axes(c->p, x, a, b));
}

static void build_t(grad_call *c) {
  grad_id x = first(c);
  const int ndim = ndim_of(c, x);
  grad__call_return(c, ndim < 2 ? x : grad__swap_axes(c->p, x, ndim - 2, ndim - 1));
}

static void build_permute(grad_call *c) {
  grad_id x = first(c);
  const int ndim = ndim_of(c, x);
  int64_t given[GRAD_MAX_AXES];
  int axes[GRAD_MAX_AXES], n = 0;
  uint32_t seen = 0;
  if (lua_istable(c->L, 2))
    n = grad__arg_integers(c->L, 2, "axes", GRAD_MAX_AXES, given);
  else
    for (int i = 2; i <= c->nargs && n < GRAD_MAX_AXES; i++) given[n++] = grad__arg_integer(c->L, i, "axis");
  if (n != ndim) grad__lua_error(c->L, "needs each of the %d axes once, got %d", ndim, n);
  for (int i = 0; i < n; i++) {
    axes[i] = grad__axis_check(c->L, given[i], "axis", ndim);
    if (seen & 1u << axes[i]) grad__lua_error(c->L, "axis %lld is named twice", (long long)given[i]);
    seen |= 1u << axes[i];
  }
  grad__call_return(c, grad__permute(c->p, x, axes));
}

static void build_unsqueeze(grad_call *c) {
  grad_id x = first(c);
  grad__call_return(c, grad__insert_axis(c->p, x, grad__arg_axis(c->L, 2, "axis", ndim_of(c, x) + 1)));
}

static void build_squeeze(grad_call *c) {
  grad_id x = first(c);
  const grad_type type = *grad__call_type(c, x);
  int64_t shape[GRAD_MAX_AXES];
  int n = 0, only = !lua_isnil(c->L, 2) ? grad__arg_axis(c->L, 2, "axis", type.ndim) : -1;
  if (only >= 0 && type.shape[only] != 1)
    grad__lua_error(c->L, "axis %d has extent %lld: only an axis of extent 1 can go", only + 1,
                    (long long)type.shape[only]);
  for (int i = 0; i < type.ndim; i++)
    if (type.shape[i] != 1 || (only >= 0 && i != only)) shape[n++] = type.shape[i];
  grad__call_return(c, grad__reshape(c->p, x, n, shape));
}

/* -1 keeps an extent. */
static void build_expand(grad_call *c) {
  grad_id x = first(c);
  const grad_type *type = grad__call_type(c, x);
  grad_shape shape;
  grad__arg_shape(c->L, 2, c->nargs, true, &shape);
  for (int i = 0; i < shape.ndim; i++) {
    int from = i - (shape.ndim - type->ndim);
    if (shape.at[i] == -1 && from < 0) grad__lua_error(c->L, "-1 keeps an extent, but axis %d is new", i + 1);
    if (shape.at[i] == -1) shape.at[i] = type->shape[from];
  }
  grad__call_return(c, grad__broadcast(c->p, x, shape.ndim, shape.at));
}

static void build_flip(grad_call *c) {
  grad_id x = first(c);
  grad__call_return(c, grad__flip(c->p, x, grad__arg_axes(c->L, 2, "axis", ndim_of(c, x))));
}

/* With no axis the elements move in row order. */
static void build_roll(grad_call *c) {
  grad_id x = first(c);
  int64_t shift = grad__arg_integer(c->L, 2, "shift");
  const grad_type type = *grad__call_type(c, x);
  int64_t numel = grad__type_numel(&type);
  if (c->nargs >= 3) {
    grad__call_return(c, grad__roll(c->p, x, shift, grad__arg_axis(c->L, 3, "axis", type.ndim)));
    return;
  }
  x = grad__roll(c->p, grad__reshape(c->p, x, 1, &numel), shift, 0);
  grad__call_return(c, grad__reshape(c->p, x, type.ndim, type.shape));
}

static void build_tile(grad_call *c) {
  grad_id x = first(c);
  grad_shape repeats;
  grad__arg_shape(c->L, 2, c->nargs, false, &repeats);
  grad__call_return(c, grad__tile(c->p, x, repeats.ndim, repeats.at));
}

static void build_repeat_interleave(grad_call *c) {
  grad_id x = first(c);
  int64_t n = grad__arg_integer(c->L, 2, "the number of repeats"), numel = grad__type_numel(grad__call_type(c, x));
  if (n < 0) grad__lua_error(c->L, "the number of repeats is negative");
  if (c->nargs >= 3)
    grad__call_return(c, grad__repeat_interleave(c->p, x, n, grad__arg_axis(c->L, 3, "axis", ndim_of(c, x))));
  else
    grad__call_return(c, grad__repeat_interleave(c->p, grad__reshape(c->p, x, 1, &numel), n, 0));
}

/* --- joining and splitting */

static void build_concat(grad_call *c) {
  grad_id *parts;
  int n = grad__call_list(c, 1, "the list", &parts);
  grad_dtype dtype = GRAD_BOOL;
  for (int i = 0; i < n; i++) dtype = grad__dtype_promote(dtype, grad__call_type(c, parts[i])->dtype);
  for (int i = 0; i < n; i++) parts[i] = grad__convert(c->p, parts[i], dtype);
  int axis = grad__arg_axis_or(c->L, 2, "axis", ndim_of(c, parts[0]), 0);
  grad__call_return(c, grad__concat(c->p, n, parts, axis));
}

static void build_stack(grad_call *c) {
  grad_id *parts;
  int n = grad__call_list(c, 1, "the list", &parts);
  int axis = grad__arg_axis_or(c->L, 2, "axis", ndim_of(c, parts[0]) + 1, 0);
  grad__call_return(c, grad__stack(c->p, n, parts, axis));
}

static grad_id *id_buffer(grad_call *c, int64_t n) {
  return lua_newuserdatauv(c->L, (size_t)n * sizeof(grad_id) + 1, 0);
}

static void build_split(grad_call *c) {
  enum { MOST = 1 << 16 };
  grad_id x = first(c);
  int axis =
      c->nargs >= 3 ? grad__arg_axis(c->L, 3, "axis", ndim_of(c, x)) : grad__axis_check(c->L, 1, "axis", ndim_of(c, x));
  if (!lua_istable(c->L, 2)) grad__arg_error(c->L, 2, "sizes", "a list of extents (x:chunk(n) makes n equal parts)");
  if (lua_rawlen(c->L, 2) > MOST) grad__lua_error(c->L, "at most %d parts are possible", MOST);
  int most = (int)lua_rawlen(c->L, 2);
  int64_t *sizes = lua_newuserdatauv(c->L, (size_t)most * sizeof *sizes + 1, 0), sum = 0;
  int n = grad__arg_integers(c->L, 2, "sizes", most, sizes);
  for (int i = 0; i < n; i++) {
    if (sizes[i] < 0) grad__lua_error(c->L, "size %d is negative", i + 1);
    sum += sizes[i];
  }
  int64_t extent = grad__call_type(c, x)->shape[axis];
  if (sum != extent)
    grad__lua_error(c->L, "the sizes add up to %lld, but axis %d has extent %lld", (long long)sum, axis + 1,
                    (long long)extent);
  grad_id *parts = id_buffer(c, n);
  grad__split(c->p, x, n, sizes, axis, parts);
  for (int i = 0; i < n; i++) grad__call_return(c, parts[i]);
  c->list = true;
}

static void build_chunk(grad_call *c) {
  grad_id x = first(c);
  int64_t n = grad__arg_integer(c->L, 2, "the number of parts");
  int axis =
      c->nargs >= 3 ? grad__arg_axis(c->L, 3, "axis", ndim_of(c, x)) : grad__axis_check(c->L, 1, "axis", ndim_of(c, x));
  if (n < 1) grad__lua_error(c->L, "the number of parts must be at least 1, got %lld", (long long)n);
  int64_t extent = grad__call_type(c, x)->shape[axis];
  if (n > extent) n = extent > 0 ? extent : 1;
  grad_id *parts = id_buffer(c, n);
  int count = 0;
  grad__chunk(c->p, x, n, axis, &count, parts);
  for (int i = 0; i < count; i++) grad__call_return(c, parts[i]);
  c->list = true;
}

/* {{before, after}, ...}: one pair an axis; a missing pair pads nothing. */
static void build_pad(grad_call *c) {
  grad_id x = first(c);
  int64_t before[GRAD_MAX_AXES] = {0}, after[GRAD_MAX_AXES] = {0}, pair[2];
  int ndim = ndim_of(c, x);
  if (!lua_istable(c->L, 2)) grad__arg_error(c->L, 2, "pairs", "a list of {before, after}, one an axis");
  lua_Integer n = (lua_Integer)lua_rawlen(c->L, 2);
  if (n > ndim) grad__lua_error(c->L, "%d pairs for %d ax%s", (int)n, ndim, ndim == 1 ? "is" : "es");
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(c->L, 2, i + 1);
    const int given = grad__arg_integers(c->L, lua_gettop(c->L), "a pair", 2, pair);
    if (given == 0) pair[0] = pair[1] = 0;
    if (given == 1) grad__lua_error(c->L, "pair %d must be {before, after}, or {} for none", (int)i + 1);
    if (pair[0] < 0 || pair[1] < 0)
      grad__lua_error(c->L, "pair %d is negative: x[{ {from, to} }] cuts off", (int)i + 1);
    before[i] = pair[0], after[i] = pair[1];
    lua_pop(c->L, 1);
  }
  const double value = grad__option_number(c->L, c->options, "value", 0);
  grad__check_fits(c->L, value, grad__call_type(c, x)->dtype);
  grad__call_return(c, grad__pad(c->p, x, before, after, value));
}

#define VIEW(NAME, SIGNATURE, DOC)                                                                                     \
  { .name = #NAME, .signature = SIGNATURE, .doc = DOC, .build = build_##NAME, .method = true, .views = true }
#define LIST(NAME, SIGNATURE, DOC)                                                                                     \
  { .name = #NAME, .signature = SIGNATURE, .doc = DOC, .build = build_##NAME }
static const grad_fn rows[] = {
    VIEW(reshape, "x, shape... -> tensor", "the same elements in row order in another shape; one extent may be -1"),
    VIEW(view_as, "x, other -> tensor", "x in the shape of another tensor"),
    VIEW(flatten, "x [, first, last] -> tensor", "axes first .. last (all) as one"),
    VIEW(transpose, "x [, a, b] -> tensor", "two axes exchanged (the last two)"),
    VIEW(t, "x -> tensor", "the last two axes exchanged"),
    VIEW(permute, "x, axes... -> tensor", "the axes in a new order"),
    VIEW(unsqueeze, "x, axis -> tensor", "a new axis of extent 1 at `axis`"),
    VIEW(squeeze, "x [, axis] -> tensor", "without axes of extent 1, or without that one"),
    VIEW(expand, "x, shape... -> tensor", "repeated along axes of extent 1, without a copy; -1 keeps an extent"),
    VIEW(split, "x, sizes [, axis = 1] -> list", "parts of the given extents"),
    VIEW(chunk, "x, n [, axis = 1] -> list", "at most n parts of equal extent, the last one smaller"),
    GRAD_BUILDER(flip, "x [, axis] -> tensor", "the order along the axes (all) reversed"),
    GRAD_BUILDER(roll, "x, shift [, axis] -> tensor", "moved along an axis, what leaves comes in at the other end"),
    GRAD_BUILDER(tile, "x, repeats... -> tensor", "the whole repeated along each axis"),
    GRAD_BUILDER(repeat_interleave, "x, n [, axis] -> tensor", "each element repeated n times"),
    GRAD_BUILDER(pad, "x, pairs [, {value = 0}] -> tensor", "filled up by {before, after} entries along each axis"),
    LIST(concat, "list [, axis = 1] -> tensor", "tensors one after the other along an axis"),
    LIST(stack, "list [, axis = 1] -> tensor", "tensors of one shape side by side along a new axis"),
    GRAD_FN_END,
};

void grad__open_rows_shape(lua_State *L) { grad__lua_register(L, rows); }

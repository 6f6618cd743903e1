/* index.c: reading x[...]: numbers, ranges, masks and positions, counted from 1 and from the end. */
#include "lua/ops/index.h"

#include <string.h>

#include "lua/trace.h"
#include "ops/compose.h"

/* --- reading */

static int64_t position(lua_State *L, int64_t i, int64_t extent, const grad_array *x) {
  if (i == 0) grad__lua_error(L, "index 0: Lua counts from 1 (and -1 is the last)");
  if (i < -extent || i > extent)
    grad__lua_error(L, "index %lld is out of range: the extent is %lld (shape %s)", (long long)i, (long long)extent,
                    grad__shape_text(x->ndim, x->shape).chars);
  return i > 0 ? i - 1 : i + extent;
}

static int64_t range_entry(lua_State *L, int item, int k) {
  lua_rawgeti(L, item, k);
  int64_t value = grad__arg_integer(L, -1, "an end or step of a range");
  lua_pop(L, 1);
  return value;
}

/* {}, {from, to} or {from, to, step}; both ends belong to it. */
static void read_range(lua_State *L, int item, int64_t extent, const grad_array *x, grad_pick *pick) {
  lua_Unsigned n = lua_rawlen(L, item);
  *pick = (grad_pick){.kind = GRAD_PICK_RANGE, .axes = 1, .count = extent, .step = 1};
  if (n == 0) return;
  if (n == 1)
    grad__lua_error(L,
                    "{i} in an index list is no range: write i for one position, {from, to} for a range, {} for all");
  if (n > 3) grad__lua_error(L, "a range is {from, to} or {from, to, step}, got %d entries", (int)n);
  int64_t from = position(L, range_entry(L, item, 1), extent, x), to = position(L, range_entry(L, item, 2), extent, x);
  int64_t step = n == 3 ? range_entry(L, item, 3) : 1;
  if (step == 0) grad__lua_error(L, "the step of a range is 0");
  bool empty = step > 0 ? to < from : to > from;
  pick->start = empty ? 0 : from;
  pick->count = empty ? 0 : (to - from) / step + 1;
  pick->step = step;
}

/* Pushes the positions, from 1, of the true elements of the mask at `item`, in row order. */
static void push_positions(lua_State *L, int item, const char *doing) {
  const grad_array *mask = grad__trace_read(L, grad__tensor_to(L, item), doing);
  int64_t n = grad__mask_count(mask);
  int64_t *at = grad__tensor_new(L, GRAD_I64, 1, &n)->data;
  grad__mask_positions(mask, at);
  for (int64_t i = 0; i < n; i++) at[i]++;
}

/* The mask's shape must be that of the axes it covers, from `axis` on. */
static void read_mask(lua_State *L, int item, const grad_array *x, int axis, grad_pick *pick) {
  const grad_array *mask = &grad__tensor_to(L, item)->array;
  bool fits = mask->ndim > 0 && axis + mask->ndim <= x->ndim;
  for (int i = 0; fits && i < mask->ndim; i++) fits = mask->shape[i] == x->shape[axis + i];
  if (!fits)
    grad__lua_error(L, "a mask of shape %s does not fit a tensor of shape %s from axis %d on",
                    grad__shape_text(mask->ndim, mask->shape).chars, grad__shape_text(x->ndim, x->shape).chars,
                    axis + 1);
  *pick = (grad_pick){.kind = GRAD_PICK_POSITIONS, .axes = mask->ndim};
  push_positions(L, item, "x[mask], which has as many rows as the mask has true elements,");
  pick->tensor = lua_gettop(L);
}

static void read_item(lua_State *L, int item, const grad_array *x, int axis, grad_pick *pick) {
  int exact = 0;
  lua_Integer i = lua_type(L, item) == LUA_TNUMBER ? lua_tointegerx(L, item, &exact) : 0;
  const grad_tensor *t = grad__tensor_to(L, item);
  if (exact) {
    *pick = (grad_pick){
        .kind = GRAD_PICK_ONE, .axes = 1, .start = position(L, i, x->shape[axis], x), .count = 1, .step = 1};
  } else if (t && t->array.dtype == GRAD_BOOL) {
    read_mask(L, item, x, axis, pick);
  } else if (t) {
    if (t->array.dtype != GRAD_I64)
      grad__lua_error(L, "positions must be i64, got %s: convert with :to(\"i64\")", grad__dtype_name(t->array.dtype));
    lua_pushvalue(L, item);
    *pick = (grad_pick){.kind = GRAD_PICK_POSITIONS, .axes = 1, .tensor = lua_gettop(L)};
  } else if (lua_istable(L, item)) {
    read_range(L, item, x->shape[axis], x, pick);
  } else {
    grad__arg_error(L, item, "an index", "an integer, a range, or a tensor of positions or a mask");
  }
}

static void read_list(lua_State *L, const grad_array *x, int key, grad_index *out, int *axis) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, key);
  for (lua_Integer k = 1; k <= n; k++) {
    if (*axis >= x->ndim)
      grad__lua_error(L, "%d indices for a tensor of shape %s", (int)n, grad__shape_text(x->ndim, x->shape).chars);
    lua_rawgeti(L, key, k);
    grad_pick *pick = &out->pick[out->count++];
    read_item(L, lua_gettop(L), x, *axis, pick);
    *axis += pick->axes;
  }
}

void grad__index_read(lua_State *L, const grad_array *x, int key, grad_index *out) {
  int axis = 0;
  out->count = 0;
  out->basic = true;
  key = lua_absindex(L, key);
  luaL_checkstack(L, 3 * GRAD_MAX_AXES, NULL);
  if (lua_istable(L, key)) {
    read_list(L, x, key, out, &axis);
  } else {
    if (x->ndim == 0) grad__lua_error(L, "a 0-d tensor cannot be indexed: x:item() gives its number");
    grad_pick *pick = &out->pick[out->count++];
    read_item(L, key, x, 0, pick);
    axis += pick->axes;
  }
  for (int k = 0; k < out->count; k++) out->basic = out->basic && out->pick[k].kind != GRAD_PICK_POSITIONS;
  for (; axis < x->ndim; axis++)
    out->pick[out->count++] = (grad_pick){.kind = GRAD_PICK_RANGE, .axes = 1, .count = x->shape[axis], .step = 1};
}

/* --- applying */

void grad__index_view(const grad_array *x, const grad_index *index, grad_array *out) {
  grad_array from = *x;
  for (int k = index->count - 1; k >= 0;
       k--) { /* from the last axis, so that dropping one leaves the others' numbers */
    const grad_pick *pick = &index->pick[k];
    if (pick->kind == GRAD_PICK_ONE)
      grad__view_drop(&from, k, pick->start, out);
    else
      grad__view_slice(&from, k, pick->start, pick->count, pick->step, out);
    from = *out;
  }
  *out = from;
}

/* Ranges and single positions, which stay as axes of extent 1; axes with positions are left whole. */
static grad_id take_ranges(grad_call *c, grad_id x, const grad_index *index) {
  int64_t start[GRAD_MAX_AXES], count[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  const grad_type *type = grad__call_type(c, x);
  int axis = 0;
  for (int k = 0; k < index->count; k++) {
    const grad_pick *pick = &index->pick[k];
    for (int i = 0; i < pick->axes; i++, axis++) {
      bool whole = pick->kind == GRAD_PICK_POSITIONS;
      start[axis] = whole ? 0 : pick->start;
      count[axis] = whole ? type->shape[axis] : pick->count;
      step[axis] = whole ? 1 : pick->step;
    }
  }
  return grad__slice(c->p, x, start, count, step);
}

/* Single positions lose their axis, the axes of a mask become one: one axis a pick. */
static grad_id merge_axes(grad_call *c, grad_id x, const grad_index *index, int *npicks, grad_pick *picks) {
  int64_t shape[GRAD_MAX_AXES];
  const grad_type *type = grad__call_type(c, x);
  int axis = 0, n = 0;
  for (int k = 0; k < index->count; k++) {
    int64_t extent = 1;
    for (int i = 0; i < index->pick[k].axes; i++) extent *= type->shape[axis++];
    if (index->pick[k].kind == GRAD_PICK_ONE) continue;
    shape[n] = extent;
    picks[n++] = index->pick[k];
  }
  *npicks = n;
  return grad__reshape(c->p, x, n, shape);
}

/* Several tensors of positions go pairwise, as in NumPy: their axes are moved together (to the first one's place when
 * they are neighbours, else to the front), merged into one, and picked by one position. */
static grad_id take_pairwise(grad_call *c, grad_id x, int n, const grad_pick *picks) {
  int order[GRAD_MAX_AXES] = {0}, first = -1, last = -1, found = 0, at = 0;
  grad_id index[GRAD_MAX_AXES];
  int64_t extents[GRAD_MAX_AXES], shape[GRAD_MAX_AXES];
  const grad_type *type = grad__call_type(c, x);
  for (int k = 0; k < n; k++) {
    if (picks[k].kind != GRAD_PICK_POSITIONS) continue;
    extents[found] = type->shape[k];
    index[found++] = grad__positions(c->p, grad__call_capture(c, picks[k].tensor), type->shape[k]);
    if (first < 0) first = k;
    last = k;
  }
  int place = last - first + 1 == found ? first : 0;
  for (int k = 0, rest = 0; k <= n; k++) {
    if (rest == place)
      for (int j = 0; j < n; j++)
        if (picks[j].kind == GRAD_PICK_POSITIONS) order[at++] = j;
    if (rest == place) rest++;
    if (k < n && picks[k].kind != GRAD_PICK_POSITIONS) order[at++] = k, rest++;
  }
  x = grad__permute(c->p, x, order);
  if (x == GRAD_NONE) return x;
  type = grad__call_type(c, x);
  int ndim = 0;
  for (int k = 0; k < n; k++) {
    if (k > place && k < place + found)
      shape[ndim - 1] *= type->shape[k];
    else
      shape[ndim++] = type->shape[k];
  }
  return grad__take(c->p, grad__reshape(c->p, x, ndim, shape), grad__ravel_index(c->p, found, index, extents), place);
}

grad_id grad__index_get(grad_call *c, grad_id x, const grad_index *index) {
  grad_pick picks[GRAD_MAX_AXES + 1];
  int n, positions = 0, axis = 0;
  x = take_ranges(c, x, index);
  if (x == GRAD_NONE) return x;
  x = merge_axes(c, x, index, &n, picks);
  if (x == GRAD_NONE) return x;
  for (int k = 0; k < n; k++) {
    if (picks[k].kind != GRAD_PICK_POSITIONS) continue;
    positions++;
    axis = k;
  }
  if (positions == 0) return x;
  if (positions > 1) return take_pairwise(c, x, n, picks);
  grad_id at = grad__call_capture(c, picks[axis].tensor);
  return grad__take(c->p, x, grad__positions(c->p, at, grad__call_type(c, x)->shape[axis]), axis);
}

/* Value broadcast to the shape with single positions as axes of extent 1. */
static grad_id put_ranges(grad_call *c, grad_id x, const grad_index *index, grad_id value) {
  int64_t start[GRAD_MAX_AXES], count[GRAD_MAX_AXES], step[GRAD_MAX_AXES], kept[GRAD_MAX_AXES];
  int ndim = 0;
  for (int k = 0; k < index->count; k++) {
    const grad_pick *pick = &index->pick[k];
    start[k] = pick->start, count[k] = pick->count, step[k] = pick->step;
    if (pick->kind == GRAD_PICK_RANGE) kept[ndim++] = pick->count;
  }
  value = grad__reshape(c->p, grad__broadcast(c->p, value, ndim, kept), index->count, count);
  return grad__put_slice(c->p, x, start, count, step, value);
}

/* What was picked is known by picking from the elements' own positions; there the values go. */
static grad_id put_positions(grad_call *c, grad_id x, const grad_index *index, grad_id value) {
  grad_type type = *grad__call_type(c, x);
  int64_t numel = grad__type_numel(&type), picked;
  grad_id all = grad__reshape(c->p, grad__iota(c->p, GRAD_I64, 1, &numel, 0), type.ndim, type.shape);
  grad_id at = grad__index_get(c, all, index);
  if (at == GRAD_NONE) return at;
  picked = grad__type_numel(grad__call_type(c, at));
  value = grad__broadcast(c->p, value, grad__call_type(c, at)->ndim, grad__call_type(c, at)->shape);
  x = grad__put_index(c->p, grad__reshape(c->p, x, 1, &numel), grad__reshape(c->p, at, 1, &picked), 0,
                      grad__reshape(c->p, value, 1, &picked));
  return grad__reshape(c->p, x, type.ndim, type.shape);
}

grad_id grad__index_put(grad_call *c, grad_id x, const grad_index *index, grad_id value) {
  if (x == GRAD_NONE || value == GRAD_NONE) return GRAD_NONE;
  value = grad__convert(c->p, value, grad__call_type(c, x)->dtype);
  return index->basic ? put_ranges(c, x, index, value) : put_positions(c, x, index, value);
}

/* transform_vmap.c: gl.vmap: the function is recorded for one example, the program is batched, and run once for all. */
#include <string.h>

#include "lua/call.h"
#include "lua/ops/random.h"
#include "lua/transforms/transform.h"
#include "ops/ops.h"

/* Upvalues: 3 the function, 4 in_axes, 5 out_axes: a number, or a list with a number, false or a table of these for
 * each. Behind the n arguments: the trace, the list of batched values (batch axis first), the results. */
enum { AT_TRACE = 1, AT_VALUES = 2, AT_RESULTS = 3 };

/* Does the table at `index` name its entries (rather than list them)? */
static bool is_named(lua_State *L, int index) {
  lua_pushnil(L);
  if (!lua_next(L, index)) return false;
  bool named = lua_type(L, -2) == LUA_TSTRING;
  lua_pop(L, 2);
  return named;
}

/* Pushes what axes say of entry i (from 1): a table with names is about the first entry. */
static void push_axes_of(lua_State *L, int axes, int i) {
  if (!lua_istable(L, axes) || (i == 1 && is_named(L, axes)))
    lua_pushvalue(L, axes);
  else
    lua_rawgeti(L, axes, i);
}

/* The axis the value at `index` stands for, as Lua counts: nothing is 1; false is 0, which means not batched. */
static lua_Integer axis_at(lua_State *L, int index, const char *what) {
  if (lua_isnil(L, index)) return 1;
  if (lua_isboolean(L, index) && !lua_toboolean(L, index)) return 0;
  if (!lua_isinteger(L, index))
    grad__lua_error(L, "%s must be an axis, false, or a table of these with the structure of the value, got a %s", what,
                    luaL_typename(L, index));
  if (lua_tointeger(L, index) == 0) grad__lua_error(L, "%s is 0, but Lua counts from 1 (the last is -1)", what);
  return lua_tointeger(L, index);
}

/* Appends to the list `out` the axis of each leaf of `value`: `axes` is one for all of them, or a table by key. */
static void spread_axes(lua_State *L, int value, int axes, int out, const char *what, int depth) {
  grad__tree_enter(L, depth, what);
  if (lua_istable(L, axes) && lua_istable(L, value)) {
    grad_keys keys;
    grad__keys_open(L, value, "an argument", &keys);
    for (lua_Integer i = 0; i < keys.count; i++) {
      grad__keys_push(L, &keys, i);
      lua_pushvalue(L, -1);
      lua_rawget(L, value);
      lua_insert(L, -2);
      lua_rawget(L, axes);
      spread_axes(L, lua_gettop(L) - 1, lua_gettop(L), out, what, depth + 1);
      lua_pop(L, 2);
    }
    lua_pop(L, 1);
    return;
  }
  lua_Integer axis = axis_at(L, axes, what), at = (lua_Integer)lua_rawlen(L, out);
  lua_newtable(L);
  const lua_Integer n = grad__tree_flatten(L, value, lua_gettop(L), "an argument");
  lua_pop(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_pushinteger(L, axis);
    lua_rawseti(L, out, at + i);
  }
}

/* Pushes the list of the axes of the leaves of `value`, which is entry i of what `axes` (an upvalue) is about. */
static void push_leaf_axes(lua_State *L, int value, int axes, int i, const char *what) {
  lua_newtable(L);
  int list = lua_gettop(L);
  push_axes_of(L, axes, i);
  spread_axes(L, value, lua_gettop(L), list, what, 0);
  lua_settop(L, list);
}

static lua_Integer listed(lua_State *L, int list, lua_Integer i) {
  lua_rawgeti(L, list, i);
  lua_Integer axis = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return axis;
}

/* Moves axis `from` to place `to` of the tensor on top (concrete: a view). */
static void move_axis(lua_State *L, int from, int to) {
  if (from == to) return;
  int at = lua_gettop(L), axes[GRAD_MAX_AXES];
  const grad_tensor *x = grad__tensor_to(L, at);
  for (int i = 0, rest = 0; i < x->array.ndim; i++) {
    if (rest == from) rest++;
    axes[i] = i == to ? from : rest++;
  }
  grad_trace *t = grad__trace_push_lifted(L, at);
  if (t) {
    grad__trace_push(L, t, grad__permute(t->p, grad__tensor_to(L, -1)->id, axes));
    lua_remove(L, -2);
  } else {
    grad_array view;
    grad__view_permute(&x->array, axes, &view);
    grad__tensor_push_view(L, at, &view);
  }
  lua_remove(L, at);
}

/* Checks the leaf on top, moves its batch axis to the front, makes an input of one example's type; pushes that. */
static void batch_leaf(lua_State *L, grad_trace *t, int argument, lua_Integer lua_axis, int64_t *size) {
  const grad_tensor *x = grad__tensor_to(L, -1);
  if (!x)
    grad__lua_error(
        L, "argument %d holds a number, which has no axis to map over: pass a tensor, or in_axes with false there",
        argument);
  int axis = grad__axis_check(L, lua_axis, "in_axes", x->array.ndim);
  int64_t extent = x->array.shape[axis];
  if (*size >= 0 && extent != *size)
    grad__lua_error(L, "argument %d has %lld examples along axis %d, another has %lld", argument, (long long)extent,
                    axis + 1, (long long)*size);
  *size = extent;
  move_axis(L, axis, 0);
  x = grad__tensor_to(L, -1);
  grad__trace_push(L, t, grad__trace_open_input(L, t, x->array.dtype, x->array.ndim - 1, x->array.shape + 1));
}

/* Replaces argument `index` on the stack (at `place`) by its traced copy, an example; leaves not batched stay. */
static void batch_argument(lua_State *L, grad_trace *t, int index, int place, int values, int64_t *size) {
  char what[32];
  snprintf(what, sizeof what, "argument %d", index);
  push_leaf_axes(L, index, lua_upvalueindex(GRAD_UP_ARGNUMS), index, "in_axes");
  int axes = lua_gettop(L);
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer count = grad__tree_flatten(L, index, leaves, what), next = 1;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_Integer axis = listed(L, axes, i);
    if (axis == 0) continue;
    lua_rawgeti(L, leaves, i);
    batch_leaf(L, t, index, axis, size);
    lua_rawseti(L, leaves, i);
    lua_rawseti(L, values, (lua_Integer)lua_rawlen(L, values) + 1);
  }
  grad__tree_build(L, index, leaves, &next, GRAD_TREE_KEEP);
  lua_replace(L, place);
  lua_settop(L, axes - 1);
}

/* A leaf whose axis is false must be one that all examples share: no value of the trace that recorded an example. */
static void check_shared(lua_State *L, uint64_t serial) {
  const grad_tensor *x = grad__tensor_to(L, -1);
  if (x && x->serial == serial)
    grad__lua_error(L, "out_axes is false for a result that is made from the examples and has an axis of them: say "
                       "where it goes");
}

/* Pushes result r with leaves outputs[*next], ..., their batch axis moved to where out_axes wants it; where that is
 * false the result's own leaves. `serial` was that of the trace. */
static void push_result(lua_State *L, int result, int i, int outputs, lua_Integer *next, uint64_t serial) {
  push_leaf_axes(L, result, lua_upvalueindex(GRAD_UP_OWN), i, "out_axes");
  int axes = lua_gettop(L);
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer count = grad__tree_flatten(L, result, leaves, "a result"), first = 1;
  for (lua_Integer k = 1; k <= count; k++) {
    const lua_Integer axis = listed(L, axes, k), at = (*next)++;
    lua_rawgeti(L, axis ? outputs : leaves, axis ? at : k);
    if (axis == 0)
      check_shared(L, serial);
    else
      move_axis(L, 0, grad__axis_check(L, axis, "out_axes", grad__tensor_to(L, -1)->array.ndim));
    lua_rawseti(L, leaves, k);
  }
  grad__tree_build(L, result, leaves, &first, GRAD_TREE_KEEP);
  lua_replace(L, axes);
  lua_settop(L, axes);
}

/* Results are tensors and numbers (which all examples share), or tables of them. */
static void check_results(lua_State *L, int first, int last) {
  if (last < first) grad__lua_error(L, "the function returned nothing");
  for (int r = first; r <= last; r++) {
    const int type = lua_type(L, r);
    if (type == LUA_TTABLE || type == LUA_TNUMBER || grad__tensor_to(L, r)) continue;
    if (type == LUA_TNIL && r > first) continue;
    grad__lua_error(L, "result %d of the function is a %s: each example gives tensors, numbers, or tables of these",
                    r - first + 1, luaL_typename(L, r));
  }
}

static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context, last = lua_gettop(L), nresults = last - (n + AT_RESULTS) + 1;
  grad_trace *t = lua_touserdata(L, n + AT_TRACE);
  check_results(L, n + AT_RESULTS, last);
  grad__trace_push_outputs(L, t, n + AT_RESULTS, last, "a result");
  const uint64_t serial = t->serial;
  grad__trace_end(t);
  lua_Integer batched = (lua_Integer)lua_rawlen(L, n + AT_VALUES), next = 1;
  bool *wrt = lua_newuserdatauv(L, (size_t)t->ninputs, 0);
  for (int32_t i = 0; i < t->ninputs; i++) wrt[i] = i < batched;
  for (int k = 0; k < t->ndrawn; k++) wrt[t->drawn[k].input] = true;
  lua_rawgeti(L, n + AT_VALUES, 1);
  const int64_t size = grad__tensor_to(L, -1)->array.shape[0];
  const grad_recipe recipe = {.kind = GRAD_RECIPE_VMAP, .wrt = wrt, .size = size};
  const grad_derived *d = grad__derived_push(L, t, &recipe);
  grad__trace_push_inputs(L, t);
  int inputs = lua_gettop(L);
  for (lua_Integer i = 1; i <= batched; i++) {
    lua_rawgeti(L, n + AT_VALUES, i);
    lua_rawseti(L, inputs, i);
  }
  for (int k = 0; k < t->ndrawn; k++) {
    grad__generator_push_states(L, t, k, size);
    lua_rawseti(L, inputs, t->drawn[k].input + 1);
  }
  grad__derived_apply(L, d, 0, inputs);
  int outputs = lua_gettop(L);
  luaL_checkstack(L, nresults + 16, "too many results");
  for (int r = 0; r < nresults; r++) push_result(L, n + AT_RESULTS + r, r + 1, outputs, &next, serial);
  return nresults;
}

static int call(lua_State *L) {
  int n = lua_gettop(L);
  int64_t size = -1;
  luaL_checkstack(L, n + 16, "too many arguments");
  grad_trace *t = grad__trace_begin(L, "vmap");
  t->draws = true;
  lua_newtable(L);
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  int function = lua_gettop(L);
  for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
  for (int i = 1; i <= n; i++) batch_argument(L, t, i, function + i, n + AT_VALUES, &size);
  if (size < 0)
    grad__lua_error(L, "no argument is batched: give at least one tensor, and in_axes that is not false for it");
  lua_callk(L, n, LUA_MULTRET, n, finish);
  return finish(L, LUA_OK, n);
}

/* An axis or false for all, or a table; the tables are read against the values of each call. */
static void check_axes(lua_State *L, int index, const char *what) {
  if (!lua_istable(L, index)) axis_at(L, index, what);
}

static int make_vmap(lua_State *L) {
  int options = grad__options_at(L, 2);
  grad__transform_check_function(L, 1);
  lua_pushvalue(L, 1);
  grad__option_push(L, options, "in_axes");
  check_axes(L, lua_gettop(L), "in_axes");
  grad__option_push(L, options, "out_axes");
  check_axes(L, lua_gettop(L), "out_axes");
  grad__lua_push_function(L, call, grad__lua_fn(L), 3);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "vmap", make_vmap, "f [, {in_axes = 1, out_axes = 1}] -> function",
        "f for many examples at once, along an axis of the arguments; false: an argument, or a result, that all "
        "examples share; a table of axes for a table of tensors. "
        "Each draws its own random numbers, as in a loop over the examples"),
    GRAD_FN_END,
};

void grad__open_transform_vmap(lua_State *L) { grad__lua_register(L, rows); }

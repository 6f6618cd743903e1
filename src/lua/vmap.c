/* vmap.c: gl.vmap: the function is recorded for one example, the program is batched, and run once for all. */
#include <string.h>

#include "lua/call.h"
#include "lua/transform.h"
#include "ops/ops.h"

/* Upvalues: 3 the function, 4 in_axes, 5 out_axes: a number, or a list with a number or false for each. Behind the n
 * arguments: the trace, the list of batched values (batch axis first), the results. */
enum { AT_TRACE = 1, AT_VALUES = 2, AT_RESULTS = 3 };

/* The axis of entry i (from 1) as Lua counts, 0: not batched. */
static lua_Integer axis_of(lua_State *L, int axes, int i) {
  if (lua_isinteger(L, axes)) return lua_tointeger(L, axes);
  lua_Integer axis = lua_rawgeti(L, axes, i) == LUA_TNIL ? 1 : lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
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
  if (!grad__tensor_is_traced(x)) {
    grad_array view;
    grad__view_permute(&x->array, axes, &view);
    grad__tensor_push_view(L, at, &view);
  } else {
    grad_trace *t = grad__trace_of(L, x);
    grad__trace_push(L, t, grad__permute(t->p, x->id, axes));
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
  grad__trace_push(L, t,
                   grad__trace_open_input(L, t, (grad_dtype)x->array.dtype, x->array.ndim - 1, x->array.shape + 1));
}

/* Replaces argument `index` on the stack (at `place`) by its traced copy, an example. */
static void batch_argument(lua_State *L, grad_trace *t, int index, int place, lua_Integer axis, int values,
                           int64_t *size) {
  char what[32];
  snprintf(what, sizeof what, "argument %d", index);
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer count = grad__tree_flatten(L, index, leaves, what), at = (lua_Integer)lua_rawlen(L, values), next = 1;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, leaves, i);
    batch_leaf(L, t, index, axis, size);
    lua_rawseti(L, leaves, i);
    lua_rawseti(L, values, at + i);
  }
  grad__tree_build(L, index, leaves, &next, GRAD_TREE_KEEP);
  lua_replace(L, place);
  lua_settop(L, leaves - 1);
}

/* Names the leaves of all results as outputs; pushes the list of them. */
static void name_outputs(lua_State *L, int n, grad_trace *t, int last) {
  lua_newtable(L);
  int leaves = lua_gettop(L);
  for (int r = n + AT_RESULTS; r <= last; r++) grad__tree_flatten(L, r, leaves, "a result");
  lua_Integer count = (lua_Integer)lua_rawlen(L, leaves);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, leaves, i);
    grad_id id = grad__trace_lift(L, t, lua_gettop(L), GRAD_F64);
    if (id == GRAD_NONE) grad__lua_check(L, t->p->status);
    grad__program_output(t->p, id);
    lua_pop(L, 1);
  }
}

/* Pushes result r with leaves outputs[*next], ..., their batch axis moved to where out_axes wants it. */
static void push_result(lua_State *L, int result, lua_Integer axis, int outputs, lua_Integer *next) {
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer count = grad__tree_flatten(L, result, leaves, "a result"), first = 1;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, outputs, (*next)++);
    move_axis(L, 0, grad__axis_check(L, axis, "out_axes", grad__tensor_to(L, -1)->array.ndim));
    lua_rawseti(L, leaves, i);
  }
  grad__tree_build(L, result, leaves, &first, GRAD_TREE_KEEP);
  lua_remove(L, leaves);
}

static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context, last = lua_gettop(L), nresults = last - (n + AT_RESULTS) + 1;
  grad_trace *t = lua_touserdata(L, n + AT_TRACE);
  if (nresults < 1) grad__lua_error(L, "the function returned nothing");
  name_outputs(L, n, t, last);
  lua_Integer batched = (lua_Integer)lua_rawlen(L, n + AT_VALUES), next = 1;
  bool *wrt = lua_newuserdatauv(L, (size_t)t->ninputs, 0);
  for (int32_t i = 0; i < t->ninputs; i++) wrt[i] = i < batched;
  lua_rawgeti(L, n + AT_VALUES, 1);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_VMAP, .wrt = wrt, .size = grad__tensor_to(L, -1)->array.shape[0]};
  const grad_derived *d = grad__derived_push(L, t, &recipe);
  grad__trace_push_inputs(L, t);
  int inputs = lua_gettop(L);
  for (lua_Integer i = 1; i <= batched; i++) {
    lua_rawgeti(L, n + AT_VALUES, i);
    lua_rawseti(L, inputs, i);
  }
  grad__derived_apply(L, d, 0, inputs);
  int outputs = lua_gettop(L);
  luaL_checkstack(L, nresults + 16, "too many results");
  for (int r = 0; r < nresults; r++)
    push_result(L, n + AT_RESULTS + r, axis_of(L, lua_upvalueindex(GRAD_UP_OWN), r + 1), outputs, &next);
  return nresults;
}

static int call(lua_State *L) {
  int n = lua_gettop(L);
  int64_t size = -1;
  luaL_checkstack(L, n + 16, "too many arguments");
  grad_trace *t = grad__trace_begin(L, "vmap");
  lua_newtable(L);
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  int function = lua_gettop(L);
  for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
  for (int i = 1; i <= n; i++) {
    lua_Integer axis = axis_of(L, lua_upvalueindex(GRAD_UP_ARGNUMS), i);
    if (axis != 0) batch_argument(L, t, i, function + i, axis, n + AT_VALUES, &size);
  }
  if (size < 0)
    grad__lua_error(L, "no argument is batched: give at least one tensor, and in_axes that is not false for it");
  lua_callk(L, n, LUA_MULTRET, n, finish);
  return finish(L, LUA_OK, n);
}

/* A number, or a list of numbers and false. */
static void check_axes(lua_State *L, int index, const char *what) {
  if (lua_isnil(L, index)) {
    lua_pushinteger(L, 1);
    lua_replace(L, index);
  } else if (lua_isboolean(L, index) && !lua_toboolean(L, index)) {
    lua_pushinteger(L, 0);
    lua_replace(L, index);
  } else if (!lua_istable(L, index)) {
    grad__arg_integer(L, index, what);
  }
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
    {.name = "vmap",
     .signature = "f [, {in_axes = 1, out_axes = 1}] -> function",
     .doc = "f for many examples at once, along an axis of the arguments; false: an argument all examples share. "
            "Random draws inside are the same for all",
     .call = make_vmap},
    GRAD_FN_END,
};

void grad__open_vmap(lua_State *L) { grad__lua_register(L, rows); }

/* transform_product.c: products of derivatives with vectors: gl.jvp, gl.vjp, gl.linearize, gl.hvp.
 *
 * jvp, hvp: a closure's own upvalue is the vector, of the structure of the chosen arguments. vjp, linearize leave
 * behind a function that holds the second program of the derivative with its residuals and may be called again and
 * again. */
#include "lua/transforms/transform.h"

#include <string.h>

#include "lua/call.h"
#include "ops/ops.h"

/* --- vectors that match given values */

/* Pushes the vector at `index` as a value of exactly the type of `like`: numbers are taken for 0-d, dtypes converted.
 */
static void push_matching(lua_State *L, int index, const grad_array *like, const char *what) {
  const grad_tensor *v = grad__tensor_to(L, index);
  int ndim = v ? v->array.ndim : 0;
  if (!grad__shape_equal(ndim, v ? v->array.shape : NULL, like->ndim, like->shape))
    grad__lua_error(L, "%s of shape %s does not match its value of shape %s", what,
                    grad__shape_text(ndim, v ? v->array.shape : NULL).chars,
                    grad__shape_text(like->ndim, like->shape).chars);
  if (v && v->array.dtype == like->dtype) {
    lua_pushvalue(L, index);
  } else if (!v) {
    grad_array *number = grad__tensor_new(L, like->dtype, 0, NULL);
    grad__array_fill(number, lua_tonumber(L, index));
  } else {
    grad_trace *t = grad__trace_push_lifted(L, index);
    if (t) {
      grad__trace_push(L, t, grad__convert(t->p, grad__tensor_to(L, -1)->id, like->dtype));
      lua_remove(L, -2);
    } else {
      grad__tensor_push_copy(L, &v->array, like->dtype);
    }
  }
}

/* Appends to the list at `inputs` the leaves of the vector at `index`, matched with the `count` values in the list at
 * `likes` from `first` on (numbers are 0-d f64). */
static void append_vector(lua_State *L, int inputs, int index, int likes, lua_Integer first, lua_Integer count,
                          const char *what) {
  lua_Integer at = (lua_Integer)lua_rawlen(L, inputs);
  static const grad_array number = {.dtype = GRAD_F64};
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer n = grad__tree_flatten(L, index, leaves, what);
  if (n != count)
    grad__lua_error(L, "%s must have the structure of its values: %d leaves, got %d", what, (int)count, (int)n);
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, leaves, i + 1);
    lua_rawgeti(L, likes, first + i);
    const grad_tensor *like = grad__tensor_to(L, -1);
    push_matching(L, leaves + 1, like ? &like->array : &number, what);
    lua_rawseti(L, inputs, at + i + 1);
    lua_settop(L, leaves);
  }
  lua_settop(L, leaves - 1);
}

/* Raises unless each vector of a list has the structure of its value in the list at `likes`. */
static void match_vectors(lua_State *L, int likes, int vectors, const char *what) {
  likes = lua_absindex(L, likes);
  lua_Integer count = (lua_Integer)lua_rawlen(L, likes);
  char name[48];
  for (lua_Integer k = 1; k <= count; k++) {
    snprintf(name, sizeof name, count > 1 ? "%s %d" : "%s", what, (int)k);
    lua_rawgeti(L, likes, k);
    lua_rawgeti(L, vectors, k);
    grad__tree_match(L, -2, -1, name);
    lua_pop(L, 2);
  }
}

/* Pushes the list of the first n arguments. */
static void push_arguments(lua_State *L, int n) {
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i);
  }
}

/* --- the value of the first result */

/* Pushes a copy of the structure at `like` with leaves outputs[first], ...: numbers where it has numbers. */
static void push_like_result(lua_State *L, int like, int outputs, lua_Integer first) {
  lua_Integer next = 1;
  lua_newtable(L);
  const int leaves = lua_gettop(L);
  const lua_Integer count = grad__tree_flatten(L, like, leaves, "the result");
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, leaves, i);
    lua_rawgeti(L, outputs, first + i - 1);
    grad__transform_match_leaf(L, leaves + 1);
    lua_rawseti(L, leaves, i);
    lua_settop(L, leaves);
  }
  grad__tree_build(L, like, leaves, &next, GRAD_TREE_DROP);
  lua_remove(L, leaves);
}

/* Every leaf of the first result must have a derivative. */
static void check_float_outputs(lua_State *L, const grad_trace *t, lua_Integer count) {
  for (lua_Integer k = 0; k < count; k++) {
    grad_dtype dtype = grad__type(t->p, t->p->outputs[k])->dtype;
    if (!grad__dtype_is_float(dtype))
      grad__lua_error(L, "the function must return f64 or f32, got %s", grad__dtype_name(dtype));
  }
}

/* Names the leaves of the first result, which must be floats, and those of the further results as outputs; pushes the
 * list of the latter; returns how many the former are. */
static lua_Integer push_float_outputs(lua_State *L, int n, const grad_trace *t) {
  int last = lua_gettop(L);
  lua_Integer count = grad__transform_tree_output(L, n);
  check_float_outputs(L, t, count);
  lua_settop(L, last);
  grad__transform_aux_output(L, n);
  return count;
}

/* --- jvp: f, {x...}, {v...} */

static int jvp_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context;
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  const lua_Integer count = push_float_outputs(L, n, t);
  int aux = lua_gettop(L);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_JVP, .wrt = grad__transform_wrt(L, n)};
  const lua_Integer noutputs = t->p->noutputs;
  const grad_derived *d = grad__derived_push(L, t, &recipe);
  grad__trace_push_inputs(L, t);
  int inputs = lua_gettop(L);
  push_arguments(L, n);
  match_vectors(L, -1, lua_upvalueindex(GRAD_UP_OWN), "the tangent");
  append_vector(L, inputs, lua_upvalueindex(GRAD_UP_OWN), n + GRAD_AT_LEAVES, 1, grad__transform_nleaves(L, n),
                "the tangent");
  grad__derived_apply(L, d, 0, inputs);
  int outputs = lua_gettop(L);
  push_like_result(L, n + GRAD_AT_RESULTS, outputs, 1);
  push_like_result(L, n + GRAD_AT_RESULTS, outputs, noutputs + 1);
  return 2 + grad__transform_push_aux(L, n, aux, outputs, count + 1);
}

static int jvp_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, jvp_finish); }

/* Pushes the entries of the list at `index`; returns how many. */
static int push_list(lua_State *L, int index, const char *what) {
  if (!lua_istable(L, index) || grad__tensor_to(L, index))
    grad__arg_error(L, index, what, "a list, one entry for each argument");
  int n = (int)lua_rawlen(L, index);
  luaL_checkstack(L, n + 8, "too many arguments");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, index, i);
  return n;
}

static int jvp(lua_State *L) {
  lua_settop(L, 3);
  grad__transform_check_function(L, 1);
  if (!lua_istable(L, 3)) grad__arg_error(L, 3, "the tangents", "a list, one entry for each argument");
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "all");
  lua_pushvalue(L, 3);
  grad__lua_push_function(L, jvp_call, grad__lua_fn(L), 3);
  int n = push_list(L, 2, "the arguments");
  lua_callk(L, n, LUA_MULTRET, 3, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, 3);
}

/* --- functions that are left behind */

/* Their upvalues: the derived programs, the residuals, the leaves whose structure the arguments have and a list of
 * values of that structure, and the same of what comes out. */
enum { KEPT_DERIVED = 3, KEPT_RESIDUALS, KEPT_IN_LEAVES, KEPT_IN_LIKE, KEPT_OUT_LEAVES, KEPT_OUT_LIKE, KEPT_MANY };

static int call_kept(lua_State *L, const char *what) {
  int n = lua_gettop(L), many = lua_toboolean(L, lua_upvalueindex(KEPT_MANY));
  const grad_derived *d = lua_touserdata(L, lua_upvalueindex(KEPT_DERIVED));
  lua_Integer count = (lua_Integer)lua_rawlen(L, lua_upvalueindex(KEPT_IN_LEAVES)), next = 1;
  lua_createtable(L, n, 0); /* the arguments as one list */
  lua_insert(L, 1);
  for (int i = n; i >= 1; i--) lua_rawseti(L, 1, i);
  if (n == 0) grad__lua_error(L, "%s is missing", what);
  if (!d->entry) grad__lua_error(L, "this function is finalized");
  match_vectors(L, lua_upvalueindex(KEPT_IN_LIKE), 1, what);
  lua_Integer residuals = (lua_Integer)lua_rawlen(L, lua_upvalueindex(KEPT_RESIDUALS));
  lua_createtable(L, (int)(residuals + count), 0);
  for (lua_Integer i = 1; i <= residuals; i++) {
    lua_rawgeti(L, lua_upvalueindex(KEPT_RESIDUALS), i);
    lua_rawseti(L, 2, i);
  }
  append_vector(L, 2, 1, lua_upvalueindex(KEPT_IN_LEAVES), 1, count, what);
  grad__derived_apply(L, d, 1, 2);
  lua_Integer nout = (lua_Integer)lua_rawlen(L, 3);
  for (lua_Integer i = 1; i <= nout; i++) {
    lua_rawgeti(L, lua_upvalueindex(KEPT_OUT_LEAVES), i);
    lua_rawgeti(L, 3, i);
    grad__transform_match_leaf(L, 4);
    lua_rawseti(L, 3, i);
    lua_settop(L, 3);
  }
  grad__tree_build(L, lua_upvalueindex(KEPT_OUT_LIKE), 3, &next, GRAD_TREE_DROP);
  return many ? push_list(L, lua_gettop(L), "the results") : 1;
}

static int call_pullback(lua_State *L) { return call_kept(L, "the cotangent"); }
static int call_push(lua_State *L) { return call_kept(L, "the tangent"); }

/* Pushes outputs[first] .. outputs[last] as a list. */
static void push_part(lua_State *L, int outputs, lua_Integer first, lua_Integer last) {
  lua_createtable(L, (int)(last - first + 1), 0);
  for (lua_Integer i = first; i <= last; i++) {
    lua_rawgeti(L, outputs, i);
    lua_rawseti(L, -2, i - first + 1);
  }
}

/* Value, the function left behind, further results. */
static int finish_kept(lua_State *L, int n, grad_recipe_kind kind, lua_CFunction f) {
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  bool pullback = kind == GRAD_RECIPE_PULLBACK;
  const lua_Integer count = push_float_outputs(L, n, t);
  int aux = lua_gettop(L);
  const grad_recipe recipe = {.kind = kind, .wrt = grad__transform_wrt(L, n), .count = (int)count};
  const lua_Integer noutputs = t->p->noutputs;
  const int derived = lua_gettop(L) + 1, outputs = grad__transform_derive(L, n, &recipe);
  push_like_result(L, n + GRAD_AT_RESULTS, outputs, 1);
  int value = lua_gettop(L);
  lua_pushvalue(L, derived);
  push_part(L, outputs, noutputs + 1, (lua_Integer)lua_rawlen(L, outputs)); /* the residuals */
  if (pullback) {
    push_part(L, outputs, 1, count);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, value);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, n + GRAD_AT_LEAVES);
    push_arguments(L, n);
  } else {
    lua_pushvalue(L, n + GRAD_AT_LEAVES);
    push_arguments(L, n);
    lua_newtable(L);
    grad__tree_flatten(L, value, lua_gettop(L), "the result");
    lua_pushvalue(L, value);
  }
  lua_pushboolean(L, pullback);
  grad__lua_push_function(L, f, grad__lua_fn(L), KEPT_MANY - KEPT_DERIVED + 1);
  return 2 + grad__transform_push_aux(L, n, aux, outputs, count + 1);
}

static int vjp_finish(lua_State *L, int status, lua_KContext n) {
  (void)status;
  return finish_kept(L, (int)n, GRAD_RECIPE_PULLBACK, call_pullback);
}

static int linearize_finish(lua_State *L, int status, lua_KContext n) {
  (void)status;
  return finish_kept(L, (int)n, GRAD_RECIPE_LINEARIZE, call_push);
}

static int vjp_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, vjp_finish); }
static int linearize_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, linearize_finish); }

static int vjp(lua_State *L) { return grad__transform_call_at(L, vjp_call, "all"); }
static int linearize(lua_State *L) { return grad__transform_call_at(L, linearize_call, "all"); }

/* --- hvp: (x, v, ...) */

static int hvp_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context;
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  grad__transform_scalar_output(L, n);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_HVP, .wrt = grad__transform_wrt(L, n)};
  const grad_derived *d = grad__derived_push(L, t, &recipe);
  grad__trace_push_inputs(L, t);
  int inputs = lua_gettop(L);
  lua_rawgeti(L, lua_upvalueindex(GRAD_UP_ARGNUMS), 1);
  grad__tree_match(L, (int)lua_tointeger(L, -1), lua_upvalueindex(GRAD_UP_OWN), "the vector");
  append_vector(L, inputs, lua_upvalueindex(GRAD_UP_OWN), n + GRAD_AT_LEAVES, 1, grad__transform_nleaves(L, n),
                "the vector");
  grad__derived_apply(L, d, 0, inputs);
  return grad__transform_push_like_arguments(L, n, lua_gettop(L), 2);
}

static int hvp_inner(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, hvp_finish); }

static int hvp_call(lua_State *L) {
  int n = lua_gettop(L);
  if (n < 2) grad__lua_error(L, "needs a point and a vector");
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_ARGNUMS));
  lua_pushvalue(L, 2);
  grad__lua_push_function(L, hvp_inner, grad__lua_fn(L), 3);
  lua_remove(L, 2);
  lua_insert(L, 1);
  lua_callk(L, n - 1, LUA_MULTRET, 0, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, 0);
}

static int make_hvp(lua_State *L) { return grad__transform_push_closure(L, hvp_call, false); }

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "jvp", jvp, "f, {x...}, {v...} -> value, tangent",
        "f's value and its derivative along the tangents v, one for each argument and of its structure, in one "
        "forward pass; then whatever else f returned"),
    GRAD_FUNCTION(
        "vjp", vjp, "f, x... -> value, pullback",
        "f's value, a function from a cotangent of it (of its structure; a number for one number) to a cotangent "
        "for each argument, to be called as often as wanted, then whatever else f returned"),
    GRAD_FUNCTION("linearize", linearize, "f, x... -> value, push",
                  "f's value, its derivative there as a function of a tangent for each argument, which reuses what was "
                  "computed, then whatever else f returned"),
    GRAD_FUNCTION(
        "hvp", make_hvp, "f [, argnum = 1] -> function(x, v, ...)",
        "a function that gives the product of the Hessian of f, which returns one number, at f(x, ...) with v, "
        "which has the structure of argument argnum, without the matrix"),
    GRAD_FN_END,
};

void grad__open_transform_product(lua_State *L) { grad__lua_register(L, rows); }

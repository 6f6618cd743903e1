/* transform.c: calling a user's function on traced values and handing back results in the structure of the arguments.
 */
#include "lua/transforms/transform.h"

#include <string.h>

/* --- which arguments */

void grad__argnums_push(lua_State *L, int arg) {
  int64_t positions[256];
  int n = 1;
  positions[0] = 1;
  if (lua_type(L, arg) == LUA_TSTRING && strcmp(lua_tostring(L, arg), "all") == 0) {
    lua_pushvalue(L, arg);
    return;
  }
  if (lua_istable(L, arg))
    n = grad__arg_integers(L, arg, "argnums", 256, positions);
  else if (lua_type(L, arg) == LUA_TNUMBER)
    positions[0] = grad__arg_integer(L, arg, "argnums");
  else if (!lua_isnoneornil(L, arg))
    grad__arg_error(L, arg, "argnums", "a position, a list of positions, or \"all\"");
  if (n == 0) grad__lua_error(L, "argnums is empty");
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    if (positions[i] < 1)
      grad__lua_error(L, "argnums: %lld is no argument: Lua counts from 1", (long long)positions[i]);
    for (int k = 0; k < i; k++)
      if (positions[k] == positions[i])
        grad__lua_error(L, "argnums names argument %lld twice", (long long)positions[i]);
    lua_pushinteger(L, positions[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

static int count_chosen(lua_State *L, int n) {
  if (lua_isstring(L, lua_upvalueindex(GRAD_UP_ARGNUMS))) return n;
  return (int)lua_rawlen(L, lua_upvalueindex(GRAD_UP_ARGNUMS));
}

/* The k-th chosen argument (k from 1) as a stack index. */
static int chosen(lua_State *L, int n, int k) {
  if (lua_isstring(L, lua_upvalueindex(GRAD_UP_ARGNUMS))) return k;
  lua_rawgeti(L, lua_upvalueindex(GRAD_UP_ARGNUMS), k);
  lua_Integer at = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (at > n)
    grad__lua_error(L, "the derivative is for argument %lld, but only %d %s given", (long long)at, n,
                    n == 1 ? "was" : "were");
  return (int)at;
}

/* "any": all arguments are inputs, of whatever dtype, since nothing is differentiated. */
static bool differentiates(lua_State *L) {
  return !lua_isstring(L, lua_upvalueindex(GRAD_UP_ARGNUMS)) ||
         strcmp(lua_tostring(L, lua_upvalueindex(GRAD_UP_ARGNUMS)), "any") != 0;
}

/* --- the call */

static void check_leaf(lua_State *L, int argument, int leaf) {
  const grad_tensor *t = grad__tensor_to(L, leaf);
  if (!t || grad__dtype_is_float(t->array.dtype)) return;
  grad__lua_error(L, "argument %d has dtype %s: derivatives need f64 or f32 (convert with :to(\"f64\"))", argument,
                  grad__dtype_name(t->array.dtype));
}

/* Makes the leaves of argument `index` inputs and replaces the argument on the stack by its traced copy. */
static void trace_argument(lua_State *L, grad_trace *t, int index, int leaves, bool differentiated) {
  lua_Integer first = (lua_Integer)lua_rawlen(L, leaves) + 1, next = 1;
  lua_Integer count = grad__tree_flatten(L, index, leaves, "an argument");
  if (count == 0 && !grad__tree_is_empty(L, index)) {
    char what[32];
    snprintf(what, sizeof what, "argument %d", index);
    grad__arg_error(L, index, what, "a number, a tensor, or a table of them");
  }
  lua_createtable(L, (int)count, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_rawgeti(L, leaves, first + i);
    if (differentiated) {
      grad__trace_push_float(L, -1);
      lua_replace(L, -2);
      lua_pushvalue(L, -1);
      lua_rawseti(L, leaves, first + i);
      check_leaf(L, index, lua_gettop(L));
    }
    grad_id id = grad__trace_argument(L, t, lua_gettop(L));
    if (grad__trace_is_number(L, -1))
      grad__trace_push_weak(L, t, id);
    else
      grad__trace_push_argument(L, t, id);
    lua_rawseti(L, -3, i + 1);
    lua_pop(L, 1);
  }
  grad__tree_build(L, index, lua_gettop(L), &next, GRAD_TREE_KEEP);
  lua_remove(L, -2);
}

int grad__transform_call(lua_State *L, int n, const char *staged_by, lua_KFunction k) {
  luaL_checkstack(L, n + 16, "too many arguments");
  lua_settop(L, n);
  grad_trace *t = grad__trace_begin(L, staged_by);
  lua_newtable(L);
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  int function = lua_gettop(L), count = count_chosen(L, n);
  for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
  for (int c = 1; c <= count; c++) {
    int at = chosen(L, n, c);
    trace_argument(L, t, at, n + GRAD_AT_LEAVES, differentiates(L));
    lua_replace(L, function + at);
  }
  for (int32_t i = 0; staged_by && i < t->ninputs; i++) t->inputs[i].kind = GRAD_BOUND_OPEN;
  lua_callk(L, n, LUA_MULTRET, n, k);
  return k(L, LUA_OK, n);
}

static grad_trace *trace_at(lua_State *L, int n) { return lua_touserdata(L, n + GRAD_AT_TRACE); }

lua_Integer grad__transform_nleaves(lua_State *L, int n) { return (lua_Integer)lua_rawlen(L, n + GRAD_AT_LEAVES); }

const bool *grad__transform_wrt(lua_State *L, int n) {
  const grad_trace *t = trace_at(L, n);
  bool *wrt = lua_newuserdatauv(L, (size_t)t->ninputs + 1, 0);
  for (int32_t i = 0; i < t->ninputs; i++) wrt[i] = i < grad__transform_nleaves(L, n);
  return wrt;
}

/* --- outputs */

void grad__transform_scalar_output(lua_State *L, int n) {
  int result = n + GRAD_AT_RESULTS;
  if (lua_isnoneornil(L, result))
    grad__lua_error(L, "the function returned nothing: it must return a number or a 0-d tensor");
  const grad_tensor *x = grad__tensor_to(L, result);
  if (!x && lua_type(L, result) != LUA_TNUMBER)
    grad__lua_error(L, "the function must return a number or a 0-d tensor first, got a %s", luaL_typename(L, result));
  if (x && x->array.ndim != 0)
    grad__lua_error(L,
                    "the function must return a number or a 0-d tensor, got a tensor (%s): reduce it with :sum() or "
                    ":mean(), or use gl.jacobian",
                    grad__tensor_text(x).chars);
  if (x && !grad__trace_is_number(L, result) && !grad__dtype_is_float(x->array.dtype))
    grad__lua_error(L, "the function must return f64 or f32, got %s", grad__dtype_name(x->array.dtype));
  grad__trace_output(L, trace_at(L, n), result);
}

lua_Integer grad__transform_tree_output(lua_State *L, int n) {
  int result = n + GRAD_AT_RESULTS;
  if (lua_isnoneornil(L, result))
    grad__lua_error(L, "the function returned nothing: it must return a tensor, a number or a table of them");
  grad__trace_push_outputs(L, trace_at(L, n), result, result, "the result");
  const lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  if (count == 0)
    grad__lua_error(L, "the function must return a tensor, a number or a table of them, got a %s",
                    luaL_typename(L, result));
  return count;
}

static bool is_of(lua_State *L, uint64_t serial, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  return x && x->serial == serial;
}

/* Pushes the tensor that a traced argument stands for. */
static void push_leaf_of(lua_State *L, int n, const grad_tensor *argument) {
  const grad_trace *t = trace_at(L, n);
  lua_Integer k = 1;
  while (t->p->inputs[k - 1] != argument->id) k++;
  lua_rawgeti(L, n + GRAD_AT_LEAVES, k);
}

/* A further result that is an argument as it came in is handed back as that very tensor. Tables without leaves of the
 * trace are left alone, whatever they hold, so they may contain themselves. */
void grad__transform_aux_output(lua_State *L, int n) {
  grad_trace *t = trace_at(L, n);
  int last = lua_gettop(L);
  lua_newtable(L);
  int aux = lua_gettop(L);
  for (int r = n + GRAD_AT_RESULTS + 1; r <= last; r++) {
    lua_Integer first = (lua_Integer)lua_rawlen(L, aux) + 1;
    lua_Integer count = grad__tree_flatten(L, r, aux, "a further result");
    for (lua_Integer i = first; i < first + count; i++) {
      lua_rawgeti(L, aux, i);
      const grad_tensor *x = is_of(L, t->serial, lua_gettop(L)) ? grad__tensor_to(L, -1) : NULL;
      if (x && x->argument) {
        push_leaf_of(L, n, x);
        lua_rawseti(L, aux, i);
      } else if (x) {
        grad__trace_output(L, t, lua_gettop(L));
      }
      lua_pop(L, 1);
    }
  }
  lua_pushinteger(L, last - (n + GRAD_AT_RESULTS)); /* how many further results there are */
  lua_setfield(L, aux, "results");
  lua_pushinteger(L, (lua_Integer)t->serial);
  lua_setfield(L, aux, "serial");
}

static lua_Integer field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  lua_Integer value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

/* --- results */

void grad__transform_match_leaf(lua_State *L, int leaf) {
  grad_tensor *x = grad__tensor_to(L, -1);
  if (!grad__trace_is_number(L, leaf) || !x || x->array.ndim != 0) return;
  if (grad__tensor_is_traced(x)) {
    x->weak = true;
  } else {
    grad__tensor_push_element(L, &x->array, NULL);
    lua_remove(L, -2);
  }
}

int grad__transform_push_aux(lua_State *L, int n, int aux, int outputs, lua_Integer first) {
  int count = (int)field(L, aux, "results");
  uint64_t serial = (uint64_t)field(L, aux, "serial");
  lua_Integer leaves = (lua_Integer)lua_rawlen(L, aux), next = 1;
  luaL_checkstack(L, count + 8, "too many results");
  for (lua_Integer i = 1; i <= leaves; i++) {
    lua_rawgeti(L, aux, i);
    if (is_of(L, serial, lua_gettop(L))) {
      lua_rawgeti(L, outputs, first++);
      grad__transform_match_leaf(L, lua_gettop(L) - 1);
      lua_rawseti(L, aux, i);
    }
    lua_pop(L, 1);
  }
  for (int r = 1; r <= count; r++) grad__tree_build(L, n + GRAD_AT_RESULTS + r, aux, &next, GRAD_TREE_KEEP);
  return count;
}

int grad__transform_push_like_arguments(lua_State *L, int n, int outputs, lua_Integer first) {
  lua_Integer leaves = grad__transform_nleaves(L, n), next = 1;
  int count = count_chosen(L, n);
  luaL_checkstack(L, count + 8, "too many arguments");
  lua_createtable(L, (int)leaves, 0);
  int list = lua_gettop(L);
  for (lua_Integer i = 1; i <= leaves; i++) {
    lua_rawgeti(L, n + GRAD_AT_LEAVES, i);
    lua_rawgeti(L, outputs, first + i - 1);
    grad__transform_match_leaf(L, lua_gettop(L) - 1);
    lua_rawseti(L, list, i);
    lua_pop(L, 1);
  }
  for (int c = 1; c <= count; c++) grad__tree_build(L, chosen(L, n, c), list, &next, GRAD_TREE_DROP);
  lua_remove(L, list);
  return count;
}

/* --- making transforms */

/* Anything that can be called: a function, or a value with __call (a layer, a jitted function). */
void grad__transform_check_function(lua_State *L, int arg) {
  if (lua_isfunction(L, arg)) return;
  if (luaL_getmetafield(L, arg, "__call") != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  grad__arg_error(L, arg, "the first argument", "a function");
}

void grad__argnum_push(lua_State *L, int arg) {
  if (!lua_isnoneornil(L, arg)) grad__arg_integer(L, arg, "argnum");
  grad__argnums_push(L, arg);
}

int grad__transform_push_closure(lua_State *L, lua_CFunction f, bool several) {
  grad__transform_check_function(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  if (several)
    grad__argnums_push(L, 2);
  else
    grad__argnum_push(L, 2);
  grad__lua_push_function(L, f, grad__lua_fn(L), 2);
  return 1;
}

int grad__transform_return_all(lua_State *L, int status, lua_KContext base) {
  (void)status;
  return lua_gettop(L) - (int)base;
}

int grad__transform_call_at(lua_State *L, lua_CFunction f, const char *argnums) {
  grad__transform_check_function(L, 1);
  const int n = lua_gettop(L) - 1;
  lua_pushvalue(L, 1);
  lua_pushstring(L, argnums);
  grad__lua_push_function(L, f, grad__lua_fn(L), 2);
  lua_replace(L, 1);
  lua_callk(L, n, LUA_MULTRET, 0, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, 0);
}

int grad__transform_derive(lua_State *L, int n, const grad_recipe *recipe) {
  grad_trace *t = trace_at(L, n);
  const grad_derived *d = grad__derived_push(L, t, recipe);
  grad__trace_push_inputs(L, t);
  grad__derived_apply(L, d, 0, lua_gettop(L));
  return lua_gettop(L);
}

static int text_gc(lua_State *L) {
  grad__text_clear(lua_touserdata(L, 1));
  return 0;
}

grad_text *grad__text_push(lua_State *L) {
  grad_text *text = grad__lua_owner_push(L, "gradlua.text", sizeof *text, 0, text_gc);
  text->ctx = grad__lua_ctx(L);
  return text;
}

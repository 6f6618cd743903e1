/* transform_formula.c: gl.formula: derivatives of a function of numbers (or small tensors) as text. */
#include "fn/formula.h"
#include "ad/ad.h"
#include "lua/transforms/transform.h"

/* What the inputs of the trace's program are written as: names of the arguments, numbers of everything else. */
static void read_inputs(lua_State *L, grad_trace *t, const bool *wrt, int names, const char **name,
                        const grad_array **known) {
  for (int32_t i = 0; i < t->ninputs; i++) /* open arguments stand for nothing that could be pushed */
    if (t->inputs[i].kind == GRAD_BOUND_OPEN) t->inputs[i].kind = GRAD_BOUND_ARRAY;
  grad__trace_push_inputs(L, t);
  lua_Integer argument = 0;
  for (int32_t i = 0; i < t->ninputs; i++) {
    name[i] = NULL;
    known[i] = NULL;
    if (wrt[i]) {
      lua_rawgeti(L, names, ++argument);
      name[i] = lua_tostring(L, -1); /* lives as long as the list of names */
    } else {
      lua_rawgeti(L, -1, i + 1);
      const grad_tensor *x = grad__tensor_to(L, -1);
      if (grad__tensor_is_traced(x))
        grad__lua_error(L, "cannot run inside a transform: the function depends on a traced value");
      known[i] = &x->array;
    }
    lua_pop(L, 1);
  }
}

static int formula_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context, names = lua_upvalueindex(GRAD_UP_OWN), options = grad__options_kept(L, GRAD_UP_OWN + 1);
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  const bool latex = grad__option_boolean(L, options, "latex", false);
  const int64_t order = grad__option_integer(L, options, "order", 1);
  if (order != 0 && order != 1) grad__lua_error(L, "order must be 0 (the function) or 1 (its derivatives)");
  grad__transform_scalar_output(L, n);
  const bool *wrt = grad__transform_wrt(L, n);
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  const char **name = lua_newuserdatauv(L, (size_t)t->ninputs * sizeof *name + 1, 0);
  const grad_array **known = lua_newuserdatauv(L, (size_t)t->ninputs * sizeof *known + 1, 0);
  read_inputs(L, t, wrt, names, name, known);
  grad_program **gradient = grad__program_box(L);
  grad_text *text = grad__text_push(L);
  grad__lua_check(L, grad__ad_grad(t->p, wrt, gradient));
  const int first = (int)(order == 0 ? 0 : t->p->noutputs), count = order == 0 ? 1 : (*gradient)->noutputs - first;
  luaL_checkstack(L, count, "too many arguments");
  for (int i = 0; i < count; i++) {
    grad__lua_check(L, grad__formula(*gradient, first + i, name, known, t->scalars, latex, text));
    lua_pushstring(L, text->data);
    grad__text_clear(text);
  }
  return count;
}

/* Without values the function is recorded for any: what depends on them cannot be read. */
static int formula_call(lua_State *L) {
  const bool any = lua_toboolean(L, lua_upvalueindex(GRAD_UP_OWN + 2));
  return grad__transform_call(L, lua_gettop(L), any ? "formula" : NULL, formula_finish);
}

/* Leaves at stack 2 a list of names; returns their number. */
static int read_names(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 1);
    lua_replace(L, 2);
  }
  if (!lua_istable(L, 2)) grad__arg_error(L, 2, "names", "a list of names, one for each argument");
  const int n = (int)lua_rawlen(L, 2);
  for (int i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 2, i) != LUA_TSTRING) grad__arg_error(L, 2, "names", "a list of names, one for each argument");
    lua_pop(L, 1);
  }
  if (n == 0) grad__lua_error(L, "names: at least one argument must be named");
  return n;
}

/* f, names, options */
static int formula(lua_State *L) {
  grad__transform_check_function(L, 1);
  lua_settop(L, 3);
  const int n = read_names(L), options = grad__options_at(L, 3);
  const bool any = grad__option_push(L, options, "at") == LUA_TNIL;
  const int at = lua_gettop(L);
  if (!any && (!lua_istable(L, at) || (int)lua_rawlen(L, at) != n))
    grad__lua_error(L, "at: expected a list with a value for each of the %d arguments", n);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "all");
  lua_pushvalue(L, 2);
  grad__options_push(L, options);
  lua_pushboolean(L, any);
  grad__lua_push_function(L, formula_call, grad__lua_fn(L), 5);
  const int base = lua_gettop(L) - 1;
  luaL_checkstack(L, n + 8, "too many arguments");
  for (int i = 1; i <= n; i++) {
    if (any)
      lua_pushnumber(L, 1);
    else
      lua_rawgeti(L, at, i);
  }
  lua_callk(L, n, LUA_MULTRET, base, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, base);
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "formula", formula, "f, names [, {latex = false, order = 1, at}] -> text...",
        "the derivatives of f in its arguments as simplified formulas, one text each; order 0: f itself; `at`: a list "
        "of arguments, for tensors and for functions that look at values"),
    GRAD_FN_END,
};

void grad__open_transform_formula(lua_State *L) { grad__lua_register(L, rows); }

/* transform_grad.c: gl.grad and gl.value_and_grad. */
#include "lua/transforms/transform.h"

/* Stack behind the results: aux list, outputs list. With `value` the value comes first and the further results last. */
static int finish(lua_State *L, int n, bool value) {
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  grad__transform_scalar_output(L, n);
  if (!value) lua_settop(L, n + GRAD_AT_RESULTS); /* further results are not asked for */
  grad__transform_aux_output(L, n);
  int aux = lua_gettop(L);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_GRAD, .wrt = grad__transform_wrt(L, n)};
  const lua_Integer noutputs = t->p->noutputs;
  int outputs = grad__transform_derive(L, n, &recipe), count = 0;
  if (value) {
    lua_rawgeti(L, outputs, 1);
    grad__transform_match_leaf(L, n + GRAD_AT_RESULTS);
    count++;
  }
  count += grad__transform_push_like_arguments(L, n, outputs, noutputs + 1);
  return count + (value ? grad__transform_push_aux(L, n, aux, outputs, 2) : 0);
}

static int grad_finish(lua_State *L, int status, lua_KContext n) {
  (void)status;
  return finish(L, (int)n, false);
}

static int value_and_grad_finish(lua_State *L, int status, lua_KContext n) {
  (void)status;
  return finish(L, (int)n, true);
}

static int call_grad(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, grad_finish); }

static int call_value_and_grad(lua_State *L) {
  return grad__transform_call(L, lua_gettop(L), NULL, value_and_grad_finish);
}

static int make_grad(lua_State *L) { return grad__transform_push_closure(L, call_grad, true); }

static int make_value_and_grad(lua_State *L) { return grad__transform_push_closure(L, call_value_and_grad, true); }

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "grad", make_grad, "f [, argnums = 1] -> function",
        "a function that gives the gradient of f, which returns one number, in the chosen arguments, one result "
        "each, of the structure of the argument; argnums: a position, a list of positions, or \"all\""),
    GRAD_FUNCTION("value_and_grad", make_value_and_grad, "f [, argnums = 1] -> function",
                  "a function that gives f's value, its gradients as gl.grad does, then whatever else f returned"),
    GRAD_FN_END,
};

void grad__open_transform_grad(lua_State *L) { grad__lua_register(L, rows); }

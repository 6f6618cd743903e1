/* transform_jacobian.c: gl.jacobian, gl.hessian, gl.hessian_diag: all entries, in blocks that follow the structure of
 * what came out and what went in. */
#include "lua/transforms/transform.h"

#include <string.h>

static const char *const modes[] = {"auto", "forward", "reverse", "sparse", NULL};

/* Pushes a value of the structure of the chosen arguments (the first one's when there is one) whose leaves are
 * outputs[first], ... */
static void push_row(lua_State *L, int n, int outputs, lua_Integer first) {
  int count = grad__transform_push_like_arguments(L, n, outputs, first);
  lua_settop(L, lua_gettop(L) - count + 1);
}

/* --- jacobian: closures have two upvalues of their own */

enum { UP_MODE = GRAD_UP_OWN, UP_TELL };

static int jacobian_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context;
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  int result = n + GRAD_AT_RESULTS;
  lua_Integer count = grad__transform_tree_output(L, n), leaves = grad__transform_nleaves(L, n), next = 1;
  for (lua_Integer k = 0; k < count; k++) {
    grad_dtype dtype = grad__type(t->p, t->p->outputs[k])->dtype;
    if (!grad__dtype_is_float(dtype))
      grad__lua_error(L, "the function must return f64 or f32, got %s", grad__dtype_name(dtype));
  }
  bool *of = lua_newuserdatauv(L, (size_t)count, 0);
  memset(of, 1, (size_t)count);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_JACOBIAN,
                              .wrt = grad__transform_wrt(L, n),
                              .of = of,
                              .mode = (grad_jacobian_mode)lua_tointeger(L, lua_upvalueindex(UP_MODE))};
  const int outputs = grad__transform_derive(L, n, &recipe);
  const grad_derived *d = lua_touserdata(L, outputs - 2);
  lua_createtable(L, (int)count, 0);
  int rows = lua_gettop(L);
  for (lua_Integer k = 0; k < count; k++) {
    push_row(L, n, outputs, count + 1 + k * leaves);
    lua_rawseti(L, rows, k + 1);
  }
  grad__tree_build(L, result, rows, &next, GRAD_TREE_DROP);
  if (!lua_toboolean(L, lua_upvalueindex(UP_TELL))) return 1;
  lua_pushstring(L, modes[grad__cached_mode(d->entry)]);
  return 2;
}

static int jacobian_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, jacobian_finish); }

static int make_jacobian(lua_State *L) {
  int options = grad__options_at(L, 2);
  grad__transform_check_function(L, 1);
  int mode = grad__option_choice(L, options, "mode", modes, 0);
  if (mode == 3) {
    grad__option_push(L, options, "argnum");
    lua_Integer argnum = lua_isnil(L, -1) ? 1 : grad__arg_integer(L, lua_gettop(L), "argnum");
    if (argnum < 1) grad__lua_error(L, "argnum: %lld is no argument: Lua counts from 1", (long long)argnum);
    grad__sparse_push_closure(L, 1, argnum);
    return 1;
  }
  lua_pushvalue(L, 1);
  grad__option_push(L, options, "argnum");
  grad__argnum_push(L, lua_gettop(L));
  lua_remove(L, -2);
  lua_pushinteger(L, mode);
  lua_pushboolean(L, grad__option_boolean(L, options, "tell", false));
  grad__lua_push_function(L, jacobian_call, grad__lua_fn(L), 4);
  return 1;
}

/* --- hessian: blocks H[i][j] for the leaves of one argument */

static int hessian_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context;
  grad__transform_scalar_output(L, n);
  lua_Integer leaves = grad__transform_nleaves(L, n);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_HESSIAN, .wrt = grad__transform_wrt(L, n)};
  const int outputs = grad__transform_derive(L, n, &recipe);
  lua_createtable(L, (int)leaves, 0);
  int rows = lua_gettop(L);
  for (lua_Integer i = 0; i < leaves; i++) {
    push_row(L, n, outputs, 2 + i * leaves);
    lua_rawseti(L, rows, i + 1);
  }
  return grad__transform_push_like_arguments(L, n, rows, 1);
}

static int hessian_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, hessian_finish); }

static int make_hessian(lua_State *L) { return grad__transform_push_closure(L, hessian_call, false); }

static int hessian_diag_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context;
  grad__transform_scalar_output(L, n);
  const grad_recipe recipe = {.kind = GRAD_RECIPE_HESSIAN_DIAG, .wrt = grad__transform_wrt(L, n)};
  return grad__transform_push_like_arguments(L, n, grad__transform_derive(L, n, &recipe), 2);
}

static int hessian_diag_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, hessian_diag_finish); }

static int make_hessian_diag(lua_State *L) { return grad__transform_push_closure(L, hessian_diag_call, false); }

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "jacobian", make_jacobian, "f [, {mode = \"auto\", argnum = 1, tell = false}] -> function",
        "a function that gives the Jacobian (shape out x in; J.output.input for tables); mode: forward (a sweep an "
        "input), reverse (a sweep an output), sparse (the matrix of gl.sparse_jacobian), auto (the cheaper of the "
        "first two); tell: the mode that was taken is a second result"),
    GRAD_FUNCTION(
        "hessian", make_hessian, "f [, argnum = 1] -> function",
        "a function that gives all second derivatives of f, which returns one number (shape in x in; H.input.input "
        "for tables)"),
    GRAD_FUNCTION("hessian_diag", make_hessian_diag, "f [, argnum = 1] -> function",
                  "a function that gives the second derivatives of f, which returns one number, in each entry alone"),
    GRAD_FN_END,
};

void grad__open_transform_jacobian(lua_State *L) { grad__lua_register(L, rows); }

/* jit_check.c: {check = true}: what a jitted call gave against what the plain function gives. */
#include <math.h>
#include <stdio.h>

#include "lua/jit/jit.h"
#include "lua/tree.h"

/* Plans add up in another order, and fold what is constant; results may differ by the rounding of many operations. */
static double tolerance(grad_dtype dtype) { return dtype == GRAD_F32 ? 1e-3 : dtype == GRAD_F64 ? 1e-8 : 0; }

static double largest(const double *x, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(x[i]) && fabs(x[i]) > most) most = fabs(x[i]);
  return most;
}

static bool agree(double a, double b, double slack) { return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= slack; }

static void compare_arrays(lua_State *L, const char *where, const grad_array *a, const grad_array *b) {
  const int64_t n = grad__array_numel(a);
  const double *x = grad__tensor_push_copy(L, a, GRAD_F64)->data, *y = grad__tensor_push_copy(L, b, GRAD_F64)->data;
  const double slack = tolerance(a->dtype) * largest(y, n);
  for (int64_t i = 0; i < n; i++)
    if (!agree(x[i], y[i], slack))
      grad__lua_error(L, "check: %s differs: the jitted function gives %.17g where the plain one gives %.17g", where,
                      x[i], y[i]);
  lua_pop(L, 2);
}

static void compare_leaves(lua_State *L, const char *where, int i, int j) {
  const grad_tensor *a = grad__tensor_to(L, i), *b = grad__tensor_to(L, j);
  if (a && b && !grad__tensor_is_traced(a) && !grad__tensor_is_traced(b) && a->array.dtype == b->array.dtype &&
      grad__shape_equal(a->array.ndim, a->array.shape, b->array.ndim, b->array.shape)) {
    compare_arrays(L, where, &a->array, &b->array);
  } else if (!a && !b) {
    const double x = lua_tonumber(L, i), y = lua_tonumber(L, j);
    if (!agree(x, y, tolerance(GRAD_F64) * fabs(y)))
      grad__lua_error(L, "check: %s differs: the jitted function gives %.17g, the plain one %.17g", where, x, y);
  } else if (!(a && grad__tensor_is_traced(a))) {
    grad__lua_error(L, "check: %s differs: the jitted function gives %s, the plain one %s", where,
                    a ? grad__tensor_text(a).chars : "a number", b ? grad__tensor_text(b).chars : "a number");
  }
}

void grad__jit_compare(lua_State *L, int a, int b, int n) {
  luaL_checkstack(L, 8, NULL);
  lua_newtable(L);
  lua_newtable(L);
  const int jitted = lua_gettop(L) - 1, plain = jitted + 1;
  lua_Integer seen = 0;
  for (int r = 0; r < n; r++) {
    char where[48];
    const lua_Integer count = grad__tree_flatten(L, a + r, jitted, "a result");
    snprintf(where, sizeof where, "result %d", r + 1);
    if (count != grad__tree_flatten(L, b + r, plain, "a result") || lua_type(L, a + r) != lua_type(L, b + r))
      grad__lua_error(L, "check: %s of the jitted function has another structure than the plain one's", where);
    for (lua_Integer i = seen + 1; i <= seen + count; i++) {
      if (count > 1) snprintf(where, sizeof where, "leaf %d of result %d", (int)(i - seen), r + 1);
      lua_rawgeti(L, jitted, i);
      lua_rawgeti(L, plain, i);
      compare_leaves(L, where, plain + 1, plain + 2);
      lua_settop(L, plain);
    }
    seen += count;
  }
  lua_pop(L, 2);
}

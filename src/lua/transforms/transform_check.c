/* transform_check.c: gl.gradcheck and gl.stop_gradient. */
#include "lua/transforms/transform.h"

#include <stdio.h>
#include <string.h>

#include "fn/fn.h"
#include "lua/trace.h"
#include "lua/tree.h"
#include "ops/ops.h"

static const char report_name[] = "gradlua.gradcheck";

/* The report: a table whose metatable prints it. */
static void push_report(lua_State *L, const grad_check_report *r, int order) {
  lua_newtable(L);
  grad__set_boolean(L, "ok", r->ok);
  grad__set_integer(L, "order", order);
  grad__set_integer(L, "checked", r->checked);
  grad__set_integer(L, "failed", r->failed);
  grad__set_number(L, "forward", r->forward);
  grad__set_number(L, "reverse", r->reverse);
  grad__set_boolean(L, "dual_ok", r->dual_ok);
  grad__set_boolean(L, "finite", r->finite);
  lua_createtable(L, r->nworst, 0);
  for (int i = 0; i < r->nworst; i++) {
    const grad_check_entry *e = &r->worst[i];
    lua_newtable(L);
    grad__set_integer(L, "input", e->input + 1);
    grad__set_integer(L, "output", e->output + 1);
    grad__set_integer(L, "position", e->position + 1);
    grad__set_integer(L, "direction", e->direction + 1);
    grad__set_number(L, "analytic", e->analytic);
    grad__set_number(L, "numeric", e->numeric);
    grad__set_number(L, "error", e->error);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "worst");
  luaL_setmetatable(L, report_name);
}

static double number_field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  double value = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
  lua_pop(L, 1);
  return value;
}

static void add_worst(lua_State *L, luaL_Buffer *b, int worst, lua_Integer i) {
  char line[160];
  lua_rawgeti(L, worst, i);
  int e = lua_gettop(L);
  snprintf(line, sizeof line, "\n%6.0f %8.0f %6.0f %9.0f  %-+22.15g %-+22.15g %9.2g%s", number_field(L, e, "output"),
           number_field(L, e, "position"), number_field(L, e, "input"), number_field(L, e, "direction"),
           number_field(L, e, "analytic"), number_field(L, e, "numeric"), number_field(L, e, "error"),
           number_field(L, e, "error") > 1 ? "  <- bad" : "");
  lua_pop(L, 1);
  luaL_addstring(b, line);
}

/* The verdict in a sentence, then the worst entries. */
static int report_text(lua_State *L) {
  char line[256];
  lua_settop(L, 1);
  lua_getfield(L, 1, "worst");
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  bool ok = number_field(L, 1, "ok") != 0;
  snprintf(line, sizeof line, "gradcheck %s: %.0f of %.0f entries differ from central differences",
           ok ? "passed" : "FAILED", number_field(L, 1, "failed"), number_field(L, 1, "checked"));
  luaL_addstring(&b, line);
  snprintf(line, sizeof line, "\n<J v, w> = %.15g (forward), <v, J' w> = %.15g (reverse)%s%s",
           number_field(L, 1, "forward"), number_field(L, 1, "reverse"),
           number_field(L, 1, "dual_ok") != 0 ? "" : ": they differ",
           number_field(L, 1, "finite") != 0 ? "" : "\nvalue or derivatives are not finite");
  luaL_addstring(&b, line);
  if (n > 0)
    luaL_addstring(&b, "\noutput  element  input  direction  analytic               numeric                    error");
  luaL_pushresult(&b);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_Buffer row;
    luaL_buffinit(L, &row);
    add_worst(L, &row, 2, i);
    luaL_pushresult(&row);
    lua_concat(L, 2);
  }
  return 1;
}

static int check_finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context, options = grad__options_kept(L, GRAD_UP_OWN);
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  grad__transform_tree_output(L, n);
  static const char *const modes[] = {"auto", "forward", "reverse", NULL};
  const grad_check_options wanted = {
      .order = (int)grad__option_integer(L, options, "order", 1),
      .eps = grad__option_number(L, options, "eps", 0),
      .rtol = grad__option_number(L, options, "rtol", 0),
      .atol = grad__option_number(L, options, "atol", 0),
      .samples = grad__option_integer(L, options, "samples", 0),
      .mode = (grad_jacobian_mode)grad__option_choice(L, options, "mode", modes, 0),
  };
  if (wanted.order != 1 && wanted.order != 2) grad__lua_error(L, "order must be 1 or 2");
  const bool *wrt = grad__transform_wrt(L, n);
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  grad__trace_push_inputs(L, t);
  const grad_array **in = lua_newuserdatauv(L, (size_t)t->ninputs * sizeof *in + 1, 0);
  for (int32_t i = 0; i < t->ninputs; i++) {
    lua_rawgeti(L, -2, i + 1);
    const grad_tensor *x = grad__tensor_to(L, -1);
    if (grad__tensor_is_traced(x))
      grad__lua_error(L, "cannot run inside a transform: the function depends on a traced value");
    in[i] = &x->array;
    lua_pop(L, 1);
  }
  grad_check_report report;
  grad__lua_check(L, grad__fn_gradcheck(t->p, wrt, in, t->scalars, &wanted, &report));
  lua_pushboolean(L, report.ok);
  push_report(L, &report, wanted.order);
  return 2;
}

static int check_call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, check_finish); }

/* f, x, options (with args: f is called with x, then these) or f, {args = {...}} */
static int gradcheck(lua_State *L) {
  grad__transform_check_function(L, 1);
  const bool all = lua_gettop(L) == 2 && lua_istable(L, 2) && lua_getfield(L, 2, "args") == LUA_TTABLE;
  lua_settop(L, all ? 2 : 3);
  const int options = grad__options_at(L, all ? 2 : 3);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "all");
  grad__options_push(L, options);
  grad__lua_push_function(L, check_call, grad__lua_fn(L), 3);
  const int base = lua_gettop(L) - 1;
  if (!all) lua_pushvalue(L, 2);
  if (options && lua_getfield(L, options, "args") != LUA_TNIL) {
    if (!lua_istable(L, -1)) grad__lua_error(L, "args must be a list of arguments, not a %s", luaL_typename(L, -1));
    const int list = lua_gettop(L), n = (int)lua_rawlen(L, list);
    luaL_checkstack(L, n + 8, "too many arguments");
    for (int i = 1; i <= n; i++) lua_rawgeti(L, list, i);
    lua_remove(L, list);
  } else if (options) {
    lua_pop(L, 1);
  }
  lua_callk(L, lua_gettop(L) - base - 1, LUA_MULTRET, base, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, base);
}

/* Pushes the leaf at `index` as a constant for every derivative. */
static void push_constant(lua_State *L, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  if (!x || !grad__tensor_is_traced(x)) {
    lua_pushvalue(L, index);
    return;
  }
  grad_trace *t = grad__trace_of(L, x);
  const grad_id id = grad__stop_gradient(t->p, x->id);
  if (x->weak)
    grad__trace_push_weak(L, t, id);
  else
    grad__trace_push(L, t, id);
}

static int stop_gradient(lua_State *L) {
  if (!lua_istable(L, 1) && lua_type(L, 1) != LUA_TNUMBER && !grad__tensor_to(L, 1))
    grad__arg_error(L, 1, "the value", "a tensor, a number or a table of these");
  lua_newtable(L);
  const int leaves = lua_gettop(L);
  const lua_Integer n = grad__tree_flatten(L, 1, leaves, "the value");
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, leaves, i);
    push_constant(L, lua_gettop(L));
    lua_rawseti(L, leaves, i);
    lua_pop(L, 1);
  }
  lua_Integer next = 1;
  grad__tree_build(L, 1, leaves, &next, GRAD_TREE_KEEP);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "gradcheck", gradcheck, "f, x [, {order = 1, mode = \"auto\", eps, rtol, atol, samples, args}] -> ok, report",
        "compares derivatives with central differences, and forward with reverse mode; order 2: those of the "
        "gradient; args: further arguments of f, or with {args = {...}} in place of x all of them; the report prints "
        "the worst entries"),
    GRAD_METHOD("stop_gradient", stop_gradient, "x -> x",
                "x (a tensor, a number, or a table of them) as a constant for every derivative"),
    GRAD_FN_END,
};

void grad__open_transform_check(lua_State *L) {
  static const grad_fn methods[] = {{.name = "__tostring", .call = report_text}, GRAD_FN_END};
  grad__lua_register(L, rows);
  grad__lua_metatable(L, report_name, methods);
  lua_pop(L, 1);
}

/* bind_root.c: roots and fixed points, `internal.roots.root`, on which lua/gradlua/root.lua stands. */
#include <string.h>

#include "lua/binding.h"
#include "lua/toolkits/callbacks.h"
#include "lua/toolkits/fields.h"
#include "lua/modules.h"
#include "lua/trace.h"
#include "optim/root.h"

typedef struct search {
  grad_callbacks callbacks;
  int64_t n;
} search;

static grad_status on_f(void *user, const double *x, double *f) {
  search *s = user;
  return grad__callbacks_call(&s->callbacks, &(grad_request){.name = "f", .n = s->n, .x = x, .array = f, .rows = s->n});
}

static grad_status on_jacobian(void *user, const double *x, double *jacobian) {
  search *s = user;
  return grad__callbacks_call(
      &s->callbacks,
      &(grad_request){.name = "jacobian", .n = s->n, .x = x, .array = jacobian, .rows = s->n, .columns = s->n});
}

static bool on_step(void *user, const grad_step_info *info) {
  search *s = user;
  bool stop = false;
  return grad__callbacks_call(&s->callbacks,
                              &(grad_request){.name = "on_step", .n = s->n, .info = info, .stop = &stop}) != GRAD_OK ||
         stop;
}

#define FIELD(name, kind) GRAD_FIELD(grad_root_options, #name, name, kind)
static const grad_field option_fields[] = {FIELD(tol, DOUBLE),     FIELD(x_tol, DOUBLE),   FIELD(max_iter, INTEGER),
                                           FIELD(memory, INTEGER), FIELD(damping, DOUBLE), FIELD(max_seconds, DOUBLE),
                                           GRAD_FIELDS_END};
#undef FIELD
static const char *const method_names[] = {"auto", "newton", "hybrid", "broyden", "anderson", NULL};

static bool has(lua_State *L, const char *name) {
  const bool found = lua_getfield(L, 2, name) == LUA_TFUNCTION;
  lua_pop(L, 1);
  return found;
}

static void push_result(lua_State *L, const grad_root_result *r) {
  lua_createtable(L, 0, 8);
  grad__set_number(L, "residual", r->residual);
  grad__set_integer(L, "iterations", r->iterations);
  grad__push_counts(L, &r->evaluations);
  lua_setfield(L, -2, "evaluations");
  grad__set_boolean(L, "converged", r->converged);
  grad__set_text(L, "status",
                 r->failure != GRAD_FAILURE_NONE ? grad_failure_name(r->failure) : grad_stop_name(r->stop));
  grad__set_text(L, "method", grad_root_method_name(r->method));
  grad__set_text(L, "message", r->message);
}

/* root(x0, callbacks, fixed_point, options) -> x, result */
static int root(lua_State *L) {
  const grad_tensor *x0 = grad__tensor_check_concrete(L, 1, "x0");
  luaL_checktype(L, 2, LUA_TTABLE);
  const bool fixed_point = lua_toboolean(L, 3);
  const int at = grad__options_at(L, 4);
  search s = {.n = x0->array.ndim == 1 ? x0->array.shape[0] : -1};
  if (s.n < 0) grad__lua_error(L, "x0 must be a vector");
  grad_root_options options;
  grad_root_defaults(&options);
  grad__fields_read(L, at, option_fields, &options);
  options.method = (grad_root_method)grad__option_choice(L, at, "method", method_names, GRAD_ROOT_AUTO);
  grad_root_problem problem = {.n = s.n, .user = &s, .f = on_f, .jacobian = has(L, "jacobian") ? on_jacobian : NULL};
  if (has(L, "on_step")) {
    options.on_step = on_step;
    options.on_step_user = &s;
  }
  double *x = grad__tensor_push_copy(L, &x0->array, GRAD_F64)->data;
  const int solution = lua_gettop(L);
  grad__callbacks_prepare(L, 2);
  grad__callbacks_begin(L, 2, &s.callbacks);
  grad_root_result result;
  grad_ctx *ctx = grad__lua_ctx(L);
  const grad_status status = fixed_point ? grad_fixed_point(ctx, &problem, &options, x, &result)
                                         : grad_root(ctx, &problem, &options, x, &result);
  grad__callbacks_end(L, &s.callbacks, status);
  lua_pushvalue(L, solution);
  push_result(L, &result);
  return 2;
}

/* concrete(x) -> tensor, was_traced */
static int concrete(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  const bool traced = grad__trace_for(L, t) != NULL;
  if (traced) {
    const grad_array *value = grad__trace_read(L, t, "a solver");
    grad__tensor_push_copy(L, value, value->dtype);
  } else {
    lua_settop(L, 1);
  }
  lua_pushboolean(L, traced);
  return 2;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION("concrete", concrete, "x -> tensor, traced", "the value that a traced tensor has here"),
    GRAD_FUNCTION("root", root,
                  "x0, callbacks, fixed_point, {method, tol, x_tol, max_iter, max_seconds, "
                  "memory, damping, on_step, progress} -> x, result",
                  "a root of a function of one vector"),
    GRAD_FN_END};

void grad__open_bind_root(lua_State *L) {
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "roots");
}

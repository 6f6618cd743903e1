/* bind_minimize.c: minimizers as objects, `internal.solver.minimize`, on which lua/gradlua/minimize.lua and
 * least_squares.lua stand. The variables are one f64 vector here; functions and derivatives are Lua callbacks on it. */
#include <string.h>

#include "lua/binding.h"
#include "lua/toolkits/callbacks.h"
#include "lua/toolkits/fields.h"
#include "lua/modules.h"
#include "optim/least_squares.h"

/* A minimizer with the table of its callbacks (its user value). */
typedef struct handle {
  grad_callbacks callbacks; /* while it runs */
  grad_minimizer *minimizer;
  grad_ctx *ctx;
  int64_t n, constraints, residuals;
  int64_t entries; /* of a sparse Jacobian; -1: it is dense */
  double *block;   /* x0 and the bounds, of 3 n doubles; only while it is made */
  bool running;
} handle;

static const char handle_name[] = "gradlua.minimizer";

static grad_status call_back(handle *h, grad_request r) {
  r.n = h->n;
  return grad__callbacks_call(&h->callbacks, &r);
}

static grad_status on_f_gradient(void *user, const double *x, double *f, double *gradient) {
  handle *h = user;
  return call_back(h, (grad_request){.name = "f_gradient", .x = x, .number = f, .array = gradient, .rows = h->n});
}

static grad_status on_f(void *user, const double *x, double *f) {
  return call_back(user, (grad_request){.name = "f", .x = x, .number = f});
}

static grad_status on_hvp(void *user, const double *x, const double *v, double *product) {
  handle *h = user;
  return call_back(h, (grad_request){.name = "hvp", .x = x, .v = v, .array = product, .rows = h->n});
}

static grad_status on_hessian(void *user, const double *x, double *hessian) {
  handle *h = user;
  return call_back(h, (grad_request){.name = "hessian", .x = x, .array = hessian, .rows = h->n, .columns = h->n});
}

static grad_status on_constraints(void *user, const double *x, double *c) {
  handle *h = user;
  return call_back(h, (grad_request){.name = "constraints", .x = x, .array = c, .rows = h->constraints});
}

static grad_status on_jacobian(void *user, const double *x, double *jacobian) {
  handle *h = user;
  if (h->n == 0) return GRAD_OK;
  return call_back(
      h, (grad_request){.name = "jacobian", .x = x, .array = jacobian, .rows = h->constraints, .columns = h->n});
}

static grad_status on_residual(void *user, const double *x, double *r) {
  handle *h = user;
  return call_back(h, (grad_request){.name = "residual", .x = x, .array = r, .rows = h->residuals});
}

static grad_status on_residual_jacobian(void *user, const double *x, double *jacobian) {
  handle *h = user;
  grad_request r = {.name = "residual_jacobian", .x = x, .array = jacobian, .rows = h->residuals, .columns = h->n};
  if (h->n == 0) return GRAD_OK;
  if (h->entries >= 0) r.rows = h->entries, r.columns = 0;
  return call_back(h, r);
}

/* An error stops the run; whoever steps then raises it. */
static bool on_step(void *user, const grad_step_info *info) {
  bool stop = false;
  return call_back(user, (grad_request){.name = "on_step", .info = info, .stop = &stop}) != GRAD_OK || stop;
}

/* --- making one */
static int handle_gc(lua_State *L) {
  handle *h = lua_touserdata(L, 1);
  grad_minimizer_free(h->minimizer);
  grad__free(h->ctx, h->block, (size_t)h->n * 3 * sizeof *h->block);
  h->minimizer = NULL;
  h->block = NULL;
  return 0;
}

static bool has(lua_State *L, int callbacks, const char *name) {
  const bool found = lua_getfield(L, callbacks, name) == LUA_TFUNCTION;
  lua_pop(L, 1);
  return found;
}

/* Copies the vector at `index` (n entries) to `to`. */
static void read_vector(lua_State *L, int index, const char *what, double *to, int64_t n) {
  const grad_tensor *t = grad__tensor_to(L, index);
  if (!t || grad__tensor_is_traced(t) || t->array.ndim != 1 || t->array.shape[0] != n)
    grad__lua_error(L, "%s must be a vector of %lld entries", what, (long long)n);
  grad_array array;
  grad__array_wrap(&array, to, GRAD_F64, 1, &n);
  grad__array_copy(&array, &t->array);
}

static const char *const line_names[] = {"auto", "armijo", "wolfe", "hager_zhang", NULL};
static const char *const update_names[] = {"pr_plus", "fr", "hs", NULL};
static const char *const loss_names[] = {
#define XX(id, name, text) #name,
    GRAD_LOSS_MAP(XX)
#undef XX
        NULL};

#define FIELD(name, kind) GRAD_FIELD(grad_minimize_options, #name, name, kind)
static const grad_field option_fields[] = {
    FIELD(tol, DOUBLE),     FIELD(constraint_tol, DOUBLE), FIELD(f_tol, DOUBLE),     FIELD(x_tol, DOUBLE),
    FIELD(target, DOUBLE),  FIELD(max_iter, INTEGER),      FIELD(max_eval, INTEGER), FIELD(max_seconds, DOUBLE),
    FIELD(memory, INTEGER), FIELD(initial_step, DOUBLE),   FIELD(penalty, DOUBLE),   FIELD(learning_rate, DOUBLE),
    FIELD(f_scale, DOUBLE), FIELD(geodesic, BOOLEAN),      GRAD_FIELDS_END};
#undef FIELD

/* The option `name`: auto, or one of the methods from `first` on and before `end`. */
static grad_method read_method(lua_State *L, int at, const char *name, grad_method first, grad_method end) {
  const char *names[GRAD_METHOD_COUNT + 1] = {grad_method_name(GRAD_METHOD_AUTO)};
  int count = 1;
  for (grad_method method = first; method < end; method++) names[count++] = grad_method_name(method);
  const int chosen = grad__option_choice(L, at, name, names, 0);
  return chosen == 0 ? GRAD_METHOD_AUTO : (grad_method)((int)first + chosen - 1);
}

static void read_options(lua_State *L, int index, bool squares, grad_minimize_options *o) {
  const int at = grad__options_at(L, index);
  const grad_method first = squares ? GRAD_METHOD_LM : (grad_method)(GRAD_METHOD_AUTO + 1);
  grad_minimize_defaults(o);
  o->name = grad__lua_fn(L)->name;
  grad__fields_read(L, at, option_fields, o);
  o->method = read_method(L, at, "method", first, squares ? GRAD_METHOD_COUNT : GRAD_METHOD_LM);
  if (squares) {
    o->loss = (grad_loss)grad__option_choice(L, at, "loss", loss_names, GRAD_LOSS_LINEAR);
    return;
  }
  o->inner = read_method(L, at, "inner", first, GRAD_METHOD_LM);
  o->line_search = (grad_line_search)grad__option_choice(L, at, "line_search", line_names, GRAD_LINE_AUTO);
  o->cg_update = (grad_cg_update)grad__option_choice(L, at, "cg_update", update_names, GRAD_CG_PR_PLUS);
}

/* Pushes a copy of the positions in the field `name` of the callbacks, counted from 0; NULL when there is none. */
static const int64_t *push_positions(lua_State *L, int callbacks, const char *name, int64_t *count) {
  if (lua_getfield(L, callbacks, name) == LUA_TNIL) return NULL;
  grad_array *copy = grad__tensor_push_copy(L, &grad__tensor_check_concrete(L, -1, name)->array, GRAD_I64);
  int64_t *at = copy->data;
  *count = grad__array_numel(copy);
  for (int64_t i = 0; i < *count; i++) at[i]--;
  return at;
}

/* What it pushes stays: the problem borrows it. */
static void read_pattern(lua_State *L, int callbacks, handle *h, grad_problem *p) {
  int64_t starts = 0, columns = 0;
  luaL_checkstack(L, 8, NULL);
  p->jacobian_starts = push_positions(L, callbacks, "starts", &starts);
  h->entries = -1;
  if (!p->jacobian_starts) return;
  p->jacobian_columns = push_positions(L, callbacks, "columns", &columns);
  if (starts != h->residuals + 1 || !p->jacobian_columns || p->jacobian_starts[starts - 1] != columns)
    grad__lua_error(L, "starts and columns must be the pattern of a matrix of %lld rows", (long long)h->residuals);
  h->entries = columns;
}

static void read_problem(lua_State *L, int callbacks, handle *h, grad_problem *p) {
  *p = (grad_problem){.n = h->n, .user = h, .f_gradient = on_f_gradient};
  if (has(L, callbacks, "f")) p->f = on_f;
  if (has(L, callbacks, "residual")) {
    p->f_gradient = NULL;
    p->residual = on_residual;
    p->residual_jacobian = on_residual_jacobian;
    lua_getfield(L, callbacks, "residuals");
    p->residuals = h->residuals = grad__arg_integer(L, -1, "residuals");
    lua_pop(L, 1);
    read_pattern(L, callbacks, h, p);
  }
  if (has(L, callbacks, "hvp")) p->hvp = on_hvp;
  if (has(L, callbacks, "hessian")) p->hessian = on_hessian;
  lua_getfield(L, callbacks, "equalities");
  p->equalities = grad__arg_integer_or(L, -1, "equalities", 0);
  lua_getfield(L, callbacks, "inequalities");
  p->inequalities = grad__arg_integer_or(L, -1, "inequalities", 0);
  h->constraints = p->equalities + p->inequalities;
  if (h->constraints > 0) {
    p->constraints = on_constraints;
    p->jacobian = on_jacobian;
  }
  if (lua_getfield(L, callbacks, "lower") != LUA_TNIL) {
    read_vector(L, -1, "lower", h->block + h->n, h->n);
    p->lower = h->block + h->n;
  }
  if (lua_getfield(L, callbacks, "upper") != LUA_TNIL) {
    read_vector(L, -1, "upper", h->block + 2 * h->n, h->n);
    p->upper = h->block + 2 * h->n;
  }
}

/* minimize(x0, callbacks [, options]); least_squares the same, with the callbacks of residuals */
static int minimizer_new(lua_State *L) {
  const grad_tensor *x0 = grad__tensor_check_concrete(L, 1, "x0");
  const int64_t n = x0->array.ndim == 1 ? x0->array.shape[0] : -1;
  if (n < 0) grad__lua_error(L, "x0 must be a vector");
  luaL_checktype(L, 2, LUA_TTABLE);
  grad_minimize_options options;
  read_options(L, 3, has(L, 2, "residual"), &options);

  handle *h = lua_newuserdatauv(L, sizeof *h, 1);
  memset(h, 0, sizeof *h);
  h->ctx = grad__lua_ctx(L);
  h->n = n;
  luaL_setmetatable(L, handle_name);
  grad__callbacks_prepare(L, 2);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  const int object = lua_gettop(L);

  if (n > 0 && !(h->block = grad__alloc(h->ctx, (size_t)n * 3 * sizeof *h->block))) grad__lua_check(L, GRAD_ENOMEM);
  read_vector(L, 1, "x0", h->block, n);
  grad_problem problem;
  read_problem(L, 2, h, &problem);
  if (has(L, 2, "on_step")) {
    options.on_step = on_step;
    options.on_step_user = h;
  }
  grad__lua_check(L, grad_minimizer_new(h->ctx, &problem, &options, h->block, &h->minimizer));
  grad__free(h->ctx, h->block, (size_t)n * 3 * sizeof *h->block);
  h->block = NULL;
  grad__lua_charge(L, grad_minimizer_bytes(h->minimizer));
  lua_pushvalue(L, object);
  return 1;
}

/* --- methods */
static handle *check_handle(lua_State *L) {
  handle *h = grad__arg_self(L, handle_name, "a minimizer");
  if (!h->minimizer) grad__arg_error(L, 1, "the first argument", "a minimizer");
  if (h->running) grad__lua_error(L, "this minimizer is running: a callback cannot use it");
  return h;
}

/* What follows may call back. */
static handle *begin_run(lua_State *L) {
  handle *h = check_handle(L);
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  grad__callbacks_begin(L, 2, &h->callbacks);
  h->running = true;
  return h;
}

static void end_run(lua_State *L, handle *h, grad_status status) {
  h->running = false;
  grad__callbacks_end(L, &h->callbacks, status);
}

static int minimizer_step(lua_State *L) {
  bool running = false;
  handle *h = begin_run(L);
  end_run(L, h, grad_minimizer_step(h->minimizer, &running));
  lua_pushboolean(L, running);
  return 1;
}

static int minimizer_run(lua_State *L) {
  handle *h = begin_run(L);
  end_run(L, h, grad_minimizer_run(h->minimizer));
  return 0;
}

/* fit(full) -> covariance (nil unless full), standard errors, {variance, rank} */
static int minimizer_fit(lua_State *L) {
  const bool full = lua_toboolean(L, 2);
  handle *h = begin_run(L);
  const int64_t shape[2] = {h->n, h->n};
  double *covariance = NULL;
  if (full) {
    covariance = grad__tensor_new(L, GRAD_F64, 2, shape)->data;
  } else {
    lua_pushnil(L);
  }
  double *errors = grad__tensor_new(L, GRAD_F64, 1, shape)->data;
  grad_fit fit;
  end_run(L, h, grad_least_squares_fit(h->minimizer, covariance, errors, &fit));
  lua_createtable(L, 0, 2);
  grad__set_number(L, "variance", fit.variance);
  grad__set_integer(L, "rank", fit.rank);
  return 3;
}

static int minimizer_result(lua_State *L) {
  handle *h = check_handle(L);
  grad_minimize_result r;
  grad_minimizer_result(h->minimizer, &r);
  lua_createtable(L, 0, 14);
  grad__push_vector(L, r.x, h->n);
  lua_setfield(L, -2, "x");
  grad__push_vector(L, r.gradient, h->n);
  lua_setfield(L, -2, "grad");
  if (r.multipliers) {
    grad__push_vector(L, r.multipliers, h->constraints);
    lua_setfield(L, -2, "multipliers");
  }
  grad__set_number(L, "f", r.f);
  grad__set_number(L, "gradient_norm", r.gradient_norm);
  grad__set_number(L, "violation", r.violation);
  grad__set_number(L, "seconds", r.seconds);
  grad__set_integer(L, "iterations", r.iterations);
  grad__push_counts(L, &r.evaluations);
  lua_setfield(L, -2, "evaluations");
  grad__set_boolean(L, "converged", r.converged);
  grad__set_text(L, "status", r.failure != GRAD_FAILURE_NONE ? grad_failure_name(r.failure) : grad_stop_name(r.stop));
  grad__set_text(L, "method", grad_method_name(r.method));
  grad__set_text(L, "message", r.message);
  return 1;
}

static int minimizer_state(lua_State *L) {
  const handle *h = check_handle(L);
  lua_newtable(L);
  for (int64_t i = 0;; i++) {
    const grad_state_array array = grad_minimizer_state(h->minimizer, i);
    if (!array.name) return 1;
    grad__push_vector(L, array.data, array.count);
    lua_setfield(L, -2, array.name);
  }
}

static int minimizer_load(lua_State *L) {
  const handle *h = check_handle(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  for (lua_pushnil(L); lua_next(L, 2); lua_settop(L, 3)) {
    if (lua_type(L, 3) != LUA_TSTRING) grad__lua_error(L, "a state is a table of vectors with names");
    const char *name = lua_tostring(L, 3);
    const grad_tensor *t = grad__tensor_to(L, 4);
    if (!t || t->array.ndim != 1) grad__lua_error(L, "'%s' of a state must be a vector", name);
    const int64_t n = t->array.shape[0];
    grad_array *copy = grad__tensor_push_copy(L, &t->array, GRAD_F64);
    grad__lua_check(L, grad_minimizer_load(h->minimizer, name, copy->data, n));
  }
  return 0;
}

static const grad_fn methods[] = {
    GRAD_FUNCTION("step", minimizer_step, "self -> boolean", "one iteration; false when the run has ended"),
    GRAD_FUNCTION("run", minimizer_run, "self", "steps until the run ends"),
    GRAD_FUNCTION("fit", minimizer_fit, "self, full -> covariance, errors, about",
                  "how well the data determine the parameters"),
    GRAD_FUNCTION("result", minimizer_result, "self -> table", "the best point so far and how the run ended"),
    GRAD_FUNCTION("state", minimizer_state, "self -> table", "the whole state, to be saved"),
    GRAD_FUNCTION("load", minimizer_load, "self, state", "takes a state back"),
    GRAD_FUNCTION("__gc", handle_gc, "", ""),
    GRAD_FN_END};

static const grad_fn rows[] = {
    GRAD_FUNCTION("minimize", minimizer_new,
                  "x0, callbacks, {method, bounds, constraints, on_step, progress, tol, constraint_tol, "
                  "f_tol, x_tol, target, max_iter, max_eval, max_seconds, memory, "
                  "initial_step, penalty, learning_rate, inner, line_search, cg_update} -> minimizer",
                  "a minimizer of a function of one vector"),
    GRAD_FUNCTION("least_squares", minimizer_new,
                  "x0, callbacks, {method, bounds, on_step, progress, tol, f_tol, x_tol, target, max_iter, max_eval, "
                  "max_seconds, initial_step, loss, f_scale, geodesic, sparse} -> minimizer",
                  "a minimizer of a sum of squares"),
    GRAD_FN_END};

void grad__open_bind_minimize(lua_State *L) {
  grad__lua_metatable(L, handle_name, methods);
  lua_pop(L, 1);
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "solver");
}

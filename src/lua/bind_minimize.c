/* bind_minimize.c: minimizers as objects, `internal.solver.minimize`, on which lua/gradlua/minimize.lua stands. The
 * variables are one f64 vector here; functions and derivatives are Lua callbacks on it. */
#include <string.h>

#include "lua/binding.h"
#include "lua/fields.h"
#include "lua/modules.h"
#include "optim/minimize.h"

/* A minimizer with the table of its callbacks (user value 1) and the error that one of them raised (user value 2). */
typedef struct handle {
  grad_minimizer *minimizer;
  grad_ctx *ctx;
  lua_State *L; /* the thread that runs it; the handle is at index 1 of its running C function */
  int64_t n, constraints;
  double *block; /* x0 and the bounds, of 3 n doubles; only while it is made */
  bool raised, running;
} handle;

static const char handle_name[] = "gradlua.minimizer";

enum { CALLBACKS = 1, ERROR = 2 };

/* --- callbacks: each is a request, carried out by `invoke` inside a protected call */
typedef struct request {
  handle *h;
  const char *name;
  const double *x, *v;
  double *number;             /* where the first result goes, when it is a number; else NULL */
  double *array;              /* where the array result goes, row-major */
  int64_t rows, columns;      /* of the array; columns 0: a vector */
  const grad_step_info *info; /* on_step */
  bool stop;
} request;

static void push_vector(lua_State *L, const double *data, int64_t n) {
  grad_array *array = grad__tensor_new(L, GRAD_F64, 1, &n);
  if (n > 0) memcpy(array->data, data, (size_t)n * sizeof *data);
}

static void take_array(lua_State *L, const request *r) {
  const int64_t shape[2] = {r->rows, r->columns};
  const int ndim = r->columns > 0 ? 2 : 1;
  const grad_tensor *t = grad__tensor_to(L, -1);
  if (!t || grad__tensor_is_traced(t) || !grad__shape_equal(t->array.ndim, t->array.shape, ndim, shape)) {
    char text[160];
    grad__lua_error(L, "%s must give a tensor of shape %s", r->name, grad__shape_text(ndim, shape, text, sizeof text));
  }
  grad_array to;
  grad__array_wrap(&to, r->array, GRAD_F64, ndim, shape);
  grad__array_copy(&to, &t->array);
}

static void push_counts(lua_State *L, const grad_counts *counts) {
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, counts->f);
  lua_setfield(L, -2, "f");
  lua_pushinteger(L, counts->g);
  lua_setfield(L, -2, "g");
  lua_pushinteger(L, counts->hv);
  lua_setfield(L, -2, "hv");
  lua_pushinteger(L, counts->jac);
  lua_setfield(L, -2, "jac");
}

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

static void push_info(lua_State *L, const grad_step_info *info, int64_t n) {
  lua_createtable(L, 0, 9);
  lua_pushinteger(L, info->iteration);
  lua_setfield(L, -2, "iteration");
  set_number(L, "f", info->f);
  set_number(L, "gradient_norm", info->gradient_norm);
  set_number(L, "violation", info->violation);
  set_number(L, "step", info->step);
  set_number(L, "radius", info->radius);
  set_number(L, "seconds", info->seconds);
  push_counts(L, &info->evaluations);
  lua_setfield(L, -2, "evaluations");
  push_vector(L, info->x, n);
  lua_setfield(L, -2, "x");
}

/* Arguments: the request, the table of callbacks. */
static int invoke(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  lua_getfield(L, 2, r->name);
  if (r->info) {
    push_info(L, r->info, r->h->n);
    lua_call(L, 1, 1);
    r->stop = lua_toboolean(L, -1);
    return 0;
  }
  push_vector(L, r->x, r->h->n);
  if (r->v) push_vector(L, r->v, r->h->n);
  lua_call(L, r->v ? 2 : 1, (r->number != NULL) + (r->array != NULL));
  if (r->number) *r->number = grad__arg_number(L, r->array ? -2 : -1, "the value of the function");
  if (r->array) take_array(L, r);
  return 0;
}

/* Nothing in it raises: an error of the callback is kept for the function that steps. */
static grad_status call_back(request *r) {
  handle *h = r->h;
  lua_State *L = h->L;
  if (!lua_checkstack(L, 8)) return grad__fail(h->ctx, GRAD_ENOMEM, "minimize: Lua's stack is full");
  lua_getiuservalue(L, 1, CALLBACKS);
  lua_rawgeti(L, -1, 1); /* invoke */
  lua_pushlightuserdata(L, r);
  lua_pushvalue(L, -3);
  const int status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK) {
    lua_setiuservalue(L, 1, ERROR);
    h->raised = true;
  }
  lua_pop(L, 1);
  return status == LUA_OK ? GRAD_OK : grad__fail(h->ctx, GRAD_ECALLBACK, "minimize: a callback raised an error");
}

static grad_status on_f_gradient(void *user, const double *x, double *f, double *gradient) {
  handle *h = user;
  return call_back(&(request){.h = h, .name = "f_gradient", .x = x, .number = f, .array = gradient, .rows = h->n});
}

static grad_status on_f(void *user, const double *x, double *f) {
  return call_back(&(request){.h = user, .name = "f", .x = x, .number = f});
}

static grad_status on_hvp(void *user, const double *x, const double *v, double *product) {
  handle *h = user;
  return call_back(&(request){.h = h, .name = "hvp", .x = x, .v = v, .array = product, .rows = h->n});
}

static grad_status on_hessian(void *user, const double *x, double *hessian) {
  handle *h = user;
  return call_back(&(request){.h = h, .name = "hessian", .x = x, .array = hessian, .rows = h->n, .columns = h->n});
}

static grad_status on_constraints(void *user, const double *x, double *c) {
  handle *h = user;
  return call_back(&(request){.h = h, .name = "constraints", .x = x, .array = c, .rows = h->constraints});
}

static grad_status on_jacobian(void *user, const double *x, double *jacobian) {
  handle *h = user;
  return call_back(
      &(request){.h = h, .name = "jacobian", .x = x, .array = jacobian, .rows = h->constraints, .columns = h->n});
}

/* An error stops the run; whoever steps then raises it. */
static bool on_step(void *user, const grad_step_info *info) {
  request r = {.h = user, .name = "on_step", .info = info};
  return call_back(&r) != GRAD_OK || r.stop;
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

static const char *const method_names[] = {
#define XX(id, name, text) #name,
    GRAD_METHOD_MAP(XX)
#undef XX
        NULL};
static const char *const line_names[] = {"auto", "armijo", "wolfe", "hager_zhang", NULL};
static const char *const update_names[] = {"pr_plus", "fr", "hs", NULL};

#define FIELD(name, kind)                                                                                              \
  { #name, GRAD_FIELD_##kind, offsetof(grad_minimize_options, name) }
static const grad_field option_fields[] = {
    FIELD(tol, DOUBLE),       FIELD(constraint_tol, DOUBLE), FIELD(f_tol, DOUBLE),     FIELD(x_tol, DOUBLE),
    FIELD(target, DOUBLE),    FIELD(max_iter, INTEGER),      FIELD(max_eval, INTEGER), FIELD(max_seconds, DOUBLE),
    FIELD(memory, INTEGER),   FIELD(initial_step, DOUBLE),   FIELD(penalty, DOUBLE),   FIELD(learning_rate, DOUBLE),
    {NULL, GRAD_FIELD_INT, 0}};
#undef FIELD

static void read_options(lua_State *L, int index, grad_minimize_options *o) {
  const int at = grad__options_at(L, index);
  grad_minimize_defaults(o);
  grad__fields_read(L, at, option_fields, o);
  o->method = (grad_method)grad__option_choice(L, at, "method", method_names, GRAD_METHOD_AUTO);
  o->inner = (grad_method)grad__option_choice(L, at, "inner", method_names, (int)o->inner);
  o->line_search = (grad_line_search)grad__option_choice(L, at, "line_search", line_names, GRAD_LINE_AUTO);
  o->cg_update = (grad_cg_update)grad__option_choice(L, at, "cg_update", update_names, GRAD_CG_PR_PLUS);
}

static void read_problem(lua_State *L, int callbacks, handle *h, grad_problem *p) {
  *p = (grad_problem){.n = h->n, .user = h, .f_gradient = on_f_gradient};
  if (has(L, callbacks, "f")) p->f = on_f;
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
  lua_pop(L, 4);
}

/* minimize(x0, callbacks [, options]) */
static int minimizer_new(lua_State *L) {
  const grad_tensor *x0 = grad__tensor_check_concrete(L, 1, "x0");
  const int64_t n = x0->array.ndim == 1 ? x0->array.shape[0] : -1;
  if (n < 0) grad__lua_error(L, "x0 must be a vector");
  luaL_checktype(L, 2, LUA_TTABLE);
  grad_minimize_options options;
  read_options(L, 3, &options);

  handle *h = lua_newuserdatauv(L, sizeof *h, 2);
  memset(h, 0, sizeof *h);
  h->ctx = grad__lua_ctx(L);
  h->n = n;
  luaL_setmetatable(L, handle_name);
  grad__lua_push_function(L, invoke, grad__lua_fn(L), 0);
  lua_rawseti(L, 2, 1);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, CALLBACKS);

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
  return 1;
}

/* --- methods */
static handle *check_handle(lua_State *L) {
  handle *h = luaL_testudata(L, 1, handle_name);
  if (!h || !h->minimizer) grad__arg_error(L, 1, "the first argument", "a minimizer");
  if (h->running) grad__lua_error(L, "this minimizer is running: a callback cannot use it");
  h->L = L;
  h->raised = false;
  return h;
}

/* Raises the error of a callback as it was, else that of the core. */
static void check_run(lua_State *L, handle *h, grad_status status) {
  h->running = false;
  if (h->raised) {
    lua_getiuservalue(L, 1, ERROR);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, ERROR);
    lua_error(L);
  }
  grad__lua_check(L, status);
}

static int minimizer_step(lua_State *L) {
  handle *h = check_handle(L);
  bool running = false;
  h->running = true;
  const grad_status status = grad_minimizer_step(h->minimizer, &running);
  check_run(L, h, status);
  lua_pushboolean(L, running);
  return 1;
}

static int minimizer_run(lua_State *L) {
  handle *h = check_handle(L);
  h->running = true;
  const grad_status status = grad_minimizer_run(h->minimizer);
  check_run(L, h, status);
  return 0;
}

static int minimizer_result(lua_State *L) {
  handle *h = check_handle(L);
  grad_minimize_result r;
  grad_minimizer_result(h->minimizer, &r);
  lua_createtable(L, 0, 14);
  push_vector(L, r.x, h->n);
  lua_setfield(L, -2, "x");
  push_vector(L, r.gradient, h->n);
  lua_setfield(L, -2, "grad");
  if (r.multipliers) {
    push_vector(L, r.multipliers, h->constraints);
    lua_setfield(L, -2, "multipliers");
  }
  set_number(L, "f", r.f);
  set_number(L, "gradient_norm", r.gradient_norm);
  set_number(L, "violation", r.violation);
  set_number(L, "seconds", r.seconds);
  lua_pushinteger(L, r.iterations);
  lua_setfield(L, -2, "iterations");
  push_counts(L, &r.evaluations);
  lua_setfield(L, -2, "evaluations");
  lua_pushboolean(L, r.converged);
  lua_setfield(L, -2, "converged");
  lua_pushstring(L, r.failure != GRAD_FAILURE_NONE ? grad_failure_name(r.failure) : grad_stop_name(r.stop));
  lua_setfield(L, -2, "status");
  lua_pushstring(L, grad_method_name(r.method));
  lua_setfield(L, -2, "method");
  lua_pushstring(L, r.message);
  lua_setfield(L, -2, "message");
  return 1;
}

static int minimizer_state(lua_State *L) {
  const handle *h = check_handle(L);
  lua_newtable(L);
  for (int64_t i = 0;; i++) {
    const grad_state_array array = grad_minimizer_state(h->minimizer, i);
    if (!array.name) return 1;
    push_vector(L, array.data, array.count);
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
    {.name = "step",
     .signature = "self -> boolean",
     .doc = "one iteration; false when the run has ended",
     .call = minimizer_step},
    {.name = "run", .signature = "self", .doc = "steps until the run ends", .call = minimizer_run},
    {.name = "result",
     .signature = "self -> table",
     .doc = "the best point so far and how the run ended",
     .call = minimizer_result},
    {.name = "state", .signature = "self -> table", .doc = "the whole state, to be saved", .call = minimizer_state},
    {.name = "load", .signature = "self, state", .doc = "takes a state back", .call = minimizer_load},
    {.name = "__gc", .signature = "", .doc = "", .call = handle_gc},
    GRAD_FN_END};

static const grad_fn rows[] = {
    {.name = "minimize",
     .signature = "x0, callbacks, {method, bounds, constraints, on_step, progress, tol, constraint_tol, "
                  "f_tol, x_tol, target, max_iter, max_eval, max_seconds, memory, "
                  "initial_step, penalty, learning_rate, inner, line_search, cg_update} -> minimizer",
     .doc = "a minimizer of a function of one vector",
     .call = minimizer_new},
    GRAD_FN_END};

void grad__open_minimize(lua_State *L) {
  grad__lua_metatable(L, handle_name, methods);
  lua_pop(L, 1);
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "solver");
}

/* host_call.c: arrays lent to scripts, calls of Lua functions with arrays, and Lua functions as functions of the core.
 */
#include <lauxlib.h>
#include <string.h>

#include "api/function.h"
#include "lua/apply.h"
#include "lua/call.h"
#include "lua/host/host.h"
#include "lua/trace.h"

/* These run as closures of the binding: its helpers expect the state as an upvalue. */
typedef struct host_call {
  const char *name;
  lua_CFunction body;
  int nin, nout;
  const grad_array *const *in;
  grad_array *const *out;
  const uint8_t *wrt;
  gradlua_derivative derivative;
  grad_function **function;
  const grad_host_op *op;
} host_call;

static const grad_fn host_row = {.name = "host"};

static int enter(lua_State *L) {
  host_call *c = lua_touserdata(L, 1);
  grad__lua_push_function(L, c->body, &host_row, 0);
  lua_pushlightuserdata(L, c);
  lua_call(L, 1, 0);
  return 0;
}

static grad_status run(gradlua *g, host_call *c, lua_CFunction body) {
  c->body = body;
  return gradlua__protected(g, enter, c);
}

/* Pushes a tensor on the array's memory. */
static void push_lent(lua_State *L, const grad_array *array) {
  if (array->storage->ctx != grad__lua_ctx(L))
    grad__lua_error(L, "the array was made in another context: use the one of gradlua_core");
  grad_array *tensor = grad__tensor_push_empty(L);
  *tensor = *array;
  grad__array_retain(tensor);
}

/* Pushes the value that "a.b.c" names, from the globals. */
static void push_named(lua_State *L, const char *name) {
  lua_pushglobaltable(L);
  for (const char *at = name; at;) {
    const char *dot = strchr(at, '.');
    size_t size = dot ? (size_t)(dot - at) : strlen(at);
    if (!lua_istable(L, -1)) grad__lua_error(L, "'%s' does not exist: what stands before '%s' is no table", name, at);
    lua_pushlstring(L, at, size);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    at = dot ? dot + 1 : NULL;
  }
  if (lua_isnil(L, -1)) grad__lua_error(L, "'%s' does not exist", name);
}

/* --- lending */

static int lend(lua_State *L) {
  const host_call *c = lua_touserdata(L, 1);
  push_lent(L, c->in[0]);
  lua_setglobal(L, c->name);
  return 0;
}

grad_status gradlua_lend(gradlua *g, const char *name, const grad_array *array) {
  host_call c = {.name = name, .nin = 1, .in = &array};
  return run(g, &c, lend);
}

/* --- calling */

static void copy_result(lua_State *L, int index, int k, const grad_array *to) {
  if (lua_type(L, index) == LUA_TNUMBER && to->ndim == 0) {
    grad__array_fill(to, lua_tonumber(L, index));
    return;
  }
  const grad_tensor *x = grad__tensor_to(L, index);
  if (!x || grad__tensor_is_traced(x))
    grad__lua_error(L, "result %d is a %s, expected a tensor", k + 1, luaL_typename(L, index));
  const grad_type type = {to->shape, to->dtype, to->ndim};
  if (x->array.dtype != to->dtype || !grad__shape_equal(x->array.ndim, x->array.shape, to->ndim, to->shape))
    grad__lua_error(L, "result %d is %s, the host expects %s", k + 1, grad__tensor_text(x).chars,
                    grad__type_text(&type).chars);
  if (to->storage->readonly) grad__lua_error(L, "the host's array for result %d is read-only", k + 1);
  grad__array_copy(to, &x->array);
}

static int call(lua_State *L) {
  const host_call *c = lua_touserdata(L, 1);
  luaL_checkstack(L, c->nin + c->nout + 8, "too many arguments");
  push_named(L, c->name);
  for (int i = 0; i < c->nin; i++) push_lent(L, c->in[i]);
  lua_call(L, c->nin, c->nout);
  for (int k = 0; k < c->nout; k++) copy_result(L, 2 + k, k, c->out[k]);
  return 0;
}

grad_status gradlua_call(gradlua *g, const char *name, int nin, const grad_array *const *in, int nout,
                         grad_array *const *out) {
  host_call c = {.name = name, .nin = nin, .in = in, .nout = nout, .out = out};
  return run(g, &c, call);
}

/* --- operations of the host */

/* Upvalue 3: the operation. */
static int call_operation(lua_State *L) {
  const grad_host_op *op = lua_touserdata(L, lua_upvalueindex(3));
  if (lua_gettop(L) != op->nin) grad__lua_error(L, "%s takes %d arguments, got %d", op->name, op->nin, lua_gettop(L));
  grad_call *c = grad__call_begin(L);
  grad_id args[GRAD_HOST_MOST], results[GRAD_HOST_MOST];
  for (int i = 0; i < op->nin; i++) args[i] = grad__call_value(c, i + 1, "an argument");
  grad_host_call(c->p, op, args, results);
  for (int k = 0; k < op->nout; k++) grad__call_return(c, results[k]);
  return grad__call_finish(c);
}

static int register_operation(lua_State *L) {
  const host_call *c = lua_touserdata(L, 1);
  if (c->op->nin < 1 || c->op->nin > GRAD_HOST_MOST || c->op->nout < 1 || c->op->nout > GRAD_HOST_MOST)
    grad__lua_error(L, "'%s' needs 1 to %d arguments and results", c->name, GRAD_HOST_MOST);
  lua_pushlightuserdata(L, (void *)c->op);
  grad__lua_push_function(L, call_operation, &host_row, 1);
  lua_setglobal(L, c->name);
  return 0;
}

grad_status gradlua_register(gradlua *g, const char *name, const grad_host_op *op) {
  host_call c = {.name = name, .op = op};
  return run(g, &c, register_operation);
}

/* --- compiling */

/* Records the call; every leaf of the results becomes an output. */
static grad_trace *record(lua_State *L, const host_call *c) {
  grad_trace *t = grad__trace_begin(L, "the host's function");
  t->no_draws = "random numbers cannot be drawn in a function that a host compiles: pass them in";
  int base = lua_gettop(L);
  push_named(L, c->name);
  for (int i = 0; i < c->nin; i++) {
    const grad_array *like = c->in[i];
    grad__trace_push(L, t, grad__trace_open_input(L, t, like->dtype, like->ndim, like->shape));
  }
  lua_call(L, c->nin, LUA_MULTRET);
  int last = lua_gettop(L);
  grad__trace_push_outputs(L, t, base + 1, last, "the result");
  if (lua_rawlen(L, -1) == 0) grad__lua_error(L, "'%s' returned no tensor and no number", c->name);
  grad__lua_check(L, t->p->status);
  return t;
}

/* wrt covers the arguments; what was captured comes after them and is constant. */
static grad_status derive(const host_call *c, const grad_program *p, const uint8_t *wrt, grad_program **out) {
  switch (c->derivative) {
  case GRADLUA_GRADIENT:
    return grad_gradient(p, wrt, out);
  case GRADLUA_HVP:
    return grad_hvp_of(p, wrt, out);
  case GRADLUA_JACOBIAN:
    return grad_jacobian_of(p, wrt, out);
  case GRADLUA_VALUE:
    break;
  }
  return grad__prune(p, out);
}

static int compile(lua_State *L) {
  const host_call *c = lua_touserdata(L, 1);
  luaL_checkstack(L, c->nin + 16, "too many arguments");
  grad_program **derived = grad__program_box(L);
  grad_trace *t = record(L, c);
  uint8_t *wrt = lua_newuserdatauv(L, (size_t)t->ninputs + 1, 0);
  for (int i = 0; i < t->ninputs; i++) {
    bool argument = i < c->nin;
    wrt[i] = argument && (c->wrt ? c->wrt[i] != 0 : grad__dtype_is_float(c->in[i]->dtype));
  }
  grad__lua_check(L, derive(c, t->p, wrt, derived));
  size_t count = (size_t)(*derived)->ninputs;
  grad_array *bound = lua_newuserdatauv(L, (count + 1) * sizeof *bound, 0);
  memset(bound, 0, (count + 1) * sizeof *bound);
  for (int i = c->nin; i < t->ninputs; i++) bound[i] = t->inputs[i].array;
  grad__lua_check(L, grad__function_new(*derived, bound, t->scalars, c->function));
  return 0;
}

grad_status gradlua_compile(gradlua *g, const char *name, gradlua_derivative derivative, int nin,
                            const grad_array *const *like, const uint8_t *wrt, grad_function **out) {
  host_call c = {.name = name, .nin = nin, .in = like, .wrt = wrt, .derivative = derivative, .function = out};
  return run(g, &c, compile);
}

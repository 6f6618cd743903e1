/* trace.c: traces: beginning and ending, their inputs, and the tensors that stand for their values. */
#include "lua/trace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"

static const char meta_key; /* registry key of the metatable */

/* --- beginning and ending */

static int32_t free_slot(lua_State *L, grad_lua *g) {
  for (int32_t i = 0; i < g->ntraces; i++)
    if (!g->traces[i]) return i;
  const int32_t slot = g->ntraces;
  g->traces = grad__lua_grow(L, g->ctx, g->traces, slot + 1, &g->ntraces, sizeof *g->traces);
  return slot;
}

grad_trace *grad__trace_begin(lua_State *L, const char *staged_by) {
  grad_lua *g = grad__lua(L);
  grad_trace *t = lua_newuserdatauv(L, sizeof *t, 1);
  memset(t, 0, sizeof *t);
  lua_pushthread(L);
  lua_setiuservalue(L, -2, 1);
  t->captures = LUA_NOREF;
  t->g = g;
  t->thread = L;
  t->staged_by = staged_by;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_setmetatable(L, -2);
  lua_createtable(L, 8, 4);
  t->captures = luaL_ref(L, LUA_REGISTRYINDEX);
  t->slot = free_slot(L, g);
  grad__lua_check(L, grad__program_new(g->ctx, &t->p));
  lua_toclose(L, -1);
  t->serial = ++g->serial;
  g->traces[t->slot] = t;
  g->live_traces++;
  return t;
}

void grad__trace_end(grad_trace *t) {
  if (t->serial == 0) return;
  t->g->traces[t->slot] = NULL;
  t->g->live_traces--;
  t->g->persistent_traces -= t->persistent;
  t->g->lazy_traces -= t->lazy;
  t->serial = 0;
}

void grad__trace_persist(grad_trace *t) {
  t->persistent = true;
  t->g->persistent_traces++;
}

void grad__trace_make_lazy(grad_trace *t) {
  t->lazy = true;
  t->g->lazy_traces++;
}

/* Does the trace's function run: in this thread, or in one that has resumed it? */
static bool is_running(const lua_State *L, const grad_trace *t) {
  return t->thread == L || lua_status(t->thread) == LUA_OK;
}

bool grad__trace_is_recording(lua_State *L) {
  const grad_lua *g = grad__lua(L);
  for (int i = 0; i < g->ntraces && g->persistent_traces > 0; i++)
    if (g->traces[i] && g->traces[i]->persistent && is_running(L, g->traces[i])) return true;
  return false;
}

static int trace_free(lua_State *L) {
  grad_trace *t = lua_touserdata(L, 1);
  grad_ctx *ctx = t->g->ctx;
  grad__trace_end(t);
  for (int32_t i = 0; i < t->nknown; i++) grad__array_release(&t->known[i]);
  for (int32_t i = 0; i < t->ninputs; i++)
    if (t->inputs[i].owned) grad__array_release(&t->inputs[i].array);
  grad__free(ctx, t->known, (size_t)t->nknown * sizeof *t->known);
  grad__free(ctx, t->inputs, (size_t)t->inputs_cap * sizeof *t->inputs);
  grad__free(ctx, t->scalars, (size_t)t->scalars_cap * sizeof *t->scalars);
  grad__program_release(t->p);
  luaL_unref(L, LUA_REGISTRYINDEX, t->captures);
  t->captures = LUA_NOREF;
  t->known = NULL, t->inputs = NULL, t->scalars = NULL, t->p = NULL;
  t->nknown = t->ninputs = t->inputs_cap = t->scalars_cap = 0;
  return 0;
}

/* --- inputs */

static void raise_failure(lua_State *L, grad_trace *t) {
  grad_status status = t->p->status;
  t->p->status = GRAD_OK;
  grad__lua_check(L, status != GRAD_OK ? status : GRAD_EINTERNAL);
}

/* The binding of a new input; `array` gives the type. */
static grad_binding *add_input(lua_State *L, grad_trace *t, grad_dtype dtype, int ndim, const int64_t *shape,
                               grad_id *id) {
  t->inputs = grad__lua_grow(L, t->g->ctx, t->inputs, t->ninputs + 1, &t->inputs_cap, sizeof *t->inputs);
  *id = grad__program_input(t->p, dtype, ndim, shape);
  if (*id == GRAD_NONE) raise_failure(L, t);
  grad_binding *b = &t->inputs[t->ninputs++];
  memset(b, 0, sizeof *b);
  return b;
}

grad_id grad__trace_open_input(lua_State *L, grad_trace *t, grad_dtype dtype, int ndim, const int64_t *shape) {
  grad_id id;
  add_input(L, t, dtype, ndim, shape, &id)->kind = GRAD_BOUND_OPEN;
  return id;
}

/* What the tensor at `index` is as a value of a trace older than t; NULL for the concrete tensors, which t reads
 * itself.
 */
static grad_trace *outer_value(lua_State *L, const grad_trace *t, const grad_tensor *x, int index, grad_id *id) {
  grad_trace *outer = grad__tensor_is_traced(x) ? grad__trace_of(L, x) : grad__trace_for(L, x);
  if (!outer || outer == t) return NULL;
  *id = grad__trace_lift(L, outer, index, GRAD_F64);
  return outer;
}

static grad_id bind_tensor(lua_State *L, grad_trace *t, int index) {
  grad_id id, outer_id;
  const grad_tensor *x = grad__tensor_to(L, index);
  const grad_trace *outer = outer_value(L, t, x, index, &outer_id);
  grad_binding *b = add_input(L, t, x->array.dtype, x->array.ndim, x->array.shape, &id);
  if (!outer) {
    b->kind = GRAD_BOUND_ARRAY;
    b->array = x->array;
    return id;
  }
  b->kind = GRAD_BOUND_VALUE;
  b->serial = outer->serial, b->slot = outer->slot, b->id = outer_id;
  return id;
}

/* Keeps alive what the newest input stands for. */
static void keep(lua_State *L, const grad_trace *t, int index) {
  index = lua_absindex(L, index);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, t->ninputs);
  lua_pop(L, 1);
}

grad_id grad__trace_argument(lua_State *L, grad_trace *t, int index) {
  bool number = lua_type(L, index) == LUA_TNUMBER;
  if (number)
    grad__tensor_push_number(L, lua_tonumber(L, index));
  else
    lua_pushvalue(L, index);
  grad_id id = bind_tensor(L, t, lua_gettop(L));
  keep(L, t, -1);
  lua_pop(L, 1);
  return id;
}

/* Captures are found by the tensor itself; values of older traces by what they are. */
static void push_capture_key(lua_State *L, const grad_tensor *x, int index) {
  if (grad__tensor_is_traced(x))
    lua_pushfstring(L, "%I/%d", (LUAI_UACINT)x->serial, (int)x->id);
  else
    lua_pushvalue(L, index);
}

static grad_id capture(lua_State *L, grad_trace *t, const grad_tensor *x, int index) {
  index = lua_absindex(L, index);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  push_capture_key(L, x, index);
  lua_pushvalue(L, -1);
  grad_id id;
  if (lua_rawget(L, -3) == LUA_TNUMBER) {
    id = (grad_id)lua_tointeger(L, -1);
    lua_pop(L, 3);
    return id;
  }
  lua_pop(L, 1);
  id = bind_tensor(L, t, index);
  lua_pushinteger(L, id);
  lua_rawset(L, -3); /* captures[key] = id */
  lua_pop(L, 1);
  keep(L, t, index);
  return id;
}

void grad__trace_add_scalars(lua_State *L, grad_trace *t, int32_t n, const double *scalars) {
  const int32_t k = t->p->nscalars;
  t->scalars = grad__lua_grow(L, t->g->ctx, t->scalars, k + n, &t->scalars_cap, sizeof *t->scalars);
  for (int32_t i = 0; i < n; i++) t->scalars[k + i] = scalars[i];
}

grad_id grad__trace_number(lua_State *L, grad_trace *t, double value, grad_dtype dtype) {
  bool constant = (value == 0 && !signbit(value)) || value == 1 || value == -1 || value == 2 || value == 0.5;
  if (constant || dtype == GRAD_BOOL) return grad__full(t->p, value, dtype, 0, NULL);
  int32_t k = t->p->nscalars;
  grad__trace_add_scalars(L, t, 1, &value);
  return grad__scalar(t->p, dtype, k);
}

grad_id grad__trace_lift(lua_State *L, grad_trace *t, int index, grad_dtype number_dtype) {
  const grad_tensor *x = grad__tensor_to(L, index);
  if (!x) {
    double part[2];
    const int parts = grad__number_parts(L, index, number_dtype, part);
    const grad_id high = grad__trace_number(L, t, part[0], number_dtype);
    return parts == 1 ? high : grad__add(t->p, high, grad__trace_number(L, t, part[1], number_dtype));
  }
  if (x->serial == t->serial) return x->id;
  return capture(L, t, x, index);
}

/* --- lines */

void grad__trace_mark_line(lua_State *L, grad_trace *t) {
  lua_Debug ar;
  if (!grad__lua_user_frame(L, &ar)) return;
  if (ar.source != t->where_source || ar.currentline != t->where_line) {
    char text[LUA_IDSIZE + 24];
    snprintf(text, sizeof text, "%s:%d", ar.short_src, ar.currentline);
    t->where = grad__program_add_where(t->p, text);
    t->where_source = ar.source;
    t->where_line = ar.currentline;
  }
  t->p->where = t->where;
}

/* --- traced tensors */

grad_trace *grad__trace_of(lua_State *L, const grad_tensor *x) {
  const grad_lua *g = grad__lua(L);
  grad_trace *t = x->slot < g->ntraces ? g->traces[x->slot] : NULL;
  if (!t || t->serial != x->serial)
    grad__lua_error(
        L, "a traced value was kept after its transform, or the loop or branch that it was recorded in, had "
           "ended: return it from the function (from a loop's body as part of the state, or as a y of gl.scan)");
  return t;
}

/* A concrete tensor's id is the number of traces begun before it was made. */
bool grad__trace_is_outside(const grad_trace *t, const grad_tensor *x) {
  return (uint64_t)(uint32_t)x->id < (uint32_t)t->serial;
}

static grad_trace *persistent_for(lua_State *L, const grad_lua *g, const grad_tensor *x) {
  grad_trace *newest = NULL;
  for (int i = 0; i < g->ntraces; i++) {
    grad_trace *t = g->traces[i];
    if (!t || !t->persistent || !is_running(L, t) || !grad__trace_is_outside(t, x)) continue;
    if (!newest || t->serial > newest->serial) newest = t;
  }
  return newest;
}

/* t, or the newest branch begun since then. */
static grad_trace *lazy_for(lua_State *L, const grad_lua *g, grad_trace *t) {
  for (int i = 0; i < g->ntraces; i++) {
    grad_trace *branch = g->traces[i];
    if (branch && branch->lazy && is_running(L, branch) && branch->serial > t->serial) t = branch;
  }
  return t;
}

grad_trace *grad__trace_for(lua_State *L, const grad_tensor *x) {
  const grad_lua *g = grad__lua(L);
  if (grad__tensor_is_traced(x)) {
    grad_trace *t = grad__trace_of(L, x);
    return g->lazy_traces > 0 ? lazy_for(L, g, t) : t;
  }
  return g->persistent_traces > 0 ? persistent_for(L, g, x) : NULL;
}

grad_trace *grad__trace_newer(lua_State *L, grad_trace *newest, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  grad_trace *t = x ? grad__trace_for(L, x) : NULL;
  return t && (!newest || t->serial > newest->serial) ? t : newest;
}

static grad_tensor *push_value(lua_State *L, grad_trace *t, grad_id id) {
  if (id == GRAD_NONE || t->p->status != GRAD_OK) raise_failure(L, t);
  const grad_type *type = grad__type(t->p, id);
  grad_tensor *x = lua_newuserdatauv(L, sizeof *x, 0);
  x->array.data = NULL;
  x->array.storage = NULL;
  x->array.dtype = type->dtype;
  x->array.ndim = type->ndim;
  for (int i = 0; i < type->ndim; i++) x->array.shape[i] = type->shape[i], x->array.strides[i] = 0;
  x->serial = t->serial, x->slot = t->slot, x->id = id;
  x->weak = x->argument = false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->g->ref_light);
  lua_setmetatable(L, -2);
  return x;
}

void grad__trace_push(lua_State *L, grad_trace *t, grad_id id) { push_value(L, t, id); }

void grad__trace_push_argument(lua_State *L, grad_trace *t, grad_id id) { push_value(L, t, id)->argument = true; }

bool grad__trace_is_number(lua_State *L, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  return x ? grad__tensor_is_weak(x) : lua_type(L, index) == LUA_TNUMBER;
}

grad_trace *grad__trace_push_lifted(lua_State *L, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  grad_trace *t = x ? grad__trace_for(L, x) : NULL;
  if (!t) return NULL;
  if (grad__tensor_is_weak(x))
    grad__trace_push_weak(L, t, grad__trace_lift(L, t, index, GRAD_F64));
  else
    grad__trace_push(L, t, grad__trace_lift(L, t, index, GRAD_F64));
  return t;
}

void grad__trace_push_weak(lua_State *L, grad_trace *t, grad_id id) { push_value(L, t, id)->weak = true; }

static bool is_weak_integer(const grad_tensor *x) { return x && grad__tensor_is_weak(x) && x->array.dtype == GRAD_I64; }

grad_id grad__trace_lift_float(lua_State *L, grad_trace *t, int index) {
  const grad_id id = grad__trace_lift(L, t, index, GRAD_F64);
  return is_weak_integer(grad__tensor_to(L, index)) ? grad__convert(t->p, id, GRAD_F64) : id;
}

void grad__trace_push_float(lua_State *L, int index) {
  const grad_tensor *x = grad__tensor_to(L, index);
  if (!is_weak_integer(x)) {
    lua_pushvalue(L, index);
    return;
  }
  grad_trace *t = grad__trace_for(L, x);
  grad__trace_push_weak(L, t, grad__trace_lift_float(L, t, index));
}

/* --- tensors that change while captured */

/* A later capture of the tensor must see its new value: the table forgets that it has input i, which has changed. */
static void forget_capture(lua_State *L, grad_trace *t, int32_t i) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  if (lua_rawgeti(L, -1, i + 1) == LUA_TUSERDATA) {
    const grad_tensor *x = grad__tensor_to(L, -1);
    t->changed = t->changed || (x && grad__trace_is_outside(t, x));
    lua_pushnil(L);
    lua_rawset(L, -3);
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void preserve_in(lua_State *L, grad_trace *t, const grad_array *array) {
  for (int32_t i = 0; i < t->ninputs; i++) {
    grad_binding *b = &t->inputs[i];
    if (b->kind != GRAD_BOUND_ARRAY || b->owned || !grad__array_overlap(&b->array, array)) continue;
    grad_array copy;
    grad__lua_check(L, grad__array_new(t->g->ctx, b->array.dtype, b->array.ndim, b->array.shape, &copy));
    grad__array_copy(&copy, &b->array);
    b->array = copy;
    b->owned = true;
    forget_capture(L, t, i);
  }
  /* values evaluated so far may be views of it: they are evaluated again from the copy */
  for (int32_t v = 0; v < t->nknown; v++)
    if (t->known[v].data && grad__array_overlap(&t->known[v], array)) grad__array_release(&t->known[v]);
}

void grad__trace_preserve(lua_State *L, const grad_array *array) {
  const grad_lua *g = grad__lua(L);
  if (g->live_traces == 0) return;
  for (int i = 0; i < g->ntraces; i++)
    if (g->traces[i]) preserve_in(L, g->traces[i], array);
}

/* --- generators */

grad_trace *grad__trace_drawing(lua_State *L, const grad_generator *generator) {
  const grad_lua *g = grad__lua(L);
  grad_trace *newest = NULL;
  for (int i = 0; i < g->ntraces && g->live_traces; i++) {
    grad_trace *t = g->traces[i];
    if (!t || !is_running(L, t) || t->serial <= generator->born) continue;
    if (!t->persistent && !t->draws && !t->no_draws) continue;
    if (!newest || t->serial > newest->serial) newest = t;
  }
  if (newest && newest->no_draws) grad__lua_error(L, "%s", newest->no_draws);
  return newest;
}

grad_id grad__trace_generator(lua_State *L, grad_trace *t, grad_generator *generator, int index, int64_t *offset) {
  const int64_t two = 2;
  for (int k = 0; k < t->ndrawn; k++) {
    if (t->drawn[k].generator != generator) continue;
    *offset = t->drawn[k].blocks;
    return t->drawn[k].state;
  }
  if (t->ndrawn == GRAD_MOST_DRAWN) grad__lua_error(L, "a staged function can use at most %d generators", t->ndrawn);
  grad_id state = grad__trace_open_input(L, t, GRAD_I64, 1, &two);
  if (index) keep(L, t, index);
  t->drawn[t->ndrawn++] = (grad_drawn){.generator = generator, .state = state, .input = t->ninputs - 1};
  *offset = 0;
  return state;
}

void grad__trace_draw(grad_trace *t, const grad_generator *generator, int64_t blocks) {
  for (int k = 0; k < t->ndrawn; k++)
    if (t->drawn[k].generator == generator) t->drawn[k].blocks += blocks;
}

void grad__open_trace(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, trace_free);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_setfield(L, -2, "__close");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}

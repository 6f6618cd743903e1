/* call.c: running builders: the arguments become values of a program, the results become tensors. */
#include "lua/call.h"

#include <math.h>
#include <string.h>

#include "fn/cache.h"
#include "lua/debug.h"
#include "lua/trace.h"
#include "ops/ops.h"

static const char call_key;

enum { MISSING = 6 }; /* more optional arguments than any row has */

static void give_back(grad_call *c) {
  grad_ctx *ctx = c->g->ctx;
  grad__program_release(c->own);
  grad__free(ctx, c->in, (size_t)c->in_cap * sizeof *c->in);
  grad__free(ctx, c->scalars, (size_t)c->scalars_cap * sizeof *c->scalars);
  grad__free(ctx, c->out, (size_t)c->out_cap * sizeof *c->out);
  c->own = NULL, c->in = NULL, c->scalars = NULL, c->out = NULL;
  c->in_cap = c->scalars_cap = c->out_cap = 0;
}

static int call_gc(lua_State *L) {
  grad_call *c = lua_touserdata(L, 1);
  c->finalized = true;
  give_back(c);
  return 0;
}

/* What a call took, the next may use: a dozen blocks are most of what a small operation would cost. */
static void reset(grad_call *c) {
  enum { MOST = 64 };
  const bool keep = !c->finalized && c->in_cap <= MOST && c->scalars_cap <= MOST && c->out_cap <= MOST;
  if (!keep || (c->own && !grad__program_restart(c->own))) give_back(c);
  c->trace = NULL, c->p = NULL;
  c->nin = c->nout = 0;
  c->list = c->views = c->busy = false;
}

static grad_call *new_call(lua_State *L) {
  grad_call *c = grad__lua_owner_push(L, "gradlua.call", sizeof *c, 0, call_gc);
  c->g = grad__lua(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &call_key);
  return c;
}

/* Pushes a call to use. The one in the registry is reused unless it is busy: then an error left it so, or it runs
 * further down the stack (a finalizer calls us): whoever holds it keeps it, the collector takes it in the end. */
static grad_call *acquire(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &call_key);
  grad_call *c = lua_touserdata(L, -1);
  if (!c || c->busy) {
    lua_pop(L, 1);
    c = new_call(L);
  }
  c->busy = true;
  return c;
}

/* The newest trace in the value on top of the stack: a tensor, or lists of them. */
static grad_trace *newest_in(lua_State *L, grad_trace *t, int depth) {
  t = grad__trace_newer(L, t, -1);
  if (!lua_istable(L, -1)) return t;
  if (depth == 0) grad__lua_error(L, "tables are nested more than %d deep, or a table contains itself", GRAD_MAX_AXES);
  for (lua_Integer k = 1, n = (lua_Integer)lua_rawlen(L, -1); k <= n; k++) {
    lua_rawgeti(L, -1, k);
    t = newest_in(L, t, depth - 1);
    lua_pop(L, 1);
  }
  return t;
}

/* The newest trace among the arguments, lists of tensors included, and the options (0: none). */
static grad_trace *find_trace(lua_State *L, int nargs, int options) {
  grad_trace *t = NULL;
  if (grad__lua(L)->live_traces == 0) return NULL;
  if (options)
    for (lua_pushnil(L); lua_next(L, options); lua_pop(L, 1)) t = grad__trace_newer(L, t, -1);
  for (int i = 1; i <= nargs; i++) {
    lua_pushvalue(L, i);
    t = newest_in(L, t, GRAD_MAX_AXES);
    lua_pop(L, 1);
  }
  return t;
}

static grad_call *begin(lua_State *L, grad_trace *trace) {
  int options = grad__options(L), nargs = lua_gettop(L) - (options != 0);
  luaL_checkstack(L, MISSING + GRAD_MAX_AXES + 8, NULL);
  lua_settop(L, nargs + MISSING); /* arguments that were left out are nil; the options move behind them */
  if (options) {
    lua_pushvalue(L, options);
    lua_pushnil(L);
    lua_replace(L, options);
    options = lua_gettop(L);
  }
  grad_call *c = acquire(L);
  c->L = L;
  c->options = options;
  c->nargs = nargs;
  c->trace = trace ? trace : find_trace(L, nargs, options);
  c->p = NULL;
  if (c->trace) {
    c->p = c->trace->p;
    c->p->status = GRAD_OK; /* an earlier failure has been raised */
    grad__trace_mark_line(L, c->trace);
  } else {
    if (!c->own) grad__lua_check(L, grad__program_new(c->g->ctx, &c->own));
    c->p = c->own;
  }
  return c;
}

grad_call *grad__call_begin(lua_State *L) { return begin(L, NULL); }
grad_call *grad__call_begin_in(lua_State *L, grad_trace *trace) { return begin(L, trace); }

/* --- arguments */

static grad_id add_input(grad_call *c, const grad_array *array, int owner) {
  c->in = grad__lua_grow(c->L, c->g->ctx, c->in, c->nin + 1, &c->in_cap, sizeof *c->in);
  c->in[c->nin++] = (grad_call_input){array, owner};
  return grad__program_input(c->p, array->dtype, array->ndim, array->shape);
}

/* An argument that could not become a value raises at once, so that builders may look at its type. */
static grad_id sound(const grad_call *c, grad_id id) {
  if (id == GRAD_NONE) grad__lua_check(c->L, c->p->status);
  return id;
}

grad_id grad__call_capture(grad_call *c, int index) {
  const grad_tensor *t = grad__tensor_to(c->L, index);
  if (c->trace) return sound(c, grad__trace_lift(c->L, c->trace, index, GRAD_F64));
  if (grad__tensor_is_traced(t)) grad__trace_of(c->L, t); /* raises: find_trace has seen all live ones */
  return sound(c, add_input(c, &t->array, index > 0 ? index : 0));
}

grad_id grad__call_number(grad_call *c, double value, grad_dtype dtype) {
  if (c->trace) return sound(c, grad__trace_number(c->L, c->trace, value, dtype));
  if (dtype == GRAD_BOOL) return sound(c, grad__full(c->p, value, dtype, 0, NULL));
  int32_t k = c->p->nscalars;
  c->scalars = grad__lua_grow(c->L, c->g->ctx, c->scalars, k + 1, &c->scalars_cap, sizeof *c->scalars);
  c->scalars[k] = value;
  return sound(c, grad__scalar(c->p, dtype, k));
}

grad_dtype grad__number_dtype(lua_State *L, int index, grad_dtype other) {
  if (lua_isboolean(L, index)) return GRAD_BOOL;
  if (grad__dtype_is_float(other)) return other;
  if (lua_isinteger(L, index)) return GRAD_I64;
  double value = lua_tonumber(L, index);
  return value == floor(value) && fabs(value) < 0x1p53 ? GRAD_I64 : GRAD_F64;
}

grad_id grad__call_lua_number(grad_call *c, int index, grad_dtype around) {
  const grad_dtype dtype = grad__number_dtype(c->L, index, around);
  if (c->trace) return sound(c, grad__trace_lift(c->L, c->trace, index, dtype));
  double part[2];
  const int parts = grad__number_parts(c->L, index, dtype, part);
  const grad_id high = grad__call_number(c, part[0], dtype);
  return parts == 1 ? high : sound(c, grad__add(c->p, high, grad__call_number(c, part[1], dtype)));
}

static grad_id number_argument(grad_call *c, int arg, const char *what, grad_dtype other) {
  int type = lua_type(c->L, arg);
  if (type != LUA_TNUMBER && type != LUA_TBOOLEAN) grad__arg_error(c->L, arg, what, "a tensor or a number");
  return grad__call_lua_number(c, arg, other);
}

grad_id grad__call_tensor(grad_call *c, int arg, const char *what) {
  grad__tensor_check(c->L, arg, what);
  return grad__call_capture(c, arg);
}

grad_id grad__call_value(grad_call *c, int arg, const char *what) {
  if (c->trace && grad__tensor_to(c->L, arg)) return sound(c, grad__trace_lift_float(c->L, c->trace, arg));
  if (grad__tensor_to(c->L, arg)) return grad__call_capture(c, arg);
  return number_argument(c, arg, what, GRAD_F64);
}

/* The order of the axes in memory, the widest stride first; false when there are gaps. */
static bool memory_order(const grad_array *a, int *order, grad_array *in_order) {
  for (int i = 0; i < a->ndim; i++) {
    int at = i;
    for (; at > 0 && a->strides[order[at - 1]] < a->strides[i]; at--) order[at] = order[at - 1];
    order[at] = i;
  }
  grad__view_permute(a, order, in_order);
  return grad__array_is_contiguous(in_order);
}

grad_id grad__call_dense(grad_call *c, int arg, const char *what) {
  int order[GRAD_MAX_AXES], back[GRAD_MAX_AXES];
  grad_array in_order;
  const grad_tensor *t = c->trace ? NULL : grad__tensor_to(c->L, arg);
  if (!t || grad__array_is_contiguous(&t->array) || !memory_order(&t->array, order, &in_order))
    return grad__call_value(c, arg, what);
  grad_array *header = lua_newuserdatauv(c->L, sizeof *header, 0);
  *header = in_order;
  for (int i = 0; i < header->ndim; i++) back[order[i]] = i;
  return sound(c, grad__permute(c->p, add_input(c, header, 0), back));
}

grad_id grad__call_value_like(grad_call *c, int arg, const char *what, grad_id like) {
  if (like == GRAD_NONE) return grad__call_value(c, arg, what);
  const grad_dtype dtype = grad__call_type(c, like)->dtype;
  const grad_tensor *x = grad__tensor_to(c->L, arg);
  if (!x) return number_argument(c, arg, what, dtype);
  const grad_id id = grad__call_capture(c, arg);
  return grad__tensor_is_weak(x) && grad__dtype_is_float(dtype) ? sound(c, grad__convert(c->p, id, dtype)) : id;
}

int grad__call_list(grad_call *c, int arg, const char *what, grad_id **ids) {
  lua_State *L = c->L;
  if (!lua_istable(L, arg)) grad__arg_error(L, arg, what, "a list of tensors");
  lua_Integer n = (lua_Integer)lua_rawlen(L, arg);
  if (n == 0) grad__lua_error(L, "%s is empty", what);
  if (n > INT32_MAX / 8) grad__lua_error(L, "%s is too long", what);
  *ids = lua_newuserdatauv(L, (size_t)n * sizeof **ids, 0);
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, arg, k);
    (*ids)[k - 1] = grad__tensor_to(L, -1) ? grad__call_capture(c, -1) : grad__call_value(c, -1, what);
    lua_pop(L, 1); /* the list keeps it alive */
  }
  return (int)n;
}

void grad__call_return(grad_call *c, grad_id id) {
  c->out = grad__lua_grow(c->L, c->g->ctx, c->out, c->nout + 1, &c->out_cap, sizeof *c->out);
  c->out[c->nout++] = id;
}

/* --- results */

/* Is the value a rearrangement of an argument that strides can express? Then `out` is its header. */
static bool as_view(const grad_call *c, grad_id id, grad_array *out, int *owner) {
  const grad_instr *ins = grad__producer(c->p, id);
  if (!ins) {
    const grad_call_input *in = &c->in[-1 - c->p->producers[id]];
    *out = *in->array;
    *owner = in->owner;
    return in->owner != 0;
  }
  grad_array from;
  if (!ins->op->view || !as_view(c, ins->in[0], &from, owner)) return false;
  return ins->op->view(ins, &from, grad__type(c->p, id), out);
}

/* Pushes a result as a view, or as a new tensor whose header goes to out. */
static bool push_result(grad_call *c, grad_id id, grad_array *out) {
  grad_array view;
  int owner;
  if (c->views && as_view(c, id, &view, &owner)) {
    grad__tensor_push_view(c->L, owner, &view);
    return false;
  }
  const grad_type *type = grad__type(c->p, id);
  *out = *grad__tensor_new(c->L, type->dtype, type->ndim, type->shape);
  grad__program_output(c->p, id);
  return true;
}

/* Finding a plan costs about a microsecond; it pays by fusing instructions, and by the worker pool on large arrays. */
static bool is_worth_a_plan(const grad_call *c) {
  enum { SEVERAL = 3, LARGE = 1 << 14 };
  int64_t most = 0;
  for (int32_t i = 0; i < c->nin; i++) {
    int64_t n = grad__array_numel(c->in[i].array);
    if (n > most) most = n;
  }
  return c->p->ninstrs >= SEVERAL || most >= LARGE;
}

static void run(grad_call *c, grad_array *out) {
  const grad_array *few[8], **in = few;
  if (c->nin > 8) in = lua_newuserdatauv(c->L, (size_t)c->nin * sizeof *in, 0);
  for (int32_t i = 0; i < c->nin; i++) in[i] = c->in[i].array;
  if (c->g->debug) grad__debug_run(c->L, c->p, in, c->scalars, "in the value");
  if (!is_worth_a_plan(c))
    grad__lua_check(c->L, grad__direct_run(c->p, in, c->scalars, out));
  else
    grad__lua_check(c->L, grad__cache_run(grad__lua_cache(c->L), c->p, &(grad_recipe){.kind = GRAD_RECIPE_RUN}, in,
                                          c->scalars, out));
  if (c->nin > 8) lua_pop(c->L, 1);
}

static void push_eager(grad_call *c) {
  grad_array few[4], *out = few;
  int fresh = 0;
  if (c->nout > 4) out = lua_newuserdatauv(c->L, (size_t)c->nout * sizeof *out, 0);
  if (c->p->status != GRAD_OK) grad__lua_check(c->L, c->p->status);
  for (int k = 0; k < c->nout; k++) fresh += push_result(c, c->out[k], &out[fresh]);
  if (fresh > 0) run(c, out);
  if (c->nout > 4) lua_remove(c->L, -1 - c->nout);
}

/* A failure is the call's, not the trace's: it is forgotten when it has been raised. */
static void push_traced(grad_call *c) {
  for (int k = 0; k < c->nout; k++) grad__trace_push(c->L, c->trace, c->out[k]);
}

int grad__call_finish(grad_call *c) {
  lua_State *L = c->L;
  int n = c->nout;
  luaL_checkstack(L, n + 4, "too many results");
  if (c->trace)
    push_traced(c);
  else
    push_eager(c);
  if (c->list) {
    lua_createtable(L, n, 0);
    lua_insert(L, -1 - n);
    for (int k = n; k >= 1; k--) lua_rawseti(L, -1 - k, k);
    n = 1;
  }
  reset(c);
  return n;
}

static bool all_plain(lua_State *L, int nargs) {
  for (int i = 1; i <= nargs; i++)
    if (!lua_isnil(L, i) && !grad__trace_is_number(L, i)) return false;
  return true;
}

int grad__call_row(lua_State *L) {
  const grad_fn *fn = grad__lua_fn(L);
  grad_call *c = grad__call_begin(L);
  c->views = fn->views;
  const bool plain = fn->plain && all_plain(L, c->nargs), traced = c->trace != NULL;
  fn->build(c);
  int n = grad__call_finish(c);
  if (plain && traced)
    grad__tensor_to(L, -1)->weak = true;
  else if (plain)
    grad__tensor_push_element(L, &grad__tensor_to(L, -1)->array, NULL);
  return n;
}

/* apply.c: derived programs: from the plan cache, run on tensors or inlined into an outer trace. */
#include "lua/apply.h"

#include <string.h>

#include "lua/debug.h"
#include "lua/trace.h"
#include "lua/tree.h"

static const char meta_key;

static int derived_free(lua_State *L) {
  grad_derived *d = lua_touserdata(L, 1);
  grad_lua *g = lua_touserdata(L, lua_upvalueindex(1));
  grad__cached_release(d->entry);
  grad__free(g->ctx, d->scalars, (size_t)d->nscalars * sizeof *d->scalars);
  d->entry = NULL, d->scalars = NULL, d->nscalars = 0;
  return 0;
}

/* The recorded function itself, before its derivative: so that a message tells which of the two went wrong. */
static void debug_value(lua_State *L, grad_trace *t) {
  bool concrete = t->p->status == GRAD_OK;
  for (int32_t i = 0; i < t->ninputs; i++) concrete = concrete && t->inputs[i].kind == GRAD_BOUND_ARRAY;
  if (!concrete) return;
  const grad_array **in = lua_newuserdatauv(L, ((size_t)t->ninputs + 1) * sizeof *in, 0);
  for (int32_t i = 0; i < t->ninputs; i++) in[i] = &t->inputs[i].array;
  grad__debug_run(L, t->p, in, t->scalars, "in the value");
  lua_pop(L, 1);
}

grad_derived *grad__derived_push(lua_State *L, grad_trace *t, const grad_recipe *recipe) {
  grad_derived *d = lua_newuserdatauv(L, sizeof *d, 0);
  memset(d, 0, sizeof *d);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_setmetatable(L, -2);
  if (grad__lua(L)->debug) debug_value(L, t);
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  if (t->p->nscalars > 0) {
    size_t bytes = (size_t)t->p->nscalars * sizeof *d->scalars;
    d->scalars = grad__alloc(t->g->ctx, bytes);
    if (!d->scalars) grad__lua_check(L, t->g->ctx->status);
    d->nscalars = t->p->nscalars;
    memcpy(d->scalars, t->scalars, bytes);
  }
  grad__lua_check(L, grad__cache_get(grad__lua_cache(L), t->p, recipe, &d->entry));
  return d;
}

void grad__trace_push_input(lua_State *L, const grad_trace *t, int32_t i) {
  const grad_binding *b = &t->inputs[i];
  if (b->owned) {
    grad_array *copy = grad__tensor_push_empty(L);
    *copy = b->array;
    grad__array_retain(copy);
    return;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  lua_rawgeti(L, -1, i + 1);
  lua_remove(L, -2);
}

void grad__trace_output(lua_State *L, grad_trace *t, int index) {
  const grad_id id = grad__trace_lift_float(L, t, index);
  if (id == GRAD_NONE) grad__lua_check(L, t->p->status);
  grad__program_output(t->p, id);
}

void grad__trace_push_outputs(lua_State *L, grad_trace *t, int first, int last, const char *what) {
  lua_newtable(L);
  const int leaves = lua_gettop(L);
  for (int r = first; r <= last; r++) grad__tree_flatten(L, r, leaves, what);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, leaves); i++) {
    lua_rawgeti(L, leaves, i);
    grad__trace_output(L, t, lua_gettop(L));
    lua_pop(L, 1);
  }
}

static int box_gc(lua_State *L) {
  grad_program **box = lua_touserdata(L, 1);
  grad__program_release(*box);
  *box = NULL;
  return 0;
}

grad_program **grad__program_box(lua_State *L) {
  return grad__lua_owner_push(L, "gradlua.program", sizeof(grad_program *), 0, box_gc);
}

void grad__trace_push_inputs(lua_State *L, grad_trace *t) {
  lua_createtable(L, t->ninputs, 0);
  for (int32_t i = 0; i < t->ninputs; i++) {
    grad__trace_push_input(L, t, i);
    lua_rawseti(L, -2, i + 1);
  }
}

/* --- recording */

static void record(lua_State *L, const grad_derived *d, const grad_program *p, int inputs, grad_trace *t) {
  grad_id *in = lua_newuserdatauv(L, (size_t)(p->ninputs + p->noutputs) * sizeof *in, 0), *out = in + p->ninputs;
  for (int32_t i = 0; i < p->ninputs; i++) {
    lua_rawgeti(L, inputs, i + 1);
    in[i] = grad__trace_lift(L, t, -1, grad__type(p, p->inputs[i])->dtype);
    lua_pop(L, 1);
  }
  grad__trace_add_scalars(L, t, d->nscalars, d->scalars);
  grad__inline(t->p, p, in, NULL, out, NULL);
  lua_createtable(L, p->noutputs, 0);
  for (int32_t k = 0; k < p->noutputs; k++) {
    grad__trace_push(L, t, out[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_remove(L, -2);
}

/* --- running */

/* The arrays of the inputs; numbers are written to `numbers`. */
static void read_inputs(lua_State *L, const grad_program *p, int inputs, const grad_array **in, grad_array *wrapped,
                        grad_plain *numbers) {
  for (int32_t i = 0; i < p->ninputs; i++) {
    lua_rawgeti(L, inputs, i + 1);
    const grad_tensor *x = grad__tensor_to(L, -1);
    in[i] = x ? &x->array : &wrapped[i];
    if (!x) {
      const grad_dtype dtype = grad__type(p, p->inputs[i])->dtype == GRAD_I64 ? GRAD_I64 : GRAD_F64;
      grad__plain_read(L, -1, dtype, &numbers[i]);
      grad__array_wrap(&wrapped[i], &numbers[i], dtype, 0, NULL);
    }
    lua_pop(L, 1);
  }
}

void grad__output_push(lua_State *L, const grad_type *type) {
  if (grad__type_is_dynamic(type))
    grad__tensor_push_empty(L);
  else
    grad__tensor_new(L, type->dtype, type->ndim, type->shape);
}

/* After the run: the tensor at `index` takes the array that the run made for an output without memory. */
static void adopt_output(lua_State *L, const grad_type *type, const grad_array *made, int index) {
  if (!grad__type_is_dynamic(type)) return;
  grad_array *to = &grad__tensor_to(L, index)->array;
  *to = *made;
  grad__tensor_made(L, to);
}

/* Outputs get their memory before the run, as tensors in the list on the stack. */
static void make_outputs(lua_State *L, const grad_program *p, grad_array *out) {
  lua_createtable(L, p->noutputs, 0);
  for (int32_t k = 0; k < p->noutputs; k++) {
    grad__output_push(L, grad__type(p, p->outputs[k]));
    out[k] = grad__tensor_to(L, -1)->array;
    lua_rawseti(L, -2, k + 1);
  }
}

static void adopt_outputs(lua_State *L, const grad_program *p, const grad_array *out) {
  for (int32_t k = 0; k < p->noutputs; k++) {
    lua_rawgeti(L, -1, k + 1);
    adopt_output(L, grad__type(p, p->outputs[k]), &out[k], lua_gettop(L));
    lua_pop(L, 1);
  }
}

static void run(lua_State *L, const grad_derived *d, int part, const grad_program *p, int inputs) {
  size_t n = (size_t)p->ninputs;
  size_t bytes =
      n * (sizeof(void *) + sizeof(grad_array) + sizeof(grad_plain)) + (size_t)p->noutputs * sizeof(grad_array);
  grad_array *out = lua_newuserdatauv(L, bytes, 0), *wrapped = out + p->noutputs;
  const grad_array **in = (const grad_array **)(wrapped + n);
  read_inputs(L, p, inputs, in, wrapped, (grad_plain *)(in + n));
  make_outputs(L, p, out);
  if (grad__lua(L)->debug) grad__debug_run(L, (grad_program *)p, in, d->scalars, "in the derivative");
  grad__lua_check(L, grad__cached_run(d->entry, part, in, d->scalars, out));
  adopt_outputs(L, p, out);
  lua_remove(L, -2);
}

void grad__derived_apply(lua_State *L, const grad_derived *d, int part, int inputs) {
  const grad_program *p = grad__cached_program(d->entry, part);
  grad_trace *newest = NULL;
  inputs = lua_absindex(L, inputs);
  for (int32_t i = 0; i < p->ninputs; i++) {
    lua_rawgeti(L, inputs, i + 1);
    newest = grad__trace_newer(L, newest, -1);
    lua_pop(L, 1);
  }
  if (newest)
    record(L, d, p, inputs, newest);
  else
    run(L, d, part, p, inputs);
}

void grad__open_apply(lua_State *L) {
  static const grad_fn gc = {.name = "gc", .call = derived_free};
  lua_newtable(L);
  grad__lua_push_function(L, derived_free, &gc, 0);
  lua_setfield(L, -2, "__gc");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}

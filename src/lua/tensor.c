/* tensor.c: the userdata that a user sees as a tensor: making, recognising and describing it.
 *
 * Two metatables hold the same functions; only the one of tensors that own a reference to a storage has __gc, since a
 * finalizer makes a userdata several times as expensive. */
#include <stddef.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/trace.h"

enum { PAYLOAD_OFFSET = (sizeof(grad_tensor) + 15) / 16 * 16 };

grad_tensor *grad__tensor_to(lua_State *L, int index) { return grad__tensor_in(grad__lua(L), L, index); }

grad_tensor *grad__tensor_in(const grad_lua *g, lua_State *L, int index) {
  void *ud = lua_touserdata(L, index);
  if (!ud || !lua_getmetatable(L, index)) return NULL;
  const void *meta = lua_topointer(L, -1);
  lua_pop(L, 1);
  if (meta == g->meta_light || meta == g->meta_owner) return ud;
  if (meta == g->meta_donated) grad__tensor_raise_donated(L, ud);
  return NULL;
}

grad_tensor *grad__tensor_check(lua_State *L, int arg, const char *what) {
  grad_tensor *t = grad__tensor_to(L, arg);
  if (!t) grad__arg_error(L, arg, what, "a tensor");
  return t;
}

grad_tensor *grad__tensor_check_concrete(lua_State *L, int arg, const char *what) {
  grad_tensor *t = grad__tensor_check(L, arg, what);
  if (grad__trace_for(L, t))
    grad__lua_error(L, "%s is a traced value: this needs a concrete tensor (outside of a transform)", what);
  return t;
}

/* A change would happen once, while the function is recorded, and not when it runs. A concrete tensor's id is the
 * number of traces begun before it was made: one that was made since then is the function's own. */
static void check_staged_change(lua_State *L, const grad_tensor *t) {
  const grad_lua *g = grad__lua(L);
  for (int i = 0; i < g->ntraces && g->live_traces; i++) {
    const grad_trace *trace = g->traces[i];
    if (!trace || !trace->staged_by || trace->thread != L || (uint64_t)(uint32_t)t->id >= (uint32_t)trace->serial)
      continue;
    grad__lua_error(L,
                    "a tensor from outside cannot be changed in place inside gl.%s: it would happen once, while the "
                    "function is recorded; return the new value instead",
                    trace->staged_by);
  }
}

static bool has_repeats(const grad_array *a) {
  for (int i = 0; i < a->ndim; i++)
    if (a->strides[i] == 0 && a->shape[i] > 1) return grad__array_numel(a) > 0;
  return false;
}

grad_tensor *grad__tensor_check_writable(lua_State *L, int arg, const char *what) {
  grad_tensor *t = grad__tensor_check(L, arg, what);
  if (grad__tensor_is_traced(t))
    grad__lua_error(L, "a value inside a transform cannot be changed in place: use the method without the underscore, "
                       "or x:put(index, value)");
  if (t->array.storage && t->array.storage->readonly) grad__lua_error(L, "%s is read-only: change a clone()", what);
  if (has_repeats(&t->array)) grad__lua_error(L, "%s repeats its elements (expand): change a clone()", what);
  check_staged_change(L, t);
  grad__trace_preserve(L, &t->array);
  return t;
}

static void set_meta(lua_State *L, int ref) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  lua_setmetatable(L, -2);
}

grad_array *grad__tensor_push_empty(lua_State *L) {
  grad_tensor *t = lua_newuserdatauv(L, sizeof *t, 0);
  memset(t, 0, sizeof *t);
  t->id = (grad_id)grad__lua(L)->serial;
  set_meta(L, grad__lua(L)->ref_owner);
  return &t->array;
}

void grad__tensor_made(lua_State *L, const grad_array *array) {
  if (array->storage) grad__lua_charge(L, array->storage->bytes);
}

static grad_array *new_inline(lua_State *L, size_t bytes, grad_dtype dtype, int ndim, const int64_t *shape) {
  const grad_lua *g = grad__lua(L);
  grad_tensor *t = lua_newuserdatauv(L, PAYLOAD_OFFSET + bytes, 0);
  t->serial = 0;
  t->id = (grad_id)g->serial;
  grad__array_wrap(&t->array, (char *)t + PAYLOAD_OFFSET, dtype, ndim, shape);
  set_meta(L, g->ref_light);
  return &t->array;
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* Lua drops a finalizer for which it finds no memory to call it. A call at the same depth beforehand makes Lua keep
 * what the finalizers' calls take, or raises that memory is out. */
static void collect(lua_State *L) {
  lua_pushcfunction(L, nothing);
  lua_call(L, 0, 0);
  lua_gc(L, LUA_GCCOLLECT);
}

grad_array *grad__tensor_new(lua_State *L, grad_dtype dtype, int ndim, const int64_t *shape) {
  int64_t numel;
  if (!grad__shape_numel(ndim, shape, &numel)) {
    grad__lua_error(L, "a tensor of shape %s is too large", grad__shape_text(ndim, shape).chars);
  }
  size_t bytes = (size_t)numel * grad__dtype_size(dtype);
  if (bytes <= GRAD_INLINE) return new_inline(L, bytes, dtype, ndim, shape);
  grad_array *array = grad__tensor_push_empty(L);
  grad__lua_charge(L, bytes);
  grad_status status = grad__array_new(grad__lua_ctx(L), dtype, ndim, shape, array);
  if (status == GRAD_ENOMEM || status == GRAD_ELIMIT) { /* garbage may hold what is missing */
    collect(L);
    status = grad__array_new(grad__lua_ctx(L), dtype, ndim, shape, array);
  }
  grad__lua_check(L, status);
  return array;
}

/* Views of views point to the userdata that holds the payload, so that no chain of views grows. */
void grad__tensor_push_view(lua_State *L, int owner, const grad_array *view) {
  owner = lua_absindex(L, owner);
  const grad_tensor *from = lua_touserdata(L, owner);
  if (from->array.storage) {
    grad_array *to = grad__tensor_push_empty(L);
    *to = *view;
    to->storage = from->array.storage;
    grad__array_retain(to);
    ((grad_tensor *)lua_touserdata(L, -1))->id = from->id;
    return;
  }
  grad_tensor *t = lua_newuserdatauv(L, sizeof *t, 1);
  t->serial = 0;
  t->id = from->id;
  t->array = *view;
  t->array.storage = NULL;
  if (lua_getiuservalue(L, owner, 1) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    lua_pushvalue(L, owner);
  }
  lua_setiuservalue(L, -2, 1);
  set_meta(L, grad__lua(L)->ref_light);
}

grad_array *grad__tensor_push_copy(lua_State *L, const grad_array *array, grad_dtype dtype) {
  grad_array *to = grad__tensor_new(L, dtype, array->ndim, array->shape);
  grad__array_copy(to, array);
  return to;
}

void grad__tensor_push_number(lua_State *L, double value) {
  *(double *)grad__tensor_new(L, GRAD_F64, 0, NULL)->data = value;
}

void grad__tensor_push_element(lua_State *L, const grad_array *array, const int64_t *index) {
  if (array->dtype != GRAD_I64 && array->dtype != GRAD_BOOL) {
    lua_pushnumber(L, grad__array_get(array, index));
    return;
  }
  int64_t offset = 0;
  for (int i = 0; i < array->ndim; i++) offset += index[i] * array->strides[i];
  if (array->dtype == GRAD_BOOL)
    lua_pushboolean(L, ((const uint8_t *)array->data)[offset]);
  else
    lua_pushinteger(L, ((const int64_t *)array->data)[offset]);
}

grad_words grad__tensor_text(const grad_tensor *t) {
  const grad_type type = {t->array.shape, t->array.dtype, t->array.ndim};
  return grad__type_text(&type);
}

bool grad__array_overlap(const grad_array *a, const grad_array *b) {
  const char *from[2], *to[2];
  const grad_array *both[2] = {a, b};
  for (int k = 0; k < 2; k++) {
    const grad_array *x = both[k];
    int64_t size = (int64_t)grad__dtype_size(x->dtype);
    from[k] = x->data, to[k] = from[k] + size;
    if (grad__array_numel(x) == 0) return false;
    for (int i = 0; i < x->ndim; i++) {
      int64_t reach = (x->shape[i] - 1) * x->strides[i] * size;
      if (reach > 0)
        to[k] += reach;
      else
        from[k] += reach;
    }
  }
  return from[0] < to[1] && from[1] < to[0];
}

static int tensor_gc(lua_State *L) {
  grad_tensor *t = lua_touserdata(L, 1);
  grad__array_release(&t->array);
  lua_pushnil(L); /* no tensor any more, if a weak table or another finalizer still has it */
  lua_setmetatable(L, 1);
  return 0;
}

/* Both metatables get the functions of `rows`; opened before any tensor is made. */
static int make_meta(lua_State *L, const char *name, bool owner, const void **identity) {
  static const grad_fn none[] = {GRAD_FN_END};
  grad__lua_metatable(L, name, none);
  lua_pushnil(L);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "tensor");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "tensor"); /* hidden from Lua: nobody else may call __gc */
  lua_setfield(L, -2, "__metatable");
  if (owner) {
    lua_pushcfunction(L, tensor_gc);
    lua_setfield(L, -2, "__gc");
  }
  *identity = lua_topointer(L, -1);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

void grad__tensor_metamethod(lua_State *L, const char *event, const grad_fn *row) {
  const grad_lua *g = grad__lua(L);
  const int refs[] = {g->ref_light, g->ref_owner};
  for (int i = 0; i < 2; i++) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, refs[i]);
    grad__lua_push_function(L, row->call, row, 0);
    lua_setfield(L, -2, event);
    lua_pop(L, 1);
  }
}

void grad__open_tensor(lua_State *L) {
  grad_lua *g = lua_touserdata(L, lua_upvalueindex(1));
  g->ref_light = make_meta(L, "gradlua.tensor", false, &g->meta_light);
  g->ref_owner = make_meta(L, "gradlua.tensor.owner", true, &g->meta_owner);
}

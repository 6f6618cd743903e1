/* rows_index.c: x[i], x[i] = v, x:put(i, v), and the look-up of methods, which shares __index. */
#include <string.h>

#include "lua/ops/index.h"
#include "lua/trace.h"
#include "ops/compose.h"

static void unknown_method(lua_State *L, const char *name) {
  const char *names[512];
  int n = 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_methods);
  lua_pushnil(L);
  while (n < 512 && lua_next(L, -2)) {
    lua_pop(L, 1);
    names[n++] = lua_tostring(L, -1);
  }
  const char *near = grad__nearest(name, names, n);
  if (near) grad__lua_error(L, "a tensor has no method \"%s\": did you mean \"%s\"?", name, near);
  grad__lua_error(L, "a tensor has no method \"%s\"", name);
}

static int get_method(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, grad__lua(L)->ref_methods);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) == LUA_TNIL) unknown_method(L, lua_tostring(L, 2));
  return 1;
}

static int get_by_program(lua_State *L, const grad_index *index) {
  grad_call *c = grad__call_begin(L);
  grad__call_return(c, grad__index_get(c, grad__call_capture(c, 1), index));
  return grad__call_finish(c);
}

static int index_get(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) return get_method(L);
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  grad_index index;
  grad__index_read(L, &t->array, 2, &index);
  if (!index.basic || grad__trace_for(L, t)) return get_by_program(L, &index);
  grad_array view;
  grad__index_view(&t->array, &index, &view);
  grad__tensor_push_view(L, 1, &view);
  return 1;
}

/* A source that shares memory with the target is copied first. */
static const grad_array *source_of(lua_State *L, const grad_tensor *x, int arg) {
  if (!grad__tensor_to(L, arg)) {
    if (!lua_isboolean(L, arg) && lua_type(L, arg) != LUA_TNUMBER)
      grad__arg_error(L, arg, "the value", "a number or a tensor");
    return grad__arg_element(L, arg, "the value", x->array.dtype);
  }
  const grad_tensor *value = grad__tensor_to(L, arg);
  if (grad__trace_for(L, value))
    grad__lua_error(L, "a value of a transform cannot be assigned into a concrete tensor: use y = x:put(index, value)");
  if (!grad__array_overlap(&value->array, &x->array)) return &value->array;
  return grad__tensor_push_copy(L, &value->array, value->array.dtype);
}

static void assign_view(lua_State *L, const grad_tensor *x, const grad_index *index) {
  grad_array view, source;
  const grad_array *value = source_of(L, x, 3);
  grad__index_view(&x->array, index, &view);
  if (!grad__view_broadcast(value, view.ndim, view.shape, &source))
    grad__lua_error(L, "a value of shape %s does not fit a piece of shape %s",
                    grad__shape_text(value->ndim, value->shape).chars, grad__shape_text(view.ndim, view.shape).chars);
  grad__array_copy(&view, &source);
}

static int index_assign(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING)
    grad__lua_error(L, "a tensor has no field \"%s\" that could be set", lua_tostring(L, 2));
  const grad_tensor *x = grad__tensor_check_writable(L, 1, "x");
  grad_index index;
  lua_settop(L, 3);
  grad__index_read(L, &x->array, 2, &index);
  if (index.basic) {
    assign_view(L, x, &index);
    return 0;
  }
  source_of(L, x, 3); /* checks it */
  grad_call *c = grad__call_begin(L);
  grad_id to = grad__call_capture(c, 1), value = grad__call_value_like(c, 3, "the value", to);
  grad__call_return(c, grad__index_put(c, to, &index, value));
  grad__call_finish(c);
  grad__array_copy(&x->array, &grad__tensor_to(L, -1)->array);
  return 0;
}

/* The elements of a mask that is only known when the program runs need no positions: they are chosen in place. */
static bool is_staged_mask(lua_State *L, int arg) {
  const grad_tensor *t = grad__tensor_to(L, arg);
  return t && t->array.dtype == GRAD_BOOL && grad__trace_for(L, t);
}

static void build_put(grad_call *c) {
  lua_State *L = c->L;
  const grad_tensor *x = grad__tensor_check(L, 1, "x");
  grad_index index;
  if (lua_type(L, 3) == LUA_TNUMBER) grad__check_fits(L, lua_tonumber(L, 3), x->array.dtype);
  if (is_staged_mask(L, 2)) {
    grad_id whole = grad__call_capture(c, 1);
    grad_id value = grad__call_value_like(c, 3, "the value", whole);
    grad__call_return(c, grad__put_mask(c->p, whole, grad__call_capture(c, 2), value));
    return;
  }
  grad__index_read(L, &x->array, 2, &index);
  grad_id to = grad__call_capture(c, 1), value = grad__call_value_like(c, 3, "the value", to);
  grad__call_return(c, grad__index_put(c, to, &index, value));
}

/* One row for each true (not 0) element: its position along each axis. */
static int nonzero(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  const grad_array *a = grad__trace_read(L, t, "x:nonzero()");
  const grad_array *mask = grad__tensor_push_copy(L, a, GRAD_BOOL);
  int64_t shape[2] = {grad__mask_count(mask), a->ndim};
  int64_t *flat = grad__tensor_new(L, GRAD_I64, 1, shape)->data;
  grad__mask_positions(mask, flat);
  int64_t *out = grad__tensor_new(L, GRAD_I64, 2, shape)->data;
  for (int64_t i = 0; i < shape[0]; i++)
    for (int k = a->ndim - 1; k >= 0; k--) {
      out[i * a->ndim + k] = flat[i] % a->shape[k] + 1;
      flat[i] /= a->shape[k];
    }
  return 1;
}

static const grad_fn get_row = {.name = "index", .call = index_get}, set_row = {.name = "index", .call = index_assign};
static const grad_fn rows[] = {
    {.name = "put",
     .signature = "x, index, value -> tensor",
     .doc = "a copy of x with the part at `index` replaced; differentiable",
     .build = build_put,
     .method = true},
    GRAD_METHOD("nonzero", nonzero, "x -> i64 tensor", "positions of the elements that are not 0, one row each"),
    GRAD_FN_END,
};

void grad__open_rows_index(lua_State *L) {
  grad__lua_register(L, rows);
  grad__tensor_metamethod(L, "__index", &get_row);
  grad__tensor_metamethod(L, "__newindex", &set_row);
}

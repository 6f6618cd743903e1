/* rows_inspect.c: what a tensor is, and its values as Lua values. */
#include <string.h>

#include "lua/binding.h"
#include "lua/call.h"
#include "lua/trace.h"
#include "ops/ops.h"

static const grad_array *header(lua_State *L) { return &grad__tensor_check(L, 1, "x")->array; }

static int shape(lua_State *L) {
  const grad_array *a = header(L);
  lua_createtable(L, a->ndim, 0);
  for (int i = 0; i < a->ndim; i++) {
    lua_pushinteger(L, a->shape[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int size(lua_State *L) {
  const grad_array *a = header(L);
  lua_pushinteger(L, a->shape[grad__arg_axis(L, 2, "axis", a->ndim)]);
  return 1;
}

static int length(lua_State *L) {
  const grad_array *a = header(L);
  if (a->ndim == 0) grad__lua_error(L, "a 0-d tensor has no length");
  lua_pushinteger(L, a->shape[0]);
  return 1;
}

static int ndim(lua_State *L) {
  lua_pushinteger(L, header(L)->ndim);
  return 1;
}

static int numel(lua_State *L) {
  lua_pushinteger(L, grad__array_numel(header(L)));
  return 1;
}

static int dtype(lua_State *L) {
  lua_pushstring(L, grad__dtype_name(header(L)->dtype));
  return 1;
}

static int item(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  static const int64_t zero[GRAD_MAX_AXES];
  if (grad__array_numel(&t->array) != 1) {
    grad__lua_error(L, "needs a tensor with one element, got %s", grad__tensor_text(t).chars);
  }
  grad__tensor_push_element(L, grad__trace_read(L, t, "x:item()"), zero);
  return 1;
}

static void push_table(lua_State *L, const grad_array *a, int axis, int64_t *index) {
  if (axis == a->ndim) {
    grad__tensor_push_element(L, a, index);
    return;
  }
  lua_createtable(L, a->shape[axis] > INT32_MAX ? 0 : (int)a->shape[axis], 0);
  for (index[axis] = 0; index[axis] < a->shape[axis]; index[axis]++) {
    push_table(L, a, axis + 1, index);
    lua_rawseti(L, -2, index[axis] + 1);
  }
}

static int totable(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  int64_t index[GRAD_MAX_AXES];
  luaL_checkstack(L, GRAD_MAX_AXES + 4, NULL);
  push_table(L, grad__trace_read(L, t, "x:totable()"), 0, index);
  return 1;
}

static int clone(lua_State *L) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  lua_settop(L, 1);
  if (!grad__trace_push_lifted(L, 1)) grad__tensor_push_copy(L, &t->array, t->array.dtype);
  return 1;
}

static void build_to(grad_call *c) {
  grad_id x = grad__call_tensor(c, 1, "x");
  grad__call_return(c, grad__convert(c->p, x, grad__arg_dtype(c->L, 2, "dtype")));
}

/* --- in place */

static int fill_in_place(lua_State *L) {
  const grad_tensor *t = grad__tensor_check_writable(L, 1, "x");
  grad_array every;
  const grad_array *value = grad__arg_element(L, 2, "the value", t->array.dtype);
  grad__view_broadcast(value, t->array.ndim, t->array.shape, &every);
  grad__array_copy(&t->array, &every);
  lua_settop(L, 1);
  return 1;
}

static int zero_in_place(lua_State *L) {
  grad__array_fill(&grad__tensor_check_writable(L, 1, "x")->array, 0);
  lua_settop(L, 1);
  return 1;
}

/* Source and target may share memory in any way, so a shared source is copied first. */
static int copy_in_place(lua_State *L) {
  const grad_tensor *to = grad__tensor_check_writable(L, 1, "x");
  const grad_tensor *from = grad__tensor_check_concrete(L, 2, "the source");
  grad_array source;
  if (!grad__view_broadcast(&from->array, to->array.ndim, to->array.shape, &source))
    grad__lua_error(L, "the source (%s) does not fit into the tensor (%s)", grad__tensor_text(from).chars,
                    grad__tensor_text(to).chars);
  if (from != to) {
    const grad_array *copy = grad__tensor_push_copy(L, &from->array, from->array.dtype);
    grad__view_broadcast(copy, to->array.ndim, to->array.shape, &source);
    grad__array_copy(&to->array, &source);
  }
  lua_settop(L, 1);
  return 1;
}

/* --- for row in x:iter() */

static int next_row(lua_State *L) {
  const lua_Integer i = lua_tointeger(L, lua_upvalueindex(4)) + 1;
  lua_pushinteger(L, i);
  lua_replace(L, lua_upvalueindex(4));
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(3));
  if (i > grad__tensor_to(L, 1)->array.shape[0]) return 0;
  lua_pushinteger(L, i);
  lua_gettable(L, 1);
  return 1;
}

static int iter(lua_State *L) {
  const grad_array *a = header(L);
  if (a->ndim == 0) grad__lua_error(L, "a 0-d tensor has no axis to walk along");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  grad__lua_push_function(L, next_row, grad__lua_fn(L), 2);
  return 1;
}

/* A traced value has no memory; whatever it is made of, it is written in row order. */
static int is_contiguous(lua_State *L) {
  const grad_tensor *x = grad__tensor_check(L, 1, "x");
  lua_pushboolean(L, grad__tensor_is_traced(x) || grad__array_is_contiguous(&x->array));
  return 1;
}

static const grad_fn rows[] = {
    GRAD_METHOD("shape", shape, "x -> table", "the extents, one an axis"),
    GRAD_METHOD("size", size, "x, axis -> integer", "the extent of one axis"),
    GRAD_METHOD("ndim", ndim, "x -> integer", "the number of axes"),
    GRAD_METHOD("numel", numel, "x -> integer", "the number of elements"),
    GRAD_METHOD("dtype", dtype, "x -> string", "\"f64\", \"f32\", \"i64\" or \"bool\""),
    GRAD_METHOD("item", item, "x -> number or boolean", "the value of a tensor with one element"),
    GRAD_METHOD("totable", totable, "x -> nested table", "the values as Lua values"),
    GRAD_METHOD("clone", clone, "x -> tensor", "a row-major copy with memory of its own"),
    GRAD_METHOD("iter", iter, "x -> iterator", "`for row in x:iter()` walks the first axis"),
    GRAD_METHOD("is_contiguous", is_contiguous, "x -> boolean", "are the elements in row order without gaps?"),
    GRAD_METHOD("fill_", fill_in_place, "x, value -> x", "in place: every element becomes `value`"),
    GRAD_METHOD("zero_", zero_in_place, "x -> x", "in place: every element becomes 0"),
    GRAD_METHOD("copy_", copy_in_place, "x, source -> x", "in place: the values of `source`, broadcast and converted"),
    {.name = "to",
     .signature = "x, dtype -> tensor",
     .doc = "converted to \"f64\", \"f32\", \"i64\" (truncates) or \"bool\" (not 0)",
     .build = build_to,
     .method = true},
    GRAD_FN_END,
};

static const grad_fn length_row = {.name = "#", .call = length};

void grad__open_rows_inspect(lua_State *L) {
  grad__lua_register(L, rows);
  grad__tensor_metamethod(L, "__len", &length_row);
}

/* args.c: reading arguments: what was expected and what came, in the user's terms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/trace.h"

/* Why a number that became a traced value is none while its function is recorded, and what to do: "" when the value is
 * known, or its trace has ended. */
static const char *why_unknown(lua_State *L, const grad_tensor *x) {
  const grad_lua *g = grad__lua(L);
  const grad_trace *t = grad__tensor_is_weak(x) && x->slot < g->ntraces ? g->traces[x->slot] : NULL;
  if (!t || t->serial != x->serial || !t->staged_by) return "";
  const char *remedy = t->persistent ? ": {static = ...} names the arguments that are constants" : "";
  return lua_pushfstring(L, ", which is not known while gl.%s records the function%s", t->staged_by, remedy);
}

/* Pushes what a value is, for messages: "nil", "a number 2.5", "a tensor f64 2 x 3". */
static const char *describe(lua_State *L, int arg) {
  const grad_tensor *t = grad__tensor_to(L, arg);
  if (t)
    return lua_pushfstring(L, "a %s (%s)%s", grad__tensor_is_weak(t) ? "traced number" : "tensor",
                           grad__tensor_text(t).chars, why_unknown(L, t));
  switch (lua_type(L, arg)) {
  case LUA_TNONE:
    return lua_pushliteral(L, "nothing");
  case LUA_TNIL:
    return lua_pushliteral(L, "nil");
  case LUA_TNUMBER:
    if (lua_isinteger(L, arg)) return lua_pushfstring(L, "%I", (LUAI_UACINT)lua_tointeger(L, arg));
    return lua_pushfstring(L, "%f", (LUAI_UACNUMBER)lua_tonumber(L, arg));
  case LUA_TSTRING:
    return lua_pushfstring(L, "the string \"%s\"", lua_tostring(L, arg));
  default:
    return lua_pushfstring(L, "a %s", luaL_typename(L, arg));
  }
}

void grad__arg_error(lua_State *L, int arg, const char *what, const char *expected) {
  const char *got = describe(L, arg);
  grad__lua_error(L, "%s must be %s, got %s", what, expected, got);
}

void *grad__arg_self(lua_State *L, const char *metatable, const char *expected) {
  void *self = luaL_testudata(L, 1, metatable);
  if (!self) grad__arg_error(L, 1, "the first argument", expected);
  return self;
}

int64_t grad__arg_integer(lua_State *L, int arg, const char *what) {
  int exact = 0;
  if (lua_type(L, arg) != LUA_TNUMBER) grad__arg_error(L, arg, what, "an integer");
  lua_Integer n = lua_tointegerx(L, arg, &exact);
  if (!exact) grad__arg_error(L, arg, what, "an integer");
  return n;
}

int64_t grad__arg_integer_or(lua_State *L, int arg, const char *what, int64_t otherwise) {
  return lua_isnoneornil(L, arg) ? otherwise : grad__arg_integer(L, arg, what);
}

double grad__arg_number(lua_State *L, int arg, const char *what) {
  if (lua_type(L, arg) == LUA_TNUMBER) return lua_tonumber(L, arg);
  const grad_tensor *t = grad__tensor_to(L, arg);
  if (!t || grad__trace_for(L, t) || t->array.ndim != 0) grad__arg_error(L, arg, what, "a number");
  return grad__array_get(&t->array, NULL);
}

void grad__check_fits(lua_State *L, double value, grad_dtype dtype) {
  if (dtype == GRAD_I64 && !(value == floor(value) && value >= -0x1p63 && value < 0x1p63))
    grad__lua_error(L, "the value must be an integer (the dtype is i64), got %.14g", value);
}

int grad__number_parts(lua_State *L, int index, grad_dtype dtype, double part[2]) {
  const bool whole = dtype == GRAD_I64 && lua_isinteger(L, index);
  part[0] = lua_isboolean(L, index) ? lua_toboolean(L, index) : lua_tonumber(L, index);
  if (!whole || fabs(part[0]) < 0x1p53) return 1;
  const lua_Integer n = lua_tointeger(L, index), low = n & 0xffffffff;
  part[0] = (double)(n - low);
  part[1] = (double)low;
  return 2;
}

const grad_array *grad__arg_element(lua_State *L, int arg, const char *what, grad_dtype dtype) {
  const bool truth = lua_isboolean(L, arg), exact = dtype == GRAD_I64 && lua_isinteger(L, arg);
  const lua_Integer whole = lua_tointeger(L, arg);
  const double value = truth ? lua_toboolean(L, arg) : grad__arg_number(L, arg, what);
  if (!exact) grad__check_fits(L, value, dtype);
  const grad_array *element = grad__tensor_new(L, dtype, 0, NULL);
  if (exact)
    *(int64_t *)element->data = whole;
  else
    grad__array_fill(element, value);
  return element;
}

bool grad__arg_boolean_or(lua_State *L, int arg, const char *what, bool otherwise) {
  if (lua_isnoneornil(L, arg)) return otherwise;
  if (!lua_isboolean(L, arg)) grad__arg_error(L, arg, what, "a boolean");
  return lua_toboolean(L, arg);
}

int grad__axis_check(lua_State *L, lua_Integer axis, const char *what, int ndim) {
  if (axis == 0) grad__lua_error(L, "%s is 0, but Lua counts from 1 (the last is -1)", what);
  if (ndim == 0) grad__lua_error(L, "%s is %lld, but a 0-d tensor has no axes", what, (long long)axis);
  if (axis < -ndim || axis > ndim)
    grad__lua_error(L, "%s %lld is out of range: there %s %d ax%s", what, (long long)axis, ndim == 1 ? "is" : "are",
                    ndim, ndim == 1 ? "is" : "es");
  return (int)(axis > 0 ? axis - 1 : axis + ndim);
}

int grad__arg_axis(lua_State *L, int arg, const char *what, int ndim) {
  return grad__axis_check(L, grad__arg_integer(L, arg, what), what, ndim);
}

int grad__arg_axis_or(lua_State *L, int arg, const char *what, int ndim, int otherwise) {
  return lua_isnoneornil(L, arg) ? otherwise : grad__arg_axis(L, arg, what, ndim);
}

int grad__arg_integers(lua_State *L, int arg, const char *what, int max, int64_t *out) {
  if (!lua_istable(L, arg)) grad__arg_error(L, arg, what, "a list of integers");
  lua_Unsigned n = lua_rawlen(L, arg);
  if (n > (lua_Unsigned)max)
    grad__lua_error(L, "%s has %llu entries, at most %d are possible", what, (unsigned long long)n, max);
  for (int i = 0; i < (int)n; i++) {
    lua_rawgeti(L, arg, i + 1);
    out[i] = grad__arg_integer(L, -1, what);
    lua_pop(L, 1);
  }
  return (int)n;
}

uint32_t grad__arg_axes(lua_State *L, int arg, const char *what, int ndim) {
  if (lua_isnoneornil(L, arg)) return (1u << ndim) - 1;
  if (!lua_istable(L, arg)) {
    if (lua_type(L, arg) != LUA_TNUMBER) grad__arg_error(L, arg, what, "an integer or a list of integers");
    return 1u << grad__arg_axis(L, arg, what, ndim);
  }
  int64_t axes[GRAD_MAX_AXES];
  int n = grad__arg_integers(L, arg, what, GRAD_MAX_AXES, axes);
  uint32_t mask = 0;
  for (int i = 0; i < n; i++) {
    uint32_t bit = 1u << grad__axis_check(L, axes[i], what, ndim);
    if (mask & bit) grad__lua_error(L, "%s names axis %lld twice", what, (long long)axes[i]);
    mask |= bit;
  }
  return n == 0 ? (1u << ndim) - 1 : mask;
}

static void check_extent(lua_State *L, int64_t extent, bool infer) {
  if (extent >= 0 || (infer && extent == -1)) return;
  grad__lua_error(L, "extent %lld in the shape is negative", (long long)extent);
}

void grad__arg_shape(lua_State *L, int first, int last, bool infer, grad_shape *out) {
  if (lua_istable(L, first)) {
    out->ndim = grad__arg_integers(L, first, "shape", GRAD_MAX_AXES, out->at);
  } else {
    if (last - first + 1 > GRAD_MAX_AXES) grad__lua_error(L, "a tensor has at most %d axes", GRAD_MAX_AXES);
    out->ndim = 0;
    for (int i = first; i <= last; i++) out->at[out->ndim++] = grad__arg_integer(L, i, "extent");
  }
  for (int i = 0; i < out->ndim; i++) check_extent(L, out->at[i], infer);
}

grad_dtype grad__arg_dtype(lua_State *L, int arg, const char *what) {
  grad_dtype dtype;
  if (lua_type(L, arg) != LUA_TSTRING || !grad__dtype_from_name(lua_tostring(L, arg), &dtype))
    grad__arg_error(L, arg, what, "\"f64\", \"f32\", \"i64\" or \"bool\"");
  return dtype;
}

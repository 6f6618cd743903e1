/* rows_create.c: making tensors from Lua values and from nothing. */
#include <math.h>
#include <string.h>

#include "lua/binding.h"
#include "lua/trace.h"
#include "lua/call.h"
#include "ops/compose.h"

/* --- gl.tensor: nested tables */

/* The shape follows the first entry of each level; every other entry must agree. */
static void table_shape(lua_State *L, int index, grad_shape *shape) {
  int top = lua_gettop(L);
  lua_pushvalue(L, index);
  shape->ndim = 0;
  while (lua_istable(L, -1)) {
    if (shape->ndim == GRAD_MAX_AXES) grad__lua_error(L, "tables are nested more than %d deep", GRAD_MAX_AXES);
    shape->at[shape->ndim++] = (int64_t)lua_rawlen(L, -1);
    lua_rawgeti(L, -1, 1);
    luaL_checkstack(L, 4, NULL);
  }
  lua_settop(L, top);
}

/* f64, or bool when the first entry is a boolean */
static grad_dtype table_dtype(lua_State *L, int index) {
  int top = lua_gettop(L);
  lua_pushvalue(L, index);
  while (lua_istable(L, -1)) lua_rawgeti(L, -1, 1);
  grad_dtype dtype = lua_isboolean(L, -1) ? GRAD_BOOL : GRAD_F64;
  lua_settop(L, top);
  return dtype;
}

typedef struct filler {
  lua_State *L;
  const grad_shape *shape;
  grad_dtype dtype;
  char *at;
  lua_Integer path[GRAD_MAX_AXES];
} filler;

static void raise_entry(const filler *f, int depth, const char *expected) {
  char text[24];
  luaL_Buffer b;
  const char *got = lua_type(f->L, -1) == LUA_TNUMBER ? lua_tostring(f->L, -1) : luaL_typename(f->L, -1);
  luaL_buffinit(f->L, &b);
  for (int i = 0; i < depth; i++) {
    snprintf(text, sizeof text, "[%lld]", (long long)f->path[i]);
    luaL_addstring(&b, text);
  }
  luaL_pushresult(&b);
  grad__lua_error(f->L, "entry %s must be %s, got %s; the shape of the first entries is %s", lua_tostring(f->L, -1),
                  expected, got, grad__shape_text(f->shape->ndim, f->shape->at).chars);
}

static void put_number(filler *f, int depth) {
  lua_State *L = f->L;
  bool truth = lua_isboolean(L, -1);
  if (!truth && lua_type(L, -1) != LUA_TNUMBER) raise_entry(f, depth, "a number");
  double value = truth ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
  if (f->dtype == GRAD_F64)
    *(double *)f->at = value;
  else if (f->dtype == GRAD_F32)
    *(float *)f->at = (float)value;
  else if (f->dtype == GRAD_BOOL)
    *(uint8_t *)f->at = value != 0;
  else {
    if (!lua_isinteger(L, -1) && (value != floor(value) || fabs(value) > 0x1p62))
      raise_entry(f, depth, "an integer (the dtype is i64)");
    *(int64_t *)f->at = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : (int64_t)value;
  }
  f->at += grad__dtype_size(f->dtype);
}

/* False when there is a tensor among the entries. */
static bool fill_level(filler *f, int depth) {
  lua_State *L = f->L;
  if (lua_type(L, -1) == LUA_TUSERDATA && grad__tensor_to(L, -1)) return false;
  if (depth == f->shape->ndim) {
    put_number(f, depth);
    return true;
  }
  if (!lua_istable(L, -1)) raise_entry(f, depth, "a table");
  lua_Unsigned n = lua_rawlen(L, -1);
  if ((int64_t)n != f->shape->at[depth]) {
    char text[96];
    snprintf(text, sizeof text, "a table of %lld entries (it has %llu: ragged)", (long long)f->shape->at[depth],
             (unsigned long long)n);
    raise_entry(f, depth, text);
  }
  for (lua_Unsigned i = 1; i <= n; i++) {
    f->path[depth] = (lua_Integer)i;
    lua_rawgeti(L, -1, (lua_Integer)i);
    const bool filled = fill_level(f, depth + 1);
    lua_pop(L, 1);
    if (!filled) return false;
  }
  return true;
}

/* --- gl.tensor: tables with tensors, stacked level by level */

/* The dtype of the tensors in the value on top of the stack, which the numbers among them adopt; less than 0 for none.
 */
static int dtype_inside(lua_State *L, int so_far, int depth) {
  const grad_tensor *t = grad__tensor_to(L, -1);
  if (t && grad__trace_is_number(L, -1)) return so_far;
  if (t) return so_far < 0 ? t->array.dtype : grad__dtype_promote((grad_dtype)so_far, t->array.dtype);
  if (!lua_istable(L, -1)) return so_far;
  if (depth == GRAD_MAX_AXES) grad__lua_error(L, "tables are nested more than %d deep", GRAD_MAX_AXES);
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, -1); i <= n; i++) {
    lua_rawgeti(L, -1, i);
    so_far = dtype_inside(L, so_far, depth + 1);
    lua_pop(L, 1);
  }
  return so_far;
}

static void check_alike(const grad_call *c, int position, grad_id first, grad_id entry) {
  const grad_type *x = grad__call_type(c, first), *y = grad__call_type(c, entry);
  if (!grad__shape_equal(x->ndim, x->shape, y->ndim, y->shape))
    grad__lua_error(c->L, "entry %d of a list has the shape %s, the first one has %s: all must be equal", position,
                    grad__shape_text(y->ndim, y->shape).chars, grad__shape_text(x->ndim, x->shape).chars);
}

/* The value on top of the stack, no deeper than an array has axes. The tables keep their tensors alive. */
static grad_id stacked(grad_call *c, grad_dtype around) {
  lua_State *L = c->L;
  if (grad__tensor_to(L, -1)) {
    const grad_id entry = grad__call_capture(c, -1);
    return grad__trace_is_number(L, -1) ? grad__convert(c->p, entry, around) : entry;
  }
  if (lua_type(L, -1) == LUA_TNUMBER || lua_isboolean(L, -1)) return grad__call_lua_number(c, lua_gettop(L), around);
  const lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
  if (n == 0 || n > INT32_MAX / 8)
    grad__lua_error(L, "an entry next to tensors must be a number, a tensor or a list, got %s", luaL_typename(L, -1));
  luaL_checkstack(L, 4, NULL);
  grad_id *parts = lua_newuserdatauv(L, (size_t)n * sizeof *parts, 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, -2, i + 1);
    parts[i] = stacked(c, around);
    lua_pop(L, 1);
    check_alike(c, (int)i + 1, parts[0], parts[i]);
  }
  const grad_id whole = grad__stack(c->p, (int)n, parts, 0);
  lua_pop(L, 1);
  return whole;
}

/* The table at 1 as one tensor, recorded when one of its tensors is traced. */
static int stack_table(lua_State *L, int options) {
  lua_pushvalue(L, 1);
  const int inside = dtype_inside(L, -1, 0);
  lua_pop(L, 1);
  const bool converts = grad__option_push(L, options, "dtype") != LUA_TNIL;
  const grad_dtype around = inside < 0 ? GRAD_F64 : (grad_dtype)inside, dtype = grad__option_dtype(L, options, around);
  lua_settop(L, 1);
  grad_call *c = grad__call_begin(L);
  lua_pushvalue(L, 1);
  const grad_id whole = stacked(c, around);
  grad__call_return(c, converts ? grad__convert(c->p, whole, dtype) : whole);
  return grad__call_finish(c);
}

/* Options may stand in the table of entries itself: {1, 2, dtype = "f32"}. */
static int data_options(lua_State *L) {
  if (!lua_isnoneornil(L, 2)) return grad__options_at(L, 2);
  return lua_istable(L, 1) ? grad__options_at(L, 1) : 0;
}

/* The dtype of a tensor made of x alone; a number that became a value makes f64, as numbers do. */
static grad_dtype value_dtype(const grad_tensor *x) {
  return grad__tensor_is_weak(x) && x->array.dtype != GRAD_BOOL ? GRAD_F64 : x->array.dtype;
}

static int make_tensor(lua_State *L) {
  const grad_tensor *t = grad__tensor_to(L, 1);
  int options = t ? grad__options_at(L, 2) : 0;
  grad_trace *trace = grad__trace_push_lifted(L, 1);
  if (trace) {
    const grad_tensor *x = grad__tensor_to(L, -1);
    const grad_dtype dtype = grad__option_dtype(L, options, value_dtype(x));
    if (x->weak || dtype != x->array.dtype) grad__trace_push(L, trace, grad__convert(trace->p, x->id, dtype));
    return 1;
  }
  if (t) {
    grad__tensor_push_copy(L, &t->array, grad__option_dtype(L, options, t->array.dtype));
    return 1;
  }
  if (!lua_istable(L, 1) && !lua_isnumber(L, 1) && !lua_isboolean(L, 1))
    grad__arg_error(L, 1, "the data", "a number or a nested table of numbers");
  options = data_options(L);
  grad_shape shape;
  table_shape(L, 1, &shape);
  grad_dtype dtype = grad__option_dtype(L, options, table_dtype(L, 1));
  grad_array *array = grad__tensor_new(L, dtype, shape.ndim, shape.at);
  filler f = {.L = L, .shape = &shape, .dtype = dtype, .at = array->data};
  luaL_checkstack(L, GRAD_MAX_AXES + 4, NULL);
  lua_pushvalue(L, 1);
  if (!fill_level(&f, 0)) return stack_table(L, options);
  lua_pop(L, 1);
  return 1;
}

/* --- constant fillings */

/* The shape from all arguments but the options; options may stand in the shape's own table: zeros{2, 3, dtype = "f32"}.
 */
static int shape_and_options(lua_State *L, int first, grad_shape *shape) {
  int options = grad__options(L), last = lua_gettop(L) - (options != 0);
  if (!options && lua_istable(L, first) && last == first) options = grad__options_at(L, first);
  grad__arg_shape(L, first, last, false, shape);
  return options;
}

static int filled(lua_State *L, double value) {
  grad_shape shape;
  int options = shape_and_options(L, 1, &shape);
  grad_dtype dtype = grad__option_dtype(L, options, GRAD_F64);
  grad__array_fill(grad__tensor_new(L, dtype, shape.ndim, shape.at), value);
  return 1;
}

static int zeros(lua_State *L) { return filled(L, 0); }
static int ones(lua_State *L) { return filled(L, 1); }

/* The value at 2, everywhere in an array of this shape; options at 3. One that a trace records is broadcast there. */
static int repeated(lua_State *L, int ndim, const int64_t *shape, grad_dtype otherwise) {
  const grad_dtype dtype = grad__option_dtype(L, grad__options_at(L, 3), otherwise);
  const grad_tensor *t = grad__tensor_to(L, 2);
  if (t && grad__trace_for(L, t)) {
    grad_call *c = grad__call_begin(L);
    const grad_id every = grad__broadcast(c->p, grad__call_capture(c, 2), ndim, shape);
    grad__call_return(c, grad__convert(c->p, every, dtype));
    return grad__call_finish(c);
  }
  grad_array every;
  grad__view_broadcast(grad__arg_element(L, 2, "the value", dtype), ndim, shape, &every);
  grad__array_copy(grad__tensor_new(L, dtype, ndim, shape), &every);
  return 1;
}

static int full(lua_State *L) {
  grad_shape shape;
  grad__arg_shape(L, 1, 1, false, &shape);
  const grad_tensor *t = grad__tensor_to(L, 2);
  return repeated(L, shape.ndim, shape.at, lua_isboolean(L, 2) ? GRAD_BOOL : t ? value_dtype(t) : GRAD_F64);
}

static int filled_like(lua_State *L, double value) {
  const grad_tensor *t = grad__tensor_check(L, 1, "x");
  int options = grad__options_at(L, 2);
  grad_dtype dtype = grad__option_dtype(L, options, t->array.dtype);
  grad__array_fill(grad__tensor_new(L, dtype, t->array.ndim, t->array.shape), value);
  return 1;
}

static int zeros_like(lua_State *L) { return filled_like(L, 0); }
static int ones_like(lua_State *L) { return filled_like(L, 1); }

static int full_like(lua_State *L) {
  const grad_array *x = &grad__tensor_check(L, 1, "x")->array;
  return repeated(L, x->ndim, x->shape, x->dtype);
}

static int eye(lua_State *L) {
  int options = grad__options(L), last = lua_gettop(L) - (options != 0);
  int64_t shape[2] = {grad__arg_integer(L, 1, "the number of rows"), 0};
  shape[1] = last >= 2 ? grad__arg_integer(L, 2, "the number of columns") : shape[0];
  if (shape[0] < 0 || shape[1] < 0) grad__lua_error(L, "the extents must not be negative");
  grad_array *a = grad__tensor_new(L, grad__option_dtype(L, options, GRAD_F64), 2, shape);
  grad__array_fill(a, 0);
  grad_array diagonal = *a;
  diagonal.ndim = 1;
  diagonal.shape[0] = shape[0] < shape[1] ? shape[0] : shape[1];
  diagonal.strides[0] = shape[1] + 1;
  grad__array_fill(&diagonal, 1);
  return 1;
}

/* --- ranges */

/* value(i) = from + i * step, computed in doubles and stored in blocks. */
static void push_ramp(lua_State *L, grad_dtype dtype, int64_t n, double from, double step, double to) {
  grad_array *a = grad__tensor_new(L, dtype, 1, &n);
  double block[256];
  for (int64_t i = 0; i < n; i += 256) {
    int64_t count = n - i < 256 ? n - i : 256;
    for (int64_t k = 0; k < count; k++) block[k] = from + (double)(i + k) * step;
    if (i + count == n && !isnan(to)) block[count - 1] = to;
    grad_array source, target;
    grad__array_wrap(&source, block, GRAD_F64, 1, &count);
    grad__array_wrap(&target, (char *)a->data + (size_t)i * grad__dtype_size(dtype), dtype, 1, &count);
    grad__array_copy(&target, &source);
  }
}

/* Integers make an exact i64 range. The bounds are further apart than their type reaches, so the count has no sign. */
static void push_integers(lua_State *L, lua_Integer from, lua_Integer to, lua_Integer step) {
  const bool up = step > 0, empty = up ? from > to : from < to;
  const uint64_t span = up ? (uint64_t)to - (uint64_t)from : (uint64_t)from - (uint64_t)to;
  const uint64_t stride = up ? (uint64_t)step : 0 - (uint64_t)step, count = empty ? 0 : span / stride + 1;
  if (!empty && count - 1 > (uint64_t)1 << 52) grad__lua_error(L, "the range has too many entries");
  const int64_t n = (int64_t)count;
  int64_t *at = grad__tensor_new(L, GRAD_I64, 1, &n)->data;
  for (int64_t i = 0; i < n; i++) at[i] = (int64_t)((uint64_t)from + (uint64_t)i * (uint64_t)step);
}

static bool are_integers(lua_State *L, int last) {
  for (int i = 1; i <= last; i++)
    if (!lua_isinteger(L, i)) return false;
  return true;
}

static int arange(lua_State *L) {
  int options = grad__options(L), last = lua_gettop(L) - (options != 0);
  const grad_dtype dtype = grad__option_dtype(L, options, GRAD_F64);
  if (dtype == GRAD_I64 && last > 0 && are_integers(L, last) && !(last == 3 && lua_tointeger(L, 3) == 0)) {
    push_integers(L, last == 1 ? 1 : lua_tointeger(L, 1), lua_tointeger(L, last == 1 ? 1 : 2),
                  last == 3 ? lua_tointeger(L, 3) : 1);
    return 1;
  }
  double from = 1, to, step = 1;
  if (last == 1) {
    to = grad__arg_number(L, 1, "the end");
  } else {
    from = grad__arg_number(L, 1, "the start");
    to = grad__arg_number(L, 2, "the end");
    if (last >= 3) step = grad__arg_number(L, 3, "the step");
  }
  double count =
      floor((to - from) / step * (1 + 0x1p-50) + 0x1p-40) + 1; /* 0:1 by 0.1 has its end in spite of rounding */
  if (step == 0 || !isfinite(from) || !isfinite(to) || !isfinite(count))
    grad__lua_error(L, "the range %g, %g by %g is not finite", from, to, step);
  if (count < 0) count = 0;
  if (count > 0x1p52) grad__lua_error(L, "the range %g, %g by %g has too many entries", from, to, step);
  push_ramp(L, dtype, (int64_t)count, from, step, (double)NAN);
  return 1;
}

static int linspace(lua_State *L) {
  int options = grad__options_at(L, 4);
  double from = grad__arg_number(L, 1, "the start"), to = grad__arg_number(L, 2, "the end");
  int64_t n = grad__arg_integer(L, 3, "the number of points");
  if (n < 1) grad__lua_error(L, "the number of points must be at least 1, got %lld", (long long)n);
  double step = n > 1 ? (to - from) / (double)(n - 1) : 0;
  push_ramp(L, grad__option_dtype(L, options, GRAD_F64), n, from, step, n > 1 ? to : from);
  return 1;
}

static int is_tensor(lua_State *L) {
  lua_pushboolean(L, grad__tensor_is_donated(L, 1) || grad__tensor_to(L, 1));
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION("tensor", make_tensor, "data [, {dtype}] -> tensor",
                  "a tensor from a number or a nested table of numbers, or of tensors to be stacked; always a copy"),
    GRAD_FUNCTION("zeros", zeros, "shape... [, {dtype = \"f64\"}] -> tensor", "all 0"),
    GRAD_FUNCTION("ones", ones, "shape... [, {dtype = \"f64\"}] -> tensor", "all 1"),
    GRAD_FUNCTION("full", full, "shape, value [, {dtype}] -> tensor", "all `value`; the shape is a table"),
    GRAD_METHOD("zeros_like", zeros_like, "x [, {dtype}] -> tensor", "zeros of x's shape and dtype"),
    GRAD_METHOD("ones_like", ones_like, "x [, {dtype}] -> tensor", "ones of x's shape and dtype"),
    GRAD_METHOD("full_like", full_like, "x, value [, {dtype}] -> tensor", "`value` in x's shape and dtype"),
    GRAD_FUNCTION("eye", eye, "rows [, columns] [, {dtype = \"f64\"}] -> tensor", "the identity matrix"),
    GRAD_FUNCTION("arange", arange, "[from,] to [, step] [, {dtype = \"f64\"}] -> tensor",
                  "from (1), from + step, ... up to and including `to`"),
    GRAD_FUNCTION("linspace", linspace, "from, to, n [, {dtype = \"f64\"}] -> tensor",
                  "n evenly spaced points, both ends included"),
    GRAD_FUNCTION("is_tensor", is_tensor, "value -> boolean", "is it a tensor, concrete or traced?"),
    GRAD_FN_END,
};

void grad__open_rows_create(lua_State *L) { grad__lua_register(L, rows); }

/* rows_elementwise.c: one Lua function for every elementwise row of ops.def, its method, its in-place method, and the
 * operators. Concrete operands that fit go straight to the kernel; whatever is not simple goes the general way, through
 * a small program, so that both give the same dtypes and shapes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua/call.h"
#include "lua/ops/elementwise.h"
#include "lua/trace.h"
#include "ops/kernels.h"
#include "ops/ops.h"

enum { MAX_OPERANDS = 3, DTYPES = 4, LARGE = 1 << 15 }; /* from LARGE on plans are worth it: they use the pool */

/* A row, and what it makes of each dtype by the kernel alone (-1: conversions are needed). */
typedef struct elementwise {
  grad_fn fn; /* first: the running row is cast to this */
  const grad_op *op;
  int8_t result[DTYPES];
} elementwise;

typedef struct operand {
  const grad_tensor *tensor; /* NULL: a number, or something that is refused later */
  const grad_array *array;   /* the tensor's; NULL: a number */
  double number;
} operand;

/* --- the direct way */

typedef union block {
  double f64[GRAD_BLOCK];
  float f32[GRAD_BLOCK];
} block;

static const void *fill_block(block *b, const operand *x, grad_dtype dtype, int64_t n) {
  if (dtype == GRAD_F64) {
    double value = x->array ? *(const double *)x->array->data : x->number;
    for (int64_t i = 0; i < n; i++) b->f64[i] = value;
  } else {
    float value = x->array ? *(const float *)x->array->data : (float)x->number;
    for (int64_t i = 0; i < n; i++) b->f32[i] = value;
  }
  return b;
}

static void run_kernel(grad_kernel kernel, int nin, const operand *x, grad_dtype dtype, size_t out_size, int64_t n,
                       char *out) {
  block blocks[MAX_OPERANDS];
  const char *at[MAX_OPERANDS];
  size_t size = grad__dtype_size(dtype), step[MAX_OPERANDS];
  int64_t filled = n < GRAD_BLOCK ? n : GRAD_BLOCK;
  bool repeated = false;
  for (int k = 0; k < nin; k++) {
    bool single = !x[k].array || (x[k].array->ndim == 0 && n > 1);
    at[k] = single ? fill_block(&blocks[k], &x[k], dtype, filled) : x[k].array->data;
    step[k] = single ? 0 : size;
    repeated = repeated || single;
  }
  int64_t run = repeated ? filled : n;
  for (int64_t i = 0; i < n; i += run) {
    int64_t count = n - i < run ? n - i : run;
    const void *in[MAX_OPERANDS];
    for (int k = 0; k < nin; k++) in[k] = at[k] + (size_t)i * step[k];
    kernel(count, out + (size_t)i * out_size, in);
  }
}

/* The operand that has the result's shape; NULL when the operands need broadcasting, converting or gathering. */
static const grad_array *common_shape(int nin, const operand *x) {
  const grad_array *shape = NULL;
  for (int k = 0; k < nin; k++) {
    const grad_array *a = x[k].array;
    if (!a) continue;
    if (shape && a->dtype != shape->dtype) return NULL;
    if (a->ndim == 0) {
      if (!shape) shape = a;
      continue;
    }
    if (!grad__array_is_contiguous(a)) return NULL;
    if (shape && shape->ndim && !grad__shape_equal(a->ndim, a->shape, shape->ndim, shape->shape)) return NULL;
    shape = a;
  }
  return shape;
}

static bool run_direct(lua_State *L, const elementwise *e, int nin, const operand *x) {
  const grad_array *shape = common_shape(nin, x);
  if (!shape || e->result[shape->dtype] < 0) return false;
  int64_t n = grad__array_numel(shape);
  if (n >= LARGE) return false;
  grad_dtype dtype = shape->dtype, result = (grad_dtype)e->result[dtype];
  grad_array *out = grad__tensor_new(L, result, shape->ndim, shape->shape);
  run_kernel(grad__kernel(grad__lua_ctx(L), e->op, dtype), nin, x, dtype, grad__dtype_size(result), n, out->data);
  return true;
}

/* Plain numbers give a plain number, or boolean. */
static bool run_numbers(lua_State *L, const elementwise *e, int nin, const operand *x) {
  if (e->result[GRAD_F64] < 0) return false;
  const void *in[MAX_OPERANDS];
  double number = 0;
  uint8_t truth = 0;
  bool predicate = e->result[GRAD_F64] == GRAD_BOOL;
  for (int k = 0; k < nin; k++) in[k] = &x[k].number;
  grad__kernel(grad__lua_ctx(L), e->op, GRAD_F64)(1, predicate ? (void *)&truth : &number, in);
  if (predicate)
    lua_pushboolean(L, truth);
  else
    lua_pushnumber(L, number);
  return true;
}

/* --- the general way */

/* The dtype of the operands that are tensors, or numbers that became values; where's mask does not count. */
static bool common_dtype(const grad_op *op, int nin, const operand *x, bool weak, grad_dtype *dtype) {
  bool any = false;
  for (int k = op == &grad__op_where ? 1 : 0; k < nin; k++) {
    const grad_tensor *t = x[k].tensor;
    if (!t || grad__tensor_is_weak(t) != weak) continue;
    *dtype = any ? grad__dtype_promote(*dtype, t->array.dtype) : t->array.dtype;
    any = true;
  }
  return any;
}

/* A number takes the dtype of the tensors around it. */
static grad_dtype dtype_around(const grad_op *op, int nin, const operand *x) {
  grad_dtype dtype = GRAD_F64;
  if (!common_dtype(op, nin, x, false, &dtype)) common_dtype(op, nin, x, true, &dtype);
  return dtype;
}

static grad_id apply(grad_program *p, const grad_op *op, int nin, const grad_id *x) {
  if (nin == 1) return grad__op1(p, op, x[0]);
  if (nin == 2) return grad__op2(p, op, x[0], x[1]);
  return op == &grad__op_where ? grad__where(p, x[0], x[1], x[2]) : grad__op3(p, op, x[0], x[1], x[2]);
}

static const char *const operand_names[MAX_OPERANDS] = {"argument 1", "argument 2", "argument 3"};

static void check_number(lua_State *L, int arg) {
  int type = lua_type(L, arg);
  if (type != LUA_TNUMBER && type != LUA_TBOOLEAN)
    grad__arg_error(L, arg, operand_names[arg - 1], "a tensor or a number");
}

/* Operand k as a value of the trace. Weak ones are numbers that became values; they take the float dtype around them.
 */
static grad_id lift(lua_State *L, grad_trace *t, int k, const grad_tensor *x, grad_dtype around) {
  if (!x) {
    check_number(L, k + 1);
    return grad__trace_lift(L, t, k + 1, grad__number_dtype(L, k + 1, around));
  }
  grad_id id = x->serial == t->serial ? x->id : grad__trace_lift(L, t, k + 1, around);
  return grad__tensor_is_weak(x) && x->array.dtype != GRAD_BOOL && grad__dtype_is_float(around)
             ? grad__convert(t->p, id, around)
             : id;
}

static void record(lua_State *L, const grad_op *op, int nin, const operand *x, grad_trace *t) {
  grad_id in[MAX_OPERANDS] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  bool weak = true;
  grad_dtype around = dtype_around(op, nin, x);
  t->p->status = GRAD_OK;
  t->p->where = 0;
  const bool may_fail = around == GRAD_I64 && (op == &grad__op_floordiv || op == &grad__op_mod); /* by zero */
  if (may_fail || grad__lua(L)->debug) grad__trace_mark_line(L, t);
  for (int k = 0; k < nin; k++) {
    in[k] = lift(L, t, k, x[k].tensor, around);
    weak = weak && (!x[k].tensor || grad__tensor_is_weak(x[k].tensor));
  }
  grad_id y = apply(t->p, op, nin, in);
  if (weak)
    grad__trace_push_weak(L, t, y);
  else
    grad__trace_push(L, t, y);
}

static void run_program(lua_State *L, const grad_op *op, int nin, const operand *x, bool plain) {
  grad_id in[MAX_OPERANDS] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  grad_dtype around = dtype_around(op, nin, x);
  grad_call *c = grad__call_begin(L);
  for (int k = 0; k < nin; k++) {
    if (x[k].tensor) {
      in[k] = grad__call_capture(c, k + 1);
      continue;
    }
    check_number(L, k + 1);
    in[k] = grad__call_lua_number(c, k + 1, around);
  }
  grad__call_return(c, apply(c->p, op, nin, in));
  grad__call_finish(c);
  if (plain) grad__tensor_push_element(L, &grad__tensor_to(L, -1)->array, NULL);
}

/* What the operands are. */
typedef struct operands {
  bool simple;        /* each is a concrete tensor or a number */
  bool plain;         /* none is a tensor */
  grad_trace *newest; /* the trace to record in */
} operands;

static operands read_operands(lua_State *L, const grad_lua *g, int nin, operand *x) {
  operands all = {.simple = true, .plain = true};
  for (int k = 0; k < nin; k++) {
    x[k] = (operand){0};
    if (lua_type(L, k + 1) == LUA_TNUMBER) {
      x[k].number = lua_tonumber(L, k + 1);
      continue;
    }
    const grad_tensor *t = grad__tensor_in(g, L, k + 1);
    x[k].tensor = t;
    all.simple = all.simple && t;
    if (!t) continue;
    all.plain = false;
    x[k].array = &t->array;
    grad_trace *trace = g->live_traces > 0 || grad__tensor_is_traced(t) ? grad__trace_for(L, t) : NULL;
    if (!trace) continue;
    all.simple = false;
    if (!all.newest || trace->serial > all.newest->serial) all.newest = trace;
  }
  return all;
}

/* x^2 is a product, as the builder makes it: the same value eager and traced, and cheaper than a power. */
static bool run_square(lua_State *L, const elementwise *e, const operand *x) {
  if (e->op != &grad__op_pow || x[1].array || x[1].number != 2) return false;
  elementwise square = *e;
  square.op = &grad__op_square;
  return run_direct(L, &square, 1, x);
}

/* With the operands at 1 .. nin; pushes the result. */
static void call_elementwise(lua_State *L, const elementwise *e) {
  operand x[MAX_OPERANDS];
  int nin = e->op->nin;
  const grad_lua *g = grad__lua(L);
  const operands all = read_operands(L, g, nin, x);
  if (all.simple && !(g->debug && !all.plain)) {
    if (all.plain ? run_numbers(L, e, nin, x) : run_square(L, e, x) || run_direct(L, e, nin, x)) return;
  } else if (all.newest) {
    record(L, e->op, nin, x, all.newest);
    return;
  }
  run_program(L, e->op, nin, x, all.plain);
}

static int elementwise_call(lua_State *L) {
  const elementwise *e = (const elementwise *)grad__lua_fn(L);
  lua_settop(L, e->op->nin); /* Lua passes the operand of a unary operator twice */
  call_elementwise(L, e);
  return 1;
}

/* Floats hold everything, integers integers and truth values, truth values only themselves. */
static bool holds(const grad_array *x, const grad_array *value) {
  return grad__dtype_is_float(x->dtype) || value->dtype <= x->dtype;
}

/* x:add_(y): the result goes to x, whose dtype and shape stay. */
static int in_place_call(lua_State *L) {
  const grad_fn *fn = grad__lua_fn(L);
  const grad_tensor *x = grad__tensor_check_writable(L, 1, "x");
  if (fn->build)
    grad__call_row(L);
  else
    elementwise_call(L);
  const grad_tensor *result = grad__tensor_to(L, -1);
  if (grad__tensor_is_traced(result))
    grad__lua_error(
        L, "a concrete tensor cannot take a value of a transform in place: use the method without the underscore");
  const grad_array *from = &result->array;
  if (!grad__shape_equal(from->ndim, from->shape, x->array.ndim, x->array.shape) || !holds(&x->array, from))
    grad__lua_error(L, "the result (%s) does not fit in place into the tensor (%s)", grad__tensor_text(result).chars,
                    grad__tensor_text(x).chars);
  grad__array_copy(&x->array, from);
  lua_settop(L, 1);
  return 1;
}

/* --- comparisons of 0-d tensors by Lua's operators */

/* Puts the operand's number in its place: Lua compares integers with floats exactly. */
static void ordered(lua_State *L, int arg, const char *sign, const char *method) {
  if (lua_type(L, arg) == LUA_TNUMBER) return;
  const grad_tensor *t = grad__tensor_to(L, arg);
  if (!t) grad__arg_error(L, arg, "an operand", "a tensor or a number");
  char doing[32];
  if (t->array.ndim != 0)
    grad__lua_error(
        L, "a %s b needs numbers or 0-d tensors, got a tensor (%s): use a:%s(b), which compares element by element",
        sign, grad__tensor_text(t).chars, method);
  snprintf(doing, sizeof doing, "a %s b", sign);
  grad__tensor_push_element(L, grad__trace_read(L, t, doing), NULL);
  if (lua_isboolean(L, -1)) lua_pushinteger(L, lua_toboolean(L, -1));
  lua_replace(L, arg);
}

static int less_than(lua_State *L) {
  ordered(L, 1, "<", "lt");
  ordered(L, 2, "<", "lt");
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
  return 1;
}

static int less_equal(lua_State *L) {
  ordered(L, 1, "<=", "le");
  ordered(L, 2, "<=", "le");
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLE));
  return 1;
}

/* --- registration: everything comes from the registry of ops */

/* What each float dtype gives; rows that compute in another dtype go the general way. */
static void find_results(lua_State *L, elementwise *e) {
  for (int d = 0; d < DTYPES; d++) {
    e->result[d] = -1;
    if (!grad__dtype_is_float((grad_dtype)d) || e->op == &grad__op_where) continue;
    if (grad__operand_dtype(e->op, (grad_dtype)d) != (grad_dtype)d) continue;
    if (!grad__kernel(grad__lua_ctx(L), e->op, (grad_dtype)d)) continue;
    e->result[d] = (int8_t)grad__result_dtype(e->op, (grad_dtype)d);
  }
}

static const char *arena_text(lua_State *L, const char *a, const char *b) {
  size_t na = strlen(a), nb = strlen(b);
  char *text = grad__arena_alloc(&grad__lua(L)->arena, na + nb + 1);
  if (!text) {
    grad__lua_check(L, GRAD_ENOMEM);
    return NULL;
  }
  snprintf(text, na + nb + 1, "%s%s", a, b);
  return text;
}

/* Names that Lua keeps for itself. */
static const char *lua_name(lua_State *L, const char *name) {
  static const char *const keywords[] = {"and", "or", "not"};
  for (int i = 0; i < 3; i++)
    if (strcmp(name, keywords[i]) == 0) return arena_text(L, "logical_", name);
  return name;
}

static elementwise *make_row(lua_State *L, const grad_op *op) {
  static const char *const signatures[] = {"x -> tensor", "a, b -> tensor", "a, b, c -> tensor"};
  elementwise *e = grad__arena_alloc(&grad__lua(L)->arena, sizeof *e);
  if (!e) grad__lua_check(L, GRAD_ENOMEM);
  memset(e, 0, sizeof *e);
  e->op = op;
  e->fn.name = lua_name(L, op->name);
  e->fn.signature = signatures[op->nin - 1];
  e->fn.doc = op->doc;
  e->fn.call = elementwise_call;
  e->fn.method = e->fn.plain = true;
  find_results(L, e);
  return e;
}

/* Registers the variant with a trailing underscore of a row, which is `size` bytes long. */
static void add_in_place(lua_State *L, const grad_fn *from, size_t size) {
  grad_fn *fn = grad__arena_copy(&grad__lua(L)->arena, from, size);
  if (!fn) grad__lua_check(L, GRAD_ENOMEM);
  fn->name = arena_text(L, from->name, "_");
  fn->doc = arena_text(L, "in place: ", from->doc);
  fn->call = in_place_call;
  grad__lua_register_row(L, fn);
}

void grad__lua_register_elementwise(lua_State *L, const grad_fn *rows) {
  for (; rows->name; rows++) {
    grad__lua_register_row(L, rows);
    add_in_place(L, rows, sizeof *rows);
  }
}

/* Operators by the name of their row. */
static const struct {
  const char *event, *op;
} operators[] = {{"__add", "add"},  {"__sub", "sub"}, {"__mul", "mul"},       {"__div", "div"},
                 {"__pow", "pow"},  {"__mod", "mod"}, {"__idiv", "floordiv"}, {"__unm", "neg"},
                 {"__band", "and"}, {"__bor", "or"},  {"__bxor", "xor"},      {"__bnot", "not"}};

static void add_operators(lua_State *L, const elementwise *e) {
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (strcmp(operators[i].op, e->op->name) == 0) grad__tensor_metamethod(L, operators[i].event, &e->fn);
}

static void add_rows(lua_State *L) {
  for (int i = 0; i < grad__op_count(); i++) {
    const grad_op *op = grad__op_at(i);
    if (!(op->flags & GRAD_OP_ELEMENTWISE)) continue;
    const elementwise *e = make_row(L, op);
    grad__lua_register_row(L, &e->fn);
    add_operators(L, e);
    if (op->nin < 3 && e->result[GRAD_F64] == GRAD_F64) add_in_place(L, &e->fn, sizeof *e);
  }
}

void grad__open_rows_elementwise(lua_State *L) {
  static const grad_fn comparisons[] = {{.name = "lt", .call = less_than}, {.name = "le", .call = less_equal}};
  add_rows(L);
  grad__tensor_metamethod(L, "__lt", &comparisons[0]);
  grad__tensor_metamethod(L, "__le", &comparisons[1]);
}

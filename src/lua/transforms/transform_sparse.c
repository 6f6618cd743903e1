/* transform_sparse.c: sparse Jacobians and Hessians as objects: pattern and colouring once, values at any point.
 *
 * The function is traced again at every update. While it does the same things, pattern, colours and plan are reused;
 * when it takes another path, they are found anew. */
#include <string.h>

#include "fn/sparse.h"
#include "lua/modules.h"
#include "lua/transforms/transform.h"

static const char name[] = "gradlua.sparse";

/* The userdata; its user value is the function. */
typedef struct sparse {
  grad_sparse *s;
  grad_program *p; /* the trace that s was made from */
  bool hessian;
  grad_jacobian_mode mode; /* as asked for */
  double densest;          /* likewise */
} sparse;
enum { UV_FUNCTION = 1 };

static void drop(sparse *s) {
  grad__sparse_free(s->s);
  grad__program_release(s->p);
  s->s = NULL;
  s->p = NULL;
}

static int sparse_gc(lua_State *L) {
  drop(lua_touserdata(L, 1));
  return 0;
}

static sparse *check(lua_State *L) {
  sparse *s = luaL_checkudata(L, 1, name);
  if (!s->s) grad__lua_error(L, "this sparse matrix has no values: its last update failed");
  return s;
}

/* Pushes a userdata with the arrays of the inputs in the list at `list`; they must be concrete. */
static const grad_array **push_arrays(lua_State *L, int list) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  const grad_array **in = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *in, 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_rawgeti(L, list, i + 1);
    const grad_tensor *x = grad__tensor_to(L, -1);
    if (grad__tensor_is_traced(x))
      grad__lua_error(L, "cannot be used inside a transform: the function depends on a traced value");
    in[i] = &x->array;
    lua_pop(L, 1);
  }
  return in;
}

/* False: the derivative is denser than it may be. */
static bool evaluate(lua_State *L, sparse *s, grad_trace *t, const grad_array *const *in) {
  if (s->s && grad__program_equal(s->p, t->p)) {
    grad__lua_check(L, grad__sparse_update(s->s, in, t->scalars));
    return true;
  }
  drop(s);
  grad__program_retain(t->p);
  s->p = t->p;
  const grad_status status = s->hessian ? grad__sparse_hessian(t->p, 0, in, t->scalars, &s->s)
                                        : grad__sparse_jacobian(t->p, 0, 0, s->mode, s->densest, in, t->scalars, &s->s);
  if (status == GRAD_ELIMIT && s->densest < 1) return false;
  grad__lua_check(L, status);
  return true;
}

/* One tensor in, one out; upvalue 5 is the object, filled here. */
static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context;
  sparse *s = lua_touserdata(L, lua_upvalueindex(GRAD_UP_OWN));
  grad_trace *t = lua_touserdata(L, n + GRAD_AT_TRACE);
  if (s->hessian)
    grad__transform_scalar_output(L, n);
  else if (grad__transform_tree_output(L, n) != 1)
    grad__lua_error(L, "the function must return one tensor");
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  grad__trace_push_inputs(L, t);
  if (evaluate(L, s, t, push_arrays(L, lua_gettop(L)))) {
    lua_pushvalue(L, lua_upvalueindex(GRAD_UP_OWN));
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int call(lua_State *L) { return grad__transform_call(L, lua_gettop(L), NULL, finish); }

static int return_one(lua_State *L, int status, lua_KContext context) {
  (void)L, (void)status, (void)context;
  return 1;
}

/* Pushes f of a table as a function of one vector, and the vector that the table at x is. */
static void push_as_vector(lua_State *L, int function, int x) {
  const int top = lua_gettop(L);
  gradlua__modules_require(L, "gradlua.variables");
  lua_getfield(L, top + 1, "as_vector");
  lua_pushstring(L, grad__lua_fn(L)->name);
  lua_pushvalue(L, function);
  lua_pushvalue(L, x);
  lua_call(L, 3, 2);
  lua_remove(L, top + 1);
}

/* Evaluates the object on top of the stack at the point at stack index x; the object is the result. */
static int run(lua_State *L, int x) {
  int object = lua_gettop(L);
  if (!grad__tensor_to(L, x) && lua_type(L, x) != LUA_TNUMBER && !lua_istable(L, x))
    grad__arg_error(L, x, "x", "a tensor, a number or a table of these");
  lua_getiuservalue(L, object, UV_FUNCTION);
  if (lua_istable(L, x)) {
    push_as_vector(L, lua_gettop(L), x);
    x = lua_gettop(L);
    lua_pushvalue(L, x - 1);
  }
  lua_pushliteral(L, "all");
  lua_pushvalue(L, object);
  grad__lua_push_function(L, call, grad__lua_fn(L), 3);
  lua_pushvalue(L, x);
  lua_callk(L, 1, 1, 0, return_one);
  return 1;
}

static void push_object(lua_State *L, int function, bool hessian, grad_jacobian_mode mode, double densest) {
  sparse *s = lua_newuserdatauv(L, sizeof *s, UV_FUNCTION);
  *s = (sparse){.hessian = hessian, .mode = mode, .densest = densest};
  luaL_setmetatable(L, name);
  lua_pushvalue(L, function);
  lua_setiuservalue(L, -2, UV_FUNCTION);
}

/* f of one argument alone; upvalues 3 and 4 say which, and hold the list of all. */
static int call_bound(lua_State *L) {
  lua_settop(L, 1);
  const int all = lua_upvalueindex(GRAD_UP_OWN), n = (int)lua_rawlen(L, all);
  const lua_Integer argnum = lua_tointeger(L, lua_upvalueindex(GRAD_UP_ARGNUMS));
  luaL_checkstack(L, n + 4, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  for (int i = 1; i <= n; i++) {
    if (i == argnum)
      lua_pushvalue(L, 1);
    else
      lua_rawgeti(L, all, i);
  }
  lua_remove(L, 1);
  lua_callk(L, n, LUA_MULTRET, 0, grad__transform_return_all);
  return lua_gettop(L);
}

/* Upvalues: 3 the function, 4 which argument the derivative is for; the others are as given here, at update too. */
static int at_point(lua_State *L) {
  const int n = lua_gettop(L);
  const lua_Integer argnum = lua_tointeger(L, lua_upvalueindex(GRAD_UP_ARGNUMS));
  if (argnum > n)
    grad__lua_error(L, "the derivative is for argument %lld, but only %d %s given", (long long)argnum, n,
                    n == 1 ? "was" : "were");
  lua_createtable(L, n, 0);
  const int all = n + 1;
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, all, i);
  }
  lua_pushvalue(L, lua_upvalueindex(GRAD_UP_FUNCTION));
  lua_pushinteger(L, argnum);
  lua_pushvalue(L, all);
  grad__lua_push_function(L, call_bound, grad__lua_fn(L), 3);
  push_object(L, lua_gettop(L), false, GRAD_JACOBIAN_AUTO, 1);
  return run(L, (int)argnum);
}

void grad__sparse_push_closure(lua_State *L, int function, lua_Integer argnum) {
  lua_pushvalue(L, function);
  lua_pushinteger(L, argnum);
  grad__lua_push_function(L, at_point, grad__lua_fn(L), 2);
}

/* f, x, options */
static int make(lua_State *L, bool hessian) {
  static const char *const modes[] = {"auto", "forward", "reverse", NULL};
  int options = grad__options_at(L, 3);
  grad__transform_check_function(L, 1);
  int mode = hessian ? 0 : grad__option_choice(L, options, "mode", modes, 0);
  push_object(L, 1, hessian, (grad_jacobian_mode)mode, hessian ? 1 : grad__option_number(L, options, "densest", 1));
  return run(L, 2);
}

static int sparse_jacobian(lua_State *L) { return make(L, false); }
static int sparse_hessian(lua_State *L) { return make(L, true); }

/* --- the object */

/* Pushes an array of it as a tensor that shares the memory; positions are copied, counted from 1. */
static void push_shared(lua_State *L, const grad_array *a) {
  grad_array *to = grad__tensor_push_empty(L);
  *to = *a;
  grad__array_retain(to);
}

static void push_positions(lua_State *L, const grad_array *a) {
  grad_array *to = grad__tensor_push_copy(L, a, GRAD_I64);
  int64_t n = grad__array_numel(to), *at = to->data;
  for (int64_t i = 0; i < n; i++) at[i]++;
}

static const char *mode_name(const grad_sparse *s) {
  if (s->nforward && s->nreverse) return "mixed";
  return s->nreverse ? "reverse" : "forward";
}

static bool push_field(lua_State *L, const grad_sparse *s, const char *field) {
  if (strcmp(field, "values") == 0)
    push_shared(L, &s->values);
  else if (strcmp(field, "value") == 0)
    push_shared(L, &s->value);
  else if (strcmp(field, "row") == 0)
    push_positions(L, &s->row);
  else if (strcmp(field, "col") == 0)
    push_positions(L, &s->col);
  else if (strcmp(field, "indptr") == 0)
    push_positions(L, &s->indptr);
  else if (strcmp(field, "nnz") == 0)
    lua_pushinteger(L, grad__array_numel(&s->values));
  else if (strcmp(field, "colors") == 0)
    lua_pushinteger(L, s->nforward + s->nreverse);
  else if (strcmp(field, "mode") == 0)
    lua_pushstring(L, mode_name(s));
  else
    return false;
  return true;
}

static int index_field(lua_State *L) {
  const grad_sparse *s = check(L)->s;
  const char *field = luaL_checkstring(L, 2);
  if (push_field(L, s, field)) return 1;
  if (strcmp(field, "shape") == 0) {
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, s->pattern.rows);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, s->pattern.cols);
    lua_rawseti(L, -2, 2);
    return 1;
  }
  lua_getmetatable(L, 1);
  lua_getfield(L, -1, "methods");
  lua_getfield(L, -1, field);
  return 1;
}

static int dense(lua_State *L) {
  const sparse *s = check(L);
  grad_array *out = grad__tensor_push_empty(L);
  grad__lua_check(L, grad__sparse_dense(s->s, out));
  grad__tensor_made(L, out);
  return 1;
}

static int matmul(lua_State *L) {
  const sparse *s = check(L);
  const grad_tensor *x = grad__tensor_check_concrete(L, 2, "the vector");
  grad_array *out = grad__tensor_push_empty(L);
  grad__lua_check(L, grad__sparse_matmul(s->s, &x->array, out));
  grad__tensor_made(L, out);
  return 1;
}

static int update(lua_State *L) {
  luaL_checkudata(L, 1, name);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  return run(L, 2);
}

/* A picture of the pattern when it is small, and the numbers. */
static int to_text(lua_State *L) {
  enum { SHOWN = 64 };
  const grad_sparse *s = check(L)->s;
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  char line[160];
  snprintf(line, sizeof line, "sparse %lld x %lld, %lld entries, %d colors, %s mode", (long long)s->pattern.rows,
           (long long)s->pattern.cols, (long long)grad__array_numel(&s->values), (int)(s->nforward + s->nreverse),
           mode_name(s));
  luaL_addstring(&buffer, line);
  if (s->pattern.rows <= SHOWN && s->pattern.cols <= SHOWN) {
    const int64_t *start = s->indptr.data, *col = s->col.data;
    for (int64_t i = 0; i < s->pattern.rows; i++) {
      char row[SHOWN + 1];
      memset(row, '.', SHOWN);
      for (int64_t k = start[i]; k < start[i + 1]; k++) row[col[k]] = '*';
      luaL_addchar(&buffer, '\n');
      luaL_addlstring(&buffer, row, (size_t)s->pattern.cols);
    }
  }
  luaL_pushresult(&buffer);
  return 1;
}

#define SPARSE_RESULT "a sparse matrix: fields shape nnz colors row col indptr values, methods dense matmul update"
static const grad_fn rows[] = {
    GRAD_FUNCTION("sparse_jacobian", sparse_jacobian, "f, x [, {mode = \"auto\", densest = 1}] -> sparse",
                  "the Jacobian where it is not zero, nil when more than the share densest of it may be so; "
                  "a table counts as one vector of all its entries; " SPARSE_RESULT),
    GRAD_FUNCTION("sparse_hessian", sparse_hessian, "f, x -> sparse",
                  "the Hessian where it is not zero; a table counts as one vector of all its entries; " SPARSE_RESULT),
    GRAD_FN_END,
};

static const grad_fn methods[] = {
    {.name = "__index", .call = index_field},
    {.name = "__tostring", .call = to_text},
    {.name = "__gc", .call = sparse_gc},
    GRAD_FUNCTION("dense", dense, "-> tensor", "the matrix with its zeros"),
    GRAD_FUNCTION("matmul", matmul, "v -> tensor", "the product with a vector or matrix"),
    GRAD_FUNCTION("update", update, "x -> self", "the values at another point"),
    GRAD_FN_END,
};

void grad__open_transform_sparse(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_metatable(L, name, methods);
  lua_pop(L, 1);
}

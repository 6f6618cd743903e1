/* body.c: recording a function as a closed program. Lua's side, lua/gradlua/control.lua, puts the pieces together. */
#include "lua/transforms/body.h"

#include <string.h>

#include "ad/control.h"
#include "lua/modules.h"
#include "lua/tree.h"
#include "ops/compose.h"

static const char body_name[] = "gradlua.body";
static const char no_draws_in_tests[] = "the test of a recorded while_loop cannot draw random numbers: draw in its "
                                        "body, and keep what the test needs in the state";

grad_status grad__program_wrap(const grad_program *p, int32_t n, const grad_type *types, const int32_t *at,
                               grad_program **out) {
  grad_program *q;
  grad_status status = grad__program_new(p->ctx, &q);
  if (status != GRAD_OK) return status;
  size_t count = (size_t)n + (size_t)p->ninputs + (size_t)p->noutputs;
  grad_id *made = grad__alloc(p->ctx, count * sizeof *made + 1);
  if (made) {
    grad_id *in = made + n, *results = in + p->ninputs;
    for (int32_t i = 0; i < n; i++) made[i] = grad__program_input_like(q, &types[i]);
    for (int32_t i = 0; i < p->ninputs; i++) in[i] = made[at[i]];
    grad__inline(q, p, in, NULL, results, NULL);
    for (int32_t k = 0; k < p->noutputs; k++) grad__program_output(q, results[k]);
    status = q->status;
    grad__free(p->ctx, made, count * sizeof *made + 1);
  } else {
    status = p->ctx->status;
  }
  if (status == GRAD_OK)
    *out = q;
  else
    grad__program_release(q);
  return status;
}

/* --- recording */

static int body_gc(lua_State *L) {
  grad_body *b = lua_touserdata(L, 1);
  grad__program_release(b->p);
  b->p = NULL;
  return 0;
}

grad_body *grad__body_check(lua_State *L, int arg) { return luaL_checkudata(L, arg, body_name); }

/* Stack of record: options, function, list of arguments; then what the function of the user saw, the trace, the
 * results. */
enum { AT_OPTIONS = 1, AT_FUNCTION, AT_ARGUMENTS, AT_SEEN, AT_TRACE, AT_RESULTS };

static bool flag(lua_State *L, const char *name) {
  lua_getfield(L, AT_OPTIONS, name);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

/* Where the generators stand after a step. */
static void name_states(const grad_trace *t) {
  for (int k = 0; k < t->ndrawn; k++)
    grad__program_output(t->p, grad__random_state_after(t->p, t->drawn[k].state, t->drawn[k].blocks));
}

/* Names every leaf of the results as an output; pushes the list that tells which are numbers. */
static void name_outputs(lua_State *L, grad_trace *t, int last) {
  const bool step = flag(L, "step");
  lua_newtable(L);
  int leaves = lua_gettop(L);
  lua_Integer state = 0; /* leaves of the first result */
  for (int r = AT_RESULTS; r <= last; r++) {
    const lua_Integer count = grad__tree_flatten(L, r, leaves, "the result");
    if (r == AT_RESULTS) state = count;
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, leaves);
  if (step && state == 0) name_states(t);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, leaves, i);
    grad__trace_output(L, t, lua_gettop(L));
    lua_pushboolean(L, grad__trace_is_number(L, -1));
    lua_rawseti(L, leaves, i);
    lua_pop(L, 1);
    if (step && i == state) name_states(t);
  }
}

int grad__body_generator(const grad_body *b, int32_t i) {
  for (int k = 0; k < b->ndrawn; k++)
    if (b->drawn[k].input == i) return k;
  return -1;
}

/* Takes over what the trace draws from; b is on top. */
static void take_generators(lua_State *L, grad_body *b, const grad_trace *t) {
  b->ndrawn = t->ndrawn;
  memcpy(b->drawn, t->drawn, sizeof b->drawn);
  lua_createtable(L, t->ndrawn, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  for (int k = 0; k < t->ndrawn; k++) {
    lua_rawgeti(L, -1, t->drawn[k].input + 1);
    if (lua_isnil(L, -1)) lua_pushboolean(L, false), lua_replace(L, -2);
    lua_rawseti(L, -3, k + 1);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, -2, GRAD_BODY_GENERATORS);
}

/* Pushes the list of what the function captured, without the states of generators. */
static void push_captured(lua_State *L, const grad_body *b, const grad_trace *t) {
  lua_createtable(L, b->ncaptured, 0);
  lua_Integer n = 0;
  for (int32_t i = b->nleaves; i < t->ninputs; i++) {
    if (grad__body_generator(b, i) >= 0) continue;
    grad__trace_push_input(L, t, i);
    lua_rawseti(L, -2, ++n);
  }
}

/* Appends the numbers that became inputs to the list on top: f64 as numbers, which stay out of the outer program too.
 */
static void append_numbers(lua_State *L, const grad_trace *t, int32_t count, const int32_t *numbers,
                           const grad_dtype *dtypes) {
  for (int32_t i = 0; i < count; i++) {
    const double value = t->scalars[numbers[i]];
    if (dtypes[i] == GRAD_F64)
      lua_pushnumber(L, value);
    else
      grad__array_fill(grad__tensor_new(L, dtypes[i], 0, NULL), value);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
}

/* Pushes the function whose variables are watched: option `watch`, or the one that is recorded. */
static void push_watched(lua_State *L) {
  if (lua_getfield(L, AT_OPTIONS, "watch") != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_pushvalue(L, AT_FUNCTION);
}

enum { MOST_FIELDS = 100 }; /* of a captured table that are looked at */

/* Pushes the numbers among the fields of the table on top, as a table. */
static void push_numbers_of(lua_State *L) {
  const int table = lua_gettop(L);
  int left = MOST_FIELDS;
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (left-- == 0) {
      lua_pop(L, 2);
      break;
    }
    if (lua_type(L, -1) != LUA_TNUMBER) continue;
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, table + 1);
  }
}

/* Replaces the value at AT_SEEN by the list of the function's captured numbers and tensors, and, for a table, of the
 * numbers in it. */
static void note_captured(lua_State *L) {
  lua_newtable(L);
  lua_replace(L, AT_SEEN);
  push_watched(L);
  const int function = lua_gettop(L);
  for (int i = 1; lua_getupvalue(L, function, i); i++) {
    if (lua_istable(L, -1)) push_numbers_of(L);
    if (lua_istable(L, -1) || lua_type(L, -1) == LUA_TNUMBER || grad__tensor_to(L, -1)) lua_rawseti(L, AT_SEEN, i);
    lua_settop(L, function);
  }
  lua_pop(L, 1);
}

static void refuse_assignment(lua_State *L, const char *name, const char *what) {
  grad__lua_push_where(L);
  lua_pushfstring(
      L, "%s: %s: the body sets %s, which would happen once, while it is recorded: make it a part of the state",
      lua_tostring(L, -1), name, what);
  lua_error(L);
}

/* The table on top was captured as that variable; below it are the numbers that were in it. */
static void refuse_changed_fields(lua_State *L, const char *name, const char *variable) {
  const int table = lua_gettop(L), seen = table - 1;
  for (lua_pushnil(L); lua_next(L, seen); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, table);
    if (!lua_rawequal(L, -1, -2)) {
      const bool global = strcmp(variable, "_ENV") == 0;
      const char *key = luaL_tolstring(L, -3, NULL);
      refuse_assignment(L, name,
                        global ? lua_pushfstring(L, "the global variable \"%s\"", key)
                               : lua_pushfstring(L, "\"%s\" of the captured table \"%s\"", key, variable));
    }
    lua_pop(L, 1);
  }
}

/* A captured variable that the function sets is set once, however often the program runs; so is a number in a captured
 * table. */
static void refuse_assignments(lua_State *L, const char *name) {
  push_watched(L);
  const int function = lua_gettop(L);
  const char *variable;
  for (int i = 1; (variable = lua_getupvalue(L, function, i)) != NULL; i++) {
    lua_rawgeti(L, AT_SEEN, i);
    lua_insert(L, -2);
    const bool seen = !lua_isnil(L, -2), table = lua_istable(L, -2);
    if (seen && (table ? !lua_istable(L, -1) : !lua_rawequal(L, -1, -2)))
      refuse_assignment(L, name, lua_pushfstring(L, "the captured variable \"%s\"", variable));
    if (table) refuse_changed_fields(L, name, variable);
    lua_settop(L, function);
  }
  lua_pop(L, 1);
}

static int finish(lua_State *L, int status, lua_KContext nleaves) {
  (void)status;
  int last = lua_gettop(L);
  grad_trace *t = lua_touserdata(L, AT_TRACE);
  if (flag(L, "pure")) refuse_assignments(L, t->staged_by);
  name_outputs(L, t, last);
  grad__trace_end(t);
  grad__lua_check(L, t->p->status);
  grad_body *b = grad__lua_owner_push(L, body_name, sizeof *b, GRAD_BODY_GENERATORS, body_gc);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, GRAD_BODY_NUMBERS);
  b->nleaves = (int32_t)nleaves;
  take_generators(L, b, t);
  int32_t *numbers = lua_newuserdatauv(L, ((size_t)t->p->ninstrs + 1) * (sizeof *numbers + sizeof(grad_dtype)), 0),
          count = 0;
  grad_dtype *dtypes = (grad_dtype *)(numbers + t->p->ninstrs + 1);
  grad__lua_check(L, grad__close_scalars(t->p, numbers, dtypes, &count, &b->p));
  b->ncaptured = b->p->ninputs - b->nleaves - b->ndrawn;
  push_captured(L, b, t);
  append_numbers(L, t, count, numbers, dtypes);
  lua_setiuservalue(L, -3, GRAD_BODY_CAPTURED);
  lua_createtable(L, last - AT_RESULTS + 1, 1);
  for (int r = AT_RESULTS; r <= last; r++) {
    lua_pushvalue(L, r);
    lua_rawseti(L, -2, r - AT_RESULTS + 1);
  }
  lua_pushinteger(L, last - AT_RESULTS + 1);
  lua_setfield(L, -2, "n");
  lua_setiuservalue(L, -3, GRAD_BODY_RESULTS);
  lua_pop(L, 1);
  return 1;
}

/* Pushes the leaf on top as the function sees it: with the value it has now, or without one. */
static void push_leaf(lua_State *L, grad_trace *t, bool open) {
  const grad_tensor *x = grad__tensor_to(L, -1);
  const bool weak = grad__trace_is_number(L, -1);
  grad_id id;
  if (!open)
    id = grad__trace_argument(L, t, lua_gettop(L));
  else if (x)
    id = grad__trace_open_input(L, t, x->array.dtype, x->array.ndim, x->array.shape);
  else
    id = grad__trace_open_input(L, t, GRAD_F64, 0, NULL);
  if (weak)
    grad__trace_push_weak(L, t, id);
  else
    grad__trace_push(L, t, id);
}

/* record(options, f, args) -> body. Options: name; open: from this argument on, leaves have no value while recorded (0:
 * all have, 1: none); pure: no changes of captured variables of `watch` (the function itself); draws: random numbers
 * are drawn in it; step: it is a step of a loop; test: it is that of a while_loop, which cannot draw; lazy: what it
 * does with values from outside is done in it. */
static int record(lua_State *L) {
  lua_settop(L, AT_SEEN);
  lua_getfield(L, AT_OPTIONS, "name");
  const char *name = lua_tostring(L, -1); /* a constant of control.lua, which outlives the call */
  lua_pop(L, 1);
  lua_getfield(L, AT_OPTIONS, "open");
  lua_Integer open = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (flag(L, "pure")) note_captured(L);
  grad_trace *t = grad__trace_begin(L, open ? name : NULL);
  t->draws = flag(L, "draws");
  if (flag(L, "test")) t->no_draws = no_draws_in_tests;
  if (flag(L, "lazy")) grad__trace_make_lazy(t);
  lua_pushvalue(L, AT_FUNCTION);
  lua_getfield(L, AT_ARGUMENTS, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n + 16, "too many arguments");
  for (int i = 1; i <= n; i++) {
    lua_Integer next = 1;
    lua_rawgeti(L, AT_ARGUMENTS, i);
    lua_newtable(L);
    int leaves = lua_gettop(L);
    lua_Integer count = grad__tree_flatten(L, leaves - 1, leaves, "an argument");
    for (lua_Integer k = 1; k <= count; k++) {
      lua_rawgeti(L, leaves, k);
      push_leaf(L, t, open && i >= open);
      lua_rawseti(L, leaves, k);
      lua_pop(L, 1);
    }
    grad__tree_build(L, leaves - 1, leaves, &next, GRAD_TREE_KEEP);
    lua_replace(L, leaves - 1);
    lua_settop(L, leaves - 1);
  }
  lua_KContext nleaves = t->ninputs;
  lua_callk(L, n, LUA_MULTRET, nleaves, finish);
  return finish(L, LUA_OK, nleaves);
}

static int captured(lua_State *L) {
  grad__body_check(L, 1);
  lua_getiuservalue(L, 1, GRAD_BODY_CAPTURED);
  return 1;
}

/* rebuild(body, leaves) -> the results' structure with these leaves */
static int rebuild(lua_State *L) {
  grad__body_check(L, 1);
  lua_Integer next = 1;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, GRAD_BODY_RESULTS);
  lua_getfield(L, 3, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n + 8, "too many results");
  for (int r = 1; r <= n; r++) {
    lua_rawgeti(L, 3, r);
    grad__tree_build(L, lua_gettop(L), 2, &next, GRAD_TREE_KEEP);
    lua_remove(L, -2);
  }
  return n;
}

/* counts(body) -> leaves of each result, as a list */
static int counts(lua_State *L) {
  grad__body_check(L, 1);
  lua_getiuservalue(L, 1, GRAD_BODY_RESULTS);
  int results = lua_gettop(L);
  lua_getfield(L, results, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_createtable(L, n, 0);
  for (int r = 1; r <= n; r++) {
    lua_newtable(L);
    lua_rawgeti(L, results, r);
    lua_pushinteger(L, grad__tree_flatten(L, lua_gettop(L), lua_gettop(L) - 1, "the result"));
    lua_rawseti(L, -4, r);
    lua_pop(L, 2);
  }
  return 1;
}

/* mismatch(body, n) -> nil, or: which of its first n results differs in type from the argument of that number, both
 * types in words, and the dtype to convert to where that is all */
static int mismatch(lua_State *L) {
  const grad_body *b = grad__body_check(L, 1);
  const lua_Integer n = luaL_checkinteger(L, 2);
  for (int32_t i = 0; i < n && i < b->p->noutputs; i++) {
    const grad_type *in = grad__type(b->p, b->p->inputs[i]), *out = grad__type(b->p, b->p->outputs[i]);
    if (grad__type_equal(in, out)) continue;
    lua_pushinteger(L, i + 1);
    lua_pushstring(L, grad__type_text(in).chars);
    lua_pushstring(L, grad__type_text(out).chars);
    if (!grad__shape_equal(in->ndim, in->shape, out->ndim, out->shape)) return 3;
    lua_pushstring(L, grad__dtype_name(in->dtype));
    return 4;
  }
  return 0;
}

/* flatten(value) -> list of its leaves */
static int flatten(lua_State *L) {
  lua_settop(L, 1);
  lua_newtable(L);
  grad__tree_flatten(L, 1, 2, "the value");
  return 1;
}

/* with_floats(value) -> a copy in which integers that became traced values are floats, as other numbers are in bodies
 */
static int with_floats(lua_State *L) {
  lua_Integer next = 1;
  flatten(L);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    grad__trace_push_float(L, 3);
    lua_rawseti(L, 2, i);
    lua_settop(L, 2);
  }
  grad__tree_build(L, 1, 2, &next, GRAD_TREE_KEEP);
  return 1;
}

/* build(like, leaves) -> a copy of like's structure with these leaves */
static int build(lua_State *L) {
  lua_Integer next = 1;
  grad__tree_build(L, 1, 2, &next, GRAD_TREE_KEEP);
  return 1;
}

/* Is a function of this thread being recorded; with `staged`, one whose values are not known? */
static bool has_trace(lua_State *L, bool staged) {
  const grad_lua *g = grad__lua(L);
  for (int i = 0; i < g->ntraces && g->live_traces; i++)
    if (g->traces[i] && g->traces[i]->thread == L && (g->traces[i]->staged_by || !staged)) return true;
  return false;
}

/* is_staged() -> are values unknown, so that control flow must be recorded too? is_tracing(): is anything recorded? */
static int is_staged(lua_State *L) {
  lua_pushboolean(L, has_trace(L, true));
  return 1;
}

static int is_tracing(lua_State *L) {
  lua_pushboolean(L, has_trace(L, false));
  return 1;
}

/* is_traced(x) -> boolean: are operations on x recorded? */
static int is_traced(lua_State *L) {
  const grad_tensor *x = grad__tensor_to(L, 1);
  lua_pushboolean(L, x && grad__trace_for(L, x));
  return 1;
}

/* as_number(x) -> the traced value x as one that was made of numbers */
static int as_number(lua_State *L) {
  const grad_tensor *x = grad__tensor_check(L, 1, "x");
  grad__trace_push_weak(L, grad__trace_of(L, x), x->id);
  return 1;
}

/* outputs(body) -> a tensor of zeros for each output, of its type */
static int outputs(lua_State *L) {
  const grad_body *b = grad__body_check(L, 1);
  lua_createtable(L, b->p->noutputs, 0);
  for (int32_t k = 0; k < b->p->noutputs; k++) {
    const grad_type *type = grad__type(b->p, b->p->outputs[k]);
    grad__array_fill(grad__tensor_new(L, type->dtype, type->ndim, type->shape), 0);
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

static const grad_fn rows[] = {
    {.name = "mismatch", .call = mismatch},
    {.name = "record", .call = record},
    {.name = "captured", .call = captured},
    {.name = "rebuild", .call = rebuild},
    {.name = "counts", .call = counts},
    {.name = "flatten", .call = flatten},
    {.name = "build", .call = build},
    {.name = "is_staged", .call = is_staged},
    {.name = "is_tracing", .call = is_tracing},
    {.name = "is_traced", .call = is_traced},
    {.name = "as_number", .call = as_number},

    {.name = "outputs", .call = outputs},
    {.name = "with_floats", .call = with_floats},
    GRAD_FN_END,
};

void grad__open_body(lua_State *L) {
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "body");
}

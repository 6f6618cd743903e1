/* jit.c: gl.jit: a function that is recorded once for each signature of its arguments and then runs without Lua.
 *
 * Inputs of the program are the leaves of the arguments, the tensors that the function captured (read anew at each
 * call), and the state of the generators that it draws from. Inside another transform or jitted function it is
 * transparent: the plain function is called. */
#include "lua/jit.h"

#include <string.h>

#include "lua/apply.h"
#include "lua/random.h"
#include "lua/transform.h"

static const char name[] = "gradlua.jit";

/* The userdata; its user values: the function, the set of fixed arguments, entries by signature, reasons of retraces.
 */
typedef struct jitted {
  lua_Integer hits, traces;
} jitted;
enum { UV_FUNCTION = 1, UV_FIXED, UV_ENTRIES, UV_REASONS };
enum { MAX_ENTRIES = 128 };

/* An entry is a list. */
enum {
  ENTRY_DERIVED = 1, /* the program, from the plan cache */
  ENTRY_INPUTS,      /* what each input is: the number of a leaf, a tensor, or false: a generator */
  ENTRY_DRAWS,       /* userdata: the grad_drawn of the trace */
  ENTRY_ALIVE,       /* the table of captures: keeps generators alive */
  ENTRY_RESULTS,     /* the results as recorded: their structure */
  ENTRY_OUT,         /* for each leaf of the results: the number of an output, or 0 for a constant */
  ENTRY_CONSTANTS,   /* the leaves themselves */
  ENTRY_GUARDS,
  ENTRY_ANCHORS, /* objects in the signature that are known by identity */
  ENTRY_PLAIN    /* all inputs are numbers, so results are */
};

/* While recording, behind the n arguments (the userdata is argument 0, at stack 1): */
typedef struct drawing {
  int n;
  grad_drawn drawn[8];
} drawing;

static void get(lua_State *L, int entry, int field) { lua_rawgeti(L, entry, field); }

/* --- running an entry: pushes the results */

static void push_state(lua_State *L, const grad_generator *generator) {
  const int64_t two = 2;
  int64_t *state = grad__tensor_new(L, GRAD_I64, 1, &two)->data;
  state[0] = (int64_t)generator->key, state[1] = (int64_t)generator->counter;
}

static void push_inputs(lua_State *L, int entry, int leaves) {
  get(L, entry, ENTRY_DRAWS);
  const drawing *d = lua_touserdata(L, -1);
  get(L, entry, ENTRY_INPUTS);
  int kinds = lua_gettop(L), generator = 0;
  lua_Integer n = (lua_Integer)lua_rawlen(L, kinds);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    int type = lua_rawgeti(L, kinds, i);
    if (type == LUA_TNUMBER)
      lua_rawgeti(L, leaves, lua_tointeger(L, -1));
    else if (type == LUA_TBOOLEAN)
      push_state(L, d->drawn[generator++].generator);
    else
      lua_pushvalue(L, -1);
    lua_rawseti(L, kinds + 1, i);
    lua_pop(L, 1);
  }
  lua_remove(L, kinds);
  lua_remove(L, kinds - 1);
}

static void move_generators(lua_State *L, int entry) {
  get(L, entry, ENTRY_DRAWS);
  const drawing *d = lua_touserdata(L, -1);
  for (int k = 0; k < d->n; k++) d->drawn[k].generator->counter += (uint64_t)d->drawn[k].blocks;
  lua_pop(L, 1);
}

/* Pushes leaf i of the results. */
static void push_leaf(lua_State *L, int entry, int outputs, lua_Integer i, bool plain) {
  get(L, entry, ENTRY_OUT);
  lua_rawgeti(L, -1, i);
  lua_Integer k = lua_tointeger(L, -1);
  lua_pop(L, 2);
  if (k == 0) {
    get(L, entry, ENTRY_CONSTANTS);
    lua_rawgeti(L, -1, i);
    lua_remove(L, -2);
    return;
  }
  lua_rawgeti(L, outputs, k);
  const grad_tensor *x = grad__tensor_to(L, -1);
  if (!plain || x->array.ndim > 0) return;
  grad__tensor_push_element(L, &x->array, NULL);
  lua_remove(L, -2);
}

static int push_results(lua_State *L, int entry, int outputs) {
  get(L, entry, ENTRY_OUT);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1), next = 1;
  get(L, entry, ENTRY_PLAIN);
  bool plain = lua_toboolean(L, -1);
  lua_pop(L, 2);
  lua_createtable(L, (int)n, 0);
  int leaves = lua_gettop(L);
  for (lua_Integer i = 1; i <= n; i++) {
    push_leaf(L, entry, outputs, i, plain);
    lua_rawseti(L, leaves, i);
  }
  get(L, entry, ENTRY_RESULTS);
  int results = lua_gettop(L);
  lua_getfield(L, results, "n");
  int count = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, count + 8, "too many results");
  for (int r = 1; r <= count; r++) {
    lua_rawgeti(L, results, r);
    grad__tree_build(L, lua_gettop(L), leaves, &next, GRAD_TREE_KEEP);
    lua_remove(L, -2);
  }
  return count;
}

static int run_entry(lua_State *L, int entry, int leaves) {
  get(L, entry, ENTRY_DERIVED);
  const grad_derived *d = lua_touserdata(L, -1);
  push_inputs(L, entry, leaves);
  grad__derived_apply(L, d, 0, lua_gettop(L));
  move_generators(L, entry);
  return push_results(L, entry, lua_gettop(L));
}

/* --- recording */

/* Behind the userdata and the n arguments: the list of leaves, anchors, signature, guards, trace, then the results. */
enum { AT_LEAVES = 2, AT_ANCHORS, AT_SIGNATURE, AT_GUARDS, AT_TRACE, AT_RESULTS }; /* places from n on */

/* The inputs in the order of the program; false when one is a value of an older trace: the entry cannot be kept. */
static bool push_kinds(lua_State *L, const grad_trace *t, lua_Integer nleaves) {
  bool keep = true;
  lua_createtable(L, t->ninputs, 0);
  for (int32_t i = 0; i < t->ninputs; i++) {
    const grad_binding *b = &t->inputs[i];
    if (b->kind != GRAD_BOUND_OPEN) {
      lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
      lua_rawgeti(L, -1, t->p->inputs[i]);
      lua_remove(L, -2);
      keep = keep && b->kind == GRAD_BOUND_ARRAY;
    } else if (i < nleaves) {
      lua_pushinteger(L, i + 1);
    } else {
      lua_pushboolean(L, false);
    }
    lua_rawseti(L, -2, i + 1);
  }
  return keep;
}

/* Names traced leaves of the results as outputs; fills the three lists of the entry. */
static void take_results(lua_State *L, grad_trace *t, int first, int last, int entry) {
  lua_createtable(L, last - first + 1, 1);
  int results = lua_gettop(L), leaves = results + 1, out = results + 2;
  lua_pushinteger(L, last - first + 1);
  lua_setfield(L, results, "n");
  lua_newtable(L);
  lua_newtable(L);
  for (int r = first; r <= last; r++) {
    lua_pushvalue(L, r);
    lua_rawseti(L, results, r - first + 1);
    grad__tree_flatten(L, r, leaves, "a result");
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, leaves);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, leaves, i);
    const grad_tensor *x = grad__tensor_to(L, -1);
    bool output = x && x->serial == t->serial;
    if (output) grad__program_output(t->p, x->id);
    lua_pushinteger(L, output ? t->p->noutputs : 0);
    lua_rawseti(L, out, i);
    lua_pop(L, 1);
  }
  lua_rawseti(L, entry, ENTRY_OUT);
  lua_rawseti(L, entry, ENTRY_CONSTANTS);
  lua_rawseti(L, entry, ENTRY_RESULTS);
}

static bool all_numbers(lua_State *L, const grad_trace *t, int leaves) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, leaves);
  bool plain = t->ninputs == n;
  for (lua_Integer i = 1; plain && i <= n; i++) {
    plain = lua_rawgeti(L, leaves, i) == LUA_TNUMBER;
    lua_pop(L, 1);
  }
  return plain;
}

static void set_from(lua_State *L, int entry, int field, int index) {
  lua_pushvalue(L, index);
  lua_rawseti(L, entry, field);
}

/* entries[signature] = entry; all go when there are too many. */
static void store(lua_State *L, int signature, int entry) {
  lua_getiuservalue(L, 1, UV_ENTRIES);
  lua_getfield(L, -1, "count");
  lua_Integer count = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (count >= MAX_ENTRIES) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, UV_ENTRIES);
    count = 0;
  }
  lua_pushinteger(L, count + 1);
  lua_setfield(L, -2, "count");
  lua_pushvalue(L, signature);
  lua_pushvalue(L, entry);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static int finish(lua_State *L, int status, lua_KContext context) {
  (void)status;
  int n = (int)context, last = lua_gettop(L);
  int leaves = n + AT_LEAVES;
  grad_trace *t = lua_touserdata(L, n + AT_TRACE);
  lua_createtable(L, ENTRY_PLAIN, 0);
  int entry = lua_gettop(L);
  take_results(L, t, n + AT_RESULTS, last, entry);
  drawing *d = lua_newuserdatauv(L, sizeof *d, 0);
  d->n = t->ndrawn;
  memcpy(d->drawn, t->drawn, sizeof d->drawn);
  lua_rawseti(L, entry, ENTRY_DRAWS);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures);
  lua_rawseti(L, entry, ENTRY_ALIVE);
  bool keep = push_kinds(L, t, (lua_Integer)lua_rawlen(L, leaves));
  lua_rawseti(L, entry, ENTRY_INPUTS);
  set_from(L, entry, ENTRY_GUARDS, n + AT_GUARDS);
  set_from(L, entry, ENTRY_ANCHORS, n + AT_ANCHORS);
  lua_pushboolean(L, all_numbers(L, t, leaves));
  lua_rawseti(L, entry, ENTRY_PLAIN);
  grad__derived_push(L, t, &(grad_recipe){.kind = GRAD_RECIPE_RUN});
  lua_rawseti(L, entry, ENTRY_DERIVED);
  if (keep) store(L, n + AT_SIGNATURE, entry);
  return run_entry(L, entry, leaves);
}

/* Pushes argument i as the function sees it while it is recorded. */
static void push_traced(lua_State *L, grad_trace *t, int i, int leaves, lua_Integer *next) {
  lua_newtable(L);
  int mine = lua_gettop(L);
  lua_Integer first = 1, count = grad__tree_flatten(L, i, mine, "an argument");
  for (lua_Integer k = 1; k <= count; k++) {
    lua_rawgeti(L, leaves, (*next)++);
    const grad_tensor *x = grad__tensor_to(L, -1);
    if (x)
      grad__trace_push(L, t, grad__trace_open_input(L, t, (grad_dtype)x->array.dtype, x->array.ndim, x->array.shape));
    else
      grad__trace_push_weak(L, t, grad__trace_open_input(L, t, GRAD_F64, 0, NULL));
    lua_rawseti(L, mine, k);
    lua_pop(L, 1);
  }
  grad__tree_build(L, i, mine, &first, GRAD_TREE_KEEP);
  lua_remove(L, mine);
}

static int record(lua_State *L, int n) {
  int leaves = n + AT_LEAVES;
  lua_Integer next = 1;
  lua_getiuservalue(L, 1, UV_FUNCTION);
  grad__jit_push_guards(L, lua_gettop(L));
  lua_remove(L, -2);
  grad_trace *t = grad__trace_begin(L, "jit");
  grad__trace_persist(t);
  lua_getiuservalue(L, 1, UV_FIXED);
  int fixed = lua_gettop(L);
  lua_getiuservalue(L, 1, UV_FUNCTION);
  luaL_checkstack(L, n + 16, "too many arguments");
  for (int i = 1; i <= n; i++) {
    bool is_fixed = lua_rawgeti(L, fixed, i) != LUA_TNIL;
    lua_pop(L, 1);
    if (is_fixed)
      lua_pushvalue(L, 1 + i);
    else
      push_traced(L, t, 1 + i, leaves, &next);
  }
  lua_remove(L, fixed);
  lua_callk(L, n, LUA_MULTRET, n, finish);
  return finish(L, LUA_OK, n);
}

static int return_all(lua_State *L, int status, lua_KContext base) {
  (void)status;
  return lua_gettop(L) - (int)base;
}

static int call_plain(lua_State *L, int n) {
  lua_getiuservalue(L, 1, UV_FUNCTION);
  lua_replace(L, 1);
  lua_settop(L, 1 + n);
  lua_callk(L, n, LUA_MULTRET, 0, return_all);
  return return_all(L, LUA_OK, 0);
}

static void add_reason(lua_State *L, const char *format, const char *what) {
  lua_getiuservalue(L, 1, UV_REASONS);
  lua_pushfstring(L, format, what);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -2);
  if (n < 100)
    lua_rawseti(L, -2, n + 1);
  else
    lua_pop(L, 1);
  lua_pop(L, 1);
}

/* Finds a valid entry for the signature on top; pushes it. Otherwise notes why there is none. */
static bool find_entry(lua_State *L, const jitted *j, int signature) {
  lua_getiuservalue(L, 1, UV_ENTRIES);
  lua_pushvalue(L, signature);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    if (j->traces > 0) add_reason(L, "%s", "arguments of another structure, dtype or shape, or another static value");
    lua_pop(L, 2);
    return false;
  }
  lua_remove(L, -2);
  get(L, lua_gettop(L), ENTRY_GUARDS);
  if (grad__jit_check_guards(L, lua_gettop(L))) {
    lua_pop(L, 1);
    return true;
  }
  add_reason(L, "the captured %s has changed", lua_tostring(L, -1));
  lua_pop(L, 3);
  return false;
}

static int call(lua_State *L) {
  jitted *j = luaL_checkudata(L, 1, name);
  int n = lua_gettop(L) - 1;
  bool traced;
  luaL_checkstack(L, 2 * n + 24, "too many arguments");
  lua_newtable(L);
  lua_newtable(L);
  lua_getiuservalue(L, 1, UV_FIXED);
  grad__jit_signature(L, 2, n, n + 4, n + AT_LEAVES, n + AT_ANCHORS, &traced);
  lua_remove(L, n + 4);
  if (traced || grad__trace_drawing(L)) return call_plain(L, n);
  if (find_entry(L, j, n + AT_SIGNATURE)) {
    j->hits++;
    return run_entry(L, lua_gettop(L), n + AT_LEAVES);
  }
  j->traces++;
  return record(L, n);
}

static int stats(lua_State *L) {
  const jitted *j = luaL_checkudata(L, 1, name);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, j->hits);
  lua_setfield(L, -2, "hits");
  lua_pushinteger(L, j->traces);
  lua_setfield(L, -2, "traces");
  lua_pushinteger(L, j->traces > 0 ? j->traces - 1 : 0);
  lua_setfield(L, -2, "retraces");
  lua_getiuservalue(L, 1, UV_REASONS);
  lua_setfield(L, -2, "reasons");
  return 1;
}

static int to_text(lua_State *L) {
  const jitted *j = luaL_checkudata(L, 1, name);
  lua_pushfstring(L, "jitted function (%I hits, %I traces)", (LUAI_UACINT)j->hits, (LUAI_UACINT)j->traces);
  return 1;
}

/* {static = {2, 3}}: pushes the set of these positions. */
static void push_fixed(lua_State *L, int options) {
  lua_newtable(L);
  if (grad__option_push(L, options, "static") != LUA_TNIL) {
    int64_t positions[64];
    int n = 1;
    if (lua_type(L, -1) == LUA_TNUMBER)
      positions[0] = grad__arg_integer(L, -1, "static");
    else
      n = grad__arg_integers(L, lua_gettop(L), "static", 64, positions);
    for (int i = 0; i < n; i++) {
      if (positions[i] < 1)
        grad__lua_error(L, "static: %lld is no argument: Lua counts from 1", (long long)positions[i]);
      lua_pushboolean(L, true);
      lua_rawseti(L, -3, positions[i]);
    }
  }
  lua_pop(L, 1);
}

static int make_jit(lua_State *L) {
  int options = grad__options_at(L, 2);
  grad__transform_check_function(L, 1);
  push_fixed(L, options);
  int fixed = lua_gettop(L);
  jitted *j = lua_newuserdatauv(L, sizeof *j, UV_REASONS);
  *j = (jitted){0};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, UV_FUNCTION);
  lua_pushvalue(L, fixed);
  lua_setiuservalue(L, -2, UV_FIXED);
  lua_newtable(L);
  lua_setiuservalue(L, -2, UV_ENTRIES);
  lua_newtable(L);
  lua_setiuservalue(L, -2, UV_REASONS);
  luaL_setmetatable(L, name);
  return 1;
}

static const grad_fn rows[] = {
    {.name = "jit",
     .signature = "f [, {static}] -> callable",
     .doc = "f, recorded once for each signature of its arguments; static: positions of arguments that are constants; "
            ":stats() tells hits and retraces",
     .call = make_jit},
    GRAD_FN_END,
};

static const grad_fn call_row = {.name = "jit", .call = call}; /* the name in errors */
static const grad_fn methods[] = {
    {.name = "__tostring", .call = to_text},
    {.name = "stats",
     .signature = "-> table",
     .doc = "hits, traces, retraces, and the reasons of the retraces",
     .call = stats},
    GRAD_FN_END,
};

void grad__open_jit(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_metatable(L, name, methods);
  grad__lua_push_function(L, call, &call_row, 0);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
}

/* jit.c: gl.jit: a function that is recorded once for each kind of arguments and then runs without Lua.
 *
 * Inputs of the program are the leaves of the arguments, the tensors that the function captured (read anew at each
 * call), and the state of the generators that it draws from. Inside another transform or jitted function it is
 * transparent: the plain function is called. */
#include "lua/jit/jit.h"

#include <string.h>

#include "lua/transforms/transform.h"
#include "lua/tree.h"

static const char name[] = "gradlua.jit";

/* The userdata; its user values: the function, the sets of fixed and of donated arguments, the list of entries (the one
 * used last comes first), reasons of retraces, names of tables that are not guarded. */
typedef struct jitted {
  lua_Integer hits, traces;
  bool check; /* each call is compared with the plain function; nothing is donated then */
  int32_t donor;
  grad_donations donations;
} jitted;
enum { UV_FUNCTION = 1, UV_FIXED, UV_DONATED, UV_ENTRIES, UV_REASONS, UV_UNGUARDED };
enum { MOST_ENTRIES = 64, MOST_REASONS = 100 };

/* Places behind the userdata, which is argument 0 at stack 1, and the n arguments. */
enum {
  AT_ENTRY = 2,
  AT_REFERENCES,
  AT_TRACE,             /* nil when nothing is recorded */
  AT_NODES,             /* the values of the arguments' nodes */
  AT_RESULTS = AT_NODES /* of the recorded function; of the call and then of the plain function, to be compared */
};

bool grad__jit_is(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TUSERDATA && luaL_testudata(L, index, name);
}

bool grad__jit_push_function(lua_State *L, int index) {
  if (!grad__jit_is(L, index)) return false;
  lua_getiuservalue(L, index, UV_FUNCTION);
  return true;
}

/* --- the plain function */

static int call_plain(lua_State *L, int n) {
  lua_getiuservalue(L, 1, UV_FUNCTION);
  lua_replace(L, 1);
  lua_settop(L, 1 + n);
  lua_callk(L, n, LUA_MULTRET, 0, grad__transform_return_all);
  return grad__transform_return_all(L, LUA_OK, 0);
}

static int compare(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context, first = n + AT_RESULTS;
  const grad_jit_entry *e = lua_touserdata(L, n + AT_ENTRY);
  const int count = e->results.nvalues, plain = lua_gettop(L) - (first + count - 1);
  if (plain != count) grad__lua_error(L, "check: the jitted function gives %d results, the plain one %d", count, plain);
  grad__jit_compare(L, first, first + count, count);
  lua_settop(L, first + count - 1);
  return count;
}

/* With the results on top; the plain function draws the same numbers. */
static int finish_call(lua_State *L, int n, int count) {
  const jitted *j = lua_touserdata(L, 1);
  if (!j->check) return count;
  const grad_jit_entry *e = lua_touserdata(L, n + AT_ENTRY);
  lua_rotate(L, n + AT_RESULTS, count);
  lua_settop(L, n + AT_RESULTS + count - 1);
  for (int k = 0; k < e->ndrawn; k++) e->drawn[k].generator->counter -= (uint64_t)e->drawn[k].blocks;
  luaL_checkstack(L, n + 8, "too many arguments");
  lua_getiuservalue(L, 1, UV_FUNCTION);
  for (int i = 1; i <= n; i++) lua_pushvalue(L, 1 + i);
  lua_callk(L, n, LUA_MULTRET, n, compare);
  return compare(L, LUA_OK, n);
}

/* --- recording */

/* An entry is found by what its call was like: not when values of older traces are among its inputs, or what a tensor
 * was before it was changed while the recording had yielded. */
static bool can_be_kept(const grad_trace *t) {
  for (int32_t i = 0; i < t->ninputs; i++)
    if (t->inputs[i].kind == GRAD_BOUND_VALUE) return false;
  return !t->changed;
}

/* The entry becomes the first of the list at the top, which is popped; it was at `from`, or the last one goes. */
static void put_first(lua_State *L, int entry, lua_Integer from) {
  for (lua_Integer i = from; i > 1; i--) {
    lua_rawgeti(L, -1, i - 1);
    lua_rawseti(L, -2, i);
  }
  lua_pushvalue(L, entry);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 1);
}

static void store(lua_State *L, int entry) {
  lua_getiuservalue(L, 1, UV_ENTRIES);
  const lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  put_first(L, entry, count < MOST_ENTRIES ? count + 1 : MOST_ENTRIES);
}

/* What the function made is made anew at each call, also what depends on no argument (gl.zeros(3)): the caller may
 * change it in place, or give it away. Tensors from outside are results themselves. */
static bool is_of_trace(lua_State *L, void *ud, int index) {
  grad_trace *t = ud;
  const grad_tensor *x = grad__tensor_to(L, index);
  const bool made = grad__tensor_is_traced(x) ? x->serial == t->serial : !grad__trace_is_outside(t, x);
  if (made) grad__program_output(t->p, grad__trace_lift(L, t, index, GRAD_F64));
  return made;
}

static int finish_recording(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const int n = (int)context, last = lua_gettop(L), references = n + AT_REFERENCES;
  grad_jit_entry *e = lua_touserdata(L, n + AT_ENTRY);
  grad_trace *t = lua_touserdata(L, n + AT_TRACE);
  for (int r = n + AT_RESULTS; r <= last; r++)
    grad__template_add(L, &e->results, references, r, "a result", false, is_of_trace, t);
  grad__jit_entry_take(L, e, references, t);
  const int nodes = lua_gettop(L) + 1;
  grad__template_match(L, &e->arguments, references, 2, n, NULL);
  int count;
  if (can_be_kept(t)) {
    store(L, n + AT_ENTRY);
    count = grad__jit_entry_run(L, e, references, nodes);
  } else {
    count = grad__jit_entry_run_once(L, e, references, nodes, t);
  }
  return finish_call(L, n, count);
}

/* A leaf of the arguments as the function sees it while it is recorded. */
typedef struct opener {
  grad_trace *trace;
  const grad_template *arguments;
} opener;

static void push_open(lua_State *L, void *ud, const grad_node *node) {
  const opener *o = ud;
  if (node->kind == GRAD_NODE_NUMBER) {
    grad__trace_push_weak(L, o->trace, grad__trace_open_input(L, o->trace, node->dtype, 0, NULL));
    return;
  }
  const int64_t *shape = o->arguments->extents + node->at;
  grad__trace_push_argument(L, o->trace, grad__trace_open_input(L, o->trace, node->dtype, node->ndim, shape));
}

/* Is argument i in the set that is the user value `which`? */
static bool is_in_set(lua_State *L, int which, int i) {
  bool in = lua_getiuservalue(L, 1, which) == LUA_TBOOLEAN && lua_toboolean(L, -1);
  if (lua_istable(L, -1)) {
    in = lua_rawgeti(L, -1, i) != LUA_TNIL;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return in;
}

static void take_arguments(lua_State *L, grad_jit_entry *e, int n) {
  jitted *j = lua_touserdata(L, 1);
  e->donor = j->donor;
  e->donations = &j->donations;
  for (int i = 1; i <= n; i++) {
    const int32_t first = e->arguments.nnodes;
    const bool is_fixed = is_in_set(L, UV_FIXED, i);
    grad__template_add(L, &e->arguments, n + AT_REFERENCES, 1 + i, "an argument", is_fixed, NULL, NULL);
    if (!j->check && is_in_set(L, UV_DONATED, i)) grad__donations_mark(e, first);
  }
}

static int record(lua_State *L, int n) {
  grad_jit_entry *e = grad__jit_entry_push(L);
  luaL_checkstack(L, 2 * n + 24, "too many arguments");
  take_arguments(L, e, n);
  lua_getiuservalue(L, 1, UV_FUNCTION);
  grad__guards_make(L, &e->guards, n + AT_REFERENCES, lua_gettop(L), &e->arguments);
  lua_pop(L, 1);
  lua_rawgeti(L, n + AT_REFERENCES, e->guards.unguarded_at);
  lua_setiuservalue(L, 1, UV_UNGUARDED);
  grad_trace *t = grad__trace_begin(L, "jit");
  grad__trace_persist(t);
  lua_getiuservalue(L, 1, UV_FUNCTION);
  opener o = {.trace = t, .arguments = &e->arguments};
  grad__template_fill(L, &e->arguments, n + AT_REFERENCES, push_open, &o);
  lua_callk(L, n, LUA_MULTRET, n, finish_recording);
  return finish_recording(L, LUA_OK, n);
}

/* --- finding an entry */

static void add_reason(lua_State *L, const char *why) {
  lua_getiuservalue(L, 1, UV_REASONS);
  const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_pushstring(L, why);
  if (n < MOST_REASONS)
    lua_rawseti(L, -2, n + 1);
  else
    lua_pop(L, 1);
  lua_pop(L, 1);
}

/* A search for the entry of a call. Why there is none: what a captured value changed in the first entry whose arguments
 * fit, else how the arguments differ from those of the entry used last. */
typedef struct search {
  int n;
  bool fits; /* the arguments of an entry did */
  char why[GRAD_WHY];
} search;

/* Tries entry i of the list at the top; on success entry, references and the values of the nodes take its place. */
static grad_jit_entry *try_entry(lua_State *L, lua_Integer i, search *s) {
  const int list = lua_gettop(L);
  lua_rawgeti(L, list, i);
  grad_jit_entry *e = lua_touserdata(L, -1);
  if (!e->g || !e->derived->entry) { /* finalized, of a function that a weak table or a finalizer still has */
    lua_settop(L, list);
    return NULL;
  }
  lua_getiuservalue(L, -1, 1);
  lua_pushnil(L);
  const bool fits = grad__template_match(L, &e->arguments, list + 2, 2, s->n, i == 1 ? s->why : NULL);
  if (!fits || !grad__guards_check(L, &e->guards, list + 2, e->in, s->fits ? NULL : s->why)) {
    s->fits = s->fits || fits;
    lua_settop(L, list);
    return NULL;
  }
  if (i > 1) {
    lua_pushvalue(L, list);
    put_first(L, list + 1, i);
  }
  lua_remove(L, list);
  return e;
}

static grad_jit_entry *find_entry(lua_State *L, search *s) {
  lua_getiuservalue(L, 1, UV_ENTRIES);
  const lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= count; i++) {
    grad_jit_entry *e = try_entry(L, i, s);
    if (e) return e;
  }
  lua_pop(L, 1);
  return NULL;
}

/* Is a leaf of the arguments a traced value? Then its transform records the function's operations. */
static bool is_traced(lua_State *L, int n) {
  lua_newtable(L);
  const int leaves = lua_gettop(L);
  for (int i = 1; i <= n; i++) grad__tree_flatten(L, 1 + i, leaves, "an argument");
  bool traced = false;
  for (lua_Integer i = 1; !traced && i <= (lua_Integer)lua_rawlen(L, leaves); i++) {
    lua_rawgeti(L, leaves, i);
    const grad_tensor *x = grad__tensor_to(L, -1);
    traced = x && grad__tensor_is_traced(x);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return traced;
}

static int call(lua_State *L) {
  jitted *j = luaL_checkudata(L, 1, name);
  const int n = lua_gettop(L) - 1;
  search s; /* not all of it cleared: most calls need no reason */
  s.n = n, s.fits = false, *s.why = 0;
  luaL_checkstack(L, 24, NULL);
  if (grad__lua(L)->live_traces > 0 && (grad__trace_is_recording(L) || is_traced(L, n))) return call_plain(L, n);
  grad_jit_entry *e = find_entry(L, &s);
  if (e && e->running) return call_plain(L, n);
  if (e) {
    j->hits++;
    return finish_call(L, n, grad__jit_entry_run(L, e, n + AT_REFERENCES, n + AT_NODES));
  }
  if (j->traces++ > 0)
    add_reason(L, *s.why
                      ? s.why
                      : "the program was not kept: values of a transform around it are among its inputs, or a captured "
                        "tensor had changed while it was recorded");
  return record(L, n);
}

/* --- the userdata */

static int stats(lua_State *L) {
  const jitted *j = luaL_checkudata(L, 1, name);
  lua_createtable(L, 0, 7);
  grad__set_integer(L, "donated", j->donations.tensors);
  grad__set_integer(L, "reused", j->donations.reused);
  grad__set_integer(L, "hits", j->hits);
  grad__set_integer(L, "traces", j->traces);
  grad__set_integer(L, "retraces", j->traces > 0 ? j->traces - 1 : 0);
  lua_getiuservalue(L, 1, UV_REASONS);
  lua_setfield(L, -2, "reasons");
  lua_getiuservalue(L, 1, UV_UNGUARDED);
  lua_setfield(L, -2, "unguarded");
  return 1;
}

static int to_text(lua_State *L) {
  const jitted *j = luaL_checkudata(L, 1, name);
  lua_pushfstring(L, "jitted function (%I hits, %I traces)", (LUAI_UACINT)j->hits, (LUAI_UACINT)j->traces);
  return 1;
}

/* The option `what`, {2, 3} say: pushes the set of these positions; nil when it is not given. */
static void push_positions(lua_State *L, int options, const char *what) {
  int64_t positions[64];
  int n = 1;
  if (grad__option_push(L, options, what) == LUA_TNIL) return;
  if (lua_type(L, -1) == LUA_TNUMBER)
    positions[0] = grad__arg_integer(L, -1, what);
  else
    n = grad__arg_integers(L, lua_gettop(L), what, 64, positions);
  lua_newtable(L);
  lua_replace(L, -2);
  for (int i = 0; i < n; i++) {
    if (positions[i] < 1)
      grad__lua_error(L, "%s: %lld is no argument: Lua counts from 1", what, (long long)positions[i]);
    lua_pushboolean(L, true);
    lua_rawseti(L, -2, positions[i]);
  }
}

/* Pushes the set of donated arguments; true: all of them; nil or false: none. */
static void push_donated(lua_State *L, int options) {
  if (grad__option_push(L, options, "donate") == LUA_TBOOLEAN) return;
  lua_pop(L, 1);
  push_positions(L, options, "donate");
}

static int make_jit(lua_State *L) {
  int options = grad__options_at(L, 2);
  grad__transform_check_function(L, 1);
  push_positions(L, options, "static");
  push_donated(L, options);
  const int sets = lua_gettop(L) - 1;
  const int32_t donor = lua_toboolean(L, -1) ? grad__donor_add(L) : 0;
  jitted *j = lua_newuserdatauv(L, sizeof *j, UV_UNGUARDED);
  *j = (jitted){.check = grad__option_boolean(L, options, "check", false), .donor = donor};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, UV_FUNCTION);
  lua_pushvalue(L, sets);
  lua_setiuservalue(L, -2, UV_FIXED);
  lua_pushvalue(L, sets + 1);
  lua_setiuservalue(L, -2, UV_DONATED);
  for (int list = UV_ENTRIES; list <= UV_UNGUARDED; list++) {
    lua_newtable(L);
    lua_setiuservalue(L, -2, list);
  }
  luaL_setmetatable(L, name);
  return 1;
}

static const grad_fn rows[] = {
    GRAD_FUNCTION(
        "jit", make_jit, "f [, {static, donate, check}] -> callable",
        "f, recorded once for each signature of its arguments (tensors by dtype and shape, numbers as integers or "
        "floats); static: positions of arguments that are constants, as those must be which shapes, counts of Lua's "
        "loops and its comparisons depend on; donate: true, or positions of arguments that are given away, so that "
        "results may take their memory; check: each call is compared with f itself; :stats() tells hits and retraces"),
    GRAD_FN_END,
};

static const grad_fn call_row = {.name = "jit", .call = call}; /* the name in errors */
static const grad_fn methods[] = {
    {.name = "__tostring", .call = to_text},
    GRAD_FUNCTION(
        "stats", stats, "-> table",
        "hits, traces, retraces, the reasons of the retraces, and the names of what is not guarded: captured "
        "tables that are too large, globals that a function looks up; donated: tensors given away so far, reused: "
        "those whose memory a result took"),
    GRAD_FN_END,
};

void grad__open_jit(lua_State *L) {
  grad__lua_register(L, rows);
  grad__lua_metatable(L, name, methods);
  grad__lua_push_function(L, call, &call_row, 0);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
}

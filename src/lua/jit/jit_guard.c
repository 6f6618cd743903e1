/* jit_guard.c: see jit_guard.h. */
#include "lua/jit/jit_guard.h"

#include <stdio.h>
#include <string.h>

#include "lua/jit/jit.h"
#include "lua/jit/lua_code.h"

enum { MOST_GUARDS = 1024, MOST_FIELDS = 256, MOST_TABLES = 8 };

static grad_identity identity_of(lua_State *L, int index) {
  grad_identity id = {.type = lua_type(L, index)};
  double number;
  switch (id.type) {
  case LUA_TNIL:
    break;
  case LUA_TBOOLEAN:
    id.bits = (uint64_t)lua_toboolean(L, index);
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index)) {
      id.type = LUA_NUMTYPES;
      id.bits = (uint64_t)lua_tointeger(L, index);
    } else {
      number = lua_tonumber(L, index);
      memcpy(&id.bits, &number, sizeof number);
    }
    break;
  case LUA_TSTRING:
    id.bits = (uintptr_t)lua_tostring(L, index);
    break;
  default:
    id.bits = (uintptr_t)lua_topointer(L, index);
  }
  return id;
}

static bool is_same(grad_identity a, grad_identity b) { return a.type == b.type && a.bits == b.bits; }

static const grad_tensor *tensor_of(const grad_guard *guard) {
  return (const grad_tensor *)(uintptr_t)guard->value.bits;
}

void grad__guards_clear(grad_guards *g) {
  if (!g->ctx) return;
  grad__free(g->ctx, g->owners, (size_t)g->owners_cap * sizeof *g->owners);
  grad__free(g->ctx, g->guards, (size_t)g->guards_cap * sizeof *g->guards);
  *g = (grad_guards){.ctx = g->ctx};
}

/* --- making */

/* `queue` is a list of the functions and tables to look into, and queue[thing] its name; `library` has a field for each
 * table of the standard library and of our own. */
typedef struct maker {
  lua_State *L;
  grad_guards *g;
  int references, queue, library;
} maker;

static int32_t refer(const maker *m, int index) {
  lua_pushvalue(m->L, index);
  return grad__reference_add(m->L, m->references);
}

static grad_owner *add_owner(const maker *m, grad_owner_kind kind, int index, const char *owner_name) {
  grad_guards *g = m->g;
  g->owners = grad__lua_grow(m->L, g->ctx, g->owners, g->nowners + 1, &g->owners_cap, sizeof *g->owners);
  lua_pushstring(m->L, owner_name);
  const int32_t name_at = grad__reference_add(m->L, m->references), at = refer(m, index);
  grad_owner *owner = &g->owners[g->nowners++];
  *owner = (grad_owner){.kind = (uint8_t)kind, .at = at, .name_at = name_at, .first = g->nguards};
  return owner;
}

/* Guards the value on top, which is the newest owner's at the key below it. */
static void add_guard(const maker *m, grad_identity key) {
  lua_State *L = m->L;
  grad_guards *g = m->g;
  g->guards = grad__lua_grow(m->L, g->ctx, g->guards, g->nguards + 1, &g->guards_cap, sizeof *g->guards);
  const int32_t key_at = refer(m, -2), value_at = refer(m, -1);
  g->guards[g->nguards++] = (grad_guard){.key = key,
                                         .value = identity_of(L, -1),
                                         .key_at = key_at,
                                         .value_at = value_at,
                                         .input = -1,
                                         .replaceable = !grad__tensor_is_donated(L, -1) && grad__tensor_to(L, -1)};
  g->owners[g->nowners - 1].count++;
}

/* An owner of which nothing is guarded need not be looked at, unless it is a table, which may get fields. */
static void drop_empty_owner(const maker *m) {
  if (m->g->owners[m->g->nowners - 1].count == 0) m->g->nowners--;
}

static bool is_in(lua_State *L, int set, int index) {
  lua_pushvalue(L, index);
  const bool found = lua_rawget(L, set) != LUA_TNIL;
  lua_pop(L, 1);
  return found;
}

/* Is the function at `index` one of our own modules'? */
static bool is_own(lua_State *L, int index) {
  lua_Debug ar;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &ar);
  return grad__lua_is_own_source(ar.source);
}

/* The class of objects of our own modules. */
static bool is_own_class(lua_State *L, int table) {
  bool own = false;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) own = own || (lua_isfunction(L, -1) && is_own(L, -1));
  return own;
}

/* Notes that the value on top has been seen; keeps it on the stack. */
static void mark_seen(const maker *m, const char *name) {
  lua_pushvalue(m->L, -1);
  lua_pushstring(m->L, name);
  lua_rawset(m->L, m->queue);
}

/* Puts the value on top into the queue, once; keeps it on the stack. */
static void enqueue(const maker *m, const char *name) {
  lua_State *L = m->L;
  const int type = lua_type(L, -1);
  const bool jitted = grad__jit_is(L, -1);
  if (!jitted && type != LUA_TFUNCTION && type != LUA_TTABLE) return;
  if (is_in(L, m->queue, -1) || (type == LUA_TTABLE && is_in(L, m->library, -1))) return;
  mark_seen(m, name);
  lua_pushvalue(L, -1);
  lua_rawseti(L, m->queue, (lua_Integer)lua_rawlen(L, m->queue) + 1);
}

static void note_unguarded(const maker *m, const char *name) {
  lua_State *L = m->L;
  lua_rawgeti(L, m->references, m->g->unguarded_at);
  lua_pushstring(L, name);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* Is there room for the guards of n things in one place? If not, the name is noted. */
static bool has_room(const maker *m, lua_Integer n, const char *name) {
  if (n <= MOST_FIELDS && m->g->nguards + n <= MOST_GUARDS) return true;
  note_unguarded(m, name);
  return false;
}

/* A closure in C keeps its upvalues; among those of a transform is the function that it is of. */
static void look_into_c_function(const maker *m, int f, const char *name) {
  for (int i = 1; lua_getupvalue(m->L, f, i); i++) {
    if (lua_isfunction(m->L, -1) || lua_getmetatable(m->L, -1)) {
      lua_settop(m->L, f + 1);
      enqueue(m, name);
    }
    lua_settop(m->L, f);
  }
}

/* Is the value on top one that no program need be guarded against? */
static bool is_given(const maker *m) { return lua_iscfunction(m->L, -1) || is_in(m->L, m->library, -1); }

/* Pushes what the table at `globals` has under the name on top, or the tables where it looks for what it lacks. */
static void push_global(lua_State *L, int globals) {
  lua_pushvalue(L, globals);
  for (int depth = 0; depth < MOST_TABLES && lua_istable(L, -1); depth++) {
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -2) != LUA_TNIL || luaL_getmetafield(L, -2, "__index") == LUA_TNIL) {
      lua_remove(L, -2);
      return;
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushnil(L);
}

/* What the libraries give is not guarded: the set `names` loses it. */
static void drop_given(const maker *m, int names, int globals) {
  lua_State *L = m->L;
  for (lua_pushnil(L); lua_next(L, names);) {
    lua_pop(L, 1);
    push_global(L, globals);
    const bool given = is_given(m);
    lua_pop(L, 1);
    if (!given) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, names);
  }
}

/* Guards the fields of `table` in the set `names`, which loses those that the table has. A field that it lacks may
 * come.
 */
static void look_into_named(const maker *m, int names, int table, const char *what) {
  lua_State *L = m->L;
  add_owner(m, GRAD_OWNER_NAMED, table, what);
  for (lua_pushnil(L); lua_next(L, names);) {
    const char *name = lua_tostring(L, -2);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    const bool found = lua_rawget(L, table) != LUA_TNIL;
    enqueue(m, name);
    if (has_room(m, 1, name)) add_guard(m, identity_of(L, -2));
    lua_pop(L, 1);
    if (!found) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, names);
  }
  drop_empty_owner(m);
}

static bool has_key(lua_State *L, int table) {
  lua_pushnil(L);
  if (!lua_next(L, table)) return false;
  lua_pop(L, 2);
  return true;
}

/* The globals that the function names, in the table at `globals` and in those where that one looks for what it lacks;
 * and the modules that it requires. */
static void look_into_globals(const maker *m, int f, int env, int globals) {
  lua_State *L = m->L;
  lua_newtable(L);
  lua_newtable(L);
  const int names = globals + 1, modules = globals + 2;
  if (!grad__code_names(L, f, env, names, modules)) note_unguarded(m, "globals");
  drop_given(m, names, globals);
  lua_pushvalue(L, globals);
  for (int depth = 0; depth < MOST_TABLES && lua_istable(L, -1); depth++) {
    look_into_named(m, names, lua_gettop(L), "global");
    if (luaL_getmetafield(L, -1, "__index") == LUA_TNIL) break;
    lua_replace(L, modules + 1);
  }
  if (lua_isfunction(L, -1) && has_key(L, names)) note_unguarded(m, "globals");
  lua_settop(L, modules);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  drop_given(m, modules, modules + 1);
  look_into_named(m, modules, modules + 1, "module");
  lua_settop(L, globals);
}

/* One upvalue may belong to several functions. */
static bool is_new_upvalue(const maker *m, int f, int i) {
  void *id = lua_upvalueid(m->L, f, i);
  const bool known = lua_rawgetp(m->L, m->queue, id) != LUA_TNIL;
  lua_pop(m->L, 1);
  lua_pushboolean(m->L, true);
  lua_rawsetp(m->L, m->queue, id);
  return !known;
}

/* Upvalues of our own modules' functions are not assigned to after they were set. */
static void look_into_function(const maker *m, int f, const char *owner_name) {
  lua_State *L = m->L;
  const char *name;
  const bool own = is_own(L, f);
  if (!own) add_owner(m, GRAD_OWNER_FUNCTION, f, owner_name);
  for (int i = 1; (name = lua_getupvalue(L, f, i)) != NULL; lua_settop(L, f), i++) {
    if (strcmp(name, "_ENV") == 0) continue;
    enqueue(m, name);
    if (own || !is_new_upvalue(m, f, i) || is_in(L, m->library, -1) || !has_room(m, 1, name)) continue;
    lua_pushinteger(L, i);
    const grad_identity key = identity_of(L, -1);
    lua_insert(L, -2);
    add_guard(m, key);
  }
  if (!own) drop_empty_owner(m);
  for (int i = 1; !own && (name = lua_getupvalue(L, f, i)) != NULL; lua_settop(L, f), i++)
    if (strcmp(name, "_ENV") == 0 && lua_istable(L, -1)) look_into_globals(m, f, i, f + 1);
}

/* Objects of our own modules that do not change once they are made say so in their metatable. */
static bool is_constant(lua_State *L, int table) {
  if (luaL_getmetafield(L, table, "__constant") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

static bool is_plain_table(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  if (!lua_getmetatable(L, index)) return true;
  lua_pop(L, 1);
  return false;
}

/* What the fields of a constant object hold may still change, but not the plain tables among them. */
static void look_through(const maker *m, int table, const char *name, int depth) {
  lua_State *L = m->L;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (depth > 0 || !is_plain_table(L, -1)) {
      enqueue(m, name);
      continue;
    }
    mark_seen(m, name);
    look_through(m, lua_gettop(L), name, depth + 1);
  }
}

static void look_into_table(const maker *m, int table, const char *owner_name) {
  lua_State *L = m->L;
  lua_Integer fields = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) fields++;
  if (!has_room(m, fields, owner_name)) return;
  add_owner(m, GRAD_OWNER_TABLE, table, owner_name);
  for (lua_pushnil(L); lua_next(L, table);) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "an entry";
    const char *name = lua_pushfstring(L, "%s.%s", owner_name, key);
    lua_insert(L, -3); /* name, key, value */
    enqueue(m, name);
    add_guard(m, identity_of(L, -2));
    lua_pop(L, 1);
    lua_remove(L, -2);
  }
  if (!lua_getmetatable(L, table)) return;
  if (!is_own_class(L, lua_gettop(L))) enqueue(m, owner_name);
  lua_pop(L, 1);
}

static bool is_library(const char *name) {
  static const char *const standard[] = {"_G", "math",      "string", "table", "os",
                                         "io", "coroutine", "utf8",   "debug", "package"};
  for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
    if (strcmp(name, standard[i]) == 0) return true;
  return strncmp(name, "gradlua", 7) == 0 && (name[7] == '\0' || name[7] == '.');
}

/* Pushes the set of the libraries' tables: modules, and tables in ours. */
static void push_library(lua_State *L) {
  lua_newtable(L);
  const int set = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, set + 1); lua_settop(L, set + 2)) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, -1) || !is_library(lua_tostring(L, -2))) continue;
    const bool ours = lua_tostring(L, -2)[0] == 'g';
    for (lua_pushnil(L); ours && lua_next(L, set + 3); lua_settop(L, set + 4)) {
      if (!lua_istable(L, -1)) continue;
      lua_pushboolean(L, true);
      lua_rawset(L, set);
    }
    lua_settop(L, set + 3);
    lua_pushboolean(L, true);
    lua_rawset(L, set);
  }
  lua_settop(L, set);
}

/* Functions among the arguments, and the classes of the tables there. */
static void enqueue_arguments(const maker *m, const grad_template *arguments) {
  lua_State *L = m->L;
  for (int32_t k = 0; k < arguments->nnodes; k++) {
    const grad_node *node = &arguments->nodes[k];
    const bool is_table = node->kind == GRAD_NODE_TABLE;
    const int32_t at = is_table ? node->meta : node->kind == GRAD_NODE_EXACT ? node->at : 0;
    if (at == 0) continue;
    lua_rawgeti(L, m->references, at);
    if (!is_table || !is_own_class(L, lua_gettop(L))) enqueue(m, is_table ? "class of an argument" : "an argument");
    lua_pop(L, 1);
  }
}

void grad__guards_make(lua_State *L, grad_guards *g, int references, int f, const grad_template *arguments) {
  const int top = lua_gettop(L);
  g->ctx = grad__lua_ctx(L);
  luaL_checkstack(L, 24, NULL);
  lua_pushvalue(L, f);
  lua_newtable(L);
  g->unguarded_at = grad__reference_add(L, references);
  push_library(L);
  lua_newtable(L);
  const maker m = {.L = L, .g = g, .references = references, .queue = top + 3, .library = top + 2};
  lua_pushvalue(L, top + 1);
  enqueue(&m, "f");
  lua_settop(L, m.queue);
  enqueue_arguments(&m, arguments);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, m.queue); i++) {
    lua_rawgeti(L, m.queue, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, m.queue);
    const char *name = lua_tostring(L, -1); /* kept alive by the queue */
    lua_pop(L, 1);
    const int at = lua_gettop(L);
    if (grad__jit_push_function(L, at))
      enqueue(&m, name);
    else if (lua_istable(L, at) && is_constant(L, at))
      look_through(&m, at, name, 0);
    else if (lua_istable(L, at))
      look_into_table(&m, at, name);
    else if (lua_iscfunction(L, at))
      look_into_c_function(&m, at, name);
    else
      look_into_function(&m, at, name);
    lua_settop(L, m.queue);
  }
  lua_settop(L, top);
}

void grad__guards_bind(grad_guards *g, const grad_tensor *x, int32_t input) {
  grad_guard *found = NULL;
  for (int32_t i = 0; i < g->nguards; i++) {
    grad_guard *guard = &g->guards[i];
    if (!guard->replaceable || tensor_of(guard) != x) continue;
    guard->input = input;
    if (found) found->replaceable = guard->replaceable = false;
    found = guard;
  }
}

void grad__guards_pin(grad_guards *g, const grad_tensor *x) {
  for (int32_t i = 0; i < g->nguards; i++)
    if (g->guards[i].replaceable && tensor_of(&g->guards[i]) == x) g->guards[i].replaceable = false;
}

/* --- checking */

/* Takes the tensor on top instead of the guarded one, if it is of its kind. */
static bool replace(lua_State *L, grad_guard *guard, int references, const grad_array **inputs) {
  const grad_tensor *x = guard->replaceable && !grad__tensor_is_donated(L, -1) ? grad__tensor_to(L, -1) : NULL,
                    *old = tensor_of(guard);
  if (!x || grad__tensor_is_traced(x) || x->array.dtype != old->array.dtype ||
      !grad__shape_equal(x->array.ndim, x->array.shape, old->array.ndim, old->array.shape))
    return false;
  guard->value.bits = (uintptr_t)x;
  if (guard->input >= 0) inputs[guard->input] = &x->array;
  lua_pushvalue(L, -1);
  lua_rawseti(L, references, guard->value_at);
  return true;
}

static bool is_kept(lua_State *L, grad_guard *guard, int references, const grad_array **inputs) {
  return is_same(identity_of(L, -1), guard->value) || replace(L, guard, references, inputs);
}

/* Says what has changed; guard NULL: the fields of a table. Leaves values on the stack. */
static void explain(lua_State *L, const grad_owner *owner, const grad_guard *guard, int references, char *why) {
  lua_rawgeti(L, references, owner->name_at);
  const char *name = lua_tostring(L, -1);
  if (!guard) {
    snprintf(why, GRAD_WHY, "the captured %.100s has other fields", name);
    return;
  }
  lua_rawgeti(L, references, owner->at);
  lua_rawgeti(L, references, guard->key_at);
  const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an entry";
  if (owner->kind == GRAD_OWNER_TABLE)
    snprintf(why, GRAD_WHY, "the captured %.100s.%.100s has changed", name, key);
  else if (owner->kind == GRAD_OWNER_NAMED)
    snprintf(why, GRAD_WHY, "the %s %.100s has changed", name, key);
  else
    snprintf(why, GRAD_WHY, "the captured %.100s has changed", lua_getupvalue(L, -2, (int)guard->key.bits));
}

/* With the owner on top; *changed: the guard that failed, NULL: there are other fields. */
static bool check_owner(lua_State *L, const grad_owner *owner, grad_guard *guards, int references,
                        const grad_array **inputs, const grad_guard **changed) {
  const int at = lua_gettop(L);
  if (owner->kind == GRAD_OWNER_TABLE) lua_pushnil(L);
  for (grad_guard *guard = guards; guard < guards + owner->count; guard++) {
    *changed = guard;
    if (owner->kind == GRAD_OWNER_FUNCTION) {
      lua_getupvalue(L, at, (int)guard->key.bits);
    } else if (owner->kind == GRAD_OWNER_NAMED) {
      lua_rawgeti(L, references, guard->key_at);
      lua_rawget(L, at);
    } else if (!lua_next(L, at) || !is_same(identity_of(L, -2), guard->key)) {
      *changed = NULL;
      return false;
    }
    if (!is_kept(L, guard, references, inputs)) return false;
    lua_pop(L, 1);
  }
  *changed = NULL;
  return owner->kind != GRAD_OWNER_TABLE || !lua_next(L, at);
}

bool grad__guards_check(lua_State *L, grad_guards *g, int references, const grad_array **inputs, char *why) {
  const int top = lua_gettop(L);
  for (int32_t i = 0; i < g->nowners; i++) {
    const grad_owner *owner = &g->owners[i];
    const grad_guard *changed;
    lua_rawgeti(L, references, owner->at);
    const bool kept = check_owner(L, owner, g->guards + owner->first, references, inputs, &changed);
    if (!kept) {
      lua_settop(L, top);
      if (why) explain(L, owner, changed, references, why);
    }
    lua_settop(L, top);
    if (!kept) return false;
  }
  return true;
}

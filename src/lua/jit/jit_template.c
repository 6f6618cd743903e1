/* jit_template.c: see jit_template.h. */
#include "lua/jit/jit_template.h"

#include <stdio.h>
#include <string.h>

#include "lua/tree.h"

int32_t grad__reference_add(lua_State *L, int references) {
  const lua_Integer at = (lua_Integer)lua_rawlen(L, references) + 1;
  if (lua_isnil(L, -1)) { /* a list cannot hold nil: false stands for it, where only the identity of objects matters */
    lua_pop(L, 1);
    lua_pushboolean(L, false);
  }
  lua_rawseti(L, references, at);
  return (int32_t)at;
}

void grad__template_clear(grad_template *p) {
  if (!p->ctx) return;
  grad__free(p->ctx, p->nodes, (size_t)p->nodes_cap * sizeof *p->nodes);
  grad__free(p->ctx, p->extents, (size_t)p->extents_cap * sizeof *p->extents);
  *p = (grad_template){.ctx = p->ctx};
}

/* --- making */

typedef struct maker {
  lua_State *L;
  grad_template *p;
  int references;
  const char *what;
  bool fixed;
  grad_is_leaf is_leaf;
  void *ud;
} maker;

static grad_node *add_node(const maker *m, grad_node_kind kind) {
  grad_template *p = m->p;
  p->nodes = grad__lua_grow(m->L, p->ctx, p->nodes, p->nnodes + 1, &p->nodes_cap, sizeof *p->nodes);
  grad_node *node = &p->nodes[p->nnodes++];
  *node = (grad_node){.kind = (uint8_t)kind};
  if (kind == GRAD_NODE_TENSOR || kind == GRAD_NODE_NUMBER) node->leaf = p->nleaves++;
  return node;
}

static void add_tensor(const maker *m, const grad_tensor *x) {
  grad_template *p = m->p;
  const grad_array *a = &x->array;
  p->extents = grad__lua_grow(m->L, p->ctx, p->extents, p->nextents + a->ndim, &p->extents_cap, sizeof *p->extents);
  const bool number = m->is_leaf && grad__tensor_is_weak(x) && a->ndim == 0;
  grad_node *node = add_node(m, number ? GRAD_NODE_NUMBER : GRAD_NODE_TENSOR);
  node->dtype = (uint8_t)a->dtype, node->ndim = (uint8_t)a->ndim, node->at = p->nextents;
  node->count = m->is_leaf && grad__tensor_is_traced(x) && x->argument;
  for (int i = 0; i < a->ndim; i++) p->extents[p->nextents++] = a->shape[i];
}

static void add_value(const maker *m, int index, int depth);

static void add_table(const maker *m, int index, int depth) {
  lua_State *L = m->L;
  grad__tree_enter(L, depth, m->what);
  grad_keys keys;
  grad__keys_open(L, index, m->what, &keys);
  const int32_t self = m->p->nnodes;
  grad_node *node = add_node(m, GRAD_NODE_TABLE);
  node->count = (int32_t)keys.count;
  if (lua_getmetatable(L, index)) node->meta = grad__reference_add(L, m->references);
  if (!keys.list) node->at = (int32_t)lua_rawlen(L, m->references) + 1;
  for (lua_Integer i = 0; m->p->nodes[self].at && i < keys.count; i++) {
    grad__keys_push(L, &keys, i);
    grad__reference_add(L, m->references);
  }
  for (lua_Integer i = 0; i < keys.count; i++) {
    grad__keys_push(L, &keys, i);
    lua_rawget(L, index);
    add_value(m, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void add_value(const maker *m, int index, int depth) {
  lua_State *L = m->L;
  const grad_tensor *x = grad__tensor_to(L, index);
  if (x && !m->fixed && (!m->is_leaf || m->is_leaf(L, m->ud, index))) {
    add_tensor(m, x);
  } else if (!m->is_leaf && !m->fixed && lua_type(L, index) == LUA_TNUMBER) {
    add_node(m, GRAD_NODE_NUMBER)->dtype = lua_isinteger(L, index) ? GRAD_I64 : GRAD_F64;
  } else if (lua_istable(L, index)) {
    add_table(m, index, depth);
  } else {
    lua_pushvalue(L, index);
    const int32_t at = grad__reference_add(L, m->references);
    add_node(m, GRAD_NODE_EXACT)->at = lua_isnil(L, index) ? 0 : at;
  }
}

void grad__template_add(lua_State *L, grad_template *p, int references, int index, const char *what, bool fixed,
                        grad_is_leaf is_leaf, void *ud) {
  const maker m = {
      .L = L, .p = p, .references = references, .what = what, .fixed = fixed, .is_leaf = is_leaf, .ud = ud};
  p->ctx = grad__lua_ctx(L);
  p->nvalues++;
  add_value(&m, lua_absindex(L, index), 0);
}

/* --- matching */

typedef struct matcher {
  lua_State *L;
  const grad_template *p;
  int references;
  int32_t next; /* node */
  char *why;    /* NULL: nobody asks */
} matcher;

/* Pushes key i (from 0) of a table. */
static void push_key(lua_State *L, const grad_node *table, int references, int32_t i) {
  if (table->at)
    lua_rawgeti(L, references, table->at + i);
  else
    lua_pushinteger(L, i + 1);
}

static bool is_shaped(const matcher *m, const grad_node *node) {
  const grad_tensor *x = grad__tensor_to(m->L, -1);
  return x && x->array.dtype == node->dtype &&
         grad__shape_equal(x->array.ndim, x->array.shape, node->ndim, m->p->extents + node->at);
}

static bool is_exactly(const matcher *m, const grad_node *node) {
  lua_State *L = m->L;
  if (node->at == 0) return lua_isnil(L, -1);
  lua_rawgeti(L, m->references, node->at);
  const bool same = lua_rawequal(L, -1, -2) && lua_isinteger(L, -1) == lua_isinteger(L, -2);
  lua_pop(L, 1);
  return same;
}

/* Has the table on top this metatable, and as many entries? */
static bool has_frame(const matcher *m, const grad_node *node) {
  lua_State *L = m->L;
  if (!lua_istable(L, -1)) return false;
  if (lua_getmetatable(L, -1)) {
    bool same = node->meta != 0;
    if (same) lua_rawgeti(L, m->references, node->meta);
    same = same && lua_rawequal(L, -1, -2);
    lua_pop(L, node->meta ? 2 : 1);
    if (!same) return false;
  } else if (node->meta) {
    return false;
  }
  int32_t n = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) n++;
  return n == node->count;
}

static grad_words describe(const matcher *m, const grad_node *node) {
  switch (node->kind) {
  case GRAD_NODE_TENSOR:
    return grad__type_text(&(grad_type){m->p->extents + node->at, node->dtype, node->ndim});
  case GRAD_NODE_NUMBER:
    return node->dtype == GRAD_I64 ? (grad_words){"an integer"} : (grad_words){"a float"};
  case GRAD_NODE_TABLE:
    return (grad_words){"a table of another structure"};
  default:
    return (grad_words){"another value"};
  }
}

/* Writes what the value on top is, and what was expected. */
static void explain(const matcher *m, const grad_node *node) {
  lua_State *L = m->L;
  const grad_tensor *x = grad__tensor_to(L, -1);
  const grad_words tensor = x ? grad__tensor_text(x) : (grad_words){""};
  const char *now = x ? tensor.chars : luaL_typename(L, -1);
  if (lua_type(L, -1) == LUA_TNUMBER) now = lua_isinteger(L, -1) ? "an integer" : "a float";
  snprintf(m->why, GRAD_WHY, ": it was %.100s, now it is %.100s", describe(m, node).chars, now);
}

/* `what`, which is short, goes before what `why` says, as far as there is room. */
static void prepend(char *why, const char *what) {
  const size_t n = strlen(what);
  size_t rest = strlen(why);
  if (n + rest >= GRAD_WHY) rest = GRAD_WHY - 1 - n;
  memmove(why + n, why, rest);
  memcpy(why, what, n);
  why[n + rest] = '\0';
}

static void prepend_key(const matcher *m, const grad_node *table, int32_t i) {
  char key[GRAD_WHY / 4];
  push_key(m->L, table, m->references, i);
  if (lua_type(m->L, -1) == LUA_TSTRING)
    snprintf(key, sizeof key, ".%.60s", lua_tostring(m->L, -1));
  else
    snprintf(key, sizeof key, "[%.14g]", lua_tonumber(m->L, -1));
  prepend(m->why, key);
  lua_pop(m->L, 1);
}

/* Matches the value on top with the next node; leaves the values of the nodes below it on the stack. */
static bool match(matcher *m) {
  lua_State *L = m->L;
  const grad_node *node = &m->p->nodes[m->next++];
  bool fits;
  switch ((grad_node_kind)node->kind) {
  case GRAD_NODE_TENSOR:
    fits = is_shaped(m, node);
    break;
  case GRAD_NODE_NUMBER:
    fits = lua_type(L, -1) == LUA_TNUMBER && lua_isinteger(L, -1) == (node->dtype == GRAD_I64);
    break;
  case GRAD_NODE_EXACT:
    fits = is_exactly(m, node);
    break;
  default:
    fits = has_frame(m, node);
  }
  if (!fits && m->why) explain(m, node);
  const int table = lua_gettop(L);
  for (int32_t i = 0; fits && i < node->count; i++) {
    push_key(L, node, m->references, i);
    lua_rawget(L, table);
    fits = match(m);
    if (!fits && m->why) prepend_key(m, node, i);
  }
  return fits;
}

bool grad__template_match(lua_State *L, const grad_template *p, int references, int first, int n, char *why) {
  matcher m = {.L = L, .p = p, .references = references, .why = why};
  const int top = lua_gettop(L);
  if (n != p->nvalues) {
    if (why) snprintf(why, GRAD_WHY, "%d arguments instead of %d", n, p->nvalues);
    return false;
  }
  luaL_checkstack(L, p->nnodes + 8, "too many arguments");
  for (int i = 0; i < n; i++) {
    lua_pushvalue(L, first + i);
    if (match(&m)) continue;
    lua_settop(L, top);
    if (!why) return false;
    char which[32];
    snprintf(which, sizeof which, "argument %d", i + 1);
    prepend(why, which);
    return false;
  }
  return true;
}

/* --- filling */

typedef struct filler {
  lua_State *L;
  const grad_template *p;
  int references;
  int32_t next;
  grad_push_leaf push_leaf;
  void *ud;
} filler;

static void fill(filler *f);

static void fill_table(filler *f, const grad_node *node) {
  lua_State *L = f->L;
  luaL_checkstack(L, 8, "tables are nested too deep");
  lua_createtable(L, node->at ? 0 : node->count, node->at ? node->count : 0);
  for (int32_t i = 0; i < node->count; i++) {
    if (node->at) lua_rawgeti(L, f->references, node->at + i);
    fill(f);
    if (node->at)
      lua_rawset(L, -3);
    else
      lua_rawseti(L, -2, i + 1);
  }
  if (node->meta == 0) return;
  lua_rawgeti(L, f->references, node->meta);
  lua_setmetatable(L, -2);
}

static void fill(filler *f) {
  const grad_node *node = &f->p->nodes[f->next++];
  switch ((grad_node_kind)node->kind) {
  case GRAD_NODE_TABLE:
    fill_table(f, node);
    break;
  case GRAD_NODE_EXACT:
    if (node->at)
      lua_rawgeti(f->L, f->references, node->at);
    else
      lua_pushnil(f->L);
    break;
  default:
    f->push_leaf(f->L, f->ud, node);
  }
}

void grad__template_fill(lua_State *L, const grad_template *p, int references, grad_push_leaf push_leaf, void *ud) {
  filler f = {.L = L, .p = p, .references = references, .push_leaf = push_leaf, .ud = ud};
  luaL_checkstack(L, p->nvalues + 8, "too many values");
  for (int32_t i = 0; i < p->nvalues; i++) fill(&f);
}

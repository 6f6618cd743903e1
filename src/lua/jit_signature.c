/* jit_signature.c: what makes two calls of a jitted function the same. */
#include <stdio.h>
#include <string.h>

#include "lua/jit.h"
#include "lua/trace.h"
#include "lua/tree.h"

/* Text that grows in a userdata at a fixed place of the stack. */
typedef struct text {
  lua_State *L;
  int at, leaves, anchors;
  char *data;
  size_t size, cap;
  bool traced;
} text;

enum { MAX_DEPTH = 100 };

static void add(text *t, const void *bytes, size_t n) {
  if (t->size + n > t->cap) {
    t->cap = 2 * (t->size + n);
    char *wider = lua_newuserdatauv(t->L, t->cap, 0);
    memcpy(wider, t->data, t->size);
    t->data = wider;
    lua_replace(t->L, t->at);
  }
  memcpy(t->data + t->size, bytes, n);
  t->size += n;
}

static void add_tag(text *t, char tag) { add(t, &tag, 1); }

static void append(lua_State *L, int list, int index) {
  lua_pushvalue(L, index);
  lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

static void add_identity(text *t, int index) {
  const void *p = lua_topointer(t->L, index);
  add_tag(t, 'p');
  add(t, &p, sizeof p);
  append(t->L, t->anchors, index);
}

static void add_number(text *t, int index) {
  double value = lua_tonumber(t->L, index);
  add_tag(t, lua_isinteger(t->L, index) ? 'i' : 'n');
  add(t, &value, sizeof value);
}

static void add_tensor(text *t, int index, const grad_tensor *x) {
  add_tag(t, 'T');
  add(t, &x->array.dtype, 1);
  add(t, &x->array.ndim, 1);
  add(t, x->array.shape, x->array.ndim * sizeof *x->array.shape);
  append(t->L, t->leaves, index);
  t->traced = t->traced || grad__tensor_is_traced(x);
}

static void add_string(text *t, int index) {
  size_t n;
  const char *s = lua_tolstring(t->L, index, &n);
  add_tag(t, 's');
  add(t, &n, sizeof n);
  add(t, s, n);
}

static void add_value(text *t, int index, bool fixed, int depth);

static void add_table(text *t, int index, bool fixed, int depth) {
  lua_State *L = t->L;
  lua_Integer n;
  if (depth > MAX_DEPTH)
    grad__lua_error(L, "an argument is nested more than %d deep: does a table contain itself?", MAX_DEPTH);
  luaL_checkstack(L, 8, NULL);
  add_tag(t, '{');
  const grad_keys *keys = grad__keys_open(L, index, "an argument", &n);
  for (lua_Integer i = 0; i < n; i++) {
    grad__keys_push(L, keys, i);
    if (lua_type(L, -1) == LUA_TSTRING)
      add_string(t, lua_gettop(L));
    else
      add_number(t, lua_gettop(L));
    lua_rawget(L, index);
    add_value(t, lua_gettop(L), fixed, depth + 1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  add_tag(t, '}');
}

static void add_value(text *t, int index, bool fixed, int depth) {
  lua_State *L = t->L;
  const grad_tensor *x = grad__tensor_to(L, index);
  if (x && !fixed) {
    add_tensor(t, index, x);
    return;
  }
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    add_tag(t, '-');
    break;
  case LUA_TBOOLEAN:
    add_tag(t, lua_toboolean(L, index) ? 't' : 'f');
    break;
  case LUA_TSTRING:
    add_string(t, index);
    break;
  case LUA_TTABLE:
    add_table(t, index, fixed, depth);
    break;
  case LUA_TNUMBER:
    if (fixed) {
      add_number(t, index);
    } else {
      add_tag(t, 'N');
      append(L, t->leaves, index);
    }
    break;
  default:
    add_identity(t, index);
  }
}

void grad__jit_signature(lua_State *L, int first, int n, int fixed, int leaves, int anchors, bool *traced) {
  text t = {.L = L, .leaves = leaves, .anchors = anchors, .cap = 512};
  t.data = lua_newuserdatauv(L, t.cap, 0);
  t.at = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    bool is_fixed = lua_rawgeti(L, fixed, i) != LUA_TNIL;
    lua_pop(L, 1);
    add_value(&t, first + i - 1, is_fixed, 0);
  }
  *traced = t.traced;
  lua_pushlstring(L, t.data, t.size);
  lua_remove(L, t.at);
}

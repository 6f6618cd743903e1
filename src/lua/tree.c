/* tree.c: walking nested tables in a fixed order. */
#include "lua/tree.h"

#include <stdlib.h>
#include <string.h>

/* --- keys in order */

static int compare(const void *x, const void *y) {
  const grad_key *a = x, *b = y;
  if (!a->text || !b->text) {
    if (a->text || b->text) return a->text ? 1 : -1;
    return a->number < b->number ? -1 : a->number > b->number;
  }
  size_t n = a->length < b->length ? a->length : b->length;
  int order = memcmp(a->text, b->text, n);
  return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* *list: the keys are positive integers none of which is more than there are keys. */
static lua_Integer count_keys(lua_State *L, int table, bool *list) {
  lua_Integer n = 0, largest = 0;
  *list = true;
  for (lua_pushnil(L); lua_next(L, table); n++) {
    lua_pop(L, 1);
    const lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    *list = *list && key > 0;
    if (key > largest) largest = key;
  }
  *list = *list && largest == n;
  return n;
}

static void read_key(lua_State *L, grad_key *k, const char *what) {
  *k = (grad_key){0};
  if (lua_type(L, -1) == LUA_TNUMBER) {
    k->number = lua_tonumber(L, -1);
    k->integer = lua_isinteger(L, -1);
  } else if (lua_type(L, -1) == LUA_TSTRING) {
    k->text = lua_tolstring(L, -1, &k->length);
  } else {
    grad__lua_error(L, "%s has a key that is a %s: tables of tensors have numbers or strings as keys", what,
                    luaL_typename(L, -1));
  }
}

static void sort_keys(grad_keys *keys) {
  if (keys->count > GRAD_FEW_KEYS) {
    qsort(keys->at, (size_t)keys->count, sizeof *keys->at, compare);
    return;
  }
  for (lua_Integer i = 1; i < keys->count; i++) {
    const grad_key key = keys->at[i];
    lua_Integer k = i;
    for (; k > 0 && compare(&keys->at[k - 1], &key) > 0; k--) keys->at[k] = keys->at[k - 1];
    keys->at[k] = key;
  }
}

void grad__keys_open(lua_State *L, int table, const char *what, grad_keys *keys) {
  table = lua_absindex(L, table);
  keys->count = count_keys(L, table, &keys->list);
  keys->at = keys->few;
  if (keys->list || keys->count <= GRAD_FEW_KEYS)
    lua_pushnil(L);
  else
    keys->at = lua_newuserdatauv(L, (size_t)keys->count * sizeof *keys->at, 0);
  if (keys->list) return;
  lua_pushnil(L);
  for (lua_Integer i = 0; lua_next(L, table); i++) {
    lua_pop(L, 1);
    read_key(L, &keys->at[i], what);
  }
  sort_keys(keys);
}

void grad__keys_push(lua_State *L, const grad_keys *keys, lua_Integer i) {
  if (keys->list) {
    lua_pushinteger(L, i + 1);
    return;
  }
  const grad_key *k = &keys->at[i];
  if (k->text)
    lua_pushlstring(L, k->text, k->length);
  else if (k->integer)
    lua_pushinteger(L, (lua_Integer)k->number);
  else
    lua_pushnumber(L, k->number);
}

/* --- walking */

static bool is_leaf(lua_State *L, int index) { return lua_type(L, index) == LUA_TNUMBER || grad__tensor_to(L, index); }

void grad__tree_enter(lua_State *L, int depth, const char *what) {
  enum { MAX_DEPTH = 100 };
  if (depth > MAX_DEPTH)
    grad__lua_error(L, "%s is nested more than %d deep: does a table contain itself?", what, MAX_DEPTH);
  luaL_checkstack(L, 12, "tables are nested too deep");
}

static lua_Integer flatten(lua_State *L, int index, int leaves, const char *what, lua_Integer found, int depth) {
  if (is_leaf(L, index)) {
    lua_pushvalue(L, index);
    lua_rawseti(L, leaves, found + 1);
    return found + 1;
  }
  if (!lua_istable(L, index)) return found;
  grad_keys keys;
  grad__tree_enter(L, depth, what);
  grad__keys_open(L, index, what, &keys);
  for (lua_Integer i = 0; i < keys.count; i++) {
    grad__keys_push(L, &keys, i);
    lua_rawget(L, index);
    found = flatten(L, lua_gettop(L), leaves, what, found, depth + 1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

lua_Integer grad__tree_flatten(lua_State *L, int index, int leaves, const char *what) {
  lua_Integer before = (lua_Integer)lua_rawlen(L, leaves);
  return flatten(L, lua_absindex(L, index), lua_absindex(L, leaves), what, before, 0) - before;
}

bool grad__tree_is_empty(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, "tables are nested too deep");
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (grad__tree_is_empty(L, -1)) continue;
    lua_pop(L, 2);
    return false;
  }
  return true;
}

static void build(lua_State *L, int like, int leaves, lua_Integer *next, grad_tree_rest rest, int depth) {
  if (is_leaf(L, like)) {
    if (lua_rawgeti(L, leaves, (*next)++) == LUA_TBOOLEAN) {
      lua_pop(L, 1);
      lua_pushnil(L);
    }
    return;
  }
  if (!lua_istable(L, like)) {
    if (rest == GRAD_TREE_KEEP)
      lua_pushvalue(L, like);
    else
      lua_pushnil(L);
    return;
  }
  grad_keys keys;
  grad__tree_enter(L, depth, "the structure");
  grad__keys_open(L, like, "the structure", &keys);
  lua_createtable(L, keys.list ? (int)keys.count : 0, keys.list ? 0 : (int)keys.count);
  int copy = lua_gettop(L);
  for (lua_Integer i = 0; i < keys.count; i++) {
    grad__keys_push(L, &keys, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, like);
    build(L, lua_gettop(L), leaves, next, rest, depth + 1);
    lua_remove(L, -2);
    lua_rawset(L, copy);
  }
  lua_remove(L, copy - 1);
  if (rest == GRAD_TREE_KEEP && lua_getmetatable(L, like)) lua_setmetatable(L, -2);
}

void grad__tree_build(lua_State *L, int like, int leaves, lua_Integer *next, grad_tree_rest rest) {
  build(L, lua_absindex(L, like), lua_absindex(L, leaves), next, rest, 0);
}

/* `path` is a string on the stack, which names what is compared: "the tangent.w". */
static void match(lua_State *L, int like, int index, const char *path, int depth) {
  if (is_leaf(L, like)) {
    if (!is_leaf(L, index))
      grad__lua_error(L, "%s must be a tensor or a number, got %s", path, luaL_typename(L, index));
    return;
  }
  if (!lua_istable(L, like)) return;
  if (!lua_istable(L, index))
    grad__lua_error(L, "%s must be a table, as its value is, got %s", path, luaL_typename(L, index));
  grad_keys keys;
  grad__tree_enter(L, depth, path);
  int top = lua_gettop(L);
  grad__keys_open(L, like, path, &keys);
  for (lua_Integer i = 0; i < keys.count; i++) {
    grad__keys_push(L, &keys, i);
    const char *inner = lua_pushfstring(L, "%s.%s", path, luaL_tolstring(L, -1, NULL));
    lua_remove(L, -2);
    lua_pushvalue(L, -2);
    lua_rawget(L, like);
    lua_pushvalue(L, -3);
    lua_rawget(L, index);
    match(L, top + 4, top + 5, inner, depth + 1);
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}

void grad__tree_match(lua_State *L, int like, int index, const char *what) {
  match(L, lua_absindex(L, like), lua_absindex(L, index), what, 0);
}

/* tree.h: nested tables of tensors and numbers, the structure of what transforms take and give.
 *
 * Leaves are tensors and numbers. Keys are visited in a fixed order: numbers ascending, then strings by their bytes.
 * Other values (strings, booleans, functions) are constants. */
#ifndef GRAD_LUA_TREE_H
#define GRAD_LUA_TREE_H

#include "lua/binding.h"

/* Appends the leaves of the value at `index` to the list at `leaves`; returns how many there were. Refuses tables that
 * contain themselves and keys that have no order. `what` names the value in messages. */
lua_Integer grad__tree_flatten(lua_State *L, int index, int leaves, const char *what);

typedef enum grad_tree_rest { GRAD_TREE_DROP, GRAD_TREE_KEEP } grad_tree_rest;
/* Pushes a copy of the structure at `like` with its leaves replaced by leaves[*next], leaves[*next + 1], ... (false:
 * left out) and moves *next on. KEEP: constants and metatables are copied too. */
void grad__tree_build(lua_State *L, int like, int leaves, lua_Integer *next, grad_tree_rest rest);

/* Raises unless the value at `index` has a leaf wherever `like` has one, under the same keys. `what` names it. */
void grad__tree_match(lua_State *L, int like, int index, const char *what);

/* The keys of a table in their order. Pushes one value, which holds them; push gives key i (from 0). */
typedef struct grad_keys grad_keys;
const grad_keys *grad__keys_open(lua_State *L, int table, const char *what, lua_Integer *count);
bool grad__keys_are_list(const grad_keys *keys); /* 1, 2, ..., or none */
void grad__keys_push(lua_State *L, const grad_keys *keys, lua_Integer i);

#endif

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

/* For walks of their own: raises for a table at a depth where only tables that contain themselves are; makes room on
 * the stack. */
void grad__tree_enter(lua_State *L, int depth, const char *what);

/* Is it a table of nothing but such tables? For a value that was flattened, so that it does not contain itself. */
bool grad__tree_is_empty(lua_State *L, int index);

typedef enum grad_tree_rest { GRAD_TREE_DROP, GRAD_TREE_KEEP } grad_tree_rest;
/* Pushes a copy of the structure at `like` with its leaves replaced by leaves[*next], leaves[*next + 1], ... (false:
 * left out) and moves *next on. KEEP: constants and metatables are copied too. */
void grad__tree_build(lua_State *L, int like, int leaves, lua_Integer *next, grad_tree_rest rest);

/* Raises unless the value at `index` has a leaf wherever `like` has one, under the same keys. `what` names it. */
void grad__tree_match(lua_State *L, int like, int index, const char *what);

/* The keys of a table in their order. open pushes one value, which holds them when they are many; push gives key i
 * (from 0). */
typedef struct grad_key {
  const char *text; /* NULL: a number; the table keeps the string alive */
  size_t length;
  double number;
  bool integer;
} grad_key;

enum { GRAD_FEW_KEYS = 8 };
typedef struct grad_keys {
  bool list; /* the keys are 1 .. count, which need not be read; so is the empty table's */
  lua_Integer count;
  grad_key *at, few[GRAD_FEW_KEYS];
} grad_keys;

void grad__keys_open(lua_State *L, int table, const char *what, grad_keys *keys);
void grad__keys_push(lua_State *L, const grad_keys *keys, lua_Integer i);

#endif

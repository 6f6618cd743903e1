/* jit_template.h: the structure of a list of Lua values, with places for leaves: nested tables, the tensors and numbers
 * in them, and other values as they are. A call of a jitted function is matched against the template of the arguments
 * that it was recorded with, and its results are made from the template of the recorded ones.
 *
 * Lua values that a template names (keys, metatables, values that are no leaves) stand in a list of references, which
 * its owner keeps: functions take its stack index. */
#ifndef GRAD_LUA_JIT_TEMPLATE_H
#define GRAD_LUA_JIT_TEMPLATE_H

#include "lua/binding.h"

typedef enum grad_node_kind {
  GRAD_NODE_TENSOR, /* a leaf of this dtype and shape */
  GRAD_NODE_NUMBER, /* a leaf: an integer where dtype is i64, else a float */
  GRAD_NODE_EXACT,  /* this value */
  GRAD_NODE_TABLE   /* followed by its entries */
} grad_node_kind;

typedef struct grad_node {
  uint8_t kind, dtype, ndim;
  bool donated;  /* TENSOR: the caller gives it away; see jit_donate.c */
  int32_t leaf;  /* TENSOR, NUMBER: which leaf of the template */
  int32_t at;    /* TENSOR: the shape's place in `extents`; EXACT: a reference; TABLE: that of the first key, the others
                    follow; 0: the keys are 1 .. count */
  int32_t count; /* TABLE: entries; TENSOR of a traced value: 1 when it is an argument as it was handed in */
  int32_t meta;  /* TABLE: the metatable's reference; 0: it has none */
} grad_node;

/* Nodes in the order of a walk that visits a table before its entries, these by their keys as in tree.h. */
typedef struct grad_template {
  grad_ctx *ctx;
  int32_t nvalues, nleaves;
  grad_node *nodes;
  int32_t nnodes, nodes_cap;
  int64_t *extents;
  int32_t nextents, extents_cap;
} grad_template;

/* What becomes a leaf: with `is_leaf` NULL every tensor and number, else the tensors for which it says so, which are
 * NUMBER leaves where they are weak. */
typedef bool (*grad_is_leaf)(lua_State *L, void *ud, int index);

/* Appends the value at `index` to the template. With `fixed` it has no leaves. Raises for tables that contain
 * themselves and keys without an order; `what` names the value. */
void grad__template_add(lua_State *L, grad_template *p, int references, int index, const char *what, bool fixed,
                        grad_is_leaf is_leaf, void *ud);
void grad__template_clear(grad_template *p);

/* Does the template fit the n values from stack index `first` on? Then it pushes one value a node. Otherwise nothing,
 * and why not, when `why` has room for GRAD_WHY bytes. Strings count by what they are, other values that are no leaves
 * by their identity. */
enum { GRAD_WHY = 256 };
bool grad__template_match(lua_State *L, const grad_template *p, int references, int first, int n, char *why);

/* Pushes the template's values, with what push_leaf pushes for a leaf; tables are new ones. */
typedef void (*grad_push_leaf)(lua_State *L, void *ud, const grad_node *node);
void grad__template_fill(lua_State *L, const grad_template *p, int references, grad_push_leaf push_leaf, void *ud);

/* Appends the value on top to the list of references, pops it, and returns its place. */
int32_t grad__reference_add(lua_State *L, int references);

#endif

/* index.h: what stands between the brackets of x[...], read from Lua and applied to values. */
#ifndef GRAD_LUA_INDEX_H
#define GRAD_LUA_INDEX_H

#include "lua/call.h"

typedef enum grad_pick_kind {
  GRAD_PICK_RANGE,    /* start, count, step along one axis */
  GRAD_PICK_ONE,      /* one position: the axis goes */
  GRAD_PICK_POSITIONS /* an i64 tensor in place of one axis, or a mask in place of `axes` axes */
} grad_pick_kind;

typedef struct grad_pick {
  grad_pick_kind kind;
  int axes;                   /* how many axes of x it stands for: 1, or the mask's */
  int64_t start, count, step; /* RANGE, ONE */
  int tensor;                 /* POSITIONS: stack index of positions from 1 */
} grad_pick;

typedef struct grad_index {
  int count;  /* picks; together they cover every axis of x */
  bool basic; /* no positions: a view */
  grad_pick pick[GRAD_MAX_AXES + 1];
} grad_index;

/* Reads the key at stack index `key` for a tensor x. Leaves tensors of positions on the stack. */
void grad__index_read(lua_State *L, const grad_array *x, int key, grad_index *out);
/* The header of a basic index. */
void grad__index_view(const grad_array *x, const grad_index *index, grad_array *out);
/* The picked part of a value. */
grad_id grad__index_get(grad_call *c, grad_id x, const grad_index *index);
/* x with the picked part replaced. */
grad_id grad__index_put(grad_call *c, grad_id x, const grad_index *index, grad_id value);

#endif

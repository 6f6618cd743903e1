/* jit_guard.h: what a recorded function took from outside of it: upvalues and globals, and fields of tables, of its own
 * and of the functions and tables that it reaches. Numbers among them are part of its program: when one has another
 * value at a later call, the program is not the right one. A tensor may be replaced by another of its dtype and shape.
 */
#ifndef GRAD_LUA_JIT_GUARD_H
#define GRAD_LUA_JIT_GUARD_H

#include "lua/jit/jit_template.h"

/* What tells a Lua value from others: its Lua type, and its bits or address. */
typedef struct grad_identity {
  int type;
  uint64_t bits;
} grad_identity;

typedef struct grad_guard {
  grad_identity key; /* of a field; of an upvalue: its number */
  grad_identity value;
  int32_t key_at, value_at; /* references */
  int32_t input;            /* the program's input that a tensor is; -1: none */
  bool replaceable;         /* a tensor that may be another one */
} grad_guard;

typedef enum grad_owner_kind {
  GRAD_OWNER_FUNCTION,
  GRAD_OWNER_TABLE, /* all of its fields are guarded, so that a new one is noticed */
  GRAD_OWNER_NAMED  /* a table of which only the guarded fields are looked at, missing ones too: globals, modules */
} grad_owner_kind;

typedef struct grad_owner {
  uint8_t kind;
  int32_t at, name_at;  /* references */
  int32_t first, count; /* its guards */
} grad_owner;

typedef struct grad_guards {
  grad_ctx *ctx;
  grad_owner *owners;
  int32_t nowners, owners_cap;
  grad_guard *guards;
  int32_t nguards, guards_cap;
  int32_t unguarded_at; /* reference to a list: the names of what is too much to be guarded */
} grad_guards;

/* Fills the guards of the function at `f`, and of functions among its arguments, as things are now. */
void grad__guards_make(lua_State *L, grad_guards *g, int references, int f, const grad_template *arguments);
/* Input `input` of the program is the captured tensor x. When it is reached in several ways it may not be replaced. */
void grad__guards_bind(grad_guards *g, const grad_tensor *x, int32_t input);
/* The tensor is used as the object that it is. */
void grad__guards_pin(grad_guards *g, const grad_tensor *x);
/* Is all as it was? inputs[k] is set to a tensor that has taken the place of another. Otherwise `why`, when it
 * has room for GRAD_WHY bytes, tells what has changed. */
bool grad__guards_check(lua_State *L, grad_guards *g, int references, const grad_array **inputs, char *why);
void grad__guards_clear(grad_guards *g);

#endif

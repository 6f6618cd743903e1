/* jit.h: the parts of gl.jit: signatures of calls, and guards of what a function captured. */
#ifndef GRAD_LUA_JIT_H
#define GRAD_LUA_JIT_H

#include "lua/binding.h"

/* Pushes the signature, a string, of the n arguments from stack index `first` on: equal for calls that may share a
 * program. Numbers count by their being numbers, unless their position is in the set at `fixed`; tensors by dtype and
 * shape; other values by what they are. Appends the leaves (not those of fixed arguments) to the list at `leaves`, and
 * objects that are known by their identity to the list at `anchors`. *traced tells whether a leaf is traced. */
void grad__jit_signature(lua_State *L, int first, int n, int fixed, int leaves, int anchors, bool *traced);

/* Pushes a list of the upvalues that the function at `f` reads, now: its own, those of functions among them, and the
 * plain fields of tables among them. */
void grad__jit_push_guards(lua_State *L, int f);
/* Do they all still have their values? Otherwise pushes the name of the first that has not. */
bool grad__jit_check_guards(lua_State *L, int guards);

#endif

/* transform.h: what transforms have in common: choosing arguments, calling the user's function on traced values, and
 * giving results the structure of what went in.
 *
 * A transform is a C closure: upvalue 3 is the user's function, upvalue 4 the chosen arguments (argnums), further ones
 * its own. It must be able to yield inside the user's function, so everything it needs after the call lies on its Lua
 * stack, at fixed places behind the n arguments. argnums: a list of positions; "all"; or, for a transform that does not
 * differentiate, "any": all arguments, of any dtype. */
#ifndef GRAD_LUA_TRANSFORM_H
#define GRAD_LUA_TRANSFORM_H

#include "lua/apply.h"
#include "lua/trace.h"
#include "lua/tree.h"

enum { GRAD_UP_FUNCTION = 3, GRAD_UP_ARGNUMS = 4, GRAD_UP_OWN = 5 };

/* Behind the n arguments: */
enum {
  GRAD_AT_TRACE = 1,  /* the trace */
  GRAD_AT_LEAVES = 2, /* list: the leaves of the chosen arguments, as given */
  GRAD_AT_RESULTS = 3 /* first result of the user's function */
};

/* The chosen arguments: pushes a list of positions from 1 for `argnums` at stack index `arg`: nil (1), a number, a
 * list, "all" (the string stays). Checks what can be known now. */
void grad__argnums_push(lua_State *L, int arg);
/* The same for transforms of one argument. */
void grad__argnum_push(lua_State *L, int arg);

/* Called with the n arguments on the stack: begins a trace, makes the leaves of the chosen arguments its first inputs
 * and calls the function; then `k` is called as a continuation with n as its context (directly when nothing yields).
 * staged_by, when not NULL: the name of a transform that records without values; what reads one raises. */
int grad__transform_call(lua_State *L, int n, const char *staged_by, lua_KFunction k);

/* The number of leaves, and flags: input i of the trace's program is a leaf. Pushes the buffer that holds the flags. */
lua_Integer grad__transform_nleaves(lua_State *L, int n);
const bool *grad__transform_wrt(lua_State *L, int n);

/* Names the first result as the program's output 0; it must be a 0-d float. */
void grad__transform_scalar_output(lua_State *L, int n);
/* Names the leaves of the first result as outputs; raises when there are none. Pushes the list of them; returns how
 * many. */
lua_Integer grad__transform_tree_output(lua_State *L, int n);
/* Names the traced leaves of the further results as outputs; pushes the list of all their leaves. */
void grad__transform_aux_output(lua_State *L, int n);
/* Pushes the further results, in which traced leaves of this transform are replaced by what outputs gave; `aux` is the
 * list that aux_output pushed, `outputs` that of apply, `first` (from 1) the place of the first of them there. Returns
 * their number. */
int grad__transform_push_aux(lua_State *L, int n, int aux, int outputs, lua_Integer first);

/* For each chosen argument pushes a value of its structure with leaves outputs[first], ...; numbers stay numbers.
 * Returns how many were pushed. */
int grad__transform_push_like_arguments(lua_State *L, int n, int outputs, lua_Integer first);
/* Replaces the value on top, a 0-d tensor, by what goes with `leaf` (stack index) when that is a number, or a value
 * made of numbers: a number, or a traced value that takes the dtype of what it meets. */
void grad__transform_match_leaf(lua_State *L, int leaf);

/* A continuation that returns all values above the `base` ones. */
int grad__transform_return_all(lua_State *L, int status, lua_KContext base);

/* For transforms that are called with the function and its arguments, which are on the stack: calls the closure made of
 * f for `argnums`, "all" or "any", and hands on what it gives. */
int grad__transform_call_at(lua_State *L, lua_CFunction f, const char *argnums);

/* A transform's program derived by the recipe, for the values it was recorded with: ends the trace, pushes the derived
 * program, the inputs, and the list of outputs; returns the stack index of that. */
int grad__transform_derive(lua_State *L, int n, const grad_recipe *recipe);

/* Pushes an empty text that is freed when a Lua error passes. */
grad_text *grad__text_push(lua_State *L);

/* Pushes a transform's closure: function at stack 1, argnums (or argnum) at stack 2. Returns 1. */
int grad__transform_push_closure(lua_State *L, lua_CFunction f, bool several);
void grad__transform_check_function(lua_State *L, int arg);

/* Pushes a function that takes the arguments of the function at stack index `function` and gives its sparse Jacobian in
 * argument `argnum` (from 1). */
void grad__sparse_push_closure(lua_State *L, int function, lua_Integer argnum);

#endif

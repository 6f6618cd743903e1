/* body.h: functions that become nested programs: branches, loop bodies, checkpointed functions, derivative rules. */
#ifndef GRAD_LUA_BODY_H
#define GRAD_LUA_BODY_H

#include "lua/call.h"

/* A closed program made from a Lua function (a userdata). Its inputs: the leaves of the arguments, then what the
 * function captured, numbers included. User values: the list of captured tensors; the results, which give their
 * structure; the list that tells which of their leaves are numbers. */
typedef struct grad_body {
  grad_program *p;
  int32_t nleaves, ncaptured;
} grad_body;
enum { GRAD_BODY_CAPTURED = 1, GRAD_BODY_RESULTS, GRAD_BODY_NUMBERS };

grad_body *grad__body_check(lua_State *L, int arg);

/* Pushes an empty box that owns the program put into it. */
grad_program **grad__program_box(lua_State *L);

/* A program with inputs of n given types that does what p does: input i of p is input at[i] of it. */
grad_status grad__program_wrap(const grad_program *p, int32_t n, const grad_type *types, const int32_t *at,
                               grad_program **out);

#endif

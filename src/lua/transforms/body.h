/* body.h: functions that become nested programs: branches, loop bodies, checkpointed functions, derivative rules. */
#ifndef GRAD_LUA_BODY_H
#define GRAD_LUA_BODY_H

#include "lua/apply.h"
#include "lua/call.h"
#include "lua/trace.h"

/* A closed program made from a Lua function (a userdata). Its inputs: the leaves of the arguments, then what the
 * function captured, numbers included, and among these the states of the generators that it draws from. A step of a
 * loop has, after the leaves of its first result, where these generators then stand. User values: the list of captured
 * tensors; the results, which give their structure; the list that tells which of their leaves are numbers; the
 * generators, false for the default one. */
typedef struct grad_body {
  grad_program *p;
  int32_t nleaves, ncaptured; /* captured: without the states */
  int ndrawn;
  grad_drawn drawn[GRAD_MOST_DRAWN];
} grad_body;
enum { GRAD_BODY_CAPTURED = 1, GRAD_BODY_RESULTS, GRAD_BODY_NUMBERS, GRAD_BODY_GENERATORS };

grad_body *grad__body_check(lua_State *L, int arg);

/* Which of the generators that p draws from has its state in input i; -1: none. */
int grad__body_generator(const grad_body *b, int32_t i);

/* A program with inputs of n given types that does what p does: input i of p is input at[i] of it. */
grad_status grad__program_wrap(const grad_program *p, int32_t n, const grad_type *types, const int32_t *at,
                               grad_program **out);

#endif

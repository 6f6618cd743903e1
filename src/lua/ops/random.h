/* random.h: generators, and draws that are recorded in a trace. */
#ifndef GRAD_LUA_RANDOM_H
#define GRAD_LUA_RANDOM_H

#include "lua/binding.h"

grad_generator *grad__generator_default(lua_State *L);

/* Pushes the states, one for each of `size` examples, from which each draws what a loop over the examples would have:
 * for generator k of a trace that has ended. Generators move on by all of it. */
void grad__generator_push_states(lua_State *L, const grad_trace *t, int k, int64_t size);

#endif

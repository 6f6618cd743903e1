/* random.h: generators, and draws that are recorded in a trace. */
#ifndef GRAD_LUA_RANDOM_H
#define GRAD_LUA_RANDOM_H

#include "lua/binding.h"

grad_generator *grad__generator_default(lua_State *L);

/* Pushes the states, one for each of `size` examples, from which each draws what a loop over the examples would have:
 * for generator k of a trace that has ended. Generators move on by all of it. */
void grad__generator_push_states(lua_State *L, const grad_trace *t, int k, int64_t size);

/* For instructions with nested programs that draw. Both push a state, as a value of the trace that draws are recorded
 * in now or as a concrete tensor; `index`: the generator's stack index (0: the default one). push_state: where the
 * generator stands, which then is to be moved on by what the nested program drew. push_stream: the beginning of a
 * stream of its own, for programs of which is not known how much they draw; the generator moves on by a block. */
void grad__generator_push_state(lua_State *L, grad_generator *g, int index);
void grad__generator_push_stream(lua_State *L, grad_generator *g, int index);
void grad__generator_move(lua_State *L, grad_generator *g, int64_t blocks);

#endif

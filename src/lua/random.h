/* random.h: generators, and draws that are recorded in a trace. */
#ifndef GRAD_LUA_RANDOM_H
#define GRAD_LUA_RANDOM_H

#include "lua/binding.h"

grad_generator *grad__generator_default(lua_State *L);

/* The newest live trace of this thread that records draws from the generator, or NULL: they run at once, as they do for
 * a generator that the traced function makes anew at every call. Raises inside a staged loop body begun since then,
 * which cannot draw. */
grad_trace *grad__trace_drawing(lua_State *L, const grad_generator *generator);

/* The input of the trace's program that stands for the generator's state, made on first use; `index`: the generator's
 * stack index (0: the default one). *offset: the blocks drawn from it in the trace so far. */
grad_id grad__trace_generator(lua_State *L, grad_trace *t, grad_generator *generator, int index, int64_t *offset);
/* The trace has drawn further blocks from it. */
void grad__trace_draw(grad_trace *t, const grad_generator *generator, int64_t blocks);

/* Pushes the states, one for each of `size` examples, from which each draws what a loop over the examples would have:
 * for generator k of a trace that has ended. Generators move on by all of it. */
void grad__generator_push_states(lua_State *L, const grad_trace *t, int k, int64_t size);

#endif

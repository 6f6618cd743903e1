/* apply.h: running a derived program on Lua's tensors, or recording it in an outer trace. */
#ifndef GRAD_LUA_APPLY_H
#define GRAD_LUA_APPLY_H

#include "fn/cache.h"
#include "lua/binding.h"

/* A userdata that owns a reference to an entry of the plan cache; it outlives the transform in pullbacks and the like.
 */
typedef struct grad_derived {
  grad_cached *entry;
  double *scalars; /* the numbers that the trace met */
  int32_t nscalars;
} grad_derived;

/* Pushes the entry for the trace's program under the recipe. Outputs must have been named; the trace ends here. */
grad_derived *grad__derived_push(lua_State *L, grad_trace *t, const grad_recipe *recipe);

/* Pushes the list of what the inputs of the trace's program stand for, as tensors. */
void grad__trace_push_inputs(lua_State *L, grad_trace *t);

/* Runs part `part` on the list of tensors (or numbers, for 0-d inputs) at stack index `inputs`, or, when one of them is
 * traced, records it in the newest trace among them. Pushes the list of its outputs. */
void grad__derived_apply(lua_State *L, const grad_derived *d, int part, int inputs);

/* Pushes a tensor for an output of this type, with memory unless an extent is known only when the program runs. */
void grad__output_push(lua_State *L, const grad_type *type);

#endif

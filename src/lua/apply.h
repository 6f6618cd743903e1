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

/* A plain number as an input or output of a program: an i64, or else f64. */
typedef union grad_plain {
  double f64;
  int64_t i64;
} grad_plain;

static inline void grad__plain_read(lua_State *L, int index, grad_dtype dtype, grad_plain *out) {
  if (dtype == GRAD_I64)
    out->i64 = lua_tointeger(L, index);
  else
    out->f64 = lua_tonumber(L, index);
}

/* Pushes the entry for the trace's program under the recipe. Outputs must have been named; the trace ends here. */
grad_derived *grad__derived_push(lua_State *L, grad_trace *t, const grad_recipe *recipe);

/* Names the tensor or number at `index` as an output of the trace's program. */
void grad__trace_output(lua_State *L, grad_trace *t, int index);
/* Names every leaf of the values from stack index `first` to `last` as an output of the trace's program, and pushes the
 * list of these leaves; `what` is what messages call such a value. */
void grad__trace_push_outputs(lua_State *L, grad_trace *t, int first, int last, const char *what);

/* An empty box that owns the program put into it. */
grad_program **grad__program_box(lua_State *L);

/* Pushes the list of what the inputs of the trace's program stand for, as tensors. */
void grad__trace_push_inputs(lua_State *L, grad_trace *t);

/* Runs part `part` on the list of tensors (or numbers, for 0-d inputs) at stack index `inputs`, or, when one of them is
 * traced, records it in the newest trace among them. Pushes the list of its outputs. */
void grad__derived_apply(lua_State *L, const grad_derived *d, int part, int inputs);

/* Pushes a tensor for an output of this type, with memory unless an extent is known only when the program runs. */
void grad__output_push(lua_State *L, const grad_type *type);

#endif

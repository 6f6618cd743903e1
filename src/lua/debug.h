/* debug.h: gl.debug: where the first NaN or Inf comes from. */
#ifndef GRAD_LUA_DEBUG_H
#define GRAD_LUA_DEBUG_H

#include "lua/binding.h"

/* Evaluates p instruction by instruction. Raises when an output has NaN or Inf that an instruction made from finite
 * values, naming it; warns when only a branch of `where` that was not taken has. `stage` says which program it is: "in
 * the value", "in the derivative". */
void grad__debug_run(lua_State *L, grad_program *p, const grad_array *const *in, const double *scalars,
                     const char *stage);

#endif

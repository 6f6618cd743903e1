/* function.h: grad.h's functions, seen by the embedding of Lua: some of their inputs may be given once for all. */
#ifndef GRAD_API_FUNCTION_H
#define GRAD_API_FUNCTION_H

#include "exec/exec.h"

/* grad__function_new: a plan for p. bound (NULL: nothing is) has a header for each input: one with data is given at each
 * run by the function itself, from a row-major copy that is made here; an empty one (dtype and shape do not matter) stays an
 * input, in its order. scalars: p->nscalars numbers, copied. */
grad_status grad__function_new(grad_program *p, const grad_array *bound, const double *scalars, grad_function **out);

#endif

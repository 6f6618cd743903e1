/* callbacks.h: calling Lua from the core's solvers, whose callbacks work on vectors of doubles. Nothing raises through
 * the core: the error object is kept and raised once the core has returned. */
#ifndef GRADLUA_CALLBACKS_H
#define GRADLUA_CALLBACKS_H

#include "lua/binding.h"
#include "optim/minimize.h"

/* A table of Lua functions by name, on the stack of the C function that runs the solver. */
typedef struct grad_callbacks {
  lua_State *L;
  grad_ctx *ctx;
  int table, error; /* stack indices: the table; the error object that a callback raised */
  bool raised;
} grad_callbacks;

/* One call. Arguments: x, then v when there is one; or `info` alone. Results: a number, then an array. */
typedef struct grad_request {
  const char *name;
  int64_t n; /* of x and v */
  const double *x, *v;
  double *number;
  double *array;              /* row-major */
  int64_t rows, columns;      /* of the array; columns 0: a vector */
  const grad_step_info *info; /* on_step: a true result goes to *stop; in full where the table has watched = true */
  bool *stop;
} grad_request;

/* Makes a table of callbacks callable; once. */
void grad__callbacks_prepare(lua_State *L, int table);
/* Before the solver runs; pushes one value, which stays. */
void grad__callbacks_begin(lua_State *L, int table, grad_callbacks *callbacks);
/* After it: raises what a callback raised, else what the core failed with. */
void grad__callbacks_end(lua_State *L, grad_callbacks *callbacks, grad_status status);
/* GRAD_ECALLBACK when the function raised. */
grad_status grad__callbacks_call(grad_callbacks *callbacks, grad_request *request);

void grad__push_vector(lua_State *L, const double *data, int64_t n);
void grad__push_counts(lua_State *L, const grad_counts *counts);

#endif

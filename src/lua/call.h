/* call.h: functions made by a builder: one implementation for concrete tensors and for traced ones.
 *
 * A builder reads its arguments, emits instructions into `p`, and names the results. When an argument is traced, `p` is
 * the program of the newest trace among them and that is all. Otherwise `p` is a small program of its own, whose inputs
 * are the concrete arguments; it is run when the builder returns.
 */
#ifndef GRAD_LUA_CALL_H
#define GRAD_LUA_CALL_H

#include "lua/binding.h"

typedef struct grad_call_input {
  const grad_array *array;
  int owner; /* stack index of the tensor, 0 when it is not an argument of its own */
} grad_call_input;

struct grad_call {
  lua_State *L;
  grad_lua *g;
  grad_trace *trace;     /* NULL: eager */
  grad_program *p, *own; /* p: the trace's, or the call's own */
  int nargs;             /* arguments, the options left out */
  int options;           /* stack index of the table of options, or 0 */
  bool views;            /* results may share memory with arguments */
  bool busy;
  bool finalized;      /* still used by other finalizers, but what it takes it gives back at once */
  grad_call_input *in; /* eager: what the program's inputs are */
  int32_t nin, in_cap;
  double *scalars;
  int32_t scalars_cap;
  grad_id *out; /* results */
  int32_t nout, out_cap;
  bool list; /* the results come back as one Lua list */
};

/* For C functions that build without a row of their own: begin with the arguments as they are on the stack, build, then
 * finish: pushes the results and returns their number. Pushes one value (the call), which stays. */
grad_call *grad__call_begin(lua_State *L);
int grad__call_finish(grad_call *c);
/* Begins a call that is recorded in this trace whatever its arguments are. */
grad_call *grad__call_begin_in(lua_State *L, grad_trace *trace);

/* The value of an argument: a tensor, or a number (f64 unless `like` is a value whose dtype it adopts). */
grad_id grad__call_tensor(grad_call *c, int arg, const char *what);
grad_id grad__call_value(grad_call *c, int arg, const char *what);
/* The same; a concrete tensor whose axes lie in memory in another order, without gaps, is a `permute` of its memory in
 * row order, which reductions need not undo. May leave a value on the Lua stack. */
grad_id grad__call_dense(grad_call *c, int arg, const char *what);
grad_id grad__call_value_like(grad_call *c, int arg, const char *what, grad_id like);
/* A number that came from Lua, as a value: not part of the program. */
grad_id grad__call_number(grad_call *c, double value, grad_dtype dtype);
/* The same for the number or boolean at stack `index`, next to a tensor of dtype `around`; integers are exact. */
grad_id grad__call_lua_number(grad_call *c, int index, grad_dtype around);
/* Makes a further array an input of the eager program, or a capture of the trace: the tensor at stack `index`. */
grad_id grad__call_capture(grad_call *c, int index);
/* A list of tensors; the ids are in memory that lives as long as the call. */
int grad__call_list(grad_call *c, int arg, const char *what, grad_id **ids);
void grad__call_return(grad_call *c, grad_id id);
/* The dtype of a Lua number next to a tensor of dtype `other`: that dtype when it can hold the number. */
grad_dtype grad__number_dtype(lua_State *L, int index, grad_dtype other);

/* Raises what went wrong when the value could not be made. */
static inline const grad_type *grad__call_type(const grad_call *c, grad_id id) {
  if (id == GRAD_NONE) grad__lua_check(c->L, c->p->status);
  return grad__type(c->p, id);
}

#endif

/* trace.h: recording operations on traced tensors into a program.
 *
 * A trace is a userdata that owns a program. A traced tensor names its trace by serial number, so that a value that
 * outlives its trace is recognised. An operation is recorded in the newest trace among its operands; the other operands
 * become inputs of that trace's program, each bound to what it stands for.
 */
#ifndef GRAD_LUA_TRACE_H
#define GRAD_LUA_TRACE_H

#include "lua/binding.h"

/* What an input of the program stands for. */
typedef enum grad_binding_kind {
  GRAD_BOUND_OPEN,  /* given at each run: no value while tracing (vmap, jit, loop bodies) */
  GRAD_BOUND_ARRAY, /* a concrete array */
  GRAD_BOUND_VALUE  /* a value of an older trace */
} grad_binding_kind;

typedef struct grad_binding {
  grad_binding_kind kind;
  bool owned;       /* `array` holds a reference of its own: a copy made before the tensor changed */
  grad_array array; /* ARRAY: the tensor itself is kept alive by the trace's table of captures */
  uint64_t serial;  /* VALUE */
  int32_t slot;
  grad_id id;
} grad_binding;

/* A generator whose draws are recorded. */
typedef struct grad_drawn {
  grad_generator *generator; /* kept alive by the table of captures */
  grad_id state;             /* an input of the program */
  int32_t input;             /* which */
  int64_t blocks;            /* drawn in one run */
} grad_drawn;

enum { GRAD_MOST_DRAWN = 8 };

struct grad_trace {
  grad_lua *g;
  grad_program *p;
  uint64_t serial; /* 0 when ended */
  int32_t slot;
  int captures;      /* reference to a Lua table: captures[tensor or its name] = id; captures[i] = input i (from 1) */
  lua_State *thread; /* in which it was begun; its user value keeps it alive */
  bool persistent;   /* a jitted function: the program will run again, so draws are recorded, and so is every
                        operation on a tensor from outside of it */
  bool lazy;         /* a branch, which may not be taken: operations on older traced values are recorded in it */
  bool changed;      /* a tensor from outside of it changed after it was captured */
  bool draws;        /* draws are recorded in it though it runs once: each example of vmap has its own, and so has each
                        step of a loop */
  const char *no_draws; /* why there can be no draws in it; NULL: there can */
  grad_drawn drawn[GRAD_MOST_DRAWN];
  int ndrawn;
  const char *staged_by; /* "jit", "vmap", ...: numbers cannot be read; NULL: they can */
  grad_binding *inputs;  /* one for each input of p */
  int32_t ninputs, inputs_cap;
  double *scalars; /* p->nscalars numbers */
  int32_t scalars_cap;
  const char *where_source; /* the line that was marked last: its chunk, number, and index in the program */
  int where_line;
  int32_t where;
  grad_array *known; /* values evaluated so far, by id; for numbers asked for while tracing */
  int32_t nknown;
};

/* Pushes a new live trace, marked to be closed: it ends when the running C function returns or fails. */
grad_trace *grad__trace_begin(lua_State *L, const char *staged_by);
/* Its values can no longer be used; program and bindings stay until the userdata goes. */
void grad__trace_end(grad_trace *t);

/* A new input of the trace's program. The first two keep the stack as it was: the value at `index` is a concrete or
 * older tensor (kept alive), or a number. Equal captures share an input, arguments never do. */
grad_id grad__trace_argument(lua_State *L, grad_trace *t, int index);
grad_id grad__trace_lift(lua_State *L, grad_trace *t, int index, grad_dtype number_dtype);
grad_id grad__trace_open_input(lua_State *L, grad_trace *t, grad_dtype dtype, int ndim, const int64_t *shape);
/* A Lua number as a 0-d value: a constant for 0, 1, -1, 2, 0.5, else a scalar of the program. */
grad_id grad__trace_number(lua_State *L, grad_trace *t, double value, grad_dtype dtype);

/* Appends numbers to the trace's, for a program that is about to be inlined with fresh scalars. */
void grad__trace_add_scalars(lua_State *L, grad_trace *t, int32_t n, const double *scalars);

/* Instructions recorded from now on are of the line that runs now. It costs about as much as recording an elementwise
 * instruction, so these have no line unless gl.debug is on: they hardly ever fail when a program runs. */
void grad__trace_mark_line(lua_State *L, grad_trace *t);

/* Pushes what input i stands for, as a tensor (nil for an open one). */
void grad__trace_push_input(lua_State *L, const grad_trace *t, int32_t i);

/* The live trace of a traced tensor; raises when it has ended. */
grad_trace *grad__trace_of(lua_State *L, const grad_tensor *t);
/* The function being recorded will run again without Lua: its trace becomes persistent. */
void grad__trace_persist(grad_trace *t);
void grad__trace_make_lazy(grad_trace *t);
bool grad__trace_is_recording(lua_State *L); /* is there such a trace in this thread? */
/* Was the concrete tensor x made before the trace began? */
bool grad__trace_is_outside(const grad_trace *t, const grad_tensor *x);
/* The trace that an operation on x is recorded in: a traced value's own (raises when it has ended), or that of a branch
 * begun since then; for a concrete
 * tensor from outside of a function that is recorded for later runs, that function's: the tensor may then hold other
 * numbers. NULL: none, the operation runs at once. */
grad_trace *grad__trace_for(lua_State *L, const grad_tensor *x);
/* The newer of `newest` (may be NULL) and the trace for the value at `index`. */
grad_trace *grad__trace_newer(lua_State *L, grad_trace *newest, int index);
/* Pushes the tensor of a value. Raises when id is GRAD_NONE, with the program's failure, which is forgotten. */
void grad__trace_push(lua_State *L, grad_trace *t, grad_id id);
/* Pushes a new tensor for the one at `index` as a value of the trace that an operation on it is recorded in, and
 * returns that; NULL, and nothing pushed, when there is none. */
grad_trace *grad__trace_push_lifted(lua_State *L, int index);
/* The same as push for a value that was made of plain numbers only. */
void grad__trace_push_weak(lua_State *L, grad_trace *t, grad_id id);
/* The same for an input that stands for an argument: a result that is this very tensor is the argument. */
void grad__trace_push_argument(lua_State *L, grad_trace *t, grad_id id);

/* Is the value at `index` a number, or one that became a traced value? */
bool grad__trace_is_number(lua_State *L, int index);

/* Numbers become tensors as f64, integers too. These two do so to an integer that became a traced value (an argument of
 * gl.jit, the count of gl.fori): the first is grad__trace_lift otherwise, the second pushes the value at `index`. */
grad_id grad__trace_lift_float(lua_State *L, grad_trace *t, int index);
void grad__trace_push_float(lua_State *L, int index);

/* The value of a traced tensor, evaluated now. Raises for staged traces, saying what to use instead of `doing`. */
const grad_array *grad__trace_evaluate(lua_State *L, const grad_tensor *t, const char *doing);
/* The header to read: the tensor's own, or the evaluated one. */
const grad_array *grad__trace_read(lua_State *L, const grad_tensor *t, const char *doing);

/* Called before the memory of `array` is changed: live traces that captured any of it get their own copy first. */
void grad__trace_preserve(lua_State *L, const grad_array *array);

/* The newest live trace of this thread that records draws from the generator, or NULL: they run at once, as they do for
 * a generator that the traced function makes anew at every call. Raises where that trace cannot have draws. */
grad_trace *grad__trace_drawing(lua_State *L, const grad_generator *generator);

/* The input of the trace's program that stands for the generator's state, made on first use; `index`: the generator's
 * stack index (0: the default one). *offset: the blocks drawn from it in the trace so far. */
grad_id grad__trace_generator(lua_State *L, grad_trace *t, grad_generator *generator, int index, int64_t *offset);
/* The trace has drawn further blocks from it. */
void grad__trace_draw(grad_trace *t, const grad_generator *generator, int64_t blocks);

#endif

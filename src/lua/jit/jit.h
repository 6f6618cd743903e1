/* jit.h: the parts of gl.jit. A jitted function has entries; an entry is a recorded program together with what a call
 * must be like for it, and what its results are made of. */
#ifndef GRAD_LUA_JIT_H
#define GRAD_LUA_JIT_H

#include "lua/apply.h"
#include "lua/jit/jit_guard.h"
#include "lua/jit/jit_template.h"
#include "lua/ops/random.h"
#include "lua/trace.h"

/* Is the value at `index` a jitted function? Then push_function pushes the function that it is of. */
bool grad__jit_is(lua_State *L, int index);
bool grad__jit_push_function(lua_State *L, int index);

/* What came of donated arguments. */
typedef struct grad_donations {
  lua_Integer tensors; /* that were given away */
  lua_Integer reused;  /* of them: their memory became a result's */
} grad_donations;

/* A userdata. Its user value is the list of references: Lua values that keep alive what is pointed to, and those that
 * the templates and the guards name. */
typedef struct grad_jit_entry {
  grad_lua *g;      /* NULL once it is finalized */
  grad_arena arena; /* of the arrays below */
  grad_template arguments, results;
  grad_guards guards;
  const grad_derived *derived;
  int32_t ninputs, noutputs; /* inputs: the leaves of the arguments, then captured tensors and generators' states */
  const grad_array **in;
  grad_array *wrapped; /* inputs that are numbers or states */
  grad_plain *numbers; /* those numbers */
  grad_array *out;
  grad_plain *values; /* outputs that go back as plain numbers */
  bool *plain;        /* which outputs do */
  int32_t *passed; /* by output: 1 + the node of the argument that it is, which is handed back itself; 0: it is none */
  int ndrawn;
  grad_drawn drawn[GRAD_MOST_DRAWN];
  int64_t states[GRAD_MOST_DRAWN][2];
  bool running;
  /* donated arguments: jit_donate.c */
  bool donates;
  bool passes; /* a result is an argument that is handed back */
  bool giving; /* in this call */
  bool *lent;  /* by output: it has the memory of an input */
  int32_t donor;
  grad_donations *donations; /* the jitted function's */
} grad_jit_entry;

/* Pushes a new entry, then its references. */
grad_jit_entry *grad__jit_entry_push(lua_State *L);
/* Ends the trace, whose outputs are named in the order of the results' leaves, and takes from it what a run needs. */
void grad__jit_entry_take(lua_State *L, grad_jit_entry *e, int references, grad_trace *t);
/* Runs the entry with the values of the arguments' nodes from stack index `nodes` on; pushes the results and returns
 * how many. */
int grad__jit_entry_run(lua_State *L, grad_jit_entry *e, int references, int nodes);
/* The same for an entry with inputs from older traces: t is its trace, and what they are. */
int grad__jit_entry_run_once(lua_State *L, grad_jit_entry *e, int references, int nodes, const grad_trace *t);

/* jit_donate.c. Tensors among the nodes from `first_node` on are donated, except for those that are handed back. */
void grad__donations_mark(grad_jit_entry *e, int32_t first_node);
/* Pushes the flags of inputs whose memory is worth to be taken, for the recipe; returns NULL when nothing is donated.
 */
const bool *grad__donations_push_flags(lua_State *L, grad_jit_entry *e, const grad_program *p);
/* The input whose memory the output may take, so that it needs none; -1: none. */
int32_t grad__donations_source(const grad_jit_entry *e, int32_t output);
/* Raises when a captured tensor was given away. */
void grad__donations_check(lua_State *L, const grad_jit_entry *e);
/* Around a run: outputs get the memory of inputs, with a reference to it; when the run failed they lose it; when it did
 * not, the donated arguments do, whose nodes stand from stack index `nodes` on. None of them raises. */
void grad__donations_lend(lua_State *L, grad_jit_entry *e);
void grad__donations_take_back(grad_jit_entry *e);
void grad__donations_end(lua_State *L, grad_jit_entry *e, int nodes);

/* jit_check.c: raises unless the n values from stack index `a` on are those from `b` on, up to rounding. */
void grad__jit_compare(lua_State *L, int a, int b, int n);

#endif

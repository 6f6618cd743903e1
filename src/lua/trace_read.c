/* trace_read.c: numbers asked for in the middle of a trace: what was recorded so far is evaluated there and then. */
#include <string.h>

#include "exec/exec.h"
#include "lua/trace.h"

static const char *remedy(const char *staged_by, const char *doing) {
  if (strstr(doing, "[mask]")) return "gl.where(mask, x, 0) keeps the shape, x:put(mask, value) replaces elements";
  if (strstr(doing, " < ") || strstr(doing, " <= "))
    return "gl.lt(a, b) and its like give a mask, for gl.where, gl.cond and the test of gl.while_loop";
  if (strcmp(staged_by, "vmap") == 0) return "gl.where(mask, a, b) or gl.cond chooses per example";
  return "gl.where, gl.cond or gl.while_loop depend on values when the program runs";
}

static void not_known(lua_State *L, const grad_trace *t, const char *doing) {
  grad__lua_error(L, "%s needs a number, but inside gl.%s values are not known while the function is recorded: %s%s",
                  doing, t->staged_by, remedy(t->staged_by, doing),
                  t->persistent ? "; {static = ...} names the arguments that are constants" : "");
}

static const grad_array *evaluate(lua_State *L, grad_trace *t, grad_id id, const char *doing);

/* Headers of known values have their own reference, as grad__direct_partial expects. */
static void know(grad_array *known, const grad_array *value) {
  *known = *value;
  grad__array_retain(known);
}

static void know_arrays(grad_trace *t) {
  for (int32_t k = 0; k < t->ninputs && !t->persistent; k++) {
    grad_array *known = &t->known[t->p->inputs[k]];
    if (t->inputs[k].kind == GRAD_BOUND_ARRAY && !known->data) know(known, &t->inputs[k].array);
  }
}

/* Values of older traces are evaluated there, but only those that `id` depends on: others may have no value. */
static void know_outer_values(lua_State *L, grad_trace *t, grad_id id, const char *doing) {
  bool *needed = lua_newuserdatauv(L, (size_t)t->p->nvalues, 0);
  memset(needed, 0, (size_t)t->p->nvalues);
  needed[id] = true;
  for (int32_t i = t->p->ninstrs - 1; i >= 0; i--) {
    const grad_instr *ins = &t->p->instrs[i];
    bool wanted = false;
    for (int k = 0; k < ins->nout; k++) wanted = wanted || (needed[ins->out + k] && !t->known[ins->out + k].data);
    for (int k = 0; wanted && k < ins->nin; k++) needed[ins->in[k]] = true;
  }
  for (int32_t k = 0; k < t->ninputs; k++) {
    const grad_binding *b = &t->inputs[k];
    if (b->kind != GRAD_BOUND_VALUE || !needed[t->p->inputs[k]] || t->known[t->p->inputs[k]].data) continue;
    const grad_tensor outer = {.serial = b->serial, .slot = b->slot};
    know(&t->known[t->p->inputs[k]], evaluate(L, grad__trace_of(L, &outer), b->id, doing));
  }
  lua_pop(L, 1);
}

static const grad_array *evaluate(lua_State *L, grad_trace *t, grad_id id, const char *doing) {
  t->known = grad__lua_grow(L, t->g->ctx, t->known, t->p->nvalues, &t->nknown, sizeof *t->known);
  know_arrays(t);
  grad_status status = grad__direct_partial(t->p, id, t->known, t->scalars);
  if (status == GRAD_EVALUE) { /* an input has no value yet */
    know_outer_values(L, t, id, doing);
    status = grad__direct_partial(t->p, id, t->known, t->scalars);
  }
  if (status == GRAD_EVALUE && t->staged_by) not_known(L, t, doing);
  grad__lua_check(L, status);
  return &t->known[id];
}

const grad_array *grad__trace_evaluate(lua_State *L, const grad_tensor *x, const char *doing) {
  return evaluate(L, grad__trace_of(L, x), x->id, doing);
}

const grad_array *grad__trace_read(lua_State *L, const grad_tensor *x, const char *doing) {
  if (grad__tensor_is_traced(x)) return grad__trace_evaluate(L, x, doing);
  const grad_trace *t = grad__trace_for(L, x);
  if (t) not_known(L, t, doing);
  return &x->array;
}

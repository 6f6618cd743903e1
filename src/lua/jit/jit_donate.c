/* jit_donate.c: arguments of a jitted function that its caller gives away (option donate). Results take the memory of
 * the large ones where the plan allows it (exec/reuse.c) and nobody else has it; the others' memory is given back at
 * once, without waiting for the collector.
 *
 * A call that fails has changed nothing. After a call that succeeded the donated tensors are gone, whatever became of
 * their memory, so that it does not depend on who else has it whether a script is right. Views keep what they show. */
#include <string.h>

#include "lua/jit/jit.h"

static int64_t bytes_of(const grad_array *a) { return grad__array_numel(a) * (int64_t)grad__dtype_size(a->dtype); }

void grad__donations_mark(grad_jit_entry *e, int32_t first_node) {
  for (int32_t k = first_node; k < e->arguments.nnodes; k++)
    e->arguments.nodes[k].donated = e->arguments.nodes[k].kind == GRAD_NODE_TENSOR;
}

/* Does the call hand the argument back itself? */
static bool is_passed(const grad_jit_entry *e, int32_t node) {
  for (int32_t k = 0; k < e->noutputs; k++)
    if (e->passed[k] == 1 + node) return true;
  return false;
}

const bool *grad__donations_push_flags(lua_State *L, grad_jit_entry *e, const grad_program *p) {
  bool *flags = lua_newuserdatauv(L, (size_t)e->ninputs + 1, 0);
  memset(flags, 0, (size_t)e->ninputs + 1);
  e->donates = e->passes = false;
  for (int32_t k = 0; k < e->noutputs; k++) e->passes = e->passes || e->passed[k];
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    grad_node *node = &e->arguments.nodes[k];
    node->donated = node->donated && !(e->passes && is_passed(e, k));
    if (!node->donated) continue;
    const grad_type *type = grad__type(p, p->inputs[node->leaf]);
    flags[node->leaf] = grad__type_numel(type) * (int64_t)grad__dtype_size(type->dtype) > GRAD_INLINE;
    e->donates = true;
  }
  return e->donates ? flags : NULL;
}

int32_t grad__donations_source(const grad_jit_entry *e, int32_t output) {
  const grad_plan *plan = e->donates ? grad__cached_plan(e->derived->entry, 0) : NULL;
  return plan && !e->passed[output] ? grad__plan_reuses(plan, output) : -1;
}

void grad__donations_check(lua_State *L, const grad_jit_entry *e) {
  for (int32_t i = e->arguments.nleaves; e->g->meta_donated && i < e->ninputs; i++) {
    if (e->in[i]->data || grad__array_numel(e->in[i]) == 0) continue;
    grad__tensor_raise_donated(L, (const grad_tensor *)(const void *)e->in[i]);
  }
}

/* Lua answers -1 there; before 5.4.4, that its collector is stopped, as when the user stopped it. */
static bool is_finalizing(lua_State *L) {
  const int running = lua_gc(L, LUA_GCISRUNNING);
  return running < 0 || (running == 0 && LUA_VERSION_RELEASE_NUM < 50404);
}

/* Somebody may wait for the end of this call with arrays in hand: a transform that has captured them, a solver, a
 * kernel of the host's, or, while a finalizer runs, any function. */
static bool may_give_away(lua_State *L, const grad_lua *g) {
  return g->live_traces == 0 && g->ctx->calls_out == 0 && !is_finalizing(L);
}

/* Counts the inputs among the users of their memory. */
static void count_users(const grad_jit_entry *e, int by) {
  for (int32_t i = 0; i < e->ninputs; i++)
    if (e->in[i]->storage) e->in[i]->storage->refs += by;
}

/* Is the memory this one input's, all of it, and of nobody else? */
static bool is_sole_user(const grad_array *a) {
  const grad_storage *s = a->storage;
  return s && s->refs == 2 && !s->release && !s->readonly && a->data == s->data && bytes_of(a) == (int64_t)s->bytes &&
         grad__array_is_contiguous(a);
}

void grad__donations_lend(lua_State *L, grad_jit_entry *e) {
  if (!e->donates) return;
  memset(e->lent, 0, (size_t)e->noutputs * sizeof *e->lent);
  e->giving = may_give_away(L, e->g);
  if (!e->giving) return;
  const grad_program *p = grad__cached_program(e->derived->entry, 0);
  count_users(e, 1);
  for (int32_t k = 0; k < e->noutputs; k++) {
    const int32_t source = grad__donations_source(e, k);
    if (source < 0 || e->out[k].data || !is_sole_user(e->in[source])) continue;
    const grad_type *type = grad__type(p, p->outputs[k]);
    grad__array_wrap(&e->out[k], e->in[source]->data, type->dtype, type->ndim, type->shape);
    e->out[k].storage = e->in[source]->storage;
    grad__array_retain(&e->out[k]);
    e->lent[k] = true;
  }
  count_users(e, -1);
}

void grad__donations_take_back(grad_jit_entry *e) {
  for (int32_t k = 0; k < e->noutputs; k++)
    if (e->lent[k]) grad__array_release(&e->out[k]);
}

/* A tensor that is given twice may be handed back in its other place. */
static bool is_result(lua_State *L, const grad_jit_entry *e, int nodes, const void *x) {
  for (int32_t k = 0; k < e->noutputs; k++)
    if (e->passed[k] && lua_touserdata(L, nodes + e->passed[k] - 1) == x) return true;
  return false;
}

void grad__donations_end(lua_State *L, grad_jit_entry *e, int nodes) {
  if (!e->giving) return;
  for (int32_t k = 0; k < e->noutputs; k++) e->donations->reused += e->lent[k];
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    if (!e->arguments.nodes[k].donated) continue;
    const grad_tensor *x = lua_touserdata(L, nodes + k);
    if (e->passes && is_result(L, e, nodes, x)) continue;
    e->donations->tensors++;
    grad__tensor_give_away(L, nodes + k, e->donor);
  }
}

/* jit_entry.c: a recorded program with what it takes to run it without Lua: its inputs are gathered from the arguments,
 * the results are made from its outputs. */
#include <string.h>

#include "lua/debug.h"
#include "lua/jit/jit.h"

static const char name[] = "gradlua.jit.entry";

static void *allocate(lua_State *L, grad_jit_entry *e, int32_t n, size_t size) {
  void *block = grad__arena_zeros(&e->arena, (size_t)n * size);
  if (!block) grad__lua_check(L, e->g->ctx->status);
  return block;
}

static int entry_gc(lua_State *L) {
  grad_jit_entry *e = lua_touserdata(L, 1);
  grad__template_clear(&e->arguments);
  grad__template_clear(&e->results);
  grad__guards_clear(&e->guards);
  grad__arena_clear(&e->arena);
  *e = (grad_jit_entry){0};
  return 0;
}

grad_jit_entry *grad__jit_entry_push(lua_State *L) {
  grad_jit_entry *e = grad__lua_owner_push(L, name, sizeof *e, 1, entry_gc);
  e->g = grad__lua(L);
  grad__arena_init(&e->arena, e->g->ctx);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, 1);
  return e;
}

/* --- taking a trace */

static void take_inputs(lua_State *L, grad_jit_entry *e, int references, const grad_trace *t) {
  e->in = allocate(L, e, e->ninputs, sizeof *e->in);
  e->wrapped = allocate(L, e, e->ninputs, sizeof *e->wrapped);
  e->numbers = allocate(L, e, e->ninputs, sizeof *e->numbers);
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    const grad_node *node = &e->arguments.nodes[k];
    if (node->kind != GRAD_NODE_NUMBER) continue;
    grad__array_wrap(&e->wrapped[node->leaf], &e->numbers[node->leaf], node->dtype, 0, NULL);
    e->in[node->leaf] = &e->wrapped[node->leaf];
  }
  const int64_t two = 2;
  for (int32_t i = e->arguments.nleaves, state = 0; i < e->ninputs; i++) {
    if (t->inputs[i].kind == GRAD_BOUND_OPEN) {
      grad__array_wrap(&e->wrapped[i], e->states[state++], GRAD_I64, 1, &two);
      e->in[i] = &e->wrapped[i];
      continue;
    }
    grad__trace_push_input(L, t, i);
    const grad_tensor *x = grad__tensor_to(L, -1);
    e->in[i] = &x->array;
    grad__guards_bind(&e->guards, x, i);
    grad__reference_add(L, references);
  }
}

/* 1 + the node of the tensor argument that value `id` is; 0: it is none. */
static int32_t argument_node(const grad_jit_entry *e, const grad_program *p, grad_id id) {
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    const grad_node *node = &e->arguments.nodes[k];
    if (node->kind == GRAD_NODE_TENSOR && p->inputs[node->leaf] == id) return 1 + k;
  }
  return 0;
}

static void take_outputs(lua_State *L, grad_jit_entry *e, int references, const grad_program *p) {
  e->out = allocate(L, e, e->noutputs, sizeof *e->out);
  e->values = allocate(L, e, e->noutputs, sizeof *e->values);
  e->plain = allocate(L, e, e->noutputs, sizeof *e->plain);
  e->passed = allocate(L, e, e->noutputs, sizeof *e->passed);
  e->lent = allocate(L, e, e->noutputs, sizeof *e->lent);
  for (int32_t k = 0; k < e->results.nnodes; k++) {
    const grad_node *node = &e->results.nodes[k];
    if (node->kind == GRAD_NODE_EXACT && node->at) {
      lua_rawgeti(L, references, node->at);
      const grad_tensor *x = grad__tensor_to(L, -1);
      if (x) grad__guards_pin(&e->guards, x);
      lua_pop(L, 1);
    } else if (node->kind == GRAD_NODE_TENSOR && node->count) {
      e->passed[node->leaf] = argument_node(e, p, p->outputs[node->leaf]);
    } else if (node->kind == GRAD_NODE_NUMBER) {
      e->plain[node->leaf] = true;
      grad__array_wrap(&e->out[node->leaf], &e->values[node->leaf], node->dtype, 0, NULL);
    }
  }
}

void grad__jit_entry_take(lua_State *L, grad_jit_entry *e, int references, grad_trace *t) {
  e->ninputs = t->ninputs;
  e->noutputs = t->p->noutputs;
  e->ndrawn = t->ndrawn;
  memcpy(e->drawn, t->drawn, sizeof e->drawn);
  lua_rawgeti(L, LUA_REGISTRYINDEX, t->captures); /* generators */
  grad__reference_add(L, references);
  take_inputs(L, e, references, t);
  take_outputs(L, e, references, t->p);
  const bool *donated = grad__donations_push_flags(L, e, t->p);
  e->derived = grad__derived_push(L, t, &(grad_recipe){.kind = GRAD_RECIPE_RUN, .wrt = donated});
  grad__reference_add(L, references);
  lua_pop(L, 1);
}

/* --- running */

static void read_arguments(lua_State *L, grad_jit_entry *e, int nodes) {
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    const grad_node *node = &e->arguments.nodes[k];
    if (node->kind == GRAD_NODE_TENSOR)
      e->in[node->leaf] = &((const grad_tensor *)lua_touserdata(L, nodes + k))->array;
    else if (node->kind == GRAD_NODE_NUMBER)
      grad__plain_read(L, nodes + k, node->dtype, &e->numbers[node->leaf]);
  }
}

static void read_generators(grad_jit_entry *e) {
  for (int k = 0; k < e->ndrawn; k++) {
    e->states[k][0] = (int64_t)e->drawn[k].generator->key;
    e->states[k][1] = (int64_t)e->drawn[k].generator->counter;
  }
}

static void move_generators(const grad_jit_entry *e) {
  for (int k = 0; k < e->ndrawn; k++) e->drawn[k].generator->counter += (uint64_t)e->drawn[k].blocks;
}

typedef struct outputs {
  const grad_jit_entry *e;
  int nodes; /* stack index of the arguments' node 0 */
  int at;    /* stack index of output 0, or of the list of outputs */
} outputs;

static void push_output(lua_State *L, void *ud, const grad_node *node) {
  const outputs *o = ud;
  const int32_t passed = o->e->passed[node->leaf];
  lua_pushvalue(L, passed ? o->nodes + passed - 1 : o->at + node->leaf);
}

/* Pushes a value an output: the tensor that it goes to, nil for a plain number. */
static void push_outputs(lua_State *L, const grad_jit_entry *e, const grad_program *p) {
  luaL_checkstack(L, e->noutputs + 8, "too many results");
  for (int32_t k = 0; k < e->noutputs; k++) {
    if (e->plain[k])
      lua_pushnil(L);
    else if (grad__donations_source(e, k) >= 0)
      grad__tensor_push_empty(L);
    else
      grad__output_push(L, grad__type(p, p->outputs[k]));
  }
}

/* Fills the entry's memory for a run. */
static void prepare(lua_State *L, grad_jit_entry *e, const outputs *o) {
  read_arguments(L, e, o->nodes);
  read_generators(e);
  for (int32_t k = 0; k < e->noutputs; k++)
    if (!e->plain[k]) e->out[k] = ((const grad_tensor *)lua_touserdata(L, o->at + k))->array;
}

/* Puts what a run gave on the stack. Returns the bytes that it made for results which had no memory before. */
static size_t take_results(lua_State *L, const grad_jit_entry *e, int first) {
  size_t made = 0;
  for (int32_t k = 0; k < e->noutputs; k++) {
    if (!e->plain[k]) {
      grad_array *result = &((grad_tensor *)lua_touserdata(L, first + k))->array;
      if (!result->data && !e->lent[k] && e->out[k].storage) made += e->out[k].storage->bytes;
      *result = e->out[k];
      continue;
    }
    grad__tensor_push_element(L, &e->out[k], NULL);
    lua_replace(L, first + k);
  }
  return made;
}

/* Where Lua allocates, a finalizer may run this very entry: nothing is allocated between the filling of the entry's
 * memory and the taking of the results from it. */
int grad__jit_entry_run(lua_State *L, grad_jit_entry *e, int references, int nodes) {
  const grad_derived *d = e->derived;
  grad_program *p = grad__cached_program(d->entry, 0);
  const outputs o = {.e = e, .nodes = nodes, .at = lua_gettop(L) + 1};
  grad__donations_check(L, e);
  push_outputs(L, e, p);
  if (e->g->debug) {
    prepare(L, e, &o);
    grad__debug_run(L, p, e->in, d->scalars, "in the jitted function");
  }
  prepare(L, e, &o);
  grad__donations_lend(L, e);
  e->running = true;
  const grad_status status = grad__cached_run(d->entry, 0, e->in, d->scalars, e->out);
  e->running = false;
  if (status) grad__donations_take_back(e);
  grad__lua_check(L, status);
  const size_t made = take_results(L, e, o.at);
  grad__donations_end(L, e, nodes);
  grad__lua_charge(L, made);
  move_generators(e);
  grad__template_fill(L, &e->results, references, push_output, (void *)&o);
  return e->results.nvalues;
}

/* --- running within older traces */

/* Pushes output `leaf` of the list at `at`. */
static void push_listed(lua_State *L, void *ud, const grad_node *node) {
  const outputs *o = ud;
  if (o->e->passed[node->leaf]) {
    lua_pushvalue(L, o->nodes + o->e->passed[node->leaf] - 1);
    return;
  }
  lua_rawgeti(L, o->at, node->leaf + 1);
  grad_tensor *x = grad__tensor_to(L, -1);
  if (!o->e->plain[node->leaf]) return;
  if (grad__tensor_is_traced(x)) {
    x->weak = true;
  } else {
    grad__tensor_push_element(L, &x->array, NULL);
    lua_remove(L, -2);
  }
}

int grad__jit_entry_run_once(lua_State *L, grad_jit_entry *e, int references, int nodes, const grad_trace *t) {
  lua_createtable(L, e->ninputs, 0);
  const int list = lua_gettop(L);
  for (int32_t k = 0; k < e->arguments.nnodes; k++) {
    const grad_node *node = &e->arguments.nodes[k];
    if (node->kind != GRAD_NODE_TENSOR && node->kind != GRAD_NODE_NUMBER) continue;
    lua_pushvalue(L, nodes + k);
    lua_rawseti(L, list, node->leaf + 1);
  }
  read_generators(e);
  for (int32_t i = e->arguments.nleaves; i < e->ninputs; i++) {
    if (t->inputs[i].kind == GRAD_BOUND_OPEN)
      grad__tensor_push_copy(L, e->in[i], GRAD_I64);
    else
      grad__trace_push_input(L, t, i);
    lua_rawseti(L, list, i + 1);
  }
  grad__derived_apply(L, e->derived, 0, list);
  move_generators(e);
  const outputs o = {.e = e, .nodes = nodes, .at = lua_gettop(L)};
  grad__template_fill(L, &e->results, references, push_listed, (void *)&o);
  return e->results.nvalues;
}

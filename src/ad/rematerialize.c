/* rematerialize.c: fewer residuals for a loop. What the step of tangents can compute again by arithmetic, from other
 * residuals, from the rows of the xs or from what does not vary, is not stacked: a stack is written to and read from
 * memory, arithmetic among fused instructions costs next to nothing. The goal is that of a minimum cut (as in
 * PyTorch's min-cut partitioner); it is found greedily, from the last residual to the first. */
#include <string.h>

#include "ad/loop.h"

typedef struct search {
  const grad_program *p; /* the primal part of the cut */
  int32_t nconsts;       /* inputs before do not vary */
  int32_t first_row;     /* inputs from here on are rows */
  bool *varies, *kept;   /* by value; kept: it is a residual */
  int32_t *met;          /* by value: the last residual whose search met it */
  grad_id *todo, *leaves;
  int32_t ntodo, nleaves;
} search;

static bool search_room(search *s, grad_arena *arena) {
  const size_t n = (size_t)s->p->nvalues + 1;
  s->varies = grad__arena_alloc(arena, n);
  s->kept = grad__arena_alloc(arena, n);
  s->met = grad__ids_new(arena, s->p->nvalues);
  s->todo = grad__ids_new(arena, s->p->nvalues);
  s->leaves = grad__ids_new(arena, s->p->nvalues);
  if (!s->varies || !s->kept || !s->met || !s->todo || !s->leaves) return false;
  memset(s->varies, 0, n);
  memset(s->kept, 0, n);
  return true;
}

static int64_t bytes_of(const grad_program *p, grad_id v) {
  const grad_type *t = grad__type(p, v);
  return grad__type_numel(t) * (int64_t)grad__dtype_size(t->dtype);
}

/* Needs no stack. */
static bool is_free(const search *s, grad_id v) { return !s->varies[v] || -1 - s->p->producers[v] >= s->first_row; }

/* One pass of arithmetic, or of moving elements. */
static bool is_cheap(const grad_instr *ins) {
  if (!ins || ins->nout != 1 || ins->nsubs > 0) return false;
  const grad_row *row = grad__op_row(ins->op);
  return row ? row->kind != GRAD_KIND_FLOAT : ins->op->sparsity == GRAD_SPARSITY_MAP;
}

static void meet_operands(search *s, grad_id v, int32_t mark) {
  const grad_instr *ins = grad__producer(s->p, v);
  for (int32_t k = 0; k < ins->nin; k++) {
    if (s->met[ins->in[k]] == mark) continue;
    s->met[ins->in[k]] = mark;
    s->todo[s->ntodo++] = ins->in[k];
  }
}

/* Finds the leaves from which v can be computed again; gives the bytes that those take which are no residuals yet. */
static int64_t bytes_of_leaves(search *s, grad_id v) {
  int64_t bytes = 0;
  s->nleaves = 0;
  for (meet_operands(s, v, v); s->ntodo > 0;) {
    const grad_id at = s->todo[--s->ntodo];
    const grad_instr *ins = grad__producer(s->p, at);
    const bool view = ins && ins->op->flags & GRAD_OP_VIEW;
    if (ins && ins->nin == 0) continue; /* a constant is made where it is used */
    if (!s->kept[at] && (view || (!is_free(s, at) && is_cheap(ins)))) {
      meet_operands(s, at, v);
      continue;
    }
    s->leaves[s->nleaves++] = at;
    if (!s->kept[at] && !is_free(s, at)) bytes += bytes_of(s->p, at);
  }
  return bytes;
}

/* Residuals in reverse order: what a later one keeps serves those before. */
static void choose(search *s, const grad_id *residuals, int32_t n) {
  for (int32_t i = 0; i < n; i++) s->kept[residuals[i]] = true;
  for (grad_id v = s->p->nvalues - 1; v >= 0; v--) {
    if (!s->kept[v] || is_free(s, v) || !is_cheap(grad__producer(s->p, v))) continue;
    if (bytes_of_leaves(s, v) > bytes_of(s->p, v)) continue;
    s->kept[v] = false;
    for (int32_t i = 0; i < s->nleaves; i++) s->kept[s->leaves[i]] = true;
  }
}

static int64_t stacked_bytes(const search *s, const grad_id *values, int32_t n) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < n; i++) bytes += is_free(s, values[i]) ? 0 : bytes_of(s->p, values[i]);
  return bytes;
}

static int64_t elements_computed(const grad_program *p) {
  int64_t n = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    if (!(p->instrs[i].op->flags & GRAD_OP_VIEW)) n += grad__type_numel(grad__type(p, p->instrs[i].out));
  }
  return n;
}

/* fewer, tangents -> again (the former residuals) -> what `linear` gives. */
static grad_status compute_before(const grad_program *again, const grad_program *linear, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_new(linear->ctx, &q);
  if (status) return status;
  grad_id *fewer = grad__ids_new(&q->arena, again->ninputs), *in = grad__ids_new(&q->arena, linear->ninputs);
  grad_id *made = grad__ids_new(&q->arena, linear->noutputs);
  if (fewer && in && made) {
    for (int32_t i = 0; i < again->ninputs; i++) {
      fewer[i] = grad__program_input_like(q, grad__type(again, again->inputs[i]));
    }
    for (int32_t i = again->noutputs; i < linear->ninputs; i++) {
      in[i] = grad__program_input_like(q, grad__type(linear, linear->inputs[i]));
    }
    grad__inline(q, again, fewer, NULL, in, NULL);
    grad__inline(q, linear, in, NULL, made, NULL);
    for (int32_t i = 0; i < linear->noutputs; i++) grad__program_output(q, made[i]);
  } else {
    grad__program_try(q, linear->ctx->status);
  }
  return grad__program_finish(q, out);
}

static grad_status replace(grad_cut *cut, grad_id *values, int32_t n, const grad_program *again) {
  const grad_program *p = cut->primal;
  const int32_t first = p->noutputs - cut->nresiduals;
  grad_cut fewer = {.nresiduals = n};
  memmove(values + first, values, (size_t)n * sizeof *values);
  memcpy(values, p->outputs, (size_t)first * sizeof *values);
  grad_status status = grad__extract(p, p->ninputs, p->inputs, first + n, values, true, &fewer.primal);
  if (!status) status = compute_before(again, cut->linear, &fewer.linear);
  if (status) {
    grad__cut_clear(&fewer);
    return status;
  }
  grad__cut_clear(cut);
  *cut = fewer;
  return GRAD_OK;
}

/* A byte that is not stacked pays for computing one element. */
static bool pays(const search *s, const grad_cut *cut, const grad_id *values, int32_t n, const grad_program *again) {
  const grad_program *p = cut->primal;
  const int64_t before = stacked_bytes(s, p->outputs + p->noutputs - cut->nresiduals, cut->nresiduals);
  return before - stacked_bytes(s, values, n) >= elements_computed(again);
}

static grad_status lighten(search *s, grad_cut *cut, grad_id *values) {
  const grad_program *p = cut->primal;
  const grad_id *residuals = p->outputs + p->noutputs - cut->nresiduals;
  for (int32_t i = s->nconsts; i < p->ninputs; i++) s->varies[p->inputs[i]] = true;
  grad__mark_linear(p, p->ninstrs, s->varies);
  choose(s, residuals, cut->nresiduals);
  int32_t n = 0;
  for (grad_id v = 0; v < p->nvalues; v++) {
    if (s->kept[v]) values[n++] = v;
  }
  grad_program *again = NULL;
  grad_status status = grad__extract(p, n, values, cut->nresiduals, residuals, false, &again);
  if (!status && pays(s, cut, values, n, again)) status = replace(cut, values, n, again);
  grad__program_release(again);
  return status;
}

grad_status grad__cut_lighten(int32_t nconsts, int32_t ncarry, grad_cut *cut) {
  search s = {.p = cut->primal, .nconsts = nconsts, .first_row = nconsts + ncarry};
  grad_arena arena;
  grad__arena_init(&arena, cut->primal->ctx);
  grad_id *values = grad__ids_new(&arena, cut->primal->nvalues + cut->primal->noutputs);
  grad_status status = values && search_room(&s, &arena) ? lighten(&s, cut, values) : cut->primal->ctx->status;
  grad__arena_clear(&arena);
  return status;
}

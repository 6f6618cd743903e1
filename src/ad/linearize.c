/* linearize.c: forward mode cut in two: what the point decides, and what each tangent costs. */
#include "ad/pass.h"

typedef struct split {
  grad_push s;
  bool *linear;
  bool *live; /* by instruction: linear and needed */
  bool *cut;  /* by value: is a residual */
  grad_id *residuals, *tangents_in, *tangents_out;
  int32_t nresiduals, nin, nout;
} split;

static bool split_room(split *c) {
  const grad_program *p = c->s.p;
  grad_arena *temporary = &c->s.temporary;
  c->linear = grad__arena_zeros(temporary, (size_t)p->nvalues + 1);
  c->cut = grad__arena_zeros(temporary, (size_t)p->nvalues + 1);
  c->live = grad__arena_zeros(temporary, (size_t)p->ninstrs + 1);
  c->residuals = grad__ids_new(temporary, p->nvalues + c->s.src->noutputs);
  c->tangents_in = grad__ids_new(temporary, c->s.src->ninputs);
  c->tangents_out = grad__ids_new(temporary, c->s.src->noutputs);
  return c->linear && c->cut && c->live && c->residuals && c->tangents_in && c->tangents_out;
}

/* Makes v, or the smaller value that it is a view of, a residual. Constants are made again where they are used. */
static void keep_residual(split *c, grad_id v) {
  const grad_program *p = c->s.p;
  for (;;) {
    const grad_instr *ins = grad__producer(p, v);
    if (ins && ins->nin == 0 && !(ins->op->flags & (GRAD_OP_EFFECT | GRAD_OP_RANDOM | GRAD_OP_SCALAR))) return;
    if (!ins || ins->nin != 1 || !(ins->op->flags & GRAD_OP_VIEW)) break;
    if (grad__type_numel(&p->types[ins->in[0]]) > grad__type_numel(&p->types[v])) break;
    v = ins->in[0];
  }
  if (c->cut[v]) return;
  c->cut[v] = true;
  c->residuals[c->nresiduals++] = v;
}

static void use_value(split *c, grad_id v) {
  if (!c->linear[v]) {
    keep_residual(c, v);
  } else if (c->s.p->producers[v] >= 0) {
    c->live[c->s.p->producers[v]] = true;
  }
}

static void find_residuals(split *c, const bool *wrt, int32_t nlin) {
  const grad_program *p = c->s.p, *src = c->s.src;
  for (int32_t i = 0; i < src->ninputs; i++) {
    if (!wrt[i]) continue;
    const grad_id v = c->s.tangent[src->inputs[i]];
    c->linear[v] = true;
    c->tangents_in[c->nin++] = v;
  }
  const int32_t ninstrs = p->ninstrs; /* zeros written out below come after */
  grad__mark_linear(p, ninstrs, c->linear);
  for (int32_t i = 0; i < nlin; i++) {
    if (!grad__type_is_float(grad__type(src, src->outputs[i]))) continue;
    const grad_id v = grad__push_tangent_of(&c->s, src->outputs[i]);
    c->tangents_out[c->nout++] = v;
    if (c->s.tangent[src->outputs[i]] != GRAD_NONE) use_value(c, v);
  }
  for (int32_t i = ninstrs - 1; i >= 0; i--) {
    const grad_instr *ins = &p->instrs[i];
    for (int32_t k = 0; c->live[i] && k < ins->nin; k++) use_value(c, ins->in[k]);
  }
}

static grad_status cut_primal(split *c, grad_program **out) {
  const grad_program *src = c->s.src;
  grad_id *inputs = grad__ids_new(&c->s.temporary, src->ninputs);
  grad_id *outputs = grad__ids_new(&c->s.temporary, src->noutputs + c->nresiduals);
  if (!inputs || !outputs) return src->ctx->status;
  for (int32_t i = 0; i < src->ninputs; i++) inputs[i] = c->s.primal[src->inputs[i]];
  for (int32_t i = 0; i < src->noutputs; i++) outputs[i] = c->s.primal[src->outputs[i]];
  for (int32_t i = 0; i < c->nresiduals; i++) outputs[src->noutputs + i] = c->residuals[i];
  return grad__extract(c->s.p, src->ninputs, inputs, src->noutputs + c->nresiduals, outputs, true, out);
}

static grad_status cut_linear(split *c, grad_program **out) {
  grad_id *inputs = grad__ids_new(&c->s.temporary, c->nresiduals + c->nin);
  if (!inputs) return c->s.src->ctx->status;
  for (int32_t i = 0; i < c->nresiduals; i++) inputs[i] = c->residuals[i];
  for (int32_t i = 0; i < c->nin; i++) inputs[c->nresiduals + i] = c->tangents_in[i];
  return grad__extract(c->s.p, c->nresiduals + c->nin, inputs, c->nout, c->tangents_out, false, out);
}

static grad_status split_run(split *c, const bool *wrt, int32_t nlin, grad_program **primal, grad_program **linear) {
  grad__push_tangents(&c->s, wrt);
  grad__push_run(&c->s);
  if (c->s.p->status) return grad__pass_failed(c->s.p);
  if (!split_room(c)) return c->s.src->ctx->status;
  find_residuals(c, wrt, nlin);
  if (c->s.p->status) return c->s.p->status;
  grad_program *first;
  grad_status status = cut_primal(c, &first);
  if (status) return status;
  status = cut_linear(c, linear);
  if (status) {
    grad__program_release(first);
    return status;
  }
  *primal = first;
  return GRAD_OK;
}

grad_status grad__ad_linearize(const grad_program *p, const bool *wrt, int nlin, grad_program **primal,
                               grad_program **linear) {
  split c = {0};
  grad_status status = grad__push_start(&c.s, p);
  if (!status) status = split_run(&c, wrt, nlin, primal, linear);
  grad__push_end(&c.s);
  return status;
}

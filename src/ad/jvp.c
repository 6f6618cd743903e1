/* jvp.c: forward mode: each instruction is followed by the one that moves its tangents. */
#include <string.h>

#include "ad/pass.h"
#include "ops/demand.h"

grad_status grad__pass_failed(grad_program *p) {
  grad_ctx *ctx = p->ctx;
  const grad_instr here = {.where = p->where};
  const char *where = grad__program_where(p, &here);
  if (grad__where_is_told(ctx->message, where)) return p->status;
  char message[sizeof ctx->message];
  memcpy(message, ctx->message, sizeof message);
  return grad__fail(ctx, p->status, "%s (recorded at %s)", message, where);
}

grad_status grad__push_begin(grad_push *s, const grad_program *src) {
  *s = (grad_push){.src = src};
  grad__arena_init(&s->temporary, src->ctx);
  if (src->status) return src->status;
  grad_status status = grad__program_new(src->ctx, &s->p);
  if (status) return status;
  s->wheres = grad__wheres_map(s->p, src, &s->temporary);
  s->primal = grad__ids_new(&s->temporary, src->nvalues);
  s->tangent = grad__ids_new(&s->temporary, src->nvalues);
  if (!s->wheres || !s->primal || !s->tangent) return src->ctx->status;
  s->p->nscalars = src->nscalars;
  return GRAD_OK;
}

grad_status grad__push_start(grad_push *s, const grad_program *src) {
  grad_program *wanted = NULL;
  grad_status status = grad__demand(src, &wanted);
  if (status) wanted = NULL;
  if (wanted) src = wanted;
  const grad_status begun = grad__push_begin(s, src);
  s->wanted = wanted;
  if (status || begun) return status ? status : begun;
  for (int32_t i = 0; i < src->ninputs; i++) {
    const grad_type *t = grad__type(src, src->inputs[i]);
    s->primal[src->inputs[i]] = grad__program_input_like(s->p, t);
  }
  return s->p->status;
}

void grad__push_end(grad_push *s) {
  grad__program_release(s->p);
  grad__program_release(s->wanted);
  grad__arena_clear(&s->temporary);
}

void grad__push_tangents(grad_push *s, const bool *wrt) {
  for (int32_t i = 0; i < s->src->ninputs; i++) {
    if (!wrt[i]) continue;
    const grad_id v = s->src->inputs[i];
    const grad_type *t = grad__type(s->src, v);
    if (!grad__type_is_float(t)) {
      grad__program_fail(s->p, GRAD_EDTYPE,
                         "derivatives are with respect to f64 or f32 values; argument %d is %s: convert it first",
                         i + 1, grad__type_text(t).chars);
      return;
    }
    s->tangent[v] = grad__program_input_like(s->p, t);
  }
}

grad_id grad__push_tangent_of(grad_push *s, grad_id v) {
  if (s->p->status) return GRAD_NONE;
  return s->tangent[v] != GRAD_NONE ? s->tangent[v] : grad__zeros_of(s->p, grad__type(s->src, v));
}

/* Does a tangent reach this instruction, and does it let tangents through? */
static bool is_active(const grad_push *s, const grad_instr *ins) {
  if (ins->op->flags & GRAD_OP_NONDIFF) return false;
  for (int32_t i = 0; i < ins->nin; i++) {
    if (s->tangent[ins->in[i]] != GRAD_NONE) return true;
  }
  return false;
}

/* The tangent goes through the op itself: absent tangents as zeros, other inputs (masks, positions) as they are. */
static void push_linear(grad_push *s, const grad_instr *ins, const grad_jvp *a, grad_id *in) {
  for (int32_t i = 0; i < ins->nin; i++) {
    const grad_type *t = grad__type(s->src, ins->in[i]);
    in[i] = a->dx[i] != GRAD_NONE || !grad__type_is_float(t) ? a->dx[i] : grad__zeros_of(s->p, t);
    if (in[i] == GRAD_NONE) in[i] = a->x[i];
  }
  const grad_id out = grad__emit_like(s->p, s->src, ins, in);
  grad__ids_from(out, ins->nout, a->dy);
}

static void keep_tangents(grad_push *s, const grad_instr *ins, const grad_id *dy) {
  for (int32_t k = 0; k < ins->nout && !s->p->status; k++) {
    const grad_type *t = grad__type(s->src, ins->out + k);
    if (dy[k] == GRAD_NONE || !grad__type_is_float(t)) continue;
    if (!grad__type_equal(grad__type(s->p, dy[k]), t)) {
      grad__program_fail(s->p, GRAD_EINTERNAL, "the forward rule of %s gave a tangent %s for a value %s", ins->op->name,
                         grad__type_text(grad__type(s->p, dy[k])).chars, grad__type_text(t).chars);
      return;
    }
    s->tangent[ins->out + k] = dy[k];
  }
}

static void push_tangent(grad_push *s, const grad_instr *ins) {
  enum { FEW = 16 };
  grad_id few[3 * FEW], *ids = few, y[GRAD_MAX_OUT], dy[GRAD_MAX_OUT];
  if (ins->nin > FEW) ids = grad__ids_new(&s->temporary, 3 * ins->nin);
  if (!ids) {
    grad__program_fail(s->p, s->p->ctx->status, "out of memory in the derivative of %s", ins->op->name);
    return;
  }
  grad_id *x = ids, *dx = ids + ins->nin, *in = ids + 2 * ins->nin;
  for (int32_t i = 0; i < ins->nin; i++) {
    x[i] = s->primal[ins->in[i]];
    dx[i] = s->tangent[ins->in[i]];
  }
  for (int32_t k = 0; k < ins->nout; k++) {
    y[k] = s->primal[ins->out + k];
    dy[k] = GRAD_NONE;
  }
  grad_jvp a = {.p = s->p, .ins = ins, .x = x, .y = y, .dx = dx, .dy = dy, .joint = s->joint};
  if (ins->op->jvp) {
    ins->op->jvp(&a);
  } else if (!(ins->op->flags & GRAD_OP_LINEAR)) {
    grad__program_fail(s->p, GRAD_EUNSUPPORTED, "%s has no derivative rule", ins->op->name);
  } else {
    push_linear(s, ins, &a, in);
  }
  for (int32_t k = 0; k < ins->nout; k++) s->primal[ins->out + k] = y[k];
  keep_tangents(s, ins, dy);
}

void grad__push_run(grad_push *s) {
  for (int32_t i = 0; i < s->src->ninstrs && !s->p->status; i++) {
    const grad_instr *ins = &s->src->instrs[i];
    s->p->where = s->wheres[ins->where];
    grad__inline_instr(s->p, s->src, ins, s->primal, 0);
    if (!s->p->status && is_active(s, ins)) push_tangent(s, ins);
  }
}

static void jvp_outputs(grad_push *s) {
  const grad_program *src = s->src;
  for (int32_t i = 0; i < src->noutputs; i++) grad__program_output(s->p, s->primal[src->outputs[i]]);
  for (int32_t i = 0; i < src->noutputs; i++) {
    if (grad__type_is_float(grad__type(src, src->outputs[i]))) {
      grad__program_output(s->p, grad__push_tangent_of(s, src->outputs[i]));
    }
  }
}

grad_status grad__push_program(const grad_program *p, const bool *wrt, bool joint, grad_program **out) {
  grad_push s;
  grad_status status = grad__push_start(&s, p);
  if (!status) {
    s.joint = joint;
    grad__push_tangents(&s, wrt);
    grad__push_run(&s);
    if (!s.p->status) jvp_outputs(&s);
    status = s.p->status ? grad__pass_failed(s.p) : grad__prune(s.p, out);
  }
  grad__push_end(&s);
  return status;
}

grad_status grad__ad_jvp(const grad_program *p, const bool *wrt, grad_program **out) {
  return grad__push_program(p, wrt, true, out);
}

/* control.c: what the ops with nested programs share. */
#include "ad/control.h"

#include "ad/pass.h"

grad_status grad__reorder(const grad_program *p, int32_t nin, const int32_t *in, int32_t nout, const int32_t *out,
                          grad_program **result) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  grad_id *inputs = grad__ids_new(&temporary, nin), *outputs = grad__ids_new(&temporary, nout);
  grad_status status = inputs && outputs ? GRAD_OK : p->ctx->status;
  if (!status) {
    for (int32_t i = 0; i < nin; i++) inputs[i] = p->inputs[in[i]];
    for (int32_t i = 0; i < nout; i++) outputs[i] = p->outputs[out[i]];
    status = grad__extract(p, nin, inputs, nout, outputs, true, result);
  }
  grad__arena_clear(&temporary);
  return status;
}

void grad__mark_active(const grad_program *p, bool *active) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    bool reached = false;
    for (int32_t k = 0; k < ins->nin && !reached; k++) reached = active[ins->in[k]];
    reached = reached && !(ins->op->flags & GRAD_OP_NONDIFF);
    for (int32_t k = 0; k < ins->nout; k++) {
      active[ins->out + k] = reached && grad__dtype_is_float(p->types[ins->out + k].dtype);
    }
  }
}

grad_status grad__close_scalars(const grad_program *p, int32_t *numbers, grad_dtype *dtypes, int32_t *count,
                                grad_program **out) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  int32_t n = 0;
  grad_id *inputs = grad__ids_new(&temporary, p->ninputs + p->ninstrs);
  grad_status status = inputs ? GRAD_OK : p->ctx->status;
  for (int32_t i = 0; i < p->ninputs && !status; i++) inputs[i] = p->inputs[i];
  for (int32_t i = 0; i < p->ninstrs && !status; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (!(ins->op->flags & GRAD_OP_SCALAR)) continue;
    numbers[n] = (int32_t)ins->params[0];
    dtypes[n] = p->types[ins->out].dtype;
    inputs[p->ninputs + n++] = ins->out;
  }
  if (!status) status = grad__extract(p, p->ninputs + n, inputs, p->noutputs, p->outputs, true, out);
  grad__arena_clear(&temporary);
  if (status) return status;
  (*out)->nscalars = 0;
  *count = n;
  return GRAD_OK;
}

grad_id grad__or_zeros(grad_program *p, grad_id v, const grad_type *type) {
  return v != GRAD_NONE ? v : grad__zeros_of(p, type);
}

grad_id grad__where_rows(grad_program *p, grad_id mask, grad_id yes, grad_id no) {
  if (mask == GRAD_NONE || yes == GRAD_NONE || no == GRAD_NONE) return GRAD_NONE;
  const grad_type t = *grad__type(p, yes);
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) shape[i] = i ? 1 : t.shape[0];
  const grad_id spread = grad__broadcast(p, grad__reshape(p, mask, t.ndim, shape), t.ndim, t.shape);
  return grad__where(p, spread, yes, no);
}

int32_t grad__count_floats(const grad_program *p, int32_t n, const grad_id *ids) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) count += grad__type_is_float(grad__type(p, ids[i]));
  return count;
}

/* --- tangents */

int32_t grad__append_tangents(const grad_jvp *a, grad_id *to) {
  int32_t n = 0;
  for (int32_t i = 0; i < a->ins->nin; i++) {
    if (a->dx[i] != GRAD_NONE) to[n++] = a->dx[i];
  }
  return n;
}

void grad__give_tangents(const grad_jvp *a, const grad_program *f, grad_id first) {
  for (int32_t k = 0; k < f->noutputs && first != GRAD_NONE; k++) {
    if (grad__type_is_float(grad__type(f, f->outputs[k]))) a->dy[k] = first++;
  }
}

const grad_id *grad__push_inline(const grad_jvp *a, const grad_program *sub, const grad_id *x, const grad_id *dx) {
  grad_program *p = a->p, *pushed = NULL;
  grad_id *in = grad__ids_in(p, 2 * sub->ninputs), *made = grad__ids_in(p, 2 * sub->noutputs);
  bool *wrt = grad__arena_alloc(&p->arena, (size_t)sub->ninputs);
  if (!in || !made || !wrt) {
    grad__program_try(p, p->ctx->status);
    return NULL;
  }
  int32_t n = sub->ninputs;
  for (int32_t i = 0; i < sub->ninputs; i++) {
    wrt[i] = dx[i] != GRAD_NONE;
    in[i] = x[i];
    if (wrt[i]) in[n++] = dx[i];
  }
  if (!grad__program_try(p, grad__push_program(sub, wrt, a->joint, &pushed))) return NULL;
  grad__inline(p, pushed, in, NULL, made, NULL);
  grad__program_release(pushed);
  return made + sub->noutputs;
}

/* --- slots that these ops have in common */

void grad__infer_type(grad_infer *a, int32_t k, const grad_type *type) {
  a->out[k].dtype = type->dtype;
  a->out[k].ndim = type->ndim;
  for (int i = 0; i < type->ndim; i++) a->out[k].shape[i] = type->shape[i];
}

grad_status grad__infer_like_outputs(grad_infer *a, const grad_program *sub, int32_t from, int32_t n,
                                     const int64_t *rows) {
  for (int32_t k = from; k < from + n; k++) {
    if (k >= GRAD_MAX_OUT)
      return grad__fail(a->ctx, GRAD_ELIMIT, "%s: more than %d results", a->op->name, GRAD_MAX_OUT);
    const grad_type *t = grad__type(sub, sub->outputs[k]);
    if (rows && t->ndim == GRAD_MAX_AXES) {
      return grad__fail(a->ctx, GRAD_ESHAPE, "%s: results with %d axes cannot be stacked", a->op->name, t->ndim);
    }
    grad_infer_out *out = &a->out[k];
    out->dtype = t->dtype;
    out->ndim = t->ndim + (rows != NULL);
    if (rows) out->shape[0] = *rows;
    for (int i = 0; i < t->ndim; i++) out->shape[i + (rows != NULL)] = t->shape[i];
  }
  return GRAD_OK;
}

grad_status grad__call_sub(const grad_eval *a, grad_program *sub, const grad_array *const *in) {
  grad_array out[GRAD_MAX_OUT];
  bool given[GRAD_MAX_OUT]; /* memory given; otherwise of dynamic extent, made by the callee */
  for (int32_t k = 0; k < a->ins->nout; k++) {
    out[k] = *a->out[k];
    given[k] = out[k].data || out[k].storage || out[k].ndim > 0;
  }
  grad_status status = a->call(a->call_ud, sub, in, NULL, out);
  for (int32_t k = 0; k < a->ins->nout && !status; k++) {
    if (!given[k]) *a->out[k] = out[k];
  }
  return status;
}

/* The transposed subs, and the inputs of the transposed instruction. */
static bool transpose_subs(grad_transpose *a, int32_t skip, grad_program **subs) {
  for (int32_t k = 0; k < a->ins->nsubs; k++) {
    if (!grad__program_try(a->p, grad__ad_transpose(a->ins->subs[k], a->linear + skip, &subs[k]))) return false;
  }
  return true;
}

void grad__transpose_call(grad_transpose *a, int32_t skip) {
  grad_program *subs[2] = {NULL, NULL};
  const grad_instr *ins = a->ins;
  grad_id *in = grad__ids_in(a->p, ins->nin + ins->nout);
  if (in && transpose_subs(a, skip, subs)) {
    int32_t n = 0;
    for (int32_t i = 0; i < ins->nin; i++) {
      if (i < skip || !a->linear[i]) in[n++] = a->x[i];
    }
    for (int32_t k = 0; k < ins->nout; k++) in[n++] = grad__or_zeros(a->p, a->cy[k], &a->yt[k]);
    grad_id out = grad__emit_nested(a->p, ins->op, n, in, ins->nparams, ins->params, ins->nsubs, subs);
    for (int32_t i = skip; i < ins->nin && out != GRAD_NONE; i++) {
      if (a->linear[i]) a->cx[i] = out++;
    }
  }
  for (int32_t k = 0; k < 2; k++) grad__program_release(subs[k]);
}

/* The instruction as the body of a scan: unbatched inputs are its consts, batched ones its rows. */
static grad_status one_element(const grad_batch *a, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_new(a->p->ctx, &q);
  if (status) return status;
  const grad_instr *ins = a->ins;
  grad_id *in = grad__ids_in(q, ins->nin);
  for (int rows = 0; rows < 2 && in; rows++) {
    for (int32_t i = 0; i < ins->nin; i++) {
      if (a->batched[i] == rows) in[i] = grad__program_input_like(q, &a->xt[i]);
    }
  }
  const grad_id y =
      in ? grad__emit_nested(q, ins->op, ins->nin, in, ins->nparams, ins->params, ins->nsubs, ins->subs) : GRAD_NONE;
  for (int32_t k = 0; k < ins->nout && y != GRAD_NONE; k++) grad__program_output(q, y + k);
  return grad__program_finish(q, out);
}

void grad__batch_by_scan(grad_batch *a) {
  grad_program *body = NULL;
  grad_id *in = grad__ids_in(a->p, a->ins->nin);
  if (!in || !grad__program_try(a->p, one_element(a, &body))) return;
  int32_t n = 0, nconsts = 0;
  for (int rows = 0; rows < 2; rows++) {
    for (int32_t i = 0; i < a->ins->nin; i++) {
      if (a->batched[i] == rows) in[n++] = a->x[i];
    }
    if (!rows) nconsts = n;
  }
  const grad_loop loop = {
      .body = body, .nconsts = nconsts, .nxs = n - nconsts, .consts = in, .xs = in + nconsts, .length = a->size};
  grad__scan(a->p, &loop, a->y);
  grad__program_release(body);
}

/* --- cutting bodies */

void grad__cut_clear(grad_cut *cut) {
  grad__program_release(cut->primal);
  grad__program_release(cut->linear);
  *cut = (grad_cut){0};
}

static bool is_dynamic(const grad_program *p, grad_id v) { return grad__type_numel(&p->types[v]) < 0; }

static bool residuals_fit(const grad_cut *cut, int32_t most) {
  const grad_program *p = cut->primal;
  if (cut->nresiduals > most) return false;
  for (int32_t i = p->noutputs - cut->nresiduals; i < p->noutputs; i++) {
    if (is_dynamic(p, p->outputs[i])) return false;
  }
  return true;
}

/* The inputs as residuals. */
static grad_status inputs_as_residuals(const grad_program *body, const bool *wrt, int32_t nlin, grad_cut *cut) {
  grad_program *pushed = NULL;
  grad_arena temporary;
  grad__arena_init(&temporary, body->ctx);
  grad_id *outputs = grad__ids_new(&temporary, body->noutputs + body->ninputs);
  grad_status status = outputs ? grad__push_program(body, wrt, false, &pushed) : body->ctx->status;
  if (!status) {
    for (int32_t i = 0; i < body->noutputs; i++) outputs[i] = body->outputs[i];
    for (int32_t i = 0; i < body->ninputs; i++) outputs[body->noutputs + i] = body->inputs[i];
    status =
        grad__extract(body, body->ninputs, body->inputs, body->noutputs + body->ninputs, outputs, true, &cut->primal);
  }
  const int32_t ntangents = grad__count_floats(body, nlin, body->outputs);
  if (!status) {
    status = grad__extract(pushed, pushed->ninputs, pushed->inputs, ntangents, pushed->outputs + body->noutputs, false,
                           &cut->linear);
  }
  cut->nresiduals = body->ninputs;
  grad__program_release(pushed);
  grad__arena_clear(&temporary);
  return status;
}

grad_status grad__cut_body(const grad_program *body, const bool *wrt, int32_t nlin, int32_t most, bool recompute,
                           grad_cut *out) {
  grad_cut cut = {0};
  grad_status status = GRAD_OK;
  if (!recompute) {
    status = grad__ad_linearize(body, wrt, nlin, &cut.primal, &cut.linear);
    if (!status) cut.nresiduals = cut.primal->noutputs - body->noutputs;
  }
  if (!status && (recompute || !residuals_fit(&cut, most))) {
    grad__cut_clear(&cut);
    status = inputs_as_residuals(body, wrt, nlin, &cut);
  }
  if (status) {
    grad__cut_clear(&cut);
    return status;
  }
  *out = cut;
  return GRAD_OK;
}

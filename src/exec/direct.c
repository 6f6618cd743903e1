/* direct.c: the direct evaluator: one instruction after the other, each value in memory of its own. It is the oracle
 * that plans are tested against, runs programs that are seen once, and answers for numbers asked for inside a trace.
 *
 * Ownership: a value's header in the frame holds one reference to its storage; views share their source's storage and
 * hold one too. Inputs are borrowed: their headers are kept without storage, so that releasing them does nothing.
 */
#include <stdio.h>
#include <string.h>

#include "exec/planner.h"

static grad_status call_nested(void *ud, grad_program *sub, const grad_array *const *in, const double *scalars,
                               grad_array *out) {
  (void)ud;
  return grad__direct_run(sub, in, scalars, out);
}

/* Says where in the user's file the failing instruction was recorded, once for instructions inside others. */
grad_status grad__fail_at(const grad_program *p, const grad_instr *ins, grad_status status) {
  const char *where = grad__program_where(p, ins);
  size_t used = strlen(p->ctx->message);
  if (status != GRAD_OK && !grad__where_is_told(p->ctx->message, where))
    snprintf(p->ctx->message + used, sizeof p->ctx->message - used, " [%s]", where);
  return status;
}

static grad_status eval_with_scratch(grad_eval *e, int64_t bytes) {
  if (bytes <= 0) return e->ins->op->eval(e);
  e->scratch = grad__alloc_aligned(e->ctx, (size_t)bytes);
  if (!e->scratch) return e->ctx->status;
  grad_status status = e->ins->op->eval(e);
  grad__free_aligned(e->ctx, e->scratch, (size_t)bytes);
  return status;
}

/* The scratch slot reads types from a program; here there are only arrays, so they stand in for one. */
static grad_status scratch_bytes(grad_ctx *ctx, const grad_instr *ins, const grad_array *const *in,
                                 grad_array *const *out, int64_t *bytes) {
  size_t n = (size_t)ins->nin + (size_t)ins->nout, size = n * (sizeof(grad_type) + sizeof(grad_id));
  grad_type *types = grad__alloc(ctx, size);
  if (!types) return ctx->status;
  grad_id *ids = (grad_id *)(types + n);
  for (size_t i = 0; i < n; i++) {
    const grad_array *a = i < (size_t)ins->nin ? in[i] : out[i - (size_t)ins->nin];
    types[i] = (grad_type){.shape = a->shape, .dtype = a->dtype, .ndim = a->ndim};
    ids[i] = (grad_id)i;
  }
  grad_program p = {.ctx = ctx, .types = types, .nvalues = (int32_t)n};
  grad_instr copy = *ins;
  copy.in = ids;
  copy.out = ins->nin;
  *bytes = ins->op->scratch(&p, &copy);
  grad__free(ctx, types, size);
  return GRAD_OK;
}

grad_status grad__direct_instr(grad_ctx *ctx, const grad_instr *ins, const grad_array *const *in, const double *scalars,
                               grad_array *const *out) {
  int64_t bytes = 0;
  grad_status status = ins->op->scratch ? scratch_bytes(ctx, ins, in, out, &bytes) : GRAD_OK;
  if (status != GRAD_OK) return status;
  grad_eval e = {.ctx = ctx, .ins = ins, .in = in, .out = out, .scalars = scalars, .call = call_nested};
  return eval_with_scratch(&e, bytes);
}

/* What a run holds: a header a value, and room for the pointers that one instruction takes. */
typedef struct frame {
  grad_program *p;
  const double *scalars;
  grad_array *values;
  const grad_array **in;
  grad_array **out;
  int32_t args_cap;
} frame;

static int32_t most_args(const grad_program *p) {
  int32_t most = 1;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    int32_t n = p->instrs[i].nin + p->instrs[i].nout;
    if (n > most) most = n;
  }
  return most;
}

static grad_status frame_open(frame *f, int32_t args_cap) {
  f->in = grad__alloc(f->p->ctx, (size_t)args_cap * sizeof(void *));
  if (!f->in) return f->p->ctx->status;
  f->args_cap = args_cap;
  return GRAD_OK;
}

static void frame_close(frame *f) { grad__free(f->p->ctx, f->in, (size_t)f->args_cap * sizeof(void *)); }

static bool make_view(const frame *f, const grad_instr *ins) {
  const grad_array *in = &f->values[ins->in[0]];
  grad_array *out = &f->values[ins->out];
  if (!ins->op->view) return false;
  grad_array view = {0};
  if (!ins->op->view(ins, in, grad__type(f->p, ins->out), &view)) return false;
  view.storage = in->storage;
  grad__array_retain(&view);
  *out = view;
  return true;
}

/* Values of dynamic type are allocated by the op that makes them; outputs may have memory: see place_outputs. */
static grad_status make_outputs(const frame *f, const grad_instr *ins) {
  for (int32_t k = 0; k < ins->nout; k++) {
    const grad_type *t = grad__type(f->p, ins->out + k);
    grad_array *out = &f->values[ins->out + k];
    f->out[k] = out;
    if (grad__type_is_dynamic(t) || !grad__array_is_unset(out)) continue;
    grad_status status = grad__array_new(f->p->ctx, t->dtype, t->ndim, t->shape, out);
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

static void release_outputs(const frame *f, const grad_instr *ins) {
  for (int32_t k = 0; k < ins->nout; k++) grad__array_release(&f->values[ins->out + k]);
}

/* Evaluates one instruction into the frame; on failure its outputs are unset. */
static grad_status step(frame *f, const grad_instr *ins) {
  grad_ctx *ctx = f->p->ctx;
  grad_status status = grad__interrupted(ctx);
  if (status != GRAD_OK) return status;
  if (ins->nin > 0 && make_view(f, ins)) return GRAD_OK;
  f->out = (grad_array **)(f->in + ins->nin);
  for (int32_t k = 0; k < ins->nin; k++) f->in[k] = &f->values[ins->in[k]];
  status = make_outputs(f, ins);
  if (status == GRAD_OK) {
    int64_t bytes = ins->op->scratch ? ins->op->scratch(f->p, ins) : 0;
    grad_eval e = {.ctx = ctx, .ins = ins, .in = f->in, .out = f->out, .scalars = f->scalars, .call = call_nested};
    status = grad__fail_at(f->p, ins, eval_with_scratch(&e, bytes));
  }
  if (status != GRAD_OK) release_outputs(f, ins);
  return status;
}

static bool fits(const grad_type *t, const grad_array *a) {
  if (t->dtype != a->dtype || t->ndim != a->ndim) return false;
  for (int i = 0; i < t->ndim; i++) {
    if (t->shape[i] != a->shape[i] && t->shape[i] != GRAD_DYNAMIC) return false;
  }
  return true;
}

grad_status grad__check_inputs(const grad_program *p, const grad_array *const *in) {
  for (int32_t k = 0; k < p->ninputs; k++) {
    const grad_type *t = grad__type(p, p->inputs[k]), got = {in[k]->shape, in[k]->dtype, in[k]->ndim};
    if (fits(t, in[k]) && (in[k]->data || grad__array_numel(in[k]) == 0)) continue;
    return grad__fail(p->ctx, GRAD_EVALUE, "input %d of the program is %s, but was given %s", k + 1,
                      grad__type_text(t).chars, grad__type_text(&got).chars);
  }
  return GRAD_OK;
}

enum { UNUSED = -1 };

/* Is what the instruction makes wanted by any that comes later, or has it an effect? */
static bool is_wanted(const grad_instr *ins, const int32_t *last) {
  bool wanted = ins->op->flags & GRAD_OP_EFFECT;
  for (int32_t k = 0; k < ins->nout && !wanted; k++) wanted = last[ins->out + k] != UNUSED;
  return wanted;
}

/* last[v]: index of the last instruction that reads v (its own when none does), INT32_MAX for outputs; UNUSED for what
 * only values read that no output needs: as in a plan it is not computed, and cannot fail. */
static void find_last_uses(const grad_program *p, int32_t *last) {
  for (grad_id v = 0; v < p->nvalues; v++) last[v] = UNUSED;
  for (int32_t k = 0; k < p->noutputs; k++) last[p->outputs[k]] = INT32_MAX;
  for (int32_t i = p->ninstrs - 1; i >= 0; i--) {
    const grad_instr *ins = &p->instrs[i];
    if (!is_wanted(ins, last)) continue;
    for (int32_t k = 0; k < ins->nout; k++) {
      if (last[ins->out + k] == UNUSED) last[ins->out + k] = i;
    }
    for (int32_t k = 0; k < ins->nin; k++) {
      if (last[ins->in[k]] == UNUSED) last[ins->in[k]] = i;
    }
  }
}

static void release_dead(frame *f, const grad_instr *ins, const int32_t *last, int32_t now) {
  for (int32_t k = 0; k < ins->nin; k++) {
    if (last[ins->in[k]] == now) grad__array_release(&f->values[ins->in[k]]);
  }
  for (int32_t k = 0; k < ins->nout; k++) {
    if (last[ins->out + k] == now) grad__array_release(&f->values[ins->out + k]);
  }
}

/* A value that nothing else refers to can be handed out as it is; views, inputs and values given twice are copied. */
static bool may_hand_out(const grad_array *v) {
  return v->storage && v->storage->refs == 1 && v->data == v->storage->data && grad__array_is_contiguous(v);
}

static grad_status give_output(grad_ctx *ctx, const grad_array *v, grad_array *out) {
  if (may_hand_out(v)) {
    *out = *v;
    grad__array_retain(v);
    return GRAD_OK;
  }
  grad_array fresh = {0};
  grad_status status = grad__array_new(ctx, v->dtype, v->ndim, v->shape, &fresh);
  if (status != GRAD_OK) return status;
  grad__array_copy(&fresh, v);
  *out = fresh;
  return GRAD_OK;
}

/* What an instruction makes for an output that came with memory is made there. (Not what may be a view.) */
static void place_outputs(const frame *f, const grad_array *out) {
  for (int32_t k = 0; k < f->p->noutputs; k++) {
    const grad_id id = f->p->outputs[k];
    const grad_instr *ins = grad__producer(f->p, id);
    if (!ins || ins->op->view || grad__type_is_dynamic(grad__type(f->p, id))) continue;
    if (!grad__array_is_unset(&f->values[id])) continue; /* one that is given twice */
    f->values[id] = out[k];
    f->values[id].storage = NULL;
  }
}

/* fresh[k] tells which outputs came as empty headers, so that a failure can take back what was given. */
static grad_status give_outputs(const frame *f, grad_array *out, bool *fresh) {
  const grad_program *p = f->p;
  grad_status status = GRAD_OK;
  for (int32_t k = 0; k < p->noutputs; k++) fresh[k] = grad__array_is_unset(&out[k]);
  int32_t given = 0;
  for (; given < p->noutputs && status == GRAD_OK; given++) {
    const grad_array *v = &f->values[p->outputs[given]];
    if (fresh[given]) {
      status = give_output(p->ctx, v, &out[given]);
    } else if (v->data != out[given].data) {
      grad__array_copy(&out[given], v);
    }
  }
  if (status == GRAD_OK) return status;
  for (int32_t k = 0; k < given; k++) {
    if (fresh[k]) grad__array_release(&out[k]);
  }
  return status;
}

static grad_status run_all(frame *f, const int32_t *last) {
  const grad_program *p = f->p;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    if (!is_wanted(&p->instrs[i], last)) continue;
    grad_status status = step(f, &p->instrs[i]);
    if (status != GRAD_OK) return status;
    release_dead(f, &p->instrs[i], last, i);
  }
  return GRAD_OK;
}

grad_status grad__direct_run(grad_program *p, const grad_array *const *in, const double *scalars, grad_array *out) {
  if (p->status != GRAD_OK) return p->status;
  grad_status status = grad__check_inputs(p, in);
  if (status != GRAD_OK) return status;
  size_t nvalues = (size_t)p->nvalues, noutputs = (size_t)p->noutputs;
  size_t bytes = nvalues * (sizeof(grad_array) + sizeof(int32_t)) + noutputs * sizeof(bool);
  if (bytes == 0) return GRAD_OK;
  frame f = {.p = p, .scalars = scalars, .values = grad__alloc(p->ctx, bytes)};
  if (!f.values) return p->ctx->status;
  memset(f.values, 0, bytes);
  int32_t *last = (int32_t *)(f.values + nvalues);
  find_last_uses(p, last);
  for (int32_t k = 0; k < p->ninputs; k++) {
    f.values[p->inputs[k]] = *in[k];
    f.values[p->inputs[k]].storage = NULL;
  }
  place_outputs(&f, out);
  status = frame_open(&f, most_args(p));
  if (status == GRAD_OK) {
    status = run_all(&f, last);
    if (status == GRAD_OK) status = give_outputs(&f, out, (bool *)(last + nvalues));
    frame_close(&f);
  }
  for (size_t v = 0; v < nvalues; v++) grad__array_release(&f.values[v]);
  grad__free(p->ctx, f.values, bytes);
  return status;
}

/* --- partial evaluation */

typedef struct id_stack {
  grad_ctx *ctx;
  grad_id *ids;
  size_t count, cap;
} id_stack;

static bool push(id_stack *s, grad_id v) {
  if (s->count == s->cap) {
    size_t cap = s->cap ? 2 * s->cap : 64;
    grad_id *ids = grad__realloc(s->ctx, s->ids, s->cap * sizeof *ids, cap * sizeof *ids);
    if (!ids) return false;
    s->ids = ids;
    s->cap = cap;
  }
  s->ids[s->count++] = v;
  return true;
}

/* Pushes what the instruction still waits for; *waits tells whether there was any. */
static grad_status push_unknown(id_stack *s, const frame *f, const grad_instr *ins, bool *waits) {
  *waits = false;
  for (int32_t k = 0; k < ins->nin; k++) {
    if (!grad__array_is_unset(&f->values[ins->in[k]])) continue;
    *waits = true;
    if (!push(s, ins->in[k])) return s->ctx->status;
  }
  return GRAD_OK;
}

/* Depth first from the wanted value, so that the work is that of the unknown part only, however long the program. */
static grad_status complete(frame *f, id_stack *s) {
  while (s->count > 0) {
    grad_id v = s->ids[s->count - 1];
    if (!grad__array_is_unset(&f->values[v])) {
      s->count--;
      continue;
    }
    const grad_instr *ins = grad__producer(f->p, v);
    if (!ins) return grad__fail(f->p->ctx, GRAD_EVALUE, "the value depends on an input that is not known yet");
    bool waits;
    grad_status status = push_unknown(s, f, ins, &waits);
    if (status == GRAD_OK && !waits) {
      frame one = *f;
      status = frame_open(&one, ins->nin + ins->nout);
      if (status == GRAD_OK) {
        status = step(&one, ins);
        frame_close(&one);
      }
    }
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

grad_status grad__direct_partial(grad_program *p, grad_id wanted, grad_array *known, const double *scalars) {
  if (p->status != GRAD_OK) return p->status;
  frame f = {.p = p, .scalars = scalars, .values = known};
  id_stack s = {.ctx = p->ctx};
  grad_status status = push(&s, wanted) ? complete(&f, &s) : p->ctx->status;
  grad__free(p->ctx, s.ids, s.cap * sizeof *s.ids);
  return status;
}

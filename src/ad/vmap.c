/* vmap.c: batching: each instruction that meets a batched value is replaced by what its op's batch rule emits. A
 * batched value has one more axis, the first. */
#include "ad/pass.h"

typedef struct batching {
  grad_push s; /* the copy of the program; primal maps values */
  int64_t size;
  bool *batched; /* by src value */
} batching;

/* The batch axis comes first; behind the first axis of a stack of dynamic extent (loop.h). */
static void batched_shape(const grad_type *t, int64_t size, int64_t *shape) {
  const int at = t->ndim && t->shape[0] == GRAD_DYNAMIC;
  for (int i = 0; i < t->ndim; i++) shape[i + (i >= at)] = t->shape[i];
  shape[at] = size;
}

static bool axes_fit(grad_program *p, const grad_type *t) {
  if (t->ndim < GRAD_MAX_AXES) return true;
  grad__program_fail(p, GRAD_ESHAPE, "vmap: a value of %s cannot get one more axis: %d is the most",
                     grad__type_text(t).chars, GRAD_MAX_AXES);
  return false;
}

/* v with the batch axis, repeated. */
static grad_id with_batch_axis(grad_program *p, grad_id v, const grad_type *t, int64_t size) {
  int64_t shape[GRAD_MAX_AXES + 1];
  if (!axes_fit(p, t)) return GRAD_NONE;
  batched_shape(t, size, shape);
  return grad__broadcast(p, v, t->ndim + 1, shape);
}

/* The rule must give every output, of the old type or with the batch axis as it says. */
static void check_outputs(batching *b, const grad_instr *ins, const grad_batch *a) {
  grad_program *p = b->s.p;
  for (int32_t k = 0; k < ins->nout && !p->status; k++) {
    int64_t shape[GRAD_MAX_AXES + 1];
    grad_type want = a->yt[k];
    if (a->out_batched[k]) {
      batched_shape(&a->yt[k], b->size, shape);
      want = (grad_type){shape, want.dtype, want.ndim + 1};
    }
    if (a->y[k] != GRAD_NONE && grad__type_equal(grad__type(p, a->y[k]), &want)) continue;
    grad__program_fail(p, GRAD_EINTERNAL, "the batch rule of %s did not give output %d as %s", ins->op->name, k + 1,
                       grad__type_text(&want).chars);
  }
}

static void batch_instr(batching *b, const grad_instr *ins, const grad_id *x, const bool *batched,
                        const grad_type *xt) {
  grad_id y[GRAD_MAX_OUT];
  bool out_batched[GRAD_MAX_OUT];
  for (int32_t k = 0; k < ins->nout; k++) {
    y[k] = GRAD_NONE;
    out_batched[k] = true;
    if (!axes_fit(b->s.p, grad__type(b->s.src, ins->out + k))) return;
  }
  grad_batch a = {.p = b->s.p,
                  .ins = ins,
                  .size = b->size,
                  .x = x,
                  .batched = batched,
                  .xt = xt,
                  .yt = &b->s.src->types[ins->out],
                  .y = y,
                  .out_batched = out_batched};
  if (ins->op->batch) {
    ins->op->batch(&a);
  } else {
    grad__program_fail(b->s.p, GRAD_EUNSUPPORTED, "vmap cannot pass %s: it has no batching rule", ins->op->name);
  }
  check_outputs(b, ins, &a);
  for (int32_t k = 0; k < ins->nout; k++) {
    b->s.primal[ins->out + k] = y[k];
    b->batched[ins->out + k] = out_batched[k];
  }
}

static bool any_batched(const batching *b, const grad_instr *ins) {
  for (int32_t i = 0; i < ins->nin; i++) {
    if (b->batched[ins->in[i]]) return true;
  }
  return false;
}

static void run_instr(batching *b, const grad_instr *ins) {
  enum { FEW = 16 };
  grad_id few_x[FEW], *x = few_x;
  bool few_batched[FEW], *batched = few_batched;
  grad_type few_types[FEW], *types = few_types;
  if (ins->nin > FEW) {
    x = grad__ids_new(&b->s.temporary, ins->nin);
    batched = grad__arena_alloc(&b->s.temporary, (size_t)ins->nin);
    types = grad__arena_alloc(&b->s.temporary, (size_t)ins->nin * sizeof *types);
    if (!x || !batched || !types) {
      grad__program_fail(b->s.p, b->s.p->ctx->status, "out of memory while batching %s", ins->op->name);
      return;
    }
  }
  for (int32_t i = 0; i < ins->nin; i++) {
    x[i] = b->s.primal[ins->in[i]];
    batched[i] = b->batched[ins->in[i]];
    types[i] = b->s.src->types[ins->in[i]];
  }
  batch_instr(b, ins, x, batched, types);
}

static void run(batching *b) {
  for (int32_t i = 0; i < b->s.src->ninstrs && !b->s.p->status; i++) {
    const grad_instr *ins = &b->s.src->instrs[i];
    b->s.p->where = b->s.wheres[ins->where];
    if (any_batched(b, ins)) {
      run_instr(b, ins);
    } else {
      grad__inline_instr(b->s.p, b->s.src, ins, b->s.primal, 0);
    }
  }
}

/* Begins the new program: as grad__push_start, but batched inputs have their axis. */
static grad_status start(batching *b, const grad_program *src, int64_t size, const bool *batched) {
  b->size = size;
  grad_status status = grad__push_begin(&b->s, src);
  if (status) return status;
  b->batched = grad__arena_zeros(&b->s.temporary, (size_t)src->nvalues + 1);
  if (!b->batched) return src->ctx->status;
  for (int32_t i = 0; i < src->ninputs; i++) {
    const grad_id v = src->inputs[i];
    const grad_type *t = grad__type(src, v);
    int64_t shape[GRAD_MAX_AXES + 1];
    if (batched[i] && !axes_fit(b->s.p, t)) return b->s.p->status;
    if (batched[i]) batched_shape(t, size, shape);
    b->batched[v] = batched[i];
    b->s.primal[v] = grad__program_input(b->s.p, t->dtype, t->ndim + batched[i], batched[i] ? shape : t->shape);
  }
  return b->s.p->status;
}

static void outputs(batching *b, bool *out_batched) {
  const grad_program *src = b->s.src;
  for (int32_t i = 0; i < src->noutputs && !b->s.p->status; i++) {
    const grad_id v = src->outputs[i];
    const bool has_axis = b->batched[v];
    if (out_batched) out_batched[i] = has_axis;
    const bool as_is = has_axis || out_batched;
    grad__program_output(b->s.p,
                         as_is ? b->s.primal[v] : with_batch_axis(b->s.p, b->s.primal[v], grad__type(src, v), b->size));
  }
}

grad_status grad__ad_vmap(const grad_program *p, int64_t size, const bool *batched, bool *out_batched,
                          grad_program **out) {
  batching b = {0};
  grad_status status = start(&b, p, size, batched);
  if (!status) {
    run(&b);
    outputs(&b, out_batched);
    status = b.s.p->status ? grad__pass_failed(b.s.p) : grad__prune(b.s.p, out);
  }
  grad__push_end(&b.s);
  return status;
}

/* op_checkpoint.c: checkpoint: a nested program that reverse mode runs again rather than keep what it leaves behind;
 * and scans that keep their state every few steps only (Griewank, Walther 2000, "Revolve", in its simplest form).
 *
 * inputs  args      subs  {body}: args -> results */
#include "ad/control.h"
#include "ad/pass.h"

static grad_status checkpoint_infer(grad_infer *a) {
  const grad_program *body = a->subs[0];
  if (body->status) return body->status;
  if (body->ninputs != a->nin || body->nscalars) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "checkpoint: the function takes %d values, was given %d", body->ninputs,
                      a->nin);
  }
  for (int32_t i = 0; i < a->nin; i++) {
    const grad_type *t = grad__type(body, body->inputs[i]);
    if (grad__type_equal(t, &a->in[i])) continue;
    return grad__fail(a->ctx, GRAD_EINTERNAL, "checkpoint: argument %d is %s, expected %s", i + 1,
                      grad__type_text(&a->in[i]).chars, grad__type_text(t).chars);
  }
  a->nout = body->noutputs;
  return grad__infer_like_outputs(a, body, 0, a->nout, NULL);
}

static grad_status checkpoint_eval(const grad_eval *a) { return grad__call_sub(a, a->ins->subs[0], a->in); }

/* Forward mode keeps nothing anyway: values and tangents in one. Else the tangents' program computes all it needs. */
static void checkpoint_jvp(grad_jvp *a) {
  const grad_instr *ins = a->ins;
  grad_program *body = NULL;
  grad_cut cut = {0};
  grad_id *in = grad__ids_in(a->p, 2 * ins->nin);
  bool *wrt = grad__arena_alloc(&a->p->arena, (size_t)ins->nin + 1);
  if (!in || !wrt) {
    grad__program_try(a->p, a->p->ctx->status);
    return;
  }
  for (int32_t i = 0; i < ins->nin; i++) {
    wrt[i] = a->dx[i] != GRAD_NONE;
    in[i] = a->x[i];
  }
  const int32_t n = ins->nin + grad__append_tangents(a, in + ins->nin);
  if (a->joint && grad__program_try(a->p, grad__ad_jvp(ins->subs[0], wrt, &body))) {
    const grad_id out = grad__emit_nested(a->p, ins->op, n, in, 0, NULL, 1, &body);
    grad__ids_from(out, ins->nout, a->y);
    grad__give_tangents(a, ins->subs[0], out == GRAD_NONE ? out : out + ins->nout);
  } else if (!a->joint && grad__program_try(a->p, grad__cut_body(ins->subs[0], wrt, ins->nout, 0, true, &cut))) {
    grad__give_tangents(a, ins->subs[0], grad__emit_nested(a->p, ins->op, n, in, 0, NULL, 1, &cut.linear));
  }
  grad__program_release(body);
  grad__cut_clear(&cut);
}

static void checkpoint_transpose(grad_transpose *a) { grad__transpose_call(a, 0); }

static void checkpoint_batch(grad_batch *a) {
  grad_program *wide = NULL;
  if (!grad__program_try(a->p, grad__ad_vmap(a->ins->subs[0], a->size, a->batched, NULL, &wide))) return;
  const grad_id out = grad__emit_nested(a->p, a->ins->op, a->ins->nin, a->x, 0, NULL, 1, &wide);
  grad__ids_from(out, a->ins->nout, a->y);
  grad__program_release(wide);
}

static void checkpoint_crop(grad_crop *a) { grad__crop_call(a, 0); }

const grad_op grad__op_checkpoint = {
    .name = "checkpoint",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = checkpoint_infer,
    .eval = checkpoint_eval,
    .jvp = checkpoint_jvp,
    .transpose = checkpoint_transpose,
    .batch = checkpoint_batch,
    .crop = checkpoint_crop,
};

void grad__checkpoint(grad_program *p, grad_program *body, int32_t nargs, const grad_id *args, grad_id *out) {
  const grad_id first = grad__emit_nested(p, &grad__op_checkpoint, nargs, args, 0, NULL, 1, &body);
  grad__ids_from(first, body->noutputs, out);
}

/* --- scans in blocks */

/* Rows [from, from + n) of each xs. */
static void slice_rows(grad_program *p, const grad_loop *loop, int64_t from, int64_t n, grad_id *out) {
  for (int32_t k = 0; k < loop->nxs; k++) {
    out[k] = GRAD_NONE;
    if (loop->xs[k] == GRAD_NONE) continue;
    const grad_type t = *grad__type(p, loop->xs[k]);
    int64_t start[GRAD_MAX_AXES] = {from}, count[GRAD_MAX_AXES] = {n}, step[GRAD_MAX_AXES];
    for (int i = 0; i < t.ndim; i++) {
      step[i] = 1;
      if (i) count[i] = t.shape[i];
    }
    out[k] = grad__slice(p, loop->xs[k], start, count, step);
  }
}

/* The first axis split into blocks, or put together again. */
static grad_id split_rows(grad_program *p, grad_id v, int64_t blocks, int64_t every) {
  if (v == GRAD_NONE) return v;
  const grad_type t = *grad__type(p, v);
  if (t.ndim == GRAD_MAX_AXES) return grad__program_fail(p, GRAD_ESHAPE, "scan: rows with too many axes to checkpoint");
  int64_t shape[GRAD_MAX_AXES] = {blocks, every};
  for (int i = 1; i < t.ndim; i++) shape[i + 1] = t.shape[i];
  return grad__reshape(p, v, t.ndim + 1, shape);
}

static grad_id join_rows(grad_program *p, grad_id v) {
  if (v == GRAD_NONE) return v;
  const grad_type t = *grad__type(p, v);
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 1; i < t.ndim; i++) shape[i - 1] = i == 1 ? t.shape[0] * t.shape[1] : t.shape[i];
  return grad__reshape(p, v, t.ndim - 1, shape);
}

/* consts, carry, `every` rows of each xs -> carry, `every` rows of each y: the inner scan, when `wrapped` a checkpoint.
 */
static grad_status block_program(const grad_loop *loop, int64_t every, grad_program *wrapped, grad_program **out) {
  const grad_program *body = loop->body;
  grad_program *q = NULL;
  grad_status status = grad__program_new(body->ctx, &q);
  if (status) return status;
  grad_id *made = grad__ids_in(q, body->noutputs);
  for (int32_t i = 0; i < body->ninputs; i++) {
    const grad_type *t = grad__type(body, body->inputs[i]);
    const bool is_row = i >= loop->nconsts + loop->ncarry;
    int64_t shape[GRAD_MAX_AXES + 1] = {every};
    for (int k = 0; k < t->ndim; k++) shape[k + is_row] = t->shape[k];
    grad__program_input(q, t->dtype, t->ndim + is_row, shape);
  }
  if (made && !q->status) {
    grad_loop inner = *loop;
    inner.consts = q->inputs;
    inner.init = q->inputs + loop->nconsts;
    inner.xs = q->inputs + loop->nconsts + loop->ncarry;
    inner.length = every;
    if (wrapped) {
      grad__checkpoint(q, wrapped, q->ninputs, q->inputs, made);
    } else {
      grad__scan(q, &inner, made);
    }
    for (int32_t k = 0; k < body->noutputs && !q->status; k++) grad__program_output(q, made[k]);
  }
  return grad__program_finish(q, out);
}

/* The blocks, one after the other; out: carry, ys of all their rows. */
static void scan_blocks(grad_program *p, const grad_loop *loop, int64_t from, int64_t blocks, int64_t every,
                        grad_id *xs, grad_id *out) {
  grad_program *inner = NULL, *outer = NULL;
  slice_rows(p, loop, from, blocks * every, xs);
  for (int32_t k = 0; k < loop->nxs; k++) xs[k] = split_rows(p, xs[k], blocks, every);
  if (grad__program_try(p, block_program(loop, every, NULL, &inner)) &&
      grad__program_try(p, block_program(loop, every, inner, &outer))) {
    grad_loop all = *loop;
    all.body = outer;
    all.xs = xs;
    all.length = blocks;
    grad__scan(p, &all, out);
    for (int32_t k = loop->ncarry; k < loop->body->noutputs; k++) out[k] = join_rows(p, out[k]);
  }
  grad__program_release(inner);
  grad__program_release(outer);
}

/* The rows that fill no block. */
static void scan_rest(grad_program *p, const grad_loop *loop, int64_t from, int64_t n, grad_id *xs, grad_id *rest,
                      grad_id *out) {
  slice_rows(p, loop, from, n, xs);
  grad_loop last = *loop;
  last.init = out;
  last.xs = xs;
  last.length = n;
  grad__scan(p, &last, rest);
  for (int32_t k = 0; k < loop->body->noutputs && !p->status; k++) {
    const grad_id parts[2] = {loop->reverse ? rest[k] : out[k], loop->reverse ? out[k] : rest[k]};
    out[k] = k < loop->ncarry ? rest[k] : grad__concat(p, 2, parts, 0);
  }
}

void grad__scan_checkpointed(grad_program *p, const grad_loop *loop, int64_t every, grad_id *out) {
  for (int64_t root = 1; every <= 0; root++) {
    if (root * root >= loop->length) every = root;
  }
  const int64_t blocks = loop->length / every, left = loop->length % every;
  if (blocks <= 1 || p->status) {
    grad__scan(p, loop, out);
    return;
  }
  grad_id *xs = grad__ids_in(p, loop->nxs), *rest = grad__ids_in(p, loop->body->noutputs);
  if (!xs || !rest) return;
  for (int32_t k = 0; k < loop->body->noutputs; k++) out[k] = GRAD_NONE;
  scan_blocks(p, loop, loop->reverse ? left : 0, blocks, every, xs, out);
  if (left && !p->status) scan_rest(p, loop, loop->reverse ? 0 : blocks * every, left, xs, rest, out);
}

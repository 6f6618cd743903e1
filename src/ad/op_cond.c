/* op_cond.c: cond: one of two nested programs.
 *
 * inputs  predicate (0-d bool), args      subs  {taken when true, when false}: args -> results, of equal types */
#include <string.h>

#include "ad/control.h"
#include "ad/pass.h"
#include "ops/structured.h"

/* --- inference and evaluation */

static grad_status infer_signature(grad_infer *a, const grad_program *sub, const grad_program *first) {
  if (sub->status) return sub->status;
  if (sub->ninputs != a->nin - 1 || sub->noutputs != first->noutputs || sub->nscalars) {
    return grad__fail(a->ctx, GRAD_EVALUE, "cond: both functions must give the same number of results: %d and %d",
                      first->noutputs, sub->noutputs);
  }
  for (int32_t i = 0; i < sub->ninputs; i++) {
    const grad_type *t = grad__type(sub, sub->inputs[i]);
    if (grad__type_equal(t, &a->in[i + 1])) continue;
    return grad__fail(a->ctx, GRAD_EINTERNAL, "cond: argument %d is %s, expected %s", i + 1,
                      grad__type_text(&a->in[i + 1]).chars, grad__type_text(t).chars);
  }
  for (int32_t i = 0; i < sub->noutputs; i++) {
    const grad_type *t = grad__type(sub, sub->outputs[i]), *f = grad__type(first, first->outputs[i]);
    if (grad__type_equal(t, f)) continue;
    return grad__fail(a->ctx, GRAD_ESHAPE, "cond: result %d is %s in one function and %s in the other: make them equal",
                      i + 1, grad__type_text(f).chars, grad__type_text(t).chars);
  }
  return GRAD_OK;
}

static grad_status cond_infer(grad_infer *a) {
  if (a->nsubs != 2 || a->nin < 1)
    return grad__fail(a->ctx, GRAD_EINTERNAL, "cond takes a predicate and two functions");
  if (a->in[0].dtype != GRAD_BOOL || a->in[0].ndim != 0) {
    return grad__fail(a->ctx, GRAD_EDTYPE, "cond: the predicate must be a 0-d bool, as x:gt(0) gives; it is %s",
                      grad__type_text(&a->in[0]).chars);
  }
  for (int k = 0; k < 2; k++) {
    grad_status status = infer_signature(a, a->subs[k], a->subs[0]);
    if (status) return status;
  }
  a->nout = a->subs[0]->noutputs;
  return grad__infer_like_outputs(a, a->subs[0], 0, a->nout, NULL);
}

static grad_status cond_eval(const grad_eval *a) {
  const bool taken = *(const uint8_t *)a->in[0]->data;
  return grad__call_sub(a, a->ins->subs[taken ? 0 : 1], a->in + 1);
}

/* --- derivatives */

static bool *active_args(const grad_jvp *a, grad_arena *temporary) {
  bool *wrt = grad__arena_alloc(temporary, (size_t)a->ins->nin);
  for (int32_t i = 1; wrt && i < a->ins->nin; i++) wrt[i - 1] = a->dx[i] != GRAD_NONE;
  return wrt;
}

/* Values and tangents in one cond. */
static void jvp_joint(grad_jvp *a, const bool *wrt, grad_id *in) {
  grad_program *subs[2] = {NULL, NULL};
  bool good = true;
  for (int k = 0; k < 2 && good; k++) good = grad__program_try(a->p, grad__ad_jvp(a->ins->subs[k], wrt, &subs[k]));
  if (good) {
    memcpy(in, a->x, (size_t)a->ins->nin * sizeof *in);
    const int32_t n = a->ins->nin + grad__append_tangents(a, in + a->ins->nin);
    const grad_id out = grad__emit_nested(a->p, a->ins->op, n, in, 0, NULL, 2, subs);
    grad__ids_from(out, a->ins->nout, a->y);
    grad__give_tangents(a, a->ins->subs[0], out == GRAD_NONE ? out : out + a->ins->nout);
  }
  for (int k = 0; k < 2; k++) grad__program_release(subs[k]);
}

/* The branch's outputs and residuals, and zeros in place of the other branch's residuals. */
static grad_status with_all_residuals(const grad_cut *cuts, int which, int32_t nout, grad_program **out) {
  const grad_program *own = cuts[which].primal;
  grad_program *q = NULL;
  grad_status status = grad__program_like(own, &q);
  if (status) return status;
  grad_id *made = grad__ids_in(q, own->noutputs);
  if (made) {
    grad__inline(q, own, q->inputs, NULL, made, NULL);
    for (int32_t i = 0; i < nout; i++) grad__program_output(q, made[i]);
    for (int k = 0; k < 2; k++) {
      const grad_program *primal = cuts[k].primal;
      for (int32_t i = nout; i < primal->noutputs; i++) {
        grad__program_output(q, k == which ? made[i] : grad__zeros_of(q, grad__type(primal, primal->outputs[i])));
      }
    }
  }
  return grad__program_finish(q, out);
}

/* The branch's linear part, with the residuals of both branches as inputs. */
static grad_status over_all_residuals(const grad_cut *cuts, int which, grad_program **out) {
  const grad_program *own = cuts[which].linear;
  grad_program *q = NULL;
  grad_status status = grad__program_new(own->ctx, &q);
  if (status) return status;
  grad_id *in = grad__ids_in(q, own->ninputs), *made = grad__ids_in(q, own->noutputs);
  if (in && made) {
    for (int k = 0; k < 2; k++) {
      const grad_program *linear = cuts[k].linear;
      for (int32_t i = 0; i < cuts[k].nresiduals; i++) {
        const grad_id v = grad__program_input_like(q, grad__type(linear, linear->inputs[i]));
        if (k == which) in[i] = v;
      }
    }
    for (int32_t i = cuts[which].nresiduals; i < own->ninputs; i++) {
      in[i] = grad__program_input_like(q, grad__type(own, own->inputs[i]));
    }
    grad__inline(q, own, in, NULL, made, NULL);
    for (int32_t i = 0; i < own->noutputs; i++) grad__program_output(q, made[i]);
  }
  return grad__program_finish(q, out);
}

static void emit_split(grad_jvp *a, const grad_cut *cuts, grad_program *const *primal, grad_program *const *linear,
                       grad_id *in) {
  const int32_t nres = cuts[0].nresiduals + cuts[1].nresiduals;
  const grad_id out = grad__emit_nested(a->p, a->ins->op, a->ins->nin, a->x, 0, NULL, 2, primal);
  if (out == GRAD_NONE) return;
  grad__ids_from(out, a->ins->nout, a->y);
  in[0] = a->x[0];
  for (int32_t i = 0; i < nres; i++) in[1 + i] = out + a->ins->nout + i;
  const int32_t n = 1 + nres + grad__append_tangents(a, in + 1 + nres);
  grad__give_tangents(a, a->ins->subs[0], grad__emit_nested(a->p, a->ins->op, n, in, 0, NULL, 2, linear));
}

/* One cond gives the values and what the tangents need, another moves the tangents. */
static void jvp_split(grad_jvp *a, const bool *wrt, grad_arena *temporary) {
  grad_cut cuts[2] = {{0}, {0}};
  grad_program *primal[2] = {NULL, NULL}, *linear[2] = {NULL, NULL};
  const int32_t nout = a->ins->nout, most = (GRAD_MAX_OUT - nout) / 2;
  bool good = true;
  for (int k = 0; k < 2 && good; k++) {
    good = grad__program_try(a->p, grad__cut_body(a->ins->subs[k], wrt, nout, most, false, &cuts[k]));
  }
  for (int k = 0; k < 2 && good; k++) {
    good = grad__program_try(a->p, with_all_residuals(cuts, k, nout, &primal[k])) &&
           grad__program_try(a->p, over_all_residuals(cuts, k, &linear[k]));
  }
  grad_id *in = good ? grad__ids_new(temporary, 1 + cuts[0].nresiduals + cuts[1].nresiduals + a->ins->nin) : NULL;
  if (in) emit_split(a, cuts, primal, linear, in);
  if (good && !in) grad__program_try(a->p, a->p->ctx->status);
  for (int k = 0; k < 2; k++) {
    grad__cut_clear(&cuts[k]);
    grad__program_release(primal[k]);
    grad__program_release(linear[k]);
  }
}

static void cond_jvp(grad_jvp *a) {
  grad_arena temporary;
  grad__arena_init(&temporary, a->p->ctx);
  const bool *wrt = active_args(a, &temporary);
  grad_id *in = grad__ids_new(&temporary, 2 * a->ins->nin);
  if (!wrt || !in) {
    grad__program_try(a->p, a->p->ctx->status);
  } else if (a->joint) {
    jvp_joint(a, wrt, in);
  } else {
    jvp_split(a, wrt, &temporary);
  }
  grad__arena_clear(&temporary);
}

static void cond_transpose(grad_transpose *a) { grad__transpose_call(a, 1); }

/* --- batching */

/* Both branches on everything, then a choice for each element. */
static void batch_select(grad_batch *a, grad_program *const *wide) {
  grad_program *p = a->p;
  const int32_t nout = a->ins->nout;
  grad_id *yes = grad__ids_in(p, nout), *no = grad__ids_in(p, nout);
  if (!yes || !no) return;
  grad__inline(p, wide[0], a->x + 1, NULL, yes, NULL);
  grad__inline(p, wide[1], a->x + 1, NULL, no, NULL);
  for (int32_t k = 0; k < nout && !p->status; k++) a->y[k] = grad__where_rows(p, a->x[0], yes[k], no[k]);
}

static void cond_batch(grad_batch *a) {
  grad_program *wide[2] = {NULL, NULL};
  if (a->batched[0] && (grad__may_refuse(a->ins->subs[0]) || grad__may_refuse(a->ins->subs[1]))) {
    grad__batch_by_scan(a);
    return;
  }
  bool good = true;
  for (int k = 0; k < 2 && good; k++) {
    good = grad__program_try(a->p, grad__ad_vmap(a->ins->subs[k], a->size, a->batched + 1, NULL, &wide[k]));
  }
  if (good && a->batched[0]) {
    batch_select(a, wide);
  } else if (good) {
    const grad_id out = grad__emit_nested(a->p, a->ins->op, a->ins->nin, a->x, 0, NULL, 2, wide);
    grad__ids_from(out, a->ins->nout, a->y);
  }
  for (int k = 0; k < 2; k++) grad__program_release(wide[k]);
}

/* Of the longer branch. */
static double cond_flops(const grad_program *p, const grad_instr *ins) {
  const double yes = grad__program_flops(ins->subs[0]), no = grad__program_flops(ins->subs[1]);
  (void)p;
  return yes > no ? yes : no;
}

static void cond_crop(grad_crop *a) { grad__crop_call(a, 1); }

const grad_op grad__op_cond = {
    .name = "cond",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = cond_infer,
    .eval = cond_eval,
    .jvp = cond_jvp,
    .transpose = cond_transpose,
    .batch = cond_batch,
    .flops = cond_flops,
    .crop = cond_crop,
};

void grad__cond(grad_program *p, grad_id predicate, grad_program *yes, grad_program *no, int32_t nargs,
                const grad_id *args, grad_id *out) {
  grad_program *const subs[2] = {yes, no};
  grad__ids_from(GRAD_NONE, yes->noutputs, out);
  grad_id *in = grad__ids_in(p, nargs + 1);
  if (!in) return;
  in[0] = predicate;
  for (int32_t i = 0; i < nargs; i++) in[i + 1] = args[i];
  const grad_id first = grad__emit_nested(p, &grad__op_cond, nargs + 1, in, 0, NULL, 2, subs);
  grad__ids_from(first, yes->noutputs, out);
}

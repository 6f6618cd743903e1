/* op_custom.c: functions with derivative rules of their own.
 *
 * custom         inputs  args                params {has jvp, has vjp}   subs {f, jvp?, vjp?}
 * custom_linear  inputs  args, tangents of the float args   params {args}   subs {vjp, jvp?}: the tangents of f's float
 *                results. It stands where reverse mode will want the vjp rule: its transpose is that rule. */
#include <string.h>

#include "ad/control.h"
#include "ad/pass.h"
#include "ops/structured.h"

static grad_status custom_infer(grad_infer *a) {
  const grad_program *f = a->subs[0];
  if (f->status) return f->status;
  if (f->ninputs != a->nin || f->nscalars) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "custom: the function takes %d values, was given %d", f->ninputs, a->nin);
  }
  a->nout = f->noutputs;
  return grad__infer_like_outputs(a, f, 0, a->nout, NULL);
}

static grad_status custom_eval(const grad_eval *a) { return grad__call_sub(a, a->ins->subs[0], a->in); }

static grad_program *jvp_of(const grad_instr *ins) { return ins->params[0] ? ins->subs[1] : NULL; }
static grad_program *vjp_of(const grad_instr *ins) { return ins->params[1] ? ins->subs[1 + ins->params[0]] : NULL; }

static bool has_nested(const grad_program *p) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    if (p->instrs[i].nsubs) return true;
  }
  return false;
}

/* linear(primal(args, 0), v), with args and v for inputs. */
static grad_status join_at_zero(const grad_program *rule, int32_t nargs, const grad_program *primal,
                                const grad_program *linear, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_like(rule, &q);
  if (status) return status;
  const int32_t nresiduals = primal->noutputs - rule->noutputs;
  grad_id *in = grad__ids_new(&q->arena, rule->ninputs), *made = grad__ids_new(&q->arena, linear->noutputs);
  grad_id *mid = grad__ids_new(&q->arena, primal->noutputs + rule->ninputs);
  if (in && made && mid) {
    for (int32_t i = 0; i < rule->ninputs; i++) {
      in[i] = i < nargs ? q->inputs[i] : grad__zeros_of(q, grad__type(q, q->inputs[i]));
    }
    grad__inline(q, primal, in, NULL, mid, NULL);
    for (int32_t i = nargs; i < rule->ninputs; i++) mid[rule->noutputs + nresiduals + i - nargs] = q->inputs[i];
    grad__inline(q, linear, mid + rule->noutputs, NULL, made, NULL);
    for (int32_t i = 0; i < linear->noutputs; i++) grad__program_output(q, made[i]);
    status = q->status ? q->status : grad__prune(q, out);
  } else {
    status = rule->ctx->status;
  }
  grad__program_release(q);
  return status;
}

/* A rule whose instructions are each linear in the tangents (cotangents) or free of them, fit to be transposed: nested
 * programs may compute values and tangents together. A rule is linear, so it is its own derivative. */
static grad_status unmixed(const grad_program *rule, int32_t nargs, const bool *linear, grad_program **out) {
  grad_program *primal = NULL, *tangents = NULL;
  if (!has_nested(rule)) return grad__prune(rule, out);
  grad_status status = grad__ad_linearize(rule, linear, rule->noutputs, &primal, &tangents);
  if (!status) status = join_at_zero(rule, nargs, primal, tangents, out);
  grad__program_release(primal);
  grad__program_release(tangents);
  return status;
}

/* unmixed (in which the others are inputs up to nargs), or its transpose: the jvp rule that a vjp rule implies. */
static grad_status rework(const grad_program *rule, int32_t nargs, bool turn, grad_program **out) {
  grad_program *plain = NULL;
  bool *linear = grad__alloc(rule->ctx, (size_t)rule->ninputs + 1);
  if (!linear) return rule->ctx->status;
  for (int32_t i = 0; i < rule->ninputs; i++) linear[i] = i >= nargs;
  grad_status status = unmixed(rule, nargs, linear, &plain);
  if (!status && turn) {
    status = grad__ad_transpose(plain, linear, out);
    grad__program_release(plain);
  } else if (!status) {
    *out = plain;
  }
  grad__free(rule->ctx, linear, (size_t)rule->ninputs + 1);
  return status;
}

/* args, then a tangent for each float arg, zeros written out. */
static grad_id *with_tangents(const grad_jvp *a, const grad_program *f) {
  grad_program *p = a->p;
  grad_id *in = grad__ids_in(p, 2 * f->ninputs);
  if (!in) return NULL;
  int32_t n = f->ninputs;
  for (int32_t i = 0; i < f->ninputs; i++) {
    const grad_type *t = grad__type(f, f->inputs[i]);
    in[i] = a->x[i];
    if (grad__type_is_float(t)) in[n++] = grad__or_zeros(p, a->dx[i], t);
  }
  return in;
}

/* The jvp rule itself, in line. */
static void apply_jvp(grad_jvp *a, const grad_program *f, const grad_program *rule, const grad_id *in) {
  grad_id *made = grad__ids_in(a->p, rule->noutputs);
  if (!made) return;
  grad__inline(a->p, rule, in, NULL, made, NULL);
  for (int32_t k = 0; k < f->noutputs; k++) {
    if (grad__type_is_float(grad__type(f, f->outputs[k]))) a->dy[k] = *made++;
  }
}

static void emit_linear(grad_jvp *a, const grad_program *f, grad_program *jvp, grad_program *vjp, const grad_id *in) {
  const int64_t nargs = f->ninputs;
  grad_program *const subs[2] = {vjp, jvp};
  const int32_t n = f->ninputs + grad__count_floats(f, f->ninputs, f->inputs);
  const grad_id out = grad__emit_nested(a->p, &grad__op_custom_linear, n, in, 1, &nargs, jvp ? 2 : 1, subs);
  grad__give_tangents(a, f, out);
}

static void custom_jvp(grad_jvp *a) {
  const grad_program *f = a->ins->subs[0];
  grad_program *jvp = jvp_of(a->ins), *vjp = vjp_of(a->ins), *derived = NULL;
  const grad_id *in = with_tangents(a, f);
  if (!in) return;
  const bool turn = !jvp, transposed = !vjp && !a->joint; /* by what follows */
  grad_status status = GRAD_OK;
  if (turn || transposed) status = rework(turn ? vjp : jvp, f->ninputs, turn, &derived);
  if (turn || transposed) jvp = derived;
  if (vjp && !a->joint) {
    emit_linear(a, f, jvp, vjp, in); /* without a jvp rule reverse mode still works */
  } else if (status && !turn) {
    grad__program_try(a->p, status);
  } else if (status) {
    char reason[512];
    strncpy(reason, a->p->ctx->message, sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    grad__program_fail(a->p, status, "custom: forward mode needs a jvp rule, and none follows from the vjp rule: %s",
                       reason);
  } else {
    apply_jvp(a, f, jvp, in);
  }
  grad__program_release(derived);
}

/* Batches all inputs and all programs, so that the rules keep their types. */
static bool batch_subs(grad_batch *a, grad_program **wide) {
  bool *all = grad__arena_alloc(&a->p->arena, 2 * (size_t)a->ins->nin + GRAD_MAX_OUT);
  if (!all) return grad__program_try(a->p, a->p->ctx->status);
  memset(all, true, 2 * (size_t)a->ins->nin + GRAD_MAX_OUT);
  for (int32_t k = 0; k < a->ins->nsubs; k++) {
    if (!grad__program_try(a->p, grad__ad_vmap(a->ins->subs[k], a->size, all, NULL, &wide[k]))) return false;
  }
  return true;
}

static void custom_batch(grad_batch *a) {
  grad_program *wide[3] = {NULL, NULL, NULL};
  grad_id *in = grad__ids_in(a->p, a->ins->nin);
  if (in && batch_subs(a, wide)) {
    for (int32_t i = 0; i < a->ins->nin; i++) in[i] = grad__batched_input(a, i);
    const grad_id out =
        grad__emit_nested(a->p, a->ins->op, a->ins->nin, in, a->ins->nparams, a->ins->params, a->ins->nsubs, wide);
    grad__ids_from(out, a->ins->nout, a->y);
  }
  for (int k = 0; k < 3; k++) grad__program_release(wide[k]);
}

/* --- custom_linear */

static grad_status linear_infer(grad_infer *a) {
  const grad_program *vjp = a->subs[0];
  const int32_t nargs = (int32_t)a->params[0];
  a->nout = vjp->ninputs - nargs;
  for (int32_t k = 0; k < a->nout; k++) grad__infer_type(a, k, grad__type(vjp, vjp->inputs[nargs + k]));
  return GRAD_OK;
}

static grad_status linear_eval(const grad_eval *a) {
  if (a->ins->nsubs == 2) return grad__call_sub(a, a->ins->subs[1], a->in);
  return grad__fail(a->ctx, GRAD_EUNSUPPORTED,
                    "custom: forward mode needs a jvp rule: this function has a vjp rule only, which cannot be turned "
                    "around");
}

/* It is linear in its tangents; in its args, it is its jvp rule that is differentiated. */
static void linear_jvp(grad_jvp *a) {
  if (a->ins->nsubs != 2) {
    grad__program_fail(a->p, GRAD_EUNSUPPORTED, "custom: derivatives of this order need a jvp rule");
    return;
  }
  const grad_id *tangents = grad__push_inline(a, a->ins->subs[1], a->x, a->dx);
  for (int32_t k = 0; tangents && k < a->ins->nout; k++) a->dy[k] = tangents[k];
}

static void linear_transpose(grad_transpose *a) {
  const grad_program *vjp = a->ins->subs[0];
  const int32_t nargs = (int32_t)a->ins->params[0];
  grad_id *in = grad__ids_in(a->p, vjp->ninputs), *made = grad__ids_in(a->p, vjp->noutputs);
  if (!in || !made) return;
  for (int32_t i = 0; i < nargs; i++) in[i] = a->x[i];
  for (int32_t k = 0; k < a->ins->nout; k++) in[nargs + k] = grad__or_zeros(a->p, a->cy[k], &a->yt[k]);
  grad__inline(a->p, vjp, in, NULL, made, NULL);
  for (int32_t i = nargs; i < a->ins->nin; i++) {
    if (a->linear[i]) a->cx[i] = made[i - nargs];
  }
}

const grad_op grad__op_custom = {
    .name = "custom",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = custom_infer,
    .eval = custom_eval,
    .jvp = custom_jvp,
    .batch = custom_batch,
};

const grad_op grad__op_custom_linear = {
    .name = "custom_linear",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = linear_infer,
    .eval = linear_eval,
    .jvp = linear_jvp,
    .transpose = linear_transpose,
    .batch = custom_batch,
};

/* --- the builder */

typedef struct signature {
  grad_program *p; /* reports */
  const char *rule;
  const char *what; /* "takes" or "gives" */
  int32_t at;       /* how many values have been compared */
} signature;

static bool expect(signature *s, const grad_program *rule, const grad_id *ids, int32_t n, const grad_type *want) {
  if (s->at < n && grad__type_equal(grad__type(rule, ids[s->at]), want)) {
    s->at++;
    return true;
  }
  grad__program_fail(s->p, GRAD_ESHAPE, "custom: the %s rule %s %s as value %d, expected %s", s->rule, s->what,
                     s->at < n ? grad__type_text(grad__type(rule, ids[s->at])).chars : "nothing", s->at + 1,
                     grad__type_text(want).chars);
  return false;
}

/* Compares with all of ids, or the float ones, of f. */
static bool expect_all(signature *s, const grad_program *rule, bool outputs, const grad_program *f, int32_t n,
                       const grad_id *ids, bool floats) {
  for (int32_t i = 0; i < n; i++) {
    const grad_type *t = grad__type(f, ids[i]);
    if (floats && !grad__type_is_float(t)) continue;
    if (!expect(s, rule, outputs ? rule->outputs : rule->inputs, outputs ? rule->noutputs : rule->ninputs, t))
      return false;
  }
  return true;
}

static bool check_rule(grad_program *p, const grad_program *f, const grad_program *rule, bool reverse) {
  if (!rule) return true;
  if (rule->status) return grad__program_try(p, rule->status);
  const int32_t nfrom = reverse ? f->noutputs : f->ninputs, nto = reverse ? f->ninputs : f->noutputs;
  const grad_id *from = reverse ? f->outputs : f->inputs, *to = reverse ? f->inputs : f->outputs;
  signature in = {.p = p, .rule = reverse ? "vjp" : "jvp", .what = "takes"};
  signature out = {.p = p, .rule = in.rule, .what = "gives"};
  return expect_all(&in, rule, false, f, f->ninputs, f->inputs, false) &&
         expect_all(&in, rule, false, f, nfrom, from, true) && expect_all(&out, rule, true, f, nto, to, true);
}

void grad__custom(grad_program *p, grad_program *f, grad_program *jvp, grad_program *vjp, int32_t nargs,
                  const grad_id *args, grad_id *out) {
  grad__ids_from(GRAD_NONE, f->noutputs, out);
  if (!jvp && !vjp) {
    grad__program_fail(p, GRAD_EVALUE, "custom: give a jvp rule, a vjp rule, or both");
    return;
  }
  if (!check_rule(p, f, jvp, false) || !check_rule(p, f, vjp, true)) return;
  const int64_t params[2] = {jvp != NULL, vjp != NULL};
  grad_program *subs[3] = {f, jvp ? jvp : vjp, vjp};
  const grad_id first = grad__emit_nested(p, &grad__op_custom, nargs, args, 2, params, 1 + !!jvp + !!vjp, subs);
  grad__ids_from(first, f->noutputs, out);
}

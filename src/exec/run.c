/* run.c: running a plan. The first run allocates the workspace; later ones allocate nothing, unless an output comes
 * without memory, an input comes strided for the first time, or an op makes arrays of its own (loops).
 */
#include "exec/run.h"

#include <string.h>

#include "exec/planner.h"

typedef struct plan_run {
  grad_plan *plan;
  const double *scalars;
  grad_array *out;
  int32_t commit; /* the first step that overwrites an input */
} plan_run;

/* --- workspace */

static void store_slot(const grad_plan *plan, const grad_slot *slot, double value) {
  char *at = plan->workspace + slot->offset;
  if (slot->dtype == GRAD_F64) {
    memcpy(at, &value, sizeof value);
  } else {
    grad__array_copier(slot->dtype, GRAD_F64)(1, at, 1, &value, 1);
  }
}

int64_t grad__workspace_needed(const grad_plan *plan) {
  int64_t threads = plan->threaded ? plan->ctx->threads : 1;
  int64_t scratch = plan->region_scratch * threads;
  if (plan->op_scratch > scratch) scratch = plan->op_scratch;
  return plan->values_bytes + (scratch + 63) / 64 * 64 + plan->partials + 64;
}

static void use_workspace(grad_plan *plan, char *data, int64_t bytes) {
  plan->workspace = data;
  plan->workspace_bytes = bytes;
  plan->bases[GRAD_BASE_WORKSPACE] = data;
  for (int32_t i = 0; i < plan->nslots; i++) {
    if (plan->slots[i].scalar < 0) store_slot(plan, &plan->slots[i], plan->slots[i].value);
  }
}

static grad_status borrow_workspace(grad_plan *plan, int64_t bytes) {
  grad_shared_room *room = plan->lent;
  if (room->bytes < bytes) {
    grad__free_aligned(plan->ctx, room->data, (size_t)room->bytes);
    *room = (grad_shared_room){.data = grad__alloc_aligned(plan->ctx, (size_t)bytes)};
    if (!room->data) return plan->ctx->status;
    room->bytes = bytes;
  }
  if (room->user != plan || plan->workspace_bytes != bytes) use_workspace(plan, room->data, bytes);
  room->user = plan;
  return GRAD_OK;
}

static grad_status ready_workspace(grad_plan *plan) {
  int64_t bytes = grad__workspace_needed(plan);
  if (plan->lent) return borrow_workspace(plan, bytes);
  if (plan->workspace && plan->workspace_bytes >= bytes) return GRAD_OK;
  grad__free_aligned(plan->ctx, plan->workspace, (size_t)plan->workspace_bytes);
  plan->workspace_bytes = 0;
  plan->workspace = grad__alloc_aligned(plan->ctx, (size_t)bytes);
  if (!plan->workspace) return plan->ctx->status;
  use_workspace(plan, plan->workspace, bytes);
  return GRAD_OK;
}

/* --- inputs and outputs */

static grad_status bind_input(grad_plan *plan, int32_t k, const grad_array *in) {
  plan->bases[GRAD_BASE_INPUTS + k] = in->data;
  if (grad__array_is_contiguous(in)) return GRAD_OK;
  grad_array *copy = &plan->copies[k];
  if (!copy->storage) {
    grad_status status = grad__array_new(plan->ctx, in->dtype, in->ndim, in->shape, copy);
    if (status != GRAD_OK) return status;
  }
  grad__array_copy(copy, in);
  plan->bases[GRAD_BASE_INPUTS + k] = copy->data;
  return GRAD_OK;
}

static void note_overwriting(plan_run *r, const grad_plan_output *o, const grad_array *out,
                             const grad_array *const *in) {
  if (o->reuses >= 0 && out->data == in[o->reuses]->data && o->step < r->commit) r->commit = o->step;
}

static grad_status bind_output(plan_run *r, int32_t k) {
  grad_plan *plan = r->plan;
  const grad_type *t = grad__type(plan->program, plan->program->outputs[k]);
  plan->outputs[k].fresh = grad__array_is_unset(&r->out[k]);
  if (plan->outputs[k].fresh) {
    if (grad__type_is_dynamic(t)) return GRAD_OK;
    grad_status status = grad__array_new(plan->ctx, t->dtype, t->ndim, t->shape, &r->out[k]);
    if (status != GRAD_OK) return status;
  }
  plan->bases[GRAD_BASE_INPUTS + plan->program->ninputs + k] = r->out[k].data;
  return GRAD_OK;
}

static grad_status bind_all(plan_run *r, const grad_array *const *in) {
  grad_plan *plan = r->plan;
  grad_status status = ready_workspace(plan);
  for (int32_t k = 0; k < plan->program->noutputs; k++) plan->outputs[k].fresh = false;
  for (int32_t k = 0; k < plan->program->ninputs && status == GRAD_OK; k++) status = bind_input(plan, k, in[k]);
  for (int32_t k = 0; k < plan->program->noutputs && status == GRAD_OK; k++) status = bind_output(r, k);
  if (status != GRAD_OK) return status;
  for (int32_t k = 0; k < plan->program->noutputs; k++) note_overwriting(r, &plan->outputs[k], &r->out[k], in);
  for (int32_t i = 0; i < plan->nslots; i++) {
    if (plan->slots[i].scalar >= 0) store_slot(plan, &plan->slots[i], r->scalars[plan->slots[i].scalar]);
  }
  return GRAD_OK;
}

static grad_status copy_outputs(plan_run *r) {
  grad_plan *plan = r->plan;
  for (int32_t k = 0; k < plan->program->noutputs; k++) {
    grad_plan_output *o = &plan->outputs[k];
    if (o->direct) continue;
    const grad_array *from = &o->from;
    if (o->place.base < 0) {
      from = &plan->dynamics[o->place.offset];
    } else {
      o->from.data = grad__at(plan->bases, o->place);
    }
    if (o->fresh && o->place.base < 0) {
      grad_status status = grad__array_new(plan->ctx, from->dtype, from->ndim, from->shape, &r->out[k]);
      if (status != GRAD_OK) return status;
    }
    grad__array_copy(&r->out[k], from);
  }
  return GRAD_OK;
}

/* --- nested programs */

grad_status grad__subplan_of(grad_plan *plan, grad_program *sub, grad_plan **out) {
  for (grad_subplan *s = plan->subplans; s; s = s->next) {
    if (s->program != sub) continue;
    *out = s->plan;
    return GRAD_OK;
  }
  grad_subplan *s = grad__alloc(plan->ctx, sizeof *s);
  if (!s) return plan->ctx->status;
  *s = (grad_subplan){.next = plan->subplans, .program = sub};
  grad_status status = grad__plan_new(sub, &s->plan);
  if (status != GRAD_OK) {
    grad__free(plan->ctx, s, sizeof *s);
    return status;
  }
  s->plan->lent = &plan->nested;
  plan->subplans = s;
  *out = s->plan;
  return GRAD_OK;
}

static grad_status run_plan(grad_plan *plan, const grad_array *const *in, const double *scalars, grad_array *out);

/* The types of what a nested program is given were checked when the instruction was built. */
static grad_status call_nested(void *ud, grad_program *sub, const grad_array *const *in, const double *scalars,
                               grad_array *out) {
  grad_plan *nested = NULL;
  grad_status status = grad__subplan_of(ud, sub, &nested);
  return status == GRAD_OK ? run_plan(nested, in, scalars, out) : status;
}

static grad_status repeat_nested(void *ud, const grad_eval *how, grad_repeat *loop, bool *done) {
  grad_plan *plan = ud;
  grad_repeater *r = NULL;
  const grad_status status = grad__repeater_of(&plan->repeaters, loop, &r);
  *done = r != NULL;
  return r ? grad__repeater_run(r, how, loop) : status;
}

/* --- steps */

static grad_status run_op(const plan_run *r, const grad_op_step *op) {
  grad_plan *plan = r->plan;
  const int32_t nargs = op->ins->nin + op->ins->nout;
  for (int32_t i = 0; i < nargs; i++) {
    if (op->places[i].base >= 0) op->args[i].data = grad__at(plan->bases, op->places[i]);
  }
  grad_eval e = {.ctx = plan->ctx,
                 .ins = op->ins,
                 .in = (const grad_array *const *)op->pointers,
                 .out = op->pointers + op->ins->nin,
                 .scratch = plan->workspace + plan->values_bytes,
                 .scalars = r->scalars,
                 .call = call_nested,
                 .repeat = repeat_nested,
                 .call_ud = plan};
  return grad__fail_at(plan->program, op->ins, op->ins->op->eval(&e));
}

static grad_status run_steps(const plan_run *r) {
  grad_plan *plan = r->plan;
  char *scratch = plan->workspace + plan->values_bytes;
  char *partials = plan->workspace + plan->workspace_bytes - plan->partials - 64;
  for (int32_t s = 0; s < plan->nsteps; s++) {
    const grad_step *step = &plan->steps[s];
    const bool stops = s < r->commit;
    grad_status status = stops ? grad__interrupted(plan->ctx) : GRAD_OK;
    if (status == GRAD_OK) {
      status = step->loop ? grad__fused_loop_run(plan->ctx, step->loop, plan->bases, scratch, partials, stops)
                          : run_op(r, step->op);
    }
    if (status != GRAD_OK) return status;
    for (int32_t i = 0; i < step->ndead; i++) grad__array_release(&plan->dynamics[step->dead[i]]);
  }
  return GRAD_OK;
}

static void release_fresh(const plan_run *r) {
  const grad_plan *plan = r->plan;
  for (int32_t k = 0; k < plan->program->noutputs; k++) {
    if (plan->outputs[k].fresh) grad__array_release(&r->out[k]);
  }
}

static grad_status run_plan(grad_plan *plan, const grad_array *const *in, const double *scalars, grad_array *out) {
  if (plan->running) {
    return grad__fail(plan->ctx, GRAD_EVALUE,
                      "this function is running already; it cannot be called from inside itself");
  }
  plan_run r = {.plan = plan, .scalars = scalars, .out = out, .commit = INT32_MAX};
  plan->running = true;
  grad_status status = bind_all(&r, in);
  if (status == GRAD_OK) status = run_steps(&r);
  if (status == GRAD_OK) status = copy_outputs(&r);
  for (int32_t i = 0; i < plan->ndynamics; i++) grad__array_release(&plan->dynamics[i]);
  if (status != GRAD_OK) release_fresh(&r);
  plan->running = false;
  plan->info.runs += status == GRAD_OK;
  return status;
}

grad_status grad__plan_run(grad_plan *plan, const grad_array *const *in, const double *scalars, grad_array *out) {
  const grad_status status = grad__check_inputs(plan->program, in);
  return status == GRAD_OK ? run_plan(plan, in, scalars, out) : status;
}

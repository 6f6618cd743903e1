/* plan.c: the plan: a program made ready to run many times. This first form runs the instructions directly. */
#include "exec/exec.h"

struct grad_plan {
  grad_program *program;
  uint64_t runs;
  bool running;
};

grad_status grad__plan_new(grad_program *p, grad_plan **out) {
  if (p->status != GRAD_OK) return p->status;
  grad_plan *plan = grad__alloc(p->ctx, sizeof *plan);
  if (!plan) return p->ctx->status;
  grad__program_retain(p);
  *plan = (grad_plan){.program = p};
  *out = plan;
  return GRAD_OK;
}

void grad__plan_free(grad_plan *plan) {
  if (!plan) return;
  grad_ctx *ctx = plan->program->ctx;
  grad__program_release(plan->program);
  grad__free(ctx, plan, sizeof *plan);
}

grad_status grad__plan_run(grad_plan *plan, const grad_array *const *in, const double *scalars, grad_array *out) {
  if (plan->running) {
    return grad__fail(plan->program->ctx, GRAD_EVALUE, "this function is already running: it cannot call itself");
  }
  plan->running = true;
  grad_status status = grad__direct_run(plan->program, in, scalars, out);
  plan->running = false;
  plan->runs++;
  return status;
}

void grad__plan_info(const grad_plan *plan, grad_plan_info *out) {
  int64_t n = plan->program->ninstrs;
  *out = (grad_plan_info){.steps = n, .instructions = n, .runs = plan->runs};
}

grad_status grad__plan_print(const grad_plan *plan, grad_text *out) { return grad__program_print(plan->program, out); }

/* plan.c: making a plan: the passes of planner.h, then the places of all memory, known once liveness is. */
#include "exec/emit.h"
#include "exec/planner.h"

static void widest(int64_t *most, int64_t bytes) {
  if (bytes > *most) *most = bytes;
}

/* --- places */

static grad_place place_of(const grad_planner *pl, grad_id root, int64_t offset) {
  grad_place place = pl->values[root].place;
  place.offset += offset;
  return place;
}

static void place_header(const grad_planner *pl, grad_id v, grad_array *header, grad_place *place) {
  grad__planner_header(pl, v, header);
  *place = place_of(pl, pl->values[v].root, (char *)header->data - GRAD_FAKE_BASE);
}

static void place_loads(const grad_planner *pl, grad_micro *micros, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    if (micros[i].kind != GRAD_MICRO_LOAD) continue;
    grad_load *load = micros[i].do_.load;
    load->place = place_of(pl, load->value, load->place.offset);
  }
}

static void place_region(grad_planner *pl, grad_region *g) {
  for (int32_t i = 0; i < g->noperands; i++) {
    grad_operand *o = &g->operands[i];
    if (o->kind != GRAD_OPERAND_REGISTER) o->place = place_of(pl, o->value, o->place.offset);
  }
  place_loads(pl, g->fills, g->nfills);
  place_loads(pl, g->micros, g->nmicros);
  for (int32_t i = 0; i < g->nreductions; i++) g->reductions[i].place = place_of(pl, g->reductions[i].value, 0);
}

static void place_loop(grad_planner *pl, grad_fused_loop *loop) {
  grad_plan *plan = pl->plan;
  for (int32_t k = 0; k < loop->nregions; k++) place_region(pl, loop->regions[k]);
  widest(&plan->region_scratch, loop->scratch_bytes);
  widest(&plan->partials, loop->partial_bytes);
  plan->threaded = plan->threaded || loop->nchunks > 1;
}

static void place_argument(const grad_planner *pl, grad_op_step *op, int32_t arg, grad_id v) {
  const grad_value *root = &pl->values[pl->values[v].root];
  if (root->kind == GRAD_VALUE_DYNAMIC) {
    op->pointers[arg] = &pl->plan->dynamics[root->place.offset];
    op->places[arg].base = -1;
  } else {
    op->pointers[arg] = &op->args[arg];
    place_header(pl, v, &op->args[arg], &op->places[arg]);
  }
}

static grad_status place_op(grad_planner *pl, grad_step *step) {
  const grad_instr *ins = &pl->p->instrs[step->instrs[0]];
  const size_t n = (size_t)ins->nin + (size_t)ins->nout;
  grad_op_step *op = grad__plan_alloc(pl, 1, sizeof *op);
  if (!op) return pl->ctx->status;
  *op = (grad_op_step){.ins = ins,
                       .args = grad__plan_alloc(pl, n, sizeof *op->args),
                       .pointers = grad__plan_alloc(pl, n, sizeof *op->pointers),
                       .places = grad__plan_alloc(pl, n, sizeof *op->places),
                       .scratch = ins->op->scratch ? ins->op->scratch(pl->p, ins) : 0};
  if (!op->args || !op->pointers || !op->places) return pl->ctx->status;
  for (int32_t k = 0; k < ins->nin; k++) place_argument(pl, op, k, ins->in[k]);
  for (int32_t k = 0; k < ins->nout; k++) place_argument(pl, op, ins->nin + k, ins->out + k);
  widest(&pl->plan->op_scratch, op->scratch);
  step->op = op;
  return GRAD_OK;
}

static void place_outputs(grad_planner *pl) {
  for (int32_t k = 0; k < pl->p->noutputs; k++) {
    grad_id v = pl->p->outputs[k];
    grad_plan_output *o = &pl->plan->outputs[k];
    if (pl->values[v].kind == GRAD_VALUE_DYNAMIC) {
      o->place = pl->values[v].place;
    } else {
      place_header(pl, v, &o->from, &o->place);
    }
  }
}

/* Dynamic arrays end after the last step that reads them. */
static grad_status list_dead(grad_planner *pl) {
  grad_plan *plan = pl->plan;
  int32_t *dead = grad__plan_alloc(pl, (size_t)plan->ndynamics + 1, sizeof *dead), n = 0;
  if (!dead) return pl->ctx->status;
  for (int32_t s = 0; plan->ndynamics > 0 && s < plan->nsteps; s++) {
    plan->steps[s].dead = dead + n;
    for (int32_t i = 0; i < plan->steps[s].ninstrs; i++) {
      const grad_instr *ins = &pl->p->instrs[plan->steps[s].instrs[i]];
      for (int32_t k = 0; k < ins->nin + ins->nout; k++) {
        grad_value *v = &pl->values[k < ins->nin ? ins->in[k] : ins->out + k - ins->nin];
        if (v->kind != GRAD_VALUE_DYNAMIC || v->last != s) continue;
        dead[n++] = (int32_t)v->place.offset;
        v->last = INT32_MAX;
      }
    }
    plan->steps[s].ndead = (int32_t)(dead + n - plan->steps[s].dead);
  }
  return GRAD_OK;
}

/* --- figures */

static int64_t bytes_of_region(const grad_region *g) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < g->noperands; i++) {
    if (g->operands[i].kind == GRAD_OPERAND_FLAT) bytes += g->n * g->operands[i].size;
  }
  for (int32_t i = 0; i < g->nmicros; i++) {
    if (g->micros[i].kind == GRAD_MICRO_LOAD) bytes += g->n * g->micros[i].do_.load->size;
  }
  return bytes;
}

static void count_work(grad_planner *pl) {
  grad_plan_info *info = &pl->plan->info;
  const grad_program *p = pl->p;
  info->instructions = p->ninstrs;
  info->steps = pl->plan->nsteps;
  for (int32_t s = 0; s < pl->plan->nsteps; s++) {
    const grad_step *step = &pl->plan->steps[s];
    info->fused += step->loop != NULL;
    for (int32_t i = 0; i < step->ninstrs; i++) info->flops += grad__instr_flops(p, &p->instrs[step->instrs[i]]);
    for (int32_t k = 0; step->loop && k < step->loop->nregions; k++) {
      info->bytes_moved += bytes_of_region(step->loop->regions[k]);
    }
    if (!step->loop) info->bytes_moved += grad__instr_bytes(p, step->op->ins);
  }
  for (int32_t k = 0; k < p->noutputs; k++) info->peak += grad__value_bytes(p, p->outputs[k]);
}

/* --- the whole */

static grad_status reserve(grad_planner *pl) {
  const size_t nvalues = (size_t)pl->p->nvalues, ninstrs = (size_t)pl->p->ninstrs;
  grad_plan *plan = pl->plan;
  pl->values = grad__planner_alloc(pl, nvalues, sizeof *pl->values);
  pl->operand_of = grad__ids_new(&pl->temp, pl->p->nvalues);
  pl->classes = grad__planner_alloc(pl, ninstrs, sizeof *pl->classes);
  pl->stage = grad__planner_alloc(pl, ninstrs, sizeof *pl->stage);
  pl->set = grad__planner_alloc(pl, ninstrs, sizeof *pl->set);
  pl->step_of = grad__planner_alloc(pl, ninstrs, sizeof *pl->step_of);
  plan->outputs = grad__plan_alloc(pl, (size_t)pl->p->noutputs, sizeof *plan->outputs);
  plan->copies = grad__plan_alloc(pl, (size_t)pl->p->ninputs, sizeof *plan->copies);
  plan->bases = grad__plan_alloc(pl, 1 + (size_t)pl->p->ninputs + (size_t)pl->p->noutputs, sizeof *plan->bases);
  bool all = pl->values && pl->operand_of && pl->classes && pl->stage && pl->set && pl->step_of && plan->outputs &&
             plan->copies && plan->bases;
  return all ? GRAD_OK : pl->ctx->status;
}

static bool is_fused(const grad_planner *pl, const grad_step *step) {
  return pl->classes[step->instrs[0]] >= GRAD_INSTR_FUSED;
}

static grad_status make_steps(grad_planner *pl) {
  grad_plan *plan = pl->plan;
  grad_status status = grad__fuse(pl);
  if (status != GRAD_OK) return status;
  pl->overwrites = grad__planner_alloc(pl, (size_t)plan->nsteps, sizeof *pl->overwrites);
  pl->regions = grad__planner_alloc(pl, (size_t)plan->nsteps, sizeof *pl->regions);
  if (!pl->overwrites || !pl->regions) return pl->ctx->status;
  for (int32_t s = 0; s < plan->nsteps && status == GRAD_OK; s++) {
    if (is_fused(pl, &plan->steps[s])) status = grad__region_build(pl, s);
  }
  if (status == GRAD_OK) status = grad__form_loops(pl);
  if (status == GRAD_OK) status = grad__liveness(pl);
  for (int32_t s = 0; s < plan->nsteps && status == GRAD_OK; s++) {
    if (plan->steps[s].loop) {
      place_loop(pl, plan->steps[s].loop);
    } else {
      status = place_op(pl, &plan->steps[s]);
    }
  }
  return status;
}

static grad_status make(grad_planner *pl) {
  grad_status status = reserve(pl);
  if (status == GRAD_OK) status = make_steps(pl);
  if (status == GRAD_OK) status = list_dead(pl);
  if (status == GRAD_OK) status = grad__emit_plan(pl);
  if (status != GRAD_OK) return status;
  place_outputs(pl);
  count_work(pl);
  return GRAD_OK;
}

grad_status grad__plan_new(grad_program *p, grad_plan **out) { return grad__plan_new_donating(p, NULL, out); }

grad_status grad__plan_new_donating(grad_program *p, const bool *donated, grad_plan **out) {
  if (p->status != GRAD_OK) return p->status;
  grad_plan *plan = grad__alloc(p->ctx, sizeof *plan);
  if (!plan) return p->ctx->status;
  *plan = (grad_plan){.ctx = p->ctx, .code.ctx = p->ctx};
  grad__arena_init(&plan->arena, p->ctx);
  grad_status status = grad__simplify(p, GRAD_SIMPLIFY_FINAL, &plan->program);
  if (status == GRAD_OK) {
    grad_planner pl = {.ctx = p->ctx, .p = plan->program, .plan = plan, .donated = donated};
    grad__arena_init(&pl.temp, p->ctx);
    status = make(&pl);
    grad__arena_clear(&pl.temp);
  }
  if (status != GRAD_OK) {
    grad__plan_free(plan);
    return status;
  }
  *out = plan;
  return GRAD_OK;
}

void grad__plan_free(grad_plan *plan) {
  if (!plan) return;
  grad_ctx *ctx = plan->ctx;
  for (grad_subplan *s = plan->subplans; s;) {
    grad_subplan *next = s->next;
    grad__plan_free(s->plan);
    grad__free(ctx, s, sizeof *s);
    s = next;
  }
  grad__repeaters_free(ctx, plan->repeaters);
  for (int32_t k = 0; plan->copies && k < plan->program->ninputs; k++) grad__array_release(&plan->copies[k]);
  if (!plan->lent) grad__free_aligned(ctx, plan->workspace, (size_t)plan->workspace_bytes);
  grad__free_aligned(ctx, plan->nested.data, (size_t)plan->nested.bytes);
  grad__code_free(&plan->code);
  grad__arena_clear(&plan->arena);
  grad__program_release(plan->program);
  grad__free(ctx, plan, sizeof *plan);
}

int32_t grad__plan_reuses(const grad_plan *plan, int32_t output) { return plan->outputs[output].reuses; }

/* What the nested plans share, and those inside them in turn. */
static int64_t nested_bytes(const grad_plan *plan) {
  int64_t most = plan->nested.bytes, inside = 0;
  for (const grad_subplan *s = plan->subplans; s; s = s->next) {
    const int64_t needed = grad__workspace_needed(s->plan);
    if (needed > most) most = needed;
    inside += nested_bytes(s->plan);
  }
  return most + inside;
}

grad_status grad__plan_nested(grad_plan *plan) {
  grad_status status = GRAD_OK;
  for (int32_t s = 0; s < plan->nsteps && !status; s++) {
    const grad_instr *ins = plan->steps[s].op ? plan->steps[s].op->ins : NULL;
    for (int32_t k = 0; ins && ins->op->flags & GRAD_OP_CONTROL && k < ins->nsubs && !status; k++) {
      grad_plan *nested;
      status = grad__subplan_of(plan, ins->subs[k], &nested);
      if (!status) status = grad__plan_nested(nested);
    }
  }
  return status;
}

void grad__plan_info(const grad_plan *plan, grad_plan_info *out) {
  const int64_t needed = grad__workspace_needed(plan);
  *out = plan->info;
  out->unrolled = grad__repeaters_count(plan->repeaters);
  out->workspace = (plan->workspace_bytes > needed ? plan->workspace_bytes : needed) + nested_bytes(plan);
  out->peak += out->workspace;
}

/* --- printing */

static int count_code(const grad_region *g) {
  int count = 0;
  for (int32_t m = 0; g->coded && m < g->ncoded; m++) count += g->coded[m].kind == GRAD_MICRO_CODE;
  return count;
}

static grad_status print_loop(const grad_plan *plan, const grad_step *step, grad_text *out) {
  const grad_fused_loop *loop = step->loop;
  grad_status status = grad__text_add(out, "  fused loop over %lld rows in %lld chunks:", (long long)loop->rows,
                                      (long long)loop->nchunks);
  for (int32_t k = 0; k < loop->nregions && status == GRAD_OK; k++) {
    const grad_region *g = loop->regions[k];
    status = grad__text_add(out, " %lld elements, blocks of %lld, %d registers, %d stretches of code;", (long long)g->n,
                            (long long)g->block, g->nregs, count_code(g));
  }
  if (status == GRAD_OK) status = grad__text_add(out, "\n   ");
  for (int32_t i = 0; i < step->ninstrs && status == GRAD_OK; i++) {
    const grad_instr *ins = &plan->program->instrs[step->instrs[i]];
    status = grad__text_add(out, " %%%d=%s", ins->out, ins->op->name);
  }
  return status == GRAD_OK ? grad__text_add(out, "\n") : status;
}

static grad_status print_op(const grad_plan *plan, const grad_step *step, grad_text *out) {
  const grad_instr *ins = step->op->ins;
  return grad__text_add(out, "  %%%d = %s  %.3g flops%s%s\n", ins->out, ins->op->name,
                        grad__instr_flops(plan->program, ins), ins->where ? "  # " : "",
                        grad__program_where(plan->program, ins));
}

grad_status grad__plan_print(const grad_plan *plan, grad_text *out) {
  grad_plan_info info;
  grad__plan_info(plan, &info);
  grad_status status = grad__program_print(plan->program, out);
  if (status == GRAD_OK) {
    status = grad__text_add(
        out, "%lld steps (%lld fused), %.4g flops, %lld bytes moved, %lld bytes of workspace, %lld at the peak\n",
        (long long)info.steps, (long long)info.fused, info.flops, (long long)info.bytes_moved,
        (long long)info.workspace, (long long)info.peak);
  }
  for (int32_t s = 0; s < plan->nsteps && status == GRAD_OK; s++) {
    const grad_step *step = &plan->steps[s];
    status = step->loop ? print_loop(plan, step, out) : print_op(plan, step, out);
  }
  return status;
}

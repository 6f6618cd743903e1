/* simplify.c: applies the rules of simplify_*.c to each instruction, once, in program order. Equal instructions are
 * shared as they are emitted; what has become dead is pruned.
 */
#include "exec/simplify.h"

#include <string.h>

#include "exec/planner.h"
#include "ops/demand.h"

static const grad_rule *const tables[] = {grad__algebra_rules, grad__shape_rules};

static bool may_apply(const grad_rule *rule, const grad_instr *ins, int flags) {
  if (rule->needs & ~flags) return false;
  return rule->op ? rule->op == ins->op : (ins->op->flags & GRAD_OP_ELEMENTWISE) && ins->nin > 0;
}

static grad_id apply_rules(const grad_rewrite *r, int flags) {
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
    for (const grad_rule *rule = tables[t]; rule->apply; rule++) {
      if (!may_apply(rule, r->ins, flags)) continue;
      grad_id v = rule->apply(r);
      if (v != GRAD_NONE) return v;
    }
  }
  return GRAD_NONE;
}

/* No rule looks at ops with several results, effects or nested programs. */
static bool is_plain(const grad_instr *ins) {
  return ins->nout == 1 && ins->nsubs == 0 && ins->nin > 0 && !(ins->op->flags & (GRAD_OP_EFFECT | GRAD_OP_RANDOM));
}

typedef struct pass {
  grad_program *to;
  const grad_program *from;
  grad_id *map;
  int32_t *uses;
  const int32_t *wheres;
  grad_arena temp;
  int flags;
  bool changed;
} pass;

static void rewrite(pass *s, const grad_instr *ins, grad_id *in) {
  s->to->where = s->wheres[ins->where];
  if (is_plain(ins)) {
    for (int32_t k = 0; k < ins->nin; k++) in[k] = s->map[ins->in[k]];
    const grad_rewrite r = {.p = s->to, .from = s->from, .ins = ins, .in = in, .uses = s->uses};
    grad_id v = apply_rules(&r, s->flags);
    if (v != GRAD_NONE && grad__type_equal(grad__type(s->to, v), grad__type(s->from, ins->out))) {
      s->map[ins->out] = v;
      s->changed = true;
      return;
    }
  }
  grad__inline_instr(s->to, s->from, ins, s->map, 0);
}

static void count_uses(const grad_program *p, int32_t *uses, int32_t *most) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (ins->nin > *most) *most = ins->nin;
    for (int32_t k = 0; k < ins->nin; k++) uses[ins->in[k]]++;
  }
  for (int32_t k = 0; k < p->noutputs; k++) uses[p->outputs[k]]++;
}

static grad_status run_pass(pass *s) {
  const grad_program *p = s->from;
  int32_t most = 1;
  s->map = grad__ids_new(&s->temp, p->nvalues);
  s->wheres = grad__wheres_map(s->to, p, &s->temp);
  s->uses = grad__arena_zeros(&s->temp, ((size_t)p->nvalues + 1) * sizeof *s->uses);
  if (!s->map || !s->wheres || !s->uses) return p->ctx->status;
  count_uses(p, s->uses, &most);
  grad_id *in = grad__arena_alloc(&s->temp, (size_t)most * sizeof *in);
  if (!in) return p->ctx->status;
  for (int32_t k = 0; k < p->ninputs; k++) {
    const grad_type *t = grad__type(p, p->inputs[k]);
    s->map[p->inputs[k]] = grad__program_input(s->to, t->dtype, t->ndim, t->shape);
  }
  s->to->nscalars = p->nscalars;
  for (int32_t i = 0; i < p->ninstrs && s->to->status == GRAD_OK; i++) rewrite(s, &p->instrs[i], in);
  for (int32_t k = 0; k < p->noutputs; k++) grad__program_output(s->to, s->map[p->outputs[k]]);
  return s->to->status;
}

/* *out: p by the rules of the tables, pruned; p itself when none applied. */
static grad_status by_rules(grad_program *p, int flags, grad_program **out) {
  pass s = {.from = p, .flags = flags};
  grad_status status = grad__program_new(p->ctx, &s.to);
  if (status != GRAD_OK) return status;
  grad__arena_init(&s.temp, p->ctx);
  status = run_pass(&s);
  grad__arena_clear(&s.temp);
  if (status == GRAD_OK && s.changed) {
    status = grad__prune(s.to, out);
  } else if (status == GRAD_OK) {
    grad__program_retain(p);
    *out = p;
  }
  grad__program_release(s.to);
  return status;
}

grad_status grad__simplify(const grad_program *p, int flags, grad_program **out) {
  grad_program *wanted = NULL, *live = NULL, *ruled = NULL;
  grad_status status = grad__demand(p, &wanted);
  if (status == GRAD_OK) status = grad__prune(wanted ? wanted : p, &live);
  if (status == GRAD_OK) status = by_rules(live, flags, &ruled);
  if (status == GRAD_OK && flags & GRAD_SIMPLIFY_FINAL) {
    status = grad__simplify_sums(ruled, out);
  } else if (status == GRAD_OK) {
    *out = ruled;
    ruled = NULL;
  }
  grad__program_release(wanted);
  grad__program_release(live);
  grad__program_release(ruled);
  return status;
}

/* rewrite.c: copying programs: into another one (inline), a part of one (extract, prune). */
#include <string.h>

#include "program/opdef.h"

grad_id *grad__ids_new(grad_arena *arena, int32_t n) {
  grad_id *ids = grad__arena_alloc(arena, ((size_t)n + 1) * sizeof *ids);
  if (ids) memset(ids, 0xFF, ((size_t)n + 1) * sizeof *ids); /* GRAD_NONE is -1 */
  return ids;
}

grad_id *grad__ids_in(grad_program *p, int32_t n) {
  grad_id *ids = p->status ? NULL : grad__ids_new(&p->arena, n);
  if (!ids) grad__program_try(p, p->ctx->status);
  return ids;
}

void grad__ids_from(grad_id first, int32_t n, grad_id *out) {
  for (int32_t k = 0; k < n; k++) out[k] = first == GRAD_NONE ? GRAD_NONE : first + k;
}

int32_t *grad__wheres_map(grad_program *dst, const grad_program *src, grad_arena *arena) {
  int32_t *map = grad__arena_alloc(arena, ((size_t)src->nwheres + 1) * sizeof *map);
  if (!map) return NULL;
  map[0] = 0;
  for (int32_t i = 0; i < src->nwheres; i++) map[i + 1] = grad__program_add_where(dst, src->wheres[i]);
  return map;
}

grad_status grad__program_like(const grad_program *p, grad_program **out) {
  if (p->status) return p->status;
  grad_program *q = NULL;
  const grad_status status = grad__program_new(p->ctx, &q);
  if (status) return status;
  for (int32_t i = 0; i < p->ninputs; i++) grad__program_input_like(q, grad__type(p, p->inputs[i]));
  q->nscalars = p->nscalars;
  *out = q;
  return GRAD_OK;
}

grad_status grad__program_finish(grad_program *p, grad_program **out) {
  grad_status status = p->status;
#ifdef GRAD_DEBUG
  if (!status) status = grad__verify(p);
#endif
  if (status) {
    grad__program_release(p);
    return status;
  }
  *out = p;
  return GRAD_OK;
}

/* Emits `ins` of src with the given operands; a scalar's number moves up by the offset. */
static grad_id emit_moved(grad_program *dst, const grad_program *src, const grad_instr *ins, const grad_id *in,
                          int32_t scalar_offset) {
  if (!(ins->op->flags & GRAD_OP_SCALAR) || scalar_offset == 0) return grad__emit_like(dst, src, ins, in);
  int64_t params[4];
  if (ins->nparams > 4)
    return grad__program_fail(dst, GRAD_EINTERNAL, "%s has %d parameters", ins->op->name, ins->nparams);
  memcpy(params, ins->params, (size_t)ins->nparams * sizeof *params);
  params[0] += scalar_offset;
  return grad__emit(dst, ins->op, ins->nin, in, ins->nparams, params);
}

void grad__inline_instr(grad_program *dst, const grad_program *src, const grad_instr *ins, grad_id *map,
                        int32_t scalar_offset) {
  enum { FEW = 16 };
  grad_id few[FEW], *in = few;
  if (ins->nin > FEW) in = grad__arena_alloc(&dst->arena, (size_t)ins->nin * sizeof *in);
  if (!in) {
    grad__program_fail(dst, dst->ctx->status, "out of memory while copying %s", ins->op->name);
    return;
  }
  for (int32_t i = 0; i < ins->nin; i++) in[i] = map[ins->in[i]];
  grad_id out = emit_moved(dst, src, ins, in, scalar_offset);
  if (out == GRAD_NONE) return;
  for (int32_t k = 0; k < ins->nout; k++) map[ins->out + k] = out + k;
}

static bool input_types_fit(grad_program *dst, const grad_program *src, const grad_id *inputs) {
  for (int32_t i = 0; i < src->ninputs; i++) {
    if (inputs[i] == GRAD_NONE) return false;
    const grad_type *got = grad__type(dst, inputs[i]), *want = grad__type(src, src->inputs[i]);
    if (grad__type_equal(got, want)) continue;
    grad__program_fail(dst, GRAD_EINTERNAL, "a nested program's input %d is %s, was given %s", i + 1,
                       grad__type_text(want).chars, grad__type_text(got).chars);
    return false;
  }
  return true;
}

static void inline_with_map(grad_program *dst, const grad_program *src, const grad_id *scalars, const int32_t *wheres,
                            grad_id *map) {
  int32_t offset = dst->nscalars;
  if (!scalars) dst->nscalars += src->nscalars;
  for (int32_t i = 0; i < src->ninstrs && !dst->status; i++) {
    const grad_instr *ins = &src->instrs[i];
    dst->where = wheres[ins->where];
    if (scalars && ins->op->flags & GRAD_OP_SCALAR) {
      map[ins->out] = scalars[ins->params[0]];
    } else {
      grad__inline_instr(dst, src, ins, map, offset);
    }
  }
}

void grad__inline(grad_program *dst, const grad_program *src, const grad_id *inputs, const grad_id *scalars,
                  grad_id *outputs, grad_id *keep) {
  if (keep) memset(keep, 0xFF, (size_t)src->nvalues * sizeof *keep);
  for (int32_t i = 0; i < src->noutputs; i++) outputs[i] = GRAD_NONE;
  if (dst->status || !input_types_fit(dst, src, inputs)) return;
  grad_arena temporary;
  grad__arena_init(&temporary, dst->ctx);
  int32_t *wheres = grad__wheres_map(dst, src, &temporary);
  grad_id *map = keep ? keep : grad__ids_new(&temporary, src->nvalues);
  if (wheres && map) {
    int32_t where = dst->where;
    for (int32_t i = 0; i < src->ninputs; i++) map[src->inputs[i]] = inputs[i];
    inline_with_map(dst, src, scalars, wheres, map);
    for (int32_t i = 0; i < src->noutputs; i++) outputs[i] = map[src->outputs[i]];
    dst->where = where;
  } else {
    grad__program_fail(dst, dst->ctx->status, "out of memory while copying a program");
  }
  grad__arena_clear(&temporary);
}

/* --- extract */

typedef struct extraction {
  const grad_program *from;
  grad_program *to;
  int32_t ninputs, noutputs;
  const grad_id *inputs, *outputs;
  bool effects;
  bool *live;   /* by instruction: it has a wanted effect, or an output needs it */
  grad_id *map; /* by value of from */
  int32_t *wheres;
} extraction;

static void mark_maker(extraction *e, grad_id v) {
  const int32_t maker = e->from->producers[v];
  if (maker >= 0 && e->map[v] == GRAD_NONE) e->live[maker] = true;
}

static void mark_live(extraction *e) {
  const grad_program *p = e->from;
  for (int32_t i = 0; i < e->noutputs; i++) mark_maker(e, e->outputs[i]);
  for (int32_t i = p->ninstrs - 1; i >= 0; i--) {
    const grad_instr *ins = &p->instrs[i];
    if (e->effects && ins->op->flags & GRAD_OP_EFFECT) e->live[i] = true;
    if (!e->live[i]) continue;
    for (int32_t k = 0; k < ins->nin; k++) mark_maker(e, ins->in[k]);
  }
}

static bool extraction_start(extraction *e, grad_arena *temporary) {
  e->live = grad__arena_zeros(temporary, (size_t)e->from->ninstrs + 1);
  e->map = grad__ids_new(temporary, e->from->nvalues);
  e->wheres = grad__wheres_map(e->to, e->from, temporary);
  return e->live && e->map && e->wheres;
}

/* An instruction of which only some outputs are cut still runs: the cut ones keep their inputs' ids. */
static void copy_instr(extraction *e, const grad_instr *ins) {
  grad_id cut[GRAD_MAX_OUT];
  for (int32_t k = 0; k < ins->nin; k++) {
    if (e->map[ins->in[k]] != GRAD_NONE) continue;
    grad__program_fail(e->to, GRAD_EINTERNAL, "extract: %s needs an input that is not given", ins->op->name);
    return;
  }
  for (int32_t k = 0; k < ins->nout; k++) cut[k] = e->map[ins->out + k];
  e->to->where = e->wheres[ins->where];
  grad__inline_instr(e->to, e->from, ins, e->map, 0);
  for (int32_t k = 0; k < ins->nout; k++) {
    if (cut[k] != GRAD_NONE) e->map[ins->out + k] = cut[k];
  }
}

static void copy_live(extraction *e) {
  const grad_program *p = e->from;
  for (int32_t i = 0; i < e->ninputs; i++) {
    const grad_type *t = grad__type(p, e->inputs[i]);
    const grad_id v = grad__program_input(e->to, t->dtype, t->ndim, t->shape);
    if (e->map[e->inputs[i]] == GRAD_NONE) e->map[e->inputs[i]] = v;
  }
  mark_live(e);
  for (int32_t i = 0; i < p->ninstrs && !e->to->status; i++) {
    if (e->live[i]) copy_instr(e, &p->instrs[i]);
  }
  for (int32_t i = 0; i < e->noutputs; i++) grad__program_output(e->to, e->map[e->outputs[i]]);
  e->to->nscalars = p->nscalars;
}

grad_status grad__extract(const grad_program *p, int32_t ninputs, const grad_id *inputs, int32_t noutputs,
                          const grad_id *outputs, bool effects, grad_program **out) {
  if (p->status) return p->status;
  extraction e = {
      .from = p, .ninputs = ninputs, .noutputs = noutputs, .inputs = inputs, .outputs = outputs, .effects = effects};
  const grad_status status = grad__program_new(p->ctx, &e.to);
  if (status) return status;
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  if (extraction_start(&e, &temporary)) {
    copy_live(&e);
  } else {
    grad__program_fail(e.to, p->ctx->status, "out of memory while copying a program");
  }
  grad__arena_clear(&temporary);
  return grad__program_finish(e.to, out);
}

grad_status grad__prune(const grad_program *p, grad_program **out) {
  return grad__extract(p, p->ninputs, p->inputs, p->noutputs, p->outputs, true, out);
}

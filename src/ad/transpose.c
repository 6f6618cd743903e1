/* transpose.c: the reverse sweep: linear instructions are walked backwards, each handing the cotangents of its outputs
 * to its inputs. One sweep, linear in the number of instructions. */
#include <string.h>

#include "ad/loop.h"

void grad__mark_linear(const grad_program *p, int32_t ninstrs, bool *linear) {
  for (int32_t i = 0; i < ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    bool depends = false;
    for (int32_t k = 0; k < ins->nin && !depends; k++) depends = linear[ins->in[k]];
    for (int32_t k = 0; k < ins->nout; k++) linear[ins->out + k] = depends;
  }
}

static bool is_linear(const grad_instr *ins, const bool *linear) { return ins->nout > 0 && linear[ins->out]; }

static bool has_cotangent(const grad_instr *ins, const grad_id *ct) {
  for (int32_t k = 0; k < ins->nout; k++) {
    if (ct[ins->out + k] != GRAD_NONE) return true;
  }
  return false;
}

/* Adds what a transpose rule gave to the cotangents of its linear inputs. */
static void accumulate(grad_program *p, const grad_instr *ins, const bool *linear, const grad_id *cx, grad_id *ct) {
  for (int32_t i = 0; i < ins->nin && !p->status; i++) {
    const grad_id v = ins->in[i];
    if (!linear[v] || cx[i] == GRAD_NONE) continue;
    if (!grad__type_equal(grad__type(p, cx[i]), grad__type(p, v))) {
      grad__program_fail(p, GRAD_EINTERNAL, "the transpose rule of %s gave a cotangent %s for a value %s",
                         ins->op->name, grad__type_text(grad__type(p, cx[i])).chars,
                         grad__type_text(grad__type(p, v)).chars);
      return;
    }
    const bool stacks = ct[v] != GRAD_NONE && grad__type_numel(grad__type(p, v)) < 0;
    ct[v] = stacks ? grad__add_stacks(p, ct[v], cx[i]) : grad__add_tangents(p, ct[v], cx[i]);
  }
}

/* Room for what a rule gets about the inputs of one instruction. */
typedef struct operand_room {
  grad_id *x, *cx;
  bool *linear;
  grad_type *types;
} operand_room;

static bool find_room(operand_room *room, grad_arena *temporary, int32_t nin) {
  room->x = grad__ids_new(temporary, nin);
  room->cx = grad__ids_new(temporary, nin);
  room->linear = grad__arena_alloc(temporary, (size_t)nin + 1);
  room->types = grad__arena_alloc(temporary, ((size_t)nin + 1) * sizeof *room->types);
  return room->x && room->cx && room->linear && room->types;
}

/* ins is a copy: emitting moves p's instructions. Its operand list lies in p's arena and stays. */
static void transpose_instr(grad_program *p, const grad_instr *ins, const bool *linear, grad_id *ct,
                            const operand_room *room) {
  grad_id cy[GRAD_MAX_OUT];
  grad_type yt[GRAD_MAX_OUT];
  for (int32_t i = 0; i < ins->nin; i++) {
    const grad_id v = ins->in[i];
    room->linear[i] = linear[v];
    room->x[i] = linear[v] ? GRAD_NONE : v;
    room->cx[i] = GRAD_NONE;
    room->types[i] = p->types[v];
  }
  for (int32_t k = 0; k < ins->nout; k++) {
    cy[k] = ct[ins->out + k];
    yt[k] = p->types[ins->out + k];
  }
  if (!ins->op->transpose) {
    grad__program_fail(p, GRAD_EUNSUPPORTED, "%s has no transpose rule: reverse mode cannot pass it", ins->op->name);
    return;
  }
  grad_transpose a = {
      .p = p, .ins = ins, .x = room->x, .linear = room->linear, .xt = room->types, .yt = yt, .cy = cy, .cx = room->cx};
  ins->op->transpose(&a);
  accumulate(p, ins, linear, room->cx, ct);
}

void grad__pull(grad_program *p, int32_t ninstrs, const bool *linear, grad_id *ct) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  int32_t most = 0;
  for (int32_t i = 0; i < ninstrs; i++) most = p->instrs[i].nin > most ? p->instrs[i].nin : most;
  operand_room room;
  if (!find_room(&room, &temporary, most)) grad__program_fail(p, p->ctx->status, "out of memory in the reverse sweep");
  for (int32_t i = ninstrs - 1; i >= 0 && !p->status; i--) {
    const grad_instr ins = p->instrs[i];
    if (!is_linear(&ins, linear) || !has_cotangent(&ins, ct)) continue;
    p->where = ins.where;
    transpose_instr(p, &ins, linear, ct, &room);
  }
  grad__arena_clear(&temporary);
}

/* One transposition: the copied program, its marks and cotangents. */
typedef struct transposition {
  const grad_program *src;
  grad_program *p;
  const grad_id *primal; /* by src value */
  bool *linear;
  grad_id *ct, *inputs, *results;
} transposition;

static bool transposition_start(transposition *t, const bool *linear, grad_arena *temporary) {
  const grad_program *src = t->src;
  t->linear = grad__arena_alloc(temporary, (size_t)t->p->nvalues + 1);
  t->ct = grad__ids_new(temporary, t->p->nvalues);
  t->inputs = grad__ids_new(temporary, src->ninputs + src->noutputs);
  t->results = grad__ids_new(temporary, src->ninputs);
  if (!t->linear || !t->ct || !t->inputs || !t->results) return false;
  memset(t->linear, 0, (size_t)t->p->nvalues + 1);
  for (int32_t i = 0; i < src->ninputs; i++) t->linear[t->p->inputs[i]] = linear[i];
  return true;
}

static grad_status transposition_run(transposition *t, grad_program **out) {
  grad_program *p = t->p;
  const int32_t ninstrs = p->ninstrs;
  int32_t nin = 0, nout = 0;
  grad__mark_linear(p, ninstrs, t->linear);
  for (int32_t i = 0; i < t->src->ninputs; i++) {
    if (!t->linear[p->inputs[i]]) t->inputs[nin++] = p->inputs[i];
  }
  for (int32_t i = 0; i < t->src->noutputs; i++) {
    const grad_id v = t->primal[t->src->outputs[i]];
    const grad_type type = p->types[v];
    const grad_id c = t->inputs[nin++] = grad__program_input(p, type.dtype, type.ndim, type.shape);
    if (t->linear[v]) t->ct[v] = grad__add_tangents(p, t->ct[v], c);
  }
  grad__pull(p, ninstrs, t->linear, t->ct);
  for (int32_t i = 0; i < t->src->ninputs && !p->status; i++) {
    const grad_id v = p->inputs[i];
    if (t->linear[v]) t->results[nout++] = t->ct[v] != GRAD_NONE ? t->ct[v] : grad__zeros_of(p, grad__type(p, v));
  }
  return p->status ? grad__pass_failed(p) : grad__extract(p, nin, t->inputs, nout, t->results, false, out);
}

grad_status grad__ad_transpose(const grad_program *p, const bool *linear, grad_program **out) {
  grad_push s;
  grad_status status = grad__push_start(&s, p);
  if (!status) {
    grad__push_run(&s); /* without tangents: a copy */
    transposition t = {.src = s.src, .p = s.p, .primal = s.primal};
    if (s.p->status) {
      status = grad__pass_failed(s.p);
    } else {
      status = transposition_start(&t, linear, &s.temporary) ? transposition_run(&t, out) : p->ctx->status;
    }
  }
  grad__push_end(&s);
  return status;
}

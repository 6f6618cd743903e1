/* demand.c: computing only the elements that are wanted; see demand.h. */
#include "ops/demand.h"

#include <string.h>

#include "ops/structured.h"

/* --- boxes */

enum { FEW = 64 }; /* values of no more elements are not worth cutting */

void grad__box_whole(const grad_type *t, grad_range *box) {
  for (int i = 0; i < t->ndim; i++) box[i] = (grad_range){0, t->shape[i]};
}

bool grad__box_equal(int ndim, const grad_range *a, const grad_range *b) {
  for (int i = 0; i < ndim; i++)
    if (a[i].from != b[i].from || a[i].to != b[i].to) return false;
  return true;
}

bool grad__box_join(int ndim, grad_range *box, const grad_range *other) {
  bool grown = false;
  for (int i = 0; i < ndim; i++) {
    if (other[i].from < box[i].from) {
      box[i].from = other[i].from;
      grown = true;
    }
    if (other[i].to > box[i].to) {
      box[i].to = other[i].to;
      grown = true;
    }
  }
  return grown;
}

grad_type grad__box_type(const grad_type *t, const grad_range *box, int64_t *shape) {
  for (int i = 0; i < t->ndim; i++) shape[i] = box[i].to - box[i].from;
  return (grad_type){shape, t->dtype, t->ndim};
}

static bool saves(int64_t few, int64_t all, int64_t part) { return all > few && part <= all / 2; }

bool grad__box_is_whole(const grad_type *t, const grad_range *box) {
  grad_range whole[GRAD_MAX_AXES];
  grad__box_whole(t, whole);
  return grad__box_equal(t->ndim, whole, box);
}

bool grad__box_round(const grad_type *t, int64_t few, grad_range *box) {
  int64_t shape[GRAD_MAX_AXES];
  const grad_type part = grad__box_type(t, box, shape);
  if (grad__box_is_whole(t, box) || saves(few, grad__type_numel(t), grad__type_numel(&part))) return false;
  grad__box_whole(t, box);
  return true;
}

/* A box without elements in an array that has some: no reason to compute the array. */
static bool is_nothing(const grad_type *t, const grad_range *box) {
  int64_t shape[GRAD_MAX_AXES];
  const grad_type part = grad__box_type(t, box, shape);
  return grad__type_numel(&part) == 0 && grad__type_numel(t) != 0;
}

grad_id grad__crop_between(grad_program *p, grad_id v, const grad_range *have, const grad_range *want) {
  if (v == GRAD_NONE) return v;
  const int ndim = grad__ndim(p, v);
  int64_t start[GRAD_MAX_AXES], count[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  if (grad__box_equal(ndim, have, want)) return v;
  for (int i = 0; i < ndim; i++) {
    start[i] = want[i].from - have[i].from;
    count[i] = want[i].to - want[i].from;
    step[i] = 1;
  }
  return grad__slice(p, v, start, count, step);
}

/* --- what may fail */

bool grad__instr_may_refuse(const grad_program *p, const grad_instr *ins) {
  const bool integers = p->types[ins->out].dtype == GRAD_I64;
  if (ins->op->flags & GRAD_OP_REFUSES) return true;
  if (integers && (ins->op == &grad__op_floordiv || ins->op == &grad__op_mod)) return true;
  for (int32_t k = 0; k < ins->nsubs; k++) {
    if (grad__may_refuse(ins->subs[k])) return true;
  }
  return false;
}

bool grad__may_refuse(const grad_program *p) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    if (grad__instr_may_refuse(p, &p->instrs[i])) return true;
  }
  return false;
}

/* --- finding boxes */

grad_status grad__demand_start(grad_demand *d, const grad_program *p, int64_t few) {
  *d = (grad_demand){.p = p, .few = few, .closed = {.ctx = p->ctx, .status = GRAD_EINTERNAL}};
  grad__arena_init(&d->arena, p->ctx);
  grad__arena_init(&d->closed.arena, p->ctx);
  size_t total = 1;
  int32_t most = 0;
  for (grad_id v = 0; v < p->nvalues; v++) total += p->types[v].ndim;
  for (int32_t i = 0; i < p->ninstrs; i++) most = p->instrs[i].nin > most ? p->instrs[i].nin : most;
  const size_t n = (size_t)p->nvalues + 1;
  grad_range *ranges = grad__arena_alloc(&d->arena, total * sizeof *ranges);
  d->boxes = grad__arena_alloc(&d->arena, n * sizeof *d->boxes);
  d->wanted = grad__arena_alloc(&d->arena, n);
  d->map = grad__ids_new(&d->arena, p->nvalues);
  d->operands = grad__ids_new(&d->arena, most);
  if (!ranges || !d->boxes || !d->wanted || !d->map || !d->operands) return d->status = p->ctx->status;
  for (grad_id v = 0; v < p->nvalues; v++) {
    d->boxes[v] = ranges;
    ranges += p->types[v].ndim;
  }
  grad__demand_reset(d);
  return GRAD_OK;
}

void grad__demand_end(grad_demand *d) {
  grad__arena_clear(&d->closed.arena);
  grad__arena_clear(&d->arena);
}

void grad__demand_reset(grad_demand *d) {
  memset(d->wanted, 0, (size_t)d->p->nvalues + 1);
  d->crops = false;
}

void grad__demand_want(grad_demand *d, grad_id v, const grad_range *box) {
  const grad_type *t = grad__type(d->p, v);
  grad_range whole[GRAD_MAX_AXES];
  if (!box) grad__box_whole(t, whole);
  const grad_range *wanted = box ? box : whole;
  if (is_nothing(t, wanted)) return;
  if (d->wanted[v]) {
    grad__box_join(t->ndim, d->boxes[v], wanted);
  } else {
    memcpy(d->boxes[v], wanted, t->ndim * sizeof *wanted);
    d->wanted[v] = true;
  }
}

static bool has_rule(const grad_demand *d, const grad_instr *ins) {
  return ins->op->crop && (ins->op->flags & GRAD_OP_CONTROL || !grad__instr_may_refuse(d->p, ins));
}

/* Calls the op's rule, to find boxes or to build, as p tells. */
static void apply_rule(grad_demand *d, const grad_instr *ins, grad_program *p, grad_id *y) {
  const grad_range *box[GRAD_MAX_OUT];
  for (int32_t k = 0; k < ins->nout; k++) {
    box[k] = grad__demand_box(d, ins->out + k);
    y[k] = GRAD_NONE;
  }
  grad_crop a = {.demand = d, .from = d->p, .ins = ins, .box = box, .p = p, .in = d->operands, .y = y};
  if (has_rule(d, ins)) {
    ins->op->crop(&a);
  } else {
    grad__crop_keep(&a);
  }
}

static bool is_wanted(const grad_demand *d, const grad_instr *ins) {
  bool wanted = ins->op->flags & GRAD_OP_EFFECT;
  for (int32_t k = 0; k < ins->nout && !wanted; k++) wanted = d->wanted[ins->out + k];
  return wanted;
}

static void settle(grad_demand *d, const grad_instr *ins) {
  for (grad_id v = ins->out; v < ins->out + ins->nout; v++) {
    if (!d->wanted[v]) continue;
    const grad_type *t = grad__type(d->p, v);
    if (has_rule(d, ins)) {
      grad__box_round(t, d->few, d->boxes[v]);
    } else {
      grad__box_whole(t, d->boxes[v]);
    }
    if (!grad__box_is_whole(t, d->boxes[v])) d->crops = true;
  }
}

grad_status grad__demand_find(grad_demand *d) {
  grad_id y[GRAD_MAX_OUT];
  for (int32_t i = d->p->ninstrs - 1; i >= 0 && !d->status; i--) {
    const grad_instr *ins = &d->p->instrs[i];
    if (!is_wanted(d, ins)) continue;
    settle(d, ins);
    apply_rule(d, ins, &d->closed, y);
  }
  return d->status;
}

/* --- building */

/* The elements of `box`: of those that were computed, and zeros. */
static grad_id value_of(grad_demand *d, grad_program *q, grad_id v, const grad_range *box) {
  const grad_type *t = grad__type(d->p, v);
  grad_range common[GRAD_MAX_AXES];
  int64_t full[GRAD_MAX_AXES], start[GRAD_MAX_AXES], step[GRAD_MAX_AXES];
  const grad_type part = grad__box_type(t, box, full);
  if (is_nothing(t, box) || !d->wanted[v]) return grad__zeros_of(q, &part);
  for (int i = 0; i < t->ndim; i++) {
    const grad_range *have = &d->boxes[v][i];
    common[i].from = have->from > box[i].from ? have->from : box[i].from;
    common[i].to = have->to < box[i].to ? have->to : box[i].to;
    start[i] = common[i].from - box[i].from;
    step[i] = 1;
  }
  const grad_id piece = grad__crop_between(q, d->map[v], d->boxes[v], common);
  return grad__box_equal(t->ndim, common, box) ? piece : grad__unslice(q, piece, t->ndim, full, start, step);
}

static void keep_results(grad_demand *d, grad_program *q, const grad_instr *ins, const grad_id *y) {
  for (int32_t k = 0; k < ins->nout && !q->status; k++) {
    const grad_id v = ins->out + k;
    if (!d->wanted[v]) continue;
    int64_t shape[GRAD_MAX_AXES];
    const grad_type want = grad__box_type(grad__type(d->p, v), d->boxes[v], shape);
    if (y[k] != GRAD_NONE && grad__type_equal(grad__type(q, y[k]), &want)) {
      d->map[v] = y[k];
    } else {
      grad__program_fail(q, GRAD_EINTERNAL, "the rule of %s for a part of its result gave another part", ins->op->name);
    }
  }
}

static void build_instrs(grad_demand *d, grad_program *q) {
  const int32_t *wheres = grad__wheres_map(q, d->p, &d->arena);
  grad_id y[GRAD_MAX_OUT];
  if (!wheres) grad__program_try(q, d->p->ctx->status);
  for (int32_t i = 0; i < d->p->ninstrs && !q->status; i++) {
    const grad_instr *ins = &d->p->instrs[i];
    if (!is_wanted(d, ins)) continue;
    q->where = wheres[ins->where];
    apply_rule(d, ins, q, y);
    if (grad__program_try(q, d->status)) keep_results(d, q, ins, y);
  }
}

grad_status grad__demand_build(grad_demand *d, const grad_range *const *in, const grad_range *const *out,
                               grad_program **result) {
  const grad_program *p = d->p;
  grad_program *q = NULL;
  const grad_status status = grad__program_new(p->ctx, &q);
  if (status) return status;
  q->nscalars = p->nscalars;
  for (int32_t i = 0; i < p->ninputs; i++) {
    if (!in[i]) continue;
    const grad_id v = p->inputs[i];
    int64_t shape[GRAD_MAX_AXES];
    const grad_type part = grad__box_type(grad__type(p, v), in[i], shape);
    d->map[v] = grad__program_input_like(q, &part);
  }
  for (int32_t i = 0; i < p->ninputs; i++) {
    const grad_id v = p->inputs[i];
    if (d->wanted[v]) d->map[v] = grad__crop_between(q, d->map[v], in[i], d->boxes[v]);
  }
  build_instrs(d, q);
  for (int32_t k = 0; k < p->noutputs && !q->status; k++) {
    if (out[k]) grad__program_output(q, value_of(d, q, p->outputs[k], out[k]));
  }
  return grad__program_finish(q, result);
}

/* --- rules */

grad_id grad__crop_operand(grad_crop *a, int32_t i, const grad_range *box) {
  if (!grad__crop_is_finding(a)) return value_of(a->demand, a->p, a->ins->in[i], box);
  grad__demand_want(a->demand, a->ins->in[i], box);
  return GRAD_NONE;
}

bool grad__crop_is_finding(const grad_crop *a) { return a->p == &a->demand->closed; }

/* The instruction of operands cut to a box; NULL: each is whole. */
static grad_id emit_cropped(grad_crop *a, const grad_range *box) {
  grad_range whole[GRAD_MAX_AXES];
  for (int32_t i = 0; i < a->ins->nin; i++) {
    if (!box) grad__box_whole(grad__type(a->from, a->ins->in[i]), whole);
    a->in[i] = grad__crop_operand(a, i, box ? box : whole);
  }
  return grad__emit_like(a->p, a->from, a->ins, a->in);
}

void grad__crop_keep(grad_crop *a) {
  const grad_id y = emit_cropped(a, NULL);
  for (int32_t k = 0; k < a->ins->nout && y != GRAD_NONE; k++) {
    grad_range whole[GRAD_MAX_AXES];
    grad__box_whole(grad__type(a->from, a->ins->out + k), whole);
    if (a->box[k]) a->y[k] = grad__crop_between(a->p, y + k, whole, a->box[k]);
  }
}

bool grad__crop_decide(grad_crop *a, grad_status status, bool pays) {
  if (status) {
    a->demand->status = status;
    return false;
  }
  if (pays) {
    a->demand->crops = true;
  } else {
    grad__crop_keep(a);
  }
  return pays;
}

void grad__crop_same(grad_crop *a) { a->y[0] = emit_cropped(a, a->box[0]); }

void grad__crop_lines(grad_crop *a) {
  const int axis = (int)a->ins->params[0], ndim = grad__type(a->from, a->ins->in[0])->ndim;
  grad_range box[GRAD_MAX_AXES];
  bool any = false;
  for (int32_t k = 0; k < a->ins->nout; k++) {
    if (!a->box[k]) continue;
    if (any) grad__box_join(ndim, box, a->box[k]);
    if (!any) memcpy(box, a->box[k], (size_t)ndim * sizeof *box);
    any = true;
  }
  box[axis] = (grad_range){0, grad__type(a->from, a->ins->in[0])->shape[axis]};
  const grad_id y = emit_cropped(a, box);
  for (int32_t k = 0; k < a->ins->nout && y != GRAD_NONE; k++) {
    box[axis].to = grad__type(a->from, a->ins->out + k)->shape[axis];
    if (a->box[k]) a->y[k] = grad__crop_between(a->p, y + k, box, a->box[k]);
  }
}

void grad__crop_reduced(grad_crop *a, uint32_t axes) {
  const grad_type *x = grad__type(a->from, a->ins->in[0]);
  grad_range box[GRAD_MAX_AXES];
  for (int i = 0, left = 0; i < x->ndim; i++) box[i] = axes >> i & 1 ? (grad_range){0, x->shape[i]} : a->box[0][left++];
  a->y[0] = emit_cropped(a, box);
}

/* --- the pass */

static int64_t numel(const grad_program *p, grad_id v) { return grad__type_numel(grad__type(p, v)); }

/* Is v made, and not just a view of an input? */
static bool is_computed(const grad_program *p, grad_id v) {
  const grad_instr *ins = grad__producer(p, v);
  while (ins && ins->op->flags & GRAD_OP_VIEW) ins = grad__producer(p, ins->in[0]);
  return ins != NULL;
}

static bool is_cut(const grad_program *p, const grad_instr *ins) {
  return ins->op == &grad__op_slice && saves(FEW, numel(p, ins->in[0]), numel(p, ins->out)) &&
         is_computed(p, ins->in[0]);
}

/* Does any slice, here or in a nested program, take a small part of something computed? */
static bool has_cuts(const grad_program *p) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (is_cut(p, ins)) return true;
    for (int32_t k = 0; k < ins->nsubs; k++) {
      if (has_cuts(ins->subs[k])) return true;
    }
  }
  return false;
}

/* The whole of each of n values. */
static const grad_range **whole_boxes(grad_demand *d, int32_t n, const grad_id *values) {
  const grad_range **boxes = grad__arena_alloc(&d->arena, ((size_t)n + 1) * sizeof *boxes);
  grad_range *ranges = grad__arena_alloc(&d->arena, ((size_t)n + 1) * GRAD_MAX_AXES * sizeof *ranges);
  for (int32_t i = 0; i < n && boxes && ranges; i++) {
    grad__box_whole(grad__type(d->p, values[i]), ranges + i * GRAD_MAX_AXES);
    boxes[i] = ranges + i * GRAD_MAX_AXES;
  }
  return ranges ? boxes : NULL;
}

static grad_status build_whole(grad_demand *d, grad_program **out) {
  const grad_range **inputs = whole_boxes(d, d->p->ninputs, d->p->inputs);
  const grad_range **outputs = whole_boxes(d, d->p->noutputs, d->p->outputs);
  return inputs && outputs ? grad__demand_build(d, inputs, outputs, out) : d->p->ctx->status;
}

grad_status grad__demand(const grad_program *p, grad_program **out) {
  *out = NULL;
  if (p->status || !has_cuts(p)) return p->status;
  grad_demand d;
  grad_status status = grad__demand_start(&d, p, FEW);
  if (!status) {
    for (int32_t k = 0; k < p->noutputs; k++) grad__demand_want(&d, p->outputs[k], NULL);
    status = grad__demand_find(&d);
  }
  if (!status && d.crops) status = build_whole(&d, out);
  grad__demand_end(&d);
  return status;
}

/* loop_crop.c: loops of which a part is wanted: those elements of the carry that later steps and the result need, the
 * steps up to the last row that is wanted.
 *
 * The boxes of the carry are found by going backwards, a step at a time, until they grow no more or there are no more
 * steps. One body serves all steps: it computes the hull of what each of them must give, O, from the hull of what each
 * takes, C. A step that reads neighbours takes more than it gives, so C may be larger than O; the rest of the new carry
 * is then zeros. No element that counts depends on them: what a step takes for the elements that it must give is inside
 * of what the step before must give, or of the initial state. Nor do derivatives, since a zero cotangent wins over any
 * slope (mulz); but products of matrices are no mulz, so a body that has more than elementwise arithmetic, moves and
 * reductions keeps its carry whole. */
#include <string.h>

#include "ad/loop.h"

enum { MOST_ROUNDS = 4096 }; /* then a carry that still grows is whole */

typedef struct rule {
  grad_crop *a;
  grad_loop_view v;
  grad_arena temporary;
  grad_demand body, test;
  const grad_range **in, **out; /* by body input and output: its box; NULL: not wanted. For xs and ys, of a row. */
  grad_range *room;             /* GRAD_MAX_AXES ranges for each input */
  int64_t steps;
  bool rounded; /* in the last step back a carry became whole, though not all of it is needed */
} rule;

static bool has_dynamic(const grad_program *p, const grad_instr *ins) {
  for (int32_t i = 0; i < ins->nin; i++) {
    if (grad__type_is_dynamic(grad__type(p, ins->in[i]))) return true;
  }
  for (int32_t k = 0; k < ins->nout; k++) {
    if (grad__type_is_dynamic(grad__type(p, ins->out + k))) return true;
  }
  return false;
}

static grad_status start(rule *r) {
  const size_t nin = (size_t)r->v.body->ninputs + 1, nout = (size_t)r->v.body->noutputs + 1;
  r->in = grad__arena_alloc(&r->temporary, (nin + nout) * sizeof *r->in);
  r->room = grad__arena_alloc(&r->temporary, nin * GRAD_MAX_AXES * sizeof *r->room);
  if (!r->in || !r->room) return r->a->from->ctx->status;
  memset(r->in, 0, (nin + nout) * sizeof *r->in);
  r->out = r->in + nin;
  grad_status status = grad__demand_start(&r->body, r->v.body, r->a->demand->few);
  if (!status && r->v.test) status = grad__demand_start(&r->test, r->v.test, r->a->demand->few);
  return status;
}

/* --- how many steps */

/* All steps when a carry is wanted; else those up to the last row that is. */
static void count_steps(rule *r) {
  r->steps = r->v.test ? INT64_MAX : 0;
  for (int32_t k = 0; k < r->v.body->noutputs; k++) {
    const grad_range *box = r->a->box[k];
    if (!box) continue;
    const int64_t steps = k < r->v.ncarry ? r->v.length : r->v.reverse ? r->v.length - box[0].from : box[0].to;
    if (steps > r->steps) r->steps = steps;
  }
}

static grad_range rows(const rule *r) {
  return r->v.reverse ? (grad_range){r->v.length - r->steps, r->v.length} : (grad_range){0, r->steps};
}

/* --- which boxes */

/* Joins `box` to that of input i. */
static bool grow(rule *r, int32_t i, const grad_range *box, bool to_whole) {
  const grad_type *t = grad__type(r->v.body, r->v.body->inputs[i]);
  grad_range *in = r->room + (size_t)i * GRAD_MAX_AXES;
  if (!box) return false;
  if (!r->in[i]) {
    memcpy(in, box, t->ndim * sizeof *in);
    r->in[i] = in;
  } else if (!grad__box_join(t->ndim, in, box)) {
    return false;
  }
  if (i >= r->v.nconsts && i < r->v.nconsts + r->v.ncarry) {
    if (to_whole) grad__box_whole(t, in);
    if (grad__box_round(t, r->a->demand->few, in)) r->rounded = true;
  }
  return true;
}

/* What a step takes to give the boxes that the carry has now. Did they grow? */
static bool step_back(rule *r, bool to_whole) {
  const grad_loop_view *v = &r->v;
  grad__demand_reset(&r->body);
  for (int32_t k = 0; k < v->body->noutputs; k++) {
    r->out[k] = k < v->ncarry ? r->in[v->nconsts + k] : r->a->box[k] ? r->a->box[k] + 1 : NULL;
    if (r->out[k]) grad__demand_want(&r->body, v->body->outputs[k], r->out[k]);
  }
  bool grown = false;
  r->rounded = false;
  if (grad__demand_find(&r->body)) return false;
  for (int32_t i = v->nconsts; i < v->nconsts + v->ncarry; i++) {
    grown |= grow(r, i, grad__demand_box(&r->body, v->body->inputs[i]), to_whole);
  }
  return grown;
}

/* Do zeros in the carry that do not count leave all derivatives as they are? */
static bool bears_zeros(const grad_program *body) {
  for (int32_t i = 0; i < body->ninstrs; i++) {
    switch ((grad_sparsity_class)body->instrs[i].op->sparsity) {
    case GRAD_SPARSITY_DENSE:
    case GRAD_SPARSITY_CUSTOM:
      return false;
    default:
      break;
    }
  }
  return true;
}

static grad_status find_boxes(rule *r) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry;
  for (int32_t k = 0; k < v->ncarry; k++) grow(r, v->nconsts + k, r->a->box[k], false);
  if (v->test) {
    grad__demand_want(&r->test, v->test->outputs[0], NULL);
    grad_status status = grad__demand_find(&r->test);
    if (status) return status;
    for (int32_t i = 0; i < first_x; i++) grow(r, i, grad__demand_box(&r->test, v->test->inputs[i]), false);
  }
  const bool bears = bears_zeros(v->body);
  for (int64_t t = 0; step_back(r, t >= MOST_ROUNDS); t++) {
    if (t + 1 >= r->steps && bears && !r->rounded) break;
  }
  for (int32_t k = 0; k < v->ncarry; k++) r->out[k] = r->in[v->nconsts + k];
  for (int32_t i = 0; i < v->body->ninputs; i++) {
    if (i < v->nconsts || i >= first_x) grow(r, i, grad__demand_box(&r->body, v->body->inputs[i]), false);
  }
  return r->body.status;
}

/* --- the loop that gives them */

static bool pays(const rule *r) {
  const grad_loop_view *v = &r->v;
  if (r->body.crops || r->test.crops || (!v->test && r->steps < v->length)) return true;
  for (int32_t k = 0; k < v->body->noutputs; k++) {
    if (!r->out[k] || !grad__box_is_whole(grad__type(v->body, v->body->outputs[k]), r->out[k])) return true;
  }
  return false;
}

/* The operands that are left, and how many of each kind. */
static void crop_operands(rule *r, grad_loop *loop) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry;
  grad_range box[GRAD_MAX_AXES] = {rows(r)};
  int32_t n = 0, *count[] = {&loop->nconsts, &loop->ncarry, &loop->nxs};
  for (int32_t i = 0; i < v->body->ninputs; i++) {
    if (!r->in[i]) continue;
    const int ndim = grad__type(v->body, v->body->inputs[i])->ndim;
    if (i >= first_x) memcpy(box + 1, r->in[i], (size_t)ndim * sizeof *box);
    r->a->in[n++] = grad__crop_operand(r->a, i, i < first_x ? r->in[i] : box);
    ++*count[(i >= v->nconsts) + (i >= first_x)];
  }
  loop->consts = r->a->in;
  loop->init = loop->consts + loop->nconsts;
  loop->xs = loop->init + loop->ncarry;
}

static void give_results(const rule *r, grad_id first) {
  grad_range have[GRAD_MAX_AXES] = {rows(r)};
  for (int32_t k = 0; k < r->v.body->noutputs; k++) {
    const grad_range *box = r->a->box[k];
    if (!r->out[k]) continue;
    const int ndim = grad__type(r->v.body, r->v.body->outputs[k])->ndim;
    if (k >= r->v.ncarry) memcpy(have + 1, r->out[k], (size_t)ndim * sizeof *have);
    if (box) r->a->y[k] = grad__crop_between(r->a->p, first, k < r->v.ncarry ? r->out[k] : have, box);
    first++;
  }
}

static void emit(rule *r) {
  grad_loop loop = {.length = r->steps, .reverse = r->v.reverse};
  grad_program *body = NULL, *test = NULL;
  crop_operands(r, &loop);
  if (grad__crop_is_finding(r->a)) return;
  bool good = grad__program_try(r->a->p, grad__demand_build(&r->body, r->in, r->out, &body));
  if (good && r->v.test) {
    grad_range none[1];
    const grad_range *passes = none;
    good = grad__program_try(r->a->p, grad__demand_build(&r->test, r->in, &passes, &test));
  }
  loop.body = body;
  const grad_id first = good ? grad__emit_loop(r->a->p, &loop, test) : GRAD_NONE;
  if (first != GRAD_NONE) give_results(r, first);
  grad__program_release(body);
  grad__program_release(test);
}

void grad__loop_crop(grad_crop *a) {
  rule r = {.a = a, .v = grad__loop_view(a->ins)};
  const bool refuses = grad__may_refuse(r.v.body) || (r.v.test && grad__may_refuse(r.v.test));
  if (refuses || has_dynamic(a->from, a->ins)) {
    grad__crop_keep(a);
    return;
  }
  grad__arena_init(&r.temporary, a->from->ctx);
  grad_status status = start(&r);
  if (!status) {
    count_steps(&r);
    status = find_boxes(&r);
  }
  if (grad__crop_decide(a, status, !status && pays(&r))) emit(&r);
  if (r.v.test) grad__demand_end(&r.test);
  grad__demand_end(&r.body);
  grad__arena_clear(&r.temporary);
}

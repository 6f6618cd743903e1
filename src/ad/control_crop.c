/* control_crop.c: calls of nested programs (cond, checkpoint) of which a part is wanted. */
#include <string.h>

#include "ad/control.h"

enum { MOST_SUBS = 2 };

typedef struct rule {
  grad_crop *a;
  int32_t skip; /* inputs before are not the subs' */
  grad_demand subs[MOST_SUBS];
  int started;
  const grad_range **in; /* by input of the subs: the hull of what they need; NULL: none needs it */
  grad_range *room;
} rule;

static grad_status find_sub(rule *r, int s) {
  const grad_crop *a = r->a;
  grad_demand *d = &r->subs[s];
  grad_status status = grad__demand_start(d, a->ins->subs[s], a->demand->few);
  r->started++;
  for (int32_t k = 0; k < a->ins->nout && !status; k++) {
    if (a->box[k]) grad__demand_want(d, d->p->outputs[k], a->box[k]);
  }
  if (!status) status = grad__demand_find(d);
  for (int32_t i = 0; i < d->p->ninputs && !status; i++) {
    const grad_range *box = grad__demand_box(d, d->p->inputs[i]);
    if (!box) continue;
    const int ndim = grad__type(d->p, d->p->inputs[i])->ndim;
    grad_range *in = r->room + (size_t)i * GRAD_MAX_AXES;
    if (r->in[i]) grad__box_join(ndim, in, box);
    if (!r->in[i]) memcpy(in, box, (size_t)ndim * sizeof *in);
    r->in[i] = in;
  }
  return status;
}

static grad_status find(rule *r) {
  const grad_crop *a = r->a;
  const size_t n = (size_t)a->ins->nin + 1;
  r->in = grad__arena_alloc(&a->demand->arena, n * sizeof *r->in);
  r->room = grad__arena_alloc(&a->demand->arena, n * GRAD_MAX_AXES * sizeof *r->room);
  if (!r->in || !r->room) return a->from->ctx->status;
  memset(r->in, 0, n * sizeof *r->in);
  grad_status status = GRAD_OK;
  for (int s = 0; s < a->ins->nsubs && !status; s++) status = find_sub(r, s);
  return status;
}

static bool pays(const rule *r) {
  bool pays = false;
  for (int32_t k = 0; k < r->a->ins->nout; k++) {
    const grad_range *box = r->a->box[k];
    pays = pays || !box || !grad__box_is_whole(grad__type(r->a->from, r->a->ins->out + k), box);
  }
  for (int s = 0; s < r->started; s++) pays = pays || r->subs[s].crops;
  return pays;
}

static void emit(rule *r) {
  grad_crop *a = r->a;
  grad_program *subs[MOST_SUBS] = {NULL, NULL};
  int32_t n = 0;
  for (int32_t i = 0; i < a->ins->nin; i++) {
    grad_range whole[GRAD_MAX_AXES];
    grad__box_whole(grad__type(a->from, a->ins->in[i]), whole);
    const grad_range *box = i < r->skip ? whole : r->in[i - r->skip];
    if (box) a->in[n++] = grad__crop_operand(a, i, box);
  }
  if (grad__crop_is_finding(a)) return;
  bool good = true;
  for (int s = 0; s < a->ins->nsubs && good; s++)
    good = grad__program_try(a->p, grad__demand_build(&r->subs[s], r->in, a->box, &subs[s]));
  grad_id y = good ? grad__emit_nested(a->p, a->ins->op, n, a->in, a->ins->nparams, a->ins->params, a->ins->nsubs, subs)
                   : GRAD_NONE;
  for (int32_t k = 0; k < a->ins->nout && y != GRAD_NONE; k++) {
    if (a->box[k]) a->y[k] = y++;
  }
  for (int s = 0; s < MOST_SUBS; s++) grad__program_release(subs[s]);
}

void grad__crop_call(grad_crop *a, int32_t skip) {
  rule r = {.a = a, .skip = skip};
  if (a->ins->nsubs > MOST_SUBS || grad__instr_may_refuse(a->from, a->ins)) {
    grad__crop_keep(a);
    return;
  }
  grad_status status = find(&r);
  if (grad__crop_decide(a, status, !status && pays(&r))) emit(&r);
  for (int s = 0; s < r.started; s++) grad__demand_end(&r.subs[s]);
}

/* loop_transpose.c: the transpose of a scan of tangents: a scan the other way round. Its carry is the cotangent of the
 * carry and, for each linear const, the sum of its cotangents so far. */
#include <string.h>

#include "ad/loop.h"

typedef struct rule {
  grad_transpose *a;
  grad_program *p;
  grad_loop_view v;
  grad_arena temporary;
  bool *linear;       /* by body input */
  grad_program *back; /* the body transposed: its nonlinear inputs, a cotangent for each output -> for linear inputs */
} rule;

/* A carry that starts as zeros is linear too, once a linear value reaches it. */
static bool find_linear(rule *r) {
  const grad_program *body = r->v.body;
  bool *marks = grad__arena_alloc(&r->temporary, (size_t)body->nvalues + 1);
  r->linear = grad__arena_alloc(&r->temporary, (size_t)body->ninputs + 1);
  if (!marks || !r->linear) return grad__program_try(r->p, r->p->ctx->status);
  memcpy(r->linear, r->a->linear, (size_t)body->ninputs);
  for (bool changed = true; changed;) {
    changed = false;
    memset(marks, 0, (size_t)body->nvalues + 1);
    for (int32_t i = 0; i < body->ninputs; i++) marks[body->inputs[i]] = r->linear[i];
    grad__mark_linear(body, body->ninstrs, marks);
    for (int32_t k = 0; k < r->v.ncarry; k++) {
      if (!marks[body->outputs[k]] || r->linear[r->v.nconsts + k]) continue;
      r->linear[r->v.nconsts + k] = changed = true;
    }
  }
  for (int32_t k = 0; k < r->v.ncarry; k++) {
    if (r->linear[r->v.nconsts + k]) continue;
    grad__program_fail(r->p, GRAD_EUNSUPPORTED,
                       "scan: a loop whose state mixes values and their tangents cannot be transposed");
    return false;
  }
  return true;
}

static bool has_ct(const rule *r, int32_t y) { return r->a->cy[r->v.ncarry + y] != GRAD_NONE; }

/* Inputs of q: nonlinear consts | cotangents of the carry, sums for linear consts | nonlinear rows, rows of the ys'
 * cotangents; arranged as the transposed body takes them. */
static void reverse_inputs(const rule *r, grad_program *q, grad_id *args, grad_id *sums) {
  const grad_program *body = r->v.body;
  const int32_t first_x = r->v.nconsts + r->v.ncarry;
  int32_t n = 0, nsums = 0;
  for (int32_t i = 0; i < r->v.nconsts; i++) {
    if (!r->linear[i]) args[n++] = grad__program_input_like(q, grad__type(body, body->inputs[i]));
  }
  int32_t nonlinear_rows = 0;
  for (int32_t i = first_x; i < body->ninputs; i++) nonlinear_rows += !r->linear[i];
  grad_id *ct = args + n + nonlinear_rows;
  for (int32_t k = 0; k < r->v.ncarry; k++) ct[k] = grad__program_input_like(q, grad__type(body, body->outputs[k]));
  for (int32_t i = 0; i < r->v.nconsts; i++) {
    if (r->linear[i]) sums[nsums++] = grad__program_input_like(q, grad__type(body, body->inputs[i]));
  }
  for (int32_t i = first_x; i < body->ninputs; i++) {
    if (!r->linear[i]) args[n++] = grad__program_input_like(q, grad__type(body, body->inputs[i]));
  }
  for (int32_t k = 0; k < r->v.nys; k++) {
    const grad_type *t = grad__type(body, body->outputs[r->v.ncarry + k]);
    ct[r->v.ncarry + k] = has_ct(r, k) ? grad__program_input_like(q, t) : grad__zeros_of(q, t);
  }
}

static grad_status reverse_body(const rule *r, grad_program **out) {
  const grad_program *back = r->back;
  grad_program *q = NULL;
  grad_status status = grad__program_new(back->ctx, &q);
  if (status) return status;
  grad_id *args = grad__ids_new(&q->arena, back->ninputs), *sums = grad__ids_new(&q->arena, r->v.nconsts);
  grad_id *made = grad__ids_new(&q->arena, back->noutputs);
  if (args && sums && made) {
    reverse_inputs(r, q, args, sums);
    grad__inline(q, back, args, NULL, made, NULL);
    int32_t nsums = 0;
    for (int32_t i = 0; i < r->v.nconsts; i++) nsums += r->linear[i];
    for (int32_t k = 0; k < r->v.ncarry; k++) grad__program_output(q, made[nsums + k]);
    for (int32_t i = 0; i < nsums; i++) grad__program_output(q, grad__add(q, sums[i], made[i]));
    for (int32_t i = nsums + r->v.ncarry; i < back->noutputs; i++) grad__program_output(q, made[i]);
  } else {
    grad__program_try(q, back->ctx->status);
  }
  return grad__program_finish(q, out);
}

/* The outer inputs, by group; returns the first result. */
static grad_id emit_reverse(rule *r, grad_program *body) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry, room = v->body->ninputs + v->body->noutputs + v->nconsts;
  grad_id *consts = grad__ids_new(&r->temporary, 3 * room), *init = consts + room, *xs = init + room;
  if (!consts) {
    grad__program_try(r->p, r->p->ctx->status);
    return GRAD_NONE;
  }
  grad_loop loop = {
      .body = body, .consts = consts, .init = init, .xs = xs, .length = v->length, .reverse = !v->reverse};
  for (int32_t i = 0; i < v->nconsts; i++) {
    if (!r->linear[i]) consts[loop.nconsts++] = r->a->x[i];
  }
  for (int32_t k = 0; k < v->ncarry; k++) init[loop.ncarry++] = grad__or_zeros(r->p, r->a->cy[k], &r->a->yt[k]);
  for (int32_t i = 0; i < v->nconsts; i++) {
    if (r->linear[i]) init[loop.ncarry++] = grad__zeros_of(r->p, &r->a->xt[i]);
  }
  for (int32_t i = first_x; i < v->body->ninputs; i++) {
    if (!r->linear[i]) xs[loop.nxs++] = r->a->x[i];
  }
  for (int32_t k = 0; k < v->nys; k++) {
    if (has_ct(r, k)) xs[loop.nxs++] = r->a->cy[v->ncarry + k];
  }
  return grad__emit_loop(r->p, &loop, NULL);
}

static void give_cotangents(const rule *r, grad_id out) {
  const int32_t first_x = r->v.nconsts + r->v.ncarry;
  for (int32_t k = 0; k < r->v.ncarry; k++, out++) {
    if (r->a->linear[r->v.nconsts + k]) r->a->cx[r->v.nconsts + k] = out;
  }
  for (int32_t i = 0; i < r->v.nconsts; i++) {
    if (r->linear[i]) r->a->cx[i] = out++;
  }
  for (int32_t i = first_x; i < r->v.body->ninputs; i++) {
    if (r->linear[i]) r->a->cx[i] = out++;
  }
}

void grad__scan_transpose(grad_transpose *a) {
  rule r = {.a = a, .p = a->p, .v = grad__loop_view(a->ins)};
  grad_program *body = NULL;
  grad__arena_init(&r.temporary, a->p->ctx);
  if (find_linear(&r) && grad__program_try(r.p, grad__ad_transpose(r.v.body, r.linear, &r.back)) &&
      grad__program_try(r.p, reverse_body(&r, &body))) {
    const grad_id out = emit_reverse(&r, body);
    if (out != GRAD_NONE) give_cotangents(&r, out);
  }
  grad__program_release(body);
  grad__program_release(r.back);
  grad__arena_clear(&r.temporary);
}

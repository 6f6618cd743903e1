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

static void transpose_linear(rule *r) {
  grad_program *body = NULL;
  if (grad__program_try(r->p, grad__ad_transpose(r->v.body, r->linear, &r->back)) &&
      grad__program_try(r->p, reverse_body(r, &body))) {
    const grad_id out = emit_reverse(r, body);
    if (out != GRAD_NONE) give_cotangents(r, out);
  }
  grad__program_release(body);
}

/* --- a state that carries values beside tangents: a loop of their own stacks the values, the other reads them as rows
 */

static bool is_value(const rule *r, int32_t k) { return !r->linear[r->v.nconsts + k]; }

/* Runs the loop over what is not linear. Returns the first stack, one for each value, of it before each step. */
static grad_id emit_values(rule *r, int32_t nvalues) {
  const grad_loop_view *v = &r->v;
  const int32_t nin = v->body->ninputs;
  grad_id *in = grad__ids_new(&r->temporary, nin), *outer = grad__ids_new(&r->temporary, nin);
  grad_id *out = grad__ids_new(&r->temporary, 2 * nvalues), first = GRAD_NONE;
  grad_program *body = NULL;
  if (!in || !outer || !out) {
    grad__program_try(r->p, r->p->ctx->status);
    return GRAD_NONE;
  }
  int32_t n = 0, group[3] = {0};
  for (int32_t i = 0, k = 0; i < nin; i++) {
    if (r->linear[i]) continue;
    const int which = i < v->nconsts ? 0 : i < v->nconsts + v->ncarry ? 1 : 2;
    if (which == 1) {
      out[k] = v->body->outputs[i - v->nconsts];
      out[nvalues + k++] = v->body->inputs[i];
    }
    group[which]++;
    in[n] = v->body->inputs[i];
    outer[n++] = r->a->x[i];
  }
  if (grad__program_try(r->p, grad__extract(v->body, n, in, 2 * nvalues, out, false, &body))) {
    const grad_loop loop = {.body = body,
                            .nconsts = group[0],
                            .ncarry = group[1],
                            .nxs = group[2],
                            .consts = outer,
                            .init = outer + group[0],
                            .xs = outer + group[0] + group[1],
                            .length = v->length,
                            .reverse = v->reverse};
    first = grad__emit_loop(r->p, &loop, NULL);
  }
  grad__program_release(body);
  return first == GRAD_NONE ? first : first + nvalues;
}

/* The loop without the values in its state, and what its transposition is told: inputs and outputs that stay, in order,
 * then the stacks. */
typedef struct separated {
  grad_transpose a;
  grad_instr ins;
  int64_t params[4];
  grad_program *body;
  grad_id *in, *out, *x, *cy, *cx; /* in, out: of the body */
  int32_t *from;                   /* by input: which one of the mixed loop it is */
  bool *linear;
  grad_type *xt, *yt;
} separated;

static bool separated_new(rule *r, separated *s) {
  const size_t n = (size_t)r->v.body->ninputs + (size_t)r->v.body->noutputs + 1;
  grad_id *ids = grad__ids_new(&r->temporary, (int32_t)(5 * n));
  s->from = grad__arena_alloc(&r->temporary, n * sizeof *s->from);
  s->linear = grad__arena_alloc(&r->temporary, n * sizeof *s->linear);
  s->xt = grad__arena_alloc(&r->temporary, 2 * n * sizeof *s->xt);
  if (!ids || !s->from || !s->linear || !s->xt) return grad__program_try(r->p, r->p->ctx->status);
  s->yt = s->xt + n;
  s->in = ids;
  s->out = ids + n;
  s->x = ids + 2 * n;
  s->cy = ids + 3 * n;
  s->cx = ids + 4 * n;
  return true;
}

static void add_input(const rule *r, separated *s, int32_t i, grad_id x, grad_type type, bool linear) {
  const int32_t n = s->ins.nin++;
  s->in[n] = r->v.body->inputs[i];
  s->from[n] = i;
  s->x[n] = x;
  s->xt[n] = type;
  s->linear[n] = linear;
}

static void separate(const rule *r, separated *s, grad_id stacks) {
  const grad_loop_view *v = &r->v;
  for (int32_t i = 0; i < v->body->ninputs; i++) {
    const bool carried = i >= v->nconsts && i < v->nconsts + v->ncarry;
    if (!carried || !is_value(r, i - v->nconsts)) add_input(r, s, i, r->a->x[i], r->a->xt[i], r->a->linear[i]);
  }
  for (int32_t k = 0; k < v->ncarry; k++) {
    if (!is_value(r, k)) continue;
    add_input(r, s, v->nconsts + k, stacks, *grad__type(r->p, stacks), false);
    stacks++;
  }
  for (int32_t k = 0; k < v->body->noutputs; k++) {
    if (k < v->ncarry && is_value(r, k)) continue;
    s->out[s->ins.nout] = v->body->outputs[k];
    s->yt[s->ins.nout] = r->a->yt[k];
    s->cy[s->ins.nout++] = r->a->cy[k];
  }
}

static void transpose_separated(rule *r, int32_t nvalues) {
  const grad_loop_view *v = &r->v;
  separated s = {.ins = *r->a->ins, .params = {v->nconsts, v->ncarry - nvalues, v->length, v->reverse}};
  const grad_id stacks = emit_values(r, nvalues);
  s.ins.nin = s.ins.nout = 0;
  if (stacks == GRAD_NONE || !separated_new(r, &s)) return;
  separate(r, &s, stacks);
  if (grad__program_try(r->p, grad__extract(v->body, s.ins.nin, s.in, s.ins.nout, s.out, false, &s.body))) {
    s.ins.params = s.params;
    s.ins.subs = &s.body;
    s.a = (grad_transpose){
        .p = r->p, .ins = &s.ins, .x = s.x, .linear = s.linear, .xt = s.xt, .yt = s.yt, .cy = s.cy, .cx = s.cx};
    grad__scan_transpose(&s.a);
    for (int32_t i = 0; i < s.ins.nin; i++) {
      if (s.linear[i]) r->a->cx[s.from[i]] = s.cx[i];
    }
  }
  grad__program_release(s.body);
}

void grad__scan_transpose(grad_transpose *a) {
  rule r = {.a = a, .p = a->p, .v = grad__loop_view(a->ins)};
  grad__arena_init(&r.temporary, a->p->ctx);
  if (find_linear(&r)) {
    int32_t nvalues = 0;
    for (int32_t k = 0; k < r.v.ncarry; k++) nvalues += is_value(&r, k);
    if (nvalues) {
      transpose_separated(&r, nvalues);
    } else {
      transpose_linear(&r);
    }
  }
  grad__program_release(r.back);
  grad__arena_clear(&r.temporary);
}

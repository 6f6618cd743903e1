/* repeat.c: loops whose bodies are unrolled (unroll.h): the carry stays in its slots from step to step, rows of xs and
 * ys are moved to and from theirs, and the test runs with the body.
 */
#include "exec/repeat.h"

#include <string.h>

#include "exec/planner.h"

typedef struct move {
  int32_t from, to;
} move;

struct grad_repeater {
  grad_repeater *next;
  const grad_program *body, *test;
  int32_t nconsts, ncarry;
  grad_unrolled *u; /* NULL: the body is not small */
  move *moves;      /* of a step: the new carry to the slots of the old one */
  int32_t nmoves;
};

/* --- making one */

/* body, and the test of the carry that it gives. */
static grad_status with_test(const grad_repeat *loop, grad_program **out) {
  const grad_program *body = loop->body;
  grad_program *q = NULL;
  grad_status status = grad__program_like(body, &q);
  if (status) return status;
  grad_id *made = grad__ids_new(&q->arena, body->noutputs + 1), *in = grad__ids_new(&q->arena, body->ninputs);
  if (made && in) {
    grad__inline(q, body, q->inputs, NULL, made, NULL);
    for (int32_t i = 0; i < body->ninputs; i++) in[i] = i < loop->nconsts ? q->inputs[i] : made[i - loop->nconsts];
    grad__inline(q, loop->test, in, NULL, &made[body->noutputs], NULL);
    for (int32_t k = 0; k <= body->noutputs; k++) grad__program_output(q, made[k]);
  } else {
    grad__program_try(q, body->ctx->status);
  }
  return grad__program_finish(q, out);
}

static int32_t numel(const grad_program *p, grad_id v) { return (int32_t)grad__type_numel(&p->types[v]); }

/* Where a part of the new carry is a part of the old one, it is read before anything is written, to a spare slot. */
static grad_status plan_moves(grad_repeater *r) {
  grad_unrolled *u = r->u;
  const grad_program *p = u->p;
  int32_t n = 0;
  for (int32_t k = 0; k < r->ncarry; k++) n += numel(p, p->outputs[k]);
  r->moves = grad__arena_alloc(&u->arena, (2 * (size_t)n + 1) * sizeof *r->moves);
  if (!r->moves) return u->ctx->status;
  const int32_t first = r->ncarry ? u->inputs[r->nconsts] : 0;
  for (int pass = 0; pass < 2; pass++) {
    int32_t spare = u->nslots - n;
    for (int32_t k = 0; k < r->ncarry; k++) {
      for (int32_t i = 0; i < numel(p, p->outputs[k]); i++, spare++) {
        const int32_t from = u->outputs[k][i], to = u->inputs[r->nconsts + k] + i;
        const bool old = from >= first && from < first + n;
        if (from == to || (!pass && !old)) continue;
        r->moves[r->nmoves++] = (move){pass && old ? spare : from, pass ? to : spare};
      }
    }
  }
  return GRAD_OK;
}

static grad_status unroll_body(grad_repeater *r, const grad_repeat *loop) {
  grad_program *both = NULL;
  int64_t spare = 0;
  for (int32_t k = 0; k < r->ncarry; k++) spare += grad__type_numel(grad__type(r->body, r->body->outputs[k]));
  grad_status status = r->test ? with_test(loop, &both) : GRAD_OK;
  if (!status) status = grad__unroll(both ? both : r->body, spare, &r->u);
  grad__program_release(both);
  return !status && r->u ? plan_moves(r) : status;
}

grad_status grad__repeater_of(grad_repeater **list, const grad_repeat *loop, grad_repeater **out) {
  grad_repeater *r = *list;
  while (r &&
         (r->body != loop->body || r->test != loop->test || r->nconsts != loop->nconsts || r->ncarry != loop->ncarry))
    r = r->next;
  *out = r && r->u ? r : NULL;
  if (r) return GRAD_OK;
  r = grad__alloc(loop->body->ctx, sizeof *r);
  if (!r) return loop->body->ctx->status;
  *r = (grad_repeater){.body = loop->body, .test = loop->test, .nconsts = loop->nconsts, .ncarry = loop->ncarry};
  const grad_status status = unroll_body(r, loop);
  if (status) {
    grad__unrolled_free(r->u);
    grad__free(loop->body->ctx, r, sizeof *r);
    return status;
  }
  r->next = *list;
  *list = r;
  *out = r->u ? r : NULL;
  return GRAD_OK;
}

void grad__repeaters_free(grad_ctx *ctx, grad_repeater *list) {
  while (list) {
    grad_repeater *next = list->next;
    grad__unrolled_free(list->u);
    grad__free(ctx, list, sizeof *list);
    list = next;
  }
}

/* --- running */

/* Between n slots from `slot` on and elements without gaps. */
static void load(double *slot, const char *from, int64_t n, size_t size) {
  if (size == sizeof *slot) {
    memcpy(slot, from, (size_t)n * size);
    return;
  }
  for (int64_t i = 0; i < n; i++) memcpy(slot + i, from + (size_t)i * size, size);
}

static void store(char *to, const double *slots, const int32_t *at, int64_t n, size_t size) {
  if (size == sizeof *slots) {
    for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * size, slots + at[i], sizeof *slots);
    return;
  }
  for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * size, slots + at[i], size);
}

/* An array of any strides to the slots from `slot` on. */
static void load_array(double *slot, const grad_array *from) {
  double row[GRAD_MOST_UNROLLED];
  const int64_t n = grad__array_numel(from);
  grad_array copy;
  if (n == 0) return;
  if (grad__array_is_contiguous(from)) {
    load(slot, from->data, n, grad__dtype_size(from->dtype));
    return;
  }
  grad__array_wrap(&copy, row, from->dtype, from->ndim, from->shape);
  grad__array_copy(&copy, from);
  load(slot, (const char *)row, n, grad__dtype_size(from->dtype));
}

static void load_rows(const grad_unrolled *u, const grad_repeat *loop, int64_t at) {
  const int32_t first = loop->nconsts + loop->ncarry;
  for (int32_t k = first; k < first + loop->nxs; k++) {
    const grad_array *xs = loop->in[k];
    const size_t size = grad__dtype_size(xs->dtype);
    if (xs->ndim == 1) { /* a number a row */
      memcpy(&u->slots[u->inputs[k]], (const char *)xs->data + at * xs->strides[0] * (int64_t)size, size);
      continue;
    }
    grad_array row;
    grad__view_drop(xs, 0, at, &row);
    load_array(&u->slots[u->inputs[k]], &row);
  }
}

static void store_rows(const grad_unrolled *u, const grad_repeat *loop, int64_t at) {
  const int32_t nys = loop->body->noutputs - loop->ncarry;
  for (int32_t k = 0; k < nys; k++) {
    const grad_id v = u->p->outputs[loop->ncarry + k];
    const size_t size = grad__dtype_size(u->p->types[v].dtype);
    const int64_t n = numel(u->p, v);
    if (n) store((char *)loop->ys[k]->data + at * n * (int64_t)size, u->slots, u->outputs[loop->ncarry + k], n, size);
  }
}

static bool passes(const grad_unrolled *u, const grad_repeat *loop) {
  return !loop->test || *(const char *)&u->slots[u->outputs[loop->body->noutputs][0]];
}

static grad_status run_steps(const grad_repeater *r, grad_repeat *loop) {
  enum { LOOK = 256 }; /* steps between two looks at the interrupt */
  const grad_unrolled *u = r->u;
  loop->passes = true;
  for (loop->steps = 0; loop->steps < loop->most && loop->passes;) {
    const int64_t at = loop->reverse ? loop->most - 1 - loop->steps : loop->first + loop->steps;
    load_rows(u, loop, at);
    grad_status status = grad__number_code_run(&u->code, u->slots);
    if (!status && loop->steps++ % LOOK == 0) status = grad__interrupted(u->ctx);
    if (status) return status;
    store_rows(u, loop, at);
    loop->passes = passes(u, loop);
    for (int32_t i = 0; i < r->nmoves; i++) u->slots[r->moves[i].to] = u->slots[r->moves[i].from];
  }
  return GRAD_OK;
}

grad_status grad__repeater_run(grad_repeater *r, const grad_eval *how, grad_repeat *loop) {
  const grad_unrolled *u = r->u;
  for (int32_t i = 0; i < u->code.nevals; i++) {
    grad_eval *e = &u->code.evals[i].e;
    e->call = how->call, e->repeat = how->repeat, e->call_ud = how->call_ud;
  }
  for (int32_t i = 0; i < loop->nconsts + loop->ncarry; i++) load_array(&u->slots[u->inputs[i]], loop->in[i]);
  const grad_status status = run_steps(r, loop);
  if (status) return status;
  for (int32_t k = 0; k < loop->ncarry; k++) {
    const grad_array *to = &loop->carry[k];
    const double *from = &u->slots[u->inputs[loop->nconsts + k]];
    const int64_t n = grad__array_numel(to);
    const size_t size = grad__dtype_size(to->dtype);
    for (int64_t i = 0; i < n; i++) memcpy((char *)to->data + (size_t)i * size, from + i, size);
  }
  return GRAD_OK;
}

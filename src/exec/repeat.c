/* repeat.c: loops whose bodies are unrolled (unroll.h): the carry stays in its slots from step to step, rows of xs and
 * ys are moved to and from theirs, and the test runs with the body.
 */
#include "exec/repeat.h"

#include <string.h>

#include "exec/emit_numbers.h"
#include "exec/planner.h"

struct grad_repeater {
  grad_repeater *next;
  const grad_program *body, *test;
  int32_t nconsts, ncarry;
  grad_unrolled *u;      /* NULL: the body is not small */
  grad_number_step step; /* its moves: the new carry to the slots of the old one */
  grad_code code;
  grad_steps_fn steps; /* NULL: they are interpreted */
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

/* Where a part of the new carry, or what the test gives, is a part of the old carry, it is read before anything is
 * written, to a spare slot. */
static grad_status plan_moves(grad_repeater *r) {
  grad_unrolled *u = r->u;
  const grad_program *p = u->p;
  int32_t n = 0;
  for (int32_t k = 0; k < r->ncarry; k++) n += numel(p, p->outputs[k]);
  grad_slot_move *moves = grad__arena_alloc(&u->arena, (2 * (size_t)n + 1) * sizeof *moves);
  if (!moves) return u->ctx->status;
  r->step.moves = moves;
  const int32_t first = r->ncarry ? u->inputs[r->nconsts] : 0, test = r->step.test, last = u->nslots - 1;
  if (test >= first && test < first + n) {
    moves[r->step.nmoves++] = (grad_slot_move){test, last};
    r->step.test = last;
  }
  for (int pass = 0; pass < 2; pass++) {
    int32_t spare = last - n;
    for (int32_t k = 0; k < r->ncarry; k++) {
      for (int32_t i = 0; i < numel(p, p->outputs[k]); i++, spare++) {
        const int32_t from = u->outputs[k][i], to = u->inputs[r->nconsts + k] + i;
        const bool old = from >= first && from < first + n;
        if (from == to || (!pass && !old)) continue;
        moves[r->step.nmoves++] = (grad_slot_move){pass && old ? spare : from, pass ? to : spare};
      }
    }
  }
  return GRAD_OK;
}

/* Rows of xs are read, those of ys written. */
static grad_status plan_rows(grad_repeater *r) {
  grad_unrolled *u = r->u;
  const int32_t first = r->nconsts + r->ncarry, nys = r->body->noutputs - r->ncarry;
  grad_number_step *s = &r->step;
  s->nread = r->body->ninputs - first;
  s->nwritten = nys;
  s->rows = grad__arena_alloc(&u->arena, ((size_t)s->nread + (size_t)nys + 1) * sizeof *s->rows);
  if (!s->rows) return u->ctx->status;
  for (int32_t k = 0; k < s->nread + nys; k++) {
    const bool read = k < s->nread;
    const grad_id v = read ? u->p->inputs[first + k] : u->p->outputs[r->ncarry + k - s->nread];
    const int32_t n = numel(u->p, v);
    s->rows[k] = (grad_number_row){.n = n, .size = (int32_t)grad__dtype_size(u->p->types[v].dtype)};
    if (!read) s->rows[k].slots = u->outputs[r->ncarry + k - s->nread];
    if (!read) continue;
    s->rows[k].slots = grad__arena_alloc(&u->arena, ((size_t)n + 1) * sizeof(int32_t));
    if (!s->rows[k].slots) return u->ctx->status;
    for (int32_t i = 0; i < n; i++) s->rows[k].slots[i] = u->inputs[first + k] + i;
  }
  return GRAD_OK;
}

static grad_status plan_step(grad_repeater *r) {
  r->step.u = r->u;
  r->step.test = r->test ? r->u->outputs[r->body->noutputs][0] : -1;
  grad_status status = plan_moves(r);
  if (!status) status = plan_rows(r);
  return status ? status : grad__emit_steps(&r->step, &r->code, &r->steps);
}

static grad_status unroll_body(grad_repeater *r, const grad_repeat *loop) {
  grad_program *both = NULL;
  int64_t spare = 1; /* for what the test gives; the others for the carry */
  for (int32_t k = 0; k < r->ncarry; k++) spare += grad__type_numel(grad__type(r->body, r->body->outputs[k]));
  grad_status status = r->test ? with_test(loop, &both) : GRAD_OK;
  if (!status) status = grad__unroll(both ? both : r->body, spare, &r->u);
  grad__program_release(both);
  return !status && r->u ? plan_step(r) : status;
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
  *r = (grad_repeater){.body = loop->body,
                       .test = loop->test,
                       .nconsts = loop->nconsts,
                       .ncarry = loop->ncarry,
                       .code.ctx = loop->body->ctx};
  const grad_status status = unroll_body(r, loop);
  if (status) {
    grad__repeaters_free(loop->body->ctx, r);
    return status;
  }
  r->next = *list;
  *list = r;
  *out = r->u ? r : NULL;
  return GRAD_OK;
}

int64_t grad__repeaters_count(const grad_repeater *list) {
  int64_t n = 0;
  for (; list; list = list->next) n += list->u != NULL;
  return n;
}

void grad__repeaters_free(grad_ctx *ctx, grad_repeater *list) {
  while (list) {
    grad_repeater *next = list->next;
    grad__code_free(&list->code);
    grad__unrolled_free(list->u);
    grad__free(ctx, list, sizeof *list);
    list = next;
  }
}

/* --- running */

/* An array of any strides to slots in a row. */
static void load_array(double *slot, const grad_array *from) {
  double row[GRAD_MOST_UNROLLED];
  const int64_t n = grad__array_numel(from);
  const size_t size = grad__dtype_size(from->dtype);
  grad_array copy;
  grad__array_wrap(&copy, row, from->dtype, from->ndim, from->shape);
  if (n > 0) grad__array_copy(&copy, from);
  for (int64_t i = 0; i < n; i++) memcpy(slot + i, (const char *)row + (size_t)i * size, size);
}

static void give_array(const grad_array *to, const double *slot) {
  const int64_t n = grad__array_numel(to);
  const size_t size = grad__dtype_size(to->dtype);
  for (int64_t i = 0; i < n; i++) memcpy((char *)to->data + (size_t)i * size, slot + i, size);
}

static int64_t row_at(const grad_repeat *loop, int64_t step) {
  return loop->reverse ? loop->most - 1 - step : loop->first + step;
}

/* Sets the rows to the first step. false: some of the xs have gaps within a row. */
static bool begin_rows(const grad_repeater *r, const grad_repeat *loop) {
  const int32_t first = loop->nconsts + loop->ncarry;
  bool plain = true;
  for (int32_t k = 0; k < r->step.nread + r->step.nwritten; k++) {
    const bool read = k < r->step.nread;
    const grad_array *stack = read ? loop->in[first + k] : loop->ys[k - r->step.nread];
    grad_number_row *row = &r->step.rows[k];
    grad_array one;
    grad__view_drop(stack, 0, 0, &one);
    plain = plain && grad__array_is_contiguous(&one);
    row->step = (row->n ? stack->strides[0] : 0) * row->size;
    row->at = (char *)stack->data + (row->n ? row_at(loop, 0) * row->step : 0);
    if (loop->reverse) row->step = -row->step;
  }
  return plain;
}

static void read_rows(const grad_repeater *r, const grad_repeat *loop) {
  const int32_t first = loop->nconsts + loop->ncarry;
  for (int32_t k = 0; k < r->step.nread; k++) {
    grad_array one;
    grad__view_drop(loop->in[first + k], 0, row_at(loop, loop->steps), &one);
    load_array(&r->u->slots[r->u->inputs[first + k]], &one);
  }
}

static void write_rows(const grad_repeater *r) {
  const double *slots = r->u->slots;
  for (int32_t k = r->step.nread; k < r->step.nread + r->step.nwritten; k++) {
    grad_number_row *row = &r->step.rows[k];
    for (int32_t i = 0; i < row->n; i++) memcpy(row->at + i * row->size, &slots[row->slots[i]], (size_t)row->size);
    row->at += row->step;
  }
}

/* One step, interpreted. */
static grad_status run_step(const grad_repeater *r, const grad_repeat *loop) {
  double *slots = r->u->slots;
  read_rows(r, loop);
  const grad_status status = grad__number_code_run(&r->u->code, slots);
  if (status) return status;
  write_rows(r);
  for (int32_t i = 0; i < r->step.nmoves; i++) slots[r->step.moves[i].to] = slots[r->step.moves[i].from];
  return GRAD_OK;
}

static grad_status run_steps(const grad_repeater *r, grad_repeat *loop) {
  enum { LOOK = 256 }; /* steps between two looks at the interrupt */
  grad_status status = GRAD_OK;
  const bool coded = begin_rows(r, loop) && r->steps;
  loop->passes = true;
  for (loop->steps = 0; loop->steps < loop->most && loop->passes && !status;) {
    const int64_t all = loop->most - loop->steps, n = !coded ? 1 : all < LOOK ? all : LOOK;
    const int64_t left = coded ? r->steps(n) : 0;
    if (coded) {
      status = left < 0 ? r->u->ctx->status : GRAD_OK;
    } else {
      status = run_step(r, loop);
    }
    loop->steps += n - left;
    if (loop->test) loop->passes = *(const char *)&r->u->slots[r->step.test];
    if (!status && (coded || loop->steps % LOOK == 0)) status = grad__interrupted(r->u->ctx);
  }
  return status;
}

grad_status grad__repeater_run(grad_repeater *r, const grad_eval *how, grad_repeat *loop) {
  const grad_unrolled *u = r->u;
  for (int32_t i = 0; i < u->code.nevals; i++) {
    grad_eval *e = &u->code.evals[i].e;
    e->call = how->call, e->repeat = how->repeat, e->call_ud = how->call_ud;
  }
  for (int32_t i = 0; i < loop->nconsts + loop->ncarry; i++) load_array(&u->slots[u->inputs[i]], loop->in[i]);
  const grad_status status = run_steps(r, loop);
  for (int32_t k = 0; k < loop->ncarry && !status; k++)
    give_array(&loop->carry[k], &u->slots[u->inputs[loop->nconsts + k]]);
  return status;
}

/* loop_batch.c: loops under vmap. The carry is batched where anything batched reaches it. A while whose test is batched
 * runs until no element's test holds; elements that have ended keep their state. Where a step may fail for a state that
 * the element's own loop would never have made one of, they follow an element whose loop goes on. */
#include <string.h>

#include "ad/loop.h"
#include "ops/compose.h"

typedef struct rule {
  grad_batch *a;
  grad_program *p;
  grad_loop_view v;
  grad_arena temporary;
  bool *in, *out;     /* by body input and output: batched */
  grad_program *wide; /* the body, batched so */
  grad_program *test; /* the test, batched; NULL for scan */
  bool masked;        /* the test is batched */
} rule;

/* Batches the body until the carry comes out no more batched than it went in. */
static bool batch_body(rule *r) {
  for (;;) {
    grad__program_release(r->wide);
    r->wide = NULL;
    if (!grad__program_try(r->p, grad__ad_vmap(r->v.body, r->a->size, r->in, r->out, &r->wide))) return false;
    bool changed = false;
    for (int32_t k = 0; k < r->v.ncarry; k++) {
      if (!r->out[k] || r->in[r->v.nconsts + k]) continue;
      r->in[r->v.nconsts + k] = changed = true;
    }
    if (!changed) return true;
  }
}

static bool batch_test(rule *r) {
  if (!r->v.test) return true;
  bool batched = false;
  if (!grad__program_try(r->p, grad__ad_vmap(r->v.test, r->a->size, r->in, &batched, &r->test))) return false;
  if (!batched) return true;
  r->masked = true;
  for (int32_t k = 0; k < r->v.ncarry; k++) r->in[r->v.nconsts + k] = true;
  grad__program_release(r->test);
  r->test = NULL;
  return batch_body(r) && grad__program_try(r->p, grad__ad_vmap(r->v.test, r->a->size, r->in, &batched, &r->test));
}

static bool find_batched(rule *r) {
  r->in = grad__arena_alloc(&r->temporary, (size_t)r->v.body->ninputs + 1);
  r->out = grad__arena_alloc(&r->temporary, (size_t)r->v.body->noutputs + 1);
  if (!r->in || !r->out) return grad__program_try(r->p, r->p->ctx->status);
  memcpy(r->in, r->a->batched, (size_t)r->v.body->ninputs);
  return batch_body(r) && batch_test(r);
}

/* v, which is no stack, repeated along a new first axis. */
static grad_id spread(grad_program *p, grad_id v, int64_t size) {
  if (v == GRAD_NONE) return v;
  const grad_type t = *grad__type(p, v);
  if (t.ndim == GRAD_MAX_AXES)
    return grad__program_fail(p, GRAD_ESHAPE, "vmap: more than %d axes in a loop", GRAD_MAX_AXES);
  int64_t shape[GRAD_MAX_AXES] = {size};
  for (int i = 0; i < t.ndim; i++) shape[i + 1] = t.shape[i];
  return grad__broadcast(p, v, t.ndim + 1, shape);
}

/* What the step of each element is given: for those that have ended, what the first that has not is given. */
static void follow(const rule *r, grad_program *q, grad_id holds, grad_id *in) {
  const grad_id first = grad__arg_extremum(q, &grad__op_argmax, grad__convert(q, holds, GRAD_I64), 0);
  for (int32_t i = 0; i < q->ninputs; i++) {
    if (!r->in[i] || q->status) continue;
    const grad_type t = *grad__type(q, in[i]);
    in[i] = grad__where_rows(q, holds, in[i], grad__broadcast(q, grad__take(q, in[i], first, 0), t.ndim, t.shape));
  }
}

/* Masks among the ys are false for elements that have ended: for each time the loop was cut for reverse mode, one of
 * them tells that the element's loop went on (loop_jvp.c), and then nothing else is used that it leaves behind. */
static grad_id end_mask(const rule *r, grad_program *q, grad_id holds, int32_t k, grad_id made) {
  if (!r->out[k] || made == GRAD_NONE || grad__type(q, made)->dtype != GRAD_BOOL) return made;
  const grad_type t = *grad__type(q, made);
  return grad__where_rows(q, holds, made, grad__zeros_of(q, &t));
}

/* The step: a batched carry stays batched, and where the test does not hold, as it is. */
static grad_status wide_body(const rule *r, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_like(r->wide, &q);
  if (status) return status;
  grad_id *made = grad__ids_new(&q->arena, r->wide->noutputs), *in = grad__ids_new(&q->arena, q->ninputs);
  grad_id holds = GRAD_NONE;
  const bool follows = r->masked && r->a->size > 0 && grad__may_refuse(r->v.body);
  if (made && in) {
    for (int32_t i = 0; i < q->ninputs; i++) in[i] = q->inputs[i];
    if (r->masked) grad__inline(q, r->test, q->inputs, NULL, &holds, NULL);
    if (follows) follow(r, q, holds, in);
    grad__inline(q, r->wide, in, NULL, made, NULL);
    for (int32_t k = 0; k < r->wide->noutputs; k++) {
      const bool is_carry = k < r->v.ncarry;
      if (is_carry && r->in[r->v.nconsts + k] && !r->out[k]) made[k] = spread(q, made[k], r->a->size);
      if (!is_carry && follows) made[k] = end_mask(r, q, holds, k, made[k]);
      if (is_carry && r->masked) made[k] = grad__where_rows(q, holds, made[k], q->inputs[r->v.nconsts + k]);
      grad__program_output(q, made[k]);
    }
  } else {
    grad__program_try(q, r->p->ctx->status);
  }
  return grad__program_finish(q, out);
}

/* Goes on while any element's test holds. */
static grad_status wide_test(const rule *r, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_like(r->test, &q);
  if (status) return status;
  grad_id holds = GRAD_NONE;
  grad__inline(q, r->test, q->inputs, NULL, &holds, NULL);
  grad__program_output(q, r->masked ? grad__reduce(q, &grad__op_any, holds, 1, false) : holds);
  return grad__program_finish(q, out);
}

static grad_id swap_first_axes(grad_program *p, grad_id v) {
  if (v == GRAD_NONE || grad__type(p, v)->shape[0] == GRAD_DYNAMIC) return v;
  return grad__swap_axes(p, v, 0, 1);
}

static void emit(rule *r, grad_program *body, grad_program *test) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry;
  grad_id *in = grad__ids_new(&r->temporary, v->body->ninputs);
  if (!in) {
    grad__program_try(r->p, r->p->ctx->status);
    return;
  }
  for (int32_t i = 0; i < v->body->ninputs; i++) {
    in[i] = r->a->x[i];
    if (i >= v->nconsts && i < first_x && r->in[i] && !r->a->batched[i]) in[i] = spread(r->p, in[i], r->a->size);
    if (i >= first_x && r->a->batched[i]) in[i] = swap_first_axes(r->p, in[i]);
  }
  const grad_loop loop = {.body = body,
                          .nconsts = v->nconsts,
                          .ncarry = v->ncarry,
                          .nxs = v->nxs,
                          .consts = in,
                          .init = in + v->nconsts,
                          .xs = in + first_x,
                          .length = v->length,
                          .reverse = v->reverse};
  const grad_id out = grad__emit_loop(r->p, &loop, test);
  for (int32_t k = 0; k < v->body->noutputs && out != GRAD_NONE; k++) {
    const bool is_carry = k < v->ncarry;
    r->a->out_batched[k] = is_carry ? r->in[v->nconsts + k] : r->out[k];
    r->a->y[k] = !is_carry && r->out[k] ? swap_first_axes(r->p, out + k) : out + k;
  }
}

void grad__loop_batch(grad_batch *a) {
  rule r = {.a = a, .p = a->p, .v = grad__loop_view(a->ins)};
  grad_program *body = NULL, *test = NULL;
  grad__arena_init(&r.temporary, a->p->ctx);
  if (find_batched(&r) && grad__program_try(r.p, wide_body(&r, &body)) &&
      (!r.test || grad__program_try(r.p, wide_test(&r, &test)))) {
    emit(&r, body, test);
  }
  grad__program_release(body);
  grad__program_release(test);
  grad__program_release(r.wide);
  grad__program_release(r.test);
  grad__arena_clear(&r.temporary);
}

/* loop_jvp.c: derivatives of loops. In forward mode a loop carries values and tangents together. For reverse mode it is
 * cut: one loop gives the values and stacks what each step leaves behind (residuals); a scan over the stacks moves the
 * tangents, and is what gets transposed. */
#include <string.h>

#include "ad/loop.h"

/* A rule at work. */
typedef struct rule {
  grad_jvp *a;
  grad_program *p;
  grad_loop_view v;
  grad_arena temporary;
  bool *wrt;        /* by body input: has a tangent */
  bool *active_out; /* by body output */
} rule;

/* --- which parts of the carry get tangents: until nothing changes */

static bool find_active(rule *r) {
  const grad_program *body = r->v.body;
  bool *active = grad__arena_alloc(&r->temporary, (size_t)body->nvalues + 1);
  r->wrt = grad__arena_alloc(&r->temporary, (size_t)body->ninputs + 1);
  r->active_out = grad__arena_alloc(&r->temporary, (size_t)body->noutputs + 1);
  if (!active || !r->wrt || !r->active_out) return grad__program_try(r->p, r->p->ctx->status);
  for (int32_t i = 0; i < body->ninputs; i++) r->wrt[i] = r->a->dx[i] != GRAD_NONE;
  for (bool changed = true; changed;) {
    changed = false;
    memset(active, 0, (size_t)body->nvalues + 1);
    for (int32_t i = 0; i < body->ninputs; i++) active[body->inputs[i]] = r->wrt[i];
    grad__mark_active(body, active);
    for (int32_t k = 0; k < r->v.ncarry; k++) {
      if (!active[body->outputs[k]] || r->wrt[r->v.nconsts + k]) continue;
      r->wrt[r->v.nconsts + k] = changed = true;
    }
  }
  /* a carry that has a tangent keeps one, be it zero after a step */
  for (int32_t k = 0; k < body->noutputs; k++) {
    r->active_out[k] = active[body->outputs[k]] || (k < r->v.ncarry && r->wrt[r->v.nconsts + k]);
  }
  return true;
}

/* Appends the tangents of body inputs [from, to) that have one; zeros for a carry that gets one later. */
static int32_t append_tangents(const rule *r, int32_t from, int32_t to, grad_id *list, int32_t n) {
  for (int32_t i = from; i < to; i++) {
    if (!r->wrt[i]) continue;
    const grad_type t = *grad__type(r->v.body, r->v.body->inputs[i]);
    list[n++] = grad__or_zeros(r->p, r->a->dx[i], &t);
  }
  return n;
}

/* Hands out values and tangents: ids of the first carry and so on, in the order carry, dcarry, ys, dys. */
static void give_tangents(const rule *r, grad_id dcarry, grad_id dys) {
  for (int32_t k = 0; k < r->v.body->noutputs; k++) {
    if (!r->active_out[k]) continue;
    r->a->dy[k] = k < r->v.ncarry ? dcarry++ : dys++;
  }
}

/* --- forward mode */

/* The jvp of the body with each group of inputs and outputs followed by its tangents. */
static grad_status joint_body(rule *r, grad_program **out) {
  const grad_program *body = r->v.body;
  const int32_t bounds[] = {0, r->v.nconsts, r->v.nconsts + r->v.ncarry, body->ninputs};
  int32_t *in = grad__arena_alloc(&r->temporary, 2 * ((size_t)body->ninputs + 1) * sizeof *in);
  int32_t *outs = grad__arena_alloc(&r->temporary, 2 * ((size_t)body->noutputs + 1) * sizeof *outs);
  if (!in || !outs) return r->p->ctx->status;
  int32_t nin = 0, nout = 0, tangent = body->ninputs;
  for (int g = 0; g < 3; g++) {
    for (int32_t i = bounds[g]; i < bounds[g + 1]; i++) in[nin++] = i;
    for (int32_t i = bounds[g]; i < bounds[g + 1]; i++) {
      if (r->wrt[i]) in[nin++] = tangent++;
    }
  }
  tangent = body->noutputs;
  const int32_t out_bounds[] = {0, r->v.ncarry, body->noutputs};
  for (int g = 0; g < 2; g++) {
    for (int32_t k = out_bounds[g]; k < out_bounds[g + 1]; k++) outs[nout++] = k;
    for (int32_t k = out_bounds[g]; k < out_bounds[g + 1]; k++) {
      if (!grad__type_is_float(grad__type(body, body->outputs[k]))) continue;
      if (r->active_out[k]) outs[nout++] = tangent;
      tangent++;
    }
  }
  grad_program *pushed = NULL;
  grad_status status = grad__ad_jvp(body, r->wrt, &pushed);
  if (!status) status = grad__reorder(pushed, nin, in, nout, outs, out);
  grad__program_release(pushed);
  return status;
}

/* The test of a loop whose consts and carry are followed by tangents. */
static grad_status joint_test(const rule *r, grad_program **out) {
  const grad_program *test = r->v.test, *body = r->v.body;
  const int32_t bounds[] = {0, r->v.nconsts, r->v.nconsts + r->v.ncarry};
  grad_program *q = NULL;
  grad_status status = grad__program_new(test->ctx, &q);
  if (status) return status;
  grad_id *in = grad__ids_new(&q->arena, test->ninputs), passes = GRAD_NONE;
  for (int g = 0; g < 2 && in; g++) {
    for (int32_t i = bounds[g]; i < bounds[g + 1]; i++)
      in[i] = grad__program_input_like(q, grad__type(test, test->inputs[i]));
    for (int32_t i = bounds[g]; i < bounds[g + 1]; i++) {
      if (r->wrt[i]) grad__program_input_like(q, grad__type(body, body->inputs[i]));
    }
  }
  if (in) {
    grad__inline(q, test, in, NULL, &passes, NULL);
    grad__program_output(q, passes);
  } else {
    grad__program_try(q, test->ctx->status);
  }
  return grad__program_finish(q, out);
}

static void emit_joint(rule *r, grad_program *body, grad_program *test, grad_id *ids) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry;
  grad_id *consts = ids, *init = consts + 2 * v->nconsts, *xs = init + 2 * v->ncarry;
  memcpy(consts, r->a->x, (size_t)v->nconsts * sizeof *ids);
  memcpy(init, r->a->x + v->nconsts, (size_t)v->ncarry * sizeof *ids);
  memcpy(xs, r->a->x + first_x, (size_t)v->nxs * sizeof *ids);
  const grad_loop loop = {.body = body,
                          .nconsts = append_tangents(r, 0, v->nconsts, consts, v->nconsts),
                          .ncarry = append_tangents(r, v->nconsts, first_x, init, v->ncarry),
                          .nxs = append_tangents(r, first_x, v->body->ninputs, xs, v->nxs),
                          .consts = consts,
                          .init = init,
                          .xs = xs,
                          .length = v->length,
                          .reverse = v->reverse};
  const grad_id out = grad__emit_loop(r->p, &loop, test);
  if (out == GRAD_NONE) return;
  for (int32_t k = 0; k < v->ncarry; k++) r->a->y[k] = out + k;
  for (int32_t k = 0; k < v->nys; k++) r->a->y[v->ncarry + k] = out + loop.ncarry + k;
  give_tangents(r, out + v->ncarry, out + loop.ncarry + v->nys);
}

static void jvp_joint(rule *r) {
  grad_program *body = NULL, *test = NULL;
  grad_id *ids = grad__ids_new(&r->temporary, 2 * r->v.body->ninputs);
  bool good = ids ? grad__program_try(r->p, joint_body(r, &body)) : grad__program_try(r->p, r->p->ctx->status);
  if (good && r->v.test) good = grad__program_try(r->p, joint_test(r, &test));
  if (good) emit_joint(r, body, test, ids);
  grad__program_release(body);
  grad__program_release(test);
}

/* --- reverse mode: cutting the loop */

/* Where a residual of the body comes from in the loop of tangents. */
typedef enum residual_kind {
  FROM_CONST, /* it depends on consts only: computed once, outside */
  FROM_ROWS,  /* it is a row of the xs: they are read again */
  FROM_STACK
} residual_kind;

typedef struct cut_loop {
  grad_cut cut;        /* of the body with the active outputs first */
  int32_t nactive;     /* how many those are */
  residual_kind *kind; /* by residual */
  grad_id *outer;      /* by residual: its const, rows or stack in r->p */
  grad_id alive;       /* while: the stack that tells for which steps the test held */
  grad_id dcarry, dys;
} cut_loop;

/* The body with its active outputs first, then all of them. */
static grad_status active_first(rule *r, int32_t *nactive, grad_program **out) {
  const grad_program *body = r->v.body;
  int32_t *outs = grad__arena_alloc(&r->temporary, 2 * ((size_t)body->noutputs + 1) * sizeof *outs);
  int32_t *in = grad__arena_alloc(&r->temporary, ((size_t)body->ninputs + 1) * sizeof *in), n = 0;
  if (!outs || !in) return r->p->ctx->status;
  for (int32_t i = 0; i < body->ninputs; i++) in[i] = i;
  for (int32_t k = 0; k < body->noutputs; k++) {
    if (r->active_out[k]) outs[n++] = k;
  }
  *nactive = n;
  for (int32_t k = 0; k < body->noutputs; k++) outs[n++] = k;
  return grad__reorder(body, body->ninputs, in, n, outs, out);
}

static grad_status classify(rule *r, cut_loop *c) {
  const grad_program *primal = c->cut.primal;
  const int32_t first = primal->noutputs - c->cut.nresiduals;
  bool *varies = grad__arena_alloc(&r->temporary, (size_t)primal->nvalues + 1);
  c->kind = grad__arena_alloc(&r->temporary, ((size_t)c->cut.nresiduals + 1) * sizeof *c->kind);
  c->outer = grad__ids_new(&r->temporary, c->cut.nresiduals);
  if (!varies || !c->kind || !c->outer) return r->p->ctx->status;
  memset(varies, 0, (size_t)primal->nvalues + 1);
  for (int32_t i = r->v.nconsts; i < primal->ninputs; i++) varies[primal->inputs[i]] = true;
  grad__mark_linear(primal, primal->ninstrs, varies);
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    const grad_id v = primal->outputs[first + i];
    const int32_t input = -1 - primal->producers[v];
    c->kind[i] = !varies[v] ? FROM_CONST : input >= r->v.nconsts + r->v.ncarry ? FROM_ROWS : FROM_STACK;
    if (c->kind[i] == FROM_ROWS) c->outer[i] = r->a->x[input];
  }
  return GRAD_OK;
}

/* Computes the residuals that depend on consts only, once, in the outer program. */
static grad_status hoist(rule *r, cut_loop *c) {
  const grad_program *primal = c->cut.primal;
  const int32_t first = primal->noutputs - c->cut.nresiduals;
  grad_id *outputs = grad__ids_new(&r->temporary, c->cut.nresiduals),
          *made = grad__ids_new(&r->temporary, c->cut.nresiduals);
  if (!outputs || !made) return r->p->ctx->status;
  int32_t n = 0;
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    if (c->kind[i] == FROM_CONST) outputs[n++] = primal->outputs[first + i];
  }
  grad_program *before = NULL;
  grad_status status = grad__extract(primal, r->v.nconsts, primal->inputs, n, outputs, false, &before);
  if (status) return status;
  grad__inline(r->p, before, r->a->x, NULL, made, NULL);
  n = 0;
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    if (c->kind[i] == FROM_CONST) c->outer[i] = made[n++];
  }
  grad__program_release(before);
  return r->p->status;
}

/* consts, carry, rows -> carry, ys, the residuals to stack, and for while: that the test held. */
static grad_status primal_body(const rule *r, const cut_loop *c, grad_program **out) {
  const grad_program *primal = c->cut.primal, *test = r->v.test;
  const int32_t first = primal->noutputs - c->cut.nresiduals;
  grad_program *q = NULL;
  grad_status status = grad__program_like(primal, &q);
  if (status) return status;
  grad_id *made = grad__ids_new(&q->arena, primal->noutputs), passes = GRAD_NONE;
  if (made) {
    grad__inline(q, primal, q->inputs, NULL, made, NULL);
    for (int32_t k = c->nactive; k < first; k++) grad__program_output(q, made[k]);
    for (int32_t i = 0; i < c->cut.nresiduals; i++) {
      if (c->kind[i] == FROM_STACK) grad__program_output(q, made[first + i]);
    }
    if (test) grad__inline(q, test, q->inputs, NULL, &passes, NULL);
    if (test) grad__program_output(q, passes);
  } else {
    grad__program_try(q, primal->ctx->status);
  }
  if (q->status) {
    status = q->status;
  } else {
    status = grad__prune(q, out);
  }
  grad__program_release(q);
  return status;
}

static grad_status emit_primal(rule *r, cut_loop *c) {
  grad_program *body = NULL;
  grad_status status = primal_body(r, c, &body);
  if (status) return status;
  const grad_loop_view *v = &r->v;
  const grad_loop loop = {.body = body,
                          .nconsts = v->nconsts,
                          .ncarry = v->ncarry,
                          .nxs = v->nxs,
                          .consts = r->a->x,
                          .init = r->a->x + v->nconsts,
                          .xs = r->a->x + v->nconsts + v->ncarry,
                          .length = v->length,
                          .reverse = v->reverse};
  grad_id out = grad__emit_loop(r->p, &loop, v->test);
  grad__program_release(body);
  if (out == GRAD_NONE) return r->p->status;
  for (int32_t k = 0; k < v->body->noutputs; k++) r->a->y[k] = out++;
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    if (c->kind[i] == FROM_STACK) c->outer[i] = out++;
  }
  c->alive = out;
  return GRAD_OK;
}

/* Inputs of q for the residuals of one kind. */
static void residual_inputs(const cut_loop *c, grad_program *q, bool consts, grad_id *in) {
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    if ((c->kind[i] == FROM_CONST) != consts) continue;
    in[i] = grad__program_input_like(q, grad__type(c->cut.linear, c->cut.linear->inputs[i]));
  }
}

static void tangent_inputs(const rule *r, grad_program *q, int32_t from, int32_t to, int32_t *next, grad_id *in) {
  for (int32_t i = from; i < to; i++) {
    if (r->wrt[i]) in[(*next)++] = grad__program_input_like(q, grad__type(r->v.body, r->v.body->inputs[i]));
  }
}

/* The step of tangents: residuals and tangents, by group -> dcarry, dys. In a while, where the test did not hold (for
 * one of a batch) the tangents stay as they are. */
static grad_status linear_body(const rule *r, const cut_loop *c, grad_program **out) {
  const grad_program *linear = c->cut.linear;
  const int32_t first_x = r->v.nconsts + r->v.ncarry;
  grad_program *q = NULL;
  grad_status status = grad__program_new(linear->ctx, &q);
  if (status) return status;
  grad_id *in = grad__ids_new(&q->arena, linear->ninputs), *made = grad__ids_new(&q->arena, linear->noutputs);
  if (in && made) {
    int32_t next = c->cut.nresiduals;
    residual_inputs(c, q, true, in);
    tangent_inputs(r, q, 0, r->v.nconsts, &next, in);
    const int32_t dcarry = next;
    tangent_inputs(r, q, r->v.nconsts, first_x, &next, in);
    const int32_t ncarry = next - dcarry;
    residual_inputs(c, q, false, in);
    const grad_id alive = r->v.test ? grad__program_input(q, GRAD_BOOL, 0, NULL) : GRAD_NONE;
    tangent_inputs(r, q, first_x, r->v.body->ninputs, &next, in);
    grad__inline(q, linear, in, NULL, made, NULL);
    for (int32_t k = 0; k < linear->noutputs && !q->status; k++) {
      if (r->v.test) {
        const grad_type t = *grad__type(q, made[k]);
        const grad_id held = grad__broadcast(q, alive, t.ndim, t.shape);
        made[k] = grad__where(q, held, made[k], k < ncarry ? in[dcarry + k] : grad__zeros_of(q, &t));
      }
      grad__program_output(q, made[k]);
    }
  } else {
    grad__program_try(q, linear->ctx->status);
  }
  return grad__program_finish(q, out);
}

static int32_t append_residuals(const cut_loop *c, bool consts, grad_id *list) {
  int32_t n = 0;
  for (int32_t i = 0; i < c->cut.nresiduals; i++) {
    if ((c->kind[i] == FROM_CONST) == consts) list[n++] = c->outer[i];
  }
  return n;
}

static grad_status emit_linear(rule *r, cut_loop *c) {
  const grad_loop_view *v = &r->v;
  const int32_t first_x = v->nconsts + v->ncarry, room = c->cut.nresiduals + v->body->ninputs + 1;
  grad_id *consts = grad__ids_new(&r->temporary, 3 * room), *init = consts + room, *xs = init + room;
  if (!consts) return r->p->ctx->status;
  grad_program *body = NULL;
  grad_status status = linear_body(r, c, &body);
  if (status) return status;
  grad_loop loop = {.body = body, .consts = consts, .init = init, .xs = xs, .length = v->length, .reverse = v->reverse};
  loop.nconsts = append_tangents(r, 0, v->nconsts, consts, append_residuals(c, true, consts));
  loop.ncarry = append_tangents(r, v->nconsts, first_x, init, 0);
  loop.nxs = append_residuals(c, false, xs);
  if (v->test) xs[loop.nxs++] = c->alive;
  loop.nxs = append_tangents(r, first_x, v->body->ninputs, xs, loop.nxs);
  const grad_id out = grad__emit_loop(r->p, &loop, NULL);
  grad__program_release(body);
  if (out != GRAD_NONE) give_tangents(r, out, out + loop.ncarry);
  return r->p->status;
}

static grad_status jvp_split(rule *r) {
  cut_loop c = {.alive = GRAD_NONE};
  grad_program *body = NULL;
  grad_status status = active_first(r, &c.nactive, &body);
  const int32_t most = GRAD_MAX_OUT - r->v.body->noutputs - 1;
  if (!status) status = grad__cut_body(body, r->wrt, c.nactive, most, false, &c.cut);
  if (!status) status = grad__cut_lighten(r->v.nconsts, r->v.ncarry, &c.cut);
  if (!status) status = classify(r, &c);
  if (!status) status = hoist(r, &c);
  if (!status) status = emit_primal(r, &c);
  if (!status) status = emit_linear(r, &c);
  grad__cut_clear(&c.cut);
  grad__program_release(body);
  return status;
}

void grad__loop_jvp(grad_jvp *a) {
  rule r = {.a = a, .p = a->p, .v = grad__loop_view(a->ins)};
  grad__arena_init(&r.temporary, a->p->ctx);
  if (find_active(&r)) {
    if (a->joint) {
      jvp_joint(&r);
    } else {
      grad__program_try(a->p, jvp_split(&r));
    }
  }
  grad__arena_clear(&r.temporary);
}

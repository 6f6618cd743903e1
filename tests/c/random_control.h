/* random_control.h: as random_ops.h, for the ops that have programs inside: these are random programs in turn. */
#ifndef RANDOM_CONTROL_H
#define RANDOM_CONTROL_H

#include "ad/control.h"
#include "include/grad.h"
#include "random_ops.h"

/* Adds that many random operations; random_program.h. */
static inline void random_grow(random_builder *b, int nops);

/* A program whose inputs have the types of these values of b's. */
static inline random_builder random_nested(random_builder *b, int n, const grad_id *like) {
  random_builder sub = *b;
  sub.depth--;
  sub.closed = true;
  sub.p = NULL;
  sub.nresults = 0;
  if (b->p->status || grad__program_new(b->p->ctx, &sub.p)) return sub;
  for (int i = 0; i < n && like[i] != GRAD_NONE; i++) {
    const grad_id v = grad__program_input_like(sub.p, grad__type(b->p, like[i]));
    if (grad__dtype_is_float(grad__type(b->p, like[i])->dtype)) random_keep(&sub, v);
  }
  sub.state = n - 1; /* the last of them */
  return sub;
}

/* A few operations, then an output of that shape. */
static inline void random_result(random_builder *sub, int ndim, const int64_t *shape) {
  if (!sub->p) return;
  random_grow(sub, 1 + random_below(sub->r, 3));
  grad__program_output(sub->p, random_settle(sub, random_shaped(sub, ndim, shape)));
}

static inline bool random_nested_failed(random_builder *b, const random_builder *sub) {
  if (sub->p && !sub->p->status) return false;
  if (!b->p->status) grad__program_try(b->p, b->p->ctx->status ? b->p->ctx->status : GRAD_EINTERNAL);
  return true;
}

static inline grad_id random_cond(random_builder *b) {
  const int64_t shape[] = {2, random_extent(b, 1, 3)};
  const grad_id args[] = {random_matrix(b), random_pick(b), b->state};
  const grad_id predicate = random_mask(b, 0, NULL);
  random_builder yes = random_nested(b, 3, args), no = random_nested(b, 3, args);
  random_result(&yes, 2, shape);
  random_result(&no, 2, shape);
  grad_id out = GRAD_NONE;
  if (!random_nested_failed(b, &yes) && !random_nested_failed(b, &no))
    grad__cond(b->p, predicate, yes.p, no.p, 3, args, &out);
  grad__program_release(yes.p);
  grad__program_release(no.p);
  return out;
}

/* Each step draws from where the one before left the generator. */
static inline void random_next_state(const random_builder *body) {
  if (body->p) grad__program_output(body->p, grad__random_state_after(body->p, body->state, 7));
}

/* consts: a value; carry: a vector, the state of the generator; a matrix a row. */
static inline grad_id random_scan(random_builder *b) {
  const int64_t length = random_extent(b, 0, 4), shape[] = {length, 2, 2}, carry[] = {3};
  const grad_id value = random_matrix(b), init[] = {random_shaped(b, 1, carry), b->state},
                xs = random_shaped(b, 3, shape);
  const grad_id row = random_shaped(b, 2, shape + 1);
  random_builder body = random_nested(b, 4, (const grad_id[]){value, init[0], init[1], row});
  body.state = 2;
  random_result(&body, 1, carry);
  random_next_state(&body);
  random_result(&body, 1, shape + 1);
  grad_id out[3] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  if (!random_nested_failed(b, &body)) {
    const grad_loop loop = {.body = body.p,
                            .nconsts = 1,
                            .ncarry = 2,
                            .nxs = 1,
                            .consts = &value,
                            .init = init,
                            .xs = &xs,
                            .length = length,
                            .reverse = random_below(b->r, 2)};
    if (random_below(b->r, 2))
      grad__scan(b->p, &loop, out);
    else
      grad__scan_checkpointed(b->p, &loop, random_below(b->r, 3), out);
  }
  grad__program_release(body.p);
  return random_below(b->r, 2) ? out[0] : out[2];
}

/* Output: what was done to the vector `state`, times it: derivatives of every order depend on it. */
static inline void random_step(random_builder *body, grad_id state, int64_t n) {
  if (!body->p) return;
  random_grow(body, 1 + random_below(body->r, 2));
  const grad_id factor = random_shaped(body, 1, &n);
  grad__program_output(body->p, random_settle(body, grad__mul(body->p, state, factor)));
}

/* consts: limit, a value; carry: steps done, a vector, the state of the generator. Runs 0 to 3 times. */
static inline grad_id random_while(random_builder *b) {
  const int64_t shape[] = {3};
  const grad_id consts[] = {random_index(b, 4, 0, NULL), random_matrix(b)};
  const grad_id init[] = {grad__full(b->p, 0, GRAD_I64, 0, NULL), random_shaped(b, 1, shape), b->state};
  const grad_id in[] = {consts[0], consts[1], init[0], init[1], init[2]};
  random_builder test = random_nested(b, 5, in), body = random_nested(b, 5, in);
  grad_id out[3] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  if (test.p && body.p) {
    grad__program_output(test.p, grad__op2(test.p, &grad__op_lt, 2, 0));
    grad__program_output(body.p, grad__add(body.p, 2, grad__lit(body.p, 1, 2)));
  }
  random_step(&body, 3, shape[0]);
  random_next_state(&body);
  if (!random_nested_failed(b, &test) && !random_nested_failed(b, &body)) {
    const grad_loop loop = {.body = body.p, .nconsts = 2, .ncarry = 3, .consts = consts, .init = init};
    grad__while_loop(b->p, test.p, &loop, out);
  }
  grad__program_release(test.p);
  grad__program_release(body.p);
  return out[1];
}

static inline grad_id random_checkpoint(random_builder *b) {
  const int64_t shape[] = {2, 2};
  const grad_id args[] = {random_matrix(b), random_pick(b), b->state};
  random_builder body = random_nested(b, 3, args);
  random_result(&body, 2, shape);
  grad_id out = GRAD_NONE;
  if (!random_nested_failed(b, &body)) grad__checkpoint(b->p, body.p, 3, args, &out);
  grad__program_release(body.p);
  return out;
}

/* The rule of forward or reverse mode, made from f by its own derivative. */
static inline grad_program *random_rule(const grad_program *f, bool reverse) {
  enum { MOST = 8 };
  bool wrt[MOST];
  int32_t from[MOST], order[MOST], nout = 0;
  grad_program *whole = NULL, *rule = NULL;
  for (int32_t i = 0; i < f->ninputs; i++) wrt[i] = grad__dtype_is_float(grad__type(f, f->inputs[i])->dtype);
  if (reverse ? grad__ad_vjp(f, wrt, f->noutputs, &whole) : grad__ad_jvp(f, wrt, &whole)) return NULL;
  for (int32_t i = 0; i < whole->ninputs; i++) order[i] = i;
  for (int32_t i = f->noutputs; i < whole->noutputs; i++) from[nout++] = i;
  if (grad__reorder(whole, whole->ninputs, order, nout, from, &rule)) rule = NULL;
  grad__program_release(whole);
  return rule;
}

static inline grad_id random_custom(random_builder *b) {
  const int64_t shape[] = {2, 2};
  const grad_id args[] = {random_matrix(b), random_pick(b), b->state};
  random_builder f = random_nested(b, 3, args);
  random_result(&f, 2, shape);
  grad_id out = GRAD_NONE;
  if (!random_nested_failed(b, &f)) {
    const int rules = 1 + random_below(b->r, 3);
    grad_program *jvp = rules & 1 ? random_rule(f.p, false) : NULL, *vjp = rules & 2 ? random_rule(f.p, true) : NULL;
    grad__custom(b->p, f.p, jvp, vjp, 3, args, &out);
    grad__program_release(jvp);
    grad__program_release(vjp);
  }
  grad__program_release(f.p);
  return out;
}

static inline grad_id random_linear_solve(random_builder *b) {
  const int64_t n = random_extent(b, 1, 3), column[] = {n, 1};
  const grad_id a = random_square(b, n, false), right = random_shaped(b, 1, &n);
  grad_program *products[2] = {NULL, NULL};
  for (int i = 0; i < 2; i++) {
    random_builder sub = random_nested(b, 2, (const grad_id[]){a, right});
    products[i] = sub.p;
    if (random_nested_failed(b, &sub)) continue;
    const grad_id y = grad__matmul(sub.p, 0, grad__reshape(sub.p, 1, 2, column), i, false);
    grad__program_output(sub.p, grad__reshape(sub.p, y, 1, &n));
  }
  const grad_id x = b->p->status ? GRAD_NONE : grad__linear_solve(b->p, products[0], products[1], 1, &a, right);
  grad__program_release(products[0]);
  grad__program_release(products[1]);
  return x;
}

/* x + x^3 / 3 + mean(x w) = a: the left side grows with x. */
static inline grad_id random_implicit(random_builder *b) {
  const int64_t n = random_extent(b, 1, 3);
  const grad_id args[] = {random_shaped(b, 1, &n), random_into(b, random_shaped(b, 1, &n), 0, 1)};
  random_builder sub = random_nested(b, 3, (const grad_id[]){args[0], args[0], args[1]});
  grad_id x = GRAD_NONE;
  if (!random_nested_failed(b, &sub)) {
    grad_program *p = sub.p;
    const grad_id cube = grad__mul(p, grad__lit(p, 1.0 / 3, 0), grad__mul(p, 0, grad__op1(p, &grad__op_square, 0)));
    const grad_id mean = grad__mean(p, grad__mul(p, 0, 2), 1, false);
    grad__program_output(p, grad__sub(p, grad__add(p, grad__add(p, 0, cube), mean), 1));
    x = grad__newton(b->p, p, args[0], 2, args, 1e-14, 40);
  }
  grad__program_release(sub.p);
  return x;
}

/* --- a function of the host: y = x^2 of a vector */

static inline grad_status random_host_infer(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  out[0] = in[0];
  return GRAD_OK;
}
static inline grad_status random_host_eval(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = in[0]->data;
  double *y = out[0]->data;
  for (int64_t i = 0; i < grad__array_numel(out[0]); i++) y[i] = x[i] * x[i];
  return GRAD_OK;
}
static inline grad_status random_host_rule(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = in[0]->data, *v = in[1]->data;
  double *y = out[0]->data;
  for (int64_t i = 0; i < grad__array_numel(out[0]); i++) y[i] = 2 * x[i] * v[i];
  return GRAD_OK;
}
static const grad_host_op random_host_op = {
    sizeof random_host_op, "square",        1, 1, NULL, random_host_infer, random_host_eval,
    random_host_rule,      random_host_rule};

static inline grad_id random_host(random_builder *b) {
  const grad_id x = random_matrix(b);
  grad_id y = GRAD_NONE;
  grad_host_call(b->p, &random_host_op, &x, &y);
  return y;
}

#endif

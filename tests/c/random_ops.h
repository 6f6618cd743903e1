/* random_ops.h: for each structured op, how to make an instance of it that is valid, moderate, and differentiable
 * almost everywhere, from values of a program picked at random. An op without an entry fails transforms_test.
 *
 * Several ops occur only in what the rules of others emit: their entry names the function that leads to them. */
#ifndef RANDOM_OPS_H
#define RANDOM_OPS_H

#include "ad/control.h"
#include "include/grad.h"
#include "ops/linalg.h"
#include "ops/structured.h"
#include "random_source.h"

/* Emits into b->p; the result (a float) is settled by the caller. */
typedef grad_id (*random_maker)(random_builder *b);

/* Adds that many random operations; random_program.h. */
static inline void random_grow(random_builder *b, int nops);

/* --- constants, shapes */

static inline grad_id random_scalar(random_builder *b) {
  const grad_id x = random_pick(b);
  return grad__mul(b->p, x, b->closed ? random_number(b, -1, 1) : grad__scalar(b->p, b->dtype, random_below(b->r, 2)));
}

static inline grad_id random_full(random_builder *b) {
  return grad__add(b->p, random_pick(b), random_number(b, -1, 1));
}

static inline grad_id random_iota(random_builder *b) {
  const int64_t shape[] = {2, random_extent(b, 1, 4)};
  const int axis = random_below(b->r, 2);
  return grad__mul(b->p, random_shaped(b, 2, shape), grad__iota(b->p, b->dtype, 2, shape, axis));
}

static inline grad_id random_convert(random_builder *b) {
  const grad_id x = random_pick(b);
  const grad_id rounded = grad__convert(b->p, grad__op1(b->p, &grad__op_round, random_into(b, x, -3, 3)), GRAD_I64);
  return grad__mul(b->p, x, grad__convert(b->p, rounded, b->dtype));
}

static inline grad_id random_broadcast(random_builder *b) {
  const int64_t from[] = {random_extent(b, 1, 3), 1}, to[] = {2, from[0], random_extent(b, 1, 3)};
  return grad__broadcast(b->p, random_shaped(b, 2, from), 3, to);
}

static inline grad_id random_reshape(random_builder *b) {
  const int64_t shape[] = {random_extent(b, 1, 4), 1, random_extent(b, 1, 4)};
  return random_shaped(b, 1 + random_below(b->r, 3), shape);
}

static inline grad_id random_permute(random_builder *b) {
  static const int orders[][3] = {{0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}};
  const int64_t shape[] = {2, random_extent(b, 1, 3), random_extent(b, 1, 3)};
  return grad__permute(b->p, random_shaped(b, 3, shape), orders[random_below(b->r, 5)]);
}

typedef struct random_piece {
  int64_t shape[2], start[2], count[2], step[2];
} random_piece;

/* A piece of a matrix of at least 3 x 3, forwards or backwards, whole or with gaps. */
static inline random_piece random_some(random_builder *b) {
  random_piece s;
  for (int i = 0; i < 2; i++) {
    const int64_t n = s.shape[i] = random_extent(b, 3, 6);
    s.step[i] = 1 + random_below(b->r, 2);
    s.start[i] = random_below(b->r, 3);
    s.count[i] = (n - s.start[i] + s.step[i] - 1) / s.step[i];
    if (random_below(b->r, 3)) continue;
    s.start[i] += s.step[i] * (s.count[i] - 1);
    s.step[i] = -s.step[i];
  }
  return s;
}

static inline grad_id random_slice(random_builder *b) {
  const random_piece s = random_some(b);
  return grad__slice(b->p, random_shaped(b, 2, s.shape), s.start, s.count, s.step);
}

static inline grad_id random_unslice(random_builder *b) {
  const random_piece s = random_some(b);
  const grad_id whole = grad__unslice(b->p, random_shaped(b, 2, s.count), 2, s.shape, s.start, s.step);
  return grad__add(b->p, whole, random_shaped(b, 2, s.shape));
}

static inline grad_id random_concat(random_builder *b) {
  const int64_t first[] = {2, 3}, second[] = {random_extent(b, 0, 2), 3};
  const grad_id x = random_shaped(b, 2, first), y = random_shaped(b, 2, second);
  return grad__concat(b->p, 3, (const grad_id[]){x, y, x}, 0);
}

static inline grad_id random_stop_gradient(random_builder *b) { /* of what has no slope anyway */
  const grad_id x = random_pick(b);
  return grad__mul(b->p, x, grad__stop_gradient(b->p, grad__op1(b->p, &grad__op_floor, random_into(b, x, -2, 2))));
}

/* 0 to n - 1 in any order. */
static inline grad_id random_order(random_builder *b, int64_t n) {
  if (b->repeated) return grad__flip(b->p, grad__iota(b->p, GRAD_I64, 1, &n, 0), 1);
  return grad__random_permutation(b->p, b->state, random_below(b->r, 50), n);
}

/* --- reductions, scans, sorting */

static inline grad_id random_reduced(random_builder *b, const grad_op *op, double low, double high) {
  const int64_t shape[] = {random_extent(b, 1, 4), random_extent(b, 1, 4), 2};
  const grad_id x = random_into(b, random_shaped(b, 3, shape), low, high);
  return grad__reduce(b->p, op, x, (uint32_t)random_below(b->r, 8), random_below(b->r, 2));
}
static inline grad_id random_sum(random_builder *b) { return random_reduced(b, &grad__op_sum, -0.5, 0.5); }
static inline grad_id random_prod(random_builder *b) { return random_reduced(b, &grad__op_prod, -1.2, 1.3); }
static inline grad_id random_max(random_builder *b) { return random_reduced(b, &grad__op_max, -2, 2); }
static inline grad_id random_min(random_builder *b) { return random_reduced(b, &grad__op_min, -2, 2); }

/* A mask, reduced, chooses. */
static inline grad_id random_of_masks(random_builder *b, const grad_op *op) {
  const int64_t shape[] = {3, random_extent(b, 1, 3)};
  const grad_id mask = grad__reduce(b->p, op, random_mask(b, 2, shape), 1u << random_below(b->r, 2), true);
  return grad__where(b->p, mask, random_shaped(b, 2, shape), random_shaped(b, 2, shape));
}
static inline grad_id random_any(random_builder *b) { return random_of_masks(b, &grad__op_any); }
static inline grad_id random_all(random_builder *b) { return random_of_masks(b, &grad__op_all); }

static inline grad_id random_matrix(random_builder *b) {
  const int64_t shape[] = {random_extent(b, 1, 4), random_extent(b, 2, 4)};
  return random_shaped(b, 2, shape);
}

/* A matrix whose elements differ, whatever was picked: what comes first is not left to rounding. */
static inline grad_id random_spread(random_builder *b) {
  grad_program *p = b->p;
  const grad_id x = random_matrix(b);
  if (x == GRAD_NONE) return x;
  const grad_type t = *grad__type(p, x);
  const int64_t n = t.shape[0] * t.shape[1];
  grad_id order = random_order(b, n);
  order = grad__reshape(p, grad__convert(p, order, b->dtype), 2, t.shape);
  return grad__add(p, order, random_into(b, x, -0.4, 0.4));
}

static inline grad_id random_of_extremum(random_builder *b, const grad_op *op) {
  const grad_id x = random_spread(b);
  if (x == GRAD_NONE) return x;
  const int64_t rows = grad__extent(b->p, x, 0);
  return grad__take(b->p, x, grad__arg_extremum(b->p, op, grad__slice_axis(b->p, x, 0, 0, rows, 1), 0), 0);
}
static inline grad_id random_argmax(random_builder *b) { return random_of_extremum(b, &grad__op_argmax); }
static inline grad_id random_argmin(random_builder *b) { return random_of_extremum(b, &grad__op_argmin); }

static inline grad_id random_sort(random_builder *b) {
  const grad_id x = random_spread(b);
  grad_id positions = GRAD_NONE;
  const int axis = random_below(b->r, 2);
  const bool down = random_below(b->r, 2);
  if (x == GRAD_NONE) return x;
  const int64_t k = random_extent(b, 1, (int)grad__extent(b->p, x, axis));
  const grad_id y = random_below(b->r, 2) ? grad__topk(b->p, x, k, axis, down, &positions)
                                          : grad__sort(b->p, x, axis, down, &positions);
  return grad__mul(b->p, y, grad__convert(b->p, positions, b->dtype));
}

static inline grad_id random_median(random_builder *b) {
  return grad__median(b->p, random_spread(b), 1u + (uint32_t)random_below(b->r, 3), random_below(b->r, 2));
}

static inline grad_id random_cumsum(random_builder *b) {
  return grad__cumsum(b->p, random_matrix(b), random_below(b->r, 2));
}

/* Zeros among the factors as well. */
static inline grad_id random_cumprod(random_builder *b) {
  grad_id x = random_into(b, random_matrix(b), -1.5, 1.5);
  if (x != GRAD_NONE && random_below(b->r, 3) == 0) x = grad__mul(b->p, x, grad__lit(b->p, 0, x));
  return grad__cumprod(b->p, grad__add(b->p, x, random_number(b, -1, 1)), random_below(b->r, 2));
}

static inline grad_id random_recurrence(random_builder *b) {
  const int64_t shape[] = {random_extent(b, 1, 4), random_extent(b, 1, 4)};
  const grad_id a = random_into(b, random_shaped(b, 2, shape), -1, 1), x = random_shaped(b, 2, shape);
  return grad__recurrence(b->p, a, x, random_below(b->r, 2), random_below(b->r, 2));
}

/* --- positions */

static inline grad_id random_gather(random_builder *b) {
  const int64_t shape[] = {3, random_extent(b, 1, 4)}, at[] = {random_extent(b, 1, 4), shape[1]};
  const grad_id x = random_shaped(b, 2, shape);
  if (random_below(b->r, 2)) return grad__gather(b->p, x, 0, random_index(b, 3, 2, at));
  return grad__take(b->p, x, random_index(b, shape[1], 2, at), 1);
}

static inline grad_id random_scatter_add(random_builder *b) {
  const int64_t shape[] = {4, random_extent(b, 1, 3)}, at[] = {random_extent(b, 0, 5), shape[1]};
  const grad_id x = random_shaped(b, 2, shape), source = random_shaped(b, 2, at);
  return grad__scatter_add(b->p, x, 0, random_index(b, 4, 2, at), source);
}

/* Positions as a person writes them: 1 is the first, -1 the last. */
static inline grad_id random_positions(random_builder *b) {
  const int64_t shape[] = {5, 2}, at[] = {3};
  const grad_id index = random_index(b, 5, 1, at), one = grad__lit(b->p, 1, index);
  const grad_id written =
      random_below(b->r, 2) ? grad__add(b->p, index, one) : grad__sub(b->p, grad__neg(b->p, index), one);
  return grad__take(b->p, random_shaped(b, 2, shape), grad__positions(b->p, written, 5), 0);
}

static inline grad_id random_labels(random_builder *b) {
  const int64_t shape[] = {random_extent(b, 1, 3), 4};
  const grad_id index = random_index(b, 4, 1, shape), logits = random_shaped(b, 2, shape);
  const grad_id labels = grad__labels(b->p, grad__add(b->p, index, grad__lit(b->p, 1, index)), 4);
  return grad__cross_entropy(b->p, logits, labels);
}

static inline grad_id random_ravel_index(random_builder *b) {
  const int64_t extents[] = {3, 4}, at[] = {random_extent(b, 1, 5)};
  const grad_id index[] = {random_index(b, 3, 1, at), random_index(b, 4, 1, at)};
  const grad_id flat = grad__ravel_index(b->p, 2, index, extents);
  return grad__take(b->p, random_shaped(b, 1, (const int64_t[]){12}), flat, 0);
}

static inline grad_id random_put_index(random_builder *b) {
  const int64_t shape[] = {4, 2}, at[] = {random_extent(b, 1, 6), 2};
  const grad_id index = random_index(b, 4, 1, at), value = random_shaped(b, 2, at);
  return grad__put_index(b->p, random_shaped(b, 2, shape), index, 0, value);
}

/* As many true elements as there are values, for any example of a batch. */
static inline grad_id random_put_mask(random_builder *b) {
  const int64_t n = 4, shape[] = {n, 2}, half[] = {n / 2, 2};
  const grad_id order = random_order(b, n);
  const grad_id mask = grad__op2(b->p, &grad__op_lt, order, grad__lit(b->p, (double)half[0], order));
  return grad__put_mask(b->p, random_shaped(b, 2, shape), mask, random_shaped(b, 2, half));
}

/* --- draws */

static inline grad_id random_uniform(random_builder *b) {
  const grad_id x = random_matrix(b);
  if (x == GRAD_NONE || b->repeated) return x;
  const grad_type t = *grad__type(b->p, x);
  return grad__mul(b->p, x, grad__random_uniform(b->p, b->state, random_below(b->r, 99), b->dtype, t.ndim, t.shape));
}

static inline grad_id random_normal(random_builder *b) {
  const grad_id x = random_matrix(b);
  if (x == GRAD_NONE || b->repeated) return x;
  const grad_type t = *grad__type(b->p, x);
  return grad__add(b->p, x, grad__random_normal(b->p, b->state, random_below(b->r, 99), b->dtype, t.ndim, t.shape));
}

/* --- products, windows */

static inline grad_id random_matmul(random_builder *b) {
  const int64_t m = random_extent(b, 1, 4), k = random_extent(b, 1, 4), n = random_extent(b, 1, 4);
  const bool ta = random_below(b->r, 2), tb = random_below(b->r, 2), batch = random_below(b->r, 3) == 0;
  const int64_t left[] = {2, ta ? k : m, ta ? m : k}, right[] = {2, tb ? n : k, tb ? k : n};
  const grad_id x = random_shaped(b, 2 + batch, left + !batch), y = random_shaped(b, 2 + batch, right + !batch);
  return grad__matmul(b->p, x, y, ta, tb);
}

static inline grad_id random_conv(random_builder *b) {
  grad_conv c = {.groups = random_extent(b, 1, 2)};
  const int64_t x[] = {random_extent(b, 1, 2), 2 * c.groups, random_extent(b, 3, 5), random_extent(b, 3, 5)};
  const int64_t w[] = {2 * c.groups, 2, random_extent(b, 1, 2), random_extent(b, 1, 3)};
  for (int i = 0; i < 2; i++) {
    c.stride[i] = random_extent(b, 1, 2);
    c.padding[i] = random_extent(b, 0, 2);
    c.dilation[i] = w[3] < 3 ? random_extent(b, 1, 2) : 1;
  }
  if (random_below(b->r, 2)) return grad__conv2d(b->p, random_shaped(b, 4, x), random_shaped(b, 4, w), &c);
  return grad__conv1d(b->p, random_shaped(b, 3, x), random_shaped(b, 3, w), &c);
}

static inline grad_pool2d random_window(random_builder *b) {
  grad_pool2d w;
  for (int i = 0; i < 2; i++) {
    w.kernel[i] = random_extent(b, 1, 3);
    w.stride[i] = random_extent(b, 1, 2);
    w.padding[i] = random_extent(b, 0, (int)w.kernel[i] / 2);
  }
  return w;
}

static inline grad_id random_max_pool(random_builder *b) {
  const grad_pool2d w = random_window(b);
  const int64_t shape[] = {2, random_extent(b, 3, 4), random_extent(b, 3, 5)};
  return grad__max_pool2d(b->p, random_shaped(b, 3, shape), &w);
}

static inline grad_id random_avg_pool(random_builder *b) {
  const grad_pool2d w = random_window(b);
  const int64_t shape[] = {2, random_extent(b, 3, 4), random_extent(b, 3, 5)};
  return grad__avg_pool2d(b->p, random_shaped(b, 3, shape), &w);
}

/* --- linear algebra */

/* n x n, maybe a batch of two, with eigenvalues near 1, 2, ... n: far from singular, and apart. */
static inline grad_id random_square(random_builder *b, int64_t n, bool batch) {
  grad_program *p = b->p;
  const int64_t shape[] = {2, n, n};
  const grad_id off = random_into(b, random_shaped(b, 2 + batch, shape + !batch), -0.2, 0.2);
  const grad_id row = grad__add(p, grad__iota(p, b->dtype, 1, &n, 0), grad__full(p, 1, b->dtype, 0, NULL));
  return grad__add(p, off, grad__diag_matrix(p, row, 0));
}
static inline grad_id random_system(random_builder *b) {
  return random_square(b, random_extent(b, 1, 3), random_below(b->r, 3) == 0);
}
static inline grad_id random_right(random_builder *b, grad_id a) { /* fits a from the left */
  const int64_t shape[] = {a == GRAD_NONE ? 1 : grad__extent(b->p, a, grad__ndim(b->p, a) - 1), random_extent(b, 1, 2)};
  return random_shaped(b, 1 + random_below(b->r, 2), shape);
}

static inline grad_id random_solve(random_builder *b) {
  const grad_id a = random_system(b);
  return grad__solve(b->p, a, random_right(b, a));
}
static inline grad_id random_inv(random_builder *b) { return grad__inv(b->p, random_system(b)); }
static inline grad_id random_det(random_builder *b) { return grad__det(b->p, random_system(b)); }
static inline grad_id random_slogdet(random_builder *b) {
  grad_id sign, logabs;
  grad__slogdet(b->p, random_system(b), &sign, &logabs);
  return grad__mul(b->p, sign, logabs);
}
static inline grad_id random_triangular(random_builder *b) {
  const grad_id a = random_system(b), right = random_right(b, a);
  const bool upper = random_below(b->r, 2), transposed = random_below(b->r, 2);
  return grad__triangular_solve(b->p, a, right, upper, transposed);
}
static inline grad_id random_cholesky(random_builder *b) {
  const grad_id l = grad__cholesky(b->p, random_system(b));
  return random_below(b->r, 2) ? l : grad__cholesky_solve(b->p, l, random_right(b, l));
}

/* Tall or wide, with singular values near 1, 2, ... */
static inline grad_id random_oblong(random_builder *b) {
  const int64_t m = random_extent(b, 2, 3), n = random_extent(b, 2, 3), all = m > n ? m : n;
  const grad_id a = random_square(b, all, false);
  return grad__slice(b->p, a, (const int64_t[]){0, 0}, (const int64_t[]){m, n}, (const int64_t[]){1, 1});
}
static inline grad_id random_qr(random_builder *b) {
  grad_id q, r;
  grad__qr(b->p, random_oblong(b), &q, &r);
  return random_below(b->r, 2) ? q : r;
}
static inline grad_id random_eigh(random_builder *b) {
  grad_id w, v;
  const bool values = random_below(b->r, 3) == 0;
  grad__eigh(b->p, random_system(b), &w, &v);
  return values ? w : grad__mul(b->p, v, v); /* whatever the signs */
}
static inline grad_id random_svd(random_builder *b) {
  grad_id u, s, vt;
  grad__svd(b->p, random_oblong(b), &u, &s, &vt);
  const int which = random_below(b->r, 3);
  return which == 0 ? s : which == 1 ? grad__mul(b->p, u, u) : grad__mul(b->p, vt, vt);
}
static inline grad_id random_expm(random_builder *b) {
  const int64_t n = random_extent(b, 1, 3), shape[] = {n, n};
  return grad__matrix_exp(b->p, random_into(b, random_shaped(b, 2, shape), -1, 1));
}

/* --- nested programs */

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
    if (grad__dtype_is_float((grad_dtype)grad__type(b->p, like[i])->dtype)) random_keep(&sub, v);
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

/* Inputs of the body: carry, row, const, state; of these the consts come first. */
static inline grad_id random_scan(random_builder *b) {
  const int64_t length = random_extent(b, 0, 4), shape[] = {length, 2, 2}, carry[] = {3};
  const grad_id consts[] = {random_matrix(b), b->state}, init = random_shaped(b, 1, carry),
                xs = random_shaped(b, 3, shape);
  const grad_id row = random_shaped(b, 2, shape + 1);
  random_builder body = random_nested(b, 4, (const grad_id[]){consts[0], b->state, init, row});
  body.state = 1;
  body.repeated = true;
  random_result(&body, 1, carry);
  random_result(&body, 1, shape + 1);
  grad_id out[2] = {GRAD_NONE, GRAD_NONE};
  if (!random_nested_failed(b, &body)) {
    const grad_loop loop = {.body = body.p,
                            .nconsts = 2,
                            .ncarry = 1,
                            .nxs = 1,
                            .consts = consts,
                            .init = &init,
                            .xs = &xs,
                            .length = length,
                            .reverse = random_below(b->r, 2)};
    if (random_below(b->r, 2))
      grad__scan(b->p, &loop, out);
    else
      grad__scan_checkpointed(b->p, &loop, random_below(b->r, 3), out);
  }
  grad__program_release(body.p);
  return random_below(b->r, 2) ? out[0] : out[1];
}

/* Output: what was done to the vector `state`, times it: derivatives of every order depend on it. */
static inline void random_step(random_builder *body, grad_id state, int64_t n) {
  if (!body->p) return;
  random_grow(body, 1 + random_below(body->r, 2));
  const grad_id factor = random_shaped(body, 1, &n);
  grad__program_output(body->p, random_settle(body, grad__mul(body->p, state, factor)));
}

/* consts: limit, a value, state; carry: steps done, a vector. Runs 0 to 3 times, as the state says. */
static inline grad_id random_while(random_builder *b) {
  const int64_t shape[] = {3};
  const grad_id consts[] = {random_index(b, 4, 0, NULL), random_matrix(b), b->state};
  const grad_id init[] = {grad__full(b->p, 0, GRAD_I64, 0, NULL), random_shaped(b, 1, shape)};
  const grad_id in[] = {consts[0], consts[1], consts[2], init[0], init[1]};
  random_builder test = random_nested(b, 5, in), body = random_nested(b, 5, in);
  grad_id out[2] = {GRAD_NONE, GRAD_NONE};
  body.state = 2;
  body.repeated = true;
  if (test.p && body.p) {
    grad__program_output(test.p, grad__op2(test.p, &grad__op_lt, 3, 0));
    grad__program_output(body.p, grad__add(body.p, 3, grad__lit(body.p, 1, 3)));
  }
  random_step(&body, 4, shape[0]);
  if (!random_nested_failed(b, &test) && !random_nested_failed(b, &body)) {
    const grad_loop loop = {.body = body.p, .nconsts = 3, .ncarry = 2, .consts = consts, .init = init};
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
  for (int32_t i = 0; i < f->ninputs; i++)
    wrt[i] = grad__dtype_is_float((grad_dtype)grad__type(f, f->inputs[i])->dtype);
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

/* --- the table */

typedef struct random_entry {
  const char *op;
  random_maker make;
  int weight;  /* how often it is chosen for a program; 0: another entry has the same function */
  int order;   /* of derivatives to be checked */
  bool nested; /* has programs inside */
} random_entry;

static const random_entry random_entries[] = {
    {"full", random_full, 1, 2, false},
    {"scalar", random_scalar, 1, 2, false},
    {"iota", random_iota, 1, 2, false},
    {"convert", random_convert, 1, 2, false},
    {"broadcast", random_broadcast, 2, 2, false},
    {"reshape", random_reshape, 2, 2, false},
    {"permute", random_permute, 2, 2, false},
    {"slice", random_slice, 2, 2, false},
    {"unslice", random_unslice, 1, 2, false},
    {"concat", random_concat, 2, 2, false},
    {"sum", random_sum, 3, 2, false},
    {"prod", random_prod, 1, 2, false},
    {"max", random_max, 1, 2, false},
    {"min", random_min, 1, 2, false},
    {"any", random_any, 1, 2, false},
    {"all", random_all, 1, 2, false},
    {"argmax", random_argmax, 1, 2, false},
    {"argmin", random_argmin, 1, 2, false},
    {"matmul", random_matmul, 3, 2, false},
    {"gather", random_gather, 2, 2, false},
    {"scatter_add", random_scatter_add, 2, 2, false},
    {"positions", random_positions, 1, 2, false},
    {"labels", random_labels, 1, 2, false},
    {"ravel_index", random_ravel_index, 1, 2, false},
    {"last_writer", random_put_index, 1, 2, false},
    {"mask_rank", random_put_mask, 1, 2, false},
    {"cumsum", random_cumsum, 1, 2, false},
    {"cumprod", random_cumprod, 1, 2, false},
    {"recurrence", random_recurrence, 1, 2, false},
    {"sort", random_sort, 1, 2, false},
    {"kth", random_median, 1, 2, false},
    {"random_uniform", random_uniform, 1, 2, false},
    {"random_normal", random_normal, 1, 2, false},
    {"random_integers", random_gather, 0, 2, false},
    {"random_permutation", random_median, 0, 2, false},
    {"stop_gradient", random_stop_gradient, 1, 2, false},
    {"conv", random_conv, 1, 2, false},
    {"conv_input", random_conv, 0, 2, false},
    {"conv_weight", random_conv, 0, 2, false},
    {"windows", random_avg_pool, 1, 2, false},
    {"fold_windows", random_avg_pool, 0, 2, false},
    {"max_pool", random_max_pool, 1, 2, false},
    {"lu", random_solve, 1, 2, false},
    {"lu_solve", random_solve, 0, 2, false},
    {"lu_inv", random_inv, 1, 2, false},
    {"triangular_solve", random_triangular, 1, 2, false},
    {"cholesky", random_cholesky, 1, 2, false},
    {"slogdet", random_slogdet, 1, 2, false},
    {"det", random_det, 1, 2, false},
    {"cofactor", random_det, 0, 2, false},
    {"qr", random_qr, 1, 2, false},
    {"spectrum_push", random_eigh, 0, 2, false},
    {"spectrum_pull", random_svd, 0, 2, false},
    {"gap_divide", random_svd, 0, 2, false},
    {"eigh", random_eigh, 1, 2, false},
    {"svd", random_svd, 1, 2, false},
    {"matrix_exp", random_expm, 1, 2, false},
    {"cond", random_cond, 2, 2, true},
    {"scan", random_scan, 2, 2, true},
    {"while", random_while, 2, 2, true},
    {"add_stacks", random_while, 0, 4, true},
    {"checkpoint", random_checkpoint, 1, 2, true},
    {"custom", random_custom, 1, 2, true},
    {"custom_linear", random_custom, 0, 2, true},
    {"linear_solve", random_linear_solve, 1, 2, true},
    {"implicit", random_implicit, 1, 2, true},
    {"host", random_host, 0, 1, false},
};
enum { RANDOM_ENTRIES = sizeof random_entries / sizeof *random_entries };

#endif

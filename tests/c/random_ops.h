/* random_ops.h: for each structured op, how to make an instance of it that is valid, moderate, and differentiable
 * almost everywhere, from values of a program picked at random. Those with nested programs are in random_control.h; the
 * table of all is random_entries.h. */
#ifndef RANDOM_OPS_H
#define RANDOM_OPS_H

#include "ops/linalg.h"
#include "ops/structured.h"
#include "random_source.h"

/* Emits into b->p; the result (a float) is settled by the caller. */
typedef grad_id (*random_maker)(random_builder *b);

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
  if (x == GRAD_NONE) return x;
  const grad_type t = *grad__type(b->p, x);
  return grad__mul(b->p, x, grad__random_uniform(b->p, b->state, random_below(b->r, 99), b->dtype, t.ndim, t.shape));
}

static inline grad_id random_normal(random_builder *b) {
  const grad_id x = random_matrix(b);
  if (x == GRAD_NONE) return x;
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

#endif

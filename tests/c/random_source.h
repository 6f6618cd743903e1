/* random_source.h: random numbers for tests, and random choices among the values of a program that is being built. */
#ifndef RANDOM_SOURCE_H
#define RANDOM_SOURCE_H

#include "ops/compose.h"
#include "ops/ops.h"

typedef struct random_source {
  uint64_t state;
} random_source;

static inline uint64_t random_bits(random_source *r) {
  uint64_t x = r->state += 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

static inline int random_below(random_source *r, int n) { return (int)(random_bits(r) % (uint64_t)n); }
static inline double random_unit(random_source *r) { return (double)(random_bits(r) >> 11) * 0x1p-53; }

/* One of the program's values; is_bool: a mask, or GRAD_NONE when the tries run out. */
static inline grad_id random_value(random_source *r, const grad_program *p, bool is_bool) {
  for (int tries = 0; tries < 64; tries++) {
    const grad_id v = random_below(r, p->nvalues);
    if ((grad__type(p, v)->dtype == GRAD_BOOL) == is_bool) return v;
  }
  return GRAD_NONE;
}

/* A program in the making. Values are picked from the inputs and from whole results only: what a function computes on
 * its way need not have the derivative that it seems to have (the shift of a softmax is a constant to its rules). */
enum { RANDOM_MOST = 256 };
typedef struct random_builder {
  random_source *r;
  grad_program *p;
  grad_id results[RANDOM_MOST];
  int nresults;
  grad_id state;    /* of the generator that draws use: i64 {key, counter} */
  grad_dtype dtype; /* of what is picked */
  int depth;        /* how deep programs may still be nested in it */
  bool closed;      /* a nested program: reads no numbers */
} random_builder;

/* Offers v, which may be GRAD_NONE, to be picked. */
static inline grad_id random_keep(random_builder *b, grad_id v) {
  if (v != GRAD_NONE && b->nresults < RANDOM_MOST) b->results[b->nresults++] = v;
  return v;
}

/* Late values more often, so that programs grow deep. */
static inline grad_id random_pick(random_builder *b) {
  const int n = b->nresults, reach = random_below(b->r, 2) ? (n + 3) / 4 : n;
  return n ? b->results[n - 1 - random_below(b->r, reach)] : GRAD_NONE;
}

static inline grad_id random_number(random_builder *b, double low, double high) {
  return grad__full(b->p, low + (high - low) * random_unit(b->r), b->dtype, 0, NULL);
}

/* The elements of v in row order, repeated or cut, as a value of that shape. */
static inline grad_id random_reshaped(random_builder *b, grad_id v, int ndim, const int64_t *shape) {
  if (v == GRAD_NONE) return v;
  grad_program *p = b->p;
  int64_t have = grad__type_numel(grad__type(p, v)), want = 1;
  for (int i = 0; i < ndim; i++) want *= shape[i];
  if (have == 0) return grad__full(p, 0.5, b->dtype, ndim, shape);
  v = grad__convert(p, grad__reshape(p, v, 1, &have), b->dtype);
  if (have < want) v = grad__tile(p, v, 1, (const int64_t[]){(want + have - 1) / have});
  if (have != want) v = grad__slice(p, v, (const int64_t[]){0}, &want, (const int64_t[]){1});
  return grad__reshape(p, v, ndim, shape);
}

static inline grad_id random_shaped(random_builder *b, int ndim, const int64_t *shape) {
  return random_reshaped(b, random_pick(b), ndim, shape);
}

/* v moved smoothly into (low, high). */
static inline grad_id random_into(random_builder *b, grad_id v, double low, double high) {
  const grad_id s = grad__op1(b->p, &grad__op_sigmoid, v);
  if (s == GRAD_NONE) return s;
  return grad__add(b->p, grad__mul(b->p, s, grad__lit(b->p, high - low, s)), grad__lit(b->p, low, s));
}

/* v without its magnitude: nothing overflows, however long the program. */
static inline grad_id random_settle(random_builder *b, grad_id v) {
  static const grad_op *const ops[] = {&grad__op_softsign, &grad__op_sin, &grad__op_atan};
  return grad__op1(b->p, ops[random_below(b->r, 3)], v);
}

/* Positions from 0 to n - 1. */
static inline grad_id random_index(random_builder *b, int64_t n, int ndim, const int64_t *shape) {
  return grad__random_integers(b->p, b->state, random_below(b->r, 1000), 0, n - 1, ndim, shape);
}

/* A mask that no rounding decides. */
static inline grad_id random_mask(random_builder *b, int ndim, const int64_t *shape) {
  const grad_id x = random_shaped(b, ndim, shape);
  return grad__op2(b->p, random_below(b->r, 2) ? &grad__op_gt : &grad__op_le, x, random_number(b, -0.5, 0.5));
}

static inline int64_t random_extent(random_builder *b, int low, int high) {
  return low + random_below(b->r, high - low + 1);
}

#endif

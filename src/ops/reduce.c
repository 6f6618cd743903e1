/* reduce.c: reductions over strided arrays; see reduce.h. */
#include "ops/reduce.h"
#include "core/ctx.h"
#include "ops/axes.h"

#include <assert.h>
#include <string.h>

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
/* i64 wraps around, as in NumPy: signed overflow would be undefined */
#define WRAP_ADD(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define WRAP_MUL(a, b) ((int64_t)((uint64_t)(a) * (uint64_t)(b)))
/* NaN on either side wins */
#define FLOAT_MAX(a, b) ((a) != (a) ? (a) : (a) > (b) ? (a) : (b))
#define FLOAT_MIN(a, b) ((a) != (a) ? (a) : (a) < (b) ? (a) : (b))
#define INT_MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define INT_MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define OR(a, b) ((uint8_t)((a) | (b)))
#define AND(a, b) ((uint8_t)((a) & (b)))

/* reduction, dtype, its C type, combination, value of an empty one: a row for each pair of loops */
#define LOOPS(XX)                                                                                                      \
  XX(SUM, F64, double, ADD, 0)                                                                                         \
  XX(SUM, F32, float, ADD, 0)                                                                                          \
  XX(SUM, I64, int64_t, WRAP_ADD, 0)                                                                                   \
  XX(PROD, F64, double, MUL, 1)                                                                                        \
  XX(PROD, F32, float, MUL, 1)                                                                                         \
  XX(PROD, I64, int64_t, WRAP_MUL, 1)                                                                                  \
  XX(MAX, F64, double, FLOAT_MAX, 0)                                                                                   \
  XX(MAX, F32, float, FLOAT_MAX, 0)                                                                                    \
  XX(MAX, I64, int64_t, INT_MAX_OF, 0)                                                                                 \
  XX(MAX, BOOL, uint8_t, OR, 0)                                                                                        \
  XX(MIN, F64, double, FLOAT_MIN, 0)                                                                                   \
  XX(MIN, F32, float, FLOAT_MIN, 0)                                                                                    \
  XX(MIN, I64, int64_t, INT_MIN_OF, 0)                                                                                 \
  XX(MIN, BOOL, uint8_t, AND, 0)                                                                                       \
  XX(ANY, BOOL, uint8_t, OR, 0)                                                                                        \
  XX(ALL, BOOL, uint8_t, AND, 1)

/* leaf: all of n >= 1 elements into *out. Sixteen independent lanes: any vector width may be used, and the result is
 * the same with each, and with a plan (exec/reduce_kernels.h), so that short rows have the same sum the first time,
 * when there is no plan, and later. fold: acc[i] = acc[i] combined with x[i * step]. */
#define DEFINE(kind, dtype, T, COMBINE, empty)                                                                         \
  static void leaf_##kind##_##dtype(int64_t n, const void *from, int64_t step, void *out) {                            \
    enum { LANES = 16 };                                                                                               \
    const T *x = from;                                                                                                 \
    T total = x[0], lane[LANES];                                                                                       \
    int64_t i = 1;                                                                                                     \
    if (step == 1 && n >= LANES) {                                                                                     \
      for (int k = 0; k < LANES; k++) lane[k] = x[k];                                                                  \
      for (i = LANES; i + LANES <= n; i += LANES)                                                                      \
        for (int k = 0; k < LANES; k++) lane[k] = COMBINE(lane[k], x[i + k]);                                          \
      for (int k = 0; i < n; i++, k++) lane[k] = COMBINE(lane[k], x[i]);                                               \
      for (int width = LANES / 2; width > 0; width /= 2)                                                               \
        for (int k = 0; k < width; k++) lane[k] = COMBINE(lane[k], lane[k + width]);                                   \
      total = lane[0];                                                                                                 \
    }                                                                                                                  \
    for (; i < n; i++) total = COMBINE(total, x[i * step]);                                                            \
    *(T *)out = total;                                                                                                 \
  }                                                                                                                    \
  static void fold_##kind##_##dtype(int64_t n, void *restrict to, const void *restrict from, int64_t step) {           \
    T *restrict acc = to;                                                                                              \
    const T *restrict x = from;                                                                                        \
    if (step == 1)                                                                                                     \
      for (int64_t i = 0; i < n; i++) acc[i] = COMBINE(acc[i], x[i]);                                                  \
    else                                                                                                               \
      for (int64_t i = 0; i < n; i++) acc[i] = COMBINE(acc[i], x[i * step]);                                           \
  }
LOOPS(DEFINE)
#undef DEFINE

typedef struct loops {
  void (*leaf)(int64_t n, const void *x, int64_t step, void *out);
  void (*fold)(int64_t n, void *restrict acc, const void *restrict x, int64_t step);
  double empty;
} loops;

static const loops loops_of[GRAD_REDUCE_ALL + 1][GRAD_F64 + 1] = {
#define ROW(kind, dtype, T, combine, empty)                                                                            \
  [GRAD_REDUCE_##kind][GRAD_##dtype] = {leaf_##kind##_##dtype, fold_##kind##_##dtype, empty},
    LOOPS(ROW)
#undef ROW
};

enum {
  LEAF = 256,   /* contiguous elements combined at once, as a block of a plan's loop is */
  LEAVES = 64,  /* combined one after the other before the tree begins */
  ROWS = 16,    /* rows combined one after the other before the tree begins */
  COLUMNS = 64, /* columns reduced together when the fastest axis is kept */
  NARROW = 8,   /* fewer columns than this are reduced one by one: a row would not pay for its call */
  LEVELS = 64   /* one for each bit of a count of partial results */
};

/* Partial results of equal weight are combined in pairs, as carries run through a binary counter. Each is a block of
 * `width` elements. */
typedef struct tree {
  const loops *loops;
  int64_t width;
  size_t size; /* of an element */
  uint64_t count;
  int depth;
  _Alignas(64) char slots[LEVELS][COLUMNS * sizeof(double)];
} tree;

static void tree_start(tree *t, const loops *loops, int64_t width, size_t size) {
  t->loops = loops;
  t->width = width;
  t->size = size;
  t->count = 0;
  t->depth = 0;
}

/* Where the next partial result is to be written, before tree_push. */
static void *tree_top(tree *t) { return t->slots[t->depth]; }

static void tree_fold_top(tree *t) {
  t->depth--;
  t->loops->fold(t->width, t->slots[t->depth - 1], t->slots[t->depth], 1);
}

static void tree_push(tree *t) {
  t->depth++;
  t->count++;
  for (uint64_t c = t->count; (c & 1) == 0; c >>= 1) tree_fold_top(t);
}

static void tree_finish(tree *t, void *out) {
  while (t->depth > 1) tree_fold_top(t);
  memcpy(out, t->slots[0], (size_t)t->width * t->size);
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Takes the axis with the smallest step out of the walk; extent 1, step 1 when there is none. */
static void walk_take_fastest(grad_axes *w, int64_t *extent, int64_t *step) {
  *extent = 1;
  *step = 1;
  if (w->ndim == 0) return;
  int best = w->ndim - 1;
  for (int i = w->ndim - 2; i >= 0; i--)
    if (distance(w->strides[i]) < distance(w->strides[best])) best = i;
  *extent = w->shape[best];
  *step = w->strides[best];
  w->ndim--;
  for (int i = best; i < w->ndim; i++) {
    w->shape[i] = w->shape[i + 1];
    w->strides[i] = w->strides[i + 1];
  }
}

/* A broadcast array may have any number of elements: the interrupt is looked at now and then. */
enum { PATIENCE = 1 << 14 }; /* leaves, rows of columns, or results */

typedef struct reduction {
  grad_ctx *ctx;
  grad_status status;
  int64_t work; /* since the interrupt was looked at */
  const loops *loops;
  size_t size;
  const char *data;
  grad_axes kept, reduced;
} reduction;

static bool stopped(reduction *r) {
  if (++r->work < PATIENCE) return false;
  r->work = 0;
  if (!r->status) r->status = grad__interrupted(r->ctx);
  return r->status != GRAD_OK;
}

/* One result: everything that `reduced` and the run of n elements reach from x. */
static void reduce_one(reduction *r, tree *t, const char *x, int64_t n, int64_t step, void *out) {
  if (r->reduced.ndim == 0 && n <= LEAF) {
    r->loops->leaf(n, x, step, out);
    return;
  }
  tree_start(t, r->loops, 1, r->size);
  int leaves = 0;
  do {
    const char *run = x + r->reduced.offset * (int64_t)r->size;
    for (int64_t i = 0; i < n && !stopped(r); i += LEAF) {
      _Alignas(8) char leaf[8];
      r->loops->leaf(n - i < LEAF ? n - i : LEAF, run + i * step * (int64_t)r->size, step, leaves ? leaf : tree_top(t));
      if (leaves) r->loops->fold(1, tree_top(t), leaf, 1);
      leaves = (leaves + 1) % LEAVES;
      if (leaves == 0) tree_push(t);
    }
    if (r->status) return;
  } while (grad__axes_next(&r->reduced));
  if (leaves) tree_push(t);
  tree_finish(t, out);
}

/* The fastest axis is reduced: one result after the other. */
static void reduce_inner(reduction *r, tree *t, char *out) {
  int64_t n, step;
  walk_take_fastest(&r->reduced, &n, &step);
  do {
    reduce_one(r, t, r->data + r->kept.offset * (int64_t)r->size, n, step, out);
    out += r->size;
  } while (!stopped(r) && grad__axes_next(&r->kept));
}

/* `width` neighbouring results at once: the rows of a block of columns, folded into one row. */
static void reduce_columns(reduction *r, tree *t, const char *x, int64_t width, int64_t step, void *out) {
  tree_start(t, r->loops, width, r->size);
  int rows = 0;
  char *acc = tree_top(t);
  do {
    const char *row = x + r->reduced.offset * (int64_t)r->size;
    if (rows == 0)
      for (int64_t i = 0; i < width; i++) memcpy(acc + (size_t)i * r->size, row + i * step * (int64_t)r->size, r->size);
    else
      r->loops->fold(width, acc, row, step);
    if (++rows == ROWS) {
      tree_push(t);
      acc = tree_top(t);
      rows = 0;
    }
    if (stopped(r)) return;
  } while (grad__axes_next(&r->reduced));
  if (rows > 0) tree_push(t);
  tree_finish(t, out);
}

/* The fastest axis is kept, and is the last one of the result: blocks of columns. */
static void reduce_outer(reduction *r, tree *t, char *out) {
  const int last = --r->kept.ndim;
  const int64_t n = r->kept.shape[last], step = r->kept.strides[last];
  do {
    const char *x = r->data + r->kept.offset * (int64_t)r->size;
    for (int64_t i = 0; i < n && !r->status; i += COLUMNS) {
      const int64_t width = n - i < COLUMNS ? n - i : COLUMNS;
      reduce_columns(r, t, x + i * step * (int64_t)r->size, width, step, out);
      out += (size_t)width * r->size;
    }
  } while (!r->status && grad__axes_next(&r->kept));
}

/* Is the last of the kept axes the fastest of all, and long enough to pay? */
static bool kept_is_faster(const reduction *r) {
  if (r->kept.ndim == 0) return false;
  const int64_t kept = distance(r->kept.strides[r->kept.ndim - 1]);
  for (int i = 0; i < r->reduced.ndim; i++)
    if (distance(r->reduced.strides[i]) < kept) return false;
  return r->kept.shape[r->kept.ndim - 1] >= NARROW && r->reduced.ndim > 0;
}

grad_status grad__reduce_run(grad_ctx *ctx, grad_reduction kind, const grad_array *in, uint32_t axes, grad_array *out) {
  const loops *loops = &loops_of[kind][in->dtype];
  assert(loops->leaf);
  if (grad__array_numel(out) == 0) return GRAD_OK;
  if (grad__array_numel(in) == 0) {
    grad__array_fill(out, loops->empty);
    return GRAD_OK;
  }
  reduction r = {.ctx = ctx, .loops = loops, .size = grad__dtype_size(in->dtype), .data = in->data};
  for (int i = 0; i < in->ndim; i++) grad__axes_add(axes >> i & 1 ? &r.reduced : &r.kept, in->shape[i], in->strides[i]);
  tree t;
  if (kept_is_faster(&r))
    reduce_outer(&r, &t, out->data);
  else
    reduce_inner(&r, &t, out->data);
  return r.status;
}

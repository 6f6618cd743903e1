/* op_random.c: draws: uniform, normal, integers, permutation.
 *
 * inputs  state: i64 {key, counter}, maybe with leading axes: one generator each, one draw of the shape each
 * params  random_uniform, random_normal: {dtype, offset, extents}   random_integers: {low, high, offset, extents}
 *         random_permutation: {n, offset}
 * Element i of a draw comes from block counter + offset + i / (elements a block) of stream key, so it does not depend
 * on threads or platform, and whoever holds the state knows how far to move it on: grad__random_blocks. */
#include <stdatomic.h>
#include <string.h>

#include "core/pool.h"
#include "core/rng.h"
#include "ops/compose.h"
#include "ops/random_draws.h"
#include "ops/structured.h"

typedef struct stream {
  uint64_t key, counter;
} stream;

static grad_status infer_draw(grad_infer *a, grad_dtype dtype, int ndim, const int64_t *extents) {
  const grad_type *state = &a->in[0];
  const int lead = state->ndim - 1;
  if (state->dtype != GRAD_I64 || lead < 0 || state->shape[lead] != 2) {
    return grad__fail(a->ctx, GRAD_ESHAPE, "%s: a generator's state is i64 with 2 elements, got %s", a->op->name,
                      grad__type_text(state).chars);
  }
  int64_t shape[2 * GRAD_MAX_AXES];
  if (ndim > GRAD_MAX_AXES) return grad__infer_out(a, 0, dtype, ndim, extents);
  for (int i = 0; i < lead; i++) shape[i] = state->shape[i];
  for (int i = 0; i < ndim; i++) shape[lead + i] = extents[i];
  return grad__infer_out(a, 0, dtype, lead + ndim, shape);
}

static const grad_draws *draws_of(const grad_ctx *ctx) {
#if defined __x86_64__
  if (ctx->simd == GRAD_SIMD_AVX512) return &grad__draws_avx512;
  if (ctx->simd == GRAD_SIMD_AVX2) return &grad__draws_avx2;
#endif
  (void)ctx;
  return &grad__draws_baseline;
}

/* A draw of n elements from one generator. */
typedef void (*draw_fn)(const grad_eval *a, stream s, int64_t n, char *out);

enum {
  PER_BLOCK = 2, /* elements drawn from one block; of a permutation one */
  BATCH = PER_BLOCK * GRAD_DRAW_BLOCKS,
  CHUNK = 32 * BATCH
};

typedef struct job {
  const grad_eval *a;
  stream s;
  int64_t n;
  char *out;
  draw_fn draw;
  _Atomic int stopped;
} job;

static void run_chunk(void *ud, int64_t index, int worker) {
  job *const j = ud;
  const grad_ctx *ctx = j->a->ctx;
  const int64_t first = index * CHUNK, n = j->n - first < CHUNK ? j->n - first : CHUNK;
  (void)worker;
  if (ctx->interrupt && ctx->interrupt(ctx->interrupt_ud)) j->stopped = 1;
  if (j->stopped) return;
  const stream s = {j->s.key, j->s.counter + (uint64_t)(first / PER_BLOCK)};
  j->draw(j->a, s, n, j->out + first * (int64_t)grad__dtype_size(j->a->out[0]->dtype));
}

/* Elements of a permutation follow from one another: it is one chunk. */
static grad_status draw_one(const grad_eval *a, stream s, int64_t n, char *out, draw_fn draw, bool whole) {
  if (whole || n <= CHUNK) {
    draw(a, s, n, out);
    return GRAD_OK;
  }
  job j = {.a = a, .s = s, .n = n, .out = out, .draw = draw};
  grad__pool_run(a->ctx, (n + CHUNK - 1) / CHUNK, run_chunk, &j);
  return j.stopped ? grad__fail(a->ctx, GRAD_EINTERRUPT, "interrupted") : GRAD_OK;
}

/* Calls draw for each generator of the state with the place of its n elements. */
static grad_status each_stream(const grad_eval *a, int64_t offset, draw_fn draw, bool whole) {
  const grad_array *state = a->in[0];
  const int lead = state->ndim - 1;
  grad_array keys;
  grad__view_drop(state, lead, 0, &keys);
  const int64_t groups = grad__array_numel(&keys), numel = grad__array_numel(a->out[0]);
  if (numel == 0) return GRAD_OK;
  const int64_t n = numel / groups, bytes = n * (int64_t)grad__dtype_size(a->out[0]->dtype);
  char *out = a->out[0]->data;
  const grad_array *walked[] = {&keys};
  grad_walk w;
  for (grad__walk_start(&w, 1, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++, out += bytes) {
      const int64_t *at = (const int64_t *)(const void *)w.at[0] + i * w.step[0];
      const stream s = {(uint64_t)at[0], (uint64_t)at[state->strides[lead]] + (uint64_t)offset};
      const grad_status status = draw_one(a, s, n, out, draw, whole);
      if (status != GRAD_OK) return status;
    }
  return GRAD_OK;
}

#define DRAW(id, ...)                                                                                                  \
  const grad_op grad__op_random_##id = {                                                                               \
      .name = "random_" #id,                                                                                           \
      .nin = 1,                                                                                                        \
      .nout = 1,                                                                                                       \
      .sparsity = GRAD_SPARSITY_NONE,                                                                                  \
      .flags = GRAD_OP_RANDOM | GRAD_OP_NONDIFF,                                                                       \
      .eval = id##_eval,                                                                                               \
      .batch = grad__batch_same,                                                                                       \
      __VA_ARGS__,                                                                                                     \
  };

static grad_status float_infer(grad_infer *a) {
  if (!grad__dtype_is_float((grad_dtype)a->params[0]))
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: draws are f64 or f32, not %s", a->op->name,
                      grad__dtype_name((grad_dtype)a->params[0]));
  return infer_draw(a, (grad_dtype)a->params[0], a->nparams - 2, a->params + 2);
}

/* --- uniform, normal */

static void draw_reals(const grad_eval *a, stream s, int64_t n, char *out, const grad_draw_fn *draws) {
  const grad_dtype dtype = a->out[0]->dtype;
  const size_t size = grad__dtype_size(dtype);
  grad_random_words words;
  double batch[BATCH];
  for (int64_t i = 0; i < n; i += BATCH, s.counter += GRAD_DRAW_BLOCKS) {
    const int64_t count = n - i < BATCH ? n - i : BATCH, blocks = (count + 1) / PER_BLOCK;
    draws_of(a->ctx)->words(s.key, s.counter, blocks, &words);
    draws[dtype == GRAD_F64](blocks, &words, batch);
    memcpy(out + (size_t)i * size, batch, (size_t)count * size);
  }
}

static void uniform_draw(const grad_eval *a, stream s, int64_t n, char *out) {
  draw_reals(a, s, n, out, draws_of(a->ctx)->uniform);
}

static void normal_draw(const grad_eval *a, stream s, int64_t n, char *out) {
  draw_reals(a, s, n, out, draws_of(a->ctx)->normal);
}

static grad_status uniform_eval(const grad_eval *a) { return each_stream(a, a->ins->params[1], uniform_draw, false); }

static grad_status normal_eval(const grad_eval *a) { return each_stream(a, a->ins->params[1], normal_draw, false); }

DRAW(uniform, .infer = float_infer)

static double normal_flops(const grad_program *p, const grad_instr *ins) {
  return 40 * (double)grad__type_numel(grad__type(p, ins->out));
}

DRAW(normal, .infer = float_infer, .flops = normal_flops)

/* --- integers */

/* The high half of a 64 x 64 bit product, and its low half. */
static inline uint64_t product_high(uint64_t a, uint64_t b, uint64_t *low) {
  __extension__ typedef unsigned __int128 wide;
  const wide product = (wide)a * b;
  *low = (uint64_t)product;
  return (uint64_t)(product >> 64);
}

/* Unbiased in [0, range), range 0 standing for 2^64, from words 2 part and 2 part + 1 of block i of a batch that begins
 * at s: Lemire 2019, "Fast random integer generation in an interval". A draw that would bring bias is drawn again from
 * the same place of another stream. */
static uint64_t below(stream s, const grad_random_words *words, int64_t i, int part, uint64_t range) {
  const uint64_t next_stream = UINT64_C(0x9E3779B97F4A7C15);
  uint64_t low, word = (uint64_t)words->at[2 * part][i] << 32 | words->at[2 * part + 1][i];
  if (range == 0) return word;
  uint64_t high = product_high(word, range, &low);
  if (low >= range) return high; /* far from any bias: no division */
  for (const uint64_t biased = (0 - range) % range; low < biased;) {
    uint32_t again[4];
    grad__rng_block(s.key += next_stream, s.counter + (uint64_t)i, again);
    word = (uint64_t)again[2 * part] << 32 | again[2 * part + 1];
    high = product_high(word, range, &low);
  }
  return high;
}

static grad_status integers_infer(grad_infer *a) {
  if (a->params[0] > a->params[1])
    return grad__fail(a->ctx, GRAD_EVALUE, "randint: no integers from %lld to %lld", (long long)a->params[0],
                      (long long)a->params[1]);
  return infer_draw(a, GRAD_I64, a->nparams - 3, a->params + 3);
}

static void integers_draw(const grad_eval *a, stream s, int64_t n, char *out) {
  const uint64_t low = (uint64_t)a->ins->params[0], range = (uint64_t)a->ins->params[1] - low + 1;
  int64_t *y = (int64_t *)(void *)out;
  grad_random_words words;
  for (int64_t i = 0; i < n; i += BATCH, s.counter += GRAD_DRAW_BLOCKS) {
    const int64_t count = n - i < BATCH ? n - i : BATCH;
    draws_of(a->ctx)->words(s.key, s.counter, (count + 1) / PER_BLOCK, &words);
    for (int64_t k = 0; k < count; k++)
      y[i + k] = (int64_t)(low + below(s, &words, k / PER_BLOCK, (int)(k % PER_BLOCK), range));
  }
}

static grad_status integers_eval(const grad_eval *a) { return each_stream(a, a->ins->params[2], integers_draw, false); }

DRAW(integers, .infer = integers_infer)

/* --- permutation: Fisher and Yates, in the order of Durstenfeld 1964 */

static grad_status permutation_infer(grad_infer *a) { return infer_draw(a, GRAD_I64, 1, a->params); }

static void permutation_draw(const grad_eval *a, stream s, int64_t n, char *out) {
  int64_t *y = (int64_t *)(void *)out;
  grad_random_words words;
  for (int64_t i = 0; i < n; i++) y[i] = i;
  for (int64_t left = n - 1; left > 0; left -= GRAD_DRAW_BLOCKS, s.counter += GRAD_DRAW_BLOCKS) {
    const int64_t blocks = left < GRAD_DRAW_BLOCKS ? left : GRAD_DRAW_BLOCKS;
    draws_of(a->ctx)->words(s.key, s.counter, blocks, &words);
    for (int64_t k = 0; k < blocks; k++) {
      const int64_t i = left - k, j = (int64_t)below(s, &words, k, 0, (uint64_t)i + 1), moved = y[i];
      y[i] = y[j];
      y[j] = moved;
    }
  }
}

static grad_status permutation_eval(const grad_eval *a) {
  return each_stream(a, a->ins->params[1], permutation_draw, true);
}

DRAW(permutation, .infer = permutation_infer)

/* --- builders */

int64_t grad__random_blocks(const grad_op *op, int64_t numel) {
  return op == &grad__op_random_permutation ? numel : numel / PER_BLOCK + numel % PER_BLOCK;
}

/* `head` params, then the extents. */
static grad_id emit_draw(grad_program *p, const grad_op *op, grad_id state, int nhead, const int64_t *head, int ndim,
                         const int64_t *shape) {
  int64_t params[3 + GRAD_MAX_AXES];
  if (ndim > GRAD_MAX_AXES)
    return grad__program_fail(p, GRAD_ESHAPE, "%s: %d axes asked for; an array has at most %d", op->name, ndim,
                              GRAD_MAX_AXES);
  for (int i = 0; i < nhead; i++) params[i] = head[i];
  for (int i = 0; i < ndim; i++) params[nhead + i] = shape[i];
  return grad__emit1(p, op, state, nhead + ndim, params);
}

grad_id grad__random_uniform(grad_program *p, grad_id state, int64_t offset, grad_dtype dtype, int ndim,
                             const int64_t *shape) {
  return emit_draw(p, &grad__op_random_uniform, state, 2, (const int64_t[]){dtype, offset}, ndim, shape);
}

grad_id grad__random_normal(grad_program *p, grad_id state, int64_t offset, grad_dtype dtype, int ndim,
                            const int64_t *shape) {
  return emit_draw(p, &grad__op_random_normal, state, 2, (const int64_t[]){dtype, offset}, ndim, shape);
}

grad_id grad__random_integers(grad_program *p, grad_id state, int64_t offset, int64_t low, int64_t high, int ndim,
                              const int64_t *shape) {
  return emit_draw(p, &grad__op_random_integers, state, 3, (const int64_t[]){low, high, offset}, ndim, shape);
}

grad_id grad__random_permutation(grad_program *p, grad_id state, int64_t offset, int64_t n) {
  return grad__emit1(p, &grad__op_random_permutation, state, 2, (const int64_t[]){n, offset});
}

grad_id grad__random_state_after(grad_program *p, grad_id state, int64_t blocks) {
  if (state == GRAD_NONE || blocks == 0) return state;
  const grad_type t = *grad__type(p, state);
  const grad_id place = grad__iota(p, GRAD_I64, t.ndim, t.shape, t.ndim - 1); /* 0 for the key, 1 for the counter */
  return grad__add(p, state, grad__mul(p, place, grad__full(p, (double)blocks, GRAD_I64, t.ndim, t.shape)));
}

grad_id grad__random_stream(grad_program *p, grad_id state, int64_t offset) {
  const int64_t one = 1, none = 0;
  const grad_id key = grad__random_integers(p, state, offset, INT64_MIN, INT64_MAX, 1, &one);
  return grad__pad(p, key, &none, &one, 0);
}

/* pair_history.c: the pairs of limited-memory methods: one pass over them for each of push, project and combine. */
#include "optim/pair_history.h"

#include "core/pool.h"

enum {
  CHUNK = 16384, /* what a thread takes at a time */
  LANES = 4 * VEC_LANES,
  BLOCK = 4096,        /* how far one pair is followed before the next: pairs that come from memory want long runs, */
  BLOCK_CACHED = 1024, /* those in the cache want u and v to stay in the first one; results are the same */
};

static int64_t block_of(int64_t n) { return n > 4 * CHUNK ? BLOCK : BLOCK_CACHED; }

extern const grad__pair_kernels grad__pair_kernels_baseline, grad__pair_kernels_avx2, grad__pair_kernels_avx512;

static const grad__pair_kernels *kernels_of(const grad_ctx *ctx) {
#if defined __x86_64__
  if (ctx->simd >= GRAD_SIMD_AVX512) return &grad__pair_kernels_avx512;
  if (ctx->simd >= GRAD_SIMD_AVX2) return &grad__pair_kernels_avx2;
#endif
  (void)ctx;
  return &grad__pair_kernels_baseline;
}

int64_t grad__pairs_work(int64_t n, int64_t memory) {
  int64_t size = -1;
  bool fits = memory < INT64_MAX / LANES - 1 && grad__mul_i64(n / CHUNK + 1, LANES * (memory + 1), &size);
  return fits ? size : -1;
}

typedef struct pass {
  const grad__pairs *p;
  const grad__pair_kernels *kernels;
  int64_t pairs;                           /* the oldest ones, this many */
  const double *x, *prior_x, *g, *prior_g; /* push */
  const double *u, *v;                     /* what the pairs are multiplied with */
  const double *a, *b;                     /* combine */
  double c, *out;
} pass;

/* Four sums of VEC_LANES each for every slot, then one more. */
static double *lanes_of(const pass *t, int64_t chunk, int64_t slot) {
  return t->p->work + (chunk * (t->p->memory + 1) + slot) * LANES;
}

static int64_t shorter(int64_t a, int64_t b) { return a < b ? a : b; }

static void dots_chunk(void *ud, int64_t chunk, int worker) {
  const pass *t = ud;
  const grad__pairs *p = t->p;
  int64_t end = shorter((chunk + 1) * CHUNK, p->n), block = block_of(p->n);
  (void)worker;
  vec_fill(LANES * p->memory, 0, lanes_of(t, chunk, 0));
  for (int64_t at = chunk * CHUNK; at < end; at += block) {
    int64_t length = shorter(end - at, block);
    if (t->x) {
      vec_sub(length, t->x + at, t->prior_x + at, p->s + p->next * p->n + at);
      vec_sub(length, t->g + at, t->prior_g + at, p->y + p->next * p->n + at);
    }
    for (int64_t i = 0; i < t->pairs; i++) {
      int64_t k = grad__pairs_slot(p, i), from = k * p->n + at;
      t->kernels->dots(length, p->s + from, p->y + from, t->u + at, t->v + at, lanes_of(t, chunk, k));
    }
  }
}

/* Runs a pass, and adds up what its chunks left in `count` of the lanes. */
static void run(pass *t, grad_pool_fn chunk_fn, int64_t first, int64_t count) {
  int64_t chunks = (t->p->n + CHUNK - 1) / CHUNK;
  if (chunks == 0) vec_fill(count, 0, lanes_of(t, 0, first));
  grad__pool_run(t->p->ctx, chunks, chunk_fn, t);
  for (int64_t chunk = 1; chunk < chunks; chunk++) vec_axpy(count, 1, lanes_of(t, chunk, first), lanes_of(t, 0, first));
}

static double product(const pass *t, int64_t slot, int64_t which) {
  return vec__total(lanes_of(t, 0, slot) + which * VEC_LANES);
}

/* The products of the new pair, in slot j, with all. */
static void keep_products(grad__pairs *p, const pass *t) {
  int64_t m = p->memory, j = p->next;
  for (int64_t i = 0; i < t->pairs; i++) {
    int64_t k = grad__pairs_slot(p, i);
    p->sy[k * m + j] = product(t, k, 0);
    p->yy[k * m + j] = p->yy[j * m + k] = product(t, k, 1);
    if (!p->ss) continue;
    p->ss[k * m + j] = p->ss[j * m + k] = product(t, k, 2);
    p->sy[j * m + k] = product(t, k, 3);
  }
}

static void take_products(const pass *t, int64_t first, double *s_v, double *y_v) {
  for (int64_t i = 0; i < t->p->count; i++) {
    s_v[i] = product(t, grad__pairs_slot(t->p, i), first);
    y_v[i] = product(t, grad__pairs_slot(t->p, i), first + 1);
  }
}

bool grad__pairs_push(grad__pairs *p, const double *x, const double *prior_x, const double *g, const double *prior_g,
                      double *s_g, double *y_g) {
  int64_t j = p->next, m = p->memory;
  if (p->count == m) p->count--; /* the oldest pair's slot is the new one's */
  pass t = {.p = p, .kernels = kernels_of(p->ctx), .pairs = p->count + 1, .u = p->y + j * p->n};
  t.x = x, t.prior_x = prior_x, t.g = g, t.prior_g = prior_g;
  t.v = p->ss ? p->s + j * p->n : g;
  run(&t, dots_chunk, 0, LANES * m);
  keep_products(p, &t);
  bool kept = p->sy[j * m + j] > 2.2e-16 * p->yy[j * m + j];
  if (kept) {
    p->next = (j + 1) % m;
    p->count++;
  }
  if (!p->ss) take_products(&t, 2, s_g, y_g);
  return kept;
}

void grad__pairs_project(const grad__pairs *p, const double *v, double *s_v, double *y_v) {
  pass t = {.p = p, .kernels = kernels_of(p->ctx), .pairs = p->count, .u = v, .v = v};
  run(&t, dots_chunk, 0, LANES * p->memory);
  take_products(&t, 0, s_v, y_v);
}

enum { MASKED = 256 }; /* variables at a time: all masked pairs stay in the cache */

int64_t grad__pairs_masked_work(int64_t memory) {
  return memory <= 10000 ? memory * memory * LANES + 2 * memory * MASKED : -1;
}

void grad__pairs_masked(const grad__pairs *p, const double *fixed, double *scratch, double *sy, double *ss,
                        double *yy) {
  const grad__pair_kernels *kernels = kernels_of(p->ctx);
  int64_t m = p->memory;
  double *masked = scratch + m * m * LANES;
  vec_fill(m * m * LANES, 0, scratch);
  for (int64_t at = 0; at < p->n; at += MASKED) {
    int64_t length = shorter(p->n - at, MASKED);
    for (int64_t i = 0; i < p->count; i++) {
      int64_t k = grad__pairs_slot(p, i), from = k * p->n + at;
      double *s = masked + 2 * i * MASKED, *y = s + MASKED;
      for (int64_t e = 0; e < length; e++) s[e] = fixed[at + e] != 0 ? 0 : p->s[from + e];
      for (int64_t e = 0; e < length; e++) y[e] = fixed[at + e] != 0 ? 0 : p->y[from + e];
      for (int64_t j = 0; j <= i; j++) {
        const double *s_j = masked + 2 * j * MASKED;
        kernels->dots(length, s, y, s_j + MASKED, s_j, scratch + (k * m + grad__pairs_slot(p, j)) * LANES);
      }
    }
  }
  for (int64_t i = 0; i < p->count; i++)
    for (int64_t j = 0; j <= i; j++) {
      int64_t a = grad__pairs_slot(p, i), b = grad__pairs_slot(p, j);
      const double *lanes = scratch + (a * m + b) * LANES;
      sy[a * m + b] = vec__total(lanes);
      yy[a * m + b] = yy[b * m + a] = vec__total(lanes + VEC_LANES);
      ss[a * m + b] = ss[b * m + a] = vec__total(lanes + 2 * VEC_LANES);
      sy[b * m + a] = vec__total(lanes + 3 * VEC_LANES);
    }
}

static void combine_chunk(void *ud, int64_t chunk, int worker) {
  const pass *t = ud;
  const grad__pairs *p = t->p;
  double *lanes = lanes_of(t, chunk, p->memory);
  int64_t end = shorter((chunk + 1) * CHUNK, p->n), block = block_of(p->n);
  (void)worker;
  vec_fill(LANES, 0, lanes);
  for (int64_t at = chunk * CHUNK; at < end; at += block) {
    int64_t length = shorter(end - at, block);
    double v[BLOCK];
    vec_copy(length, t->v + at, v);
    vec_scaled(length, t->c, v, t->out + at);
    for (int64_t i = 0; i < t->pairs; i++) {
      int64_t k = grad__pairs_slot(p, i), from = k * p->n + at;
      t->kernels->combine(length, t->a[i], p->s + from, t->b[i], p->y + from, t->out + at);
    }
    vec_dot_lanes(length, v, t->out + at, lanes);
  }
}

double grad__pairs_combine(const grad__pairs *p, const double *a, const double *b, double c, const double *v,
                           double *out) {
  pass t = {.p = p, .kernels = kernels_of(p->ctx), .pairs = p->count, .v = v, .a = a, .b = b, .c = c, .out = out};
  run(&t, combine_chunk, p->memory, VEC_LANES);
  return product(&t, p->memory, 0);
}

/* region_run.c: the blocked interpreter of fused regions. */
#include <stdatomic.h>
#include <string.h>

#include "exec/numbers.h"
#include "core/pool.h"
#include "exec/region.h"

typedef struct region_run {
  grad_ctx *ctx;
  const grad_region *region;
  char *const *bases;
  char *scratch, *partials;
  _Atomic int stopped; /* a worker must not write to the context: the caller records the interrupt */
} region_run;

/* What one chunk works with; lives in the thread's scratch. */
typedef struct chunk_run {
  const region_run *run;
  const grad_region *region;
  char **ptr; /* by operand */
  char *scratch;
  int64_t index; /* of the chunk */
} chunk_run;

/* --- reductions */

static void store_number(char *to, int64_t i, grad_dtype dtype, double value) {
  if (dtype == GRAD_F64) {
    ((double *)(void *)to)[i] = value;
  } else {
    ((float *)(void *)to)[i] = (float)value;
  }
}

static double load_number(const char *from, int64_t i, grad_dtype dtype) {
  return dtype == GRAD_F64 ? ((const double *)(const void *)from)[i] : (double)((const float *)(const void *)from)[i];
}

static void fill_numbers(char *to, int64_t n, grad_dtype dtype, double value) {
  for (int64_t i = 0; i < n; i++) store_number(to, i, dtype, value);
}

static bool has_partials(const grad_region *g, const grad_region_reduction *r) {
  return g->nchunks > 1 && r->mode != GRAD_REDUCE_ROWS;
}

/* Where this chunk's result goes. */
static char *result_of(const chunk_run *c, const grad_region_reduction *r) {
  if (!has_partials(c->region, r)) return grad__at(c->run->bases, r->place);
  return c->run->partials + r->partial + c->index * r->count * (int64_t)grad__dtype_size((grad_dtype)r->dtype);
}

static void begin_reduction(const chunk_run *c, const grad_region_reduction *r) {
  const double identity = grad__reduce_identity((grad_reduction)r->kind);
  char *state = c->scratch + r->state;
  switch ((grad_reduce_mode)r->mode) {
  case GRAD_REDUCE_FULL:
  case GRAD_REDUCE_ROWS:
    memcpy(state, &identity, sizeof identity);
    return;
  case GRAD_REDUCE_COLUMNS:
    fill_numbers(state, c->region->block, (grad_dtype)r->dtype, identity);
    return;
  case GRAD_REDUCE_STRIDED:
    fill_numbers(result_of(c, r), r->count, (grad_dtype)r->dtype, identity);
    return;
  }
}

/* Rows may be shorter than a block (a block then holds whole rows, or the region has another row length and cuts them
 * anywhere) or longer; the running value of an unfinished row is kept in the state. */
static void reduce_rows(const grad_region_reduction *r, grad_reducer f, const char *x, int size, int64_t pos, int64_t n,
                        double *carry, char *result) {
  int64_t row = pos / r->extent, col = pos - row * r->extent;
  while (n > 0) {
    if (col == 0 && n >= r->extent) {
      const int64_t whole = n / r->extent;
      f.rows(whole, r->extent, x, result + row * size);
      x += whole * r->extent * size;
      n -= whole * r->extent;
      row += whole;
      continue;
    }
    int64_t count = r->extent - col < n ? r->extent - col : n;
    double value = grad__reduce_combine((grad_reduction)r->kind, *carry, f.reduce(count, x));
    x += count * size;
    n -= count;
    col += count;
    if (col < r->extent) {
      *carry = value;
      return;
    }
    store_number(result, row++, (grad_dtype)r->dtype, value);
    *carry = grad__reduce_identity((grad_reduction)r->kind);
    col = 0;
  }
}

static void reduce_strided(const grad_region_reduction *r, grad_reducer f, const char *x, int size, int64_t pos,
                           int64_t n, char *result) {
  const int64_t step = r->layout.naxes > 0 ? r->layout.stride[r->layout.naxes - 1] : 0;
  grad_runs runs;
  for (grad__runs_start(&runs, &r->layout, pos, n); runs.count > 0; grad__runs_next(&runs)) {
    if (step == 1) {
      f.accumulate(runs.count, result + runs.offset * size, x);
    } else if (step == 0) {
      double was = load_number(result, runs.offset, (grad_dtype)r->dtype);
      store_number(result, runs.offset, (grad_dtype)r->dtype,
                   grad__reduce_combine((grad_reduction)r->kind, was, f.reduce(runs.count, x)));
    } else {
      for (int64_t i = 0; i < runs.count; i++) {
        f.accumulate(1, result + (runs.offset + i * step) * size, x + i * size);
      }
    }
    x += runs.count * size;
  }
}

static void reduce_block(const chunk_run *c, const grad_region_reduction *r, const char *x, int64_t pos, int64_t n) {
  const grad_reducer f = grad__reducer(c->run->ctx->simd, (grad_reduction)r->kind, (grad_dtype)r->dtype);
  const int size = (int)grad__dtype_size((grad_dtype)r->dtype);
  char *state = c->scratch + r->state;
  double *carry = (double *)(void *)state;
  switch ((grad_reduce_mode)r->mode) {
  case GRAD_REDUCE_FULL:
    *carry = grad__reduce_combine((grad_reduction)r->kind, *carry, f.reduce(n, x));
    return;
  case GRAD_REDUCE_ROWS:
    reduce_rows(r, f, x, size, pos, n, carry, grad__at(c->run->bases, r->place));
    return;
  case GRAD_REDUCE_COLUMNS:
    f.accumulate(n, state, x);
    return;
  case GRAD_REDUCE_STRIDED:
    reduce_strided(r, f, x, size, pos, n, result_of(c, r));
    return;
  }
}

/* The block-long running result folds to one of `extent` columns, by halves. */
static void fold_columns(const chunk_run *c, const grad_region_reduction *r, char *state, char *result) {
  const grad_reducer f = grad__reducer(c->run->ctx->simd, (grad_reduction)r->kind, (grad_dtype)r->dtype);
  const int64_t bytes = r->extent * (int64_t)grad__dtype_size((grad_dtype)r->dtype);
  for (int64_t rows = c->region->block / r->extent; rows > 1; rows -= rows / 2) {
    f.accumulate(rows / 2 * r->extent, state, state + (rows - rows / 2) * bytes);
  }
  memcpy(result, state, (size_t)bytes);
}

static void end_reduction(const chunk_run *c, const grad_region_reduction *r) {
  char *state = c->scratch + r->state;
  double value;
  if (r->mode == GRAD_REDUCE_FULL) {
    memcpy(&value, state, sizeof value);
    store_number(result_of(c, r), 0, (grad_dtype)r->dtype, value);
  } else if (r->mode == GRAD_REDUCE_COLUMNS) {
    fold_columns(c, r, state, result_of(c, r));
  }
}

/* In the order of the chunks, so that the result does not depend on who was done first. */
static void combine_partials(const region_run *run, const grad_region_reduction *r) {
  const grad_reducer f = grad__reducer(run->ctx->simd, (grad_reduction)r->kind, (grad_dtype)r->dtype);
  const int64_t bytes = r->count * (int64_t)grad__dtype_size((grad_dtype)r->dtype);
  char *result = grad__at(run->bases, r->place);
  const char *partial = run->partials + r->partial;
  memcpy(result, partial, (size_t)bytes);
  for (int64_t i = 1; i < run->region->nchunks; i++) f.accumulate(r->count, result, partial + i * bytes);
}

/* --- the loop */

static void set_pointers(const chunk_run *c, int64_t pos) {
  const grad_region *g = c->region;
  char *registers = c->scratch + ((size_t)g->noperands * sizeof(char *) + 63) / 64 * 64;
  for (int32_t i = 0; i < g->noperands; i++) {
    const grad_operand *o = &g->operands[i];
    if (o->kind == GRAD_OPERAND_REGISTER) {
      c->ptr[i] = registers + o->reg * g->register_bytes;
    } else {
      int64_t at = o->kind == GRAD_OPERAND_FLAT ? pos : pos % o->row;
      c->ptr[i] = grad__at(c->run->bases, o->place) + at * o->size;
    }
  }
}

static void advance(const chunk_run *c, int64_t pos, int64_t n) {
  const grad_region *g = c->region;
  for (int32_t i = 0; i < g->nmoving; i++) {
    const grad_operand *o = &g->operands[g->moving[i]];
    int64_t by = o->kind == GRAD_OPERAND_ROW && (pos + n) % o->row == 0 ? n - o->row : n;
    c->ptr[g->moving[i]] += by * o->size;
  }
}

static void run_micros(const chunk_run *c, const grad_micro *micros, int32_t count, int64_t pos, int64_t n) {
  char *const *ptr = c->ptr;
  for (const grad_micro *m = micros, *end = micros + count; m < end; m++) {
    const void *const in[3] = {ptr[m->in[0]], ptr[m->in[1]], ptr[m->in[2]]};
    switch ((grad_micro_kind)m->kind) {
    case GRAD_MICRO_KERNEL:
      m->do_.kernel(n, ptr[m->out], in);
      break;
    case GRAD_MICRO_CONVERT:
      m->do_.convert(n, ptr[m->out], 1, in[0], 1);
      break;
    case GRAD_MICRO_LOAD: {
      const grad_load *load = m->do_.load;
      grad__layout_gather(&load->layout, load->size, grad__at(c->run->bases, load->place), pos, n, ptr[m->out]);
      break;
    }
    case GRAD_MICRO_REDUCE:
      reduce_block(c, m->do_.reduction, in[0], pos, n);
      break;
    case GRAD_MICRO_CODE:
      m->do_.code(n, ptr);
      break;
    }
  }
}

static int64_t block_at(const grad_region *g, int64_t pos, int64_t end) {
  int64_t n = end - pos < g->block ? end - pos : g->block;
  if (g->row == 0) return n;
  int64_t left = g->row - pos % g->row;
  return left < n ? left : n;
}

static void run_chunk(void *ud, int64_t index, int worker) {
  region_run *run = ud;
  const grad_region *g = run->region;
  char *scratch = run->scratch + worker * g->scratch_bytes;
  const chunk_run c = {.run = run, .region = g, .ptr = (char **)(void *)scratch, .scratch = scratch, .index = index};
  int64_t pos = index * g->chunk, end = pos + g->chunk < g->n ? pos + g->chunk : g->n;
  if (atomic_load_explicit(&run->stopped, memory_order_relaxed)) return;
  set_pointers(&c, pos);
  run_micros(&c, g->fills, g->nfills, pos, end - pos < g->block ? end - pos : g->block);
  for (int32_t i = 0; i < g->nreductions; i++) begin_reduction(&c, &g->reductions[i]);
  while (pos < end) {
    int64_t n = block_at(g, pos, end);
    if (g->coded) {
      run_micros(&c, g->coded, g->ncoded, pos, n);
    } else {
      run_micros(&c, g->micros, g->nmicros, pos, n);
    }
    if (pos + n < end) advance(&c, pos, n);
    pos += n;
  }
  for (int32_t i = 0; i < g->nreductions; i++) end_reduction(&c, &g->reductions[i]);
  if (run->ctx->interrupt && run->ctx->interrupt(run->ctx->interrupt_ud)) {
    atomic_store_explicit(&run->stopped, 1, memory_order_relaxed);
  }
}

grad_status grad__region_run(grad_ctx *ctx, const grad_region *region, char *const *bases, char *scratch,
                             char *partials) {
  if (region->numbers) {
    grad__numbers_run(region, bases, scratch);
    return GRAD_OK;
  }
  region_run run = {.ctx = ctx, .region = region, .bases = bases, .scratch = scratch, .partials = partials};
  if (region->nchunks <= 1) {
    run_chunk(&run, 0, 0);
  } else {
    grad__pool_run(ctx, region->nchunks, run_chunk, &run);
  }
  if (run.stopped) return grad__fail(ctx, GRAD_EINTERRUPT, "interrupted");
  for (int32_t i = 0; i < region->nreductions; i++) {
    if (has_partials(region, &region->reductions[i])) combine_partials(&run, &region->reductions[i]);
  }
  return GRAD_OK;
}

/* region_run.c: the blocked interpreter of fused regions. */
#include <stdatomic.h>
#include <string.h>

#include "exec/numbers.h"
#include "core/pool.h"
#include "exec/region.h"

typedef struct loop_run {
  grad_ctx *ctx;
  const grad_fused_loop *loop;
  char *const *bases;
  char *scratch, *partials;
  bool stops;          /* when it is interrupted */
  _Atomic int stopped; /* a worker must not write to the context: the caller records the interrupt */
} loop_run;

/* One chunk of one region; what it works with lies in the thread's scratch. */
typedef struct chunk_run {
  const loop_run *run;
  const grad_region *region;
  char *scratch; /* of the thread */
  char *local;
  char **ptr;     /* by operand */
  int64_t origin; /* the position that local values begin with */
  int64_t index;  /* of the chunk */
} chunk_run;

static bool is_local(grad_place place) { return place.base == GRAD_BASE_LOCAL; }

static char *memory_at(const chunk_run *c, grad_place place) {
  return is_local(place) ? c->local + place.offset : grad__at(c->run->bases, place);
}

/* --- reductions */

static bool has_partials(const grad_fused_loop *loop, const grad_region_reduction *r) {
  return loop->nchunks > 1 && r->mode != GRAD_REDUCE_ROWS;
}

/* Where this chunk's result goes. */
static char *result_of(const chunk_run *c, const grad_region_reduction *r) {
  if (!has_partials(c->run->loop, r)) return memory_at(c, r->place);
  return c->run->partials + r->partial + c->index * r->count * (int64_t)grad__dtype_size(r->dtype);
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
    grad__float_fill(r->dtype, state, c->region->block, identity);
    return;
  case GRAD_REDUCE_STRIDED:
    grad__float_fill(r->dtype, result_of(c, r), r->count, identity);
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
    grad__float_put(r->dtype, result, row++, value);
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
      double was = grad__float_get(r->dtype, result, runs.offset);
      grad__float_put(r->dtype, result, runs.offset,
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
  const grad_reducer f = grad__reducer(c->run->ctx->simd, (grad_reduction)r->kind, r->dtype);
  const int size = (int)grad__dtype_size(r->dtype);
  char *state = c->scratch + r->state;
  double *carry = (double *)(void *)state;
  switch ((grad_reduce_mode)r->mode) {
  case GRAD_REDUCE_FULL:
    *carry = grad__reduce_combine((grad_reduction)r->kind, *carry, f.reduce(n, x));
    return;
  case GRAD_REDUCE_ROWS:
    reduce_rows(r, f, x, size, is_local(r->place) ? pos - c->origin : pos, n, carry, memory_at(c, r->place));
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
  const grad_reducer f = grad__reducer(c->run->ctx->simd, (grad_reduction)r->kind, r->dtype);
  const int64_t bytes = r->extent * (int64_t)grad__dtype_size(r->dtype);
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
    grad__float_put(r->dtype, result_of(c, r), 0, value);
  } else if (r->mode == GRAD_REDUCE_COLUMNS) {
    fold_columns(c, r, state, result_of(c, r));
  }
}

/* In the order of the chunks, so that the result does not depend on who was done first. */
static void combine_partials(const loop_run *run, const grad_region_reduction *r) {
  const grad_reducer f = grad__reducer(run->ctx->simd, (grad_reduction)r->kind, r->dtype);
  const int64_t bytes = r->count * (int64_t)grad__dtype_size(r->dtype);
  char *result = grad__at(run->bases, r->place);
  const char *partial = run->partials + r->partial;
  memcpy(result, partial, (size_t)bytes);
  for (int64_t i = 1; i < run->loop->nchunks; i++) f.accumulate(r->count, result, partial + i * bytes);
}

/* --- the loop */

static void set_pointers(const chunk_run *c, int64_t pos) {
  const grad_region *g = c->region;
  char *registers = (char *)c->ptr + ((size_t)g->noperands * sizeof(char *) + 63) / 64 * 64;
  for (int32_t i = 0; i < g->noperands; i++) {
    const grad_operand *o = &g->operands[i];
    if (o->kind == GRAD_OPERAND_REGISTER) {
      c->ptr[i] = registers + o->reg * g->register_bytes;
    } else {
      int64_t at = o->kind == GRAD_OPERAND_ROW ? pos % o->row : is_local(o->place) ? pos - c->origin : pos;
      c->ptr[i] = memory_at(c, o->place) + at * o->size;
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

static void load_block(const chunk_run *c, const grad_load *load, int64_t pos, int64_t n, char *to) {
  grad__layout_gather(&load->layout, load->size, memory_at(c, load->place),
                      is_local(load->place) ? pos - c->origin : pos, n, to, grad__repeater(c->run->ctx->simd));
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
    case GRAD_MICRO_LOAD:
      load_block(c, m->do_.load, pos, n, ptr[m->out]);
      break;
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

/* Positions [pos, end) of the region. */
static void run_range(const chunk_run *c, int64_t pos, int64_t end) {
  const grad_region *g = c->region;
  while (pos < end) {
    int64_t n = block_at(g, pos, end);
    if (g->coded) {
      run_micros(c, g->coded, g->ncoded, pos, n);
    } else {
      run_micros(c, g->micros, g->nmicros, pos, n);
    }
    if (pos + n < end) advance(c, pos, n);
    pos += n;
  }
}

static void begin_region(const chunk_run *c, int64_t pos, int64_t end) {
  const grad_region *g = c->region;
  set_pointers(c, pos);
  run_micros(c, g->fills, g->nfills, pos, end - pos < g->block ? end - pos : g->block);
  for (int32_t i = 0; i < g->nreductions; i++) begin_reduction(c, &g->reductions[i]);
}

static void end_region(const chunk_run *c) {
  for (int32_t i = 0; i < c->region->nreductions; i++) end_reduction(c, &c->region->reductions[i]);
}

static void run_tiles(const grad_fused_loop *loop, chunk_run *c, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; row += loop->tile) {
    const int64_t end = row + loop->tile < last ? row + loop->tile : last;
    for (int32_t k = 0; k < loop->nregions; k++) {
      const int64_t width = c[k].region->width;
      c[k].origin = row * width;
      if (row > first) set_pointers(&c[k], row * width);
      run_range(&c[k], row * width, end * width);
    }
  }
}

static void run_chunk(void *ud, int64_t index, int worker) {
  loop_run *run = ud;
  const grad_fused_loop *loop = run->loop;
  char *scratch = run->scratch + worker * loop->scratch_bytes;
  const int64_t first = index * loop->chunk, last = first + loop->chunk < loop->rows ? first + loop->chunk : loop->rows;
  chunk_run c[GRAD_MOST_REGIONS];
  if (atomic_load_explicit(&run->stopped, memory_order_relaxed)) return;
  for (int32_t k = 0; k < loop->nregions; k++) {
    const grad_region *g = loop->regions[k];
    c[k] = (chunk_run){.run = run,
                       .region = g,
                       .scratch = scratch,
                       .local = scratch + loop->local,
                       .ptr = (char **)(void *)(scratch + g->scratch),
                       .origin = first * g->width,
                       .index = index};
    begin_region(&c[k], first * g->width, last * g->width);
  }
  if (loop->nregions == 1) {
    run_range(&c[0], first * c[0].region->width, last * c[0].region->width);
  } else {
    run_tiles(loop, c, first, last);
  }
  for (int32_t k = 0; k < loop->nregions; k++) end_region(&c[k]);
  if (run->stops && run->ctx->interrupt && run->ctx->interrupt(run->ctx->interrupt_ud)) {
    atomic_store_explicit(&run->stopped, 1, memory_order_relaxed);
  }
}

grad_status grad__fused_loop_run(grad_ctx *ctx, const grad_fused_loop *loop, char *const *bases, char *scratch,
                                 char *partials, bool stops) {
  if (loop->regions[0]->numbers) {
    grad__numbers_run(loop->regions[0], bases, scratch);
    return GRAD_OK;
  }
  loop_run run = {.ctx = ctx, .loop = loop, .bases = bases, .scratch = scratch, .partials = partials, .stops = stops};
  if (loop->nchunks <= 1) {
    run_chunk(&run, 0, 0);
  } else {
    grad__pool_run(ctx, loop->nchunks, run_chunk, &run);
  }
  if (run.stopped) return grad__fail(ctx, GRAD_EINTERRUPT, "interrupted");
  for (int32_t k = 0; loop->nchunks > 1 && k < loop->nregions; k++) {
    const grad_region *g = loop->regions[k];
    for (int32_t i = 0; i < g->nreductions; i++) {
      if (has_partials(loop, &g->reductions[i])) combine_partials(&run, &g->reductions[i]);
    }
  }
  return GRAD_OK;
}

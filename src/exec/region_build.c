/* region_build.c: from a step of fused instructions to a region.
 *
 * The length of blocks follows from the shapes that are read or reduced: where rows are short a block holds whole rows,
 * so that what repeats from row to row is loaded once; where they are long a block lies within one. A region with very
 * many live registers gets shorter blocks, so that these stay in the cache.
 */
#include <string.h>

#include "exec/numbers.h"
#include "exec/planner.h"
#include "ops/ops.h"

enum {
  CACHE_BYTES = 256 << 10, /* what the registers of a region may fill: a part of the second-level cache */
  SHORTEST_BLOCK = 64
};

typedef struct builder {
  grad_planner *pl;
  grad_region *region;
  const grad_step *step;
  int32_t step_index;
  int64_t columns;            /* the row length that blocks are cut to; 0: none */
  int32_t *touched, ntouched; /* values with an operand */
  grad_overwrite *overwrite;
  bool failed;
} builder;

static const grad_instr *instr_at(const builder *b, int32_t i) { return &b->pl->p->instrs[b->step->instrs[i]]; }

static grad_dtype dtype_of(const builder *b, grad_id v) { return grad__type(b->pl->p, v)->dtype; }

static bool is_made_here(const builder *b, grad_id v) {
  return b->pl->values[b->pl->values[v].root].maker == b->step_index;
}

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* --- shapes */

static void layout_of_value(const builder *b, grad_id v, grad_layout *out) {
  grad_array header;
  grad__planner_header(b->pl, v, &header);
  grad__layout_of(&header, out);
}

/* The result of a reduction seen over the positions of its operand. */
static void layout_of_result(const builder *b, const grad_instr *ins, grad_layout *out) {
  const grad_type *t = grad__type(b->pl->p, ins->in[0]);
  grad_array view = {.ndim = t->ndim};
  int64_t stride = 1;
  for (int i = t->ndim - 1; i >= 0; i--) {
    bool reduced = ins->params[0] >> i & 1;
    view.shape[i] = t->shape[i];
    view.strides[i] = reduced ? 0 : stride;
    stride *= reduced ? 1 : t->shape[i];
  }
  grad__layout_of(&view, out);
}

static void propose_columns(builder *b, const grad_layout *l) {
  if (l->naxes < 2) return;
  int64_t last = l->extent[l->naxes - 1];
  if (last > b->columns) b->columns = last;
}

static void find_columns(builder *b) {
  b->columns = 0;
  for (int32_t i = 0; i < b->step->ninstrs; i++) {
    const grad_instr *ins = instr_at(b, i);
    grad_layout l;
    for (int32_t k = 0; k < ins->nin; k++) {
      if (is_made_here(b, ins->in[k]) || !b->pl->values[ins->in[k]].view) continue;
      layout_of_value(b, ins->in[k], &l);
      propose_columns(b, &l);
    }
    if (b->pl->classes[b->step->instrs[i]] != GRAD_INSTR_REDUCE) continue;
    layout_of_result(b, ins, &l);
    propose_columns(b, &l);
  }
}

static void set_block(builder *b, int64_t most) {
  grad_region *g = b->region;
  g->row = 0;
  g->block = most;
  if (b->columns > 1 && b->columns <= most) {
    g->block = most / b->columns * b->columns;
  } else if (b->columns > most) {
    g->row = b->columns;
  }
  if (g->block > g->n) g->block = g->n;
  g->register_bytes = round_up(g->block * 8, 64) + GRAD_GATHER_SLACK;
}

/* --- operands */

static int32_t new_operand(builder *b, grad_operand operand) {
  b->region->operands[b->region->noperands] = operand;
  return b->region->noperands++;
}

static void set_operand(builder *b, grad_id v, int32_t operand) {
  b->pl->operand_of[v] = operand;
  b->touched[b->ntouched++] = v;
}

static int32_t new_register(builder *b, grad_id v) {
  int size = (int)grad__dtype_size(dtype_of(b, v));
  return new_operand(b, (grad_operand){.kind = GRAD_OPERAND_REGISTER, .size = (uint8_t)size, .value = -1, .reg = -1});
}

static int32_t memory_operand(builder *b, grad_id v, grad_operand_kind kind) {
  grad_array header;
  grad__planner_header(b->pl, v, &header);
  return new_operand(b, (grad_operand){.kind = (uint8_t)kind,
                                       .size = (uint8_t)grad__dtype_size(dtype_of(b, v)),
                                       .value = b->pl->values[v].root,
                                       .row = b->columns,
                                       .place.offset = (char *)header.data - GRAD_FAKE_BASE});
}

static grad_micro *next_micro(grad_micro *list, int32_t *count, grad_micro micro) {
  list[*count] = micro;
  return &list[(*count)++];
}

/* Gathers v into a register, for every block or once. */
static int32_t load_operand(builder *b, grad_id v, const grad_layout *layout, bool once) {
  grad_region *g = b->region;
  grad_array header;
  grad_load *load = grad__plan_alloc(b->pl, 1, sizeof *load);
  int32_t operand = new_register(b, v);
  if (!load) {
    b->failed = true;
    return operand;
  }
  grad__planner_header(b->pl, v, &header);
  *load = (grad_load){.layout = *layout,
                      .value = b->pl->values[v].root,
                      .size = (uint8_t)grad__dtype_size(dtype_of(b, v)),
                      .place.offset = (char *)header.data - GRAD_FAKE_BASE};
  grad_micro micro = {.kind = GRAD_MICRO_LOAD, .out = operand, .in = {operand, operand, operand}, .do_.load = load};
  if (once) {
    next_micro(g->fills, &g->nfills, micro);
  } else {
    next_micro(g->micros, &g->nmicros, micro);
  }
  return operand;
}

static int32_t external_operand(builder *b, grad_id v) {
  const grad_region *g = b->region;
  grad_layout l;
  layout_of_value(b, v, &l);
  if (grad__layout_is_flat(&l) || g->n == 1) return memory_operand(b, v, GRAD_OPERAND_FLAT);
  if (l.naxes == 0) return load_operand(b, v, &l, true);
  bool repeats = l.naxes == 2 && l.stride[0] == 0 && l.stride[1] == 1 && l.extent[1] == b->columns;
  if (repeats && g->row == 0) return load_operand(b, v, &l, true);
  if (repeats) return memory_operand(b, v, GRAD_OPERAND_ROW);
  return load_operand(b, v, &l, false);
}

static int32_t operand_of(builder *b, grad_id v) {
  if (is_made_here(b, v)) v = b->pl->values[v].root;
  if (b->pl->operand_of[v] < 0) set_operand(b, v, external_operand(b, v));
  return b->pl->operand_of[v];
}

/* --- reductions */

static grad_reduce_mode mode_of(const grad_region *g, const grad_layout *l) {
  if (l->naxes == 0) return GRAD_REDUCE_FULL;
  if (l->naxes == 2 && l->stride[0] == 1 && l->stride[1] == 0) return GRAD_REDUCE_ROWS;
  bool columns = l->naxes == 2 && l->stride[0] == 0 && l->stride[1] == 1;
  if (columns && g->row == 0 && g->block % l->extent[1] == 0) return GRAD_REDUCE_COLUMNS;
  return GRAD_REDUCE_STRIDED;
}

static void add_reduction(builder *b, const grad_instr *ins) {
  grad_region *g = b->region;
  int32_t in = operand_of(b, ins->in[0]);
  grad_region_reduction *r = &g->reductions[g->nreductions++];
  *r = (grad_region_reduction){.kind = (uint8_t)ins->op->row,
                               .dtype = (uint8_t)dtype_of(b, ins->in[0]),
                               .value = ins->out,
                               .count = grad__numel(b->pl, ins->out)};
  layout_of_result(b, ins, &r->layout);
  r->mode = (uint8_t)mode_of(g, &r->layout);
  r->extent = r->layout.naxes == 2 ? r->layout.extent[1] : 0;
  next_micro(g->micros, &g->nmicros,
             (grad_micro){.kind = GRAD_MICRO_REDUCE,
                          .out = in,
                          .in = {in, in, in},
                          .do_.reduction = r,
                          .op = ins->op,
                          .dtype = r->dtype});
}

/* --- instructions */

static void add_elementwise(builder *b, const grad_instr *ins) {
  grad_region *g = b->region;
  grad_micro m = {.op = ins->op, .dtype = (uint8_t)dtype_of(b, ins->in[ins->nin - 1])};
  for (int k = 0; k < 3; k++) m.in[k] = k < ins->nin ? operand_of(b, ins->in[k]) : m.in[0];
  if (ins->op == &grad__op_convert) {
    m.kind = GRAD_MICRO_CONVERT;
    m.do_.convert = grad__array_copier(dtype_of(b, ins->out), dtype_of(b, ins->in[0]));
  } else {
    m.kind = GRAD_MICRO_KERNEL;
    m.do_.kernel = grad__kernel(b->pl->ctx, ins->op, m.dtype);
  }
  bool stored = b->pl->values[ins->out].stored;
  m.out = stored ? memory_operand(b, ins->out, GRAD_OPERAND_FLAT) : new_register(b, ins->out);
  set_operand(b, ins->out, m.out);
  next_micro(g->micros, &g->nmicros, m);
}

/* --- registers: the free one used last first, so that few lines of cache are touched */

typedef struct registers {
  int32_t *free, nfree, count;
  int32_t *last; /* by operand: the last micro that reads it */
} registers;

static void take_register(registers *r, grad_operand *o) {
  if (o->kind == GRAD_OPERAND_REGISTER && o->reg < 0) o->reg = r->nfree > 0 ? r->free[--r->nfree] : r->count++;
}

/* Frees the operands that micro m reads for the last time, if they are of that size (same), or not. */
static void free_registers(grad_region *g, registers *r, int32_t m, int size, bool same) {
  grad_micro *micro = &g->micros[m];
  for (int k = 0; k < 3; k++) {
    grad_operand *o = &g->operands[micro->in[k]];
    if (o->kind != GRAD_OPERAND_REGISTER || r->last[micro->in[k]] != m || (o->size == size) != same) continue;
    r->free[r->nfree++] = o->reg;
    r->last[micro->in[k]] = -1;
  }
}

/* A result may take the register of an operand of its own width that ends here; the kernels allow that. Converting
 * does not. What is loaded once keeps its register. */
static bool assign_registers(builder *b) {
  grad_region *g = b->region;
  registers r = {.free = grad__planner_alloc(b->pl, (size_t)g->noperands, sizeof *r.free),
                 .last = grad__planner_alloc(b->pl, (size_t)g->noperands, sizeof *r.last)};
  if (!r.free || !r.last) return false;
  for (int32_t i = 0; i < g->nfills; i++) take_register(&r, &g->operands[g->fills[i].out]);
  for (int32_t m = 0; m < g->nmicros; m++) {
    for (int k = 0; k < 3; k++) r.last[g->micros[m].in[k]] = m;
  }
  for (int32_t i = 0; i < g->nfills; i++) r.last[g->fills[i].out] = -1;
  for (int32_t m = 0; m < g->nmicros; m++) {
    grad_micro *micro = &g->micros[m];
    grad_operand *out = &g->operands[micro->out];
    if (micro->kind == GRAD_MICRO_LOAD) {
      take_register(&r, out);
      continue;
    }
    if (micro->kind == GRAD_MICRO_KERNEL) free_registers(g, &r, m, out->size, true);
    if (micro->kind != GRAD_MICRO_REDUCE) take_register(&r, out);
    free_registers(g, &r, m, out->size, true);
    free_registers(g, &r, m, out->size, false);
  }
  g->nregs = r.count;
  return true;
}

/* --- what may be overwritten */

/* Counts, or forgets, how often the region reads each root from elsewhere. */
static void count_reads(builder *b, bool forget) {
  grad_region *g = b->region;
  int32_t *reads = b->pl->operand_of;
  for (int32_t i = 0; i < g->noperands; i++) {
    grad_id v = g->operands[i].value;
    if (v >= 0) reads[v] = forget ? -1 : reads[v] + 1;
  }
  for (int32_t i = 0; i < g->nfills + g->nmicros; i++) {
    const grad_micro *m = i < g->nfills ? &g->fills[i] : &g->micros[i - g->nfills];
    grad_id v = m->kind == GRAD_MICRO_LOAD ? m->do_.load->value : -1;
    if (v >= 0) reads[v] = forget ? -1 : reads[v] + 1;
  }
}

static void note_made(builder *b, int32_t *last) {
  const grad_region *g = b->region;
  grad_overwrite *o = b->overwrite;
  for (int32_t m = 0; m < g->nmicros; m++) {
    for (int k = 0; k < 3; k++) last[g->micros[m].in[k]] = m;
    const grad_operand *out = &g->operands[g->micros[m].out];
    if (g->micros[m].kind != GRAD_MICRO_KERNEL || out->kind != GRAD_OPERAND_FLAT) continue;
    o->made[o->nmade].root = out->value;
    o->made[o->nmade++].micro = m;
  }
}

static bool note_overwrites(builder *b) {
  const grad_region *g = b->region;
  grad_overwrite *o = b->overwrite;
  int32_t *last = grad__planner_alloc(b->pl, (size_t)g->noperands, sizeof *last);
  o->read = grad__planner_alloc(b->pl, (size_t)g->noperands, sizeof *o->read);
  o->made = grad__planner_alloc(b->pl, (size_t)g->noperands, sizeof *o->made);
  if (!last || !o->read || !o->made) return false;
  note_made(b, last);
  count_reads(b, false);
  for (int32_t i = 0; i < g->noperands; i++) {
    grad_id v = g->operands[i].value;
    bool only = g->operands[i].kind == GRAD_OPERAND_FLAT && b->pl->operand_of[v] == 0;
    if (!only || b->pl->values[v].maker == b->step_index) continue;
    o->read[o->nread].root = v;
    o->read[o->nread++].micro = last[i];
  }
  count_reads(b, true);
  return true;
}

/* --- the whole */

static void build_all(builder *b) {
  grad_region *g = b->region;
  g->noperands = g->nfills = g->nmicros = g->nreductions = 0;
  for (int32_t i = 0; i < b->step->ninstrs && !b->failed; i++) {
    if (b->pl->classes[b->step->instrs[i]] == GRAD_INSTR_REDUCE) {
      add_reduction(b, instr_at(b, i));
    } else {
      add_elementwise(b, instr_at(b, i));
    }
  }
  if (!b->failed) b->failed = grad__region_order(b->pl, g) != GRAD_OK || !assign_registers(b);
  for (int32_t i = 0; i < b->ntouched; i++) b->pl->operand_of[b->touched[i]] = -1;
  b->ntouched = 0;
}

static bool reserve(builder *b) {
  int64_t reads = 0, reductions = 0, n = b->step->ninstrs;
  for (int32_t i = 0; i < n; i++) {
    reads += instr_at(b, i)->nin;
    reductions += b->pl->classes[b->step->instrs[i]] == GRAD_INSTR_REDUCE;
  }
  grad_region *g = b->region;
  g->operands = grad__plan_alloc(b->pl, (size_t)(reads + n), sizeof *g->operands);
  g->fills = grad__plan_alloc(b->pl, (size_t)reads, sizeof *g->fills);
  g->micros = grad__plan_alloc(b->pl, (size_t)(reads + n), sizeof *g->micros);
  g->reductions = grad__plan_alloc(b->pl, (size_t)reductions, sizeof *g->reductions);
  b->touched = grad__planner_alloc(b->pl, (size_t)(reads + n), sizeof *b->touched);
  return g->operands && g->fills && g->micros && g->reductions && b->touched;
}

static bool list_moving(builder *b) {
  grad_region *g = b->region;
  g->moving = grad__plan_alloc(b->pl, (size_t)g->noperands, sizeof *g->moving);
  if (!g->moving) return false;
  for (int32_t i = 0; i < g->noperands; i++) {
    if (g->operands[i].kind != GRAD_OPERAND_REGISTER) g->moving[g->nmoving++] = i;
  }
  return true;
}

static void *numbers_alloc(void *pl, size_t count, size_t size) { return grad__plan_alloc(pl, count, size); }

grad_status grad__region_build(grad_planner *pl, int32_t step) {
  grad_region *g = grad__plan_alloc(pl, 1, sizeof *g);
  builder b = {.pl = pl, .region = g, .step = &pl->plan->steps[step], .step_index = step};
  if (!g || !reserve(&b)) return pl->ctx->status;
  b.overwrite = &pl->overwrites[step];
  g->n = grad__numel(pl, instr_at(&b, 0)->in[0]);
  find_columns(&b);
  set_block(&b, GRAD_BLOCK);
  build_all(&b);
  if (b.failed) return pl->ctx->status;
  if (g->nregs * g->register_bytes > CACHE_BYTES && g->block > SHORTEST_BLOCK) {
    int64_t shorter = CACHE_BYTES / (8 * (int64_t)g->nregs) / SHORTEST_BLOCK * SHORTEST_BLOCK;
    set_block(&b, shorter > SHORTEST_BLOCK ? shorter : SHORTEST_BLOCK);
    build_all(&b);
  }
  if (b.failed || !list_moving(&b) || !note_overwrites(&b)) return pl->ctx->status;
  pl->regions[step] = g;
  return g->n == 1 ? grad__numbers_build(g, numbers_alloc, pl, pl->ctx) : GRAD_OK;
}

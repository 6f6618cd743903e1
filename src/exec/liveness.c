/* liveness.c: where each value lies. Values that are read by later steps get a place in the workspace, from the step
 * that makes them to the last that reads them; a region's result takes the place of an operand that ends there when
 * each position is read before it is written. Results of the program are written to the caller's memory at once.
 *
 * Free space is kept as blocks in order of address (so that neighbours merge) and in lists by size class; an allocation
 * takes the first fit of its class or any of a higher one. Constant time each, apart from a bounded search.
 */
#include <string.h>

#include "exec/planner.h"
#include "ops/ops.h"

enum { ALIGN = 64, CLASSES = 48, SEARCH = 8 };

typedef struct block {
  int64_t offset, size;
  int32_t before, after; /* by address */
  int32_t newer, older;  /* in the free list of its class */
  bool free;
} block;

typedef struct space {
  block *blocks;
  int32_t nblocks, spare; /* spare: head of unused entries, by `after` */
  int32_t last;           /* the block of the highest address; -1: none */
  int32_t classes[CLASSES];
  int64_t size;
} space;

static int class_of(int64_t size) {
  int c = 0;
  for (int64_t units = size / ALIGN; units > 1; units /= 2) c++;
  return c < CLASSES ? c : CLASSES - 1;
}

static void list_remove(space *s, int32_t i) {
  block *b = &s->blocks[i];
  if (b->newer >= 0) s->blocks[b->newer].older = b->older;
  if (b->older >= 0) s->blocks[b->older].newer = b->newer;
  if (b->newer < 0) s->classes[class_of(b->size)] = b->older;
  b->free = false;
}

static void list_add(space *s, int32_t i) {
  block *b = &s->blocks[i];
  int c = class_of(b->size);
  b->free = true;
  b->newer = -1;
  b->older = s->classes[c];
  if (b->older >= 0) s->blocks[b->older].newer = i;
  s->classes[c] = i;
}

static int32_t new_block(space *s, int64_t offset, int64_t size) {
  int32_t i = s->spare;
  if (i >= 0) {
    s->spare = s->blocks[i].after;
  } else {
    i = s->nblocks++;
  }
  s->blocks[i] = (block){.offset = offset, .size = size, .before = -1, .after = -1, .newer = -1, .older = -1};
  return i;
}

/* Leaves `size` in block i and makes a free block of the rest. */
static void split(space *s, int32_t i, int64_t size) {
  if (s->blocks[i].size == size) return;
  int32_t rest = new_block(s, s->blocks[i].offset + size, s->blocks[i].size - size);
  block *b = &s->blocks[i], *r = &s->blocks[rest];
  b->size = size;
  r->before = i;
  r->after = b->after;
  if (b->after >= 0) s->blocks[b->after].before = rest;
  if (s->last == i) s->last = rest;
  b->after = rest;
  list_add(s, rest);
}

static int32_t grow_space(space *s, int64_t size) {
  int32_t i = s->last;
  if (i >= 0 && s->blocks[i].free) {
    list_remove(s, i);
    s->size += size - s->blocks[i].size;
    s->blocks[i].size = size;
    return i;
  }
  i = new_block(s, s->size, size);
  s->blocks[i].before = s->last;
  if (s->last >= 0) s->blocks[s->last].after = i;
  s->last = i;
  s->size += size;
  return i;
}

static int32_t space_take(space *s, int64_t bytes) {
  int64_t size = (bytes + ALIGN - 1) / ALIGN * ALIGN;
  if (size == 0) size = ALIGN;
  int tries = SEARCH;
  for (int c = class_of(size); c < CLASSES; c++) {
    for (int32_t i = s->classes[c]; i >= 0 && tries > 0; i = s->blocks[i].older, tries--) {
      if (s->blocks[i].size < size) continue;
      list_remove(s, i);
      split(s, i, size);
      return i;
    }
    tries = tries > 0 ? tries : 1;
  }
  return grow_space(s, size);
}

/* Merges block i + 1 (by address) into block i. */
static void absorb_next(space *s, int32_t i) {
  int32_t next = s->blocks[i].after;
  block *b = &s->blocks[i], *n = &s->blocks[next];
  b->size += n->size;
  b->after = n->after;
  if (b->after >= 0) s->blocks[b->after].before = i;
  if (s->last == next) s->last = i;
  n->after = s->spare;
  s->spare = next;
}

static void space_give(space *s, int32_t i) {
  int32_t before = s->blocks[i].before, after = s->blocks[i].after;
  if (after >= 0 && s->blocks[after].free) {
    list_remove(s, after);
    absorb_next(s, i);
  }
  if (before >= 0 && s->blocks[before].free) {
    list_remove(s, before);
    absorb_next(s, before);
    i = before;
  }
  list_add(s, i);
}

/* --- values */

typedef struct liveness {
  grad_planner *pl;
  space space;
  int32_t *block_of;  /* by value: its block, -1: none */
  grad_id *whole_of;  /* by value: the array it is a part of, see find_parts; GRAD_NONE: it lies alone */
  int64_t *offset_in; /* by value: bytes into that array */
  int32_t *part_last; /* by value: the last step that reads a part of it on its own; -1: none */
} liveness;

static int64_t bytes_of(const grad_planner *pl, grad_id v) {
  return grad__numel(pl, v) * (int64_t)grad__dtype_size(grad__type(pl->p, v)->dtype);
}

static bool in_workspace(const grad_value *value) {
  return value->kind == GRAD_VALUE_MADE && value->stored && value->place.base == GRAD_BASE_WORKSPACE;
}

static bool needs_place(const liveness *l, grad_id v) {
  return in_workspace(&l->pl->values[v]) && l->block_of[v] < 0 && l->whole_of[v] == GRAD_NONE;
}

static void place_in(liveness *l, grad_id v, int32_t block) {
  l->block_of[v] = block;
  l->pl->values[v].place.offset = l->space.blocks[block].offset;
}

/* A value that ends in this step, is read there position by position, never after micro m, and is as large as v. Looks
 * at a few only, and at each once: what is passed over here stays as it is. */
static void try_overwrite(liveness *l, int32_t step, grad_overwrite *o, grad_id v, int32_t micro) {
  for (int32_t tries = 0; tries < SEARCH && o->nread > 0; tries++) {
    const grad_id from = o->read[o->nread - 1].root;
    const int32_t last = o->read[--o->nread].micro;
    if (l->block_of[from] < 0 || l->pl->values[from].last != step || last > micro) continue;
    if (l->part_last[from] == step) continue; /* read a second time there, in other positions perhaps */
    if (bytes_of(l->pl, from) != bytes_of(l->pl, v)) continue;
    place_in(l, v, l->block_of[from]);
    l->block_of[from] = -1;
    return;
  }
}

static void place_new(liveness *l, grad_id v) {
  if (needs_place(l, v)) place_in(l, v, space_take(&l->space, bytes_of(l->pl, v)));
  const grad_id whole = l->whole_of[v];
  if (whole == GRAD_NONE) return;
  place_new(l, whole);
  l->pl->values[v].place = l->pl->values[whole].place;
  l->pl->values[v].place.offset += l->offset_in[v];
}

static void give_back(liveness *l, grad_id root, int32_t step) {
  if (l->whole_of[root] != GRAD_NONE) root = l->whole_of[root];
  if (l->pl->values[root].last != step || l->block_of[root] < 0) return;
  space_give(&l->space, l->block_of[root]);
  l->block_of[root] = -1;
}

static void place_step(liveness *l, int32_t step) {
  grad_planner *pl = l->pl;
  const grad_step *s = &pl->plan->steps[step];
  grad_overwrite *o = &pl->overwrites[step];
  for (int32_t i = 0; i < o->nmade; i++) {
    if (needs_place(l, o->made[i].root)) try_overwrite(l, step, o, o->made[i].root, o->made[i].micro);
  }
  for (int32_t i = 0; i < s->ninstrs; i++) {
    const grad_instr *ins = &pl->p->instrs[s->instrs[i]];
    for (int32_t k = 0; k < ins->nout; k++) place_new(l, ins->out + k);
  }
  for (int32_t i = 0; i < s->ninstrs; i++) {
    const grad_instr *ins = &pl->p->instrs[s->instrs[i]];
    for (int32_t k = 0; k < ins->nin; k++) give_back(l, pl->values[ins->in[k]].root, step);
    for (int32_t k = 0; k < ins->nout; k++) give_back(l, ins->out + k, step);
  }
}

/* --- parts: what is put together along the outermost axis is made where it will lie, so that nothing is copied. The
 * whole has its place from the first part that is made to the last step that reads it or a part. */

static bool joins_outermost(const grad_program *p, const grad_instr *ins) {
  if (ins->op != &grad__op_concat) return false;
  for (int64_t i = 0; i < ins->params[0]; i++) {
    if (grad__type(p, ins->out)->shape[i] != 1) return false;
  }
  return true;
}

static bool can_be_part(const liveness *l, grad_id v) {
  const grad_program *p = l->pl->p;
  const grad_id root = l->pl->values[v].root;
  return !l->pl->values[v].view && in_workspace(&l->pl->values[root]) && l->whole_of[root] == GRAD_NONE &&
         !joins_outermost(p, grad__producer(p, root));
}

static void find_parts(liveness *l) {
  const grad_program *p = l->pl->p;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (l->pl->step_of[i] < 0 || !joins_outermost(p, ins) || l->pl->values[ins->out].kind != GRAD_VALUE_MADE) continue;
    grad_value *whole = &l->pl->values[ins->out];
    int64_t at = 0;
    for (int32_t k = 0; k < ins->nin; k++) {
      const grad_id root = l->pl->values[ins->in[k]].root;
      if (can_be_part(l, ins->in[k])) {
        l->whole_of[root] = ins->out;
        l->offset_in[root] = at;
        const int32_t last = l->pl->values[root].last;
        if (last > whole->last) whole->last = last;
        if (last > l->part_last[ins->out]) l->part_last[ins->out] = last;
      }
      at += bytes_of(l->pl, ins->in[k]);
    }
  }
}

/* --- outputs, numbers, dynamic arrays */

/* The first output that is a value of its own is written where the caller wants it. */
static void place_outputs(grad_planner *pl) {
  const grad_program *p = pl->p;
  for (int32_t k = 0; k < p->noutputs; k++) {
    grad_value *v = &pl->values[p->outputs[k]];
    if (v->root != p->outputs[k] || v->kind != GRAD_VALUE_MADE || v->place.base != GRAD_BASE_WORKSPACE) continue;
    v->place.base = GRAD_BASE_INPUTS + p->ninputs + k;
    pl->plan->outputs[k].direct = true;
  }
}

static grad_status place_numbers(grad_planner *pl, int64_t *size) {
  const grad_program *p = pl->p;
  grad_plan *plan = pl->plan;
  for (grad_id v = 0; v < p->nvalues; v++) {
    plan->nslots += pl->values[v].kind == GRAD_VALUE_CONST || pl->values[v].kind == GRAD_VALUE_SCALAR;
  }
  plan->slots = grad__plan_alloc(pl, (size_t)plan->nslots, sizeof *plan->slots);
  if (!plan->slots) return pl->ctx->status;
  grad_slot *slot = plan->slots;
  for (grad_id v = 0; v < p->nvalues; v++) {
    bool scalar = pl->values[v].kind == GRAD_VALUE_SCALAR;
    if (!scalar && pl->values[v].kind != GRAD_VALUE_CONST) continue;
    *slot = (grad_slot){.offset = *size, .dtype = (uint8_t)grad__type(p, v)->dtype, .scalar = -1};
    if (scalar) slot->scalar = (int32_t)grad__producer(p, v)->params[0];
    if (!scalar) grad__is_const(p, v, &slot->value);
    pl->values[v].place.offset = *size;
    *size += 8;
    slot++;
  }
  return GRAD_OK;
}

static grad_status place_dynamics(grad_planner *pl) {
  const grad_program *p = pl->p;
  grad_plan *plan = pl->plan;
  for (grad_id v = 0; v < p->nvalues; v++) {
    if (pl->values[v].kind != GRAD_VALUE_DYNAMIC) continue;
    pl->values[v].place = (grad_place){.base = -1, .offset = plan->ndynamics++};
  }
  plan->dynamics = grad__plan_alloc(pl, (size_t)plan->ndynamics, sizeof *plan->dynamics);
  return plan->dynamics ? GRAD_OK : pl->ctx->status;
}

/* Numbers come first in the workspace; the values' offsets, counted from 0 so far, move behind them. */
static void shift_values(grad_planner *pl, int64_t by) {
  for (grad_id v = 0; v < pl->p->nvalues; v++) {
    grad_value *value = &pl->values[v];
    if (value->kind == GRAD_VALUE_MADE && value->place.base == GRAD_BASE_WORKSPACE) value->place.offset += by;
  }
}

grad_status grad__liveness(grad_planner *pl) {
  grad_plan *plan = pl->plan;
  liveness l = {.pl = pl, .space = {.spare = -1, .last = -1}};
  int64_t numbers = 0;
  l.space.blocks = grad__planner_alloc(pl, 2 * (size_t)pl->p->nvalues + 2, sizeof *l.space.blocks);
  l.block_of = grad__ids_new(&pl->temp, pl->p->nvalues);
  l.whole_of = grad__ids_new(&pl->temp, pl->p->nvalues);
  l.offset_in = grad__planner_alloc(pl, (size_t)pl->p->nvalues, sizeof *l.offset_in);
  l.part_last = grad__ids_new(&pl->temp, pl->p->nvalues);
  if (!l.space.blocks || !l.block_of || !l.whole_of || !l.offset_in || !l.part_last) return pl->ctx->status;
  memset(l.space.classes, 0xFF, sizeof l.space.classes);
  place_outputs(pl);
  grad_status status = grad__reuse_inputs(pl);
  if (status == GRAD_OK) status = place_numbers(pl, &numbers);
  if (status == GRAD_OK) status = place_dynamics(pl);
  if (status != GRAD_OK) return status;
  find_parts(&l);
  for (int32_t step = 0; step < plan->nsteps; step++) place_step(&l, step);
  numbers = (numbers + ALIGN - 1) / ALIGN * ALIGN;
  shift_values(pl, numbers);
  plan->values_bytes = numbers + l.space.size;
  return GRAD_OK;
}

/* tile.c: which regions run together on a tile of rows at a time (grad_fused_loop in region.h), and how a loop is cut
 * into chunks.
 *
 * A loop begins with a region that reduces rows, and takes in the regions behind it, up to the next op, that agree in
 * the number of rows, and that read what the loop makes row by row: a region that computes row i needs only the rows i.
 * Others in between run after the loop; what reads them stays out.
 */
#include <string.h>

#include "exec/numbers.h"
#include "exec/planner.h"

enum {
  TILE = 8192,     /* positions in a tile of the widest region; a few times as many numbers stay in the cache */
  SMALLEST = 4096, /* positions from which tiles can pay: below, everything stays in the cache anyway */
  WINDOW = 32,     /* steps that are looked at */
  CHUNK = 16384,   /* least positions in a chunk; a chunk must outweigh waking a thread */
  MOST_CHUNKS = 64
};

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* --- which regions */

typedef struct tiler {
  grad_planner *pl;
  int32_t members[GRAD_MOST_REGIONS], nmembers;
  int32_t *joined; /* by step: the first step of the loop that it is in; -1: not decided */
  int32_t first;
  int64_t rows;
} tiler;

static int64_t rows_of(const grad_region *g) {
  for (int32_t i = 0; i < g->nreductions; i++) {
    if (g->reductions[i].mode == GRAD_REDUCE_ROWS) return g->reductions[i].count;
  }
  return 0;
}

/* Is v, which the loop makes, there row by row? Results that go across rows are there only at the end. */
static bool is_made_by_rows(const tiler *t, grad_id v) {
  const grad_region *g = t->pl->regions[t->pl->values[v].maker];
  if (g->n % t->rows != 0) return false;
  for (int32_t i = 0; i < g->nreductions; i++) {
    const grad_region_reduction *r = &g->reductions[i];
    if (r->value == v) return r->mode == GRAD_REDUCE_ROWS && r->count == t->rows;
  }
  return true;
}

typedef enum source { SOURCE_BEFORE, SOURCE_LOOP, SOURCE_AFTER } source;

/* When what step s reads as v is there: before the loop, from a member of it, or only after it. */
static source source_of(const tiler *t, int32_t s, grad_id v) {
  const int32_t maker = t->pl->values[v].maker;
  if (maker < t->first || maker == s) return SOURCE_BEFORE;
  return t->joined[maker] == t->first ? SOURCE_LOOP : SOURCE_AFTER;
}

static bool reads_operand_by_rows(const tiler *t, int32_t s, const grad_operand *o) {
  if (o->value < 0) return true;
  switch (source_of(t, s, o->value)) {
  case SOURCE_BEFORE:
    return true;
  case SOURCE_AFTER:
    return false;
  case SOURCE_LOOP:
    break;
  }
  const grad_region *g = t->pl->regions[s];
  return o->kind == GRAD_OPERAND_FLAT && o->place.offset == 0 && g->n == grad__numel(t->pl, o->value) &&
         is_made_by_rows(t, o->value);
}

/* A row of positions must gather from the row of the value. */
static bool reads_load_by_rows(const tiler *t, int32_t s, const grad_load *load, bool once) {
  const source from = source_of(t, s, load->value);
  if (from == SOURCE_BEFORE) return true;
  if (from == SOURCE_AFTER || once || !is_made_by_rows(t, load->value)) return false;
  const grad_layout *l = &load->layout;
  const int64_t width = grad__numel(t->pl, load->value) / t->rows, first = load->place.offset / load->size;
  if (l->naxes != 2 || l->extent[0] != t->rows || l->stride[0] != width || l->stride[1] < 0) return false;
  return first >= 0 && first + (l->extent[1] - 1) * l->stride[1] < width;
}

static bool reduces_by_rows(const tiler *t, const grad_region *g) {
  const int64_t width = g->n / t->rows;
  for (int32_t i = 0; i < g->nreductions; i++) {
    const grad_region_reduction *r = &g->reductions[i];
    if (r->mode == GRAD_REDUCE_ROWS && r->count != t->rows) return false;
    if (r->mode == GRAD_REDUCE_COLUMNS && width % r->extent != 0) return false;
  }
  for (int32_t i = 0; i < g->nfills; i++) { /* what was loaded once must fit wherever a tile begins */
    const grad_layout *l = &g->fills[i].do_.load->layout;
    if (l->naxes == 2 && width % l->extent[1] != 0) return false;
  }
  return true;
}

static bool may_join(const tiler *t, int32_t s) {
  const grad_region *g = t->pl->regions[s];
  if (g->numbers || g->n % t->rows != 0 || !reduces_by_rows(t, g)) return false;
  for (int32_t i = 0; i < g->noperands; i++) {
    if (!reads_operand_by_rows(t, s, &g->operands[i])) return false;
  }
  for (int32_t i = 0; i < g->nfills; i++) {
    if (!reads_load_by_rows(t, s, g->fills[i].do_.load, true)) return false;
  }
  for (int32_t i = 0; i < g->nmicros; i++) {
    if (g->micros[i].kind == GRAD_MICRO_LOAD && !reads_load_by_rows(t, s, g->micros[i].do_.load, false)) return false;
  }
  return true;
}

static void join(tiler *t, int32_t s) {
  t->joined[s] = t->first;
  t->members[t->nmembers++] = s;
}

/* The members of the loop that begins with step s: itself at least. */
static void find_members(tiler *t, int32_t s) {
  const grad_plan *plan = t->pl->plan;
  const grad_region *g = t->pl->regions[s];
  t->first = s;
  t->nmembers = 0;
  t->rows = rows_of(g);
  join(t, s);
  if (g->n < SMALLEST || t->rows == 0 || !reduces_by_rows(t, g)) return;
  for (int32_t k = s + 1; k < plan->nsteps && k < s + WINDOW && t->pl->regions[k]; k++) {
    if (t->joined[k] < 0 && t->nmembers < GRAD_MOST_REGIONS && may_join(t, k)) join(t, k);
  }
}

/* --- chunks and scratch */

/* Where the loop may be cut: at multiples of this many rows. 0: nowhere. */
static int64_t cut_unit(const grad_fused_loop *loop) {
  if (loop->nregions > 1) return loop->tile;
  const grad_region *g = loop->regions[0];
  int64_t unit = g->row > 0 ? g->row : g->block;
  for (int32_t i = 0; i < g->nreductions; i++) {
    const grad_region_reduction *r = &g->reductions[i];
    if (r->mode != GRAD_REDUCE_ROWS || unit % r->extent == 0) continue;
    if (r->extent % unit != 0) return 0;
    unit = r->extent;
  }
  return unit;
}

static int64_t partial_elements(const grad_fused_loop *loop) {
  int64_t n = 0;
  for (int32_t k = 0; k < loop->nregions; k++) {
    const grad_region *g = loop->regions[k];
    for (int32_t i = 0; i < g->nreductions; i++) {
      if (g->reductions[i].mode != GRAD_REDUCE_ROWS) n += g->reductions[i].count;
    }
  }
  return n;
}

/* So few that their partial results are little beside what is read. */
static int64_t most_chunks(const grad_fused_loop *loop, int64_t positions) {
  const int64_t partial = partial_elements(loop);
  return partial > 0 && positions / 8 / partial < MOST_CHUNKS ? positions / 8 / partial : MOST_CHUNKS;
}

/* The bounds follow from the shapes alone, never from the number of threads. */
static void set_chunks(grad_fused_loop *loop, int64_t positions) {
  const int64_t unit = cut_unit(loop), width = positions / loop->rows, most = most_chunks(loop, positions);
  loop->chunk = loop->rows;
  loop->nchunks = 1;
  if (unit == 0 || most < 2) return;
  const int64_t least = positions / most > CHUNK ? positions / most : CHUNK;
  const int64_t chunk = round_up((least + width - 1) / width, unit), nchunks = (loop->rows + chunk - 1) / chunk;
  if (nchunks < 2) return;
  loop->chunk = chunk;
  loop->nchunks = nchunks;
}

/* Whole blocks of the widest region. */
static void set_tile(grad_fused_loop *loop) {
  const grad_region *widest = loop->regions[0];
  loop->tile = loop->rows;
  if (loop->nregions == 1) return;
  for (int32_t k = 1; k < loop->nregions; k++) {
    if (loop->regions[k]->width > widest->width) widest = loop->regions[k];
  }
  const int64_t rows = TILE / widest->width, block = widest->row == 0 ? widest->block / widest->width : 1;
  loop->tile = round_up(rows > 1 ? rows : 1, block > 1 ? block : 1);
}

static int64_t partial_bytes(const grad_fused_loop *loop, grad_region_reduction *r, int64_t at) {
  r->partial = at;
  return loop->nchunks > 1 && r->mode != GRAD_REDUCE_ROWS ? round_up(r->count * 8, 64) * loop->nchunks : 0;
}

static void set_scratch(grad_fused_loop *loop) {
  int64_t at = 0;
  for (int32_t k = 0; k < loop->nregions; k++) {
    grad_region *g = loop->regions[k];
    g->scratch = at;
    at += round_up(g->noperands * (int64_t)sizeof(char *), 64) + g->nregs * g->register_bytes;
    for (int32_t i = 0; i < g->nreductions; i++) {
      grad_region_reduction *r = &g->reductions[i];
      r->state = at;
      at += r->mode == GRAD_REDUCE_COLUMNS ? g->register_bytes : 64;
      loop->partial_bytes += partial_bytes(loop, r, loop->partial_bytes);
    }
    if (g->numbers) at += round_up(g->numbers->nslots * (int64_t)sizeof(double), 64);
  }
  loop->local = at;
  loop->scratch_bytes = at;
}

static grad_fused_loop *make_loop(tiler *t) {
  grad_planner *pl = t->pl;
  grad_fused_loop *loop = grad__plan_alloc(pl, 1, sizeof *loop);
  if (!loop) return NULL;
  loop->regions = grad__plan_alloc(pl, (size_t)t->nmembers, sizeof *loop->regions);
  if (!loop->regions) return NULL;
  loop->nregions = t->nmembers;
  int64_t most = 0;
  for (int32_t k = 0; k < t->nmembers; k++) {
    loop->regions[k] = pl->regions[t->members[k]];
    if (loop->regions[k]->n > most) most = loop->regions[k]->n;
  }
  loop->rows = t->nmembers > 1 ? t->rows : most;
  for (int32_t k = 0; k < t->nmembers; k++) loop->regions[k]->width = loop->regions[k]->n / loop->rows;
  set_tile(loop);
  set_chunks(loop, most);
  set_scratch(loop);
  return loop;
}

/* --- the steps anew */

/* The step of the loop: the instructions of all members. */
static grad_status make_step(tiler *t, grad_step *out) {
  grad_plan *plan = t->pl->plan;
  int32_t n = 0;
  *out = plan->steps[t->first];
  out->loop = make_loop(t);
  if (!out->loop) return t->pl->ctx->status;
  if (t->nmembers == 1) return GRAD_OK;
  for (int32_t k = 0; k < t->nmembers; k++) n += plan->steps[t->members[k]].ninstrs;
  int32_t *instrs = grad__plan_alloc(t->pl, (size_t)n, sizeof *instrs);
  if (!instrs) return t->pl->ctx->status;
  out->instrs = instrs;
  out->ninstrs = n;
  for (int32_t k = 0; k < t->nmembers; k++) {
    const grad_step *s = &plan->steps[t->members[k]];
    memcpy(instrs, s->instrs, (size_t)s->ninstrs * sizeof *instrs);
    instrs += s->ninstrs;
  }
  t->pl->overwrites[t->first].nread = 0; /* members that come later may still read what one overwrites */
  return GRAD_OK;
}

/* Values that only members of one loop touch need memory for a tile. */
static void make_local(grad_planner *pl) {
  for (grad_id v = 0; v < pl->p->nvalues; v++) {
    grad_value *value = &pl->values[v];
    if (value->kind != GRAD_VALUE_MADE || !value->stored || value->maker < 0 || value->last != value->maker) continue;
    grad_fused_loop *loop = pl->plan->steps[value->maker].loop;
    if (!loop || loop->nregions == 1) continue;
    const int64_t width = grad__numel(pl, v) / loop->rows;
    value->place = (grad_place){.base = GRAD_BASE_LOCAL, .offset = loop->scratch_bytes - loop->local};
    loop->scratch_bytes += round_up(loop->tile * width * (int64_t)grad__dtype_size(grad__type(pl->p, v)->dtype), 64);
  }
}

static void forget_uses(grad_planner *pl) {
  for (grad_id v = 0; v < pl->p->nvalues; v++) pl->values[v].maker = pl->values[v].last = -1;
}

grad_status grad__form_loops(grad_planner *pl) {
  grad_plan *plan = pl->plan;
  const int32_t n = plan->nsteps;
  tiler t = {.pl = pl, .joined = grad__ids_new(&pl->temp, n)};
  int32_t *place = grad__planner_alloc(pl, (size_t)n, sizeof *place), done = 0;
  if (!t.joined || !place) return pl->ctx->status;
  for (int32_t s = 0; s < n; s++) {
    if (t.joined[s] >= 0) {
      place[s] = place[t.joined[s]];
      continue;
    }
    grad_step step = plan->steps[s];
    if (pl->regions[s]) {
      find_members(&t, s);
      grad_status status = make_step(&t, &step);
      if (status != GRAD_OK) return status;
    }
    place[s] = done;
    pl->overwrites[done] = pl->overwrites[s];
    plan->steps[done++] = step;
  }
  plan->nsteps = done;
  for (int32_t i = 0; i < pl->p->ninstrs; i++) {
    if (pl->step_of[i] >= 0) pl->step_of[i] = place[pl->step_of[i]];
  }
  forget_uses(pl);
  grad__note_uses(pl);
  make_local(pl);
  return GRAD_OK;
}

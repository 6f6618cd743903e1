/* region_order.c: the order of a region's micro-instructions. What can be machine code is put together, so that between
 * stretches of code fewer values go through memory: a region is code and calls in turn, and each instruction stands in
 * the last of these phases that those who read its result allow.
 */
#include "exec/emit.h"

/* In a longer region too many results would wait for their readers at once: they must stay in the nearest cache. */
enum { MOST_MICROS = 64 };

typedef struct order {
  const grad_region *region;
  int32_t *maker; /* by operand: the micro that makes it; -1: none */
  int32_t phase[MOST_MICROS], latest[MOST_MICROS];
  bool coded[MOST_MICROS]; /* these have even phases, the others odd ones */
} order;

/* The micro that makes the k-th operand of micro m, or -1. */
static int32_t source(const order *o, int32_t m, int k) {
  const int32_t maker = o->maker[o->region->micros[m].in[k]];
  return maker == m ? -1 : maker;
}

static void find_earliest(order *o) {
  for (int32_t m = 0; m < o->region->nmicros; m++) {
    const grad_micro *micro = &o->region->micros[m];
    o->phase[m] = o->coded[m] ? 2 : 1;
    o->latest[m] = INT32_MAX;
    for (int k = 0; k < 3; k++) {
      const int32_t from = source(o, m, k);
      if (from < 0) continue;
      const int32_t phase = o->phase[from] + (o->coded[from] != o->coded[m]);
      if (o->phase[m] < phase) o->phase[m] = phase;
    }
    if (micro->kind != GRAD_MICRO_REDUCE) o->maker[micro->out] = m;
  }
}

static void find_latest(order *o) {
  for (int32_t m = o->region->nmicros - 1; m >= 0; m--) {
    if (o->latest[m] != INT32_MAX) o->phase[m] = o->latest[m];
    for (int k = 0; k < 3; k++) {
      const int32_t from = source(o, m, k);
      if (from < 0) continue;
      const int32_t phase = o->phase[m] - (o->coded[from] != o->coded[m]);
      if (phase < o->latest[from]) o->latest[from] = phase;
    }
  }
}

static void sort_by_phase(const order *o, grad_region *g) {
  grad_micro sorted[MOST_MICROS];
  int32_t count = 0;
  for (int32_t phase = 1; count < g->nmicros; phase++) {
    for (int32_t m = 0; m < g->nmicros; m++) {
      if (o->phase[m] == phase) sorted[count++] = g->micros[m];
    }
  }
  for (int32_t m = 0; m < count; m++) g->micros[m] = sorted[m];
}

grad_status grad__region_order(grad_planner *pl, grad_region *g) {
  if (g->n == 1 || g->nmicros > MOST_MICROS) return GRAD_OK;
  order o = {.region = g, .maker = grad__planner_alloc(pl, (size_t)g->noperands, sizeof *o.maker)};
  if (!o.maker) return pl->ctx->status;
  for (int32_t i = 0; i < g->noperands; i++) o.maker[i] = -1;
  for (int32_t m = 0; m < g->nmicros; m++) o.coded[m] = grad__emits(pl->ctx, &g->micros[m]);
  find_earliest(&o);
  find_latest(&o);
  sort_by_phase(&o, g);
  return GRAD_OK;
}

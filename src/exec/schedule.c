/* schedule.c: the order of the steps: the program's own, as far as what a step reads allows, since that order keeps
 * values alive for the shortest time that the author had in mind. A step's place is that of its last instruction.
 */
#include "exec/planner.h"

typedef struct heap {
  int32_t *items;
  const int32_t *rank;
  int32_t count;
} heap;

static void heap_push(heap *h, int32_t item) {
  int32_t at = h->count++;
  while (at > 0 && h->rank[h->items[(at - 1) / 2]] > h->rank[item]) {
    h->items[at] = h->items[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  h->items[at] = item;
}

static int32_t heap_pop(heap *h) {
  int32_t top = h->items[0], item = h->items[--h->count], at = 0;
  for (;;) {
    int32_t child = 2 * at + 1;
    if (child >= h->count) break;
    if (child + 1 < h->count && h->rank[h->items[child + 1]] < h->rank[h->items[child]]) child++;
    if (h->rank[h->items[child]] >= h->rank[item]) break;
    h->items[at] = h->items[child];
    at = child;
  }
  h->items[at] = item;
  return top;
}

/* Lists in one array: list s is items[start[s]] .. items[start[s + 1] - 1]. */
typedef struct lists {
  int32_t *start, *items;
} lists;

static bool lists_new(grad_planner *pl, int32_t n, int64_t nitems, lists *out) {
  out->start = grad__planner_alloc(pl, (size_t)n + 2, sizeof *out->start);
  out->items = grad__plan_alloc(pl, (size_t)nitems + 1, sizeof *out->items);
  return out->start && out->items;
}

/* After counting into start[s + 2], makes start[s + 1] the place where list s is filled from. */
static void lists_sum(lists *l, int32_t n) {
  for (int32_t s = 0; s < n; s++) l->start[s + 2] += l->start[s + 1];
}

/* The instructions of each step, in program order. */
static bool list_instrs(grad_planner *pl, int32_t n, lists *out) {
  if (!lists_new(pl, n, pl->p->ninstrs, out)) return false;
  for (int32_t i = 0; i < pl->p->ninstrs; i++) {
    if (pl->step_of[i] >= 0) out->start[pl->step_of[i] + 2]++;
  }
  lists_sum(out, n);
  for (int32_t i = 0; i < pl->p->ninstrs; i++) {
    if (pl->step_of[i] >= 0) out->items[out->start[pl->step_of[i] + 1]++] = i;
  }
  return true;
}

/* The step that makes what instruction i reads as its k-th input, when it is another one; else -1. */
static int32_t source_step(const grad_planner *pl, int32_t i, int32_t k) {
  int32_t maker = pl->p->producers[pl->values[pl->p->instrs[i].in[k]].root];
  int32_t step = maker < 0 ? -1 : pl->step_of[maker];
  return step == pl->step_of[i] ? -1 : step;
}

/* The steps that read each step (one entry a read), and how many reads each waits for. */
static bool list_readers(grad_planner *pl, int32_t n, lists *out, int32_t *waits) {
  int64_t reads = 0;
  for (int32_t i = 0; i < pl->p->ninstrs; i++) reads += pl->step_of[i] >= 0 ? pl->p->instrs[i].nin : 0;
  if (!lists_new(pl, n, reads, out)) return false;
  for (int pass = 0; pass < 2; pass++) {
    for (int32_t i = 0; i < pl->p->ninstrs; i++) {
      for (int32_t k = 0; pl->step_of[i] >= 0 && k < pl->p->instrs[i].nin; k++) {
        int32_t source = source_step(pl, i, k);
        if (source < 0) continue;
        if (pass == 0) {
          out->start[source + 2]++;
          waits[pl->step_of[i]]++;
        } else {
          out->items[out->start[source + 1]++] = pl->step_of[i];
        }
      }
    }
    if (pass == 0) lists_sum(out, n);
  }
  return true;
}

/* Notes who makes and who reads each root last, and which values need memory. */
void grad__note_uses(grad_planner *pl) {
  const grad_program *p = pl->p;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    int32_t step = pl->step_of[i];
    if (step < 0) continue;
    for (int32_t k = 0; k < ins->nout; k++) {
      grad_value *v = &pl->values[ins->out + k];
      v->maker = step;
      v->stored = v->stored || pl->classes[i] != GRAD_INSTR_FUSED;
      if (v->last < step) v->last = step;
    }
    for (int32_t k = 0; k < ins->nin; k++) {
      grad_value *v = &pl->values[pl->values[ins->in[k]].root];
      if (v->maker != step) v->stored = true;
      if (v->last < step) v->last = step;
    }
  }
  for (int32_t k = 0; k < p->noutputs; k++) {
    grad_value *v = &pl->values[pl->values[p->outputs[k]].root];
    v->stored = true;
    v->last = INT32_MAX;
  }
}

static void order_steps(grad_planner *pl, heap *ready, const lists *instrs, const lists *readers, int32_t *waits,
                        int32_t *place) {
  int32_t done = 0;
  while (ready->count > 0) {
    int32_t s = heap_pop(ready);
    pl->plan->steps[done] =
        (grad_step){.instrs = instrs->items + instrs->start[s], .ninstrs = instrs->start[s + 1] - instrs->start[s]};
    place[s] = done++;
    for (int32_t r = readers->start[s]; r < readers->start[s + 1]; r++) {
      if (--waits[readers->items[r]] == 0) heap_push(ready, readers->items[r]);
    }
  }
  pl->plan->nsteps = done;
}

grad_status grad__schedule(grad_planner *pl, int32_t n) {
  lists instrs, readers;
  int32_t *waits = grad__planner_alloc(pl, (size_t)n, sizeof *waits);
  int32_t *rank = grad__planner_alloc(pl, (size_t)n, sizeof *rank);
  int32_t *place = grad__planner_alloc(pl, (size_t)n, sizeof *place);
  heap ready = {.items = grad__planner_alloc(pl, (size_t)n, sizeof *ready.items), .rank = rank};
  pl->plan->steps = grad__plan_alloc(pl, (size_t)n, sizeof *pl->plan->steps);
  if (!waits || !rank || !place || !ready.items || !pl->plan->steps) return pl->ctx->status;
  if (!list_instrs(pl, n, &instrs) || !list_readers(pl, n, &readers, waits)) return pl->ctx->status;
  for (int32_t s = 0; s < n; s++) {
    rank[s] = instrs.items[instrs.start[s + 1] - 1];
    if (waits[s] == 0) heap_push(&ready, s);
  }
  order_steps(pl, &ready, &instrs, &readers, waits, place);
  if (pl->plan->nsteps != n) return grad__fail(pl->ctx, GRAD_EINTERNAL, "plan: the steps wait for each other");
  for (int32_t i = 0; i < pl->p->ninstrs; i++) {
    if (pl->step_of[i] >= 0) pl->step_of[i] = place[pl->step_of[i]];
  }
  grad__note_uses(pl);
  return GRAD_OK;
}

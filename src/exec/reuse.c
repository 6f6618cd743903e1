/* reuse.c: which results may lie where a donated input did (grad__plan_new_donating): the new parameters of a training
 * step where the old ones were.
 *
 * An input can be overwritten by the region that reads it last, position by position and never after the new value is
 * written. Nothing may fail from there on, so that a run either gives all its results or leaves its inputs as they
 * were: the region must stand in the tail of the plan, in which there are only loops.
 */
#include <stdlib.h>

#include "exec/planner.h"

/* Inputs that end in a region, with the micros that read them last; `next` links those of one dtype that a later result
 * may have. */
typedef struct ended {
  grad_touch last;
  int32_t input, next;
} ended;

typedef struct reuse {
  grad_planner *pl;
  int32_t *input_of, *output_of; /* by value; -1: it is none */
} reuse;

static int by_micro(const void *a, const void *b) {
  const int32_t x = ((const ended *)a)->last.micro, y = ((const ended *)b)->last.micro;
  return (x > y) - (x < y);
}

static bool is_whole(const reuse *u, grad_id v, int64_t n) { return grad__numel(u->pl, v) == n; }

/* The donated inputs that end in the step, by their last micro. */
static int32_t list_ended(const reuse *u, int32_t step, int64_t n, ended *list) {
  const grad_overwrite *o = &u->pl->overwrites[step];
  int32_t count = 0;
  for (int32_t i = 0; i < o->nread; i++) {
    const grad_id root = o->read[i].root;
    const int32_t input = u->input_of[root];
    if (input < 0 || !u->pl->donated[input] || u->pl->values[root].last != step || !is_whole(u, root, n)) continue;
    list[count++] = (ended){.last = o->read[i], .input = input};
  }
  qsort(list, (size_t)count, sizeof *list, by_micro);
  return count;
}

/* Gives each result, in the order in which they are made, the input of its dtype that was read last before. Which one
 * does not matter to the number of pairs: what one result may have, all later ones may. */
static grad_status reuse_in_step(const reuse *u, int32_t step) {
  grad_planner *pl = u->pl;
  const grad_overwrite *o = &pl->overwrites[step];
  const int64_t n = pl->plan->steps[step].loop->regions[0]->n;
  int32_t top[GRAD_F64 + 1] = {-1, -1, -1, -1}, next = 0;
  ended *list = grad__planner_alloc(pl, (size_t)o->nread, sizeof *list);
  if (!list) return pl->ctx->status;
  const int32_t count = list_ended(u, step, n, list);
  for (int32_t i = 0; i < o->nmade && count > 0; i++) {
    const grad_id made = o->made[i].root;
    const int32_t output = u->output_of[made];
    for (; next < count && list[next].last.micro <= o->made[i].micro; next++) {
      const grad_dtype dtype = grad__type(pl->p, list[next].last.root)->dtype;
      list[next].next = top[dtype];
      top[dtype] = next;
    }
    int32_t *last = &top[grad__type(pl->p, made)->dtype];
    if (output < 0 || !pl->plan->outputs[output].direct || !is_whole(u, made, n) || *last < 0) continue;
    pl->plan->outputs[output].reuses = list[*last].input;
    pl->plan->outputs[output].step = step;
    *last = list[*last].next;
  }
  return GRAD_OK;
}

/* Copies at the end of a run may need memory: of results that are as long as it turns out. */
static bool has_dynamic_output(const grad_planner *pl) {
  for (int32_t k = 0; k < pl->p->noutputs; k++)
    if (pl->values[pl->p->outputs[k]].kind == GRAD_VALUE_DYNAMIC) return true;
  return false;
}

grad_status grad__reuse_inputs(grad_planner *pl) {
  const grad_program *p = pl->p;
  for (int32_t k = 0; k < p->noutputs; k++) pl->plan->outputs[k].reuses = -1;
  if (!pl->donated || has_dynamic_output(pl)) return GRAD_OK;
  const reuse u = {
      .pl = pl, .input_of = grad__ids_new(&pl->temp, p->nvalues), .output_of = grad__ids_new(&pl->temp, p->nvalues)};
  if (!u.input_of || !u.output_of) return pl->ctx->status;
  for (int32_t i = 0; i < p->ninputs; i++) u.input_of[p->inputs[i]] = i;
  for (int32_t k = p->noutputs - 1; k >= 0; k--) u.output_of[p->outputs[k]] = k;
  grad_status status = GRAD_OK;
  for (int32_t s = pl->plan->nsteps - 1; s >= 0 && pl->plan->steps[s].loop && status == GRAD_OK; s--)
    status = reuse_in_step(&u, s);
  return status;
}

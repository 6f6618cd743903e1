/* fuse.c: which instructions run together.
 *
 * Views and constants run nowhere: they are resolved to the memory they show. Every other instruction has a stage: no
 * less than that of the instructions it reads, and more when it cannot join their loop: when one of them is not fused,
 * has another number of elements, or is read through a view that is not its plain row order. So all fused instructions
 * of one stage and one number of elements could run as one loop, in any grouping, without ever waiting for each other;
 * of these, the ones that share values do. (Only numbers all go together: there a step costs more than a value.)
 */
#include <string.h>

#include "exec/planner.h"
#include "ops/ops.h"

/* --- views and constants */

static bool set_view(grad_planner *pl, grad_id v, const grad_array *view) {
  grad_array *kept = grad__plan_alloc(pl, 1, sizeof *kept);
  if (kept) *kept = *view;
  pl->values[v].view = kept;
  return kept != NULL;
}

static bool resolve_number(grad_planner *pl, grad_id v, grad_value_kind kind) {
  const grad_type *t = grad__type(pl->p, v);
  grad_array view;
  pl->values[v].kind = (uint8_t)kind;
  if (t->ndim == 0) return true;
  grad__array_wrap(&view, GRAD_FAKE_BASE, t->dtype, t->ndim, t->shape);
  memset(view.strides, 0, sizeof view.strides);
  return set_view(pl, v, &view);
}

/* false: out of memory. *done: v shows its source's memory. */
static bool resolve_view(grad_planner *pl, const grad_instr *ins, bool *done) {
  const grad_value *source = &pl->values[ins->in[0]];
  grad_array in, view;
  *done = false;
  if (pl->values[source->root].kind == GRAD_VALUE_DYNAMIC) return true;
  grad__planner_header(pl, ins->in[0], &in);
  if (!ins->op->view(ins, &in, grad__type(pl->p, ins->out), &view)) return true;
  *done = true;
  pl->values[ins->out].root = source->root;
  bool plain = view.data == (void *)GRAD_FAKE_BASE && grad__array_is_contiguous(&view) &&
               grad__array_numel(&view) == grad__numel(pl, source->root);
  return plain || set_view(pl, ins->out, &view);
}

/* --- classes */

static bool is_fusible(const grad_planner *pl, const grad_instr *ins) {
  if (grad__numel(pl, ins->out) <= 0) return false;
  if (ins->op == &grad__op_convert) return grad__numel(pl, ins->in[0]) > 0;
  if (!(ins->op->flags & GRAD_OP_ELEMENTWISE) || ins->nin < 1 || ins->nin > 3) return false;
  const grad_dtype dtype = grad__type(pl->p, ins->in[ins->nin - 1])->dtype;
  return grad__kernel(pl->ctx, ins->op, dtype) != NULL && !grad__kernel_divides(ins->op, dtype);
}

static bool is_fusible_reduction(const grad_planner *pl, const grad_instr *ins) {
  bool kind =
      ins->op == &grad__op_sum || ins->op == &grad__op_prod || ins->op == &grad__op_max || ins->op == &grad__op_min;
  return kind && grad__dtype_is_float(grad__type(pl->p, ins->in[0])->dtype) && grad__numel(pl, ins->in[0]) > 0 &&
         grad__numel(pl, ins->out) > 0;
}

static bool classify(grad_planner *pl, int32_t i) {
  const grad_instr *ins = &pl->p->instrs[i];
  double value;
  bool is_view = false;
  pl->classes[i] = GRAD_INSTR_NONE;
  if (ins->op->flags & GRAD_OP_SCALAR) return resolve_number(pl, ins->out, GRAD_VALUE_SCALAR);
  if (ins->nin == 0 && ins->nout == 1 && grad__is_const(pl->p, ins->out, &value)) {
    return resolve_number(pl, ins->out, GRAD_VALUE_CONST);
  }
  if (ins->op->flags & GRAD_OP_VIEW && !resolve_view(pl, ins, &is_view)) return false;
  if (is_view) return true;
  pl->classes[i] = is_fusible(pl, ins)             ? GRAD_INSTR_FUSED
                   : is_fusible_reduction(pl, ins) ? GRAD_INSTR_REDUCE
                                                   : GRAD_INSTR_OP;
  for (int32_t k = 0; k < ins->nout; k++) {
    if (grad__type_is_dynamic(grad__type(pl->p, ins->out + k))) pl->values[ins->out + k].kind = GRAD_VALUE_DYNAMIC;
  }
  return true;
}

/* --- stages */

/* The number of positions an instruction loops over. */
static int64_t positions(const grad_planner *pl, int32_t i) { return grad__numel(pl, pl->p->instrs[i].in[0]); }

/* The instruction that makes what v shows; -1: none. */
static int32_t maker_of(const grad_planner *pl, grad_id v) {
  grad_id root = pl->values[v].root;
  return pl->p->producers[root] >= 0 && pl->classes[pl->p->producers[root]] != GRAD_INSTR_NONE ? pl->p->producers[root]
                                                                                               : -1;
}

/* Could instruction i read v inside the loop of v's maker? */
static bool joins(const grad_planner *pl, int32_t maker, int32_t i, grad_id v) {
  return pl->classes[i] >= GRAD_INSTR_FUSED && pl->classes[maker] == GRAD_INSTR_FUSED && !pl->values[v].view &&
         positions(pl, maker) == positions(pl, i);
}

static void find_stage(grad_planner *pl, int32_t i) {
  const grad_instr *ins = &pl->p->instrs[i];
  int32_t stage = 0;
  for (int32_t k = 0; k < ins->nin; k++) {
    int32_t maker = maker_of(pl, ins->in[k]);
    if (maker < 0) continue;
    int32_t least = pl->stage[maker] + !joins(pl, maker, i, ins->in[k]);
    if (least > stage) stage = least;
  }
  pl->stage[i] = stage;
}

/* --- sinking: an instruction whose result is needed only later runs where it is needed, if that keeps no more memory
 * alive: then its operand waits in its place. So 1 - tanh(x)^2, of which the derivative is made, is computed in the
 * backward pass from the tanh that the forward pass keeps anyway. */

typedef struct need {
  int32_t stage;  /* the first that reads the value */
  bool elsewhere; /* it is read outside the loop that would make it */
} need;

static int64_t bytes_of(const grad_planner *pl, grad_id v) {
  return grad__numel(pl, v) * (int64_t)grad__dtype_size(grad__type(pl->p, v)->dtype);
}

/* Does the instruction read one array at most that is not small beside its result, and no wider one? */
static bool keeps_no_more(const grad_planner *pl, const grad_instr *ins) {
  const int64_t bytes = bytes_of(pl, ins->out);
  grad_id large = GRAD_NONE;
  for (int32_t k = 0; k < ins->nin; k++) {
    const grad_id root = pl->values[ins->in[k]].root;
    const uint8_t kind = pl->values[root].kind;
    const bool number = kind == GRAD_VALUE_CONST || kind == GRAD_VALUE_SCALAR;
    if (number || bytes_of(pl, root) <= bytes / 8 || root == large) continue;
    if (large != GRAD_NONE || bytes_of(pl, root) > bytes) return false;
    large = root;
  }
  return true;
}

static void note_needs(const grad_planner *pl, int32_t i, need *needs) {
  const grad_instr *ins = &pl->p->instrs[i];
  for (int32_t k = 0; k < ins->nin; k++) {
    const int32_t maker = maker_of(pl, ins->in[k]);
    if (maker < 0) continue;
    need *n = &needs[pl->values[ins->in[k]].root];
    if (!joins(pl, maker, i, ins->in[k])) n->elsewhere = true;
    if (pl->stage[i] < n->stage) n->stage = pl->stage[i];
  }
}

static grad_status sink(grad_planner *pl) {
  const grad_program *p = pl->p;
  need *needs = grad__planner_alloc(pl, (size_t)p->nvalues, sizeof *needs);
  if (!needs) return pl->ctx->status;
  for (grad_id v = 0; v < p->nvalues; v++) needs[v].stage = INT32_MAX;
  for (int32_t k = 0; k < p->noutputs; k++) needs[pl->values[p->outputs[k]].root].elsewhere = true;
  for (int32_t i = p->ninstrs - 1; i >= 0; i--) {
    if (pl->classes[i] == GRAD_INSTR_NONE) continue;
    const need *n = &needs[p->instrs[i].out];
    const bool later = !n->elsewhere && n->stage != INT32_MAX && n->stage > pl->stage[i];
    if (pl->classes[i] == GRAD_INSTR_FUSED && later && keeps_no_more(pl, &p->instrs[i])) pl->stage[i] = n->stage;
    note_needs(pl, i, needs);
  }
  return GRAD_OK;
}

/* --- sets: union-find over instructions */

static int32_t find(int32_t *set, int32_t i) {
  while (set[i] != i) {
    set[i] = set[set[i]];
    i = set[i];
  }
  return i;
}

static void unite(int32_t *set, int32_t i, int32_t j) {
  i = find(set, i);
  j = find(set, j);
  if (i < j) set[j] = i;
  if (j < i) set[i] = j;
}

static bool same_loop(const grad_planner *pl, int32_t i, int32_t j) {
  return pl->stage[i] == pl->stage[j] && positions(pl, i) == positions(pl, j);
}

/* reader[v]: the last fused instruction that reads root v; number[s]: one of stage s that has a single position. */
static void unite_neighbours(grad_planner *pl, int32_t i, int32_t *reader, int32_t *number) {
  const grad_instr *ins = &pl->p->instrs[i];
  for (int32_t k = 0; k < ins->nin; k++) {
    grad_id root = pl->values[ins->in[k]].root;
    int32_t maker = maker_of(pl, root);
    if (maker >= 0 && pl->classes[maker] == GRAD_INSTR_FUSED && same_loop(pl, maker, i)) unite(pl->set, maker, i);
    if (reader[root] >= 0 && grad__numel(pl, root) > 1 && same_loop(pl, reader[root], i)) {
      unite(pl->set, reader[root], i);
    }
    reader[root] = i;
  }
  if (positions(pl, i) != 1) return;
  if (number[pl->stage[i]] >= 0) unite(pl->set, number[pl->stage[i]], i);
  number[pl->stage[i]] = i;
}

/* Numbers the sets as steps, by their first instruction. Returns how many. */
static int32_t number_steps(grad_planner *pl) {
  int32_t n = 0;
  for (int32_t i = 0; i < pl->p->ninstrs; i++) {
    if (pl->classes[i] == GRAD_INSTR_NONE) {
      pl->step_of[i] = -1;
    } else {
      int32_t first = find(pl->set, i);
      pl->step_of[i] = first == i ? n++ : pl->step_of[first];
    }
  }
  return n;
}

static grad_status init_values(grad_planner *pl) {
  const grad_program *p = pl->p;
  for (grad_id v = 0; v < p->nvalues; v++) {
    pl->values[v] = (grad_value){.root = v, .maker = -1, .last = -1};
  }
  for (int32_t k = 0; k < p->ninputs; k++) {
    pl->values[p->inputs[k]].kind = GRAD_VALUE_INPUT;
    pl->values[p->inputs[k]].place.base = GRAD_BASE_INPUTS + k;
  }
  for (int32_t i = 0; i < p->ninstrs; i++) {
    if (!classify(pl, i)) return pl->ctx->status;
  }
  return GRAD_OK;
}

grad_status grad__fuse(grad_planner *pl) {
  const int32_t n = pl->p->ninstrs;
  grad_status status = init_values(pl);
  if (status != GRAD_OK) return status;
  grad_id *reader = grad__ids_new(&pl->temp, pl->p->nvalues), *number = grad__ids_new(&pl->temp, n + 1);
  if (!reader || !number) return pl->ctx->status;
  for (int32_t i = 0; i < n; i++) {
    pl->set[i] = i;
    if (pl->classes[i] != GRAD_INSTR_NONE) find_stage(pl, i);
  }
  status = sink(pl);
  if (status != GRAD_OK) return status;
  for (int32_t i = 0; i < n; i++) {
    if (pl->classes[i] >= GRAD_INSTR_FUSED) unite_neighbours(pl, i, reader, number);
  }
  return grad__schedule(pl, number_steps(pl));
}

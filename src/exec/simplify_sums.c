/* simplify_sums.c: long sums. A chain of additions, however it is nested, is taken apart when nothing else needs the
 * sums in between and enough of its terms are of one of these kinds: pieces put into zeros (unslice): one place_sum of
 * them all, or a concat where they cover the whole side by side; small matrix products: one product of their factors
 * side by side. The gradient of a weight in a recurrent network is then one product over all times, instead of a small
 * one and an addition to the whole gradient at each. Other terms are added up first. The order of additions changes,
 * and so may their rounding and the sign of a zero.
 */
#include <string.h>

#include "exec/planner.h"
#include "exec/simplify.h"

enum { FEWEST_PIECES = 2, FEWEST_PRODUCTS = 4, LONGEST = 128 }; /* LONGEST: inner extent of a small product */

/* Terms of a sum that count. */
typedef struct tally {
  int32_t pieces, products;
} tally;

typedef struct sums {
  grad_program *to;
  const grad_program *from;
  grad_arena temp;
  int32_t *uses; /* by value */
  int32_t *user; /* by value: the instruction that reads it last */
  tally *count;  /* by instruction: in the sum that it ends; all 0: not such an addition, or not worth while */
  bool *gone;    /* by instruction: part of a sum that stands elsewhere */
  grad_id *map, *stack, *found, *terms, *group;
  int64_t *params;
} sums;

static bool is_float_add(const grad_program *p, const grad_instr *ins) {
  return ins->op == &grad__op_add && grad__dtype_is_float(grad__type(p, ins->out)->dtype);
}

/* The instruction that makes v, when v serves one purpose only. */
static int32_t sole_maker(const sums *s, grad_id v) { return s->uses[v] == 1 ? s->from->producers[v] : -1; }

static bool is_empty(tally t) { return t.pieces + t.products == 0; }

static bool is_worth_while(tally t) { return t.pieces >= FEWEST_PIECES || t.products >= FEWEST_PRODUCTS; }

static int64_t inner_extent(const grad_program *p, const grad_instr *matmul) {
  return grad__type(p, matmul->in[0])->shape[matmul->params[0] ? 0 : 1];
}

static tally tally_of(const sums *s, const grad_instr *ins) {
  if (ins->op == &grad__op_unslice) return (tally){.pieces = 1};
  const bool small =
      ins->op == &grad__op_matmul && grad__type(s->from, ins->out)->ndim == 2 && inner_extent(s->from, ins) <= LONGEST;
  return (tally){.products = small};
}

static tally tally_in(const sums *s, grad_id v) {
  const int32_t maker = sole_maker(s, v);
  if (maker < 0) return (tally){0};
  return is_empty(s->count[maker]) ? tally_of(s, &s->from->instrs[maker]) : s->count[maker];
}

static void find_links(sums *s) {
  const grad_program *p = s->from;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    for (int32_t k = 0; k < ins->nin; k++) {
      s->uses[ins->in[k]]++;
      s->user[ins->in[k]] = i;
    }
  }
  for (int32_t k = 0; k < p->noutputs; k++) s->uses[p->outputs[k]] += 2;
  for (int32_t i = 0; i < p->ninstrs; i++) {
    const grad_instr *ins = &p->instrs[i];
    if (!is_float_add(p, ins)) continue;
    const tally left = tally_in(s, ins->in[0]), right = tally_in(s, ins->in[1]);
    s->count[i] = (tally){left.pieces + right.pieces, left.products + right.products};
  }
}

static bool is_top(const sums *s, int32_t i) {
  const grad_id out = s->from->instrs[i].out;
  return !is_empty(s->count[i]) && !(s->uses[out] == 1 && !is_empty(s->count[s->user[out]]));
}

/* Takes the sum apart: instructions that count into found, other terms into terms, in order. */
static void take_apart(sums *s, int32_t top, int32_t *nfound, int32_t *nterms) {
  int32_t depth = 0;
  *nfound = *nterms = 0;
  s->stack[depth++] = s->from->instrs[top].out;
  while (depth > 0) {
    const grad_id v = s->stack[--depth];
    const int32_t maker = depth == 0 && v == s->from->instrs[top].out ? top : sole_maker(s, v);
    if (maker >= 0 && !is_empty(s->count[maker])) {
      s->stack[depth++] = s->from->instrs[maker].in[1];
      s->stack[depth++] = s->from->instrs[maker].in[0];
    } else if (maker >= 0 && !is_empty(tally_of(s, &s->from->instrs[maker]))) {
      s->found[(*nfound)++] = maker;
    } else {
      s->terms[(*nterms)++] = v;
    }
  }
}

/* Marks what the sum at `top` has absorbed. The walk is that of take_apart. */
static void absorb(sums *s, int32_t top) {
  int32_t depth = 0, nfound, nterms;
  take_apart(s, top, &nfound, &nterms);
  for (int32_t k = 0; k < nfound; k++) s->gone[s->found[k]] = true;
  s->stack[depth++] = top;
  while (depth > 0) {
    const grad_instr *ins = &s->from->instrs[s->stack[--depth]];
    for (int k = 0; k < 2; k++) {
      const int32_t maker = sole_maker(s, ins->in[k]);
      if (maker < 0 || is_empty(s->count[maker])) continue;
      s->gone[maker] = true;
      s->stack[depth++] = maker;
    }
  }
}

/* --- products */

static grad_id emit_concat(sums *s, int32_t n, int axis) {
  return axis == 0 ? grad__concat_rows(s->to, n, s->stack) : grad__concat(s->to, n, s->stack, axis);
}

/* One product of all factors side by side, of the `n` instructions in s->group, which agree in how they are read. They
 * go in the order in which the values of a recurrence were made, the last first in its gradient: then the factors are
 * often arrays that other sums or the recurrence itself need too. */
static grad_id emit_product(sums *s, int32_t n) {
  const grad_instr *first = &s->from->instrs[s->group[0]];
  const bool ta = first->params[0] != 0, tb = first->params[1] != 0;
  const bool backwards = s->from->instrs[s->group[n - 1]].in[0] < first->in[0];
  grad_id factors[2];
  for (int side = 0; side < 2; side++) {
    for (int32_t k = 0; k < n; k++) {
      s->stack[k] = s->map[s->from->instrs[s->group[backwards ? n - 1 - k : k]].in[side]];
    }
    const bool rows = side == 0 ? ta : !tb; /* the inner axis is the first */
    factors[side] = emit_concat(s, n, rows ? 0 : 1);
  }
  return grad__matmul(s->to, factors[0], factors[1], ta, tb);
}

static grad_id add_term(sums *s, grad_id sum, grad_id term) {
  return sum == GRAD_NONE ? term : grad__add(s->to, sum, term);
}

static grad_id add_products(sums *s, int32_t nfound, grad_id sum) {
  for (int flags = 0; flags < 4; flags++) {
    int32_t n = 0;
    for (int32_t k = 0; k < nfound; k++) {
      const grad_instr *ins = &s->from->instrs[s->found[k]];
      if (ins->op != &grad__op_matmul || (ins->params[0] != 0) + 2 * (ins->params[1] != 0) != flags) continue;
      s->group[n++] = s->found[k];
    }
    if (n >= FEWEST_PRODUCTS) {
      sum = add_term(s, sum, emit_product(s, n));
      continue;
    }
    for (int32_t k = 0; k < n; k++) {
      const grad_instr *ins = &s->from->instrs[s->group[k]];
      grad__inline_instr(s->to, s->from, ins, s->map, 0);
      sum = add_term(s, sum, s->map[ins->out]);
    }
  }
  return sum;
}

/* --- pieces, which stand in s->group */

/* The axis along which they lie side by side and cover the whole, in their order or (*backwards) against it; -1: none.
 */
static int covered_axis(const sums *s, int32_t n, bool *backwards) {
  const grad_instr *first = &s->from->instrs[s->group[0]];
  const int ndim = grad__type(s->from, first->out)->ndim;
  const int64_t *full = first->params;
  int axis = -1;
  for (int i = 0; i < ndim; i++) {
    if (grad__type(s->from, first->in[0])->shape[i] == full[i]) continue;
    if (axis >= 0) return -1;
    axis = i;
  }
  if (axis < 0) return -1;
  *backwards = first->params[ndim + axis] != 0;
  int64_t at = 0;
  for (int32_t k = 0; k < n; k++) {
    const grad_instr *piece = &s->from->instrs[s->group[*backwards ? n - 1 - k : k]];
    const int64_t *count = grad__type(s->from, piece->in[0])->shape, *start = piece->params + ndim,
                  *step = start + ndim;
    for (int i = 0; i < ndim; i++) {
      if (start[i] != (i == axis ? at : 0) || (step[i] != 1 && count[i] > 1)) return -1;
      if (i != axis && count[i] != full[i]) return -1;
    }
    at += count[axis];
  }
  return at == full[axis] ? axis : -1;
}

static grad_id emit_place_sum(sums *s, int32_t n, grad_id sum) {
  const int ndim = grad__type(s->from, s->from->instrs[s->group[0]].out)->ndim;
  int32_t nin = 0, nparams = 2;
  if (sum != GRAD_NONE) s->stack[nin++] = sum;
  s->params[0] = nin;
  s->params[1] = ndim;
  memcpy(&s->params[nparams], s->from->instrs[s->group[0]].params, (size_t)ndim * sizeof *s->params);
  nparams += ndim;
  for (int32_t k = 0; k < n; k++) {
    const grad_instr *piece = &s->from->instrs[s->group[k]];
    memcpy(&s->params[nparams], piece->params + ndim, 2 * (size_t)ndim * sizeof *s->params);
    nparams += 2 * ndim;
    s->stack[nin++] = s->map[piece->in[0]];
  }
  return grad__emit(s->to, &grad__op_place_sum, nin, s->stack, nparams, s->params);
}

static grad_id add_pieces(sums *s, int32_t nfound, grad_id sum) {
  int32_t n = 0;
  bool backwards;
  for (int32_t k = 0; k < nfound; k++) {
    if (s->from->instrs[s->found[k]].op == &grad__op_unslice) s->group[n++] = s->found[k];
  }
  if (n == 0) return sum;
  const int axis = covered_axis(s, n, &backwards);
  if (axis < 0) return emit_place_sum(s, n, sum);
  for (int32_t k = 0; k < n; k++) s->stack[k] = s->map[s->from->instrs[s->group[backwards ? n - 1 - k : k]].in[0]];
  return add_term(s, sum, emit_concat(s, n, axis));
}

static grad_id emit_sum(sums *s, int32_t top) {
  int32_t nfound, nterms;
  grad_id sum = GRAD_NONE;
  take_apart(s, top, &nfound, &nterms);
  for (int32_t k = 0; k < nterms; k++) sum = add_term(s, sum, s->map[s->terms[k]]);
  return add_pieces(s, nfound, add_products(s, nfound, sum));
}

static bool reserve(sums *s) {
  const size_t ninstrs = (size_t)s->from->ninstrs + 1, nvalues = (size_t)s->from->nvalues + 1;
  s->uses = grad__arena_alloc(&s->temp, nvalues * sizeof *s->uses);
  s->user = grad__arena_alloc(&s->temp, nvalues * sizeof *s->user);
  s->count = grad__arena_alloc(&s->temp, ninstrs * sizeof *s->count);
  s->gone = grad__arena_alloc(&s->temp, ninstrs);
  s->map = grad__ids_new(&s->temp, s->from->nvalues);
  s->stack = grad__ids_new(&s->temp, 2 * s->from->ninstrs + 2);
  s->found = grad__ids_new(&s->temp, s->from->ninstrs);
  s->group = grad__ids_new(&s->temp, s->from->ninstrs);
  s->terms = grad__ids_new(&s->temp, 2 * s->from->ninstrs);
  s->params = grad__arena_alloc(&s->temp, (2 * GRAD_MAX_AXES * ninstrs + 2 + GRAD_MAX_AXES) * sizeof *s->params);
  bool all =
      s->uses && s->user && s->count && s->gone && s->map && s->stack && s->found && s->terms && s->group && s->params;
  if (!all) return false;
  memset(s->uses, 0, nvalues * sizeof *s->uses);
  memset(s->count, 0, ninstrs * sizeof *s->count);
  memset(s->gone, 0, ninstrs);
  return true;
}

static grad_status run_pass(sums *s) {
  const grad_program *p = s->from;
  const int32_t *wheres = grad__wheres_map(s->to, p, &s->temp);
  if (!wheres || !reserve(s)) return p->ctx->status;
  find_links(s);
  for (int32_t i = p->ninstrs - 1; i >= 0; i--) {
    if (!is_top(s, i)) continue;
    if (is_worth_while(s->count[i])) {
      absorb(s, i);
    } else {
      s->count[i] = (tally){0};
    }
  }
  for (int32_t k = 0; k < p->ninputs; k++) {
    const grad_type *t = grad__type(p, p->inputs[k]);
    s->map[p->inputs[k]] = grad__program_input(s->to, t->dtype, t->ndim, t->shape);
  }
  s->to->nscalars = p->nscalars;
  for (int32_t i = 0; i < p->ninstrs && s->to->status == GRAD_OK; i++) {
    const grad_instr *ins = &p->instrs[i];
    s->to->where = wheres[ins->where];
    if (s->gone[i]) continue;
    if (is_top(s, i)) {
      s->map[ins->out] = emit_sum(s, i);
    } else {
      grad__inline_instr(s->to, p, ins, s->map, 0);
    }
  }
  for (int32_t k = 0; k < p->noutputs; k++) grad__program_output(s->to, s->map[p->outputs[k]]);
  return s->to->status;
}

static bool has_terms(const grad_program *p) {
  tally t = {0};
  for (int32_t i = 0; i < p->ninstrs; i++) {
    t.pieces += p->instrs[i].op == &grad__op_unslice;
    t.products += p->instrs[i].op == &grad__op_matmul;
  }
  return is_worth_while(t);
}

grad_status grad__simplify_sums(grad_program *p, grad_program **out) {
  if (!has_terms(p)) {
    grad__program_retain(p);
    *out = p;
    return GRAD_OK;
  }
  sums s = {.from = p};
  grad_status status = grad__program_new(p->ctx, &s.to);
  if (status != GRAD_OK) return status;
  grad__arena_init(&s.temp, p->ctx);
  status = run_pass(&s);
  grad__arena_clear(&s.temp);
  if (status == GRAD_OK) return grad__program_finish(s.to, out);
  grad__program_release(s.to);
  return status;
}

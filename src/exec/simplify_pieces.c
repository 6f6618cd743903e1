/* simplify_pieces.c: sums of pieces put into zeros. A chain of additions in which unslice takes part, however it is
 * nested, becomes one place_sum of all its pieces, when nothing else needs the sums in between. Other terms are added
 * up first. The order of additions changes, and so may their rounding.
 */
#include <string.h>

#include "exec/planner.h"
#include "exec/simplify.h"

enum { FEWEST = 2 }; /* pieces that make it worth while */

typedef struct pieces {
  grad_program *to;
  const grad_program *from;
  grad_arena temp;
  int32_t *uses;  /* by value */
  int32_t *user;  /* by value: the instruction that reads it last */
  int32_t *count; /* by instruction: pieces in the sum that it ends; 0: not such an addition, or not worth while */
  bool *gone;     /* by instruction: part of a sum that stands elsewhere */
  grad_id *map, *stack, *found, *terms;
  int64_t *params;
} pieces;

static bool is_float_add(const grad_program *p, const grad_instr *ins) {
  return ins->op == &grad__op_add && grad__dtype_is_float((grad_dtype)grad__type(p, ins->out)->dtype);
}

/* The instruction that makes v, when v serves one purpose only. */
static int32_t sole_maker(const pieces *s, grad_id v) { return s->uses[v] == 1 ? s->from->producers[v] : -1; }

static int32_t pieces_in(const pieces *s, grad_id v) {
  int32_t maker = sole_maker(s, v);
  if (maker < 0) return 0;
  return s->from->instrs[maker].op == &grad__op_unslice ? 1 : s->count[maker];
}

static void find_links(pieces *s) {
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
    s->count[i] = is_float_add(p, ins) ? pieces_in(s, ins->in[0]) + pieces_in(s, ins->in[1]) : 0;
  }
}

static bool is_top(const pieces *s, int32_t i) {
  const grad_id out = s->from->instrs[i].out;
  return s->count[i] > 0 && !(s->uses[out] == 1 && s->count[s->user[out]] > 0);
}

/* Takes the sum apart: unslice instructions into found, other terms into terms, in order. */
static void take_apart(pieces *s, int32_t top, int32_t *nfound, int32_t *nterms) {
  int32_t depth = 0;
  *nfound = *nterms = 0;
  s->stack[depth++] = s->from->instrs[top].out;
  while (depth > 0) {
    const grad_id v = s->stack[--depth];
    const int32_t maker = depth == 0 && v == s->from->instrs[top].out ? top : sole_maker(s, v);
    if (maker >= 0 && s->count[maker] > 0) {
      s->stack[depth++] = s->from->instrs[maker].in[1];
      s->stack[depth++] = s->from->instrs[maker].in[0];
    } else if (maker >= 0 && s->from->instrs[maker].op == &grad__op_unslice) {
      s->found[(*nfound)++] = maker;
    } else {
      s->terms[(*nterms)++] = v;
    }
  }
}

/* Marks what the sum at `top` has absorbed. The walk is that of take_apart. */
static void absorb(pieces *s, int32_t top) {
  int32_t depth = 0, nfound, nterms;
  take_apart(s, top, &nfound, &nterms);
  for (int32_t k = 0; k < nfound; k++) s->gone[s->found[k]] = true;
  s->stack[depth++] = top;
  while (depth > 0) {
    const grad_instr *ins = &s->from->instrs[s->stack[--depth]];
    for (int k = 0; k < 2; k++) {
      const int32_t maker = sole_maker(s, ins->in[k]);
      if (maker < 0 || s->count[maker] == 0) continue;
      s->gone[maker] = true;
      s->stack[depth++] = maker;
    }
  }
}

static grad_id emit_sum(pieces *s, int32_t top, int32_t nfound, int32_t nterms) {
  const int n = grad__type(s->from, s->from->instrs[top].out)->ndim;
  grad_id *in = s->stack;
  int32_t nin = 0, nparams = 2;
  for (int32_t k = 0; k < nterms; k++) {
    in[0] = k == 0 ? s->map[s->terms[0]] : grad__add(s->to, in[0], s->map[s->terms[k]]);
    nin = 1;
  }
  s->params[0] = nin;
  s->params[1] = n;
  for (int32_t k = 0; k < nfound; k++) {
    const grad_instr *piece = &s->from->instrs[s->found[k]];
    if (k == 0) memcpy(&s->params[nparams], piece->params, (size_t)n * sizeof *s->params);
    if (k == 0) nparams += n;
    memcpy(&s->params[nparams], piece->params + n, 2 * (size_t)n * sizeof *s->params);
    nparams += 2 * n;
    in[nin++] = s->map[piece->in[0]];
  }
  return grad__emit(s->to, &grad__op_place_sum, nin, in, nparams, s->params);
}

static bool reserve(pieces *s) {
  const size_t ninstrs = (size_t)s->from->ninstrs + 1, nvalues = (size_t)s->from->nvalues + 1;
  s->uses = grad__arena_alloc(&s->temp, nvalues * sizeof *s->uses);
  s->user = grad__arena_alloc(&s->temp, nvalues * sizeof *s->user);
  s->count = grad__arena_alloc(&s->temp, ninstrs * sizeof *s->count);
  s->gone = grad__arena_alloc(&s->temp, ninstrs);
  s->map = grad__ids_new(&s->temp, s->from->nvalues);
  s->stack = grad__ids_new(&s->temp, 2 * s->from->ninstrs + 2);
  s->found = grad__ids_new(&s->temp, s->from->ninstrs);
  s->terms = grad__ids_new(&s->temp, 2 * s->from->ninstrs);
  s->params = grad__arena_alloc(&s->temp, (2 * GRAD_MAX_AXES * ninstrs + 2 + GRAD_MAX_AXES) * sizeof *s->params);
  bool all = s->uses && s->user && s->count && s->gone && s->map && s->stack && s->found && s->terms && s->params;
  if (!all) return false;
  memset(s->uses, 0, nvalues * sizeof *s->uses);
  memset(s->gone, 0, ninstrs);
  return true;
}

static grad_status run_pass(pieces *s) {
  const grad_program *p = s->from;
  const int32_t *wheres = grad__wheres_map(s->to, p, &s->temp);
  if (!wheres || !reserve(s)) return p->ctx->status;
  find_links(s);
  for (int32_t i = p->ninstrs - 1; i >= 0; i--) {
    if (!is_top(s, i)) continue;
    if (s->count[i] >= FEWEST)
      absorb(s, i);
    else
      s->count[i] = 0;
  }
  for (int32_t k = 0; k < p->ninputs; k++) {
    const grad_type *t = grad__type(p, p->inputs[k]);
    s->map[p->inputs[k]] = grad__program_input(s->to, (grad_dtype)t->dtype, t->ndim, t->shape);
  }
  s->to->nscalars = p->nscalars;
  for (int32_t i = 0; i < p->ninstrs && s->to->status == GRAD_OK; i++) {
    const grad_instr *ins = &p->instrs[i];
    int32_t nfound, nterms;
    s->to->where = wheres[ins->where];
    if (s->gone[i]) continue;
    if (is_top(s, i)) {
      take_apart(s, i, &nfound, &nterms);
      s->map[ins->out] = emit_sum(s, i, nfound, nterms);
    } else {
      grad__inline_instr(s->to, p, ins, s->map, 0);
    }
  }
  for (int32_t k = 0; k < p->noutputs; k++) grad__program_output(s->to, s->map[p->outputs[k]]);
  return s->to->status;
}

static bool has_pieces(const grad_program *p) {
  int32_t n = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) n += p->instrs[i].op == &grad__op_unslice;
  return n >= FEWEST;
}

grad_status grad__simplify_pieces(grad_program *p, grad_program **out) {
  if (!has_pieces(p)) {
    grad__program_retain(p);
    *out = p;
    return GRAD_OK;
  }
  pieces s = {.from = p};
  grad_status status = grad__program_new(p->ctx, &s.to);
  if (status != GRAD_OK) return status;
  grad__arena_init(&s.temp, p->ctx);
  status = run_pass(&s);
  grad__arena_clear(&s.temp);
  if (status == GRAD_OK) return grad__program_finish(s.to, out);
  grad__program_release(s.to);
  return status;
}

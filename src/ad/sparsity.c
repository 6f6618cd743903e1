/* sparsity.c: which input elements each element of a value depends on, instruction by instruction. */
#include "ad/sparsity.h"

#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

enum { MOST_ENTRIES = 1 << 28 };

/* The sets of all elements of a value; no pointer to one means that all are empty. */
typedef struct index_sets {
  bool same;      /* every element has the one set of row 0 */
  int64_t *start; /* by element, and one more */
  int32_t *index; /* ascending in each row */
} index_sets;

/* The pass, and the sets being built: rows are added to one at a time. */
typedef struct pass {
  const grad_program *p;
  grad_ctx *ctx;
  grad_arena arena;
  grad_value_fn value;
  void *ud;
  const index_sets **sets; /* by value */
  int64_t *stamp;          /* by column: the last row that took it */
  int64_t stamped;
  int64_t *start; /* of the sets being built */
  int64_t rows;
  int32_t *index; /* growing */
  int64_t size, cap, row_start;
} pass;

/* --- building rows */

static bool build_start(pass *s, int64_t rows) {
  s->start = grad__arena_alloc(&s->arena, ((size_t)rows + 1) * sizeof *s->start);
  s->rows = s->size = s->row_start = 0;
  if (s->start) s->start[0] = 0;
  return s->start != NULL;
}

static grad_status need(pass *s, int64_t more) {
  if (s->size + more <= s->cap) return GRAD_OK;
  if (s->size + more > MOST_ENTRIES) {
    return grad__fail(s->ctx, GRAD_ELIMIT, "sparsity: more than %d dependences: this derivative is not sparse",
                      (int)MOST_ENTRIES);
  }
  int64_t cap = s->cap ? 2 * s->cap : 1024;
  if (cap < s->size + more) cap = s->size + more;
  int32_t *index = grad__realloc(s->ctx, s->index, (size_t)s->cap * sizeof *index, (size_t)cap * sizeof *index);
  if (!index) return s->ctx->status;
  s->index = index;
  s->cap = cap;
  return GRAD_OK;
}

/* Adds a set to the row being built; what is there already is left out. */
static grad_status row_add(pass *s, const index_sets *sets, int64_t element) {
  if (!sets) return GRAD_OK;
  const int64_t row = sets->same ? 0 : element;
  const int64_t from = sets->start[row], to = sets->start[row + 1];
  grad_status status = need(s, to - from);
  if (status) return status;
  if (s->size == s->row_start) s->stamped++;
  for (int64_t i = from; i < to; i++) {
    const int32_t column = sets->index[i];
    if (s->stamp[column] == s->stamped) continue;
    s->stamp[column] = s->stamped;
    s->index[s->size++] = column;
  }
  return GRAD_OK;
}

static int by_column(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

static void row_end(pass *s) {
  int32_t *row = s->index + s->row_start;
  const int64_t n = s->size - s->row_start;
  bool sorted = true;
  for (int64_t i = 1; i < n && sorted; i++) sorted = row[i - 1] < row[i];
  if (!sorted) qsort(row, (size_t)n, sizeof *row, by_column);
  s->start[++s->rows] = s->size;
  s->row_start = s->size;
}

static grad_status build_end(pass *s, bool same, const index_sets **out) {
  *out = NULL;
  if (s->size == 0) return GRAD_OK;
  index_sets *sets = grad__arena_alloc(&s->arena, sizeof *sets);
  int32_t *index = grad__arena_copy(&s->arena, s->index, (size_t)s->size * sizeof *index);
  if (!sets || !index) return s->ctx->status;
  *sets = (index_sets){.same = same, .start = s->start, .index = index};
  *out = sets;
  return GRAD_OK;
}

/* --- one instruction of each class */

static int64_t numel(const pass *s, grad_id v) { return grad__type_numel(&s->p->types[v]); }

/* Every element on every element. */
static grad_status dense(pass *s, const grad_instr *ins, const index_sets **out) {
  if (!build_start(s, 1)) return s->ctx->status;
  for (int32_t k = 0; k < ins->nin; k++) {
    const index_sets *sets = s->sets[ins->in[k]];
    const int64_t n = sets && sets->same ? 1 : numel(s, ins->in[k]);
    for (int64_t i = 0; sets && i < n; i++) {
      grad_status status = row_add(s, sets, i);
      if (status) return status;
    }
  }
  row_end(s);
  return build_end(s, true, out);
}

/* The operands' sets of the same element; shared when only one operand has any. */
static grad_status elementwise(pass *s, const grad_instr *ins, const index_sets **out) {
  const index_sets *only = NULL;
  bool shared = true, same = true;
  for (int32_t k = 0; k < ins->nin; k++) {
    const index_sets *sets = s->sets[ins->in[k]];
    if (!sets) continue;
    shared = shared && (!only || only == sets);
    same = same && sets->same;
    only = sets;
  }
  if (shared) {
    *out = only;
    return GRAD_OK;
  }
  const int64_t n = same ? 1 : numel(s, ins->out);
  if (!build_start(s, n)) return s->ctx->status;
  for (int64_t i = 0; i < n; i++) {
    for (int32_t k = 0; k < ins->nin; k++) {
      grad_status status = row_add(s, s->sets[ins->in[k]], i);
      if (status) return status;
    }
    row_end(s);
  }
  return build_end(s, same, out);
}

/* The element of the output to which each element of the input belongs, when the axes of the mask are reduced. */
static int64_t *reduced_positions(pass *s, const grad_type *in, uint32_t axes) {
  const int64_t n = grad__type_numel(in);
  int64_t *to = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *to);
  int64_t index[GRAD_MAX_AXES] = {0}, stride[GRAD_MAX_AXES], step = 1, at = 0;
  if (!to) return NULL;
  for (int a = in->ndim - 1; a >= 0; a--) {
    stride[a] = axes >> a & 1 ? 0 : step;
    step *= axes >> a & 1 ? 1 : in->shape[a];
  }
  for (int64_t i = 0; i < n; i++) {
    to[i] = at;
    for (int a = in->ndim - 1; a >= 0; a--) {
      at += stride[a];
      if (++index[a] < in->shape[a]) break;
      at -= stride[a] * in->shape[a];
      index[a] = 0;
    }
  }
  return to;
}

/* The sets of n elements sent on to the elements `to` (< 0: nowhere) of a value with m elements. */
static grad_status send(pass *s, const index_sets *sets, int64_t n, const int64_t *to, int64_t m,
                        const index_sets **out) {
  const size_t bounds = ((size_t)m + 1) * sizeof(int64_t);
  int64_t *first = grad__arena_zeros(&s->arena, bounds), *next = grad__arena_alloc(&s->arena, bounds);
  int64_t *order = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *order);
  if (!first || !next || !order || !build_start(s, m)) return s->ctx->status;
  for (int64_t i = 0; i < n; i++) {
    if (to[i] >= 0) first[to[i] + 1]++;
  }
  for (int64_t r = 0; r < m; r++) first[r + 1] += first[r];
  memcpy(next, first, bounds);
  for (int64_t i = 0; i < n; i++) {
    if (to[i] >= 0) order[next[to[i]]++] = i;
  }
  for (int64_t r = 0; r < m; r++) {
    for (int64_t i = first[r]; i < first[r + 1]; i++) {
      grad_status status = row_add(s, sets, order[i]);
      if (status) return status;
    }
    row_end(s);
  }
  return build_end(s, false, out);
}

static grad_status reduce(pass *s, const grad_instr *ins, const index_sets **out) {
  const index_sets *sets = s->sets[ins->in[0]];
  if (sets->same) {
    *out = sets;
    return GRAD_OK;
  }
  const grad_type *in = &s->p->types[ins->in[0]];
  const int64_t *to = reduced_positions(s, in, (uint32_t)ins->params[0]);
  return to ? send(s, sets, grad__type_numel(in), to, numel(s, ins->out), out) : s->ctx->status;
}

/* --- ops that move elements: run on positions, they tell where each element comes from */

/* 1 + base, 2 + base, ...: 0 is left for elements that come from nowhere. */
static grad_status positions_of(pass *s, const grad_type *t, int64_t base, grad_array *out) {
  const int64_t n = grad__type_numel(t);
  int64_t *data = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *data);
  if (!data) return s->ctx->status;
  for (int64_t i = 0; i < n; i++) data[i] = base + i + 1;
  grad__array_wrap(out, data, GRAD_I64, t->ndim, t->shape);
  return GRAD_OK;
}

/* The arguments of an instruction on positions: float inputs are replaced, others have their values. */
static grad_status position_args(pass *s, const grad_instr *ins, grad_array *own, const grad_array **in) {
  int64_t base = 0;
  for (int32_t k = 0; k < ins->nin; k++) {
    const grad_type *t = &s->p->types[ins->in[k]];
    grad_status status = GRAD_OK;
    in[k] = &own[k];
    if (grad__dtype_is_float(t->dtype)) {
      status = positions_of(s, t, base, &own[k]);
      base += grad__type_numel(t);
    } else {
      status = s->value(s->ud, ins->in[k], &in[k]);
    }
    if (status) return status;
  }
  return GRAD_OK;
}

static grad_status run_on_positions(pass *s, const grad_instr *ins, int64_t **codes) {
  grad_array *own = grad__arena_alloc(&s->arena, (size_t)ins->nin * sizeof *own), result, *out = &result;
  const grad_array **in = grad__arena_alloc(&s->arena, (size_t)ins->nin * sizeof *in);
  if (!own || !in) return s->ctx->status;
  grad_status status = position_args(s, ins, own, in);
  if (status) return status;
  const grad_type *t = &s->p->types[ins->out];
  *codes = grad__arena_alloc(&s->arena, ((size_t)grad__type_numel(t) + 1) * sizeof **codes);
  const int64_t scratch = ins->op->scratch ? ins->op->scratch(s->p, ins) : 0;
  char *room = grad__arena_alloc(&s->arena, (size_t)scratch + 64);
  if (!*codes || !room) return s->ctx->status;
  grad__array_wrap(&result, *codes, GRAD_I64, t->ndim, t->shape);
  room += 64 - (uintptr_t)room % 64;
  return ins->op->eval(&(grad_eval){.ctx = s->ctx, .ins = ins, .in = in, .out = &out, .scratch = room});
}

/* The input, and the element in it, that a code stands for. */
static const index_sets *decode(const pass *s, const grad_instr *ins, int64_t code, int64_t *element) {
  for (int32_t k = 0; k < ins->nin; k++) {
    if (!grad__dtype_is_float(s->p->types[ins->in[k]].dtype)) continue;
    const int64_t n = numel(s, ins->in[k]);
    *element = code - 1;
    if (code <= n) return s->sets[ins->in[k]];
    code -= n;
  }
  return NULL;
}

static bool reads_positions(const pass *s, const grad_instr *ins) {
  for (int32_t k = 0; k < ins->nin; k++) {
    if (!grad__dtype_is_float(s->p->types[ins->in[k]].dtype)) return true;
  }
  return false;
}

static grad_status map(pass *s, const grad_instr *ins, const index_sets **out) {
  if (reads_positions(s, ins) && !s->value) return dense(s, ins, out);
  int64_t *codes = NULL;
  grad_status status = run_on_positions(s, ins, &codes);
  if (status) return status;
  const int64_t n = numel(s, ins->out);
  if (!build_start(s, n)) return s->ctx->status;
  for (int64_t i = 0; i < n; i++) {
    int64_t element = 0;
    const index_sets *sets = codes[i] ? decode(s, ins, codes[i], &element) : NULL;
    status = row_add(s, sets, element);
    if (status) return status;
    row_end(s);
  }
  return build_end(s, false, out);
}

/* scatter_add: a gather of the result's positions tells where each element of the source goes. */
static grad_status scatter(pass *s, const grad_instr *ins, const index_sets **out) {
  if (!s->value) return dense(s, ins, out);
  const grad_type *source = &s->p->types[ins->in[0]], *result = &s->p->types[ins->out];
  const int64_t n = grad__type_numel(source);
  grad_array whole, to, *to_out = &to;
  const grad_array *in[2] = {&whole, NULL};
  grad_status status = positions_of(s, result, -1, &whole);
  if (!status) status = s->value(s->ud, ins->in[1], &in[1]);
  if (status) return status;
  int64_t *target = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *target);
  const grad_instr gather = {
      .op = &grad__op_gather, .in = ins->in, .params = ins->params, .nin = 2, .nparams = 2, .nout = 1};
  const int64_t scratch = gather.op->scratch(s->p, &gather);
  char *room = grad__arena_alloc(&s->arena, (size_t)scratch + 64);
  if (!target || !room) return s->ctx->status;
  grad__array_wrap(&to, target, GRAD_I64, source->ndim, source->shape);
  room += 64 - (uintptr_t)room % 64;
  status = gather.op->eval(&(grad_eval){.ctx = s->ctx, .ins = &gather, .in = in, .out = &to_out, .scratch = room});
  return status ? status : send(s, s->sets[ins->in[0]], n, target, grad__type_numel(result), out);
}

/* --- ops that say themselves what each element depends on */

typedef struct asking {
  grad_sparsity a; /* first: the op hands it back */
  pass *s;
} asking;

static grad_status add_dependence(grad_sparsity *a, int32_t input, int64_t element) {
  pass *s = ((asking *)a)->s;
  return row_add(s, s->sets[a->ins->in[input]], element);
}

static grad_status ask(pass *s, const grad_instr *ins, const index_sets **out) {
  const int64_t n = numel(s, ins->out);
  if (!build_start(s, n)) return s->ctx->status;
  asking q = {.a = {.p = s->p, .ins = ins, .add = add_dependence}, .s = s};
  for (int64_t i = 0; i < n; i++) {
    q.a.element = i;
    grad_status status = ins->op->dependence(&q.a);
    if (status) return status;
    row_end(s);
  }
  return build_end(s, false, out);
}

/* --- the pass */

static bool has_sets(const pass *s, const grad_instr *ins) {
  for (int32_t k = 0; k < ins->nin; k++) {
    if (s->sets[ins->in[k]]) return true;
  }
  return false;
}

static grad_status sets_of(pass *s, const grad_instr *ins, const index_sets **out) {
  if (ins->op == &grad__op_scatter_add) return scatter(s, ins, out);
  switch ((grad_sparsity_class)ins->op->sparsity) {
  case GRAD_SPARSITY_NONE:
    *out = NULL;
    return GRAD_OK;
  case GRAD_SPARSITY_ELEMENTWISE:
    return elementwise(s, ins, out);
  case GRAD_SPARSITY_MAP:
    return map(s, ins, out);
  case GRAD_SPARSITY_REDUCE:
    return reduce(s, ins, out);
  case GRAD_SPARSITY_CUSTOM:
    return ask(s, ins, out);
  default:
    return dense(s, ins, out);
  }
}

static grad_status run_instr(pass *s, const grad_instr *ins) {
  if (ins->op->flags & GRAD_OP_NONDIFF || !has_sets(s, ins)) return GRAD_OK;
  const index_sets *out = NULL;
  grad_status status = sets_of(s, ins, &out);
  for (int32_t k = 0; k < ins->nout && !status; k++) {
    const bool is_float = grad__dtype_is_float(s->p->types[ins->out + k].dtype);
    s->sets[ins->out + k] = is_float ? out : NULL;
  }
  return status;
}

/* Each element of the input depends on itself. */
static grad_status begin(pass *s, int32_t input) {
  const grad_id v = s->p->inputs[input];
  const int64_t n = numel(s, v);
  if (n > MOST_ENTRIES) return grad__fail(s->ctx, GRAD_ELIMIT, "sparsity: an argument of %lld elements", (long long)n);
  s->sets = grad__arena_zeros(&s->arena, ((size_t)s->p->nvalues + 1) * sizeof *s->sets);
  s->stamp = grad__arena_zeros(&s->arena, ((size_t)n + 1) * sizeof *s->stamp);
  index_sets *own = grad__arena_alloc(&s->arena, sizeof *own);
  int64_t *start = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *start);
  int32_t *index = grad__arena_alloc(&s->arena, ((size_t)n + 1) * sizeof *index);
  if (!s->sets || !s->stamp || !own || !start || !index) return s->ctx->status;
  for (int64_t i = 0; i <= n; i++) start[i] = i;
  for (int64_t i = 0; i < n; i++) index[i] = (int32_t)i;
  *own = (index_sets){.start = start, .index = index};
  s->sets[v] = own;
  return GRAD_OK;
}

static grad_status finish(pass *s, const index_sets *sets, int64_t rows, int64_t cols, grad_pattern *out) {
  const int64_t each = sets && sets->same ? sets->start[1] : 0;
  const int64_t nnz = !sets ? 0 : sets->same ? rows * each : sets->start[rows];
  if (nnz > MOST_ENTRIES) {
    return grad__fail(s->ctx, GRAD_ELIMIT, "sparsity: %lld x %lld with %lld entries: this derivative is not sparse",
                      (long long)rows, (long long)cols, (long long)nnz);
  }
  grad_status status = grad__pattern_new(s->ctx, rows, cols, nnz, out);
  if (status) return status;
  out->indptr[0] = 0;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t row = sets && sets->same ? 0 : r, n = sets ? sets->start[row + 1] - sets->start[row] : 0;
    if (n) memcpy(out->col + out->indptr[r], sets->index + sets->start[row], (size_t)n * sizeof *out->col);
    out->indptr[r + 1] = out->indptr[r] + n;
  }
  return GRAD_OK;
}

grad_status grad__ad_sparsity(const grad_program *p, int32_t input, int32_t output, grad_value_fn value, void *ud,
                              grad_pattern *out) {
  if (p->status) return p->status;
  pass s = {.p = p, .ctx = p->ctx, .value = value, .ud = ud};
  grad__arena_init(&s.arena, p->ctx);
  grad_status status = begin(&s, input);
  for (int32_t i = 0; i < p->ninstrs && !status; i++) {
    status = run_instr(&s, &p->instrs[i]);
    if (!status) status = grad__interrupted(p->ctx);
  }
  const grad_id v = p->outputs[output];
  if (!status) status = finish(&s, s.sets[v], numel(&s, v), numel(&s, p->inputs[input]), out);
  grad__free(p->ctx, s.index, (size_t)s.cap * sizeof *s.index);
  grad__arena_clear(&s.arena);
  return status;
}

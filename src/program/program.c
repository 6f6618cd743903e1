/* program.c: building a program: growing arrays, sharing of equal instructions, the running hash, sticky failure. */
#include "program/program.h"

#include <stdio.h>
#include <string.h>

#include "program/opdef.h"

static const int64_t no_shape[1]; /* what the shape of every 0-d type points to */

/* --- lifetime */

grad_status grad__program_new(grad_ctx *ctx, grad_program **out) {
  grad_program *p = grad__alloc(ctx, sizeof *p);
  if (!p) return ctx->status;
  *p = (grad_program){.ctx = ctx, .refs = 1};
  grad__arena_init(&p->arena, ctx);
  *out = p;
  return GRAD_OK;
}

void grad__program_retain(grad_program *p) { p->refs++; }

static void free_array(grad_program *p, void *block, int32_t cap, size_t size) {
  grad__free(p->ctx, block, (size_t)cap * size);
}

static void release_nested(grad_program *p) {
  for (int32_t i = 0; i < p->ninstrs; i++) {
    for (int32_t k = 0; k < p->instrs[i].nsubs; k++) grad__program_release(p->instrs[i].subs[k]);
  }
}

bool grad__program_restart(grad_program *p) {
  enum { MOST_VALUES = 64 };
  if (p->refs > 1 || p->values_cap > MOST_VALUES) return false;
  release_nested(p);
  grad__arena_rewind(&p->arena);
  if (p->table_used) memset(p->table, 0, (size_t)p->table_cap * sizeof *p->table);
  p->status = GRAD_OK;
  p->nvalues = p->ninstrs = p->ninputs = p->noutputs = p->nscalars = p->table_used = p->nwheres = p->where = 0;
  p->hash = 0;
  return true;
}

void grad__program_release(grad_program *p) {
  if (!p || --p->refs > 0) return;
  release_nested(p);
  free_array(p, p->types, p->values_cap, sizeof *p->types);
  free_array(p, p->producers, p->producers_cap, sizeof *p->producers);
  free_array(p, p->instrs, p->instrs_cap, sizeof *p->instrs);
  free_array(p, p->inputs, p->inputs_cap, sizeof *p->inputs);
  free_array(p, p->outputs, p->outputs_cap, sizeof *p->outputs);
  free_array(p, p->table, p->table_cap, sizeof *p->table);
  free_array(p, (void *)p->wheres, p->wheres_cap, sizeof *p->wheres);
  grad__arena_clear(&p->arena);
  grad__free(p->ctx, p, sizeof *p);
}

grad_id grad__program_fail(grad_program *p, grad_status status, const char *format, ...) {
  if (p->status) return GRAD_NONE;
  char text[sizeof p->ctx->message];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  p->status = grad__fail(p->ctx, status, "%s", text);
  return GRAD_NONE;
}

/* Takes over a failure that the callee has put into the context. */
static grad_id stick(grad_program *p, grad_status status) {
  if (!p->status) p->status = status;
  return GRAD_NONE;
}

bool grad__program_try(grad_program *p, grad_status status) {
  if (status) stick(p, status);
  return !p->status;
}

/* --- growing arrays */

static int32_t grown_cap(int32_t cap, int32_t need) {
  int64_t cap2 = cap ? 2 * (int64_t)cap : 16;
  while (cap2 < need) cap2 *= 2;
  return cap2 > INT32_MAX / 2 ? 0 : (int32_t)cap2;
}

/* The block with room for `need` entries; NULL, the block untouched and the failure in p, when that cannot be. */
static void *grow(grad_program *p, void *block, int32_t *cap, int32_t need, size_t size) {
  if (need <= *cap) return block;
  int32_t cap2 = grown_cap(*cap, need);
  if (!cap2) {
    grad__program_fail(p, GRAD_ELIMIT, "a program holds at most %d instructions", INT32_MAX / 2);
    return NULL;
  }
  void *bigger = grad__realloc(p->ctx, block, (size_t)*cap * size, (size_t)cap2 * size);
  if (!bigger) {
    stick(p, p->ctx->status);
    return NULL;
  }
  *cap = cap2;
  return bigger;
}

/* Appends an id to a list of them. */
static bool push_id(grad_program *p, grad_id **list, int32_t *n, int32_t *cap, grad_id v) {
  grad_id *grown = grow(p, *list, cap, *n + 1, sizeof **list);
  if (!grown) return false;
  *list = grown;
  grown[(*n)++] = v;
  return true;
}

static bool grow_values(grad_program *p, int32_t need) {
  if (need <= p->values_cap && need <= p->producers_cap) return true;
  grad_type *types = grow(p, p->types, &p->values_cap, need, sizeof *types);
  if (!types) return false;
  p->types = types;
  int32_t *producers = grow(p, p->producers, &p->producers_cap, need, sizeof *producers);
  if (!producers) return false;
  p->producers = producers;
  return true;
}

/* --- types */

int64_t grad__type_numel(const grad_type *t) {
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) {
    if (t->shape[i] == GRAD_DYNAMIC) return -1;
    n *= t->shape[i];
  }
  return n;
}

static inline bool same_shape(int ndim, const int64_t *a, const int64_t *b) {
  if (a == b) return true;
  for (int i = 0; i < ndim; i++) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

bool grad__type_equal(const grad_type *a, const grad_type *b) {
  return a->dtype == b->dtype && a->ndim == b->ndim && same_shape(a->ndim, a->shape, b->shape);
}

grad_words grad__type_text(const grad_type *t) {
  grad_words text;
  size_t at = (size_t)snprintf(text.chars, sizeof text.chars, t->ndim ? "%s" : "%s 0-d", grad__dtype_name(t->dtype));
  for (int i = 0; i < t->ndim; i++) {
    const bool known = t->shape[i] != GRAD_DYNAMIC;
    at += (size_t)snprintf(text.chars + at, sizeof text.chars - at, known ? "%s%lld" : "%s?", i ? " x " : " ",
                           (long long)t->shape[i]);
  }
  return text;
}

/* A pointer to this shape that lives as long as p: that of an input of the instruction where it fits. */
static const int64_t *intern_shape(grad_program *p, int ndim, const int64_t *shape, int nin, const grad_id *in) {
  if (ndim == 0) return no_shape;
  for (int i = 0; i < nin; i++) {
    const grad_type *t = &p->types[in[i]];
    if (t->ndim == ndim && same_shape(ndim, t->shape, shape)) return t->shape;
  }
  if (p->nvalues) { /* neighbours are often alike: literals, tangents */
    const grad_type *t = &p->types[p->nvalues - 1];
    if (t->ndim == ndim && same_shape(ndim, t->shape, shape)) return t->shape;
  }
  return grad__arena_copy(&p->arena, shape, (size_t)ndim * sizeof *shape);
}

/* --- hash */

static uint64_t hash_instr(const grad_instr *ins) {
  uint64_t hash = grad__hash_mix((uint64_t)ins->nin << 32 | (uint32_t)ins->nparams, (uint64_t)(uintptr_t)ins->op);
  for (int32_t i = 0; i < ins->nin; i++) hash = grad__hash_mix(hash, (uint64_t)ins->in[i]);
  for (int32_t i = 0; i < ins->nparams; i++) hash = grad__hash_mix(hash, (uint64_t)ins->params[i]);
  for (int32_t i = 0; i < ins->nsubs; i++) hash = grad__hash_mix(hash, grad__program_hash(ins->subs[i]));
  return hash;
}

uint64_t grad__program_hash(const grad_program *p) {
  uint64_t hash = grad__hash_mix(p->hash, (uint64_t)p->noutputs << 32 | (uint32_t)p->nscalars);
  for (int32_t i = 0; i < p->noutputs; i++) hash = grad__hash_mix(hash, (uint64_t)p->outputs[i]);
  return hash;
}

static bool same_subs(const grad_instr *a, const grad_instr *b) {
  if (a->nsubs != b->nsubs) return false;
  for (int32_t i = 0; i < a->nsubs; i++) {
    if (!grad__program_equal(a->subs[i], b->subs[i])) return false;
  }
  return true;
}

static bool same_instr(const grad_instr *a, const grad_instr *b) {
  if (a->op != b->op || a->nin != b->nin || a->nparams != b->nparams) return false;
  for (int32_t i = 0; i < a->nin; i++) {
    if (a->in[i] != b->in[i]) return false;
  }
  for (int32_t i = 0; i < a->nparams; i++) {
    if (a->params[i] != b->params[i]) return false;
  }
  return same_subs(a, b);
}

bool grad__program_equal(const grad_program *a, const grad_program *b) {
  if (a == b) return true;
  if (a->hash != b->hash || a->nvalues != b->nvalues || a->ninstrs != b->ninstrs || a->ninputs != b->ninputs ||
      a->noutputs != b->noutputs || a->nscalars != b->nscalars) {
    return false;
  }
  for (int32_t i = 0; i < a->ninputs; i++) {
    grad_id v = a->inputs[i];
    if (v != b->inputs[i] || !grad__type_equal(&a->types[v], &b->types[v])) return false;
  }
  for (int32_t i = 0; i < a->noutputs; i++) {
    if (a->outputs[i] != b->outputs[i]) return false;
  }
  for (int32_t i = 0; i < a->ninstrs; i++) {
    if (!same_instr(&a->instrs[i], &b->instrs[i])) return false;
  }
  return true;
}

/* --- the table of equal instructions: each slot holds the upper half of the hash above instruction index + 1 */

static uint64_t table_entry(uint64_t hash, int32_t index) {
  return (hash & ~(uint64_t)UINT32_MAX) | (uint32_t)(index + 1);
}

static bool table_grow(grad_program *p) {
  int32_t cap = grown_cap(p->table_cap ? p->table_cap : 16, 0);
  uint64_t *table = grad__alloc(p->ctx, (size_t)cap * sizeof *table);
  if (!table) {
    stick(p, p->ctx->status);
    return false;
  }
  memset(table, 0, (size_t)cap * sizeof *table);
  uint32_t mask = (uint32_t)cap - 1;
  for (int32_t i = 0; i < p->table_cap; i++) {
    if (!p->table[i]) continue;
    uint32_t at = (uint32_t)(p->table[i] >> 32) & mask;
    while (table[at]) at = (at + 1) & mask;
    table[at] = p->table[i];
  }
  free_array(p, p->table, p->table_cap, sizeof *p->table);
  p->table = table;
  p->table_cap = cap;
  return true;
}

/* The slot of an equal instruction, or the free slot where it belongs. The table is never full. */
static uint64_t *table_find(grad_program *p, const grad_instr *ins, uint64_t hash) {
  uint32_t mask = (uint32_t)p->table_cap - 1;
  uint32_t at = (uint32_t)(hash >> 32) & mask;
  for (; p->table[at]; at = (at + 1) & mask) {
    uint64_t entry = p->table[at];
    if (entry >> 32 != hash >> 32) continue;
    if (same_instr(&p->instrs[(uint32_t)entry - 1], ins)) break;
  }
  return &p->table[at];
}

/* --- inputs, outputs, lines */

static grad_id add_value(grad_program *p, grad_type type, int32_t producer) {
  p->types[p->nvalues] = type;
  p->producers[p->nvalues] = producer;
  return p->nvalues++;
}

grad_id grad__program_input(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape) {
  if (p->status) return GRAD_NONE;
  if (!grow_values(p, p->nvalues + 1)) return GRAD_NONE;
  const int64_t *kept = intern_shape(p, ndim, shape, 0, NULL);
  if (!kept) return stick(p, p->ctx->status);
  if (!push_id(p, &p->inputs, &p->ninputs, &p->inputs_cap, p->nvalues)) return GRAD_NONE;
  p->hash = grad__hash_mix(p->hash, (uint64_t)dtype << 8 | (uint64_t)ndim);
  for (int i = 0; i < ndim; i++) p->hash = grad__hash_mix(p->hash, (uint64_t)shape[i]);
  return add_value(p, (grad_type){kept, dtype, ndim}, -p->ninputs);
}

grad_id grad__program_input_like(grad_program *p, const grad_type *type) {
  return grad__program_input(p, type->dtype, type->ndim, type->shape);
}

void grad__program_output(grad_program *p, grad_id value) {
  if (value == GRAD_NONE) {
    grad__program_fail(p, GRAD_EINTERNAL, "a program's output is missing");
    return;
  }
  if (!p->status) push_id(p, &p->outputs, &p->noutputs, &p->outputs_cap, value);
}

int32_t grad__program_add_where(grad_program *p, const char *where) {
  for (int32_t i = p->nwheres - 1; i >= 0; i--) {
    if (strcmp(p->wheres[i], where) == 0) return i + 1;
  }
  if (p->status) return 0;
  const char *copy = grad__arena_copy(&p->arena, where, strlen(where) + 1);
  if (!copy) stick(p, p->ctx->status);
  const char **wheres = copy ? grow(p, (void *)p->wheres, &p->wheres_cap, p->nwheres + 1, sizeof *wheres) : NULL;
  if (!wheres) return 0;
  p->wheres = wheres;
  wheres[p->nwheres++] = copy;
  return p->nwheres;
}

const char *grad__program_where(const grad_program *p, const grad_instr *ins) {
  return ins->where > 0 && ins->where <= p->nwheres ? p->wheres[ins->where - 1] : "";
}

bool grad__where_is_told(const char *message, const char *where) {
  const size_t length = strlen(where);
  if (length == 0) return true;
  for (const char *at = strstr(message, where); at; at = strstr(at + 1, where))
    if (at[length] < '0' || at[length] > '9') return true;
  return false;
}

/* --- emit */

static bool inputs_valid(grad_program *p, const grad_instr *ins) {
  if (ins->op->nin >= 0 && ins->nin != ins->op->nin) {
    grad__program_fail(p, GRAD_EINTERNAL, "%s takes %d inputs, was given %d", ins->op->name, ins->op->nin, ins->nin);
    return false;
  }
  for (int32_t i = 0; i < ins->nin; i++) {
    if (ins->in[i] == GRAD_NONE) return false;
    if ((uint32_t)ins->in[i] >= (uint32_t)p->nvalues) {
      grad__program_fail(p, GRAD_EINTERNAL, "%s: input %d is no value of this program", ins->op->name, i + 1);
      return false;
    }
  }
  return true;
}

grad_status grad__instr_infer(const grad_program *p, const grad_instr *ins, grad_arena *arena, grad_infer_out *out,
                              int *nout) {
  enum { FEW = 8 };
  grad_type few[FEW], *types = few;
  if (ins->nin > FEW) types = grad__arena_alloc(arena, (size_t)ins->nin * sizeof *types);
  if (!types) return p->ctx->status;
  for (int32_t i = 0; i < ins->nin; i++) types[i] = p->types[ins->in[i]];
  grad_infer a = {.ctx = p->ctx,
                  .op = ins->op,
                  .in = types,
                  .nin = ins->nin,
                  .nparams = ins->nparams,
                  .nsubs = ins->nsubs,
                  .params = ins->params,
                  .subs = ins->subs,
                  .nout = ins->op->nout,
                  .out = out};
  grad_status status = ins->op->infer(&a);
  *nout = a.nout;
  return status;
}

/* Copies what ins points to into the arena, so that it belongs to p. */
static bool own_operands(grad_program *p, grad_instr *ins) {
  size_t params = (size_t)ins->nparams * sizeof *ins->params, subs = (size_t)ins->nsubs * sizeof *ins->subs;
  size_t in = (size_t)ins->nin * sizeof *ins->in;
  if (params + subs + in == 0) return true;
  char *block = grad__arena_alloc(&p->arena, params + subs + in);
  if (!block) return false;
  if (params) ins->params = memcpy(block, ins->params, params);
  if (subs) ins->subs = memcpy(block + params, (const void *)ins->subs, subs);
  grad_id *ids = (grad_id *)(void *)(block + params + subs);
  for (int32_t i = 0; i < ins->nin; i++) ids[i] = ins->in[i];
  ins->in = ids;
  return true;
}

/* Appends ins, whose output types are in `types` (shapes anywhere). All or nothing, but for arena space. */
static grad_id append(grad_program *p, grad_instr *ins, const grad_type *types) {
  if (!grow_values(p, p->nvalues + ins->nout)) return GRAD_NONE;
  grad_instr *instrs = grow(p, p->instrs, &p->instrs_cap, p->ninstrs + 1, sizeof *instrs);
  if (!instrs) return GRAD_NONE;
  p->instrs = instrs;
  if (!own_operands(p, ins)) return stick(p, p->ctx->status);
  ins->out = p->nvalues;
  ins->where = p->where;
  for (int32_t k = 0; k < ins->nout; k++) {
    const int64_t *shape = intern_shape(p, types[k].ndim, types[k].shape, ins->nin, ins->in);
    if (!shape) {
      p->nvalues = ins->out;
      return stick(p, p->ctx->status);
    }
    add_value(p, (grad_type){shape, types[k].dtype, types[k].ndim}, p->ninstrs);
  }
  for (int32_t k = 0; k < ins->nsubs; k++) grad__program_retain(ins->subs[k]);
  if (ins->op->flags & GRAD_OP_SCALAR && ins->params[0] >= p->nscalars) p->nscalars = (int32_t)ins->params[0] + 1;
  p->instrs[p->ninstrs++] = *ins;
  return ins->out;
}

static grad_id infer_and_append(grad_program *p, grad_instr *ins) {
  grad_infer_out out[GRAD_MAX_OUT];
  int nout = 0;
  grad_status status = grad__instr_infer(p, ins, &p->arena, out, &nout);
  if (status) return stick(p, status);
  if (nout < 0 || nout > GRAD_MAX_OUT)
    return grad__program_fail(p, GRAD_EINTERNAL, "%s: %d outputs", ins->op->name, nout);
  grad_type types[GRAD_MAX_OUT];
  for (int k = 0; k < nout; k++) types[k] = (grad_type){out[k].shape, out[k].dtype, out[k].ndim};
  ins->nout = nout;
  return append(p, ins, types);
}

/* The type of the output when it follows from the operands being of one float type: nearly always. */
static const grad_type *uniform_type(const grad_program *p, const grad_instr *ins) {
  if (!(ins->op->flags & GRAD_OP_UNIFORM)) return NULL;
  const grad_type *t = &p->types[ins->in[0]];
  bool same = grad__dtype_is_float(t->dtype);
  for (int32_t i = 1; same && i < ins->nin; i++) same = grad__type_equal(t, &p->types[ins->in[i]]);
  return same ? t : NULL;
}

/* `types`: the outputs' types (ins->nout of them) where they are known, else NULL to infer them. */
static grad_id emit(grad_program *p, grad_instr *ins, const grad_type *types) {
  if (p->status || !inputs_valid(p, ins)) return GRAD_NONE;
  if (3 * (int64_t)p->table_used >= 2 * (int64_t)p->table_cap && !table_grow(p)) return GRAD_NONE;
  uint64_t hash = hash_instr(ins);
  /* a scalar has a number of its own, so none is equal to another; a trace of numbers has one an instruction */
  const bool shared = !(ins->op->flags & (GRAD_OP_EFFECT | GRAD_OP_SCALAR));
  uint64_t *slot = shared ? table_find(p, ins, hash) : NULL;
  if (slot && *slot) return p->instrs[(uint32_t)*slot - 1].out;
  grad_type type;
  if (!types && (types = uniform_type(p, ins))) {
    type = *types; /* p's types may move */
    types = &type;
    ins->nout = 1;
  }
  const grad_id v = types ? append(p, ins, types) : infer_and_append(p, ins);
  if (v == GRAD_NONE) return v;
  p->hash = grad__hash_mix(p->hash, hash);
  if (slot) {
    *slot = table_entry(hash, p->ninstrs - 1);
    p->table_used++;
  }
  return v;
}

grad_id grad__emit_nested(grad_program *p, const grad_op *op, int nin, const grad_id *in, int nparams,
                          const int64_t *params, int nsubs, grad_program *const *subs) {
  grad_instr ins = {.op = op, .in = in, .params = params, .subs = subs, .nin = nin, .nparams = nparams, .nsubs = nsubs};
  return emit(p, &ins, NULL);
}

grad_id grad__emit(grad_program *p, const grad_op *op, int nin, const grad_id *in, int nparams, const int64_t *params) {
  return grad__emit_nested(p, op, nin, in, nparams, params, 0, NULL);
}

grad_id grad__emit_like(grad_program *p, const grad_program *from, const grad_instr *ins, const grad_id *in) {
  grad_instr copy = *ins;
  copy.in = in;
  /* p's own types may move while the instruction is added: they are inferred again */
  bool same = p != from && !p->status && inputs_valid(p, &copy);
  for (int32_t i = 0; same && i < ins->nin; i++) same = grad__type_equal(&p->types[in[i]], &from->types[ins->in[i]]);
  return emit(p, &copy, same ? &from->types[ins->out] : NULL);
}

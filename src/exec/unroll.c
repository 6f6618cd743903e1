/* unroll.c: see unroll.h. Instructions that move elements are run once, on numbers that tell where each element comes
 * from. Elementwise instructions become codes an element, or one call of a kernel where there is no code and the
 * operands lie in a row. What is left runs by its eval slot on slots in a row, to which elements are copied if need be.
 */
#include "exec/unroll.h"

#include <string.h>

#include "exec/planner.h"

enum { MOST_SLOTS = 4096 }; /* they stay in the cache */

typedef struct unroller {
  grad_ctx *ctx;
  const grad_program *p;
  grad_unrolled *u;
  grad_arena temp;
  int32_t **at;      /* by value: the slot of each element */
  double *constants; /* by slot */
  bool *is_constant; /* by slot */
  bool fits;         /* so far */
} unroller;

static int32_t numel(const unroller *r, grad_id v) { return (int32_t)grad__type_numel(&r->p->types[v]); }
static grad_dtype dtype_of(const unroller *r, grad_id v) { return r->p->types[v].dtype; }
static size_t size_of(const unroller *r, grad_id v) { return grad__dtype_size(dtype_of(r, v)); }

/* --- slots */

/* n slots in a row, the first of which is returned. */
static int32_t take_slots(unroller *r, int32_t n) {
  const int32_t first = r->u->nslots;
  if (first + n > MOST_SLOTS) {
    r->fits = false;
    return 0;
  }
  r->u->nslots += n;
  return first;
}

static void place_in_row(unroller *r, grad_id v) {
  const int32_t first = take_slots(r, numel(r, v));
  for (int32_t i = 0; i < numel(r, v); i++) r->at[v][i] = first + i;
}

static int32_t constant_slot(unroller *r, const void *value, size_t size) {
  const int32_t slot = take_slots(r, 1);
  r->is_constant[slot] = true;
  memcpy(&r->constants[slot], value, size);
  return slot;
}

static bool in_row(const int32_t *at, int32_t n) {
  for (int32_t i = 1; i < n; i++) {
    if (at[i] != at[0] + i) return false;
  }
  return true;
}

/* --- code */

static grad_number_op *add_op(unroller *r, uint16_t code, int32_t n, int32_t out, int32_t in) {
  grad_number_op *op = &r->u->code.ops[r->u->code.nops++];
  *op = (grad_number_op){.code = code, .n = (uint16_t)n, .out = out, .in = {in, in, in}};
  return op;
}

/* The first of slots in a row with these elements; copies them if need be. */
static int32_t gather(unroller *r, const int32_t *at, int32_t n) {
  if (n == 0 || in_row(at, n)) return n ? at[0] : 0;
  const int32_t to = take_slots(r, n);
  for (int32_t i = 0; i < n && r->fits; i++) add_op(r, GRAD_NUMBER_COPY, 1, to + i, at[i]);
  return to;
}

/* The elements of v as an array has them: without gaps. */
static int32_t packed(unroller *r, grad_id v) {
  const int32_t n = numel(r, v), row = gather(r, r->at[v], n);
  if (n <= 1 || size_of(r, v) == sizeof(double)) return row;
  const int32_t to = take_slots(r, n);
  if (r->fits) add_op(r, GRAD_NUMBER_PACK, n, to, row)->in[1] = (int32_t)size_of(r, v);
  return to;
}

/* v lies at this slot as an array does. */
static void unpack(unroller *r, grad_id v, int32_t first) {
  const int32_t n = numel(r, v);
  if (n > 1 && size_of(r, v) != sizeof(double)) {
    const int32_t from = first;
    first = take_slots(r, n);
    if (r->fits) add_op(r, GRAD_NUMBER_UNPACK, n, first, from)->in[1] = (int32_t)size_of(r, v);
  }
  for (int32_t i = 0; i < n; i++) r->at[v][i] = first + i;
}

/* --- instructions */

/* Runs an instruction on these headers now; the result goes to data. */
static grad_status run_now(unroller *r, const grad_instr *ins, const grad_array *const *in, grad_dtype dtype,
                           void *data) {
  const grad_type *t = grad__type(r->p, ins->out);
  grad_array result, *out = &result;
  grad__array_wrap(&result, data, dtype, t->ndim, t->shape);
  return grad__direct_instr(r->ctx, ins, in, NULL, &out);
}

static grad_status unroll_constant(unroller *r, const grad_instr *ins) {
  const int32_t n = numel(r, ins->out);
  const grad_dtype dtype = dtype_of(r, ins->out);
  double *data = grad__arena_alloc(&r->temp, ((size_t)n + 1) * sizeof *data);
  if (!data) return r->ctx->status;
  const grad_status status = run_now(r, ins, NULL, dtype, data);
  const size_t size = size_of(r, ins->out);
  for (int32_t i = 0; i < n && r->fits && !status; i++)
    r->at[ins->out][i] = constant_slot(r, (const char *)data + (size_t)i * size, size);
  return status;
}

/* Elements that come from operands carry their number plus a start; others, which fill gaps, do not change with it. */
static grad_status trace_elements(unroller *r, const grad_instr *ins, double start, double *codes) {
  grad_array *own = grad__arena_alloc(&r->temp, (size_t)ins->nin * sizeof *own);
  const grad_array **in = grad__arena_alloc(&r->temp, (size_t)ins->nin * sizeof *in);
  if (!own || !in) return r->ctx->status;
  for (int32_t k = 0; k < ins->nin; k++) {
    const grad_type *t = grad__type(r->p, ins->in[k]);
    const int32_t n = numel(r, ins->in[k]);
    double *data = grad__arena_alloc(&r->temp, ((size_t)n + 1) * sizeof *data);
    if (!data) return r->ctx->status;
    for (int32_t i = 0; i < n; i++) data[i] = start++;
    grad__array_wrap(&own[k], data, GRAD_F64, t->ndim, t->shape);
    in[k] = &own[k];
  }
  return run_now(r, ins, in, GRAD_F64, codes);
}

static grad_status unroll_moves(unroller *r, const grad_instr *ins) {
  const double shift = 1 << 20; /* more than there are elements */
  const int32_t n = numel(r, ins->out);
  double *codes = grad__arena_alloc(&r->temp, (2 * (size_t)n + 1) * sizeof *codes);
  if (!codes) return r->ctx->status;
  grad_status status = trace_elements(r, ins, 0, codes);
  if (!status) status = trace_elements(r, ins, shift, codes + n);
  for (int32_t i = 0; i < n && r->fits && !status; i++) {
    if (codes[n + i] != codes[i] + shift) {
      double fill = 0;
      grad__array_copier(dtype_of(r, ins->out), GRAD_F64)(1, &fill, 1, &codes[i], 1);
      r->at[ins->out][i] = constant_slot(r, &fill, sizeof fill);
      continue;
    }
    int32_t element = (int32_t)codes[i], k = 0;
    for (; element >= numel(r, ins->in[k]); k++) element -= numel(r, ins->in[k]);
    r->at[ins->out][i] = r->at[ins->in[k]][element];
  }
  return status;
}

static void unroll_call(unroller *r, const grad_instr *ins, grad_kernel kernel) {
  const int32_t n = numel(r, ins->out);
  int32_t in[3] = {0};
  if (n == 0) return;
  for (int32_t k = 0; k < ins->nin; k++) in[k] = packed(r, ins->in[k]);
  const int32_t out = take_slots(r, n);
  if (!r->fits) return;
  r->u->code.calls[r->u->code.ncalls++] = kernel;
  grad_number_op *op = add_op(r, GRAD_NUMBER_CALL, n, out, in[0]);
  for (int32_t k = 0; k < ins->nin; k++) op->in[k] = in[k];
  unpack(r, ins->out, out);
}

static void unroll_elementwise(unroller *r, const grad_instr *ins, uint16_t code) {
  place_in_row(r, ins->out);
  for (int32_t i = 0; i < numel(r, ins->out) && r->fits; i++) {
    grad_number_op *op = add_op(r, code, 1, r->at[ins->out][i], r->at[ins->in[0]][i]);
    for (int32_t k = 0; k < ins->nin; k++) op->in[k] = r->at[ins->in[k]][i];
  }
}

static void unroll_convert(unroller *r, const grad_instr *ins) {
  place_in_row(r, ins->out);
  for (int32_t i = 0; i < numel(r, ins->out) && r->fits; i++) {
    grad_number_code *code = &r->u->code;
    code->copiers[code->ncopiers++] = grad__array_copier(dtype_of(r, ins->out), dtype_of(r, ins->in[0]));
    add_op(r, GRAD_NUMBER_CONVERT, 1, r->at[ins->out][i], r->at[ins->in[0]][i]);
  }
}

/* Of all elements to one. */
static void unroll_reduction(unroller *r, const grad_instr *ins, grad_reduction kind) {
  const grad_dtype dtype = dtype_of(r, ins->in[0]);
  const int32_t row = packed(r, ins->in[0]);
  place_in_row(r, ins->out);
  if (!r->fits) return;
  r->u->code.reductions[r->u->code.nreductions++] =
      (grad_number_reduction){grad__reducer(r->ctx->simd, kind, dtype).reduce, kind, dtype};
  add_op(r, GRAD_NUMBER_REDUCE, numel(r, ins->in[0]), r->at[ins->out][0], row);
}

static grad_status unroll_eval(unroller *r, const grad_instr *ins) {
  grad_number_eval *eval = &r->u->code.evals[r->u->code.nevals++];
  const int32_t nargs = ins->nin + ins->nout;
  *eval = (grad_number_eval){.p = r->p,
                             .args = grad__arena_alloc(&r->u->arena, (size_t)nargs * sizeof *eval->args),
                             .pointers = grad__arena_alloc(&r->u->arena, (size_t)nargs * sizeof *eval->pointers),
                             .slots = grad__arena_alloc(&r->u->arena, (size_t)nargs * sizeof *eval->slots)};
  if (!eval->args || !eval->pointers || !eval->slots) return r->ctx->status;
  const int64_t scratch = ins->op->scratch ? ins->op->scratch(r->p, ins) : 0;
  if (scratch > r->u->scratch_bytes) r->u->scratch_bytes = scratch;
  for (int32_t k = 0; k < nargs; k++) {
    const grad_id v = k < ins->nin ? ins->in[k] : ins->out + k - ins->nin;
    const grad_type *t = grad__type(r->p, v);
    eval->slots[k] = k < ins->nin ? packed(r, v) : take_slots(r, numel(r, v));
    grad__array_wrap(&eval->args[k], NULL, t->dtype, t->ndim, t->shape);
    eval->pointers[k] = &eval->args[k];
  }
  eval->e = (grad_eval){
      .ctx = r->ctx, .ins = ins, .in = (const grad_array *const *)eval->pointers, .out = eval->pointers + ins->nin};
  if (r->fits) add_op(r, GRAD_NUMBER_EVAL, 1, 0, 0);
  for (int32_t k = ins->nin; k < nargs && r->fits; k++) unpack(r, ins->out + k - ins->nin, eval->slots[k]);
  return GRAD_OK;
}

static bool only_moves(const unroller *r, const grad_instr *ins) {
  if (ins->op->sparsity != GRAD_SPARSITY_MAP || ins->op->flags & GRAD_OP_REFUSES || ins->nout != 1) return false;
  for (int32_t k = 0; k < ins->nin; k++) {
    if (dtype_of(r, ins->in[k]) != dtype_of(r, ins->out)) return false;
  }
  return true;
}

/* Is it one of the reductions of a float value to one number? */
static bool reduces_all(const unroller *r, const grad_instr *ins, grad_reduction *kind) {
  const grad_op *const ops[] = {&grad__op_sum, &grad__op_prod, &grad__op_max, &grad__op_min};
  const grad_reduction kinds[] = {GRAD_REDUCE_SUM, GRAD_REDUCE_PROD, GRAD_REDUCE_MAX, GRAD_REDUCE_MIN};
  for (int i = 0; i < 4; i++) {
    if (ins->op != ops[i]) continue;
    *kind = kinds[i];
    return numel(r, ins->out) == 1 && numel(r, ins->in[0]) > 0 && grad__dtype_is_float(dtype_of(r, ins->in[0]));
  }
  return false;
}

static grad_status unroll_instr(unroller *r, const grad_instr *ins) {
  const grad_op *op = ins->op;
  const uint16_t opaque = GRAD_OP_EFFECT | GRAD_OP_RANDOM | GRAD_OP_CONTROL;
  grad_reduction kind;
  if (ins->nin == 0 && ins->nout == 1 && !(op->flags & opaque)) return unroll_constant(r, ins);
  if (only_moves(r, ins)) return unroll_moves(r, ins);
  if (op == &grad__op_convert) return unroll_convert(r, ins), GRAD_OK;
  if (op->flags & GRAD_OP_ELEMENTWISE) {
    const grad_dtype dtype = dtype_of(r, ins->in[ins->nin - 1]);
    const uint16_t code = grad__number_op_code(op, dtype);
    const grad_kernel kernel = grad__kernel(r->ctx, op, dtype);
    if (code != GRAD_NUMBER_CALL) return unroll_elementwise(r, ins, code), GRAD_OK;
    if (kernel && !grad__kernel_divides(op, dtype)) return unroll_call(r, ins, kernel), GRAD_OK;
  }
  if (reduces_all(r, ins, &kind)) return unroll_reduction(r, ins, kind), GRAD_OK;
  return unroll_eval(r, ins);
}

/* --- the whole */

/* Every value small and of known extent; no numbers. */
static bool is_small(const grad_program *p) {
  int64_t all = 0;
  for (grad_id v = 0; v < p->nvalues; v++) {
    const int64_t n = grad__type_numel(&p->types[v]);
    if (n < 0 || n > GRAD_MOST_UNROLLED) return false;
    all += n;
  }
  return all <= MOST_SLOTS && p->nscalars == 0;
}

static bool reserve(unroller *r) {
  grad_unrolled *u = r->u;
  const size_t nvalues = (size_t)r->p->nvalues + 1, slots = MOST_SLOTS;
  size_t ops = 1, instrs = (size_t)r->p->ninstrs + 1;
  for (int32_t i = 0; i < r->p->ninstrs; i++) {
    const grad_instr *ins = &r->p->instrs[i];
    for (int32_t k = 0; k < ins->nin; k++) ops += (size_t)numel(r, ins->in[k]) + 1;
    for (int32_t k = 0; k < ins->nout; k++) ops += (size_t)numel(r, ins->out + k) + 1;
  }
  r->at = grad__arena_alloc(&r->temp, nvalues * sizeof *r->at);
  r->constants = grad__arena_alloc(&r->temp, slots * sizeof *r->constants);
  r->is_constant = grad__arena_alloc(&r->temp, slots * sizeof *r->is_constant);
  u->code.ops = grad__arena_alloc(&u->arena, ops * sizeof *u->code.ops);
  u->code.calls = grad__arena_alloc(&u->arena, ops * sizeof *u->code.calls);
  u->code.copiers = grad__arena_alloc(&u->arena, ops * sizeof *u->code.copiers);
  u->code.reductions = grad__arena_alloc(&u->arena, instrs * sizeof *u->code.reductions);
  u->code.evals = grad__arena_alloc(&u->arena, instrs * sizeof *u->code.evals);
  u->inputs = grad__arena_alloc(&u->arena, ((size_t)r->p->ninputs + 1) * sizeof *u->inputs);
  u->outputs = grad__arena_alloc(&u->arena, ((size_t)r->p->noutputs + 1) * sizeof *u->outputs);
  if (!r->at || !r->constants || !r->is_constant || !u->code.ops || !u->code.calls || !u->code.copiers ||
      !u->code.reductions || !u->code.evals || !u->inputs || !u->outputs)
    return false;
  memset(r->is_constant, 0, slots * sizeof *r->is_constant);
  for (grad_id v = 0; v < r->p->nvalues; v++) {
    r->at[v] = grad__arena_alloc(&u->arena, ((size_t)numel(r, v) + 1) * sizeof **r->at);
    if (!r->at[v]) return false;
  }
  return true;
}

/* The slots, with the constants in them. */
static grad_status make_slots(unroller *r) {
  grad_unrolled *u = r->u;
  u->slots = grad__alloc_aligned(r->ctx, ((size_t)u->nslots + 8) * sizeof *u->slots);
  u->call_operands = grad__arena_alloc(&u->arena, (3 * (size_t)u->code.ncalls + 1) * sizeof *u->call_operands);
  if (!u->call_operands) return r->ctx->status;
  if (u->scratch_bytes) u->scratch = grad__alloc_aligned(r->ctx, (size_t)u->scratch_bytes);
  if (!u->slots || (u->scratch_bytes && !u->scratch)) return r->ctx->status;
  memset(u->slots, 0, ((size_t)u->nslots + 8) * sizeof *u->slots);
  for (int32_t i = 0; i < u->nslots; i++) {
    if (r->is_constant[i]) u->slots[i] = r->constants[i];
  }
  for (int32_t i = 0, call = 0; i < u->code.nops; i++) {
    const grad_number_op *op = &u->code.ops[i];
    if (op->code != GRAD_NUMBER_CALL) continue;
    for (int k = 0; k < 3; k++) u->call_operands[call++] = &u->slots[op->in[k]];
  }
  for (int32_t i = 0; i < u->code.nevals; i++) {
    grad_number_eval *eval = &u->code.evals[i];
    eval->e.scratch = u->scratch;
    for (int32_t k = 0; k < eval->e.ins->nin + eval->e.ins->nout; k++) eval->args[k].data = u->slots + eval->slots[k];
  }
  return GRAD_OK;
}

static grad_status unroll_all(unroller *r, int64_t spare) {
  grad_unrolled *u = r->u;
  const grad_program *p = r->p;
  if (!reserve(r)) return r->ctx->status;
  for (int32_t k = 0; k < p->ninputs; k++) {
    u->inputs[k] = u->nslots;
    place_in_row(r, p->inputs[k]);
  }
  for (int32_t i = 0; i < p->ninstrs && r->fits; i++) {
    const grad_status status = unroll_instr(r, &p->instrs[i]);
    if (status) return status;
  }
  take_slots(r, (int32_t)(spare < MOST_SLOTS ? spare : MOST_SLOTS));
  if (!r->fits) return GRAD_OK;
  for (int32_t k = 0; k < p->noutputs; k++) u->outputs[k] = r->at[p->outputs[k]];
  return make_slots(r);
}

void grad__unrolled_free(grad_unrolled *u) {
  if (!u) return;
  grad__free_aligned(u->ctx, u->slots, ((size_t)u->nslots + 8) * sizeof *u->slots);
  grad__free_aligned(u->ctx, u->scratch, (size_t)u->scratch_bytes);
  grad__arena_clear(&u->arena);
  grad__program_release(u->p);
  grad__free(u->ctx, u, sizeof *u);
}

grad_status grad__unroll(const grad_program *p, int64_t spare, grad_unrolled **out) {
  *out = NULL;
  if (p->status || !is_small(p)) return p->status;
  grad_unrolled *u = grad__alloc(p->ctx, sizeof *u);
  if (!u) return p->ctx->status;
  *u = (grad_unrolled){.ctx = p->ctx};
  grad__arena_init(&u->arena, p->ctx);
  unroller r = {.ctx = p->ctx, .u = u, .fits = true};
  grad__arena_init(&r.temp, p->ctx);
  grad_status status = grad__simplify(p, GRAD_SIMPLIFY_FINAL, &u->p);
  if (!status && (r.fits = is_small(u->p))) {
    r.p = u->p;
    status = unroll_all(&r, spare);
  }
  grad__arena_clear(&r.temp);
  if (status || !r.fits) {
    grad__unrolled_free(u);
    return status;
  }
  *out = u;
  return GRAD_OK;
}

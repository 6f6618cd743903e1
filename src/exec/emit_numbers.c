/* emit_numbers.c: see emit_numbers.h. x86-64 with AVX, one number at a time.
 *
 * Every result is written to its slot, so that memory is always right, and stays in a vector register as well until
 * that is needed for something else or a function is called. Where no function is, the first numbers of the carry stay
 * in registers from step to step: through memory each step would wait some cycles longer for the one before. RBX is the
 * slots, R13 the rows, R12 the steps that are left.
 */
#include "exec/emit_numbers.h"

#if defined __x86_64__ && defined __unix__

#include <stddef.h>
#include <string.h>

#include "exec/x86.h"

enum { CACHED = 14, TEMPORARY = 14, MASK = 15, NOWHERE = -1 }; /* vector registers */
enum { MOST_KEPT = 8, FIRST_KEPT = CACHED - MOST_KEPT };
enum { EQUAL = 0, NOT_EQUAL = 4, LESS = 17, LESS_EQUAL = 18 };
enum { LOAD = 0x8b, STORE = 0x89, STORE_BYTE = 0x88, ADD = 0x03, SUB = 0x2b, AND = 0x23, OR = 0x0b, ADDRESS = 0x8d };

typedef struct emitter {
  x86 out;
  const grad_number_step *step;
  int8_t *at;            /* by slot: the register that has it too */
  int32_t holds[CACHED]; /* the slot that each has; NOWHERE: none */
  int32_t used[CACHED], now;
  bool narrow;                    /* what is emitted is of f32 */
  int32_t kept[MOST_KEPT], nkept; /* slots of the carry: the registers from FIRST_KEPT on have them throughout */
  int32_t ncalls, ncopiers, nreductions, nevals;
  int64_t *failures; /* jumps to where a failed instruction goes */
} emitter;

static int32_t offset_of(int32_t slot) { return slot * (int32_t)sizeof(double); }

/* --- instructions on general registers */

static void on_slot(emitter *e, uint8_t opcode, int reg, int32_t slot) {
  x86_memory(&e->out, opcode, true, reg, RBX, offset_of(slot));
}

static void load_byte(emitter *e, int32_t slot) { x86_load_byte(&e->out, RAX, RBX, offset_of(slot)); }

static void call(emitter *e, const void *function) {
  x86_constant(&e->out, RAX, (uint64_t)(uintptr_t)function);
  X86(&e->out, 0xff, 0xd0);
  for (int r = 0; r < CACHED; r++) {
    if (e->holds[r] != NOWHERE) e->at[e->holds[r]] = NOWHERE;
    e->holds[r] = NOWHERE;
  }
}

static void pass_pointer(emitter *e, int reg, const void *pointer) {
  x86_constant(&e->out, reg, (uint64_t)(uintptr_t)pointer);
}

/* --- numbers in vector registers */

static x86_rm at_slot(int32_t slot) { return (x86_rm){X86_OFFSET, RBX, offset_of(slot)}; }

static void scalar(emitter *e, uint8_t opcode, int to, int a, x86_rm b) {
  x86_vector(&e->out, (x86_op){1, e->narrow ? 2 : 3, 0, opcode}, to, a, b, (x86_mode){0});
}

static void bits(emitter *e, uint8_t opcode, int to, int a, int b) {
  x86_vector(&e->out, (x86_op){1, 1, 0, opcode}, to, a, x86_reg(b), (x86_mode){0});
}

/* RAX to a vector register. */
static void from_rax(emitter *e, int to) {
  x86_vector(&e->out, (x86_op){1, 1, 1, 0x6e}, to, 0, x86_reg(RAX), (x86_mode){0});
}

static void constant(emitter *e, int to, uint64_t value) {
  x86_constant(&e->out, RAX, value);
  from_rax(e, to);
}

static void compare(emitter *e, int to, int a, int b, uint8_t how) {
  scalar(e, 0xc2, to, a, x86_reg(b));
  X86(&e->out, how);
}

static bool is_kept(const emitter *e, int r) { return r >= FIRST_KEPT && r < FIRST_KEPT + e->nkept; }

/* The register used longest ago, for a slot. */
static int take(emitter *e, int32_t slot) {
  int best = 0;
  for (int r = 1; r < CACHED; r++) {
    if (e->used[r] < e->used[best] && !is_kept(e, r)) best = r;
  }
  if (e->holds[best] != NOWHERE) e->at[e->holds[best]] = NOWHERE;
  e->holds[best] = slot;
  e->used[best] = e->now;
  e->at[slot] = (int8_t)best;
  return best;
}

static int fetch(emitter *e, int32_t slot) {
  if (e->at[slot] == NOWHERE) {
    const int r = take(e, slot);
    scalar(e, 0x10, r, 0, at_slot(slot));
  }
  e->used[e->at[slot]] = e->now;
  return e->at[slot];
}

static void store(emitter *e, int32_t slot, int reg) { scalar(e, 0x11, reg, 0, at_slot(slot)); }

/* --- codes */

static void emit_product_z(emitter *e, int d, int a, int b) {
  scalar(e, 0x59, d, a, x86_reg(b));
  bits(e, 0x57, TEMPORARY, TEMPORARY, TEMPORARY);
  for (int k = 0; k < 2; k++) {
    compare(e, MASK, k ? b : a, TEMPORARY, NOT_EQUAL);
    bits(e, 0x54, d, d, MASK);
  }
}

static void emit_float(emitter *e, const grad_number_op *op, int code) {
  const uint64_t sign = UINT64_C(1) << (e->narrow ? 31 : 63);
  const uint64_t one = e->narrow ? UINT64_C(0x7f) << 23 : UINT64_C(0x3ff) << 52;
  const int a = fetch(e, op->in[0]), b = fetch(e, op->in[1]), d = take(e, op->out);
  switch (code) {
  case GRAD_NUMBER_add:
    scalar(e, 0x58, d, a, x86_reg(b));
    break;
  case GRAD_NUMBER_sub:
    scalar(e, 0x5c, d, a, x86_reg(b));
    break;
  case GRAD_NUMBER_mul:
    scalar(e, 0x59, d, a, x86_reg(b));
    break;
  case GRAD_NUMBER_div:
    scalar(e, 0x5e, d, a, x86_reg(b));
    break;
  case GRAD_NUMBER_square:
    scalar(e, 0x59, d, a, x86_reg(a));
    break;
  case GRAD_NUMBER_sqrt:
    scalar(e, 0x51, d, a, x86_reg(a));
    break;
  case GRAD_NUMBER_mulz:
    emit_product_z(e, d, a, b);
    break;
  case GRAD_NUMBER_neg:
  case GRAD_NUMBER_abs:
    constant(e, TEMPORARY, code == GRAD_NUMBER_neg ? sign : ~sign);
    bits(e, code == GRAD_NUMBER_neg ? 0x57 : 0x54, d, a, TEMPORARY);
    break;
  case GRAD_NUMBER_reciprocal:
    constant(e, TEMPORARY, one);
    scalar(e, 0x5e, d, TEMPORARY, x86_reg(a));
    break;
  }
  store(e, op->out, d);
}

static void emit_test(emitter *e, const grad_number_op *op, int code) {
  const bool swapped = code == GRAD_NUMBER_gt || code == GRAD_NUMBER_ge;
  const bool less = code == GRAD_NUMBER_lt || code == GRAD_NUMBER_gt;
  const uint8_t how = code == GRAD_NUMBER_eq ? EQUAL : code == GRAD_NUMBER_ne ? NOT_EQUAL : less ? LESS : LESS_EQUAL;
  const int a = fetch(e, op->in[swapped]), b = fetch(e, op->in[!swapped]);
  compare(e, MASK, a, b, how);
  x86_vector(&e->out, (x86_op){1, 1, 1, 0x7e}, MASK, 0, x86_reg(RAX), (x86_mode){0});
  X86(&e->out, 0x83, 0xe0, 1); /* and eax, 1 */
  on_slot(e, STORE_BYTE, RAX, op->out);
}

static void emit_arithmetic(emitter *e, const grad_number_op *op) {
  e->narrow = op->code >= GRAD_NUMBER_f32_add;
  const int code = e->narrow ? op->code - GRAD_NUMBER_f32_add + GRAD_NUMBER_add : op->code;
  if (code >= GRAD_NUMBER_eq)
    emit_test(e, op, code);
  else
    emit_float(e, op, code);
  e->narrow = false;
}

static void emit_where(emitter *e, const grad_number_op *op) {
  load_byte(e, op->in[0]);
  X86(&e->out, 0x48, 0xf7, 0xd8); /* neg rax */
  from_rax(e, MASK);
  const int yes = fetch(e, op->in[1]), no = fetch(e, op->in[2]), d = take(e, op->out);
  x86_vector(&e->out, (x86_op){3, 1, 0, 0x4b}, d, no, x86_reg(yes), (x86_mode){0});
  X86(&e->out, MASK << 4);
  store(e, op->out, d);
}

static void emit_integer(emitter *e, const grad_number_op *op) {
  on_slot(e, LOAD, RAX, op->in[0]);
  switch (op->code) {
  case GRAD_NUMBER_i64_add:
    on_slot(e, ADD, RAX, op->in[1]);
    break;
  case GRAD_NUMBER_i64_sub:
    on_slot(e, SUB, RAX, op->in[1]);
    break;
  case GRAD_NUMBER_i64_mul:
    on_slot(e, LOAD, RCX, op->in[1]);
    X86(&e->out, 0x48, 0x0f, 0xaf, 0xc1);
    break;
  case GRAD_NUMBER_bool_and:
    on_slot(e, AND, RAX, op->in[1]);
    break;
  case GRAD_NUMBER_bool_or:
    on_slot(e, OR, RAX, op->in[1]);
    break;
  case GRAD_NUMBER_bool_not:
    X86(&e->out, 0x83, 0xf0, 1); /* xor eax, 1 */
    break;
  }
  const bool is_mask =
      op->code == GRAD_NUMBER_bool_and || op->code == GRAD_NUMBER_bool_or || op->code == GRAD_NUMBER_bool_not;
  on_slot(e, is_mask ? STORE_BYTE : STORE, RAX, op->out);
}

/* --- codes that call a function */

static void emit_kernel(emitter *e, const grad_number_op *op) {
  const grad_unrolled *u = e->step->u;
  x86_constant(&e->out, RDI, op->n);
  on_slot(e, ADDRESS, RSI, op->out);
  pass_pointer(e, RDX, &u->call_operands[3 * e->ncalls]);
  call(e, (const void *)(uintptr_t)u->code.calls[e->ncalls++]);
}

static void emit_convert(emitter *e, const grad_number_op *op) {
  const grad_copier copier = e->step->u->code.copiers[e->ncopiers++];
  if (copier == grad__array_copier(GRAD_F64, GRAD_I64)) {
    const int d = take(e, op->out);
    bits(e, 0x57, d, d, d);
    x86_vector(&e->out, (x86_op){1, 3, 1, 0x2a}, d, d, at_slot(op->in[0]), (x86_mode){0});
    store(e, op->out, d);
    return;
  }
  x86_constant(&e->out, RDI, 1);
  on_slot(e, ADDRESS, RSI, op->out);
  x86_constant(&e->out, RDX, 1);
  on_slot(e, ADDRESS, RCX, op->in[0]);
  x86_constant(&e->out, R8, 1);
  call(e, (const void *)(uintptr_t)copier);
}

static void emit_reduction(emitter *e, const grad_number_op *op) {
  pass_pointer(e, RDI, &e->step->u->code.reductions[e->nreductions++]);
  x86_constant(&e->out, RSI, op->n);
  on_slot(e, ADDRESS, RDX, op->in[0]);
  on_slot(e, ADDRESS, RCX, op->out);
  call(e, (const void *)(uintptr_t)grad__number_reduce);
}

static void emit_repack(emitter *e, const grad_number_op *op) {
  pass_pointer(e, RDI, op);
  on_slot(e, ADDRESS, RSI, 0);
  call(e, (const void *)(uintptr_t)grad__number_repack);
}

static void emit_eval(emitter *e) {
  pass_pointer(e, RDI, &e->step->u->code.evals[e->nevals]);
  call(e, (const void *)(uintptr_t)grad__number_eval);
  X86(&e->out, 0x85, 0xc0); /* test eax, eax */
  e->failures[e->nevals++] = x86_jump(&e->out, 0x85);
}

static void emit_op(emitter *e, const grad_number_op *op) {
  e->now++;
  switch (op->code) {
  case GRAD_NUMBER_COPY:
    store(e, op->out, fetch(e, op->in[0]));
    return;
  case GRAD_NUMBER_CALL:
    emit_kernel(e, op);
    return;
  case GRAD_NUMBER_CONVERT:
    emit_convert(e, op);
    return;
  case GRAD_NUMBER_REDUCE:
    emit_reduction(e, op);
    return;
  case GRAD_NUMBER_PACK:
  case GRAD_NUMBER_UNPACK:
    emit_repack(e, op);
    return;
  case GRAD_NUMBER_EVAL:
    emit_eval(e);
    return;
  case GRAD_NUMBER_where:
    emit_where(e, op);
    return;
  }
  if (op->code >= GRAD_NUMBER_i64_add)
    emit_integer(e, op);
  else
    emit_arithmetic(e, op);
}

/* --- rows and moves */

static void emit_row(emitter *e, int32_t k, bool read) {
  const grad_number_row *row = &e->step->rows[k];
  const int32_t at = k * (int32_t)sizeof *row + (int32_t)offsetof(grad_number_row, at);
  const int32_t by = k * (int32_t)sizeof *row + (int32_t)offsetof(grad_number_row, step);
  const bool wide = row->size == sizeof(double);
  x86_memory(&e->out, LOAD, true, RDX, R13, at);
  for (int32_t i = 0; i < row->n; i++) {
    const int32_t base = read ? RDX : RBX, offset = read ? i * row->size : offset_of(row->slots[i]);
    const int32_t to_base = read ? RBX : RDX, to = read ? offset_of(row->slots[i]) : i * row->size;
    if (row->size == 1) {
      x86_load_byte(&e->out, RAX, base, offset);
      x86_memory(&e->out, STORE_BYTE, false, RAX, to_base, to);
    } else {
      x86_memory(&e->out, LOAD, wide, RAX, base, offset);
      x86_memory(&e->out, STORE, wide, RAX, to_base, to);
    }
  }
  x86_memory(&e->out, ADD, true, RDX, R13, by);
  x86_memory(&e->out, STORE, true, RDX, R13, at);
}

/* The register that keeps a slot; NOWHERE: none does. */
static int keeper_of(const emitter *e, int32_t slot) {
  for (int32_t k = 0; k < e->nkept; k++) {
    if (e->kept[k] == slot) return FIRST_KEPT + k;
  }
  return NOWHERE;
}

static void emit_move(emitter *e, const grad_slot_move *move) {
  const int keeper = keeper_of(e, move->to), from = e->at[move->from];
  if (keeper == NOWHERE && from == NOWHERE) {
    on_slot(e, LOAD, RAX, move->from);
    on_slot(e, STORE, RAX, move->to);
    return;
  }
  if (keeper != NOWHERE && from != NOWHERE) bits(e, 0x28, keeper, 0, from); /* vmovapd */
  if (keeper != NOWHERE && from == NOWHERE) scalar(e, 0x10, keeper, 0, at_slot(move->from));
  store(e, move->to, keeper != NOWHERE ? keeper : from);
}

static void begin_registers(emitter *e) {
  memset(e->at, NOWHERE, (size_t)e->step->u->nslots);
  for (int r = 0; r < CACHED; r++) e->holds[r] = NOWHERE;
  for (int32_t k = 0; k < e->nkept; k++) {
    e->at[e->kept[k]] = (int8_t)(FIRST_KEPT + k);
    e->holds[FIRST_KEPT + k] = e->kept[k];
  }
}

/* Numbers that a step changes and that arithmetic reads. */
static void choose_kept(emitter *e) {
  const grad_number_step *s = e->step;
  for (int32_t i = 0; i < s->u->code.nops; i++) {
    const uint16_t code = s->u->code.ops[i].code;
    if (code < GRAD_NUMBER_add && code != GRAD_NUMBER_COPY) return;
  }
  for (int32_t m = 0; m < s->nmoves && e->nkept < MOST_KEPT; m++) {
    bool read = false;
    for (int32_t i = 0; i < s->u->code.nops; i++) {
      const grad_number_op *op = &s->u->code.ops[i];
      const bool floats = op->code >= GRAD_NUMBER_add && op->code < GRAD_NUMBER_i64_add;
      read = read || (floats && (op->in[0] == s->moves[m].to || op->in[1] == s->moves[m].to));
    }
    if (read) e->kept[e->nkept++] = s->moves[m].to;
  }
}

/* --- the loop */

static void emit_body(emitter *e) {
  const grad_number_step *s = e->step;
  begin_registers(e);
  for (int32_t k = 0; k < s->nread; k++) emit_row(e, k, true);
  for (int32_t i = 0; i < s->u->code.nops; i++) emit_op(e, &s->u->code.ops[i]);
  for (int32_t k = 0; k < s->nwritten; k++) emit_row(e, s->nread + k, false);
  for (int32_t i = 0; i < s->nmoves; i++) emit_move(e, &s->moves[i]);
}

static void emit_function(emitter *e) {
  x86 *out = &e->out;
  const grad_number_step *s = e->step;
  int64_t ended = 0;
  x86_push(out, RBX);
  x86_push(out, R12);
  x86_push(out, R13); /* which leaves the stack aligned for calls */
  pass_pointer(e, RBX, s->u->slots);
  pass_pointer(e, R13, s->rows);
  X86(out, 0x49, 0x89, 0xfc); /* mov r12, rdi */
  for (int32_t k = 0; k < e->nkept; k++) scalar(e, 0x10, FIRST_KEPT + k, 0, at_slot(e->kept[k]));
  const int64_t top = x86_here(out);
  emit_body(e);
  X86(out, 0x49, 0xff, 0xcc); /* dec r12 */
  if (s->test >= 0) {
    load_byte(e, s->test);
    X86(out, 0x85, 0xc0);
    ended = x86_jump(out, 0x84);
    X86(out, 0x4d, 0x85, 0xe4); /* test r12, r12 */
  }
  x86_patch(out, x86_jump(out, 0x85), top);
  if (s->test >= 0) x86_patch(out, ended, x86_here(out));
  X86(out, 0x4c, 0x89, 0xe0); /* mov rax, r12 */
  const int64_t end = x86_here(out);
  x86_pop(out, R13);
  x86_pop(out, R12);
  x86_pop(out, RBX);
  X86(out, 0xc3);
  for (int32_t i = 0; i < e->nevals; i++) x86_patch(out, e->failures[i], x86_here(out));
  x86_constant(out, RAX, UINT64_MAX);
  X86(out, 0xe9);
  const int64_t from = x86_here(out);
  x86_int32(out, 0);
  x86_patch(out, from, end);
}

grad_status grad__emit_steps(const grad_number_step *step, grad_code *code, grad_steps_fn *out) {
  const grad_unrolled *u = step->u;
  grad_arena temporary;
  *out = NULL;
  if (u->ctx->simd < GRAD_SIMD_AVX2 || u->ctx->interpret) return GRAD_OK;
  grad__arena_init(&temporary, u->ctx);
  emitter e = {.out.code = code, .step = step};
  e.at = grad__arena_alloc(&temporary, (size_t)u->nslots + 1);
  e.failures = grad__arena_alloc(&temporary, ((size_t)u->code.nevals + 1) * sizeof *e.failures);
  grad_status status = e.at && e.failures ? GRAD_OK : u->ctx->status;
  if (!status) {
    choose_kept(&e);
    emit_function(&e);
    if (code->failed) status = u->ctx->status;
  }
  if (!status && grad__code_map(code)) *out = (grad_steps_fn)(uintptr_t)code->memory;
  grad__arena_clear(&temporary);
  return status;
}

#else

grad_status grad__emit_steps(const grad_number_step *step, grad_code *code, grad_steps_fn *out) {
  (void)step, (void)code;
  *out = NULL;
  return GRAD_OK;
}

#endif

/* emit_x86.c: loops over vectors for AVX2 and AVX-512.
 *
 * A stretch is a run of elementwise arithmetic of one float dtype. Its code is called as a kernel is, with the number
 * of positions and the table of operand pointers, and goes over the positions a vector at a time: operands are loaded
 * when first read and kept; results are stored when something outside of the stretch reads them. The last, partial
 * vector runs through a second copy of the loop's body whose loads and stores are masked.
 *
 * Registers: RDI positions, RSI the table, RCX the position, R11 scratch, the others pointers. Vector registers from
 * the top: 0, 1, the sign bit, two for temporary use; the rest holds values. When none is free, the value that is
 * needed last among those that lie in memory too gives way; if there is no such value, the stretch ends before that
 * instruction, and the next one begins.
 */
#include "exec/emit.h"

#if defined __x86_64__ && defined __unix__

#include <limits.h>
#include <string.h>

#include "exec/x86.h"
#include "ops/kernels_table.h"

enum {
  VECTORS = 32,
  MASKS = 8,
  TAIL = 1, /* the mask of the lanes in use */
  SCRATCH_MASK = 7,
  FIRST_MASK = 2, /* 2 .. 6 hold values */
  MOST_POINTERS = 9,
  RESULT = 3,
  HOISTED = 8, /* invariants kept in registers throughout */
  NOWHERE = -1
};

static const int8_t pointer_registers[MOST_POINTERS] = {RAX, RDX, R8, R9, R10, RBX, R12, R14, R15};
enum { FREE_POINTERS = 5 }; /* the first need not be saved */

typedef enum label { SIGN_LABEL, ONE_LABEL, BYTES_LABEL, TAIL_LABEL, NLABELS } label;

struct grad_emitter {
  x86 out;
  const grad_region *region;
  int32_t (*next)[4]; /* by micro: the next micro that reads each of its operands, and its result; INT32_MAX: none */
  int32_t *last;      /* by operand: the last micro that reads it; -1: none */
  int32_t *upcoming;  /* by operand in a register: the next micro that reads it */
  int8_t *at;         /* by operand: its vector or mask register */
  int8_t *pointer;    /* by operand: index of its pointer register, MOST_POINTERS: in the table */
  bool *invariant;    /* by operand: one number, repeated */
  bool *in_memory;    /* by operand: may be read again from its place */
  uint8_t *narrow;    /* by scratch register of the region: the narrowest element read from it in this stretch */
  int32_t from, to;   /* the stretch */
  int32_t npointers, hoisted[HOISTED], nhoisted;
  int32_t vectors[VECTORS], masks[MASKS]; /* the operand that each holds; NOWHERE: free */
  int nvectors;                           /* that may hold values; the rest: */
  int zero, one, sign, bytes, spare;
  grad_dtype dtype;
  int lanes;
  bool masked; /* the body for the last vector */
  bool failed;
  int64_t labels[NLABELS][4];
  int nlabels[NLABELS];
};

/* --- what can be emitted */

static bool is_known(int row) {
  switch (row) {
  case GRAD_ROW_add:
  case GRAD_ROW_sub:
  case GRAD_ROW_mul:
  case GRAD_ROW_mulz:
  case GRAD_ROW_div:
  case GRAD_ROW_floordiv:
  case GRAD_ROW_neg:
  case GRAD_ROW_abs:
  case GRAD_ROW_sign:
  case GRAD_ROW_square:
  case GRAD_ROW_reciprocal:
  case GRAD_ROW_maximum:
  case GRAD_ROW_minimum:
  case GRAD_ROW_relu:
  case GRAD_ROW_clamp:
  case GRAD_ROW_floor:
  case GRAD_ROW_ceil:
  case GRAD_ROW_round:
  case GRAD_ROW_sqrt:
  case GRAD_ROW_rsqrt:
  case GRAD_ROW_eq:
  case GRAD_ROW_ne:
  case GRAD_ROW_lt:
  case GRAD_ROW_le:
  case GRAD_ROW_gt:
  case GRAD_ROW_ge:
  case GRAD_ROW_isnan:
  case GRAD_ROW_and:
  case GRAD_ROW_or:
  case GRAD_ROW_xor:
  case GRAD_ROW_not:
  case GRAD_ROW_where:
    return true;
  default:
    return false;
  }
}

/* Operations on masks belong to the dtype around them. */
static bool fits(const grad_emitter *e, const grad_micro *m) {
  if (m->kind != GRAD_MICRO_KERNEL || !is_known(m->op->row)) return false;
  if (!e->out.wide && (m->op->row == GRAD_ROW_not || m->op->row == GRAD_ROW_clamp)) return false;
  return m->dtype == e->dtype || (m->dtype == GRAD_BOOL && m->op->row != GRAD_ROW_where);
}

/* --- encoding: packed operations of the dtype */

static x86_mode plain(const grad_emitter *e) { return (x86_mode){.length = e->out.wide ? 2 : 1}; }

static x86_op packed(const grad_emitter *e, uint8_t opcode) {
  const bool f64 = e->dtype == GRAD_F64;
  return (x86_op){1, f64, f64, opcode};
}

/* Opcodes of which the f32 and f64 versions are neighbours, in the maps 0F 38 and 0F 3A. */
static x86_op extended(const grad_emitter *e, uint8_t map, uint8_t f32, uint8_t f64, bool wide_only_w) {
  const bool is_f64 = e->dtype == GRAD_F64;
  return (x86_op){map, 1, is_f64 && (e->out.wide || !wide_only_w), is_f64 ? f64 : f32};
}

enum {
  AND = 0x54,
  ANDN = 0x55,
  OR = 0x56,
  XOR = 0x57,
  ADD = 0x58,
  MUL = 0x59,
  SUB = 0x5c,
  MIN = 0x5d,
  DIV = 0x5e,
  MAX = 0x5f
};
enum { SQRT = 0x51, MOVE = 0x28, LOAD = 0x10, STORE = 0x11, COMPARE = 0xc2 };
enum { EQUAL = 0, LESS = 17, LESS_EQUAL = 18, UNORDERED = 3, NOT_EQUAL = 4, EQUAL_OR_UNORDERED = 8 };

static void binary(grad_emitter *e, uint8_t opcode, int to, int a, int b) {
  x86_vector(&e->out, packed(e, opcode), to, a, x86_reg(b), plain(e));
}

static void compare_masked(grad_emitter *e, int to, int a, int b, uint8_t how, int mask) {
  x86_mode mode = plain(e);
  mode.mask = mask;
  x86_vector(&e->out, packed(e, COMPARE), to, a, x86_reg(b), mode);
  X86(&e->out, how);
}

static void compare(grad_emitter *e, int to, int a, int b, uint8_t how) { compare_masked(e, to, a, b, how, 0); }

/* to = mask ? yes : no */
static void blend(grad_emitter *e, int to, int mask, int yes, int no) {
  x86_mode mode = plain(e);
  if (e->out.wide) {
    mode.mask = mask;
    x86_vector(&e->out, extended(e, 2, 0x65, 0x65, true), to, no, x86_reg(yes), mode);
  } else {
    x86_vector(&e->out, (x86_op){3, 1, 0, e->dtype == GRAD_F64 ? 0x4b : 0x4a}, to, no, x86_reg(yes), mode);
    X86(&e->out, (uint8_t)(mask << 4));
  }
}

/* A comparison for use at once. */
static int scratch_mask(grad_emitter *e) { return e->out.wide ? SCRATCH_MASK : e->spare; }

static void round_to(grad_emitter *e, int to, int a, uint8_t how) {
  x86_vector(&e->out, extended(e, 3, 0x08, 0x09, true), to, 0, x86_reg(a), plain(e));
  X86(&e->out, how);
}

/* The larger or smaller; the instruction gives b when either is NaN, the kernel a when that is NaN. */
static void extreme(grad_emitter *e, uint8_t opcode, int to, int a, int b) {
  binary(e, opcode, to, a, b);
  compare(e, scratch_mask(e), a, a, UNORDERED);
  blend(e, to, scratch_mask(e), a, to);
}

static void zero_wins(grad_emitter *e, int to, int a, int b) {
  if (e->out.wide) {
    x86_mode mode = {.mask = SCRATCH_MASK, .zeroing = true, .length = 2};
    compare(e, SCRATCH_MASK, a, e->zero, NOT_EQUAL);
    compare_masked(e, SCRATCH_MASK, b, e->zero, NOT_EQUAL, SCRATCH_MASK);
    x86_vector(&e->out, packed(e, MUL), to, a, x86_reg(b), mode);
  } else {
    compare(e, e->spare, a, e->zero, NOT_EQUAL);
    compare(e, to, b, e->zero, NOT_EQUAL);
    binary(e, AND, e->spare, e->spare, to);
    binary(e, MUL, to, a, b);
    binary(e, AND, to, to, e->spare);
  }
}

/* --- memory */

static int log2_size(int size) { return size == 8 ? 3 : size == 4 ? 2 : 0; }

static x86_rm place_of(grad_emitter *e, int32_t operand) {
  int index = e->pointer[operand];
  if (index == NOWHERE) {
    index = e->npointers < MOST_POINTERS ? e->npointers++ : MOST_POINTERS;
    e->pointer[operand] = (int8_t)index;
  }
  int base = R11;
  if (index < MOST_POINTERS) {
    base = pointer_registers[index];
  } else {
    x86_load_pointer(&e->out, R11, operand * (int64_t)sizeof(char *));
  }
  return (x86_rm){X86_INDEXED, base, log2_size(e->region->operands[operand].size)};
}

/* AVX2 masks loads and stores by a vector, in the spare register. */
static void move_masked(grad_emitter *e, bool store, int reg, x86_rm place) {
  const uint8_t opcode = (uint8_t)((store ? 0x2e : 0x2c) + (e->dtype == GRAD_F64));
  x86_vector(&e->out, (x86_op){2, 1, 0, opcode}, reg, e->bytes, place, plain(e));
}

static void move_vector(grad_emitter *e, bool store, int reg, x86_rm place) {
  if (e->masked && !e->out.wide) {
    move_masked(e, store, reg, place);
    return;
  }
  x86_mode mode = plain(e);
  mode.mask = e->masked ? TAIL : 0;
  mode.zeroing = e->masked && !store;
  x86_vector(&e->out, packed(e, store ? STORE : LOAD), reg, 0, place, mode);
}

/* Masks are bytes of 0 and 1 in memory. Only AVX-512 has them there. */
static void load_mask(grad_emitter *e, int reg, x86_rm place) {
  x86_vector(&e->out, (x86_op){1, 3, 0, 0x6f}, e->spare, 0, place, (x86_mode){.mask = TAIL, .zeroing = true});
  x86_vector(&e->out, (x86_op){2, 1, 0, 0x26}, reg, e->spare, x86_reg(e->spare), (x86_mode){0});
}

static void store_mask(grad_emitter *e, int reg, x86_rm place) {
  x86_vector(&e->out, (x86_op){1, 3, 0, 0x6f}, e->spare, 0, x86_reg(e->bytes),
             (x86_mode){.mask = reg, .zeroing = true});
  x86_vector(&e->out, (x86_op){1, 3, 0, 0x7f}, e->spare, 0, place, (x86_mode){.mask = TAIL});
}

/* --- registers */

static bool is_hoisted(const grad_emitter *e, int32_t operand) {
  for (int32_t i = 0; i < e->nhoisted; i++) {
    if (e->hoisted[i] == operand) return true;
  }
  return false;
}

static bool is_mask(const grad_emitter *e, int32_t operand) { return e->region->operands[operand].size == 1; }
static bool in_mask_register(const grad_emitter *e, int32_t operand) { return e->out.wide && is_mask(e, operand); }

static void release(grad_emitter *e, int32_t operand) {
  if (e->at[operand] == NOWHERE) return;
  (in_mask_register(e, operand) ? e->masks : e->vectors)[e->at[operand]] = NOWHERE;
  e->at[operand] = NOWHERE;
}

/* The value in memory that is needed last, but not by the current micro. */
static int32_t farthest(const grad_emitter *e, const int32_t *holders, int first, int count, int32_t micro) {
  int32_t best = NOWHERE;
  for (int r = first; r < count; r++) {
    const int32_t o = holders[r];
    if (o == NOWHERE || !e->in_memory[o] || e->upcoming[o] <= micro) continue;
    if (best == NOWHERE || e->upcoming[o] > e->upcoming[best]) best = o;
  }
  return best;
}

static int take(grad_emitter *e, int32_t operand, int32_t micro) {
  const bool mask = in_mask_register(e, operand);
  int32_t *holders = mask ? e->masks : e->vectors;
  const int first = mask ? FIRST_MASK : 0, count = mask ? SCRATCH_MASK : e->nvectors;
  for (int tries = 0; tries < 2; tries++) {
    for (int r = first; r < count; r++) {
      if (holders[r] != NOWHERE) continue;
      holders[r] = operand;
      e->at[operand] = (int8_t)r;
      return r;
    }
    const int32_t other = farthest(e, holders, first, count, micro);
    if (other == NOWHERE) break;
    release(e, other);
  }
  e->failed = true;
  return 0;
}

/* The register that holds an operand, which is loaded if need be. */
static int read_operand(grad_emitter *e, int32_t operand, int32_t micro) {
  if (e->at[operand] != NOWHERE) return e->at[operand];
  if (is_mask(e, operand) && !e->out.wide) e->failed = true;
  const int reg = take(e, operand, micro);
  const grad_operand *o = &e->region->operands[operand];
  if (e->failed) return 0;
  if (o->kind == GRAD_OPERAND_REGISTER && (e->narrow[o->reg] == 0 || o->size < e->narrow[o->reg]))
    e->narrow[o->reg] = o->size;
  e->in_memory[operand] = true;
  if (is_mask(e, operand)) {
    load_mask(e, reg, place_of(e, operand));
  } else {
    move_vector(e, false, reg, place_of(e, operand));
  }
  return reg;
}

static bool is_read_outside(const grad_emitter *e, int32_t operand) {
  return e->region->operands[operand].kind != GRAD_OPERAND_REGISTER || e->last[operand] >= e->to;
}

/* A region's register may have held narrower elements, which end in this stretch: writing wider ones from the front
 * would run over those that later vectors read. */
static bool runs_over(const grad_emitter *e, int32_t operand) {
  const grad_operand *o = &e->region->operands[operand];
  return o->kind == GRAD_OPERAND_REGISTER && e->narrow[o->reg] != 0 && e->narrow[o->reg] < o->size;
}

static void write_result(grad_emitter *e, int32_t operand, int reg) {
  if (!is_read_outside(e, operand)) return;
  if (runs_over(e, operand) || (is_mask(e, operand) && !e->out.wide)) e->failed = true;
  if (e->failed) return;
  if (is_mask(e, operand)) {
    store_mask(e, reg, place_of(e, operand));
  } else {
    move_vector(e, true, reg, place_of(e, operand));
  }
  e->in_memory[operand] = true;
}

/* --- one micro-instruction: d = op(a, b, c), where d is no operand's register */

static void arithmetic(grad_emitter *e, int row, int d, int a, int b, int c) {
  switch (row) {
  case GRAD_ROW_add:
    binary(e, ADD, d, a, b);
    break;
  case GRAD_ROW_sub:
    binary(e, SUB, d, a, b);
    break;
  case GRAD_ROW_mul:
    binary(e, MUL, d, a, b);
    break;
  case GRAD_ROW_square:
    binary(e, MUL, d, a, a);
    break;
  case GRAD_ROW_div:
    binary(e, DIV, d, a, b);
    break;
  case GRAD_ROW_reciprocal:
    binary(e, DIV, d, e->one, a);
    break;
  case GRAD_ROW_mulz:
    zero_wins(e, d, a, b);
    break;
  case GRAD_ROW_neg:
    binary(e, XOR, d, a, e->sign);
    break;
  case GRAD_ROW_abs:
    binary(e, ANDN, d, e->sign, a);
    break;
  case GRAD_ROW_sqrt:
    binary(e, SQRT, d, 0, a);
    break;
  case GRAD_ROW_rsqrt:
    binary(e, SQRT, e->spare, 0, a);
    binary(e, DIV, d, e->one, e->spare);
    break;
  case GRAD_ROW_floordiv:
    binary(e, DIV, e->spare, a, b);
    round_to(e, d, e->spare, 9);
    break;
  case GRAD_ROW_floor:
    round_to(e, d, a, 9);
    break;
  case GRAD_ROW_ceil:
    round_to(e, d, a, 10);
    break;
  case GRAD_ROW_round:
    round_to(e, d, a, 8);
    break;
  case GRAD_ROW_maximum:
    extreme(e, MAX, d, a, b);
    break;
  case GRAD_ROW_minimum:
    extreme(e, MIN, d, a, b);
    break;
  case GRAD_ROW_relu:
    extreme(e, MAX, d, a, e->zero);
    break;
  case GRAD_ROW_clamp:
    extreme(e, MAX, d, a, b);
    extreme(e, MIN, e->spare, d, c);
    binary(e, MOVE, d, 0, e->spare);
    break;
  case GRAD_ROW_sign:
    binary(e, AND, d, a, e->sign);
    binary(e, OR, d, d, e->one);
    compare(e, scratch_mask(e), a, e->zero, EQUAL_OR_UNORDERED);
    blend(e, d, scratch_mask(e), a, d);
    break;
  default:
    blend(e, d, a, b, c); /* where */
  }
}

static void logic(grad_emitter *e, int row, int d, int a, int b) {
  switch (row) {
  case GRAD_ROW_eq:
    compare(e, d, a, b, EQUAL);
    return;
  case GRAD_ROW_ne:
    compare(e, d, a, b, NOT_EQUAL);
    return;
  case GRAD_ROW_lt:
    compare(e, d, a, b, LESS);
    return;
  case GRAD_ROW_le:
    compare(e, d, a, b, LESS_EQUAL);
    return;
  case GRAD_ROW_gt:
    compare(e, d, b, a, LESS);
    return;
  case GRAD_ROW_ge:
    compare(e, d, b, a, LESS_EQUAL);
    return;
  case GRAD_ROW_isnan:
    compare(e, d, a, a, UNORDERED);
    return;
  case GRAD_ROW_not:
    x86_mask_not(&e->out, d, a);
    return;
  default:
    break;
  }
  const int which = row == GRAD_ROW_and ? 0 : row == GRAD_ROW_or ? 1 : 2;
  if (e->out.wide) {
    x86_masks(&e->out, (const uint8_t[]){0x41, 0x45, 0x47}[which], d, a, b);
  } else {
    binary(e, (const uint8_t[]){AND, OR, XOR}[which], d, a, b);
  }
}

static void emit_micro(grad_emitter *e, int32_t m) {
  const grad_micro *micro = &e->region->micros[m];
  int in[3] = {0};
  for (int k = 0; k < micro->op->nin; k++) e->upcoming[micro->in[k]] = m;
  for (int k = 0; k < micro->op->nin && !e->failed; k++) in[k] = read_operand(e, micro->in[k], m);
  if (e->failed) return;
  e->in_memory[micro->out] = false;
  e->upcoming[micro->out] = m;
  const int d = take(e, micro->out, m);
  if (e->failed) return;
  if (is_mask(e, micro->out)) {
    logic(e, micro->op->row, d, in[0], in[1]);
  } else {
    arithmetic(e, micro->op->row, d, in[0], in[1], in[2]);
  }
  write_result(e, micro->out, d);
  for (int k = 0; k < micro->op->nin; k++) {
    e->upcoming[micro->in[k]] = e->next[m][k];
    if (e->next[m][k] >= e->to && !is_hoisted(e, micro->in[k])) release(e, micro->in[k]);
  }
  e->upcoming[micro->out] = e->next[m][RESULT];
  if (e->next[m][RESULT] >= e->to) release(e, micro->out);
}

/* --- the loop */

/* Forgets what is in registers, but for the invariants loaded before the loop. */
static void begin_body(grad_emitter *e, bool masked) {
  e->masked = masked;
  for (int r = 0; r < e->nvectors; r++) {
    if (e->vectors[r] != NOWHERE && !is_hoisted(e, e->vectors[r])) release(e, e->vectors[r]);
  }
  for (int r = FIRST_MASK; r < SCRATCH_MASK; r++) {
    if (e->masks[r] != NOWHERE) release(e, e->masks[r]);
  }
}

static int32_t body(grad_emitter *e, bool masked) {
  begin_body(e, masked);
  for (int32_t m = e->from; m < e->to; m++) {
    emit_micro(e, m);
    if (e->failed) return m;
  }
  return e->to;
}

static void refer(grad_emitter *e, label which, int64_t at) { e->labels[which][e->nlabels[which]++] = at; }

static void load_constants(grad_emitter *e) {
  const x86_op broadcast = extended(e, 2, 0x18, 0x19, true);
  const x86_rm pool = {X86_LABEL, 0, 0};
  binary(e, XOR, e->zero, e->zero, e->zero);
  refer(e, ONE_LABEL, x86_vector(&e->out, broadcast, e->one, 0, pool, plain(e)));
  refer(e, SIGN_LABEL, x86_vector(&e->out, broadcast, e->sign, 0, pool, plain(e)));
  if (!e->out.wide) return;
  refer(e, BYTES_LABEL, x86_vector(&e->out, (x86_op){1, 3, 0, 0x6f}, e->bytes, 0, pool, (x86_mode){0}));
  X86(&e->out, 0x41, 0xbb); /* R11 = all lanes; TAIL = R11 */
  x86_int32(&e->out, (1 << e->lanes) - 1);
  X86(&e->out, 0xc4, 0xc1, 0x78, 0x92, 0xcb);
}

static void load_hoisted(grad_emitter *e) {
  for (int32_t i = 0; i < e->nhoisted; i++) {
    x86_load_pointer(&e->out, RCX, e->hoisted[i] * (int64_t)sizeof(char *));
    x86_vector(&e->out, packed(e, LOAD), e->at[e->hoisted[i]], 0, (x86_rm){X86_BASE, RCX, 0}, plain(e));
  }
}

/* Pointers are known from the rehearsal. */
static void load_pointers(grad_emitter *e) {
  for (int i = FREE_POINTERS; i < e->npointers; i++) x86_push(&e->out, pointer_registers[i]);
  for (int32_t o = 0; o < e->region->noperands; o++) {
    if (e->pointer[o] != NOWHERE && e->pointer[o] < MOST_POINTERS)
      x86_load_pointer(&e->out, pointer_registers[e->pointer[o]], o * (int64_t)sizeof(char *));
  }
}

/* RDI holds how many lanes are left. */
static void set_tail(grad_emitter *e) {
  if (e->out.wide) { /* R11 = (1 << RDI) - 1, the shift taken from CL */
    X86(&e->out, 0x48, 0x87, 0xf9, 0x41, 0xbb, 1, 0, 0, 0, 0x41, 0xd3, 0xe3, 0x41, 0xff, 0xcb, 0x48, 0x87, 0xf9);
    X86(&e->out, 0xc4, 0xc1, 0x78, 0x92, 0xcb);
  } else { /* a window on lanes of ones that are followed by zeros */
    X86(&e->out, 0x4c, 0x8d, 0x1d);
    refer(e, TAIL_LABEL, x86_here(&e->out));
    x86_int32(&e->out, 0);
    X86(&e->out, 0x48, 0xc1, 0xe7, e->dtype == GRAD_F64 ? 3 : 2, 0x49, 0x29, 0xfb);
    x86_vector(&e->out, packed(e, LOAD), e->bytes, 0, (x86_rm){X86_BASE, R11, 0}, plain(e));
  }
}

static void loop(grad_emitter *e) {
  x86 *out = &e->out;
  const uint8_t lanes = (uint8_t)e->lanes;
  X86(out, 0x31, 0xc9, 0x48, 0x83, 0xef, lanes); /* RCX = 0, RDI -= lanes */
  const int64_t skip = x86_jump(out, 0x8c), top = x86_here(out);
  body(e, false);
  X86(out, 0x48, 0x83, 0xc1, lanes, 0x48, 0x39, 0xf9); /* RCX += lanes, compare with RDI */
  const int64_t again = x86_jump(out, 0x8e);
  x86_patch(out, again, top);
  x86_patch(out, skip, x86_here(out));
  X86(out, 0x48, 0x83, 0xc7, lanes, 0x48, 0x29, 0xcf); /* RDI += lanes - RCX */
  const int64_t done = x86_jump(out, 0x84);
  set_tail(e);
  body(e, true);
  x86_patch(out, done, x86_here(out));
}

static void add_pool(grad_emitter *e) {
  union {
    double f64;
    float f32;
    uint8_t bytes[8];
  } one = {0}, sign = {0};
  if (e->dtype == GRAD_F64) {
    one.f64 = 1;
    sign.f64 = -0.0;
  } else {
    one.f32 = 1;
    sign.f32 = -0.0f;
  }
  uint8_t ones[64], flags[16];
  memset(ones, 0xff, 32);
  memset(ones + 32, 0, 32);
  memset(flags, 1, sizeof flags);
  int64_t at[NLABELS];
  at[ONE_LABEL] = x86_here(&e->out);
  x86_bytes(&e->out, 8, one.bytes);
  at[SIGN_LABEL] = x86_here(&e->out);
  x86_bytes(&e->out, 8, sign.bytes);
  at[BYTES_LABEL] = x86_here(&e->out);
  x86_bytes(&e->out, sizeof flags, flags);
  at[TAIL_LABEL] = x86_here(&e->out) + 32;
  x86_bytes(&e->out, sizeof ones, ones);
  for (int l = 0; l < NLABELS; l++) {
    for (int i = 0; i < e->nlabels[l]; i++) x86_patch(&e->out, e->labels[l][i], at[l]);
  }
}

static void emit_function(grad_emitter *e) {
  load_pointers(e);
  load_constants(e);
  load_hoisted(e);
  loop(e);
  for (int i = e->npointers - 1; i >= FREE_POINTERS; i--) x86_pop(&e->out, pointer_registers[i]);
  X86(&e->out, 0xc5, 0xf8, 0x77, 0xc3); /* vzeroupper; ret */
  add_pool(e);
}

/* --- stretches */

static void hoist(grad_emitter *e) {
  const int most = e->out.wide ? HOISTED : HOISTED / 4;
  e->nhoisted = 0;
  for (int32_t m = e->from; m < e->to && e->nhoisted < most; m++) {
    const grad_micro *micro = &e->region->micros[m];
    for (int k = 0; k < micro->op->nin && e->nhoisted < most; k++) {
      const int32_t o = micro->in[k];
      if (!e->invariant[o] || is_mask(e, o) || is_hoisted(e, o)) continue;
      e->hoisted[e->nhoisted++] = o;
      take(e, o, m);
    }
  }
}

static void begin_stretch(grad_emitter *e) {
  const grad_region *g = e->region;
  e->failed = false;
  e->npointers = 0;
  memset(e->nlabels, 0, sizeof e->nlabels);
  memset(e->at, NOWHERE, (size_t)g->noperands);
  memset(e->pointer, NOWHERE, (size_t)g->noperands);
  memset(e->in_memory, 0, (size_t)g->noperands);
  memset(e->narrow, 0, (size_t)g->nregs);
  for (int r = 0; r < VECTORS; r++) e->vectors[r] = NOWHERE;
  for (int r = 0; r < MASKS; r++) e->masks[r] = NOWHERE;
  hoist(e);
}

static void set_dtype(grad_emitter *e, grad_dtype dtype) {
  e->dtype = dtype;
  e->lanes = (e->out.wide ? 64 : 32) / (int)grad__dtype_size(dtype);
}

/* The longest stretch of known ops of the first float dtype met. */
static int32_t end_of_known(grad_emitter *e, int32_t from) {
  const grad_region *g = e->region;
  int32_t m = from;
  while (m < g->nmicros && g->micros[m].kind == GRAD_MICRO_KERNEL && g->micros[m].dtype == GRAD_BOOL) m++;
  if (m == g->nmicros || g->micros[m].kind != GRAD_MICRO_KERNEL) return from;
  if (!grad__dtype_is_float((grad_dtype)g->micros[m].dtype)) return from;
  set_dtype(e, (grad_dtype)g->micros[m].dtype);
  for (m = from; m < g->nmicros && fits(e, &g->micros[m]);) m++;
  return m;
}

int32_t grad__emit_stretch(grad_emitter *e, int32_t from, int64_t *at) {
  e->from = from;
  e->to = end_of_known(e, from);
  e->out.dry = true;
  while (e->to - from > 1) { /* rehearse, which also hands out the pointer registers */
    begin_stretch(e);
    const int32_t reached = body(e, false);
    if (reached == e->to) break;
    e->to = reached;
  }
  if (e->to - from < 2) return from;
  e->out.dry = false;
  *at = e->out.code->size;
  emit_function(e);
  return e->to;
}

static void find_reads(grad_emitter *e) {
  const grad_region *g = e->region;
  for (int32_t o = 0; o < g->noperands; o++) e->last[o] = -1;
  for (int32_t o = 0; o < g->noperands; o++) e->upcoming[o] = INT32_MAX;
  for (int32_t m = g->nmicros - 1; m >= 0; m--) {
    e->next[m][RESULT] = e->upcoming[g->micros[m].out];
    for (int k = 0; k < 3; k++) e->next[m][k] = e->upcoming[g->micros[m].in[k]];
    for (int k = 0; k < 3; k++) {
      e->upcoming[g->micros[m].in[k]] = m;
      if (e->last[g->micros[m].in[k]] < 0) e->last[g->micros[m].in[k]] = m;
    }
  }
  for (int32_t i = 0; i < g->nfills; i++) e->invariant[g->fills[i].out] = g->fills[i].do_.load->layout.naxes == 0;
}

grad_emitter *grad__emitter_new(grad_planner *pl, grad_code *code, const grad_region *region) {
  const size_t operands = (size_t)region->noperands;
  grad_emitter *e = grad__planner_alloc(pl, 1, sizeof *e);
  if (!e) return NULL;
  e->next = grad__planner_alloc(pl, (size_t)region->nmicros, sizeof *e->next);
  e->last = grad__planner_alloc(pl, operands, sizeof *e->last);
  e->upcoming = grad__planner_alloc(pl, operands, sizeof *e->upcoming);
  e->at = grad__planner_alloc(pl, operands, 1);
  e->pointer = grad__planner_alloc(pl, operands, 1);
  e->invariant = grad__planner_alloc(pl, operands, sizeof *e->invariant);
  e->in_memory = grad__planner_alloc(pl, operands, sizeof *e->in_memory);
  e->narrow = grad__planner_alloc(pl, (size_t)region->nregs + 1, 1);
  if (!e->next || !e->last || !e->upcoming || !e->at || !e->pointer || !e->invariant || !e->in_memory || !e->narrow)
    return NULL;
  e->out = (x86){.code = code, .wide = pl->ctx->simd >= GRAD_SIMD_AVX512};
  e->region = region;
  e->nvectors = e->out.wide ? 27 : 11;
  e->spare = e->nvectors;
  e->bytes = e->nvectors + 1; /* AVX-512: bytes of 1; AVX2: the mask of the last vector */
  e->sign = e->nvectors + 2;
  e->one = e->nvectors + 3;
  e->zero = e->nvectors + 4;
  find_reads(e);
  return e;
}

#endif

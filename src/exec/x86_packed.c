/* x86_packed.c: ops on vector registers; see x86_packed.h. */
#include "exec/x86_packed.h"

#include <string.h>

#include "ops/kernels_table.h"

/* --- encodings */

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
  MAX = 0x5f,
  SQRT = 0x51,
  MOVE = 0x28,
  LOAD = 0x10,
  STORE = 0x11,
  COMPARE = 0xc2
};
enum { EQUAL = 0, UNORDERED = 3, NOT_EQUAL = 4, EQUAL_OR_UNORDERED = 8, LESS = 17, LESS_EQUAL = 18 };
enum { TO_EVEN = 8, DOWN = 9, UP = 10 }; /* without raising inexact */

static const x86_op load_bytes = {1, 3, 0, 0x6f}, store_bytes = {1, 3, 0, 0x7f}, test_bytes = {2, 1, 0, 0x26};

static x86_mode plain(const x86_packed *v) { return (x86_mode){.length = v->out.wide ? 2 : 1}; }

static x86_op packed(const x86_packed *v, uint8_t opcode) {
  const bool f64 = v->dtype == GRAD_F64;
  return (x86_op){1, f64, f64, opcode};
}

/* In the maps 0F 38 and 0F 3A: two opcodes, or the bit w, tell f32 from f64. */
static x86_op extended(const x86_packed *v, uint8_t map, uint8_t f32, uint8_t f64) {
  const bool is_f64 = v->dtype == GRAD_F64;
  return (x86_op){map, 1, is_f64 && v->out.wide, is_f64 ? f64 : f32};
}

static void binary(x86_packed *v, uint8_t opcode, int to, int a, int b) {
  x86_vector(&v->out, packed(v, opcode), to, a, x86_reg(b), plain(v));
}

/* to = a how b, in AVX-512 and with a mask that is not 0: and that mask. */
static void compare(x86_packed *v, int to, int a, int b, uint8_t how, int mask) {
  x86_mode mode = plain(v);
  mode.mask = mask;
  x86_vector(&v->out, packed(v, COMPARE), to, a, x86_reg(b), mode);
  X86(&v->out, how);
}

/* to = mask ? yes : no */
static void blend(x86_packed *v, int to, int mask, int yes, int no) {
  x86_mode mode = plain(v);
  if (v->out.wide) {
    mode.mask = mask;
    x86_vector(&v->out, extended(v, 2, 0x65, 0x65), to, no, x86_reg(yes), mode);
  } else {
    x86_vector(&v->out, extended(v, 3, 0x4a, 0x4b), to, no, x86_reg(yes), mode);
    X86(&v->out, (uint8_t)(mask << 4));
  }
}

/* Where a comparison goes that is used at once. */
static int scratch_mask(const x86_packed *v) { return v->out.wide ? X86_SCRATCH_MASK : v->spare; }

static void round_to(x86_packed *v, int to, int a, uint8_t how) {
  x86_vector(&v->out, extended(v, 3, 0x08, 0x09), to, 0, x86_reg(a), plain(v));
  X86(&v->out, how);
}

/* --- ops of several instructions */

/* The larger or smaller; the instruction gives b when either is NaN, the kernel a when that is NaN. */
static void extreme(x86_packed *v, uint8_t opcode, int to, int a, int b) {
  binary(v, opcode, to, a, b);
  compare(v, scratch_mask(v), a, a, UNORDERED, 0);
  blend(v, to, scratch_mask(v), a, to);
}

static void clamp(x86_packed *v, int to, int a, int low, int high) {
  extreme(v, MAX, to, a, low);
  extreme(v, MIN, v->spare, to, high);
  binary(v, MOVE, to, 0, v->spare);
}

static void mulz(x86_packed *v, int to, int a, int b) {
  if (v->out.wide) {
    const x86_mode mode = {.mask = X86_SCRATCH_MASK, .zeroing = true, .length = 2};
    compare(v, X86_SCRATCH_MASK, a, v->zero, NOT_EQUAL, 0);
    compare(v, X86_SCRATCH_MASK, b, v->zero, NOT_EQUAL, X86_SCRATCH_MASK);
    x86_vector(&v->out, packed(v, MUL), to, a, x86_reg(b), mode);
  } else {
    compare(v, v->spare, a, v->zero, NOT_EQUAL, 0);
    compare(v, to, b, v->zero, NOT_EQUAL, 0);
    binary(v, AND, v->spare, v->spare, to);
    binary(v, MUL, to, a, b);
    binary(v, AND, to, to, v->spare);
  }
}

static void sign(x86_packed *v, int to, int a) {
  binary(v, AND, to, a, v->sign);
  binary(v, OR, to, to, v->one);
  compare(v, scratch_mask(v), a, v->zero, EQUAL_OR_UNORDERED, 0);
  blend(v, to, scratch_mask(v), a, to);
}

static void logic(x86_packed *v, int row, int to, int a, int b) {
  const int which = row == GRAD_ROW_and ? 0 : row == GRAD_ROW_or ? 1 : 2;
  if (v->out.wide) {
    x86_masks(&v->out, (const uint8_t[]){0x41, 0x45, 0x47}[which], to, a, b);
  } else {
    binary(v, (const uint8_t[]){AND, OR, XOR}[which], to, a, b);
  }
}

/* --- the ops that are known */

/* How an op is made: from one instruction on the registers named, by rounding, by comparing, or in a way of its own. */
typedef enum form {
  UNKNOWN,
  A_B,
  A_A,
  ONE_A,
  A_SIGN,
  SIGN_A,
  ONLY_A,
  ROUND,
  COMPARE_A_B,
  COMPARE_B_A,
  COMPARE_A_A,
  OWN
} form;

static const struct {
  uint8_t form, code;
} forms[GRAD_ROWS] = {
    [GRAD_ROW_add] = {A_B, ADD},
    [GRAD_ROW_sub] = {A_B, SUB},
    [GRAD_ROW_mul] = {A_B, MUL},
    [GRAD_ROW_div] = {A_B, DIV},
    [GRAD_ROW_square] = {A_A, MUL},
    [GRAD_ROW_reciprocal] = {ONE_A, DIV},
    [GRAD_ROW_neg] = {A_SIGN, XOR},
    [GRAD_ROW_abs] = {SIGN_A, ANDN},
    [GRAD_ROW_sqrt] = {ONLY_A, SQRT},
    [GRAD_ROW_floor] = {ROUND, DOWN},
    [GRAD_ROW_ceil] = {ROUND, UP},
    [GRAD_ROW_round] = {ROUND, TO_EVEN},
    [GRAD_ROW_eq] = {COMPARE_A_B, EQUAL},
    [GRAD_ROW_ne] = {COMPARE_A_B, NOT_EQUAL},
    [GRAD_ROW_lt] = {COMPARE_A_B, LESS},
    [GRAD_ROW_le] = {COMPARE_A_B, LESS_EQUAL},
    [GRAD_ROW_gt] = {COMPARE_B_A, LESS},
    [GRAD_ROW_ge] = {COMPARE_B_A, LESS_EQUAL},
    [GRAD_ROW_isnan] = {COMPARE_A_A, UNORDERED},
    [GRAD_ROW_mulz] = {OWN, 0},
    [GRAD_ROW_rsqrt] = {OWN, 0},
    [GRAD_ROW_floordiv] = {OWN, 0},
    [GRAD_ROW_maximum] = {OWN, 0},
    [GRAD_ROW_minimum] = {OWN, 0},
    [GRAD_ROW_relu] = {OWN, 0},
    [GRAD_ROW_clamp] = {OWN, 0},
    [GRAD_ROW_sign] = {OWN, 0},
    [GRAD_ROW_where] = {OWN, 0},
    [GRAD_ROW_and] = {OWN, 0},
    [GRAD_ROW_or] = {OWN, 0},
    [GRAD_ROW_xor] = {OWN, 0},
    [GRAD_ROW_not] = {OWN, 0},
};

/* With AVX2 a mask is a vector: clamp would need a second spare one, not a vector of ones. */
bool grad__x86_packed_knows(bool wide, const grad_op *op) {
  if (!wide && (op->row == GRAD_ROW_clamp || op->row == GRAD_ROW_not)) return false;
  return forms[op->row].form != UNKNOWN;
}

static void own(x86_packed *v, int row, int to, int a, int b, int c) {
  switch (row) {
  case GRAD_ROW_mulz:
    mulz(v, to, a, b);
    return;
  case GRAD_ROW_rsqrt:
    binary(v, SQRT, v->spare, 0, a);
    binary(v, DIV, to, v->one, v->spare);
    return;
  case GRAD_ROW_floordiv:
    binary(v, DIV, v->spare, a, b);
    round_to(v, to, v->spare, DOWN);
    return;
  case GRAD_ROW_maximum:
    extreme(v, MAX, to, a, b);
    return;
  case GRAD_ROW_minimum:
    extreme(v, MIN, to, a, b);
    return;
  case GRAD_ROW_relu:
    extreme(v, MAX, to, a, v->zero);
    return;
  case GRAD_ROW_clamp:
    clamp(v, to, a, b, c);
    return;
  case GRAD_ROW_sign:
    sign(v, to, a);
    return;
  case GRAD_ROW_where:
    blend(v, to, a, b, c);
    return;
  case GRAD_ROW_not:
    x86_mask_not(&v->out, to, a);
    return;
  default:
    logic(v, row, to, a, b);
  }
}

void grad__x86_packed_op(x86_packed *v, const grad_op *op, int to, int a, int b, int c) {
  const uint8_t code = forms[op->row].code;
  switch ((form)forms[op->row].form) {
  case A_B:
    binary(v, code, to, a, b);
    return;
  case A_A:
    binary(v, code, to, a, a);
    return;
  case ONE_A:
    binary(v, code, to, v->one, a);
    return;
  case A_SIGN:
    binary(v, code, to, a, v->sign);
    return;
  case SIGN_A:
    binary(v, code, to, v->sign, a);
    return;
  case ONLY_A:
    binary(v, code, to, 0, a);
    return;
  case ROUND:
    round_to(v, to, a, code);
    return;
  case COMPARE_A_B:
    compare(v, to, a, b, code, 0);
    return;
  case COMPARE_B_A:
    compare(v, to, b, a, code, 0);
    return;
  case COMPARE_A_A:
    compare(v, to, a, a, code, 0);
    return;
  default:
    own(v, op->row, to, a, b, c);
  }
}

/* --- memory */

void grad__x86_packed_move(x86_packed *v, bool store, int reg, x86_rm place) {
  x86_mode mode = plain(v);
  if (v->masked && !v->out.wide) {
    const x86_op move = store ? extended(v, 2, 0x2e, 0x2f) : extended(v, 2, 0x2c, 0x2d);
    x86_vector(&v->out, move, reg, v->bytes, place, mode);
    return;
  }
  mode.mask = v->masked ? X86_TAIL : 0;
  mode.zeroing = v->masked && !store;
  x86_vector(&v->out, packed(v, store ? STORE : LOAD), reg, 0, place, mode);
}

void grad__x86_packed_load_mask(x86_packed *v, int reg, x86_rm place) {
  x86_vector(&v->out, load_bytes, v->spare, 0, place, (x86_mode){.mask = X86_TAIL, .zeroing = true});
  x86_vector(&v->out, test_bytes, reg, v->spare, x86_reg(v->spare), (x86_mode){0});
}

void grad__x86_packed_store_mask(x86_packed *v, int reg, x86_rm place) {
  x86_vector(&v->out, load_bytes, v->spare, 0, x86_reg(v->bytes), (x86_mode){.mask = reg, .zeroing = true});
  x86_vector(&v->out, store_bytes, v->spare, 0, place, (x86_mode){.mask = X86_TAIL});
}

/* --- constants */

/* X86_TAIL = R11 */
static void set_lanes(x86_packed *v) { X86(&v->out, 0xc4, 0xc1, 0x78, 0x92, 0xcb); }

void grad__x86_packed_constants(x86_packed *v, int64_t labels[X86_LABELS]) {
  const x86_op broadcast = extended(v, 2, 0x18, 0x19);
  const x86_rm pool = {X86_LABEL, 0, 0};
  memset(labels, 0, X86_LABELS * sizeof *labels);
  binary(v, XOR, v->zero, v->zero, v->zero);
  labels[X86_ONE] = x86_vector(&v->out, broadcast, v->one, 0, pool, plain(v));
  labels[X86_SIGN] = x86_vector(&v->out, broadcast, v->sign, 0, pool, plain(v));
  if (!v->out.wide) return;
  labels[X86_BYTES] = x86_vector(&v->out, load_bytes, v->bytes, 0, pool, (x86_mode){0});
  X86(&v->out, 0x41, 0xbb); /* R11 = ... */
  x86_int32(&v->out, (1 << v->lanes) - 1);
  set_lanes(v);
}

void grad__x86_packed_set_tail(x86_packed *v, int64_t labels[X86_LABELS]) {
  if (v->out.wide) { /* R11 = (1 << RDI) - 1; the shift is taken from CL, so RCX and RDI change places for it */
    X86(&v->out, 0x48, 0x87, 0xf9);
    X86(&v->out, 0x41, 0xbb, 1, 0, 0, 0, 0x41, 0xd3, 0xe3, 0x41, 0xff, 0xcb);
    X86(&v->out, 0x48, 0x87, 0xf9);
    set_lanes(v);
  } else { /* a window on lanes of ones that are followed by zeros: R11 = label - RDI * size */
    X86(&v->out, 0x4c, 0x8d, 0x1d);
    labels[X86_LANES] = x86_here(&v->out);
    x86_int32(&v->out, 0);
    X86(&v->out, 0x48, 0xc1, 0xe7, v->dtype == GRAD_F64 ? 3 : 2, 0x49, 0x29, 0xfb);
    x86_vector(&v->out, packed(v, LOAD), v->bytes, 0, (x86_rm){X86_BASE, R11, 0}, plain(v));
  }
}

static int64_t pool_bytes(x86_packed *v, int n, const void *bytes) {
  const int64_t at = x86_here(&v->out);
  x86_bytes(&v->out, n, bytes);
  return at;
}

void grad__x86_packed_pool(x86_packed *v, const int64_t labels[X86_LABELS]) {
  const double f64[] = {1, -0.0};
  const float f32[] = {1, -0.0f};
  uint8_t ones[64] = {0}, flags[16];
  int64_t at[X86_LABELS];
  memset(ones, 0xff, sizeof ones / 2);
  memset(flags, 1, sizeof flags);
  const bool wide_lanes = v->dtype == GRAD_F64;
  at[X86_ONE] = wide_lanes ? pool_bytes(v, 8, &f64[0]) : pool_bytes(v, 4, &f32[0]);
  at[X86_SIGN] = wide_lanes ? pool_bytes(v, 8, &f64[1]) : pool_bytes(v, 4, &f32[1]);
  at[X86_BYTES] = pool_bytes(v, sizeof flags, flags);
  at[X86_LANES] = pool_bytes(v, sizeof ones, ones) + (int64_t)sizeof ones / 2;
  for (int l = 0; l < X86_LABELS; l++) {
    if (labels[l] > 0) x86_patch(&v->out, labels[l], at[l]);
  }
}

void grad__x86_packed_set_dtype(x86_packed *v, grad_dtype dtype) {
  v->dtype = dtype;
  v->lanes = (v->out.wide ? 64 : 32) / (int)grad__dtype_size(dtype);
}

void grad__x86_packed_init(x86_packed *v, grad_code *code, bool wide) {
  *v = (x86_packed){.out = {.code = code, .wide = wide}, .nvectors = (wide ? 32 : 16) - 5};
  v->spare = v->nvectors;
  v->bytes = v->nvectors + 1;
  v->sign = v->nvectors + 2;
  v->one = v->nvectors + 3;
  v->zero = v->nvectors + 4;
}

/* x86.h: an assembler for the few instructions that fused loops need, in the encodings VEX (256 bits) and EVEX (512
 * bits, with masks). Intel's Software Developer's Manual, volume 2, describes both.
 *
 * Vector registers are 0 to 15 (VEX) or 31 (EVEX); mask registers 0 to 7; general registers by their number. Memory
 * operands are [base], [base + rcx * 2^scale], [base + offset], or a label in the pool of constants that follows the
 * code.
 */
#ifndef GRAD_EXEC_X86_H
#define GRAD_EXEC_X86_H

#include "exec/machine_code.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

typedef struct x86 {
  grad_code *code;
  bool wide; /* EVEX */
  bool dry;  /* emit nothing: a rehearsal */
} x86;

static inline void x86_bytes(x86 *a, int n, const uint8_t *bytes) {
  if (!a->dry) grad__code_add(a->code, n, bytes);
}
#define X86(a, ...) x86_bytes(a, (int)sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static inline void x86_int32(x86 *a, int64_t value) {
  const uint32_t v = (uint32_t)value;
  X86(a, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24));
}

static inline int64_t x86_here(const x86 *a) { return a->dry ? 0 : a->code->size; }

/* Writes the distance from the end of the 4 bytes at `from` to `to` there. */
static inline void x86_patch(x86 *a, int64_t from, int64_t to) {
  const uint32_t v = (uint32_t)(to - (from + 4));
  if (a->dry || a->code->failed) return;
  for (int i = 0; i < 4; i++) a->code->bytes[from + i] = (uint8_t)(v >> (8 * i));
}

/* --- general registers */

static inline uint8_t x86_modrm(int mod, int reg, int rm) { return (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7)); }

/* to = [RSI + offset] */
static inline void x86_load_pointer(x86 *a, int to, int64_t offset) {
  X86(a, (uint8_t)(0x48 | (to >> 3) << 2), 0x8b, x86_modrm(2, to, RSI));
  x86_int32(a, offset);
}

/* An instruction on a register and [base + offset]; the base is not RSP or R12. wide: on 64 bits. */
static inline void x86_memory(x86 *a, uint8_t opcode, bool wide, int reg, int base, int32_t offset) {
  X86(a, (uint8_t)(0x40 | wide << 3 | (reg >> 3) << 2 | base >> 3), opcode, x86_modrm(2, reg, base));
  x86_int32(a, offset);
}

static inline void x86_load_byte(x86 *a, int to, int base, int32_t offset) {
  X86(a, (uint8_t)(0x40 | (to >> 3) << 2 | base >> 3), 0x0f, 0xb6, x86_modrm(2, to, base));
  x86_int32(a, offset);
}

static inline void x86_constant(x86 *a, int to, uint64_t value) {
  X86(a, (uint8_t)(0x48 | to >> 3), (uint8_t)(0xb8 + (to & 7)));
  x86_int32(a, (int64_t)(value & UINT32_MAX));
  x86_int32(a, (int64_t)(value >> 32));
}

static inline void x86_push(x86 *a, int reg) {
  if (reg >= R8) X86(a, 0x41);
  X86(a, (uint8_t)(0x50 + (reg & 7)));
}

static inline void x86_pop(x86 *a, int reg) {
  if (reg >= R8) X86(a, 0x41);
  X86(a, (uint8_t)(0x58 + (reg & 7)));
}

/* A jump (0x8c: less, 0x8e: less or equal, 0x84: zero) to be patched; returns where. */
static inline int64_t x86_jump(x86 *a, uint8_t condition) {
  X86(a, 0x0f, condition);
  const int64_t at = x86_here(a);
  x86_int32(a, 0);
  return at;
}

/* --- vectors */

/* An instruction: map 1 is 0F, 2 is 0F 38, 3 is 0F 3A; prefix 0 none, 1 is 66, 3 is F2; w the operand size bit. */
typedef struct x86_op {
  uint8_t map, prefix, w, opcode;
} x86_op;

typedef enum x86_where { X86_REGISTER, X86_BASE, X86_INDEXED, X86_OFFSET, X86_LABEL } x86_where;

typedef struct x86_rm {
  x86_where where;
  int reg;   /* the register, or the base */
  int scale; /* of rcx; OFFSET: the offset */
} x86_rm;

/* How an instruction is carried out: merge mask (0: none), zeroing instead of merging, vector length 0, 1, 2. */
typedef struct x86_mode {
  int mask;
  bool zeroing;
  int length;
} x86_mode;

static inline x86_rm x86_reg(int reg) { return (x86_rm){X86_REGISTER, reg, 0}; }

static inline void x86_evex(x86 *a, x86_op op, int reg, int source, int high, int base, x86_mode mode) {
  X86(a, 0x62, (uint8_t)((~reg & 8) << 4 | (~high & 1) << 6 | (~base & 8) << 2 | (~reg & 16) | op.map),
      (uint8_t)(op.w << 7 | (~source & 15) << 3 | 4 | op.prefix),
      (uint8_t)(mode.zeroing << 7 | mode.length << 5 | (~source & 16) >> 1 | mode.mask));
}

static inline void x86_vex(x86 *a, x86_op op, int reg, int source, int base, x86_mode mode) {
  X86(a, 0xc4, (uint8_t)((~reg & 8) << 4 | 0x40 | (~base & 8) << 2 | op.map),
      (uint8_t)(op.w << 7 | (~source & 15) << 3 | (mode.length ? 4 : 0) | op.prefix));
}

/* reg = source op rm. Returns where the distance of a label stands, to be patched. */
static inline int64_t x86_vector(x86 *a, x86_op op, int reg, int source, x86_rm rm, x86_mode mode) {
  const int base = rm.where == X86_LABEL ? 0 : rm.reg;
  if (a->wide) {
    x86_evex(a, op, reg, source, rm.where == X86_REGISTER ? rm.reg >> 4 : 0, base, mode);
  } else {
    x86_vex(a, op, reg, source, base, mode);
  }
  X86(a, op.opcode);
  int64_t label = 0;
  switch (rm.where) {
  case X86_REGISTER:
    X86(a, x86_modrm(3, reg, rm.reg));
    break;
  case X86_BASE:
    X86(a, x86_modrm(0, reg, rm.reg));
    break;
  case X86_INDEXED:
    X86(a, x86_modrm(0, reg, 4), (uint8_t)(rm.scale << 6 | RCX << 3 | (rm.reg & 7)));
    break;
  case X86_OFFSET:
    X86(a, x86_modrm(2, reg, rm.reg));
    x86_int32(a, rm.scale);
    break;
  case X86_LABEL:
    X86(a, x86_modrm(0, reg, 5));
    label = x86_here(a);
    x86_int32(a, 0);
  }
  return label;
}

/* Mask registers: 0x41 and, 0x45 or, 0x47 exclusive or; to = x op y. */
static inline void x86_masks(x86 *a, uint8_t opcode, int to, int x, int y) {
  X86(a, 0xc5, (uint8_t)(0x84 | (~x & 15) << 3), opcode, x86_modrm(3, to, y));
}

static inline void x86_mask_not(x86 *a, int to, int x) { X86(a, 0xc5, 0xf8, 0x44, x86_modrm(3, to, x)); }

#endif

/* x86_packed.h: what a fused loop does with vectors, in instructions: every op on registers, loads and stores, masks.
 * Which value is in which register is emit_x86.c's affair.
 */
#ifndef GRAD_EXEC_X86_PACKED_H
#define GRAD_EXEC_X86_PACKED_H

#include "exec/x86.h"
#include "program/opdef.h"

enum {
  X86_TAIL = 1,         /* AVX-512: the mask register of the lanes in use */
  X86_SCRATCH_MASK = 7, /* AVX-512: for comparisons used at once */
  X86_FIRST_MASK = 2    /* up to X86_SCRATCH_MASK: free for values */
};

/* Packed arithmetic of a dtype. The five registers after the first `nvectors`: */
typedef struct x86_packed {
  x86 out;
  grad_dtype dtype;
  int lanes;
  int nvectors;
  int spare;           /* for temporary use */
  int bytes;           /* AVX-512: bytes of 1; AVX2: the lanes of the last vector */
  int sign, one, zero; /* the sign bit, 1 and 0 in every lane */
  bool masked;         /* loads and stores take only the lanes in use */
} x86_packed;

void grad__x86_packed_init(x86_packed *v, grad_code *code, bool wide);
void grad__x86_packed_set_dtype(x86_packed *v, grad_dtype dtype);

/* Can the op be emitted? Ops on masks belong to any dtype. */
bool grad__x86_packed_knows(bool wide, const grad_op *op);
/* to = op(a, b, c), all registers; `to` is none of the others. Masks are mask registers in AVX-512, else vectors. */
void grad__x86_packed_op(x86_packed *v, const grad_op *op, int to, int a, int b, int c);

void grad__x86_packed_move(x86_packed *v, bool store, int reg, x86_rm place);
/* A mask from or to bytes of 0 and 1: AVX-512 only. */
void grad__x86_packed_load_mask(x86_packed *v, int reg, x86_rm place);
void grad__x86_packed_store_mask(x86_packed *v, int reg, x86_rm place);

/* The constants, read from a pool: its label is patched later. */
typedef enum x86_label { X86_ONE, X86_SIGN, X86_BYTES, X86_LANES, X86_LABELS } x86_label;
void grad__x86_packed_constants(x86_packed *v, int64_t labels[X86_LABELS]);
/* Limits the lanes in use to the RDI first ones; changes RDI and R11. */
void grad__x86_packed_set_tail(x86_packed *v, int64_t labels[X86_LABELS]);
void grad__x86_packed_pool(x86_packed *v, const int64_t labels[X86_LABELS]);

#endif

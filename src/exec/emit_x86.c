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

#include "exec/x86_packed.h"

enum {
  VECTORS = 32,
  MASKS = 8,
  MOST_MICROS = 256, /* in a stretch: bounds the work of planning a long one */
  MOST_POINTERS = 9,
  RESULT = 3,
  HOISTED = 8, /* invariants kept in registers throughout */
  NOWHERE = -1
};

static const int8_t pointer_registers[MOST_POINTERS] = {RAX, RDX, R8, R9, R10, RBX, R12, R14, R15};
enum { FREE_POINTERS = 5 }; /* the first need not be saved */

struct grad_emitter {
  x86_packed v;
  const grad_region *region;
  int32_t (*next)[4]; /* by micro: the next micro that reads each of its operands, and its result; INT32_MAX: none */
  int32_t *last;      /* by operand: the last micro that reads it; -1: none */
  int32_t *upcoming;  /* by operand in a register: the next micro that reads it */
  int8_t *at;         /* by operand: its vector or mask register */
  int8_t *pointer;    /* by operand: index of its pointer register, MOST_POINTERS: in the table */
  bool *invariant;    /* by operand: one number, repeated */
  bool *whole;        /* by operand: read as a block */
  bool *in_memory;    /* by operand: may be read again from its place */
  uint8_t *narrow;    /* by scratch register of the region: the narrowest element read from it in this stretch */
  int32_t from, to;   /* the stretch */
  int32_t npointers, hoisted[HOISTED], nhoisted;
  int32_t vectors[VECTORS], masks[MASKS]; /* the operand that each holds; NOWHERE: free */
  bool failed;
};

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
    x86_load_pointer(&e->v.out, R11, operand * (int64_t)sizeof(char *));
  }
  return (x86_rm){X86_INDEXED, base, log2_size(e->region->operands[operand].size)};
}

/* --- registers */

static bool is_hoisted(const grad_emitter *e, int32_t operand) {
  for (int32_t i = 0; i < e->nhoisted; i++) {
    if (e->hoisted[i] == operand) return true;
  }
  return false;
}

static bool is_mask(const grad_emitter *e, int32_t operand) { return e->region->operands[operand].size == 1; }
static bool in_mask_register(const grad_emitter *e, int32_t operand) { return e->v.out.wide && is_mask(e, operand); }

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
  const int first = mask ? X86_FIRST_MASK : 0, count = mask ? X86_SCRATCH_MASK : e->v.nvectors;
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
  if (is_mask(e, operand) && !e->v.out.wide) e->failed = true;
  const int reg = take(e, operand, micro);
  const grad_operand *o = &e->region->operands[operand];
  if (e->failed) return 0;
  if (o->kind == GRAD_OPERAND_REGISTER && (e->narrow[o->reg] == 0 || o->size < e->narrow[o->reg]))
    e->narrow[o->reg] = o->size;
  e->in_memory[operand] = true;
  e->whole[operand] |= !e->v.out.dry;
  if (is_mask(e, operand)) {
    grad__x86_packed_load_mask(&e->v, reg, place_of(e, operand));
  } else {
    grad__x86_packed_move(&e->v, false, reg, place_of(e, operand));
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
  if (runs_over(e, operand) || (is_mask(e, operand) && !e->v.out.wide)) e->failed = true;
  if (e->failed) return;
  if (is_mask(e, operand)) {
    grad__x86_packed_store_mask(&e->v, reg, place_of(e, operand));
  } else {
    grad__x86_packed_move(&e->v, true, reg, place_of(e, operand));
  }
  e->in_memory[operand] = true;
}

/* --- one micro-instruction */

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
  grad__x86_packed_op(&e->v, micro->op, d, in[0], in[1], in[2]);
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
  e->v.masked = masked;
  for (int r = 0; r < e->v.nvectors; r++) {
    if (e->vectors[r] != NOWHERE && !is_hoisted(e, e->vectors[r])) release(e, e->vectors[r]);
  }
  for (int r = X86_FIRST_MASK; r < X86_SCRATCH_MASK; r++) {
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

static void load_hoisted(grad_emitter *e) {
  e->v.masked = false;
  for (int32_t i = 0; i < e->nhoisted; i++) {
    x86_load_pointer(&e->v.out, RCX, e->hoisted[i] * (int64_t)sizeof(char *));
    grad__x86_packed_move(&e->v, false, e->at[e->hoisted[i]], (x86_rm){X86_BASE, RCX, 0});
  }
}

/* Pointers are known from the rehearsal. */
static void load_pointers(grad_emitter *e) {
  for (int i = FREE_POINTERS; i < e->npointers; i++) x86_push(&e->v.out, pointer_registers[i]);
  for (int32_t o = 0; o < e->region->noperands; o++) {
    if (e->pointer[o] != NOWHERE && e->pointer[o] < MOST_POINTERS)
      x86_load_pointer(&e->v.out, pointer_registers[e->pointer[o]], o * (int64_t)sizeof(char *));
  }
}

static void loop(grad_emitter *e, int64_t *labels) {
  x86 *out = &e->v.out;
  const uint8_t lanes = (uint8_t)e->v.lanes;
  X86(out, 0x31, 0xc9, 0x48, 0x83, 0xef, lanes); /* RCX = 0, RDI -= lanes */
  const int64_t skip = x86_jump(out, 0x8c), top = x86_here(out);
  body(e, false);
  X86(out, 0x48, 0x83, 0xc1, lanes, 0x48, 0x39, 0xf9); /* RCX += lanes, compare with RDI */
  const int64_t again = x86_jump(out, 0x8e);
  x86_patch(out, again, top);
  x86_patch(out, skip, x86_here(out));
  X86(out, 0x48, 0x83, 0xc7, lanes, 0x48, 0x29, 0xcf); /* RDI += lanes - RCX */
  const int64_t done = x86_jump(out, 0x84);
  grad__x86_packed_set_tail(&e->v, labels);
  body(e, true);
  x86_patch(out, done, x86_here(out));
}

static void emit_function(grad_emitter *e) {
  int64_t labels[X86_LABELS];
  load_pointers(e);
  grad__x86_packed_constants(&e->v, labels);
  load_hoisted(e);
  loop(e, labels);
  for (int i = e->npointers - 1; i >= FREE_POINTERS; i--) x86_pop(&e->v.out, pointer_registers[i]);
  X86(&e->v.out, 0xc5, 0xf8, 0x77, 0xc3); /* vzeroupper; ret */
  grad__x86_packed_pool(&e->v, labels);
}

/* --- stretches */

static void hoist(grad_emitter *e) {
  const int most = e->v.out.wide ? HOISTED : HOISTED / 4;
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
  memset(e->at, NOWHERE, (size_t)g->noperands);
  memset(e->pointer, NOWHERE, (size_t)g->noperands);
  memset(e->in_memory, 0, (size_t)g->noperands);
  memset(e->narrow, 0, (size_t)g->nregs);
  for (int r = 0; r < VECTORS; r++) e->vectors[r] = NOWHERE;
  for (int r = 0; r < MASKS; r++) e->masks[r] = NOWHERE;
  hoist(e);
}

/* Operations on masks belong to the dtype around them. */
static bool fits(const grad_emitter *e, const grad_micro *m) {
  if (m->kind != GRAD_MICRO_KERNEL || !grad__x86_packed_knows(e->v.out.wide, m->op)) return false;
  return m->dtype == e->v.dtype || (m->dtype == GRAD_BOOL && m->op != &grad__op_where);
}

/* The longest stretch of known ops of the first float dtype met. */
static int32_t end_of_known(grad_emitter *e, int32_t from) {
  const grad_region *g = e->region;
  int32_t m = from;
  while (m < g->nmicros && g->micros[m].kind == GRAD_MICRO_KERNEL && g->micros[m].dtype == GRAD_BOOL) m++;
  if (m == g->nmicros || g->micros[m].kind != GRAD_MICRO_KERNEL) return from;
  if (!grad__dtype_is_float(g->micros[m].dtype)) return from;
  grad__x86_packed_set_dtype(&e->v, g->micros[m].dtype);
  for (m = from; m < g->nmicros && m < from + MOST_MICROS && fits(e, &g->micros[m]);) m++;
  return m;
}

int32_t grad__emit_stretch(grad_emitter *e, int32_t from, int64_t *at) {
  e->from = from;
  e->to = end_of_known(e, from);
  e->v.out.dry = true;
  while (e->to - from > 1) { /* rehearse, which also hands out the pointer registers */
    begin_stretch(e);
    const int32_t reached = body(e, false);
    if (reached == e->to) break;
    e->to = reached;
  }
  if (e->to - from < 2) return from;
  e->v.out.dry = false;
  *at = e->v.out.code->size;
  emit_function(e);
  return e->to;
}

void grad__emit_not(grad_emitter *e, int32_t micro) {
  for (int k = 0; k < 3; k++) e->whole[e->region->micros[micro].in[k]] = true;
}

void grad__emitter_finish(grad_emitter *e) {
  const grad_region *g = e->region;
  for (int32_t i = 0; i < g->nfills; i++) {
    const int32_t o = g->fills[i].out;
    if (e->invariant[o] && !e->whole[o]) g->fills[i].do_.load->most = 64 / g->operands[o].size;
  }
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
  e->whole = grad__planner_alloc(pl, operands, sizeof *e->whole);
  e->in_memory = grad__planner_alloc(pl, operands, sizeof *e->in_memory);
  e->narrow = grad__planner_alloc(pl, (size_t)region->nregs + 1, 1);
  if (!e->next || !e->last || !e->upcoming || !e->at || !e->pointer || !e->invariant || !e->whole || !e->in_memory ||
      !e->narrow)
    return NULL;
  grad__x86_packed_init(&e->v, code, pl->ctx->simd >= GRAD_SIMD_AVX512);
  e->region = region;
  find_reads(e);
  return e;
}

#endif

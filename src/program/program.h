/* program.h: the program: a typed, closed, single-assignment list of instructions in an arena.
 *
 * Every value has an id (grad_id) and a type (dtype, shape). An instruction applies an op (opdef.h) to values. A
 * program has inputs (arrays, given at each run), scalars (plain numbers, given at each run too: numbers that a user's
 * function met while it was traced, kept out of the program so that a changed number does not make a new plan), and
 * outputs. Equal instructions are shared when built, unless the op has effects.
 *
 * Building never needs error checks at each step: an instruction that cannot be built gives GRAD_NONE, which is passed
 * on by everything that takes it, and the first failure sticks in program->status (message in the context).
 */
#ifndef GRAD_PROGRAM_PROGRAM_H
#define GRAD_PROGRAM_PROGRAM_H

#include "core/arena.h"
#include "array/array.h"

/* Extent known only when the program runs: the stacked residuals of a while loop. Only op_loop.c makes them. */
enum { GRAD_DYNAMIC = -1 };

typedef struct grad_op grad_op;
typedef struct grad_program grad_program;

typedef struct grad_type {
  const int64_t *shape; /* in the program's arena, or wherever the caller of infer keeps it */
  grad_dtype dtype;
  int ndim;
} grad_type;

typedef struct grad_instr {
  const grad_op *op;
  const grad_id *in;
  const int64_t *params;     /* the op's own layout, stated beside the op; doubles by grad__bits */
  grad_program *const *subs; /* nested programs; the program holds a reference to each */
  int32_t nin, nparams, nsubs;
  grad_id out; /* first of nout consecutive values */
  int32_t nout;
  int32_t where; /* the user's source line: an index for grad__program_where; 0 is unknown */
} grad_instr;

struct grad_program {
  grad_ctx *ctx;
  grad_arena arena;
  int64_t refs;
  grad_status status; /* sticks at the first failure */

  grad_type *types;   /* by value id */
  int32_t *producers; /* by value id: index of the instruction, or -1 - k for input k */
  int32_t nvalues, values_cap, producers_cap;
  grad_instr *instrs;
  int32_t ninstrs, instrs_cap;
  grad_id *inputs, *outputs; /* inputs are values without an instruction */
  int32_t ninputs, inputs_cap, noutputs, outputs_cap;
  int32_t nscalars; /* numbers given at each run; instruction `scalar` k reads the k-th */

  uint64_t *table; /* open hashing, for sharing: upper half of the hash, instruction index + 1 */
  int32_t table_cap, table_used;
  uint64_t hash; /* of all instructions so far, in order; not of `where`, not of scalars' values */
  const char **wheres;
  int32_t nwheres, wheres_cap;
  int32_t where; /* given to every instruction emitted from now on */
};

/* --- program.c */
grad_status grad__program_new(grad_ctx *ctx, grad_program **out); /* one reference */
void grad__program_retain(grad_program *p);
void grad__program_release(grad_program *p); /* NULL is fine */
/* Makes it the empty program again, on the memory that it has; false, and nothing happens, where somebody else holds a
 * reference, or where that memory is too much to be kept. */
bool grad__program_restart(grad_program *p);

grad_id grad__program_input(grad_program *p, grad_dtype dtype, int ndim, const int64_t *shape);
grad_id grad__program_input_like(grad_program *p, const grad_type *type);
void grad__program_output(grad_program *p, grad_id value);

/* grad__emit: applies op; infers the types; shares an equal instruction. Returns the first output's id (the others
 * follow it), GRAD_NONE when an input is GRAD_NONE or inference fails (the error sticks). params and ids are copied. */
grad_id grad__emit(grad_program *p, const grad_op *op, int nin, const grad_id *in, int nparams, const int64_t *params);
/* The same with nested programs, which the instruction then retains. */
grad_id grad__emit_nested(grad_program *p, const grad_op *op, int nin, const grad_id *in, int nparams,
                          const int64_t *params, int nsubs, grad_program *const *subs);
/* grad__emit_like: the instruction of another program with new inputs (its params and subs; the line is p->where). */
grad_id grad__emit_like(grad_program *p, const grad_program *from, const grad_instr *ins, const grad_id *in);

/* Records a failure in the program (first one wins) and returns GRAD_NONE. */
#if defined __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
grad_id
grad__program_fail(grad_program *p, grad_status status, const char *format, ...);

static inline const grad_type *grad__type(const grad_program *p, grad_id v) { return &p->types[v]; }
/* The instruction that makes v; NULL for an input. */
static inline const grad_instr *grad__producer(const grad_program *p, grad_id v) {
  return p->producers[v] < 0 ? NULL : &p->instrs[p->producers[v]];
}
/* Takes over the failure of a pass (message in the context) that was run on behalf of p. Returns false on failure. */
bool grad__program_try(grad_program *p, grad_status status);

int64_t grad__type_numel(const grad_type *t); /* 0-d: 1; with a dynamic extent: -1 */
static inline bool grad__type_is_dynamic(const grad_type *t) { return grad__type_numel(t) < 0; }
bool grad__type_equal(const grad_type *a, const grad_type *b);
grad_words grad__type_text(const grad_type *t); /* "f64 2 x 3"; a dynamic extent is "?" */

/* "train.lua:12"; equal texts are shared, found by search: a caller with many instructions a line keeps the index */
int32_t grad__program_add_where(grad_program *p, const char *where);
const char *grad__program_where(const grad_program *p, const grad_instr *ins); /* "" when unknown */
/* Does the message name the place already, or is there none to name? "a.lua:12" does not name "a.lua:1". */
bool grad__where_is_told(const char *message, const char *where);

static inline int64_t grad__bits(double x) {
  union {
    double d;
    int64_t i;
  } u = {.d = x};
  return u.i;
}
static inline double grad__unbits(int64_t x) {
  union {
    double d;
    int64_t i;
  } u = {.i = x};
  return u.d;
}

/* One step of the hash that programs and what is derived from them are found by. */
static inline uint64_t grad__hash_mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 29;
}

/* Structural equality (same instructions in the same order, same inputs and outputs; lines do not count) and a hash of
 * all of it, outputs included. */
bool grad__program_equal(const grad_program *a, const grad_program *b);
uint64_t grad__program_hash(const grad_program *p);

/* --- rewrite.c */
/* grad__inline: emits src's instructions into dst. `inputs` gives dst ids for src's inputs, `scalars` for its scalars
 * (NULL: fresh scalars are appended to dst's, in order); writes dst ids of src's outputs. `keep`, when not NULL, maps
 * every src value (nvalues entries, GRAD_NONE preset by the callee) to its dst id. */
void grad__inline(grad_program *dst, const grad_program *src, const grad_id *inputs, const grad_id *scalars,
                  grad_id *outputs, grad_id *keep);
/* grad__inline_instr: emits one instruction of src with the dst ids `map` gives for its inputs, and enters its outputs
 * there; scalar numbers move up by scalar_offset. The line is dst->where. */
void grad__inline_instr(grad_program *dst, const grad_program *src, const grad_instr *ins, grad_id *map,
                        int32_t scalar_offset);
/* grad__wheres_map: enters src's lines into dst and gives the map of their indices (in the arena; NULL: out of memory).
 * grad__ids_new: n entries of GRAD_NONE; never NULL for n = 0. grad__ids_in: the same in p's arena; NULL: p has failed.
 * grad__ids_from: out[k] = first + k: the outputs of one instruction; GRAD_NONE when first is. */
int32_t *grad__wheres_map(grad_program *dst, const grad_program *src, grad_arena *arena);
grad_id *grad__ids_new(grad_arena *arena, int32_t n);
grad_id *grad__ids_in(grad_program *p, int32_t n);
void grad__ids_from(grad_id first, int32_t n, grad_id *out);
/* grad__program_like: an empty program with inputs of the same types, and the scalars. */
grad_status grad__program_like(const grad_program *p, grad_program **out);
/* grad__program_finish: how every pass ends: hands over p when it is sound (in debug builds: verified), else releases
 * it and gives its status. */
grad_status grad__program_finish(grad_program *p, grad_program **out);
/* grad__extract: a new program that computes `outputs` from `inputs`, both values of p: a cut, so an input may be any
 * value. Instructions with effects are kept if so asked. An input of p that is needed but not listed is EINTERNAL.
 * Scalars stay as they are. */
grad_status grad__extract(const grad_program *p, int32_t ninputs, const grad_id *inputs, int32_t noutputs,
                          const grad_id *outputs, bool effects, grad_program **out);
/* grad__prune: a copy without the instructions that no output needs (effects stay); inputs and scalars stay as they
 * are, used or not. */
grad_status grad__prune(const grad_program *p, grad_program **out);

/* --- verify.c: GRAD_OK, or EINTERNAL with the first broken invariant: ids defined before use, types as the op infers
 * them, inputs and outputs in range, nested programs verified. Run after every pass in debug builds. */
grad_status grad__verify(const grad_program *p);

/* --- print.c: one line an instruction: `%7:f64[2,3] = mul %3 %5  # train.lua:12`. Appends to a growing buffer that
 * the caller frees with grad__text_clear. */
typedef struct grad_text {
  grad_ctx *ctx;
  char *data; /* NUL-terminated; NULL when empty */
  size_t size, cap;
} grad_text;
#if defined __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
grad_status
grad__text_add(grad_text *t, const char *format, ...);
void grad__text_clear(grad_text *t);
grad_status grad__program_print(const grad_program *p, grad_text *out);

#endif

/* region.h: a fused region: elementwise instructions, the views they read and the reductions that consume them, as one
 * loop over the flat positions 0 .. n-1 of their common number of elements. Nothing here knows programs: a backend
 * (the blocked interpreter in region_run.c, or emitted code) needs only this.
 *
 * The loop goes in blocks of at most `block` positions. Each operand of a micro-instruction is an entry in a table of
 * pointers: a register (scratch of one block), memory that advances with the position (flat), or memory that depends on
 * the position within a row (row). Where a strided view cannot be read in place, a load gathers it into a register.
 *
 * Chunks of positions, cut the same way whatever the number of threads, are the unit of parallel work; a reduction over
 * the chunked axis has one partial result a chunk, and these are combined in order.
 */
#ifndef GRAD_EXEC_REGION_H
#define GRAD_EXEC_REGION_H

#include "array/array.h"
#include "ops/kernels.h"
#include "ops/reduce.h"

/* Memory known only when the plan runs: bytes from one of the run's bases (workspace, inputs, outputs). */
typedef struct grad_place {
  int32_t base;
  int64_t offset;
} grad_place;

static inline char *grad__at(char *const *bases, grad_place place) { return bases[place.base] + place.offset; }

/* Element offsets of flat positions: row-major over merged axes, the last the fastest. */
typedef struct grad_layout {
  int naxes; /* 0: every position reads the same element */
  int64_t extent[GRAD_MAX_AXES], stride[GRAD_MAX_AXES];
} grad_layout;

void grad__layout_of(const grad_array *view, grad_layout *out);
static inline bool grad__layout_is_flat(const grad_layout *l) { return l->naxes == 1 && l->stride[0] == 1; }

/* Copies the elements at positions [pos, pos + n) into a contiguous block, after which up to GRAD_GATHER_SLACK bytes
 * may be overwritten too. */
enum { GRAD_GATHER_SLACK = 64 };
typedef void (*grad_repeat_fn)(int64_t n, int size, void *to, const void *from); /* one element n times */
void grad__layout_gather(const grad_layout *l, int size, const char *from, int64_t pos, int64_t n, char *to,
                         grad_repeat_fn repeat);

/* Visits positions [pos, pos + n) as runs along the last axis: element offset, step and length of each. */
typedef struct grad_runs {
  const grad_layout *layout;
  int64_t left, offset, count; /* the current run: its first element, how many */
  int64_t index[GRAD_MAX_AXES];
} grad_runs;
void grad__runs_start(grad_runs *r, const grad_layout *l, int64_t pos, int64_t n); /* count is 0 when n is */
void grad__runs_next(grad_runs *r);

typedef enum grad_operand_kind { GRAD_OPERAND_REGISTER, GRAD_OPERAND_FLAT, GRAD_OPERAND_ROW } grad_operand_kind;

typedef struct grad_operand {
  uint8_t kind, size; /* size of an element */
  int32_t reg;
  int32_t value; /* whose memory; -1 for registers */
  int64_t row;
  grad_place place;
} grad_operand;

typedef struct grad_load {
  grad_layout layout;
  int32_t value;
  int32_t most; /* copies that are read of a repeated number; 0: as many as there are positions */
  uint8_t size;
  grad_place place;
} grad_load;

/* FULL: one number. ROWS: a number for each run of `extent` positions. COLUMNS: position modulo `extent`, no more than
 * a block. STRIDED: anything else, by its layout. */
typedef enum grad_reduce_mode {
  GRAD_REDUCE_FULL,
  GRAD_REDUCE_ROWS,
  GRAD_REDUCE_COLUMNS,
  GRAD_REDUCE_STRIDED
} grad_reduce_mode;

typedef struct grad_region_reduction {
  uint8_t kind, mode, dtype;
  int32_t value; /* the result */
  int64_t count; /* elements of the result */
  int64_t extent;
  grad_layout layout; /* of the result, over the positions: stride 0 where it is reduced */
  grad_place place;
  int64_t state;   /* bytes into a thread's scratch */
  int64_t partial; /* bytes into the loop's partial results; a chunk's share is count elements */
} grad_region_reduction;

typedef enum grad_micro_kind {
  GRAD_MICRO_KERNEL,
  GRAD_MICRO_CONVERT,
  GRAD_MICRO_LOAD,
  GRAD_MICRO_REDUCE,
  GRAD_MICRO_CODE /* a stretch of kernels as machine code: emit.h */
} grad_micro_kind;

/* n positions; the operands' pointers, as the interpreter keeps them */
typedef void (*grad_code_fn)(int64_t n, char *const *ptr);

typedef struct grad_micro {
  uint8_t kind;
  int32_t out, in[3]; /* operands */
  union {
    grad_kernel kernel;
    grad_copier convert;
    grad_load *load;
    const grad_region_reduction *reduction;
    int64_t offset; /* of code, until it is in executable memory */
    grad_code_fn code;
  } do_;
  const grad_op *op; /* for printing, and for backends that emit code */
  uint8_t dtype;     /* of the operands (for where: of the branches) */
} grad_micro;

typedef struct grad_numbers grad_numbers;

typedef struct grad_region {
  int64_t n, block;
  int64_t row;   /* blocks end at multiples of row; 0: anywhere */
  int64_t width; /* positions in a row of the loop that it is part of */
  int32_t noperands, nregs, nfills, nmicros, nmoving, nreductions;
  grad_operand *operands;
  grad_micro *fills;  /* loads done once a chunk: the same for every block */
  grad_micro *micros; /* in order, for every block */
  grad_micro *coded;  /* the same with machine code in them, run instead of micros; NULL: there is none */
  int32_t ncoded;
  int32_t *moving; /* the operands that are flat */
  grad_region_reduction *reductions;
  int64_t register_bytes; /* of one register */
  int64_t scratch;        /* bytes into a thread's scratch: pointers, registers, reduction states */
  grad_numbers *numbers;  /* n is 1: the micros once more, as compact code (numbers.h) */
} grad_region;

/* What runs as one step: one region, its rows being its positions; or several that agree in their rows, run one after
 * the other on a tile of rows at a time, so that what one leaves for the next is still in the cache: softmax is one
 * pass over its rows. Values that live only between them are local: they have memory for one tile of each thread. */
typedef struct grad_fused_loop {
  grad_region **regions;
  int32_t nregions;
  int64_t rows, tile, chunk, nchunks; /* tile and chunk in rows; a chunk is a multiple of a tile */
  int64_t local;                      /* bytes into a thread's scratch: local values */
  int64_t scratch_bytes;              /* of one thread */
  int64_t partial_bytes;              /* of all chunks */
} grad_fused_loop;
enum { GRAD_BASE_LOCAL = -2, GRAD_MOST_REGIONS = 16 };

/* scratch: scratch_bytes for each of the context's threads, 64-byte aligned; partials: partial_bytes. Fails only where
 * it `stops` when it is interrupted. */
grad_status grad__fused_loop_run(grad_ctx *ctx, const grad_fused_loop *loop, char *const *bases, char *scratch,
                                 char *partials, bool stops);

/* --- reducer.c: horizontal and elementwise reduction of contiguous elements; NaN wins in max and min. */
typedef double (*grad_reduce_fn)(int64_t n, const void *x);
typedef void (*grad_reduce_rows_fn)(int64_t rows, int64_t extent, const void *x, void *to);
typedef void (*grad_accumulate_fn)(int64_t n, void *to, const void *x);
typedef struct grad_reducer {
  grad_reduce_fn reduce;
  grad_reduce_rows_fn rows; /* one result for each run of `extent` elements */
  grad_accumulate_fn accumulate;
} grad_reducer;
grad_repeat_fn grad__repeater(grad_simd simd);
grad_reducer grad__reducer(grad_simd simd, grad_reduction kind, grad_dtype dtype);
double grad__reduce_identity(grad_reduction kind);
double grad__reduce_combine(grad_reduction kind, double a, double b);

#endif

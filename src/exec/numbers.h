/* numbers.h: compact code over an array of slots, a number each: programs of single numbers have thousands of
 * instructions and nothing to amortize them over. A slot has eight bytes, whatever the dtype. Code is made of a region
 * of one position (below), or of a whole small program (unroll.h). */
#ifndef GRAD_EXEC_NUMBERS_H
#define GRAD_EXEC_NUMBERS_H

#include "exec/region.h"
#include "program/opdef.h"

typedef struct grad_number_op {
  uint16_t code, n;   /* n: of a call, a conversion or a reduction: so many slots in a row */
  int32_t out, in[3]; /* slots */
} grad_number_op;

typedef struct grad_number_reduction {
  grad_reduce_fn reduce;
  grad_reduction kind;
  grad_dtype dtype;
} grad_number_reduction;

/* An instruction that runs by its eval slot, on slots in a row. */
typedef struct grad_number_eval {
  const grad_program *p;
  grad_array *args; /* headers of inputs, then outputs */
  grad_array **pointers;
  int32_t *slots; /* the first of each argument */
  grad_eval e;
} grad_number_eval;

/* What the ops with a function to call take it from, in their order. */
typedef struct grad_number_code {
  grad_number_op *ops;
  grad_kernel *calls;
  grad_copier *copiers;
  grad_number_reduction *reductions;
  grad_number_eval *evals;
  int32_t nops, ncalls, ncopiers, nreductions, nevals;
} grad_number_code;

/* Codes of their own: of the operands a and b, f64 or f32 (root and size are the functions for that). Integers are
 * unsigned in it, as they wrap around; a mask is the first byte of its slot, 0 or 1. */
#define GRAD_NUMBER_FLOATS(XX, root, size)                                                                             \
  XX(add, a + b)                                                                                                       \
  XX(sub, a - b)                                                                                                       \
  XX(mul, a *b)                                                                                                        \
  XX(mulz, a == 0 || b == 0 ? 0 : a * b)                                                                               \
  XX(div, a / b)                                                                                                       \
  XX(neg, -a)                                                                                                          \
  XX(square, a *a)                                                                                                     \
  XX(reciprocal, 1 / a)                                                                                                \
  XX(sqrt, root(a))                                                                                                    \
  XX(abs, size(a))
#define GRAD_NUMBER_TESTS(XX)                                                                                          \
  XX(eq, a == b)                                                                                                       \
  XX(ne, a != b)                                                                                                       \
  XX(lt, a < b)                                                                                                        \
  XX(le, a <= b)                                                                                                       \
  XX(gt, a > b)                                                                                                        \
  XX(ge, a >= b)
#define GRAD_NUMBER_INTEGERS(XX)                                                                                       \
  XX(add, a + b)                                                                                                       \
  XX(sub, a - b)                                                                                                       \
  XX(mul, a *b)
#define GRAD_NUMBER_MASKS(XX)                                                                                          \
  XX(and, a &b)                                                                                                        \
  XX(or, a | b)                                                                                                        \
  XX(not, a ^ 1)

/* PACK: n slots in a row to the front of others, as elements of in[1] bytes without gaps; UNPACK: back. */
enum {
  GRAD_NUMBER_COPY,
  GRAD_NUMBER_CALL,
  GRAD_NUMBER_CONVERT,
  GRAD_NUMBER_REDUCE,
  GRAD_NUMBER_EVAL,
  GRAD_NUMBER_PACK,
  GRAD_NUMBER_UNPACK,
/* arithmetic and comparisons of f64; of f32, in the same order; i64; masks */
#define XX(name, value) GRAD_NUMBER_##name,
  GRAD_NUMBER_FLOATS(XX, sqrt, fabs) GRAD_NUMBER_TESTS(XX)
#undef XX
#define XX(name, value) GRAD_NUMBER_f32_##name,
      GRAD_NUMBER_FLOATS(XX, sqrtf, fabsf) GRAD_NUMBER_TESTS(XX)
#undef XX
#define XX(name, value) GRAD_NUMBER_i64_##name,
          GRAD_NUMBER_INTEGERS(XX)
#undef XX
#define XX(name, value) GRAD_NUMBER_bool_##name,
              GRAD_NUMBER_MASKS(XX)
#undef XX
                  GRAD_NUMBER_where
};
/* The code of an elementwise op on operands of that dtype (for where: of the branches), which does one number what the
 * kernel does to each of a block; GRAD_NUMBER_CALL: its kernel is to be called. */
uint16_t grad__number_op_code(const grad_op *op, grad_dtype dtype);
/* Errors: those of the instructions that run by their eval slot. */
grad_status grad__number_code_run(const grad_number_code *code, double *slots);
/* What some codes do, for machine code (emit_numbers.c). */
grad_status grad__number_eval(const grad_number_eval *eval);
void grad__number_reduce(const grad_number_reduction *r, int64_t n, const double *x, double *to);
void grad__number_repack(const grad_number_op *op, double *slots);

/* A slot filled before the code runs, or emptied after it. */
typedef struct grad_number_move {
  int32_t slot;
  uint8_t size;
  int32_t operand; /* of the region; -1: the place of reductions[reduction] */
  int32_t reduction;
} grad_number_move;

struct grad_numbers {
  grad_number_code code;
  grad_number_move *loads, *stores;
  int32_t nloads, nstores, nslots;
};

/* Fills region->numbers. alloc: zeroed memory that lives as long as the region; NULL fails. */
grad_status grad__numbers_build(grad_region *region, void *(*alloc)(void *ud, size_t count, size_t size), void *ud,
                                grad_ctx *ctx);
void grad__numbers_run(const grad_region *region, char *const *bases, char *scratch);

#endif

/* opdef.h: what an op is: the interface that every row of ops.def and every op_<family>.c fills in. Everything above
 * (derivatives, batching, execution, printing) works through these slots only. */
#ifndef GRAD_PROGRAM_OPDEF_H
#define GRAD_PROGRAM_OPDEF_H

#include "program/program.h"

enum {
  GRAD_OP_ELEMENTWISE = 1, /* one output of the inputs' common shape; kernel by `row` (ops/kernels.h) */
  GRAD_OP_LINEAR = 2,      /* jointly linear in all its float inputs: tangents go through the op itself */
  GRAD_OP_EFFECT = 4,      /* never shared, never dropped (host callbacks) */
  GRAD_OP_RANDOM = 8,      /* a draw: shared only with itself; refused in places that need a pure function */
  GRAD_OP_NONDIFF = 16,    /* derivative zero everywhere (comparisons, floor, argmax, draws): tangents are dropped */
  GRAD_OP_VIEW = 32,       /* a rearrangement of its first input's elements; `view` may do it without copying */
  GRAD_OP_CONTROL = 64,    /* has nested programs that evaluation runs through grad_eval.call */
  GRAD_OP_SCALAR = 128,    /* reads number params[0] of those given at each run (only the op `scalar`) */
  GRAD_OP_UNIFORM = 256,   /* on operands of one float type it gives that type: the builder then need not infer */
  GRAD_OP_REFUSES = 512    /* fails, or does not end, for some values of its inputs (singular, out of range) */
};

/* How outputs depend on inputs, for sparsity (ad/sparsity.c). MAP: each output element is one element of input 0 (or a
 * constant); found by running the op on positions. REDUCE: params[0] axes mask, as in op_reduce.c. CUSTOM: the slot. */
typedef enum grad_sparsity_class {
  GRAD_SPARSITY_DENSE, /* every output element on every input element: the safe default */
  GRAD_SPARSITY_ELEMENTWISE,
  GRAD_SPARSITY_MAP,
  GRAD_SPARSITY_REDUCE,
  GRAD_SPARSITY_NONE, /* no dependence that differentiation sees */
  GRAD_SPARSITY_CUSTOM
} grad_sparsity_class;

typedef struct grad_infer_out {
  grad_dtype dtype;
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
} grad_infer_out;

/* What infer gets and fills: out[k].dtype/ndim/shape. It checks everything that can be known from types and params;
 * messages name the op and both shapes. */
typedef struct grad_infer {
  grad_ctx *ctx;
  const grad_op *op;
  const grad_type *in;
  int nin, nparams, nsubs;
  const int64_t *params;
  grad_program *const *subs;
  int nout; /* preset to op->nout; an op with nout < 0 sets it (at most GRAD_MAX_OUT) */
  grad_infer_out *out;
} grad_infer;
enum { GRAD_MAX_OUT = 512 };

/* The types that the op infers for an instruction of p (which need not be in p yet): *nout of them, to `out`, which has
 * room for GRAD_MAX_OUT. `arena` lends memory. Errors: ENOMEM, the op's. */
grad_status grad__instr_infer(const grad_program *p, const grad_instr *ins, grad_arena *arena, grad_infer_out *out,
                              int *nout);

/* What eval gets. Inputs may have any strides; outputs are row-major, of the inferred type, uninitialised, and overlap
 * no input. `scratch` has the bytes that the op's scratch slot asked for, 64-byte aligned. Eval allocates nothing
 * (CONTROL ops excepted) and is a pure function of inputs and params. An output whose type has a dynamic extent comes
 * as an empty header, which eval fills with grad__array_new once it knows the extent. */
typedef struct grad_eval grad_eval;
typedef struct grad_repeat grad_repeat;
struct grad_eval {
  grad_ctx *ctx;
  const grad_instr *ins;
  const grad_array *const *in;
  grad_array *const *out;
  void *scratch;
  const double *scalars;
  /* Runs a nested program: out headers are filled with arrays that the callee allocates and the caller releases. */
  grad_status (*call)(void *ud, grad_program *sub, const grad_array *const *in, const double *scalars, grad_array *out);
  /* The same for a loop of them; *done is false when it is to be put together from calls, as it is when this is NULL.
   */
  grad_status (*repeat)(void *ud, const grad_eval *how, grad_repeat *loop, bool *done);
  void *call_ud;
};

/* Steps of a loop of nested programs (ad/loop.h): at most `most` of them, beginning with row `first` of the stacks; in
 * reverse with row most - 1, backwards (`first` is then 0). */
struct grad_repeat {
  grad_program *body, *test; /* test NULL: all the steps */
  int32_t nconsts, ncarry, nxs;
  const grad_array *const *in; /* consts, carry, xs */
  const grad_array *carry;     /* row-major: where the last carry goes; may be that of `in` */
  grad_array *const *ys;       /* row-major stacks */
  int64_t first, most;
  bool reverse;
  int64_t steps; /* done */
  bool passes;   /* the test, after the last of them */
};

/* Forward rule. p is the program being built; x, y the primal inputs and outputs in p; dx the tangents (GRAD_NONE:
 * zero). Sets dy[k] (preset GRAD_NONE: zero). What it emits must be linear in dx, and every instruction that depends on
 * dx must be one that has a transpose for those inputs; when `joint`, only forward mode is wanted, and instructions may
 * compute values and tangents together. A rule that computes an output along may put it into y[k]: the instruction it
 * stands for is then dropped when nothing else needs it. */
typedef struct grad_jvp {
  grad_program *p;
  const grad_instr *ins; /* params and subs; its ids belong to another program */
  const grad_id *x, *dx;
  grad_id *y, *dy;
  bool joint;
} grad_jvp;

/* Transposition of an instruction that is linear in the inputs with linear[i] set. x[i] is the primal value in p for
 * the others, GRAD_NONE for linear ones; xt the types of all inputs; cy the cotangents of the outputs (GRAD_NONE: zero,
 * not all are). Sets cx[i] for linear inputs (preset GRAD_NONE: zero), of exactly the type xt[i]. */
typedef struct grad_transpose {
  grad_program *p;
  const grad_instr *ins;
  const grad_id *x;
  const bool *linear;
  const grad_type *xt, *yt;
  const grad_id *cy;
  grad_id *cx;
} grad_transpose;

/* Batching. x are inputs in p; batched[i] tells which carry a leading axis of extent `size`. Sets y[k], and
 * out_batched[k] (preset true); xt are the types of the inputs WITHOUT the batch axis, yt of the outputs without it. */
typedef struct grad_batch {
  grad_program *p;
  const grad_instr *ins;
  int64_t size;
  const grad_id *x;
  const bool *batched;
  const grad_type *xt, *yt;
  grad_id *y;
  bool *out_batched;
} grad_batch;

/* Dependence of output elements on input elements, for GRAD_SPARSITY_CUSTOM: the slot calls `add` for every input
 * element (positions in row order) on which element `element` of output 0 depends, and stops when that fails. */
typedef struct grad_sparsity grad_sparsity;
struct grad_sparsity {
  const grad_program *p;
  const grad_instr *ins;
  int64_t element;
  grad_status (*add)(grad_sparsity *a, int32_t input, int64_t element);
};

/* Positions from .. to - 1 of an axis; an array of them, one an axis, is a box of elements. */
typedef struct grad_range {
  int64_t from, to;
} grad_range;

/* Computing only the elements that are wanted (ops/demand.h). box[k] are those of output k, NULL: none of them; `from`
 * is the program that the instruction belongs to. The slot takes boxes of its operands by grad__crop_operand and sets
 * y[k], the elements of box[k], with builders. It is called twice. At first, to learn which boxes it takes: p is
 * closed, every operand is GRAD_NONE, and y does not count; then to build, with the same boxes. Elements that a slot
 * computes from less must have the same bits; reductions and products of matrices may be rounded otherwise. */
typedef struct grad_crop {
  struct grad_demand *demand;
  const grad_program *from;
  const grad_instr *ins;
  const grad_range *const *box;
  grad_program *p;
  grad_id *in; /* room for operands */
  grad_id *y;
} grad_crop;

struct grad_op {
  const char *name;
  int8_t nin, nout; /* -1: any number */
  uint16_t flags;
  int16_t row; /* which of the ops that share their slots: ELEMENTWISE: in ops.def; else as the op's file says */
  grad_sparsity_class sparsity;
  const char *doc; /* ELEMENTWISE: one line for the reference and the help; the others' are in structured.def */
  grad_status (*infer)(grad_infer *a);
  grad_status (*eval)(const grad_eval *a);
  int64_t (*scratch)(const grad_program *p, const grad_instr *ins); /* bytes; NULL: none */
  /* true when the output is a view of input 0 with the given strides; else eval copies. VIEW ops only. */
  bool (*view)(const grad_instr *ins, const grad_array *in, const grad_type *out_type, grad_array *out);
  void (*jvp)(grad_jvp *a);             /* NULL: LINEAR or NONDIFF */
  void (*transpose)(grad_transpose *a); /* NULL: never meets a tangent */
  void (*batch)(grad_batch *a);
  grad_status (*dependence)(grad_sparsity *a);
  void (*crop)(grad_crop *a); /* NULL: all elements are computed when one is wanted */
  double (*flops)(const grad_program *p, const grad_instr *ins); /* NULL: see grad__instr_flops */
};

/* --- cost.c
 * grad__instr_flops: how many operations on numbers an instruction takes. Without a slot of its own: what its first
 * nested program takes, or one an output element, none where elements are only moved.
 * grad__instr_bytes: what it reads and writes when it runs by itself. grad__instr_moves: it takes elements from its
 * input and computes nothing. */
double grad__instr_flops(const grad_program *p, const grad_instr *ins);
double grad__program_flops(const grad_program *p);
bool grad__instr_moves(const grad_instr *ins);
int64_t grad__value_bytes(const grad_program *p, grad_id v);
int64_t grad__instr_bytes(const grad_program *p, const grad_instr *ins);

#endif

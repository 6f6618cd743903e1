/* planner.h: what the passes that make a plan share. In order:
 *   simplify.c      a smaller program of the same meaning
 *   fuse.c          which instructions run together: steps
 *   schedule.c      in which order the steps run
 *   region_build.c  a step of fused instructions as a region; region_order.c: in which order it does them
 *   tile.c          regions that run together, row by row; chunks and scratch
 *   reuse.c         which results may lie where a donated input did
 *   liveness.c      where each value lies
 *   plan.c, run.c   the plan and its execution
 * Every pass takes time linear in the program (schedule: n log n), since programs of 100,000 instructions exist.
 */
#ifndef GRAD_EXEC_PLANNER_H
#define GRAD_EXEC_PLANNER_H

#include "exec/run.h"

typedef enum grad_value_kind {
  GRAD_VALUE_MADE, /* by a step */
  GRAD_VALUE_INPUT,
  GRAD_VALUE_CONST,  /* one number, in the workspace, read with strides 0 */
  GRAD_VALUE_SCALAR, /* the same, written at each run */
  GRAD_VALUE_DYNAMIC /* allocated by the op that makes it, when it runs */
} grad_value_kind;

/* By value id. Values that are views have a root, whose memory they show; the fields after `view` are the root's. */
typedef struct grad_value {
  grad_id root;
  const grad_array
      *view; /* strides, and as data the offset from GRAD_FAKE_BASE; NULL: the root's elements in row order */
  uint8_t kind;
  bool stored;   /* has memory: read outside the step that makes it */
  int32_t maker; /* step; -1: none */
  int32_t last;  /* last step that reads it; INT32_MAX: an output */
  grad_place place;
} grad_value;
#define GRAD_FAKE_BASE ((char *)((uintptr_t)1 << 46)) /* stands for a root's memory while plans are made */

typedef enum grad_instr_class {
  GRAD_INSTR_NONE, /* a view or a constant: nothing runs */
  GRAD_INSTR_OP,   /* runs by its eval slot */
  GRAD_INSTR_FUSED,
  GRAD_INSTR_REDUCE /* fused, result of another shape */
} grad_instr_class;

typedef struct grad_planner {
  grad_ctx *ctx;
  grad_program *p;
  grad_plan *plan;
  const bool *donated; /* by input: its memory may become a result's; NULL: none */
  grad_arena temp;
  grad_value *values;    /* by value */
  uint8_t *classes;      /* by instruction */
  int32_t *stage, *set;  /* by instruction: see fuse.c */
  int32_t *step_of;      /* by instruction, -1: none */
  int32_t *operand_of;   /* by value: see region_build.c; -1 between uses */
  grad_region **regions; /* by step, as fuse.c made them */
  /* by step: which memory a region may overwrite; see region_build.c */
  struct grad_overwrite *overwrites;
} grad_planner;

typedef struct grad_touch {
  grad_id root;
  int32_t micro;
} grad_touch;

/* Values that a region reads flat only, each with the last micro that does; and those it makes, in the order of their
 * micros. */
typedef struct grad_overwrite {
  int32_t nread, nmade;
  grad_touch *read, *made;
} grad_overwrite;

void *grad__planner_alloc(grad_planner *pl, size_t count, size_t size); /* temporary, zeroed */
void *grad__plan_alloc(grad_planner *pl, size_t count, size_t size);    /* lives with the plan, zeroed */

/* Header of a value with GRAD_FAKE_BASE + offset as data. */
void grad__planner_header(const grad_planner *pl, grad_id v, grad_array *out);
static inline int64_t grad__numel(const grad_planner *pl, grad_id v) { return grad__type_numel(&pl->p->types[v]); }

grad_status grad__fuse(grad_planner *pl);
grad_status grad__schedule(grad_planner *pl, int32_t nsteps);
grad_status grad__region_build(grad_planner *pl, int32_t step);
grad_status grad__region_order(grad_planner *pl, grad_region *region); /* before registers are assigned */
grad_status grad__form_loops(grad_planner *pl);
void grad__note_uses(grad_planner *pl);
grad_status grad__reuse_inputs(grad_planner *pl);
grad_status grad__liveness(grad_planner *pl);

/* simplify.c. FINAL: the result is going to be run, not differentiated or batched any more. */
enum { GRAD_SIMPLIFY_FINAL = 1 };
grad_status grad__simplify(const grad_program *p, int flags, grad_program **out);

/* direct.c */
grad_status grad__check_inputs(const grad_program *p, const grad_array *const *in);
grad_status grad__fail_at(const grad_program *p, const grad_instr *ins, grad_status status);
/* A header nobody has filled. (An array without elements may have no data, but it has an axis.) */
static inline bool grad__array_is_unset(const grad_array *a) { return !a->data && !a->storage && a->ndim == 0; }

#endif

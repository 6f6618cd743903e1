/* run.h: the plan itself, shared by what makes it (plan.c) and what runs it (run.c). */
#ifndef GRAD_EXEC_RUN_H
#define GRAD_EXEC_RUN_H

#include "core/arena.h"
#include "exec/exec.h"
#include "exec/machine_code.h"
#include "exec/region.h"
#include "exec/repeat.h"

enum { GRAD_BASE_WORKSPACE, GRAD_BASE_INPUTS }; /* then the inputs, then the outputs: entries of a run's bases */

/* One instruction run by its eval slot. Headers of arguments, inputs first; `places` say where their memory is: base -1
 * for dynamic arrays, whose pointers lead to the plan's. */
typedef struct grad_op_step {
  const grad_instr *ins;
  grad_array *args;
  grad_array **pointers;
  grad_place *places;
  int64_t scratch;
} grad_op_step;

typedef struct grad_step {
  const int32_t *instrs; /* in program order */
  int32_t ninstrs;
  grad_fused_loop *loop; /* NULL: an op */
  grad_op_step *op;
  const int32_t *dead; /* dynamic arrays released after it */
  int32_t ndead;
} grad_step;

typedef struct grad_slot { /* a number in the workspace */
  int64_t offset;
  uint8_t dtype;
  int32_t scalar; /* which of the run's numbers; -1: `value` */
  double value;
} grad_slot;

typedef struct grad_plan_output {
  bool direct;          /* its maker writes into the caller's memory; else it is copied from `from` at the end */
  bool fresh;           /* allocated by the run */
  int32_t reuses, step; /* the input whose memory it may be given (-1: none), and the step that then overwrites it */
  grad_array from;
  grad_place place; /* of from; base -1: from is the plan's dynamic array `place.offset` */
} grad_plan_output;

/* Memory that the nested plans of one plan take turns in: they never run at the same time. */
typedef struct grad_shared_room {
  char *data;
  int64_t bytes;
  const grad_plan *user; /* whose constants stand in it */
} grad_shared_room;

typedef struct grad_subplan {
  struct grad_subplan *next;
  grad_program *program;
  grad_plan *plan;
} grad_subplan;

struct grad_plan {
  grad_ctx *ctx;
  grad_program *program; /* simplified */
  grad_arena arena;
  grad_step *steps;
  int32_t nsteps, nslots, ndynamics;
  grad_slot *slots;
  grad_plan_output *outputs;
  grad_array *dynamics;
  grad_array *copies; /* row-major copies of inputs that come strided; made when first needed, then kept */
  char **bases;
  /* the workspace: values, then the scratch of each thread or of an op, then partial results of reductions */
  char *workspace;
  int64_t workspace_bytes, values_bytes, op_scratch, region_scratch, partials;
  bool threaded;
  grad_subplan *subplans;
  grad_repeater *repeaters; /* of the loops with small bodies */
  grad_shared_room nested;  /* the subplans' workspace */
  grad_shared_room *lent;   /* the workspace is not this plan's own but the parent's `nested`; NULL otherwise */
  grad_code code;           /* of the regions */
  grad_plan_info info;
  bool running;
};

/* run.c: the bytes of the workspace that a run takes; the plan of a nested program, made when first asked for. */
int64_t grad__workspace_needed(const grad_plan *plan);
grad_status grad__subplan_of(grad_plan *plan, grad_program *sub, grad_plan **out);

#endif

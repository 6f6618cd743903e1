/* exec.h: running programs. The direct evaluator runs one instruction after the other and is the oracle; a plan is the
 * fast way. Both give the same results, up to the rounding of sums and what simplify.h states, and compute nothing that
 * no output needs. Memory given for outputs overlaps neither an input (but see grad__plan_new_donating) nor another
 * output.
 */
#ifndef GRAD_EXEC_EXEC_H
#define GRAD_EXEC_EXEC_H

#include "program/opdef.h"

/* --- direct.c */
/* grad__direct_run: in: arrays of the inputs' types, any strides; scalars: p->nscalars numbers (NULL when none).
 * out: for each output either a header with memory (data not NULL: row-major, of the right type; filled), or an empty
 * header (all zero bytes), which becomes a new array that the caller releases. On failure nothing stays allocated. */
grad_status grad__direct_run(grad_program *p, const grad_array *const *in, const double *scalars, grad_array *out);

/* grad__direct_instr: evaluates one instruction; out headers have memory. The eager path of the binding uses it. */
grad_status grad__direct_instr(grad_ctx *ctx, const grad_instr *ins, const grad_array *const *in, const double *scalars,
                               grad_array *const *out);

/* grad__direct_partial: evaluates just what `wanted` depends on. known[v] (nvalues headers, empty when not known) are
 * read and completed: each value evaluated is kept there, so that the next call goes on from it; the caller releases
 * them. Serves numbers asked for in the middle of a trace. */
grad_status grad__direct_partial(grad_program *p, grad_id wanted, grad_array *known, const double *scalars);

/* --- plan.c */
typedef struct grad_plan grad_plan;
typedef struct grad_plan_info {
  int64_t steps, fused, instructions; /* steps run, how many are fused regions, instructions before fusing */
  double flops;
  int64_t bytes_moved;     /* what steps read and write; of nested programs what goes in and out */
  int64_t workspace, peak; /* workspace: scratch and known nested plans included; peak: and the outputs */
  int64_t unrolled;        /* loops that have run, of bodies so small that they run number by number */
  uint64_t runs;
} grad_plan_info;
grad_status grad__plan_new(grad_program *p, grad_plan **out); /* keeps a reference to p */
/* The same where the inputs with donated[i] are not needed any more once the plan has run. An output may then be given
 * the memory of the row-major input grad__plan_reuses(plan, output), unless that memory is another input's too. A run
 * that fails has not touched it: from the first step that overwrites an input on nothing can fail, and nothing stops
 * the run. */
grad_status grad__plan_new_donating(grad_program *p, const bool *donated, grad_plan **out);
int32_t grad__plan_reuses(const grad_plan *plan, int32_t output); /* -1: none */
void grad__plan_free(grad_plan *plan);
/* As grad__direct_run. Once run, a plan allocates nothing when all outputs come with memory. Not reentrant: a plan that
 * is running (a callback inside it runs it again) is refused with EVALUE. */
grad_status grad__plan_run(grad_plan *plan, const grad_array *const *in, const double *scalars, grad_array *out);
void grad__plan_info(const grad_plan *plan, grad_plan_info *out);
/* Makes the plans of nested programs, which are else made by the first run, so that the figures count them. */
grad_status grad__plan_nested(grad_plan *plan);
grad_status grad__plan_print(const grad_plan *plan, grad_text *out);

#endif

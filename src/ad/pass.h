/* pass.h: what the passes of ad/ share: the state of a forward sweep, the reverse sweep, how a pass ends. */
#ifndef GRAD_AD_PASS_H
#define GRAD_AD_PASS_H

#include "ad/ad.h"
#include "ops/ops.h"

/* A forward sweep: primal and tangent instructions of `src` are emitted into `p`, side by side. */
typedef struct grad_push {
  const grad_program *src;
  grad_program *wanted; /* what src is then: what it computes for its outputs, and no more (ops/demand.h); or NULL */
  grad_program *p;
  grad_arena temporary;
  const int32_t *wheres;
  bool joint;                /* as in grad_jvp */
  grad_id *primal, *tangent; /* by src value: its id in p; its tangent's, GRAD_NONE being zero */
} grad_push;

/* grad__push_begin: an empty p, with src's lines and scalars. grad__push_start: the same with src's inputs.
 * grad__push_tangents: adds a tangent input for each input with wrt[i].
 * grad__push_run: all instructions. grad__push_end: frees everything; it alone may follow a failed start. */
grad_status grad__push_begin(grad_push *s, const grad_program *src);
grad_status grad__push_start(grad_push *s, const grad_program *src);
void grad__push_tangents(grad_push *s, const bool *wrt);
void grad__push_run(grad_push *s);
void grad__push_end(grad_push *s);

/* grad__push_tangent_of: the tangent of a src value, zeros written out. */
grad_id grad__push_tangent_of(grad_push *s, grad_id src_value);

/* grad__push_program: grad__ad_jvp; not `joint`: with tangents in instructions of their own, fit to be transposed. */
grad_status grad__push_program(const grad_program *p, const bool *wrt, bool joint, grad_program **out);

/* grad__mark_linear: linear[v] (preset false; true for the linear inputs) for all values made by the first ninstrs
 * instructions: v depends on a linear input. */
void grad__mark_linear(const grad_program *p, int32_t ninstrs, bool *linear);

/* grad__pull: the reverse sweep over the linear ones of the first ninstrs instructions of p: transposes are emitted
 * into p itself. ct[v], the cotangent of v, is given for the results and found for what they depend on (GRAD_NONE:
 * zero); it has room for the values that p has at the start. */
void grad__pull(grad_program *p, int32_t ninstrs, const bool *linear, grad_id *ct);

/* grad__pass_failed: the status of a pass that failed; the message gets the user's line at which p stood. */
grad_status grad__pass_failed(grad_program *p);

static inline bool grad__type_is_float(const grad_type *t) { return grad__dtype_is_float(t->dtype); }

#endif

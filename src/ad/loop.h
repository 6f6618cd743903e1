/* loop.h: how scan and while instructions are laid out; shared by op_loop.c, loop_jvp.c, loop_transpose.c,
 * loop_batch.c, loop_crop.c, rematerialize.c.
 *
 * scan   inputs  consts, carry, xs       params {nconsts, ncarry, length, reverse}   subs {body}
 * while  inputs  consts, carry           params {nconsts, ncarry}                    subs {body, test}
 * body   consts, carry, rows of xs -> carry, ys      outputs of both: the last carry, then the ys stacked
 *
 * length may be GRAD_DYNAMIC: as many steps as the stacks among the xs have rows. The ys of a while always have a
 * dynamic extent. With a batch axis a stack of dynamic extent is {GRAD_DYNAMIC, batch, ...}: the one exception to the
 * batch axis being the first.
 */
#ifndef GRAD_AD_LOOP_H
#define GRAD_AD_LOOP_H

#include "ad/control.h"
#include "ad/pass.h"

typedef struct grad_loop_view {
  grad_program *body, *test; /* test NULL: scan */
  int32_t nconsts, ncarry, nxs, nys;
  int64_t length;
  bool reverse;
} grad_loop_view;

static inline grad_loop_view grad__loop_view(const grad_instr *ins) {
  const bool counted = ins->nsubs == 1;
  grad_loop_view v = {.body = ins->subs[0], .test = counted ? NULL : ins->subs[1]};
  v.nconsts = (int32_t)ins->params[0];
  v.ncarry = (int32_t)ins->params[1];
  v.nxs = ins->nin - v.nconsts - v.ncarry;
  v.nys = v.body->noutputs - v.ncarry;
  v.length = counted ? ins->params[2] : GRAD_DYNAMIC;
  v.reverse = counted && ins->params[3];
  return v;
}

/* Emits a loop from its parts (test NULL: scan). Returns the first output. */
grad_id grad__emit_loop(grad_program *p, const grad_loop *loop, grad_program *test);

/* add_stacks: the sum of two values of one type with a dynamic extent. */
grad_id grad__add_stacks(grad_program *p, grad_id a, grad_id b);

/* rematerialize.c: the cut of a body (its first inputs the consts, then the carry) with fewer residuals to stack, where
 * computing them again takes less. */
grad_status grad__cut_lighten(int32_t nconsts, int32_t ncarry, grad_cut *cut);

void grad__loop_jvp(grad_jvp *a);
void grad__scan_transpose(grad_transpose *a);
void grad__loop_batch(grad_batch *a);
void grad__loop_crop(grad_crop *a);

#endif

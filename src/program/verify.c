/* verify.c: checks the invariants of a program that program.h states. */
#include "program/opdef.h"

static grad_status broken(const grad_program *p, int32_t i, const char *what) {
  return grad__fail(p->ctx, GRAD_EINTERNAL, "program: instruction %d (%s): %s", i, p->instrs[i].op->name, what);
}

static grad_status verify_types(const grad_program *p, int32_t i, grad_arena *temporary) {
  const grad_instr *ins = &p->instrs[i];
  grad_infer_out out[GRAD_MAX_OUT];
  int nout = 0;
  grad_status status = grad__instr_infer(p, ins, temporary, out, &nout);
  if (status) return status;
  if (nout != ins->nout) return broken(p, i, "wrong number of outputs");
  for (int k = 0; k < nout; k++) {
    grad_type t = {out[k].shape, out[k].dtype, out[k].ndim};
    if (!grad__type_equal(&t, &p->types[ins->out + k]))
      return broken(p, i, "an output's type is not what the op infers");
  }
  return GRAD_OK;
}

static grad_status verify_instr(const grad_program *p, int32_t i, grad_arena *temporary) {
  const grad_instr *ins = &p->instrs[i];
  if (ins->out < 0 || ins->nout < 0 || ins->out + ins->nout > p->nvalues) return broken(p, i, "outputs out of range");
  for (int32_t k = 0; k < ins->nin; k++) {
    grad_id v = ins->in[k];
    if (v < 0 || v >= p->nvalues) return broken(p, i, "an input is no value");
    if (p->producers[v] >= i) return broken(p, i, "an input is used before it is made");
  }
  for (int32_t k = 0; k < ins->nout; k++) {
    if (p->producers[ins->out + k] != i) return broken(p, i, "an output names another producer");
  }
  if (ins->where < 0 || ins->where > p->nwheres) return broken(p, i, "its line is out of range");
  if (ins->op->flags & GRAD_OP_SCALAR && (ins->params[0] < 0 || ins->params[0] >= p->nscalars)) {
    return broken(p, i, "it reads a number that is not there");
  }
  for (int32_t k = 0; k < ins->nsubs; k++) {
    grad_status status = grad__verify(ins->subs[k]);
    if (status) return status;
  }
  return verify_types(p, i, temporary);
}

static grad_status verify_ends(const grad_program *p) {
  for (int32_t i = 0; i < p->ninputs; i++) {
    grad_id v = p->inputs[i];
    if (v < 0 || v >= p->nvalues || p->producers[v] != -1 - i) {
      return grad__fail(p->ctx, GRAD_EINTERNAL, "program: input %d is no input value", i);
    }
  }
  for (int32_t i = 0; i < p->noutputs; i++) {
    if (p->outputs[i] < 0 || p->outputs[i] >= p->nvalues) {
      return grad__fail(p->ctx, GRAD_EINTERNAL, "program: output %d is no value", i);
    }
  }
  return GRAD_OK;
}

grad_status grad__verify(const grad_program *p) {
  if (p->status) return p->status;
  grad_status status = verify_ends(p);
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  for (int32_t i = 0; i < p->ninstrs && !status; i++) status = verify_instr(p, i, &temporary);
  grad__arena_clear(&temporary);
  return status;
}

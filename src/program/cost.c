/* cost.c: what instructions compute and move, for explain and the figures of a plan. */
#include "program/opdef.h"

static int64_t count(const grad_program *p, grad_id v) {
  const int64_t n = grad__type_numel(grad__type(p, v));
  return n > 0 ? n : 0; /* of a stack whose length is not known yet: none */
}

bool grad__instr_moves(const grad_instr *ins) {
  return ins->op->flags & GRAD_OP_VIEW || ins->op->sparsity == GRAD_SPARSITY_MAP;
}

double grad__instr_flops(const grad_program *p, const grad_instr *ins) {
  if (ins->op->flops) return ins->op->flops(p, ins);
  if (ins->nsubs > 0) return grad__program_flops(ins->subs[0]);
  return ins->nin > 0 && ins->nout > 0 && !grad__instr_moves(ins) ? (double)count(p, ins->out) : 0;
}

double grad__program_flops(const grad_program *p) {
  double flops = 0;
  for (int32_t i = 0; i < p->ninstrs; i++) flops += grad__instr_flops(p, &p->instrs[i]);
  return flops;
}

int64_t grad__value_bytes(const grad_program *p, grad_id v) {
  return count(p, v) * (int64_t)grad__dtype_size(grad__type(p, v)->dtype);
}

int64_t grad__instr_bytes(const grad_program *p, const grad_instr *ins) {
  int64_t bytes = 0;
  for (int32_t k = 0; k < ins->nin; k++) bytes += grad__value_bytes(p, ins->in[k]);
  for (int32_t k = 0; k < ins->nout; k++) bytes += grad__value_bytes(p, ins->out + k);
  return bytes;
}

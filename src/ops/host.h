/* host.h: instructions that call C functions of the host. */
#ifndef GRAD_OPS_HOST_H
#define GRAD_OPS_HOST_H

#include "program/program.h"

typedef enum grad_host_kind { GRAD_HOST_VALUE, GRAD_HOST_JVP, GRAD_HOST_VJP } grad_host_kind;

/* grad__host: one call of a callback of op; in and out as grad.h says of each. */
void grad__host(grad_program *p, const grad_host_op *op, grad_host_kind kind, int nin, const grad_id *in, int nout,
                grad_id *out);

#endif

/* host_api.c: operations of the host: the call and its rules as nested programs of a custom function. */
#include "ad/control.h"
#include "ops/host.h"

/* Emits inputs for op's arguments, of the types of args in p. */
static void add_arguments(grad_program *q, const grad_program *p, int n, const grad_id *args, grad_id *in) {
  for (int i = 0; i < n; i++) in[i] = grad__program_input_like(q, grad__type(p, args[i]));
}

static int add_float_inputs(grad_program *q, const grad_program *p, int n, const grad_id *like, grad_id *in) {
  int count = 0;
  for (int i = 0; i < n; i++) {
    const grad_type *t = grad__type(p, like[i]);
    if (grad__dtype_is_float(t->dtype)) in[count++] = grad__program_input_like(q, t);
  }
  return count;
}

static grad_status value_program(const grad_program *p, const grad_host_op *op, const grad_id *args,
                                 grad_program **out) {
  grad_id in[GRAD_HOST_MOST], results[GRAD_HOST_MOST];
  grad_status status = grad__program_new(p->ctx, out);
  if (status) return status;
  add_arguments(*out, p, op->nin, args, in);
  grad__host(*out, op, GRAD_HOST_VALUE, op->nin, in, op->nout, results);
  for (int k = 0; k < op->nout; k++) grad__program_output(*out, results[k]);
  return (*out)->status;
}

/* The jvp or vjp rule: arguments, then a float input for each of `seeds` (values of `f`), to floats counted by nout. */
static grad_status rule_program(const grad_program *f, const grad_host_op *op, grad_host_kind kind,
                                grad_program **out) {
  const bool forward = kind == GRAD_HOST_JVP;
  const grad_id *seeds = forward ? f->inputs : f->outputs, *results = forward ? f->outputs : f->inputs;
  const int nseeds = forward ? op->nin : op->nout, nresults = forward ? op->nout : op->nin;
  grad_id in[2 * GRAD_HOST_MOST], made[GRAD_HOST_MOST];
  grad_status status = grad__program_new(f->ctx, out);
  if (status) return status;
  add_arguments(*out, f, op->nin, f->inputs, in);
  const int nin = op->nin + add_float_inputs(*out, f, nseeds, seeds, in + op->nin);
  const int nout = grad__count_floats(f, nresults, results);
  grad__host(*out, op, kind, nin, in, nout, made);
  for (int k = 0; k < nout; k++) grad__program_output(*out, made[k]);
  return (*out)->status;
}

static bool complete(grad_program *p, const grad_host_op *op, const grad_id *args) {
  static const size_t first_size = offsetof(grad_host_op, vjp) + sizeof op->vjp; /* in version 0.1 */
  bool whole = op->size >= first_size && op->name && op->infer && op->eval && op->nin >= 1 &&
               op->nin <= GRAD_HOST_MOST && op->nout >= 1 && op->nout <= GRAD_HOST_MOST;
  if (!whole) {
    grad__program_fail(p, GRAD_EVALUE,
                       "host call: the operation needs size, name, infer, eval and 1 to %d arguments and results",
                       GRAD_HOST_MOST);
    return false;
  }
  for (int i = 0; i < op->nin; i++) {
    if (args[i] == GRAD_NONE) return false;
    if (args[i] >= 0 && args[i] < p->nvalues) continue;
    grad__program_fail(p, GRAD_EVALUE, "%s: argument %d is no value of this program", op->name, i);
    return false;
  }
  return true;
}

void grad_host_call(grad_program *p, const grad_host_op *op, const grad_id *args, grad_id *results) {
  for (int k = 0; k < op->nout && k < GRAD_HOST_MOST; k++) results[k] = GRAD_NONE;
  if (p->status || !complete(p, op, args)) return;
  grad_program *f = NULL, *jvp = NULL, *vjp = NULL;
  grad_status status = value_program(p, op, args, &f);
  if (!status && op->jvp) status = rule_program(f, op, GRAD_HOST_JVP, &jvp);
  if (!status && op->vjp) status = rule_program(f, op, GRAD_HOST_VJP, &vjp);
  if (status)
    p->status = status;
  else if (jvp || vjp)
    grad__custom(p, f, jvp, vjp, op->nin, args, results);
  else
    grad__host(p, op, GRAD_HOST_VALUE, op->nin, args, op->nout, results);
  grad__program_release(f);
  grad__program_release(jvp);
  grad__program_release(vjp);
}

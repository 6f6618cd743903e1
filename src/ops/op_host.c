/* op_host.c: C functions of the host.
 *
 * host  inputs: those of the callback   params {address of the grad_host_op, kind, depth}
 * kind says which callback runs; depth counts the leading batch axes that vmap has put before every input and output:
 * the callback sees one example at a time. Derivatives are put together from the three kinds in ad/op_custom.c: this op
 * has no rules of its own, so that a rule which is missing is an error where it is needed.
 */
#include "ops/host.h"

#include <string.h>

#include "ops/structured.h"

static const grad_host_op *op_of(const int64_t *params) { return (const grad_host_op *)(uintptr_t)params[0]; }

static bool is_float(const grad_host_type *t) { return grad__dtype_is_float(t->dtype); }

/* --- types */

/* The types of one example's arguments, from the first nin inputs. */
static grad_status argument_types(grad_infer *a, const grad_host_op *op, int depth, grad_host_type *types) {
  if (a->nin < op->nin) return grad__fail(a->ctx, GRAD_EVALUE, "%s takes %d arguments", op->name, op->nin);
  for (int i = 0; i < op->nin; i++) {
    const grad_type *t = &a->in[i];
    types[i] = (grad_host_type){.dtype = t->dtype, .ndim = t->ndim - depth};
    if (types[i].ndim > 0) memcpy(types[i].shape, t->shape + depth, (size_t)types[i].ndim * sizeof *t->shape);
  }
  return GRAD_OK;
}

static grad_status set_output(grad_infer *a, int k, int depth, const grad_host_type *type) {
  int64_t shape[2 * GRAD_MAX_AXES];
  if (type->ndim < 0 || type->ndim + depth > GRAD_MAX_AXES || type->dtype > GRAD_F64) {
    return grad__fail(a->ctx, GRAD_EVALUE, "%s: its result %d has no usable type", a->op->name, k);
  }
  if (depth > 0) memcpy(shape, a->in[0].shape, (size_t)depth * sizeof *shape);
  if (type->ndim > 0) memcpy(shape + depth, type->shape, (size_t)type->ndim * sizeof *shape);
  return grad__infer_out(a, k, type->dtype, depth + type->ndim, shape);
}

/* Outputs of the running kind: the float ones of `types`, or all. */
static grad_status set_outputs(grad_infer *a, int depth, int n, const grad_host_type *types, bool floats_only) {
  a->nout = 0;
  for (int k = 0; k < n; k++) {
    if (floats_only && !is_float(&types[k])) continue;
    grad_status status = set_output(a, a->nout++, depth, &types[k]);
    if (status) return status;
  }
  return GRAD_OK;
}

static grad_status host_infer(grad_infer *a) {
  const grad_host_op *op = op_of(a->params);
  const grad_host_kind kind = (grad_host_kind)a->params[1];
  const int depth = (int)a->params[2];
  grad_host_type in[GRAD_HOST_MOST], out[GRAD_HOST_MOST];
  memset(out, 0, sizeof out);
  grad_status status = argument_types(a, op, depth, in);
  if (status) return status;
  if (kind == GRAD_HOST_VJP) return set_outputs(a, depth, op->nin, in, true);
  status = op->infer(op->user, in, out);
  if (status) return grad__fail(a->ctx, status, "%s refuses its arguments: %s", op->name, grad_status_text(status));
  return set_outputs(a, depth, op->nout, out, kind == GRAD_HOST_JVP);
}

/* --- running */

enum { MOST_ARRAYS = 2 * GRAD_HOST_MOST };

static int64_t host_scratch(const grad_program *p, const grad_instr *ins) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < ins->nin; i++) {
    const grad_type *t = grad__type(p, ins->in[i]);
    bytes += (grad__type_numel(t) * (int64_t)grad__dtype_size(t->dtype) + 63) & ~(int64_t)63;
  }
  return bytes;
}

/* The array itself, or a row-major copy of it in scratch. */
static grad_array row_major(const grad_array *array, char **scratch) {
  grad_array copy = *array;
  if (grad__array_is_contiguous(array)) return copy;
  grad__array_wrap(&copy, *scratch, array->dtype, array->ndim, array->shape);
  grad__array_copy(&copy, array);
  size_t bytes = (size_t)grad__array_numel(array) * grad__dtype_size(array->dtype);
  *scratch += (bytes + 63) & ~(size_t)63;
  return copy;
}

/* Example number `at` of a row-major array with `depth` batch axes. */
static grad_array example(const grad_array *array, int depth, int64_t at) {
  grad_array one;
  grad__array_wrap(&one, NULL, array->dtype, array->ndim - depth, array->shape + depth);
  size_t bytes = (size_t)grad__array_numel(&one) * grad__dtype_size(array->dtype);
  one.data = (char *)array->data + (size_t)at * bytes;
  return one;
}

static grad_status run_callback(const grad_host_op *op, grad_host_kind kind, const grad_array *const *in,
                                grad_array *const *out) {
  switch (kind) {
  case GRAD_HOST_JVP:
    return op->jvp(op->user, in, out);
  case GRAD_HOST_VJP:
    return op->vjp(op->user, in, out);
  case GRAD_HOST_VALUE:
    break;
  }
  return op->eval(op->user, in, out);
}

static grad_status host_eval(const grad_eval *a) {
  const grad_host_op *op = op_of(a->ins->params);
  const grad_host_kind kind = (grad_host_kind)a->ins->params[1];
  const int depth = (int)a->ins->params[2], nin = a->ins->nin, nout = a->ins->nout;
  grad_array whole[MOST_ARRAYS], one[2 * MOST_ARRAYS], *pointers[2 * MOST_ARRAYS];
  char *scratch = a->scratch;
  int64_t examples = 1;
  for (int i = 0; i < nin; i++) whole[i] = row_major(a->in[i], &scratch);
  for (int i = 0; i < depth; i++) examples *= whole[0].shape[i];
  for (int i = 0; i < nin + nout; i++) pointers[i] = &one[i];
  for (int64_t at = 0; at < examples; at++) {
    for (int i = 0; i < nin; i++) one[i] = example(&whole[i], depth, at);
    for (int k = 0; k < nout; k++) one[nin + k] = example(a->out[k], depth, at);
    a->ctx->calls_out++;
    grad_status status = run_callback(op, kind, (const grad_array *const *)pointers, pointers + nin);
    a->ctx->calls_out--;
    if (status) return grad__fail(a->ctx, status, "%s failed: %s", op->name, grad_status_text(status));
    status = grad__interrupted(a->ctx);
    if (status) return status;
  }
  return GRAD_OK;
}

/* Every input gets the new batch axis. */
static void host_batch(grad_batch *a) {
  const int64_t *old = a->ins->params;
  grad__batch_with(a, (const int64_t[]){old[0], old[1], old[2] + 1});
}

/* There is no rule for the instruction itself: what is asked for was not given. */
static void refuse(grad_program *p, const grad_instr *ins) {
  const grad_host_op *op = op_of(ins->params);
  const char *missing = ins->params[1] == GRAD_HOST_VALUE ? "has no derivative rule"
                                                          : "has no rule for derivatives of this order or direction";
  grad__program_fail(p, GRAD_EUNSUPPORTED, "%s %s", op->name, missing);
}

static void host_jvp(grad_jvp *a) { refuse(a->p, a->ins); }
static void host_transpose(grad_transpose *a) { refuse(a->p, a->ins); }

const grad_op grad__op_host = {
    .name = "host",
    .nin = -1,
    .nout = -1,
    .flags = GRAD_OP_REFUSES,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = host_infer,
    .eval = host_eval,
    .scratch = host_scratch,
    .jvp = host_jvp,
    .transpose = host_transpose,
    .batch = host_batch,
};

void grad__host(grad_program *p, const grad_host_op *op, grad_host_kind kind, int nin, const grad_id *in, int nout,
                grad_id *out) {
  const int64_t params[] = {(int64_t)(uintptr_t)op, kind, 0};
  grad_id first = grad__emit(p, &grad__op_host, nin, in, 3, params);
  grad__ids_from(first, nout, out);
}

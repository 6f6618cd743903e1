/* check_host_op.h: an operation of the host for tests: y = 3 x, of any number of entries, with both rules. */
#ifndef CHECK_HOST_OP_H
#define CHECK_HOST_OP_H

#include "include/grad.h"

static inline grad_status check_triple_infer(void *user, const grad_host_type *in, grad_host_type *out) {
  (void)user;
  out[0] = in[0];
  return GRAD_OK;
}

static inline grad_status check_triple_eval(void *user, const grad_array *const *in, grad_array *const *out) {
  (void)user;
  const double *x = grad_array_data(in[0]);
  double *y = grad_array_data(out[0]);
  for (int64_t i = 0; i < grad_array_numel(in[0]); i++) y[i] = 3 * x[i];
  return GRAD_OK;
}

/* Of tangents and of cotangents: what comes after the argument. */
static inline grad_status check_triple_rule(void *user, const grad_array *const *in, grad_array *const *out) {
  return check_triple_eval(user, in + 1, out);
}

static const grad_host_op check_triple = {.size = sizeof(grad_host_op),
                                          .name = "triple",
                                          .nin = 1,
                                          .nout = 1,
                                          .infer = check_triple_infer,
                                          .eval = check_triple_eval,
                                          .jvp = check_triple_rule,
                                          .vjp = check_triple_rule};

#endif

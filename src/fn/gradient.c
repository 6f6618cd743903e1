/* gradient.c: value with pullback, and Hessian-vector products. */
#include "fn/parts.h"

#include <string.h>

void grad__fn_inline(grad_program *dst, const grad_program *src, const grad_id *inputs, grad_id *outputs) {
  const int32_t nscalars = dst->nscalars;
  dst->nscalars = 0; /* so that number k of src is number k of dst */
  grad__inline(dst, src, inputs, NULL, outputs, NULL);
  if (dst->nscalars < nscalars) dst->nscalars = nscalars;
}

grad_status grad__fn_select(const grad_program *p, int32_t n, const int32_t *which, grad_program **out) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  grad_id *outputs = grad__ids_new(&temporary, n);
  grad_status status = outputs ? GRAD_OK : p->ctx->status;
  for (int32_t i = 0; i < n && !status; i++) outputs[i] = p->outputs[which[i]];
  if (!status) status = grad__extract(p, p->ninputs, p->inputs, n, outputs, true, out);
  grad__arena_clear(&temporary);
  return status;
}

int32_t grad__fn_count(const bool *flags, int32_t n) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) count += flags[i];
  return count;
}

grad_status grad__fn_vjp(const grad_program *p, const bool *wrt, int ncot, grad_program **primal,
                         grad_program **pullback) {
  grad_program *first = NULL, *linear = NULL;
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  grad_status status = grad__ad_linearize(p, wrt, ncot, &first, &linear);
  if (!status) {
    const int32_t nresiduals = first->noutputs - p->noutputs;
    bool *is_tangent = grad__arena_alloc(&temporary, (size_t)linear->ninputs + 1);
    for (int32_t i = 0; is_tangent && i < linear->ninputs; i++) is_tangent[i] = i >= nresiduals;
    status = is_tangent ? grad__ad_transpose(linear, is_tangent, pullback) : p->ctx->status;
  }
  grad__program_release(linear);
  grad__arena_clear(&temporary);
  if (status) {
    grad__program_release(first);
    return status;
  }
  *primal = first;
  return GRAD_OK;
}

grad_status grad__fn_hvp(const grad_program *p, const bool *wrt, grad_program **out) {
  grad_program *gradient = NULL, *pushed = NULL;
  grad_status status = grad__ad_grad(p, wrt, &gradient);
  if (!status) status = grad__ad_jvp(gradient, wrt, &pushed);
  if (!status) { /* outputs: p's, the gradients, tangents of p's float ones, tangents of the gradients */
    const int32_t nwrt = grad__fn_count(wrt, p->ninputs);
    grad_arena temporary;
    grad__arena_init(&temporary, p->ctx);
    int32_t *which = grad__arena_alloc(&temporary, ((size_t)p->noutputs + (size_t)nwrt) * sizeof *which);
    for (int32_t i = 0; which && i < p->noutputs; i++) which[i] = i;
    for (int32_t i = 0; which && i < nwrt; i++) which[p->noutputs + i] = pushed->noutputs - nwrt + i;
    status = which ? grad__fn_select(pushed, p->noutputs + nwrt, which, out) : p->ctx->status;
    grad__arena_clear(&temporary);
  }
  grad__program_release(pushed);
  grad__program_release(gradient);
  return status;
}

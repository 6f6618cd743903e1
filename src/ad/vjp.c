/* vjp.c: reverse mode in one program: primal and tangent instructions, then the transposes of the tangent ones. The
 * tangent instructions themselves are dropped at the end, having served as the recipe. */
#include "ad/pass.h"

typedef struct reverse {
  grad_push s;
  const bool *wrt;
  grad_id *ct;                        /* by value of s.p before the reverse sweep */
  grad_id *inputs, *outputs;          /* of the result */
  int32_t ninputs, noutputs, ninstrs; /* ninstrs: where the reverse sweep begins */
  bool *linear;
} reverse;

static bool reverse_room(reverse *r, int32_t ncot) {
  const grad_program *src = r->s.src;
  r->ct = grad__ids_new(&r->s.temporary, r->s.p->nvalues);
  r->inputs = grad__ids_new(&r->s.temporary, src->ninputs + ncot);
  r->outputs = grad__ids_new(&r->s.temporary, src->noutputs + src->ninputs);
  r->linear = grad__arena_zeros(&r->s.temporary, (size_t)r->s.p->nvalues + 1);
  return r->ct && r->inputs && r->outputs && r->linear;
}

/* The forward half, and room for the reverse half. */
static grad_status reverse_start(reverse *r, const grad_program *p, const bool *wrt, int32_t ncot) {
  *r = (reverse){.wrt = wrt};
  grad_status status = grad__push_start(&r->s, p);
  if (status) return status;
  grad__push_tangents(&r->s, wrt);
  grad__push_run(&r->s);
  if (r->s.p->status) return grad__pass_failed(r->s.p);
  r->ninstrs = r->s.p->ninstrs;
  if (!reverse_room(r, ncot)) return p->ctx->status;
  const grad_program *src = r->s.src; /* not p: the values of src have ids of their own */
  for (int32_t i = 0; i < src->ninputs; i++) {
    r->inputs[r->ninputs++] = r->s.primal[src->inputs[i]];
    if (wrt[i]) r->linear[r->s.tangent[src->inputs[i]]] = true;
  }
  return GRAD_OK;
}

static void seed(reverse *r, int32_t output, grad_id cotangent) {
  const grad_id tangent = r->s.tangent[r->s.src->outputs[output]];
  if (tangent != GRAD_NONE) r->ct[tangent] = grad__add_tangents(r->s.p, r->ct[tangent], cotangent);
}

static grad_status reverse_finish(reverse *r, grad_program **out) {
  grad_program *p = r->s.p;
  const grad_program *src = r->s.src;
  grad__mark_linear(p, r->ninstrs, r->linear);
  grad__pull(p, r->ninstrs, r->linear, r->ct);
  if (p->status) return grad__pass_failed(p);
  for (int32_t i = 0; i < src->noutputs; i++) r->outputs[r->noutputs++] = r->s.primal[src->outputs[i]];
  for (int32_t i = 0; i < src->ninputs; i++) {
    if (!r->wrt[i]) continue;
    const grad_id c = r->ct[r->s.tangent[src->inputs[i]]];
    r->outputs[r->noutputs++] = c != GRAD_NONE ? c : grad__zeros_of(p, grad__type(src, src->inputs[i]));
  }
  if (p->status) return p->status;
  return grad__extract(p, r->ninputs, r->inputs, r->noutputs, r->outputs, true, out);
}

grad_status grad__ad_vjp(const grad_program *p, const bool *wrt, int ncot, grad_program **out) {
  reverse r;
  grad_status status = reverse_start(&r, p, wrt, ncot);
  for (int i = 0; i < ncot && !status; i++) {
    const grad_type *t = grad__type(p, p->outputs[i]);
    if (!grad__type_is_float(t)) continue;
    const grad_id c = grad__program_input_like(r.s.p, t);
    r.inputs[r.ninputs++] = c;
    seed(&r, i, c);
  }
  if (!status) status = reverse_finish(&r, out);
  grad__push_end(&r.s);
  return status;
}

static grad_status check_scalar_result(const grad_program *p) {
  if (p->noutputs == 0) return grad__fail(p->ctx, GRAD_EVALUE, "a gradient needs a function that returns a value");
  const grad_type *t = grad__type(p, p->outputs[0]);
  if (t->ndim == 0 && grad__type_is_float(t)) return GRAD_OK;
  if (t->ndim == 0) {
    return grad__fail(p->ctx, GRAD_EDTYPE, "a gradient needs a function that returns a real number, it returned %s",
                      grad__type_text(t).chars);
  }
  return grad__fail(p->ctx, GRAD_ESHAPE,
                    "a gradient needs a function that returns one number, it returned %s: reduce it (sum, mean), or "
                    "ask for the jacobian",
                    grad__type_text(t).chars);
}

grad_status grad__ad_grad(const grad_program *p, const bool *wrt, grad_program **out) {
  grad_status status = p->status ? p->status : check_scalar_result(p);
  if (status) return status;
  reverse r;
  status = reverse_start(&r, p, wrt, 0);
  if (!status) {
    const grad_type *t = grad__type(p, p->outputs[0]);
    seed(&r, 0, grad__full(r.s.p, 1, t->dtype, 0, t->shape));
    status = reverse_finish(&r, out);
  }
  grad__push_end(&r.s);
  return status;
}

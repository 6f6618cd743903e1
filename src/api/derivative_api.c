/* derivative_api.c: grad.h's derivatives: flags for inputs and outputs, then the drivers of fn and ad. */
#include "fn/fn.h"

/* A flag for each input and output, in one block. */
typedef struct flags {
  bool *wrt, *of;
  size_t bytes;
} flags;

static bool is_float(const grad_program *p, grad_id v) { return grad__dtype_is_float(grad__type(p, v)->dtype); }

static grad_status flags_open(const grad_program *p, const uint8_t *wrt, flags *f) {
  if (p->status) return p->status;
  size_t nin = (size_t)p->ninputs, nout = (size_t)p->noutputs;
  *f = (flags){.bytes = nin + nout + 1}; /* one more: never an empty block */
  f->wrt = grad__alloc(p->ctx, f->bytes);
  if (!f->wrt) return p->ctx->status;
  f->of = f->wrt + nin;
  for (size_t i = 0; i < nin; i++) f->wrt[i] = wrt ? wrt[i] != 0 : is_float(p, p->inputs[i]);
  for (size_t i = 0; i < nout; i++) f->of[i] = is_float(p, p->outputs[i]);
  return GRAD_OK;
}

static void flags_close(const grad_program *p, flags *f) { grad__free(p->ctx, f->wrt, f->bytes); }

typedef grad_status driver(const grad_program *p, const flags *f, grad_program **out);

static grad_status derive(const grad_program *p, const uint8_t *wrt, driver *run, grad_program **out) {
  flags f;
  grad_status status = flags_open(p, wrt, &f);
  if (status) return status;
  status = run(p, &f, out);
  flags_close(p, &f);
  return status;
}

static grad_status run_gradient(const grad_program *p, const flags *f, grad_program **out) {
  return grad__ad_grad(p, f->wrt, out);
}

static grad_status run_jvp(const grad_program *p, const flags *f, grad_program **out) {
  return grad__ad_jvp(p, f->wrt, out);
}

static grad_status run_vjp(const grad_program *p, const flags *f, grad_program **out) {
  return grad__ad_vjp(p, f->wrt, p->noutputs, out);
}

static grad_status run_hvp(const grad_program *p, const flags *f, grad_program **out) {
  return grad__fn_hvp(p, f->wrt, out);
}

static grad_status run_jacobian(const grad_program *p, const flags *f, grad_program **out) {
  return grad__fn_jacobian(p, f->wrt, f->of, GRAD_JACOBIAN_AUTO, out, NULL);
}

static grad_status run_hessian(const grad_program *p, const flags *f, grad_program **out) {
  return grad__fn_hessian(p, f->wrt, out);
}

grad_status grad_gradient(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_gradient, out);
}

grad_status grad_jvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_jvp, out);
}

grad_status grad_vjp_of(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_vjp, out);
}

grad_status grad_hvp_of(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_hvp, out);
}

grad_status grad_jacobian_of(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_jacobian, out);
}

grad_status grad_hessian_of(const grad_program *p, const uint8_t *wrt, grad_program **out) {
  return derive(p, wrt, run_hessian, out);
}

grad_status grad_vmap_of(const grad_program *p, int64_t size, const uint8_t *batched, grad_program **out) {
  if (size < 0) return grad__fail(p->ctx, GRAD_EVALUE, "vmap: a batch of %lld", (long long)size);
  flags f;
  grad_status status = flags_open(p, batched, &f);
  if (status) return status;
  for (int32_t i = 0; i < p->ninputs; i++) f.wrt[i] = batched ? batched[i] != 0 : true;
  status = grad__ad_vmap(p, size, f.wrt, NULL, out);
  flags_close(p, &f);
  return status;
}

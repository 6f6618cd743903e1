/* function_api.c: grad.h's functions: a plan, the headers that its runs fill, and the inputs that are always the same.
 */
#include "api/function.h"

#include <string.h>

struct grad_function {
  grad_program *program;
  grad_plan *plan;
  grad_array *out;       /* noutputs headers, filled at each run */
  grad_array *wrapped;   /* ninputs headers on row-major memory: bound inputs, and the others in raw runs */
  const grad_array **in; /* ninputs pointers for a run */
  int32_t *open;         /* the inputs that a run gives, nopen of them */
  int32_t nopen;
  double *scalars; /* the program's numbers */
};

static void free_block(grad_ctx *ctx, void *block, int32_t count, size_t size) {
  grad__free(ctx, block, (size_t)count * size);
}

void grad_function_free(grad_function *f) {
  if (!f) return;
  grad_program *p = f->program;
  grad_ctx *ctx = p->ctx;
  grad__plan_free(f->plan);
  for (int32_t i = 0; f->wrapped && i < p->ninputs; i++) grad__array_release(&f->wrapped[i]);
  free_block(ctx, f->out, p->noutputs, sizeof *f->out);
  free_block(ctx, f->wrapped, p->ninputs, sizeof *f->wrapped);
  free_block(ctx, (void *)f->in, p->ninputs, sizeof *f->in);
  free_block(ctx, f->open, p->ninputs, sizeof *f->open);
  free_block(ctx, f->scalars, p->nscalars, sizeof *f->scalars);
  grad__program_release(p);
  grad__free(ctx, f, sizeof *f);
}

static grad_status allocate(grad_function *f) {
  const grad_program *p = f->program;
  size_t nin = (size_t)p->ninputs, nout = (size_t)p->noutputs, nscalars = (size_t)p->nscalars;
  f->out = grad__alloc(p->ctx, nout * sizeof *f->out);
  f->wrapped = grad__alloc(p->ctx, nin * sizeof *f->wrapped);
  if (f->wrapped) memset(f->wrapped, 0, nin * sizeof *f->wrapped);
  f->in = grad__alloc(p->ctx, nin * sizeof *f->in);
  f->open = grad__alloc(p->ctx, nin * sizeof *f->open);
  f->scalars = grad__alloc(p->ctx, nscalars * sizeof *f->scalars);
  bool made = (!nout || f->out) && (!nin || (f->wrapped && f->in && f->open)) && (!nscalars || f->scalars);
  return made ? GRAD_OK : p->ctx->status;
}

static grad_status bind_inputs(grad_function *f, const grad_array *bound) {
  const grad_program *p = f->program;
  for (int32_t i = 0; i < p->ninputs; i++) {
    const grad_type *t = grad__type(p, p->inputs[i]);
    f->in[i] = &f->wrapped[i];
    if (!bound || !bound[i].data) {
      grad__array_wrap(&f->wrapped[i], NULL, t->dtype, t->ndim, t->shape);
      f->open[f->nopen++] = i;
      continue;
    }
    grad_status status = grad__array_new(p->ctx, t->dtype, t->ndim, t->shape, &f->wrapped[i]);
    if (status) return status;
    grad__array_copy(&f->wrapped[i], &bound[i]);
  }
  return GRAD_OK;
}

grad_status grad__function_new(grad_program *p, const grad_array *bound, const double *scalars, grad_function **out) {
  if (p->status) return p->status;
  grad_function *f = grad__alloc(p->ctx, sizeof *f);
  if (!f) return p->ctx->status;
  *f = (grad_function){.program = p};
  grad__program_retain(p);
  grad_status status = allocate(f);
  if (!status) status = bind_inputs(f, bound);
  if (!status && p->nscalars) memcpy(f->scalars, scalars, (size_t)p->nscalars * sizeof *scalars);
  if (!status) status = grad__plan_new(p, &f->plan);
  if (status) {
    grad_function_free(f);
    return status;
  }
  *out = f;
  return GRAD_OK;
}

grad_status grad_compile(grad_program *p, grad_function **out) {
  if (p->status) return p->status;
  if (!p->status && p->nscalars) {
    return grad__fail(p->ctx, GRAD_EVALUE, "compile: the program reads numbers that nothing gives it");
  }
  grad_program *own; /* the caller may go on building p */
  grad_status status = grad__prune(p, &own);
  if (status) return status;
  status = grad__function_new(own, NULL, NULL, out);
  grad__program_release(own);
  return status;
}

int grad_function_inputs(const grad_function *f) { return f->nopen; }
int grad_function_outputs(const grad_function *f) { return f->program->noutputs; }

static grad_status check_array(const grad_program *p, const char *what, int i, grad_id v, const grad_array *array) {
  const grad_type *t = grad__type(p, v);
  if (array->dtype == t->dtype && grad__shape_equal(array->ndim, array->shape, t->ndim, t->shape)) return GRAD_OK;
  grad_type given = {.shape = array->shape, .dtype = array->dtype, .ndim = array->ndim};
  return grad__fail(p->ctx, array->dtype == t->dtype ? GRAD_ESHAPE : GRAD_EDTYPE, "run: %s %d is %s, expected %s", what,
                    i, grad__type_text(&given).chars, grad__type_text(t).chars);
}

static grad_status check_output(const grad_program *p, int i, const grad_array *array) {
  grad_status status = check_array(p, "output", i, p->outputs[i], array);
  if (status) return status;
  if (array->storage->readonly) return grad__fail(p->ctx, GRAD_EVALUE, "run: output %d is read-only", i);
  if (grad__array_is_contiguous(array)) return GRAD_OK;
  return grad__fail(p->ctx, GRAD_EVALUE, "run: output %d is not row-major", i);
}

grad_status grad_run(grad_function *f, const grad_array *const *in, grad_array *const *out) {
  const grad_program *p = f->program;
  for (int32_t i = 0; i < f->nopen; i++) {
    grad_status status = check_array(p, "input", i, p->inputs[f->open[i]], in[i]);
    if (status) return status;
    f->in[f->open[i]] = in[i];
  }
  for (int32_t i = 0; i < p->noutputs; i++) {
    grad_status status = check_output(p, i, out[i]);
    if (status) return status;
    f->out[i] = *out[i];
  }
  return grad__plan_run(f->plan, f->in, f->scalars, f->out);
}

grad_status grad_run_raw(grad_function *f, const void *const *in, void *const *out) {
  const grad_program *p = f->program;
  for (int32_t i = 0; i < f->nopen; i++) {
    grad_array *header = &f->wrapped[f->open[i]];
    memcpy(&header->data, &in[i], sizeof in[i]); /* not written to: the cast that would say so is refused */
    f->in[f->open[i]] = header;
  }
  for (int32_t i = 0; i < p->noutputs; i++) {
    const grad_type *t = grad__type(p, p->outputs[i]);
    grad__array_wrap(&f->out[i], out[i], t->dtype, t->ndim, t->shape);
  }
  return grad__plan_run(f->plan, f->in, f->scalars, f->out);
}

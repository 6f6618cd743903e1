/* check_plan.h: random programs with their inputs, and the comparison of what two ways to run them gave. */
#ifndef CHECK_PLAN_H
#define CHECK_PLAN_H

#include "check_alloc.h"
#include "check_program.h"
#include "exec/exec.h"
#include "random_program.h"

enum { MOST = 16 };

typedef struct fixture {
  grad_ctx *ctx;
  grad_program *p;
  grad_array in[MOST];
  const grad_array *inputs[MOST];
  double scalars[2];
} fixture;

static inline bool fixture_open(fixture *f, grad_ctx *ctx, uint64_t seed, const random_options *o, bool strided) {
  random_source r = {seed + 77};
  *f = (fixture){.ctx = ctx, .p = random_program(ctx, seed, o), .scalars = {0.5, -1.25}};
  if (!f->p || f->p->status != GRAD_OK) return false;
  for (int i = 0; i < f->p->ninputs; i++) {
    if (!random_array(ctx, &r, grad__type(f->p, f->p->inputs[i]), strided, &f->in[i])) return false;
    f->inputs[i] = &f->in[i];
  }
  return true;
}

static inline void fixture_close(fixture *f) {
  for (int i = 0; i < MOST; i++) grad__array_release(&f->in[i]);
  grad__program_release(f->p);
}

static inline void release_all(grad_array *out, int n) {
  for (int i = 0; i < n; i++) grad__array_release(&out[i]);
}

static inline bool same_bits(const grad_array *a, const grad_array *b) {
  const size_t bytes = (size_t)grad__array_numel(a) * grad__dtype_size(a->dtype);
  return grad__array_numel(a) == grad__array_numel(b) && (bytes == 0 || memcmp(a->data, b->data, bytes) == 0);
}

static inline void report(const fixture *f, uint64_t seed, int output) {
  fprintf(stderr, "seed %llu, output %d of\n", (unsigned long long)seed, output);
  grad_text text = {.ctx = f->ctx};
  if (f->p->ninstrs < 60 && grad__program_print(f->p, &text) == GRAD_OK) fprintf(stderr, "%s", text.data);
  grad__text_clear(&text);
}

#endif

/* jacobian.c: Jacobians and Hessians: one linearization, then one batched sweep for each input (forward) or output
 * (reverse) over the rows of an identity. */
#include "fn/parts.h"

#include <string.h>

#include "ops/compose.h"

/* A result under construction. */
typedef struct sweep {
  const grad_program *src;
  grad_program *p; /* has src's inputs, then src's outputs inlined */
  grad_arena temporary;
  const bool *wrt;
  int32_t nwrt, nof;
  int32_t *outputs; /* positions of the outputs wanted */
  grad_id *blocks;  /* nof x nwrt */
} sweep;

static grad_status sweep_start(sweep *s, const grad_program *src, const bool *wrt, const bool *of) {
  *s = (sweep){.src = src, .wrt = wrt};
  grad__arena_init(&s->temporary, src->ctx);
  grad_status status = grad__program_like(src, &s->p);
  if (status) return status;
  s->nwrt = grad__fn_count(wrt, src->ninputs);
  s->nof = grad__fn_count(of, src->noutputs);
  s->outputs = grad__arena_alloc(&s->temporary, ((size_t)s->nof + 1) * sizeof *s->outputs);
  s->blocks = grad__ids_new(&s->temporary, s->nof * s->nwrt);
  if (!s->outputs || !s->blocks) return src->ctx->status;
  int32_t n = 0;
  for (int32_t i = 0; i < src->noutputs; i++) {
    if (!of[i]) continue;
    const grad_type *t = grad__type(src, src->outputs[i]);
    if (!grad__dtype_is_float(t->dtype)) {
      return grad__fail(src->ctx, GRAD_EDTYPE, "jacobian: result %d is %s: only f64 and f32 have derivatives", i + 1,
                        grad__type_text(t).chars);
    }
    s->outputs[n++] = i;
  }
  return GRAD_OK;
}

static void sweep_end(sweep *s) {
  grad__program_release(s->p);
  grad__arena_clear(&s->temporary);
}

/* Inlines `primal` (src's inputs -> anything, then residuals), then `linear` batched over the rows of an identity
 * shaped like `type`. rows: the outputs of linear with the batch axis first. */
static grad_status run_rows(sweep *s, const grad_program *primal, const grad_program *linear, const grad_type *type,
                            grad_id **rows) {
  const int32_t nresiduals = linear->ninputs - 1;
  const int64_t n = grad__type_numel(type);
  bool *batched = grad__arena_alloc(&s->temporary, (size_t)linear->ninputs);
  grad_id *values = grad__ids_new(&s->temporary, primal->noutputs + 1);
  *rows = grad__ids_new(&s->temporary, linear->noutputs);
  if (!batched || !values || !*rows) return s->src->ctx->status;
  for (int32_t i = 0; i < linear->ninputs; i++) batched[i] = i == nresiduals;
  grad_program *wide = NULL;
  grad_status status = grad__ad_vmap(linear, n, batched, NULL, &wide);
  if (status) return status;
  grad__fn_inline(s->p, primal, s->p->inputs, values);
  int64_t shape[GRAD_MAX_AXES + 1] = {n};
  for (int i = 0; i < type->ndim; i++) shape[i + 1] = type->shape[i];
  grad_id *inputs = values + (primal->noutputs - nresiduals);
  inputs[nresiduals] = grad__reshape(s->p, grad__eye(s->p, type->dtype, n, n), type->ndim + 1, shape);
  grad__fn_inline(s->p, wide, inputs, *rows);
  grad__program_release(wide);
  return s->p->status;
}

static bool block_fits(sweep *s, const grad_type *out, const grad_type *in) {
  if (out->ndim + in->ndim <= GRAD_MAX_AXES) return true;
  grad__program_fail(s->p, GRAD_ESHAPE, "jacobian: a result %s by an argument %s has more than %d axes: flatten one",
                     grad__type_text(out).chars, grad__type_text(in).chars, GRAD_MAX_AXES);
  return false;
}

/* rows: of shape in.numel x out.shape (forward) or out.numel x in.shape (reverse): to out.shape, in.shape. */
static grad_id to_block(sweep *s, grad_id rows, const grad_type *out, const grad_type *in, bool forward) {
  if (rows == GRAD_NONE || !block_fits(s, out, in)) return GRAD_NONE;
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < out->ndim; i++) shape[i] = out->shape[i];
  for (int i = 0; i < in->ndim; i++) shape[out->ndim + i] = in->shape[i];
  if (forward) {
    int axes[GRAD_MAX_AXES + 1] = {0};
    for (int i = 0; i < out->ndim; i++) axes[i] = i + 1;
    axes[out->ndim] = 0;
    rows = grad__permute(s->p, rows, axes);
  }
  return grad__reshape(s->p, rows, out->ndim + in->ndim, shape);
}

/* The derivatives of some of src's outputs in each entry of one input: rows of shape in.numel x out.shape. */
static grad_status push_columns(sweep *s, int32_t input, int32_t nof, const int32_t *outputs, grad_id **rows) {
  grad_program *picked = NULL, *primal = NULL, *linear = NULL;
  bool *only = grad__arena_alloc(&s->temporary, (size_t)s->src->ninputs);
  if (!only) return s->src->ctx->status;
  for (int32_t i = 0; i < s->src->ninputs; i++) only[i] = i == input;
  grad_status status = grad__fn_select(s->src, nof, outputs, &picked);
  if (!status) status = grad__ad_linearize(picked, only, nof, &primal, &linear);
  if (!status) status = run_rows(s, primal, linear, grad__type(s->src, s->src->inputs[input]), rows);
  grad__program_release(linear);
  grad__program_release(primal);
  grad__program_release(picked);
  return status;
}

static grad_status forward_sweeps(sweep *s) {
  int32_t column = 0;
  for (int32_t i = 0; i < s->src->ninputs; i++) {
    if (!s->wrt[i]) continue;
    grad_id *rows;
    grad_status status = push_columns(s, i, s->nof, s->outputs, &rows);
    if (status) return status;
    for (int32_t o = 0; o < s->nof; o++) {
      const grad_type *out = grad__type(s->src, s->src->outputs[s->outputs[o]]);
      s->blocks[o * s->nwrt + column] = to_block(s, rows[o], out, grad__type(s->src, s->src->inputs[i]), true);
    }
    column++;
  }
  return GRAD_OK;
}

/* The rows that belong to one output: a block for each input. */
static grad_status reverse_row(sweep *s, int32_t row) {
  grad_program *picked = NULL, *primal = NULL, *pullback = NULL;
  grad_status status = grad__fn_select(s->src, 1, &s->outputs[row], &picked);
  if (!status) status = grad__fn_vjp(picked, s->wrt, 1, &primal, &pullback);
  const grad_type out = *grad__type(s->src, s->src->outputs[s->outputs[row]]);
  grad_id *rows = NULL;
  if (!status) status = run_rows(s, primal, pullback, &out, &rows);
  for (int32_t i = 0, column = 0; i < s->src->ninputs && !status; i++) {
    if (!s->wrt[i]) continue;
    const grad_type in = *grad__type(s->src, s->src->inputs[i]);
    s->blocks[row * s->nwrt + column] = to_block(s, rows[column], &out, &in, false);
    column++;
  }
  grad__program_release(pullback);
  grad__program_release(primal);
  grad__program_release(picked);
  return status;
}

static grad_status reverse_sweeps(sweep *s) {
  grad_status status = GRAD_OK;
  for (int32_t o = 0; o < s->nof && !status; o++) status = reverse_row(s, o);
  return status;
}

static grad_jacobian_mode cheaper_mode(const sweep *s) {
  int64_t forward = 0, reverse = 0;
  for (int32_t i = 0; i < s->src->ninputs; i++) {
    if (s->wrt[i]) forward += grad__type_numel(grad__type(s->src, s->src->inputs[i]));
  }
  for (int32_t o = 0; o < s->nof; o++) reverse += grad__type_numel(grad__type(s->src, s->src->outputs[s->outputs[o]]));
  return forward <= reverse ? GRAD_JACOBIAN_FORWARD : GRAD_JACOBIAN_REVERSE;
}

/* src's first nkeep outputs, then the blocks. */
static grad_status sweep_finish(sweep *s, int32_t nkeep, grad_program **out) {
  grad_id *values = grad__ids_new(&s->temporary, s->src->noutputs);
  if (!values) return s->src->ctx->status;
  grad__fn_inline(s->p, s->src, s->p->inputs, values);
  for (int32_t i = 0; i < nkeep; i++) grad__program_output(s->p, values[i]);
  for (int32_t i = 0; i < s->nof * s->nwrt; i++) grad__program_output(s->p, s->blocks[i]);
  return s->p->status ? s->p->status : grad__prune(s->p, out);
}

static grad_status jacobian(const grad_program *p, const bool *wrt, const bool *of, grad_jacobian_mode mode,
                            int32_t nkeep, grad_program **out, grad_jacobian_mode *used) {
  sweep s;
  grad_status status = sweep_start(&s, p, wrt, of);
  if (!status) {
    if (mode == GRAD_JACOBIAN_AUTO) mode = cheaper_mode(&s);
    status = mode == GRAD_JACOBIAN_FORWARD ? forward_sweeps(&s) : reverse_sweeps(&s);
  }
  if (!status) status = sweep_finish(&s, nkeep, out);
  if (!status && used) *used = mode;
  sweep_end(&s);
  return status;
}

grad_status grad__fn_jacobian(const grad_program *p, const bool *wrt, const bool *of, grad_jacobian_mode mode,
                              grad_program **out, grad_jacobian_mode *used) {
  return jacobian(p, wrt, of, mode, p->noutputs, out, used);
}

/* The gradient program of p, and flags that pick the gradients among its outputs (in the arena). */
static grad_status gradient_of(const grad_program *p, const bool *wrt, grad_arena *arena, grad_program **gradient,
                               bool **of) {
  grad_status status = grad__ad_grad(p, wrt, gradient);
  if (status) return status;
  *of = grad__arena_alloc(arena, (size_t)(*gradient)->noutputs);
  if (!*of) return p->ctx->status;
  for (int32_t i = 0; i < (*gradient)->noutputs; i++) (*of)[i] = i >= p->noutputs;
  return GRAD_OK;
}

grad_status grad__fn_hessian(const grad_program *p, const bool *wrt, grad_program **out) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  grad_program *gradient = NULL;
  bool *of = NULL;
  grad_status status = gradient_of(p, wrt, &temporary, &gradient, &of);
  if (!status) status = jacobian(gradient, wrt, of, GRAD_JACOBIAN_FORWARD, p->noutputs, out, NULL);
  grad__program_release(gradient);
  grad__arena_clear(&temporary);
  return status;
}

/* The second derivatives in one input alone: its column of the Hessian, of which each row keeps one entry. */
static grad_status diagonal_of(sweep *s, int32_t input, int32_t k, grad_id *diagonal) {
  grad_id *rows;
  grad_status status = push_columns(s, input, 1, &s->outputs[k], &rows);
  if (status) return status;
  const grad_type *in = grad__type(s->src, s->src->inputs[input]);
  const int64_t n = grad__type_numel(in);
  const grad_id square = grad__reshape(s->p, rows[0], 2, (const int64_t[]){n, n});
  *diagonal = grad__reshape(s->p, grad__diagonal(s->p, square, 0), in->ndim, in->shape);
  return s->p->status;
}

grad_status grad__fn_hessian_diag(const grad_program *p, const bool *wrt, grad_program **out) {
  grad_arena temporary;
  grad__arena_init(&temporary, p->ctx);
  grad_program *gradient = NULL;
  bool *of = NULL;
  sweep s = {0};
  grad_status status = gradient_of(p, wrt, &temporary, &gradient, &of);
  if (!status) {
    status = sweep_start(&s, gradient, wrt, of);
    for (int32_t i = 0, k = 0; i < p->ninputs && !status; i++) {
      if (!wrt[i]) continue;
      status = diagonal_of(&s, i, k, &s.blocks[k]);
      k++;
    }
    s.nof = 1; /* one block for each input, no more */
    if (!status) status = sweep_finish(&s, p->noutputs, out);
    sweep_end(&s);
  }
  grad__program_release(gradient);
  grad__arena_clear(&temporary);
  return status;
}

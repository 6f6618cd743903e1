/* sparse.c: compressed Jacobians and Hessians: seeds by colour, one batched sweep, entries picked out of the result. */
#include "fn/sparse.h"

#include <string.h>

#include "fn/parts.h"
#include "ops/compose.h"

/* What an update needs. */
typedef struct grad_sparse_state {
  grad_program *program; /* p's inputs, seeds of each direction, pick -> value, entries */
  grad_plan *plan;       /* from the second update on */
  uint64_t runs;
  grad_array seeds[2]; /* nforward x the shape of the input, nreverse x the shape of the output */
  grad_array pick;     /* i64, nnz: where each entry stands in the flattened sweeps */
  int32_t ninputs;     /* of p */
} grad_sparse_state;

/* The derivative to be compressed, while it is being set up. */
typedef struct job {
  grad_program *f; /* output 0: what is differentiated; output 1: the value to report */
  int32_t input;
  bool symmetric;
  double densest; /* the largest share of entries that may be nonzero */
  grad_sparse *s;
  grad_arena temporary;
  grad_sweeps sweeps;
} job;

/* --- values of positions, for the pattern */

typedef struct evaluated {
  grad_program *p;
  grad_array *known; /* by value */
  const double *scalars;
} evaluated;

static grad_status value_of(void *ud, grad_id v, const grad_array **out) {
  evaluated *e = ud;
  grad_status status = grad__direct_partial(e->p, v, e->known, e->scalars);
  if (!status) *out = &e->known[v];
  return status;
}

static grad_status find_pattern(job *j, const grad_array *const *in, const double *scalars) {
  const size_t size = ((size_t)j->f->nvalues + 1) * sizeof(grad_array);
  evaluated e = {.p = j->f, .scalars = scalars, .known = grad__arena_zeros(&j->temporary, size)};
  if (!e.known) return j->f->ctx->status;
  for (int32_t i = 0; i < j->f->ninputs; i++) {
    e.known[j->f->inputs[i]] = *in[i];
    e.known[j->f->inputs[i]].storage = NULL; /* borrowed */
  }
  grad_status status = grad__ad_sparsity(j->f, j->input, 0, value_of, &e, &j->s->pattern);
  for (int32_t v = 0; v < j->f->nvalues; v++) grad__array_release(&e.known[v]);
  return status;
}

static grad_status make_symmetric(grad_pattern *a) {
  grad_pattern transposed, both;
  grad_status status = grad__pattern_transpose(a, &transposed);
  if (status) return status;
  status = grad__pattern_unite(a, &transposed, &both);
  grad__pattern_clear(&transposed);
  if (status) return status;
  grad__pattern_clear(a);
  *a = both;
  return GRAD_OK;
}

/* --- colours, and where each entry is found in the sweeps: the forward ones end to end, then the reverse ones */

static grad_status color_jacobian(job *j, grad_jacobian_mode mode) {
  static const grad_sweep_kind kinds[] = {GRAD_SWEEP_ANY, GRAD_SWEEP_FORWARD, GRAD_SWEEP_REVERSE};
  const grad_pattern *a = &j->s->pattern;
  const double entries = (double)a->nnz, places = (double)a->rows * (double)a->cols;
  if (entries > j->densest * places)
    return grad__fail(j->f->ctx, GRAD_ELIMIT,
                      "sparse_jacobian: %.3g of %.3g entries may be nonzero, more than %.3g of them", entries, places,
                      j->densest);
  grad_status status = grad__compress(a, kinds[mode], &j->temporary, &j->sweeps);
  if (status || !a->nnz || j->sweeps.nforward + j->sweeps.nreverse) return status;
  return grad__fail(j->f->ctx, GRAD_ELIMIT,
                    "sparse_jacobian: %lld x %lld with %lld entries is too dense to compress: use jacobian, or jvp",
                    (long long)a->rows, (long long)a->cols, (long long)a->nnz);
}

static grad_status color_hessian(job *j) {
  grad_sweeps *s = &j->sweeps;
  grad_status status = make_symmetric(&j->s->pattern);
  if (status) return status;
  s->column = grad__arena_alloc(&j->temporary, ((size_t)j->s->pattern.rows + 1) * sizeof *s->column);
  return s->column ? grad__color_star(&j->s->pattern, s->column, &s->nforward) : j->f->ctx->status;
}

/* In a star colouring either j is the only neighbour of i with its colour, or i is the only one of j with its. */
static grad_status pick_symmetric(job *j, int64_t *pick) {
  const grad_pattern *a = &j->s->pattern;
  const int32_t *colors = j->sweeps.column;
  int32_t *many = grad__arena_zeros(&j->temporary, ((size_t)j->sweeps.nforward + 1) * sizeof *many);
  if (!many) return j->f->ctx->status;
  for (int64_t i = 0; i < a->rows; i++) {
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) many[colors[a->col[k]]]++;
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) {
      const int32_t c = a->col[k];
      pick[k] = many[colors[c]] == 1 ? colors[c] * a->rows + i : colors[i] * a->rows + c;
    }
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) many[colors[a->col[k]]] = 0;
  }
  return GRAD_OK;
}

static void pick_plain(const job *j, int64_t *pick) {
  const grad_pattern *a = &j->s->pattern;
  const grad_sweeps *s = &j->sweeps;
  for (int64_t i = 0; i < a->rows; i++) {
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) {
      const int32_t c = a->col[k];
      pick[k] = grad__sweep_is_reverse(s, i, c) ? s->nforward * a->rows + s->row[i] * a->cols + c
                                                : s->column[c] * a->rows + i;
    }
  }
}

static grad_status make_pick(job *j) {
  grad_sparse_state *state = j->s->state;
  grad_status status = grad__array_new(j->f->ctx, GRAD_I64, 1, &j->s->pattern.nnz, &state->pick);
  if (status) return status;
  if (j->symmetric) return pick_symmetric(j, state->pick.data);
  pick_plain(j, state->pick.data);
  return GRAD_OK;
}

/* Row c of the seeds is the sum of the unit vectors of colour c: of the input, or in reverse of the output. */
static grad_status make_seeds(job *j, bool reverse) {
  const grad_program *f = j->f;
  const grad_type *t = grad__type(f, reverse ? f->outputs[0] : f->inputs[j->input]);
  const int32_t *colors = reverse ? j->sweeps.row : j->sweeps.column;
  int64_t shape[GRAD_MAX_AXES + 1] = {reverse ? j->sweeps.nreverse : j->sweeps.nforward};
  for (int i = 0; i < t->ndim; i++) shape[i + 1] = t->shape[i];
  if (t->ndim == GRAD_MAX_AXES)
    return grad__fail(f->ctx, GRAD_ESHAPE, "sparse derivatives: at most %d axes", GRAD_MAX_AXES - 1);
  grad_array *seeds = &j->s->state->seeds[reverse];
  grad_status status = grad__array_new(f->ctx, t->dtype, t->ndim + 1, shape, seeds);
  if (status) return status;
  grad__array_fill(seeds, 0);
  const int64_t n = shape[0] ? grad__type_numel(t) : 0;
  for (int64_t i = 0; i < n; i++) {
    if (colors[i] < 0) continue;
    const int64_t at = colors[i] * n + i;
    if (t->dtype == GRAD_F32) {
      ((float *)seeds->data)[at] = 1;
    } else {
      ((double *)seeds->data)[at] = 1;
    }
  }
  return GRAD_OK;
}

/* --- the program of an update */

/* The two programs of one direction, the second for all its seeds together: residuals, seeds -> sweeps. */
typedef struct direction {
  grad_program *primal, *wide;
} direction;

static grad_status derive(job *j, bool reverse, direction *out) {
  grad_program *linear = NULL;
  bool *wrt = grad__arena_alloc(&j->temporary, (size_t)j->f->ninputs);
  if (!wrt) return j->f->ctx->status;
  for (int32_t i = 0; i < j->f->ninputs; i++) wrt[i] = i == j->input;
  grad_status status = reverse ? grad__fn_vjp(j->f, wrt, 1, &out->primal, &linear)
                               : grad__ad_linearize(j->f, wrt, 1, &out->primal, &linear);
  if (status) return status;
  bool *batched = grad__arena_alloc(&j->temporary, (size_t)linear->ninputs);
  for (int32_t i = 0; batched && i < linear->ninputs; i++) batched[i] = i == linear->ninputs - 1;
  status = batched ? grad__ad_vmap(linear, j->s->state->seeds[reverse].shape[0], batched, NULL, &out->wide)
                   : j->f->ctx->status;
  grad__program_release(linear);
  return status;
}

/* Emits a direction into q; returns its sweeps end to end. *value: the function's. */
static grad_id emit_direction(job *j, grad_program *q, const direction *d, grad_id seed, grad_id *value) {
  grad_id *values = grad__ids_new(&j->temporary, d->primal->noutputs + 1), sweeps = GRAD_NONE;
  if (!values) return grad__program_fail(q, j->f->ctx->status, "%s", j->f->ctx->message);
  grad__fn_inline(q, d->primal, q->inputs, values);
  values[d->primal->noutputs] = seed;
  grad__fn_inline(q, d->wide, values + j->f->noutputs, &sweeps);
  *value = values[1];
  const int64_t numel = sweeps == GRAD_NONE ? 0 : grad__type_numel(grad__type(q, sweeps));
  return grad__reshape(q, sweeps, 1, &numel);
}

static grad_status assemble(job *j, const direction *directions) {
  grad_program *q = NULL;
  grad_status status = grad__program_like(j->f, &q);
  if (status) return status;
  grad_id seeds[2], sweeps[2] = {GRAD_NONE, GRAD_NONE}, value = GRAD_NONE;
  for (int k = 0; k < 2; k++) {
    const grad_array *a = &j->s->state->seeds[k];
    seeds[k] = grad__program_input(q, a->dtype, a->ndim, a->shape);
  }
  const grad_id pick = grad__program_input(q, GRAD_I64, 1, &j->s->pattern.nnz);
  int n = 0;
  for (int k = 0; k < 2; k++) {
    if (directions[k].wide) sweeps[n++] = emit_direction(j, q, &directions[k], seeds[k], &value);
  }
  const grad_id all = n == 1 ? sweeps[0] : grad__concat(q, n, sweeps, 0);
  grad__program_output(q, value);
  grad__program_output(q, grad__take(q, all, pick, 0));
  status = q->status ? q->status : grad__prune(q, &j->s->state->program);
  grad__program_release(q);
  return status;
}

/* A matrix without entries still has a forward direction, of no seeds. */
static grad_status make_program(job *j) {
  direction directions[2] = {{NULL, NULL}, {NULL, NULL}};
  grad_status status = GRAD_OK;
  if (j->sweeps.nforward || !j->sweeps.nreverse) status = derive(j, false, &directions[0]);
  if (!status && j->sweeps.nreverse) status = derive(j, true, &directions[1]);
  if (!status) status = assemble(j, directions);
  for (int k = 0; k < 2; k++) {
    grad__program_release(directions[k].wide);
    grad__program_release(directions[k].primal);
  }
  return status;
}

/* --- the object */

void grad__sparse_free(grad_sparse *s) {
  if (!s) return;
  grad_ctx *ctx = s->ctx;
  if (s->state) {
    grad__plan_free(s->state->plan);
    grad__program_release(s->state->program);
    grad__array_release(&s->state->seeds[0]);
    grad__array_release(&s->state->seeds[1]);
    grad__array_release(&s->state->pick);
    grad__free(ctx, s->state, sizeof *s->state);
  }
  grad_array *arrays[] = {&s->row, &s->col, &s->indptr, &s->values, &s->value};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) grad__array_release(arrays[i]);
  if (s->pattern.ctx) grad__pattern_clear(&s->pattern);
  grad__free(ctx, s, sizeof *s);
}

static grad_status sparse_new(grad_ctx *ctx, int32_t ninputs, grad_sparse **out) {
  grad_sparse *s = grad__alloc(ctx, sizeof *s);
  if (!s) return ctx->status;
  *s = (grad_sparse){.ctx = ctx};
  s->state = grad__alloc(ctx, sizeof *s->state);
  if (!s->state) {
    grad__free(ctx, s, sizeof *s);
    return ctx->status;
  }
  *s->state = (grad_sparse_state){.ninputs = ninputs};
  *out = s;
  return GRAD_OK;
}

static grad_status make_arrays(grad_sparse *s) {
  const int64_t nnz = s->pattern.nnz, bounds = s->pattern.rows + 1;
  grad_status status = grad__array_new(s->ctx, GRAD_I64, 1, &nnz, &s->row);
  if (!status) status = grad__array_new(s->ctx, GRAD_I64, 1, &nnz, &s->col);
  if (!status) status = grad__array_new(s->ctx, GRAD_I64, 1, &bounds, &s->indptr);
  if (status) return status;
  int64_t *row = s->row.data, *col = s->col.data;
  memcpy(s->indptr.data, s->pattern.indptr, (size_t)bounds * sizeof(int64_t));
  for (int64_t r = 0; r < s->pattern.rows; r++) {
    for (int64_t k = s->pattern.indptr[r]; k < s->pattern.indptr[r + 1]; k++) {
      row[k] = r;
      col[k] = s->pattern.col[k];
    }
  }
  return GRAD_OK;
}

static grad_status set_up(job *j, grad_jacobian_mode mode, const grad_array *const *in, const double *scalars) {
  grad_status status = find_pattern(j, in, scalars);
  if (!status) status = j->symmetric ? color_hessian(j) : color_jacobian(j, mode);
  if (!status) status = make_pick(j);
  if (!status) status = make_seeds(j, false);
  if (!status) status = make_seeds(j, true);
  if (!status) status = make_program(j);
  if (!status) status = make_arrays(j->s);
  j->s->nforward = j->sweeps.nforward;
  j->s->nreverse = j->sweeps.nreverse;
  return status ? status : grad__sparse_update(j->s, in, scalars);
}

static grad_status sparse_of(job *j, grad_jacobian_mode mode, const grad_array *const *in, const double *scalars,
                             grad_sparse **out) {
  grad_status status = sparse_new(j->f->ctx, j->f->ninputs, &j->s);
  if (status) return status;
  grad__arena_init(&j->temporary, j->f->ctx);
  status = set_up(j, mode, in, scalars);
  grad__arena_clear(&j->temporary);
  if (status) {
    grad__sparse_free(j->s);
    return status;
  }
  *out = j->s;
  return GRAD_OK;
}

static grad_status check_float(const grad_program *p, grad_id v, const char *what) {
  const grad_type *t = grad__type(p, v);
  if (grad__dtype_is_float(t->dtype)) return GRAD_OK;
  return grad__fail(p->ctx, GRAD_EDTYPE, "sparse derivatives: the %s is %s: expected f64 or f32", what,
                    grad__type_text(t).chars);
}

grad_status grad__sparse_jacobian(grad_program *p, int32_t input, int32_t output, grad_jacobian_mode mode,
                                  double densest, const grad_array *const *in, const double *scalars,
                                  grad_sparse **out) {
  if (p->status) return p->status;
  grad_status status = check_float(p, p->inputs[input], "argument");
  if (!status) status = check_float(p, p->outputs[output], "result");
  job j = {.input = input, .densest = densest};
  if (!status) status = grad__fn_select(p, 2, (const int32_t[]){output, 0}, &j.f);
  if (!status) status = sparse_of(&j, mode, in, scalars, out);
  grad__program_release(j.f);
  return status;
}

grad_status grad__sparse_hessian(grad_program *p, int32_t input, const grad_array *const *in, const double *scalars,
                                 grad_sparse **out) {
  if (p->status) return p->status;
  job j = {.input = input, .symmetric = true};
  grad_program *gradient = NULL;
  bool *wrt = grad__alloc(p->ctx, (size_t)p->ninputs + 1);
  if (!wrt) return p->ctx->status;
  for (int32_t i = 0; i < p->ninputs; i++) wrt[i] = i == input;
  grad_status status = grad__ad_grad(p, wrt, &gradient);
  if (!status) status = grad__fn_select(gradient, 2, (const int32_t[]){p->noutputs, 0}, &j.f);
  if (!status) status = sparse_of(&j, GRAD_JACOBIAN_FORWARD, in, scalars, out);
  grad__program_release(j.f);
  grad__program_release(gradient);
  grad__free(p->ctx, wrt, (size_t)p->ninputs + 1);
  return status;
}

grad_status grad__sparse_update(grad_sparse *s, const grad_array *const *in, const double *scalars) {
  grad_sparse_state *state = s->state;
  const size_t size = ((size_t)state->ninputs + 3) * sizeof(grad_array *);
  const grad_array **args = grad__alloc(s->ctx, size);
  if (!args) return s->ctx->status;
  for (int32_t i = 0; i < state->ninputs; i++) args[i] = in[i];
  for (int k = 0; k < 2; k++) args[state->ninputs + k] = &state->seeds[k];
  args[state->ninputs + 2] = &state->pick;
  grad_array made[2] = {{0}, {0}};
  grad_status status = GRAD_OK;
  if (state->runs++ == 1) status = grad__plan_new(state->program, &state->plan);
  if (!status) {
    status = state->plan ? grad__plan_run(state->plan, args, scalars, made)
                         : grad__direct_run(state->program, args, scalars, made);
  }
  grad__free(s->ctx, args, size);
  if (status) return status;
  grad__array_release(&s->value);
  grad__array_release(&s->values);
  s->value = made[0];
  s->values = made[1];
  return GRAD_OK;
}

/* --- products */

static double entry(const grad_sparse *s, int64_t k) { return grad__float_get(s->values.dtype, s->values.data, k); }

/* y (rows x k) = S x (cols x k), row-major doubles. */
static void multiply(const grad_sparse *s, int64_t width, const double *x, double *y) {
  for (int64_t r = 0; r < s->pattern.rows; r++) {
    double *to = y + r * width;
    memset(to, 0, (size_t)width * sizeof *to);
    for (int64_t k = s->pattern.indptr[r]; k < s->pattern.indptr[r + 1]; k++) {
      const double v = entry(s, k), *from = x + s->pattern.col[k] * width;
      for (int64_t i = 0; i < width; i++) to[i] += v * from[i];
    }
  }
}

grad_status grad__sparse_matmul(const grad_sparse *s, const grad_array *x, grad_array *out) {
  if (x->ndim < 1 || x->ndim > 2 || x->shape[0] != s->pattern.cols) {
    return grad__fail(s->ctx, GRAD_ESHAPE,
                      "sparse matmul: a %lld x %lld matrix cannot multiply %s: its first axis must be %lld",
                      (long long)s->pattern.rows, (long long)s->pattern.cols, grad__shape_text(x->ndim, x->shape).chars,
                      (long long)s->pattern.cols);
  }
  const int64_t shape[2] = {s->pattern.rows, x->ndim == 2 ? x->shape[1] : 1};
  grad_array from = {0}, to = {0}, result = {0};
  grad_status status = grad__array_new(s->ctx, GRAD_F64, x->ndim, x->shape, &from);
  if (!status) status = grad__array_new(s->ctx, GRAD_F64, x->ndim, shape, &to);
  if (!status) status = grad__array_new(s->ctx, s->values.dtype, x->ndim, shape, &result);
  if (!status) {
    grad__array_copy(&from, x);
    multiply(s, shape[1], from.data, to.data);
    grad__array_copy(&result, &to);
    *out = result;
  } else {
    grad__array_release(&result);
  }
  grad__array_release(&from);
  grad__array_release(&to);
  return status;
}

grad_status grad__sparse_dense(const grad_sparse *s, grad_array *out) {
  const int64_t shape[2] = {s->pattern.rows, s->pattern.cols};
  grad_status status = grad__array_new(s->ctx, s->values.dtype, 2, shape, out);
  if (status) return status;
  grad__array_fill(out, 0);
  const size_t size = grad__dtype_size(out->dtype);
  for (int64_t r = 0; r < shape[0]; r++) {
    for (int64_t k = s->pattern.indptr[r]; k < s->pattern.indptr[r + 1]; k++) {
      char *to = (char *)out->data + (size_t)(r * shape[1] + s->pattern.col[k]) * size;
      memcpy(to, (const char *)s->values.data + (size_t)k * size, size);
    }
  }
  return GRAD_OK;
}

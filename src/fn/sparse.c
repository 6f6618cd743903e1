/* sparse.c: compressed Jacobians and Hessians: seeds by colour, one batched sweep, entries picked out of the result. */
#include "fn/sparse.h"

#include <string.h>

#include "fn/parts.h"
#include "ops/compose.h"

/* What an update needs. */
typedef struct grad_sparse_state {
  grad_program *program; /* p's inputs, seeds, pick -> value, entries */
  grad_plan *plan;       /* from the second update on */
  uint64_t runs;
  grad_array seeds; /* ncolors x the shape of the input (or output) */
  grad_array pick;  /* i64, nnz: where each entry stands in the flattened sweeps */
  int32_t ninputs;  /* of p */
} grad_sparse_state;

/* The derivative to be compressed, while it is being set up. */
typedef struct job {
  grad_program *f; /* output 0: what is differentiated; output 1: the value to report */
  int32_t input;
  bool symmetric;
  grad_sparse *s;
  grad_arena temporary;
  int32_t *colors;
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
  evaluated e = {.p = j->f, .scalars = scalars, .known = grad__arena_alloc(&j->temporary, size)};
  if (!e.known) return j->f->ctx->status;
  memset(e.known, 0, size);
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

/* --- colours, and where each entry is found in the sweeps */

enum { MOST_STEPS = 2000000000 }; /* of a colouring: seconds */

static int32_t *colors_new(job *j, int64_t n) {
  j->colors = grad__arena_alloc(&j->temporary, ((size_t)n + 1) * sizeof *j->colors);
  return j->colors;
}

static grad_status color_rows(job *j, int32_t *count) {
  grad_pattern transposed;
  grad_status status = grad__pattern_transpose(&j->s->pattern, &transposed);
  if (status) return status;
  status = colors_new(j, transposed.cols) ? grad__color_columns(&transposed, MOST_STEPS, j->colors, count)
                                          : j->f->ctx->status;
  grad__pattern_clear(&transposed);
  return status;
}

static grad_status color_jacobian(job *j, grad_jacobian_mode mode) {
  grad_sparse *s = j->s;
  int32_t forward = 0, reverse = 0, *columns = NULL;
  grad_status status = GRAD_OK;
  if (mode != GRAD_JACOBIAN_REVERSE) {
    columns = colors_new(j, s->pattern.cols);
    status = columns ? grad__color_columns(&s->pattern, MOST_STEPS, columns, &forward) : j->f->ctx->status;
  }
  if (mode != GRAD_JACOBIAN_FORWARD && !status) status = color_rows(j, &reverse);
  if (status) return status;
  if (s->pattern.nnz && !forward && !reverse) {
    return grad__fail(j->f->ctx, GRAD_ELIMIT,
                      "sparse_jacobian: %lld x %lld with %lld entries is too dense to compress: use jacobian, or jvp",
                      (long long)s->pattern.rows, (long long)s->pattern.cols, (long long)s->pattern.nnz);
  }
  const bool by_columns =
      mode == GRAD_JACOBIAN_FORWARD || (mode == GRAD_JACOBIAN_AUTO && forward && (!reverse || forward <= reverse));
  s->mode = by_columns ? GRAD_JACOBIAN_FORWARD : GRAD_JACOBIAN_REVERSE;
  s->ncolors = by_columns ? forward : reverse;
  if (by_columns) j->colors = columns;
  return GRAD_OK;
}

static grad_status color_hessian(job *j) {
  grad_status status = make_symmetric(&j->s->pattern);
  if (status) return status;
  if (!colors_new(j, j->s->pattern.rows)) return j->f->ctx->status;
  j->s->mode = GRAD_JACOBIAN_FORWARD;
  return grad__color_star(&j->s->pattern, j->colors, &j->s->ncolors);
}

/* In a star colouring either j is the only neighbour of i with its colour, or i is the only one of j with its. */
static grad_status pick_symmetric(job *j, int64_t *pick) {
  const grad_pattern *a = &j->s->pattern;
  const int32_t *colors = j->colors;
  int32_t *many = grad__arena_alloc(&j->temporary, ((size_t)j->s->ncolors + 1) * sizeof *many);
  if (!many) return j->f->ctx->status;
  memset(many, 0, ((size_t)j->s->ncolors + 1) * sizeof *many);
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
  const bool forward = j->s->mode == GRAD_JACOBIAN_FORWARD;
  for (int64_t i = 0; i < a->rows; i++) {
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) {
      const int32_t c = a->col[k];
      pick[k] = forward ? j->colors[c] * a->rows + i : j->colors[i] * a->cols + c;
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

/* The value whose elements have colours: the input, or in reverse mode the output. */
static const grad_type *seeded_type(const job *j) {
  const grad_program *f = j->f;
  return grad__type(f, j->s->mode == GRAD_JACOBIAN_FORWARD ? f->inputs[j->input] : f->outputs[0]);
}

/* Row c of the seeds is the sum of the unit vectors of colour c. */
static grad_status make_seeds(job *j) {
  const grad_type *t = seeded_type(j);
  int64_t shape[GRAD_MAX_AXES + 1] = {j->s->ncolors};
  for (int i = 0; i < t->ndim; i++) shape[i + 1] = t->shape[i];
  if (t->ndim == GRAD_MAX_AXES)
    return grad__fail(j->f->ctx, GRAD_ESHAPE, "sparse derivatives: at most %d axes", GRAD_MAX_AXES - 1);
  grad_array *seeds = &j->s->state->seeds;
  grad_status status = grad__array_new(j->f->ctx, (grad_dtype)t->dtype, t->ndim + 1, shape, seeds);
  if (status) return status;
  grad__array_fill(seeds, 0);
  const int64_t n = grad__type_numel(t);
  for (int64_t i = 0; i < n; i++) {
    const int64_t at = j->colors[i] * n + i;
    if (t->dtype == GRAD_F32) {
      ((float *)seeds->data)[at] = 1;
    } else {
      ((double *)seeds->data)[at] = 1;
    }
  }
  return GRAD_OK;
}

/* --- the program of an update */

static grad_status derive(job *j, grad_program **primal, grad_program **linear) {
  bool *wrt = grad__arena_alloc(&j->temporary, (size_t)j->f->ninputs);
  if (!wrt) return j->f->ctx->status;
  for (int32_t i = 0; i < j->f->ninputs; i++) wrt[i] = i == j->input;
  return j->s->mode == GRAD_JACOBIAN_FORWARD ? grad__ad_linearize(j->f, wrt, 1, primal, linear)
                                             : grad__fn_vjp(j->f, wrt, 1, primal, linear);
}

/* linear: residuals, one seed -> one result; wide: the same for all seeds together. */
static grad_status assemble(job *j, const grad_program *primal, const grad_program *wide) {
  const grad_program *f = j->f;
  grad_program *q = NULL;
  grad_status status = grad__program_like(f, &q);
  if (status) return status;
  const grad_array *seeds = &j->s->state->seeds;
  const grad_id seed = grad__program_input(q, (grad_dtype)seeds->dtype, seeds->ndim, seeds->shape);
  const grad_id pick = grad__program_input(q, GRAD_I64, 1, &j->s->pattern.nnz);
  grad_id *values = grad__ids_new(&j->temporary, primal->noutputs + 1), rows = GRAD_NONE;
  if (values) {
    grad__fn_inline(q, primal, q->inputs, values);
    values[primal->noutputs] = seed;
    grad__fn_inline(q, wide, values + f->noutputs, &rows);
    const int64_t numel = rows == GRAD_NONE ? 0 : grad__type_numel(grad__type(q, rows));
    grad__program_output(q, values[1]);
    grad__program_output(q, grad__take(q, grad__reshape(q, rows, 1, &numel), pick, 0));
    status = q->status ? q->status : grad__prune(q, &j->s->state->program);
  } else {
    status = f->ctx->status;
  }
  grad__program_release(q);
  return status;
}

static grad_status make_program(job *j) {
  grad_program *primal = NULL, *linear = NULL, *wide = NULL;
  grad_status status = derive(j, &primal, &linear);
  if (!status) {
    bool *batched = grad__arena_alloc(&j->temporary, (size_t)linear->ninputs);
    for (int32_t i = 0; batched && i < linear->ninputs; i++) batched[i] = i == linear->ninputs - 1;
    status = batched ? grad__ad_vmap(linear, j->s->ncolors, batched, NULL, &wide) : j->f->ctx->status;
  }
  if (!status) status = assemble(j, primal, wide);
  grad__program_release(wide);
  grad__program_release(linear);
  grad__program_release(primal);
  return status;
}

/* --- the object */

void grad__sparse_free(grad_sparse *s) {
  if (!s) return;
  grad_ctx *ctx = s->ctx;
  if (s->state) {
    grad__plan_free(s->state->plan);
    grad__program_release(s->state->program);
    grad__array_release(&s->state->seeds);
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
  if (!status) status = make_seeds(j);
  if (!status) status = make_program(j);
  if (!status) status = make_arrays(j->s);
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
  if (grad__dtype_is_float((grad_dtype)t->dtype)) return GRAD_OK;
  char text[128];
  return grad__fail(p->ctx, GRAD_EDTYPE, "sparse derivatives: the %s is %s: expected f64 or f32", what,
                    grad__type_text(t, text, sizeof text));
}

grad_status grad__sparse_jacobian(grad_program *p, int32_t input, int32_t output, grad_jacobian_mode mode,
                                  const grad_array *const *in, const double *scalars, grad_sparse **out) {
  if (p->status) return p->status;
  grad_status status = check_float(p, p->inputs[input], "argument");
  if (!status) status = check_float(p, p->outputs[output], "result");
  job j = {.input = input};
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
  const size_t size = ((size_t)state->ninputs + 2) * sizeof(grad_array *);
  const grad_array **args = grad__alloc(s->ctx, size);
  if (!args) return s->ctx->status;
  for (int32_t i = 0; i < state->ninputs; i++) args[i] = in[i];
  args[state->ninputs] = &state->seeds;
  args[state->ninputs + 1] = &state->pick;
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

static double entry(const grad_sparse *s, int64_t k) {
  return s->values.dtype == GRAD_F32 ? (double)((const float *)s->values.data)[k] : ((const double *)s->values.data)[k];
}

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
  char text[128];
  if (x->ndim < 1 || x->ndim > 2 || x->shape[0] != s->pattern.cols) {
    return grad__fail(s->ctx, GRAD_ESHAPE,
                      "sparse matmul: a %lld x %lld matrix cannot multiply %s: its first axis must be %lld",
                      (long long)s->pattern.rows, (long long)s->pattern.cols,
                      grad__shape_text(x->ndim, x->shape, text, sizeof text), (long long)s->pattern.cols);
  }
  const int64_t shape[2] = {s->pattern.rows, x->ndim == 2 ? x->shape[1] : 1};
  grad_array from = {0}, to = {0}, result = {0};
  grad_status status = grad__array_new(s->ctx, GRAD_F64, x->ndim, x->shape, &from);
  if (!status) status = grad__array_new(s->ctx, GRAD_F64, x->ndim, shape, &to);
  if (!status) status = grad__array_new(s->ctx, (grad_dtype)s->values.dtype, x->ndim, shape, &result);
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
  grad_status status = grad__array_new(s->ctx, (grad_dtype)s->values.dtype, 2, shape, out);
  if (status) return status;
  grad__array_fill(out, 0);
  const size_t size = grad__dtype_size((grad_dtype)out->dtype);
  for (int64_t r = 0; r < shape[0]; r++) {
    for (int64_t k = s->pattern.indptr[r]; k < s->pattern.indptr[r + 1]; k++) {
      char *to = (char *)out->data + (size_t)(r * shape[1] + s->pattern.col[k]) * size;
      memcpy(to, (const char *)s->values.data + (size_t)k * size, size);
    }
  }
  return GRAD_OK;
}

/* check_rules.h: every rule of an op, tested from one line: types of the inputs and a function that builds.
 *
 *   value     the same for strided inputs (transposed, backwards), and for f32 within its precision
 *   forward   against central differences
 *   reverse   <J v, w> = <v, J' w>
 *   second    both again on the program that computes the gradient
 *   vmap      against a loop, for each input batched alone and for all, on the function and on its gradient
 *   sparsity  every entry of the Jacobian that is not zero is in the pattern; with `tight` no other is
 *
 * Types are written as a letter (f: f64, i: i64 positions 0 and 1, b: bool) and a digit for each extent: "f34" is a
 * 3 x 4 matrix, "f" a number.
 */
#ifndef CHECK_RULES_H
#define CHECK_RULES_H

#include "ad/sparsity.h"
#include "check_program.h"

typedef struct rules_case {
  const char *name;
  grad_id (*build)(grad_program *p, const grad_id *x);
  const char *types[4]; /* up to the first NULL */
} rules_case;

enum { RULES_BATCH = 3, RULES_MOST = 32 };

/* What is expected of one op; long programs are allowed a multiple of it, their slack. */
static const double rules_dual = 1e-11, rules_quotient = 2e-7, rules_batch = 1e-12;

/* The numbers that programs read. */
static const double rules_scalars[] = {0.5, -1.25};

/* Values are drawn from [low, high); drawn apart from each other, so that no two are equal. */
static inline void rules_fill(grad_array *a, uint64_t *state) {
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    const double u = check_uniform(state);
    check_set(a, i, grad__dtype_is_float(a->dtype) ? 2.4 * u - 1.2 : u < 0.5);
  }
}

static inline bool rules_is_float(const grad_program *p, grad_id v) {
  return grad__dtype_is_float(grad__type(p, v)->dtype);
}

static inline grad_program *rules_program(grad_ctx *ctx, const rules_case *c, grad_dtype real) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  grad_id x[4];
  for (int i = 0; i < 4 && c->types[i]; i++) {
    const char *text = c->types[i];
    int64_t shape[GRAD_MAX_AXES];
    int ndim = 0;
    for (const char *at = text + 1; *at; at++) shape[ndim++] = *at - '0';
    x[i] = grad__program_input(p, *text == 'f' ? real : *text == 'i' ? GRAD_I64 : GRAD_BOOL, ndim, shape);
  }
  grad__program_output(p, c->build(p, x));
  if (!p->status && grad__verify(p) == GRAD_OK) return p;
  if (ctx->status != GRAD_ENOMEM) fprintf(stderr, "  %s: %s\n", c->name, grad_message(ctx));
  grad__program_release(p);
  return NULL;
}

static inline void rules_inputs(grad_ctx *ctx, const grad_program *p, check_arrays *in, uint64_t *state) {
  in->n = 0;
  for (int32_t i = 0; i < p->ninputs; i++) {
    const grad_type *t = grad__type(p, p->inputs[i]);
    rules_fill(check_push(ctx, in, t->dtype, t->ndim, t->shape, NULL), state);
  }
}

static inline void rules_wrt(const grad_program *p, bool *wrt) {
  for (int32_t i = 0; i < p->ninputs; i++) wrt[i] = rules_is_float(p, p->inputs[i]);
}

static inline bool rules_run(grad_program *p, const check_arrays *in, check_arrays *out) {
  if (check(check_run(p, in, rules_scalars, out) == GRAD_OK)) return true;
  fprintf(stderr, "  %s\n", grad_message(p->ctx));
  out->n = 0;
  return false;
}

/* Appends copies of in's float arrays, moved by h along the tangents; other arrays as they are. */
static inline void rules_moved(grad_ctx *ctx, const check_arrays *in, int n, double h, check_arrays *moved) {
  moved->n = 0;
  for (int i = 0, k = n; i < n; i++) {
    const grad_array *from = &in->a[i];
    grad_array *to = check_push(ctx, moved, from->dtype, from->ndim, from->shape, NULL);
    const bool moves = grad__dtype_is_float(from->dtype);
    for (int64_t e = 0; e < grad__array_numel(to); e++)
      check_set(to, e, check_get(from, e) + (moves ? h * check_get(&in->a[k], e) : 0));
    k += moves;
  }
}

/* The sum of the products of p's float outputs, from out.a[first], with cotangents, and of their magnitudes. */
static inline double rules_product(const grad_program *p, const check_arrays *out, int first, bool tangents,
                                   const check_arrays *cotangents, double *magnitude) {
  double sum = 0;
  *magnitude = 0;
  for (int o = 0, k = p->ninputs, t = first; o < p->noutputs; o++) {
    if (!rules_is_float(p, p->outputs[o])) continue;
    const grad_array *y = &out->a[tangents ? t++ : o], *w = &cotangents->a[k++];
    for (int64_t i = 0; i < grad__array_numel(y); i++) {
      const double term = check_get(y, i) * check_get(w, i);
      sum += term;
      *magnitude += fabs(term);
    }
  }
  return sum;
}

/* <f(x + h v) - f(x - h v), w> / 2h. `in`: x, then v. */
static inline double rules_difference(grad_ctx *ctx, grad_program *p, const check_arrays *in, const check_arrays *back,
                                      double h) {
  check_arrays moved = {0}, out = {0};
  double side[2] = {0, 0}, magnitude;
  for (int k = 0; k < 2; k++) {
    rules_moved(ctx, in, p->ninputs, k ? -h : h, &moved);
    if (rules_run(p, &moved, &out)) side[k] = rules_product(p, &out, 0, false, back, &magnitude);
    check_release(&out);
    check_release(&moved);
  }
  return (side[0] - side[1]) / (2 * h);
}

/* Is `forward` the limit of difference quotients? One step length suffices: rounding spoils small ones, curvature large
 * ones. */
static inline bool rules_quotients(grad_ctx *ctx, grad_program *p, const check_arrays *in, const check_arrays *back,
                                   double forward, double tolerance) {
  static const double steps[] = {1e-6, 1e-5, 1e-4, 1e-7, 1e-3};
  double quotient = 0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    quotient = rules_difference(ctx, p, in, back, steps[i]);
    if (fabs(quotient - forward) <= tolerance) return true;
  }
  return check_near(forward, quotient, 0);
}

/* Tangents of all outputs against central differences, and <J v, w> against <v, J' w>. */
static inline void rules_derivative(grad_ctx *ctx, const char *name, grad_program *p, double slack, uint64_t *state) {
  bool wrt[RULES_MOST];
  rules_wrt(p, wrt);
  grad_program *j = NULL, *v = NULL;
  const bool made = check(grad__ad_jvp(p, wrt, &j) == GRAD_OK) && check(grad__verify(j) == GRAD_OK) &&
                    check(grad__ad_vjp(p, wrt, p->noutputs, &v) == GRAD_OK) && check(grad__verify(v) == GRAD_OK);
  if (!made) fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
  check_arrays in = {0}, pushed = {0}, back = {0}, pulled = {0};
  if (made) {
    rules_inputs(ctx, j, &in, state);
    rules_run(j, &in, &pushed);
    rules_inputs(ctx, v, &back, state);
    for (int32_t i = 0; i < p->ninputs; i++) grad__array_copy(&back.a[i], &in.a[i]);
    rules_run(v, &back, &pulled);
  }
  if (pushed.n && pulled.n) {
    double magnitude, reverse = 0;
    const double forward = rules_product(p, &pushed, p->noutputs, true, &back, &magnitude);
    for (int i = 0, k = 0; i < p->ninputs; i++) {
      if (!wrt[i]) continue;
      reverse += check_inner(&pulled.a[p->noutputs + k], &in.a[p->ninputs + k]);
      k++;
    }
    const double scale = slack * (1 + magnitude);
    const bool dual = fabs(forward - reverse) <= rules_dual * scale || check_near(reverse, forward, 0);
    if (!dual) fprintf(stderr, "  is the vjp of %s against its jvp\n", name);
    if (!rules_quotients(ctx, p, &in, &back, forward, rules_quotient * scale)) fprintf(stderr, "  in %s\n", name);
  }
  check_release(&in), check_release(&pushed), check_release(&back), check_release(&pulled);
  grad__program_release(j);
  grad__program_release(v);
}

/* Example b of a batch. */
static inline void rules_example(const grad_array *a, bool batched, int64_t b, grad_array *out) {
  *out = *a;
  if (batched) grad__view_drop(a, 0, b, out);
}

static inline void rules_vmap(grad_ctx *ctx, const char *name, grad_program *p, const bool *batched, double slack,
                              uint64_t *state) {
  grad_program *v = NULL;
  bool out_batched[RULES_MOST];
  if (!check(grad__ad_vmap(p, RULES_BATCH, batched, out_batched, &v) == GRAD_OK) ||
      !check(grad__verify(v) == GRAD_OK)) {
    fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
    return;
  }
  check_arrays in = {0}, all = {0};
  rules_inputs(ctx, v, &in, state);
  rules_run(v, &in, &all);
  bool good = true;
  for (int64_t b = 0; b < RULES_BATCH && all.n; b++) {
    check_arrays one = {0}, out = {0};
    for (one.n = 0; one.n < in.n; one.n++) rules_example(&in.a[one.n], batched[one.n], b, &one.a[one.n]);
    if (!rules_run(p, &one, &out)) break;
    for (int o = 0; o < out.n; o++) {
      grad_array view;
      check_arrays copy = {0};
      rules_example(&all.a[o], out_batched[o], b, &view);
      grad__array_copy(check_push(ctx, &copy, view.dtype, view.ndim, view.shape, NULL), &view);
      good = check(check_same_array(&copy.a[0], &out.a[o], rules_batch * slack)) && good;
      check_release(&copy);
    }
    check_release(&out);
  }
  if (!good) fprintf(stderr, "  in vmap of %s\n", name);
  check_release(&in);
  check_release(&all);
  grad__program_release(v);
}

static inline void rules_batches(grad_ctx *ctx, const char *name, grad_program *p, uint64_t *state) {
  bool batched[RULES_MOST] = {false};
  for (int i = 0; i < p->ninputs; i++) {
    batched[i] = true;
    rules_vmap(ctx, name, p, batched, 1, state);
    batched[i] = false;
  }
  for (int i = 0; i < p->ninputs; i++) batched[i] = true;
  if (p->ninputs > 1) rules_vmap(ctx, name, p, batched, 1, state);
}

/* Inputs as views of other memory: axes stored in the opposite order, and backwards with gaps. */
static inline void rules_strides(grad_ctx *ctx, const char *name, grad_program *p, uint64_t *state) {
  check_arrays in = {0}, plain = {0}, store = {0}, views = {0}, strided = {0};
  rules_inputs(ctx, p, &in, state);
  for (int i = 0; i < in.n; i++) {
    const grad_array *a = &in.a[i];
    int64_t shape[GRAD_MAX_AXES];
    for (int k = 0; k < a->ndim; k++) shape[a->ndim - 1 - k] = 2 * a->shape[k];
    grad_array view = *check_push(ctx, &store, a->dtype, a->ndim, shape, NULL), part;
    int axes[GRAD_MAX_AXES];
    for (int k = 0; k < a->ndim; k++) axes[k] = a->ndim - 1 - k;
    grad__view_permute(&store.a[i], axes, &view);
    for (int k = 0; k < a->ndim; k++) {
      grad__view_slice(&view, k, 2 * a->shape[k] - 1, a->shape[k], -2, &part);
      view = part;
    }
    grad__array_copy(&view, a);
    views.a[views.n++] = view;
  }
  if (rules_run(p, &in, &plain) && rules_run(p, &views, &strided) &&
      !check(check_same_array(&plain.a[0], &strided.a[0], 1e-14)))
    fprintf(stderr, "  in %s with strided inputs\n", name);
  check_release(&in), check_release(&plain), check_release(&store), check_release(&strided);
}

static inline void rules_f32(grad_ctx *ctx, const rules_case *c, grad_program *p, uint64_t *state) {
  grad_program *q = rules_program(ctx, c, GRAD_F32);
  if (!check(q != NULL)) return;
  check_arrays in = {0}, single = {0}, wide = {0}, narrow = {0};
  rules_inputs(ctx, p, &in, state);
  for (int i = 0; i < in.n; i++) {
    const grad_type *t = grad__type(q, q->inputs[i]);
    grad__array_copy(check_push(ctx, &single, t->dtype, t->ndim, t->shape, NULL), &in.a[i]);
  }
  if (rules_run(p, &in, &wide) && rules_run(q, &single, &narrow)) {
    bool good = true;
    for (int64_t e = 0; e < grad__array_numel(&wide.a[0]); e++)
      good = check_near(check_get(&narrow.a[0], e), check_get(&wide.a[0], e), 1e-5) && good;
    if (!good) fprintf(stderr, "  in %s with f32\n", c->name);
  }
  check_release(&in), check_release(&single), check_release(&wide), check_release(&narrow);
  grad__program_release(q);
}

static inline bool rules_in_pattern(const grad_pattern *pattern, int64_t row, int64_t column) {
  for (int64_t i = pattern->indptr[row]; i < pattern->indptr[row + 1]; i++)
    if (pattern->col[i] == column) return true;
  return false;
}

/* Columns of the Jacobian in input k, one tangent after the other, against the pattern; returns how many are not zero.
 */
static inline int64_t rules_columns(grad_ctx *ctx, grad_program *j, int32_t k, const grad_pattern *pattern,
                                    uint64_t *state) {
  check_arrays in = {0}, out = {0};
  rules_inputs(ctx, j, &in, state);
  grad_array *tangent = &in.a[in.n - 1];
  int64_t found = 0;
  for (int64_t c = 0; c < grad__array_numel(&in.a[k]); c++) {
    for (int64_t e = 0; e < grad__array_numel(tangent); e++) check_set(tangent, e, e == c);
    if (!rules_run(j, &in, &out)) break;
    const grad_array *column = &out.a[j->noutputs / 2]; /* the tangent of the first output */
    for (int64_t r = 0; r < grad__array_numel(column); r++) {
      if (check_get(column, r) == 0) continue;
      found++;
      check(rules_in_pattern(pattern, r, c));
    }
    check_release(&out);
  }
  check_release(&in);
  return found;
}

/* Of the first output; all of them are floats. */
static inline void rules_sparsity(grad_ctx *ctx, const char *name, grad_program *p, bool tight, uint64_t *state) {
  for (int32_t k = 0; k < p->ninputs; k++) {
    bool wrt[RULES_MOST] = {false};
    grad_pattern pattern;
    grad_program *j = NULL;
    wrt[k] = true;
    if (!rules_is_float(p, p->inputs[k])) continue;
    if (!check(grad__ad_sparsity(p, k, 0, NULL, NULL, &pattern) == GRAD_OK)) continue;
    if (check(grad__ad_jvp(p, wrt, &j) == GRAD_OK)) {
      const int64_t found = rules_columns(ctx, j, k, &pattern, state);
      if (tight && !check(found == pattern.nnz))
        fprintf(stderr, "  %s: %d entries, of which %d are not zero\n", name, (int)pattern.nnz, (int)found);
    }
    grad__program_release(j);
    grad__pattern_clear(&pattern);
  }
}

/* A task for check_failing_alloc: builds, differentiates and runs the case at `ud`. */
static inline grad_status rules_differentiate(grad_ctx *ctx, void *ud) {
  const rules_case *c = ud;
  grad_program *p = rules_program(ctx, c, GRAD_F64), *g = NULL;
  grad_status status = p ? GRAD_OK : ctx->status;
  bool wrt[RULES_MOST];
  if (p) rules_wrt(p, wrt);
  if (p) status = grad__ad_vjp(p, wrt, 1, &g);
  check_arrays in = {0}, out = {0};
  uint64_t state = 1;
  for (int32_t i = 0; !status && i < g->ninputs; i++) {
    const grad_type *t = grad__type(g, g->inputs[i]);
    grad_array *a = check_push(ctx, &in, t->dtype, t->ndim, t->shape, NULL);
    if (a) rules_fill(a, &state);
    if (!a) status = ctx->status;
  }
  if (!status) status = check_run(g, &in, NULL, &out);
  check_release(&in);
  check_release(&out);
  grad__program_release(g);
  grad__program_release(p);
  return status;
}

static inline void check_rules(grad_ctx *ctx, const rules_case *c, bool tight) {
  uint64_t state = 1000;
  grad_program *p = rules_program(ctx, c, GRAD_F64), *g = NULL;
  if (!check(p != NULL)) return;
  rules_strides(ctx, c->name, p, &state);
  rules_f32(ctx, c, p, &state);
  rules_batches(ctx, c->name, p, &state);
  if (rules_is_float(p, p->outputs[0])) {
    rules_sparsity(ctx, c->name, p, tight, &state);
    rules_derivative(ctx, c->name, p, 1, &state);
    bool wrt[RULES_MOST];
    rules_wrt(p, wrt);
    if (check(grad__ad_vjp(p, wrt, 1, &g) == GRAD_OK)) {
      rules_derivative(ctx, c->name, g, 1, &state);
      rules_batches(ctx, c->name, g, &state);
    }
  }
  grad__program_release(g);
  grad__program_release(p);
}

#endif

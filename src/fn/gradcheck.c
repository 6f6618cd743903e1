/* gradcheck.c: derivatives compared with central differences, and forward mode with reverse mode. */
#include "fn/parts.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "exec/exec.h"

/* A row of the Jacobian found in reverse. */
typedef struct row {
  int32_t output;
  int64_t position;
  grad_array *pulled; /* the outputs of vjp */
} row;

/* A check under way: arrays are by input or by output of `value`. */
typedef struct check {
  grad_ctx *ctx;
  grad_program *value; /* the function whose derivatives are checked; all its outputs count that are of float type */
  grad_program *jvp, *vjp; /* jvp NULL: reverse mode, and the function has no forward mode */
  const bool *wrt;
  const double *scalars;
  grad_arena temporary;
  grad_array *point;      /* own copies of the inputs */
  grad_array *tangent;    /* by input: zeros but for the direction */
  grad_array *low, *high; /* values beside the point */
  grad_array *pushed;     /* outputs of jvp */
  grad_array *cotangent;  /* by output: zeros but for the entry of a row */
  row *rows;              /* reverse mode */
  int64_t nrows;
  const grad_array **args; /* inputs of jvp */
  grad_check_options options;
  grad_check_report *report;
  double unit; /* rounding unit of the coarsest dtype */
} check;

/* --- elements of float arrays, which are row-major here */

static double get(const grad_array *a, int64_t i) { return grad__float_get(a->dtype, a->data, i); }

static void set(const grad_array *a, int64_t i, double value) { grad__float_put(a->dtype, a->data, i, value); }

static bool is_float(const grad_array *a) { return grad__dtype_is_float(a->dtype); }

static void release_all(grad_array *arrays, int32_t n) {
  for (int32_t i = 0; arrays && i < n; i++) grad__array_release(&arrays[i]);
}

static grad_array *headers(check *c, int32_t n) {
  return grad__arena_zeros(&c->temporary, ((size_t)n + 1) * sizeof(grad_array));
}

/* --- the comparison of one entry */

static void note_entry(check *c, const grad_check_entry *entry) {
  grad_check_report *r = c->report;
  r->checked++;
  r->failed += !(entry->error <= 1);
  int at = r->nworst;
  while (at > 0 && !(entry->error <= r->worst[at - 1].error)) at--;
  if (at == GRAD_CHECK_WORST) return;
  if (r->nworst < GRAD_CHECK_WORST) r->nworst++;
  memmove(&r->worst[at + 1], &r->worst[at], (size_t)(r->nworst - 1 - at) * sizeof *entry);
  r->worst[at] = *entry;
}

/* noise: what rounding in the two values can do to the difference quotient. */
static double entry_error(const check *c, double analytic, double numeric, double noise) {
  if (isnan(analytic) || isnan(numeric) || isinf(analytic)) return HUGE_VAL;
  const double size = fmax(fabs(analytic), fabs(numeric));
  return fabs(analytic - numeric) / (c->options.atol + c->options.rtol * size + noise);
}

static void compare_entry(check *c, const grad_check_entry *at, double analytic, double width) {
  const double low = get(&c->low[at->output], at->position), high = get(&c->high[at->output], at->position);
  const double size = fmax(fabs(low), fabs(high));
  grad_check_entry e = *at;
  e.analytic = analytic;
  e.numeric = (high - low) / width;
  e.error = entry_error(c, e.analytic, e.numeric, 8 * c->unit * size / width);
  if (!isfinite(e.analytic) || !isfinite(low)) c->report->finite = false;
  note_entry(c, &e);
}

/* --- one direction */

static grad_status value_at(check *c, grad_array *out) {
  const grad_array **in = c->args;
  for (int32_t i = 0; i < c->value->ninputs; i++) in[i] = &c->point[i];
  return grad__direct_run(c->value, in, c->scalars, out);
}

static grad_status push(check *c) {
  int32_t n = c->value->ninputs;
  for (int32_t i = 0; i < n; i++) c->args[i] = &c->point[i];
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (c->wrt[i]) c->args[n++] = &c->tangent[i];
  }
  return grad__direct_run(c->jvp, c->args, c->scalars, c->pushed);
}

/* The values on both sides of entry k of an input; *width is their exact distance in that input. */
static grad_status beside(check *c, int32_t input, int64_t k, double *width) {
  const grad_array *x = &c->point[input];
  const double at = get(x, k);
  const double h = c->options.eps * fmax(1, fabs(at));
  set(x, k, at + h);
  const double above = get(x, k);
  grad_status status = value_at(c, c->high);
  set(x, k, at - h);
  *width = above - get(x, k);
  if (!status) status = value_at(c, c->low);
  set(x, k, at);
  return status;
}

/* All entries of the column, by a push along the unit vector. */
static grad_status compare_forward(check *c, int32_t input, int64_t k, double width) {
  set(&c->tangent[input], k, 1);
  grad_status status = push(c);
  set(&c->tangent[input], k, 0);
  int32_t tangent = c->value->noutputs;
  for (int32_t o = 0; o < c->value->noutputs && !status; o++) {
    if (!is_float(&c->low[o])) continue;
    const int64_t n = grad__array_numel(&c->low[o]);
    for (int64_t i = 0; i < n; i++) {
      const grad_check_entry at = {.input = input, .output = o, .position = i, .direction = k};
      compare_entry(c, &at, get(&c->pushed[tangent], i), width);
    }
    tangent++;
  }
  release_all(c->pushed, c->jvp->noutputs);
  return status;
}

/* The entries of the column in the rows that were pulled. */
static void compare_reverse(check *c, int32_t input, int64_t k, double width) {
  int32_t result = c->value->noutputs;
  for (int32_t i = 0; i < input; i++) result += c->wrt[i];
  for (int64_t r = 0; r < c->nrows; r++) {
    const grad_check_entry at = {
        .input = input, .output = c->rows[r].output, .position = c->rows[r].position, .direction = k};
    compare_entry(c, &at, get(&c->rows[r].pulled[result], k), width);
  }
}

static grad_status check_direction(check *c, int32_t input, int64_t k) {
  double width = 1;
  grad_status status = beside(c, input, k, &width);
  if (!status && c->rows) compare_reverse(c, input, k, width);
  if (!status && !c->rows) status = compare_forward(c, input, k, width);
  release_all(c->low, c->value->noutputs);
  release_all(c->high, c->value->noutputs);
  return status;
}

/* How many of n entries are looked at, and which is the s-th of them: spread evenly. */
static int64_t sample_count(const check *c, int64_t n) { return n < c->options.samples ? n : c->options.samples; }

static int64_t sample_at(int64_t s, int64_t samples, int64_t n) {
  return samples == 1 ? 0 : (int64_t)((double)s * (double)(n - 1) / (double)(samples - 1));
}

static grad_status check_entries(check *c) {
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (!c->wrt[i]) continue;
    const int64_t n = grad__array_numel(&c->point[i]), samples = sample_count(c, n);
    for (int64_t s = 0; s < samples; s++) {
      grad_status status = check_direction(c, i, sample_at(s, samples, n));
      if (status) return status;
    }
  }
  return GRAD_OK;
}

/* --- reverse mode */

/* Pulls the cotangents back; those of the inputs follow the values in `pulled`. */
static grad_status pull(check *c, grad_array *pulled) {
  int32_t n = c->value->ninputs;
  for (int32_t i = 0; i < n; i++) c->args[i] = &c->point[i];
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (is_float(&c->cotangent[o])) c->args[n++] = &c->cotangent[o];
  }
  return grad__direct_run(c->vjp, c->args, c->scalars, pulled);
}

static grad_status pull_row(check *c, int32_t output, int64_t position) {
  row *r = &c->rows[c->nrows];
  *r = (row){.output = output, .position = position, .pulled = headers(c, c->vjp->noutputs)};
  if (!r->pulled) return c->ctx->status;
  set(&c->cotangent[output], position, 1);
  grad_status status = pull(c, r->pulled);
  set(&c->cotangent[output], position, 0);
  if (!status) c->nrows++;
  return status;
}

static grad_status pull_rows(check *c) {
  int64_t most = 0;
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (is_float(&c->cotangent[o])) most += sample_count(c, grad__array_numel(&c->cotangent[o]));
  }
  c->rows = grad__arena_alloc(&c->temporary, ((size_t)most + 1) * sizeof *c->rows);
  if (!c->rows) return c->ctx->status;
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (!is_float(&c->cotangent[o])) continue;
    const int64_t n = grad__array_numel(&c->cotangent[o]), samples = sample_count(c, n);
    for (int64_t s = 0; s < samples; s++) {
      grad_status status = pull_row(c, o, sample_at(s, samples, n));
      if (status) return status;
    }
  }
  return GRAD_OK;
}

/* --- <J v, w> = <v, J' w> */

static void fill_random(const grad_array *a, uint64_t key) {
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    uint32_t words[4];
    grad__rng_block(key, (uint64_t)i, words);
    set(a, i, 2 * grad__rng_uniform(words[0], words[1]) - 1);
  }
}

/* Adds <a, b> to *sum and its magnitude to *size. */
static void add_product(const grad_array *a, const grad_array *b, double *sum, double *size) {
  const int64_t n = grad__array_numel(a);
  for (int64_t i = 0; i < n; i++) {
    *sum += get(a, i) * get(b, i);
    *size += fabs(get(a, i) * get(b, i));
  }
}

static void compare_dual(check *c, const grad_array *pulled) {
  double size = 0;
  grad_check_report *r = c->report;
  int32_t n = c->value->noutputs;
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (is_float(&c->cotangent[o])) add_product(&c->pushed[n++], &c->cotangent[o], &r->forward, &size);
  }
  n = c->value->noutputs;
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (c->wrt[i]) add_product(&pulled[n++], &c->tangent[i], &r->reverse, &size);
  }
  r->dual_ok = fabs(r->forward - r->reverse) <= 1e5 * c->unit * size || (size == 0 && r->forward == r->reverse);
}

static grad_status check_dual(check *c) {
  grad_array *pulled = headers(c, c->vjp->noutputs);
  if (!pulled) return c->ctx->status;
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (c->wrt[i]) fill_random(&c->tangent[i], (uint64_t)i + 1);
  }
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (is_float(&c->cotangent[o])) fill_random(&c->cotangent[o], 1000 + (uint64_t)o);
  }
  grad_status status = push(c);
  if (!status) status = pull(c, pulled);
  if (!status) compare_dual(c, pulled);
  release_all(c->pushed, c->jvp->noutputs);
  release_all(pulled, c->vjp->noutputs);
  return status;
}

/* --- setting up */

static void set_defaults(check *c, const grad_check_options *options) {
  grad_check_options *o = &c->options;
  if (options) *o = *options;
  bool single = false;
  for (int32_t i = 0; i < c->value->ninputs; i++) single = single || c->point[i].dtype == GRAD_F32;
  for (int32_t i = 0; i < c->value->noutputs; i++) {
    single = single || grad__type(c->value, c->value->outputs[i])->dtype == GRAD_F32;
  }
  c->unit = single ? 0x1p-24 : 0x1p-53;
  if (o->eps == 0) o->eps = cbrt(2 * c->unit);
  if (o->rtol == 0) o->rtol = single ? 1e-2 : 1e-5;
  if (o->atol == 0) o->atol = single ? 1e-3 : 1e-7;
  if (o->samples <= 0) o->samples = 64;
}

static grad_status zeros_like(check *c, const grad_type *t, grad_array *out) {
  grad_status status = grad__array_new(c->ctx, t->dtype, t->ndim, t->shape, out);
  if (!status) grad__array_fill(out, 0);
  return status;
}

static grad_status make_arrays(check *c, const grad_array *const *in) {
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    const grad_type *t = grad__type(c->value, c->value->inputs[i]);
    grad_status status = zeros_like(c, t, &c->point[i]);
    if (!status && c->wrt[i]) status = zeros_like(c, t, &c->tangent[i]);
    if (status) return status;
    grad__array_copy(&c->point[i], in[i]);
  }
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    const grad_type *t = grad__type(c->value, c->value->outputs[o]);
    if (!grad__dtype_is_float(t->dtype)) continue;
    grad_status status = zeros_like(c, t, &c->cotangent[o]);
    if (status) return status;
  }
  return GRAD_OK;
}

static bool is_one_number(const grad_program *p) { return p->noutputs == 1 && grad__type(p, p->outputs[0])->ndim == 0; }

/* The sum of the outputs, weighted by the cosines of their positions. */
static grad_id weighted_sum(grad_program *p, int32_t n, const grad_id *outputs) {
  grad_id total = grad__full(p, 0, GRAD_F64, 0, NULL);
  for (int32_t o = 0; o < n && !p->status; o++) {
    const grad_type *t = grad__type(p, outputs[o]);
    const int64_t numel = grad__type_numel(t);
    if (!grad__dtype_is_float(t->dtype)) continue;
    const grad_id flat = grad__reshape(p, grad__convert(p, outputs[o], GRAD_F64), 1, &numel);
    const grad_id weight = grad__op1(p, &grad__op_cos, grad__iota(p, GRAD_F64, 1, &numel, 0));
    total = grad__add(p, total, grad__sum(p, grad__mul(p, weight, flat), 1, false));
  }
  return total;
}

/* For order 2: a function of one number whose second derivatives are those of all entries of p's outputs. */
static grad_status one_number(const grad_program *p, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_new(p->ctx, &q);
  if (status) return status;
  for (int32_t i = 0; i < p->ninputs; i++) grad__program_input_like(q, grad__type(p, p->inputs[i]));
  grad_id *outputs = grad__arena_alloc(&q->arena, ((size_t)p->noutputs + 1) * sizeof *outputs);
  if (outputs) {
    grad__inline(q, p, q->inputs, NULL, outputs, NULL);
    grad__program_output(q, weighted_sum(q, p->noutputs, outputs));
  }
  status = outputs ? q->status : p->ctx->status;
  if (status) {
    grad__program_release(q);
    return status;
  }
  *out = q;
  return GRAD_OK;
}

/* For order 2: the program that gives the gradients alone. */
static grad_status gradients_only(const grad_program *p, const bool *wrt, grad_program **out) {
  grad_program *gradient = NULL;
  grad_status status = grad__ad_grad(p, wrt, &gradient);
  if (status) return status;
  status = grad__extract(gradient, gradient->ninputs, gradient->inputs, gradient->noutputs - p->noutputs,
                         gradient->outputs + p->noutputs, true, out);
  grad__program_release(gradient);
  return status;
}

/* For order 2: what takes the place of p, checked in first derivatives. */
static grad_status gradients_of(grad_program *p, const bool *wrt, grad_program **out) {
  if (is_one_number(p)) return gradients_only(p, wrt, out);
  grad_program *sum = NULL;
  grad_status status = one_number(p, &sum);
  if (status) return status;
  status = gradients_only(sum, wrt, out);
  grad__program_release(sum);
  return status;
}

/* A function that has no forward mode can still be checked in reverse. */
static grad_status derive(check *c, bool reverse) {
  grad_status status = grad__ad_vjp(c->value, c->wrt, c->value->noutputs, &c->vjp);
  if (status) return status;
  status = grad__ad_jvp(c->value, c->wrt, &c->jvp);
  return status == GRAD_EUNSUPPORTED && reverse ? GRAD_OK : status;
}

static bool make_headers(check *c) {
  const int32_t nin = c->value->ninputs, nout = c->value->noutputs;
  const int32_t most = nin + (nin > nout ? nin : nout) + 1;
  c->point = headers(c, nin);
  c->tangent = headers(c, nin);
  c->cotangent = headers(c, nout);
  c->low = headers(c, nout);
  c->high = headers(c, nout);
  c->pushed = headers(c, 2 * nout);
  c->args = grad__arena_alloc(&c->temporary, (size_t)most * sizeof *c->args);
  return c->point && c->tangent && c->cotangent && c->low && c->high && c->pushed && c->args;
}

static grad_status check_run(check *c, const grad_array *const *in, const grad_check_options *options) {
  const bool reverse = options && options->mode == GRAD_JACOBIAN_REVERSE;
  if (!make_headers(c)) return c->ctx->status;
  grad_status status = derive(c, reverse);
  if (!status) status = make_arrays(c, in);
  if (!status) set_defaults(c, options);
  if (!status && reverse) status = pull_rows(c);
  if (!status) status = check_entries(c);
  if (!status && c->jvp) return check_dual(c);
  c->report->dual_ok = !status;
  return status;
}

static void check_end(check *c) {
  if (c->value) {
    release_all(c->point, c->value->ninputs);
    release_all(c->tangent, c->value->ninputs);
    release_all(c->cotangent, c->value->noutputs);
  }
  for (int64_t r = 0; r < c->nrows; r++) release_all(c->rows[r].pulled, c->vjp->noutputs);
  grad__program_release(c->jvp);
  grad__program_release(c->vjp);
  grad__program_release(c->value);
  grad__arena_clear(&c->temporary);
}

grad_status grad__fn_gradcheck(grad_program *p, const bool *wrt, const grad_array *const *in, const double *scalars,
                               const grad_check_options *options, grad_check_report *out) {
  if (p->status) return p->status;
  grad_check_report report = {.finite = true};
  check c = {.ctx = p->ctx, .wrt = wrt, .scalars = scalars, .report = &report};
  const int order = options && options->order ? options->order : 1;
  if (order != 1 && order != 2) return grad__fail(p->ctx, GRAD_EVALUE, "gradcheck: order is 1 or 2, got %d", order);
  grad__arena_init(&c.temporary, p->ctx);
  grad_status status = GRAD_OK;
  if (order == 2) {
    status = gradients_of(p, wrt, &c.value);
  } else {
    grad__program_retain(p);
    c.value = p;
  }
  if (!status) status = check_run(&c, in, options);
  check_end(&c);
  if (status) return status;
  report.ok = report.failed == 0 && report.dual_ok && report.finite;
  *out = report;
  return GRAD_OK;
}

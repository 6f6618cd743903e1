/* gradcheck.c: derivatives compared with central differences, and forward mode with reverse mode. */
#include "fn/parts.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "exec/exec.h"

/* A check under way: arrays are by input or by output of `value`. */
typedef struct check {
  grad_ctx *ctx;
  grad_program *value; /* the function whose derivatives are checked; all its outputs count that are of float type */
  grad_program *jvp;
  const bool *wrt;
  const double *scalars;
  grad_arena temporary;
  grad_array *point;       /* own copies of the inputs */
  grad_array *tangent;     /* by input: zeros but for the direction */
  grad_array *low, *high;  /* values beside the point */
  grad_array *pushed;      /* outputs of jvp */
  const grad_array **args; /* inputs of jvp */
  grad_check_options options;
  grad_check_report *report;
  double unit; /* rounding unit of the coarsest dtype */
} check;

/* --- elements of float arrays, which are row-major here */

static double get(const grad_array *a, int64_t i) {
  return a->dtype == GRAD_F32 ? (double)((const float *)a->data)[i] : ((const double *)a->data)[i];
}

static void set(const grad_array *a, int64_t i, double value) {
  if (a->dtype == GRAD_F32) {
    ((float *)a->data)[i] = (float)value;
  } else {
    ((double *)a->data)[i] = value;
  }
}

static bool is_float(const grad_array *a) { return grad__dtype_is_float((grad_dtype)a->dtype); }

static void release_all(grad_array *arrays, int32_t n) {
  for (int32_t i = 0; arrays && i < n; i++) grad__array_release(&arrays[i]);
}

static grad_array *headers(check *c, int32_t n) {
  const size_t size = ((size_t)n + 1) * sizeof(grad_array);
  grad_array *arrays = grad__arena_alloc(&c->temporary, size);
  if (arrays) memset(arrays, 0, size);
  return arrays;
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

static void compare_output(check *c, int32_t input, int64_t direction, int32_t output, const grad_array *analytic,
                           double width) {
  const grad_array *low = &c->low[output], *high = &c->high[output];
  const int64_t n = grad__array_numel(low);
  for (int64_t i = 0; i < n; i++) {
    const double size = fmax(fabs(get(low, i)), fabs(get(high, i)));
    grad_check_entry e = {.input = input, .output = output, .position = i, .direction = direction};
    e.analytic = get(analytic, i);
    e.numeric = (get(high, i) - get(low, i)) / width;
    e.error = entry_error(c, e.analytic, e.numeric, 8 * c->unit * size / width);
    if (!isfinite(e.analytic) || !isfinite(get(low, i))) c->report->finite = false;
    note_entry(c, &e);
  }
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

static grad_status check_direction(check *c, int32_t input, int64_t k) {
  double width = 1;
  grad_status status = beside(c, input, k, &width);
  if (!status) {
    set(&c->tangent[input], k, 1);
    status = push(c);
    set(&c->tangent[input], k, 0);
  }
  int32_t tangent = c->value->noutputs;
  for (int32_t o = 0; o < c->value->noutputs && !status; o++) {
    if (is_float(&c->low[o])) compare_output(c, input, k, o, &c->pushed[tangent++], width);
  }
  release_all(c->low, c->value->noutputs);
  release_all(c->high, c->value->noutputs);
  release_all(c->pushed, c->jvp->noutputs);
  return status;
}

static grad_status check_entries(check *c) {
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (!c->wrt[i]) continue;
    const int64_t n = grad__array_numel(&c->point[i]);
    const int64_t samples = n < c->options.samples ? n : c->options.samples;
    for (int64_t s = 0; s < samples; s++) {
      const int64_t k = samples == 1 ? 0 : (int64_t)((double)s * (double)(n - 1) / (double)(samples - 1));
      grad_status status = check_direction(c, i, k);
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

/* Pulls the cotangents w back; inputs' cotangents follow the values in `pulled`. */
static grad_status pull(check *c, const grad_program *vjp, const grad_array *w, grad_array *pulled) {
  const grad_array **in = grad__arena_alloc(&c->temporary, ((size_t)vjp->ninputs + 1) * sizeof *in);
  if (!in) return c->ctx->status;
  int32_t n = c->value->ninputs;
  for (int32_t i = 0; i < n; i++) in[i] = &c->point[i];
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (w[o].ndim || w[o].data) in[n++] = &w[o];
  }
  return grad__direct_run((grad_program *)vjp, in, c->scalars, pulled);
}

static grad_status random_cotangents(check *c, grad_array *w) {
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    const grad_type *t = grad__type(c->value, c->value->outputs[o]);
    if (!grad__dtype_is_float((grad_dtype)t->dtype)) continue;
    grad_status status = grad__array_new(c->ctx, (grad_dtype)t->dtype, t->ndim, t->shape, &w[o]);
    if (status) return status;
    fill_random(&w[o], 1000 + (uint64_t)o);
  }
  return GRAD_OK;
}

static void compare_dual(check *c, const grad_array *w, const grad_array *pulled) {
  double size = 0;
  grad_check_report *r = c->report;
  int32_t n = c->value->noutputs;
  for (int32_t o = 0; o < c->value->noutputs; o++) {
    if (is_float(&c->pushed[o])) add_product(&c->pushed[n++], &w[o], &r->forward, &size);
  }
  n = c->value->noutputs;
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    if (c->wrt[i]) add_product(&pulled[n++], &c->tangent[i], &r->reverse, &size);
  }
  r->dual_ok = fabs(r->forward - r->reverse) <= 1e5 * c->unit * size || (size == 0 && r->forward == r->reverse);
}

static grad_status check_dual(check *c) {
  grad_program *vjp = NULL;
  grad_status status = grad__ad_vjp(c->value, c->wrt, c->value->noutputs, &vjp);
  if (status) return status;
  grad_array *w = headers(c, c->value->noutputs), *pulled = headers(c, vjp->noutputs);
  if (w && pulled) {
    for (int32_t i = 0; i < c->value->ninputs; i++) {
      if (c->wrt[i]) fill_random(&c->tangent[i], (uint64_t)i + 1);
    }
    status = random_cotangents(c, w);
    if (!status) status = push(c);
    if (!status) status = pull(c, vjp, w, pulled);
    if (!status) compare_dual(c, w, pulled);
    release_all(c->pushed, c->jvp->noutputs);
  } else {
    status = c->ctx->status;
  }
  release_all(w, c->value->noutputs);
  release_all(pulled, vjp->noutputs);
  grad__program_release(vjp);
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

static grad_status copy_point(check *c, const grad_array *const *in) {
  for (int32_t i = 0; i < c->value->ninputs; i++) {
    const grad_array *x = in[i];
    grad_status status = grad__array_new(c->ctx, (grad_dtype)x->dtype, x->ndim, x->shape, &c->point[i]);
    if (status) return status;
    grad__array_copy(&c->point[i], x);
    if (!c->wrt[i]) continue;
    status = grad__array_new(c->ctx, (grad_dtype)x->dtype, x->ndim, x->shape, &c->tangent[i]);
    if (status) return status;
    grad__array_fill(&c->tangent[i], 0);
  }
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

static grad_status check_run(check *c, const grad_array *const *in, const grad_check_options *options) {
  const int32_t nin = c->value->ninputs, nout = c->value->noutputs;
  grad_status status = grad__ad_jvp(c->value, c->wrt, &c->jvp);
  if (status) return status;
  c->point = headers(c, nin);
  c->tangent = headers(c, nin);
  c->low = headers(c, nout);
  c->high = headers(c, nout);
  c->pushed = headers(c, c->jvp->noutputs);
  c->args = grad__arena_alloc(&c->temporary, ((size_t)c->jvp->ninputs + 1) * sizeof *c->args);
  if (!c->point || !c->tangent || !c->low || !c->high || !c->pushed || !c->args) return c->ctx->status;
  status = copy_point(c, in);
  if (!status) set_defaults(c, options);
  if (!status) status = check_entries(c);
  return status ? status : check_dual(c);
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
    status = gradients_only(p, wrt, &c.value);
  } else {
    grad__program_retain(p);
    c.value = p;
  }
  if (!status) status = check_run(&c, in, options);
  if (c.value) {
    release_all(c.point, c.value->ninputs);
    release_all(c.tangent, c.value->ninputs);
  }
  grad__program_release(c.jvp);
  grad__program_release(c.value);
  grad__arena_clear(&c.temporary);
  if (status) return status;
  report.ok = report.failed == 0 && report.dual_ok && report.finite;
  *out = report;
  return GRAD_OK;
}

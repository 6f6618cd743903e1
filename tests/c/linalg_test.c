/* linalg_test.c: linear algebra: values by what defines them; derivatives to second order by central differences and by
 * <J v, w> = <v, J' w>; vmap against a loop; degenerate, singular, empty and non-finite matrices; failing memory. */
#include "check_alloc.h"

#include <stdlib.h>

#include "ad/ad.h"
#include "exec/exec.h"
#include "ops/compose.h"
#include "ops/linalg.h"

static grad_ctx *ctx;
enum { MAX_IN = 16, MAX_ELEMENTS = 1024 };

/* --- running programs on f64 numbers laid end to end */

typedef struct numbers {
  double x[MAX_ELEMENTS];
  int64_t count;
} numbers;

static void input_arrays(const grad_program *p, const numbers *in, grad_array *arrays, const grad_array **pointers) {
  double *at = (double *)(uintptr_t)in->x;
  for (int32_t i = 0; i < p->ninputs; i++) {
    const grad_type *const t = grad__type(p, p->inputs[i]);
    grad__array_wrap(&arrays[i], at, GRAD_F64, t->ndim, t->shape);
    at += grad__type_numel(t);
    pointers[i] = &arrays[i];
  }
  check(at - in->x == in->count);
}

/* Outputs from `first` on, end to end. */
static grad_status run_from(grad_program *p, const numbers *in, int first, numbers *out) {
  grad_array arrays[MAX_IN], results[MAX_IN] = {{0}};
  const grad_array *pointers[MAX_IN];
  if (!check(p->ninputs <= MAX_IN && p->noutputs <= MAX_IN)) return GRAD_EINTERNAL;
  input_arrays(p, in, arrays, pointers);
  const grad_status status = grad__direct_run(p, pointers, NULL, results);
  out->count = 0;
  for (int32_t i = 0; !status && i < p->noutputs; i++) {
    const int64_t n = grad__array_numel(&results[i]);
    if (i >= first) {
      grad_array to;
      grad__array_wrap(&to, out->x + out->count, GRAD_F64, results[i].ndim, results[i].shape);
      grad__array_copy(&to, &results[i]);
      out->count += n;
    }
    grad__array_release(&results[i]);
  }
  return status;
}

static grad_status run(grad_program *p, const numbers *in, numbers *out) { return run_from(p, in, 0, out); }

static double random_number(void) { return (double)rand() / RAND_MAX * 2 - 1; }

static numbers random_like(int64_t count) {
  numbers n = {.count = count};
  for (int64_t i = 0; i < count; i++) n.x[i] = random_number();
  return n;
}

static numbers join(const numbers *a, const numbers *b) {
  numbers n = *a;
  check(a->count + b->count <= MAX_ELEMENTS);
  memcpy(n.x + a->count, b->x, (size_t)b->count * sizeof *b->x);
  n.count += b->count;
  return n;
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* --- derivatives of any program at x */

static const bool all_true[MAX_IN] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void check_difference(const char *name, grad_program *p, const numbers *x, const numbers *v, const numbers *jv) {
  const double h = 1e-5;
  numbers ahead = *x, behind = *x, ya, yb;
  for (int64_t i = 0; i < x->count; i++) {
    ahead.x[i] += h * v->x[i];
    behind.x[i] -= h * v->x[i];
  }
  if (!check(run(p, &ahead, &ya) == GRAD_OK && run(p, &behind, &yb) == GRAD_OK)) return;
  double worst = 0, largest = 1;
  for (int64_t i = 0; i < jv->count; i++) {
    worst = fmax(worst, fabs(jv->x[i] - (ya.x[i] - yb.x[i]) / (2 * h)));
    largest = fmax(largest, fabs(jv->x[i]));
  }
  if (!check(worst <= 2e-6 * largest)) fprintf(stderr, "  %s: differs by %g of %g\n", name, worst, largest);
}

/* A batch of two whose second item is x moved a little; one input batched or all. */
static void check_vmap(const char *name, grad_program *p, const numbers *x, bool all) {
  enum { SIZE = 2 };
  bool batched[MAX_IN] = {true};
  grad_program *mapped = NULL;
  numbers items[SIZE] = {*x, *x}, want[SIZE], in = {.count = 0}, got;
  int64_t at = 0;
  for (int32_t i = 0; i < p->ninputs; i++) {
    const int64_t n = grad__type_numel(grad__type(p, p->inputs[i]));
    batched[i] = all || i == 0;
    for (int64_t k = at; k < at + n && batched[i]; k++) items[1].x[k] += 0.01 * random_number();
    for (int item = 0; item < (batched[i] ? SIZE : 1); item++) {
      memcpy(in.x + in.count, items[item].x + at, (size_t)n * sizeof *in.x);
      in.count += n;
    }
    at += n;
  }
  if (!check(grad__ad_vmap(p, SIZE, batched, NULL, &mapped) == GRAD_OK))
    fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
  bool ran = mapped && check(run(mapped, &in, &got) == GRAD_OK);
  for (int item = 0; item < SIZE; item++) ran = ran && check(run(p, &items[item], &want[item]) == GRAD_OK);
  double worst = 0;
  const double *mine = got.x;
  for (int32_t k = 0, from = 0; ran && k < p->noutputs; k++) { /* of each output, the items lie end to end */
    const int64_t n = grad__type_numel(grad__type(p, p->outputs[k]));
    for (int64_t i = 0; i < SIZE * n; i++, mine++) {
      worst = fmax(worst, fabs(*mine - want[i / n].x[from + i % n]) / (1 + fabs(*mine)));
    }
    from += (int32_t)n;
  }
  if (!check(ran && worst < 1e-10)) fprintf(stderr, "  %s: vmap differs by %g\n", name, worst);
  grad__program_release(mapped);
}

/* Order more: the same for the forward and the reverse program. */
static void check_derivatives(const char *name, grad_program *p, const numbers *x, int order) {
  grad_program *forward = NULL, *reverse = NULL;
  numbers jv, jw, y;
  const numbers v = random_like(x->count), xv = join(x, &v);
  if (!check(run(p, x, &y) == GRAD_OK)) {
    fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
    return;
  }
  check_vmap(name, p, x, true);
  check_vmap(name, p, x, false);
  const numbers w = random_like(y.count), xw = join(x, &w);
  const bool built = check(grad__ad_jvp(p, all_true, &forward) == GRAD_OK) &&
                     check(grad__ad_vjp(p, all_true, p->noutputs, &reverse) == GRAD_OK);
  const bool ran = built && check(run_from(forward, &xv, p->noutputs, &jv) == GRAD_OK) &&
                   check(run_from(reverse, &xw, p->noutputs, &jw) == GRAD_OK);
  if (!ran) fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
  if (ran) {
    check_difference(name, p, x, &v, &jv);
    const double left = dot(jv.x, w.x, y.count), right = dot(v.x, jw.x, x->count);
    if (!check_near(left, right, 1e-9)) fprintf(stderr, "  %s: <J v, w> and <v, J' w>\n", name);
    if (order > 1) {
      check_derivatives(name, forward, &xv, order - 1);
      check_derivatives(name, reverse, &xw, order - 1);
    }
  }
  grad__program_release(forward);
  grad__program_release(reverse);
}

/* --- the functions */

typedef grad_id (*builder)(grad_program *p, const grad_id *in);

static grad_id build_solve(grad_program *p, const grad_id *in) { return grad__solve(p, in[0], in[1]); }
static grad_id build_inv(grad_program *p, const grad_id *in) { return grad__inv(p, in[0]); }
static grad_id build_det(grad_program *p, const grad_id *in) { return grad__det(p, in[0]); }
static grad_id build_logdet(grad_program *p, const grad_id *in) {
  grad_id sign, logabs;
  grad__slogdet(p, in[0], &sign, &logabs);
  return grad__mul(p, sign, logabs);
}
static grad_id eye_like(grad_program *p, grad_id a) {
  const grad_type t = *grad__type(p, a);
  return grad__eye(p, t.dtype, t.shape[t.ndim - 1], t.shape[t.ndim - 1]);
}
static grad_id symmetric(grad_program *p, grad_id a) { /* positive definite */
  const grad_id square = grad__matmul(p, a, a, false, true);
  return grad__add(p, square, eye_like(p, a));
}
static grad_id build_logdet_pd(grad_program *p, const grad_id *in) { return grad__logdet(p, symmetric(p, in[0])); }
static grad_id build_lower(grad_program *p, const grad_id *in) {
  return grad__triangular_solve(p, in[0], in[1], false, false);
}
static grad_id build_upper(grad_program *p, const grad_id *in) {
  return grad__triangular_solve(p, in[0], in[1], true, false);
}
static grad_id build_upper_t(grad_program *p, const grad_id *in) {
  return grad__triangular_solve(p, in[0], in[1], true, true);
}
static grad_id build_cholesky(grad_program *p, const grad_id *in) { return grad__cholesky(p, symmetric(p, in[0])); }
static grad_id build_cholesky_solve(grad_program *p, const grad_id *in) {
  return grad__cholesky_solve(p, grad__cholesky(p, symmetric(p, in[0])), in[1]);
}
static grad_id build_q(grad_program *p, const grad_id *in) {
  grad_id q, r;
  grad__qr(p, in[0], &q, &r);
  return q;
}
static grad_id build_r(grad_program *p, const grad_id *in) {
  grad_id q, r;
  grad__qr(p, in[0], &q, &r);
  return r;
}
static grad_id build_lstsq(grad_program *p, const grad_id *in) { return grad__lstsq(p, in[0], in[1]); }
static grad_id build_u(grad_program *p, const grad_id *in) {
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  return u;
}
static grad_id build_s(grad_program *p, const grad_id *in) {
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  return s;
}
static grad_id build_vt(grad_program *p, const grad_id *in) {
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  return vt;
}
static grad_id build_values(grad_program *p, const grad_id *in) {
  grad_id w, v;
  grad__eigh(p, in[0], &w, &v);
  return w;
}
static grad_id build_vectors(grad_program *p, const grad_id *in) {
  grad_id w, v;
  grad__eigh(p, in[0], &w, &v);
  return v;
}
static grad_id build_expm(grad_program *p, const grad_id *in) { return grad__matrix_exp(p, in[0]); }

typedef struct shape {
  int ndim;
  int64_t extents[3];
} shape;

typedef struct function {
  const char *name;
  builder build;
  int nin;
  shape shapes[2];
  double diagonal; /* added to square matrices, for good condition */
} function;

static const function functions[] = {
    {"solve", build_solve, 2, {{2, {3, 3}}, {2, {3, 2}}}, 2},
    {"solve, vector", build_solve, 2, {{2, {4, 4}}, {1, {4}}}, 2},
    {"solve, broadcast", build_solve, 2, {{2, {2, 2}}, {3, {2, 2, 1}}}, 2},
    {"solve, batch", build_solve, 2, {{3, {2, 2, 2}}, {2, {2, 1}}}, 2},
    {"inv", build_inv, 1, {{2, {3, 3}}}, 1.5},
    {"inv, batch", build_inv, 1, {{3, {2, 2, 2}}}, 2},
    {"det", build_det, 1, {{2, {3, 3}}}, 0.5},
    {"slogdet", build_logdet, 1, {{3, {2, 3, 3}}}, 1.5},
    {"logdet", build_logdet_pd, 1, {{2, {3, 3}}}, 1},
    {"triangular_solve, lower", build_lower, 2, {{2, {3, 3}}, {2, {3, 2}}}, 2},
    {"triangular_solve, upper", build_upper, 2, {{2, {3, 3}}, {1, {3}}}, 2},
    {"triangular_solve, transposed", build_upper_t, 2, {{2, {3, 3}}, {2, {3, 1}}}, 2},
    {"cholesky", build_cholesky, 1, {{2, {3, 3}}}, 0},
    {"cholesky_solve", build_cholesky_solve, 2, {{2, {3, 3}}, {2, {3, 2}}}, 0},
    {"qr, q tall", build_q, 1, {{2, {4, 3}}}, 0},
    {"qr, r tall", build_r, 1, {{2, {4, 3}}}, 0},
    {"qr, q wide", build_q, 1, {{2, {2, 4}}}, 0},
    {"qr, r wide", build_r, 1, {{2, {2, 4}}}, 0},
    {"qr, q square", build_q, 1, {{2, {3, 3}}}, 1},
    {"lstsq, tall", build_lstsq, 2, {{2, {4, 2}}, {2, {4, 1}}}, 0},
    {"lstsq, wide", build_lstsq, 2, {{2, {2, 3}}, {1, {2}}}, 0},
    {"svd, u tall", build_u, 1, {{2, {4, 2}}}, 0},
    {"svd, s tall", build_s, 1, {{2, {4, 3}}}, 0},
    {"svd, vt tall", build_vt, 1, {{2, {4, 2}}}, 0},
    {"svd, u wide", build_u, 1, {{2, {2, 3}}}, 0},
    {"svd, vt wide", build_vt, 1, {{2, {2, 4}}}, 0},
    {"svd, u square", build_u, 1, {{2, {3, 3}}}, 1},
    {"eigh, values", build_values, 1, {{2, {3, 3}}}, 0},
    {"eigh, vectors", build_vectors, 1, {{2, {3, 3}}}, 0},
    {"matrix_exp", build_expm, 1, {{2, {3, 3}}}, 0},
    {"matrix_exp, large", build_expm, 1, {{2, {2, 2}}}, 4},
};

static grad_program *program_of(const function *f, grad_ctx *c) {
  grad_program *p = NULL;
  grad_id in[2];
  if (grad__program_new(c, &p) != GRAD_OK) return NULL;
  for (int i = 0; i < f->nin; i++) in[i] = grad__program_input(p, GRAD_F64, f->shapes[i].ndim, f->shapes[i].extents);
  grad__program_output(p, f->build(p, in));
  return p;
}

static numbers point_of(const function *f) {
  numbers x = {.count = 0};
  for (int i = 0; i < f->nin; i++) {
    const shape *const s = &f->shapes[i];
    int64_t n = 1;
    for (int k = 0; k < s->ndim; k++) n *= s->extents[k];
    for (int64_t k = 0; k < n; k++) {
      const int64_t cols = s->extents[s->ndim - 1], rows = s->ndim > 1 ? s->extents[s->ndim - 2] : 0;
      const bool diagonal = rows == cols && k % (rows * cols) % (cols + 1) == 0;
      x.x[x.count++] = random_number() + (diagonal && i == 0 ? f->diagonal * (double)(1 + k % 3) : 0);
    }
  }
  return x;
}

static void test_derivatives(void) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    grad_program *const p = program_of(&functions[i], ctx);
    if (!check(p && p->status == GRAD_OK)) {
      fprintf(stderr, "  %s: %s\n", functions[i].name, grad_message(ctx));
    } else {
      const numbers x = point_of(&functions[i]);
      check_derivatives(functions[i].name, p, &x, 2);
    }
    grad__program_release(p);
  }
}

/* --- a function of one n x n (or m x n) matrix, its status, value and gradient of the sum of its outputs */

static grad_status evaluate(builder build, grad_dtype dtype, int64_t m, int64_t n, const numbers *in, numbers *out) {
  grad_program *p;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  grad_id a = grad__program_input(p, GRAD_F64, 2, (int64_t[]){m, n});
  a = grad__convert(p, a, dtype);
  const grad_id y = build(p, &a);
  grad__program_output(p, y);
  const grad_status status = p->status ? p->status : run(p, in, out);
  grad__program_release(p);
  return status;
}

/* Computed in that dtype; the result is converted. */
static grad_status gradient_in(grad_dtype dtype, builder build, int64_t m, int64_t n, const numbers *in, numbers *out) {
  grad_program *p, *g = NULL;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  const grad_id a = grad__convert(p, grad__program_input(p, GRAD_F64, 2, (int64_t[]){m, n}), dtype);
  const grad_id y = build(p, &a);
  const int ndim = y == GRAD_NONE ? 0 : grad__type(p, y)->ndim;
  grad__program_output(p, grad__sum(p, y, (1u << ndim) - 1, false));
  grad_status status = p->status ? p->status : grad__ad_grad(p, all_true, &g);
  if (!status) status = run_from(g, in, 1, out);
  grad__program_release(p);
  grad__program_release(g);
  return status;
}

static grad_status gradient(builder build, int64_t m, int64_t n, const numbers *in, numbers *out) {
  return gradient_in(GRAD_F64, build, m, n, in, out);
}

static grad_status second(builder build, int64_t n, const numbers *in) {
  grad_program *p, *g = NULL, *h = NULL;
  numbers out;
  check(grad__program_new(ctx, &p) == GRAD_OK);
  const grad_id a = grad__program_input(p, GRAD_F64, 2, (int64_t[]){n, n});
  const grad_id y = build(p, &a);
  grad__program_output(p, grad__sum(p, y, (1u << grad__type(p, y)->ndim) - 1, false));
  grad_status status = grad__ad_grad(p, all_true, &g);
  const numbers v = random_like(in->count), xv = join(in, &v);
  if (!status) status = grad__ad_jvp(g, all_true, &h);
  if (!status) status = run(h, &xv, &out);
  grad__program_release(p);
  grad__program_release(g);
  grad__program_release(h);
  return status;
}

static grad_id rebuild_qr(grad_program *p, const grad_id *in) {
  grad_id q, r;
  grad__qr(p, in[0], &q, &r);
  return grad__sub(p, grad__matmul(p, q, r, false, false), in[0]);
}
static grad_id scaled(grad_program *p, grad_id m, grad_id s) { /* columns of m times s */
  const grad_type t = *grad__type(p, m);
  return grad__mul(p, m, grad__broadcast(p, grad__insert_axis(p, s, 0), 2, t.shape));
}
static grad_id rebuild_svd(grad_program *p, const grad_id *in) {
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  return grad__sub(p, grad__matmul(p, scaled(p, u, s), vt, false, false), in[0]);
}
/* v exp(w) v': exp of a symmetric matrix, whatever the basis of equal eigenvalues */
static grad_id exp_by_eigh(grad_program *p, const grad_id *in) {
  grad_id w, v;
  grad__eigh(p, in[0], &w, &v);
  return grad__matmul(p, scaled(p, v, grad__op1(p, &grad__op_exp, w)), v, false, true);
}
static grad_id exp_symmetric(grad_program *p, const grad_id *in) {
  return grad__matrix_exp(p, grad__linalg_symmetric(p, "test", in[0]));
}
static grad_id unbalanced(grad_program *p, const grad_id *in) { /* depends on the basis of equal eigenvalues */
  const grad_id v = build_vectors(p, in);
  return grad__mul(p, v, grad__convert(p, grad__iota(p, GRAD_I64, 2, grad__type(p, v)->shape, 0), GRAD_F64));
}
static grad_id square_by_svd(grad_program *p, const grad_id *in) { /* a' a */
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  const grad_id v = grad__linalg_transpose(p, vt);
  return grad__matmul(p, scaled(p, v, grad__mul(p, s, s)), v, false, true);
}
static grad_id projector(grad_program *p, const grad_id *in) { /* onto the first two eigenvectors */
  const grad_id v = grad__slice(p, build_vectors(p, in), (int64_t[]){0, 0}, (int64_t[]){3, 2}, (int64_t[]){1, 1});
  return grad__matmul(p, v, v, false, true);
}
static grad_id polar(grad_program *p, const grad_id *in) {
  grad_id u, s, vt;
  grad__svd(p, in[0], &u, &s, &vt);
  return grad__matmul(p, u, vt, false, false);
}
static grad_id rebuild_cholesky(grad_program *p, const grad_id *in) {
  const grad_id l = grad__cholesky(p, in[0]);
  return grad__sub(p, grad__matmul(p, l, l, false, true), in[0]);
}
static grad_id round_trip(grad_program *p, const grad_id *in) {
  const grad_id product = grad__matmul(p, in[0], grad__inv(p, in[0]), false, false);
  return grad__sub(p, product, eye_like(p, product));
}

static double largest(const numbers *n) {
  double x = 0;
  for (int64_t i = 0; i < n->count; i++) x = fmax(x, fabs(n->x[i]));
  return x;
}

static bool has_nan(const numbers *n) {
  bool found = false;
  for (int64_t i = 0; i < n->count; i++) found |= isnan(n->x[i]) != 0;
  return found;
}

static numbers diagonal(int64_t n, const double *d) {
  numbers a = {.count = n * n};
  for (int64_t i = 0; i < n; i++) a.x[i * n + i] = d[i];
  return a;
}

static void test_values(void) {
  numbers out;
  for (int64_t m = 1; m <= 20; m += 3) {
    for (int64_t n = 1; n <= 20; n += 4) {
      const numbers a = random_like(m * n);
      check(evaluate(rebuild_qr, GRAD_F64, m, n, &a, &out) == GRAD_OK && largest(&out) < 1e-13);
      check(evaluate(rebuild_svd, GRAD_F64, m, n, &a, &out) == GRAD_OK && largest(&out) < 1e-13);
      check(evaluate(rebuild_svd, GRAD_F32, m, n, &a, &out) == GRAD_OK && largest(&out) < 1e-5);
      check(evaluate(rebuild_qr, GRAD_F32, m, n, &a, &out) == GRAD_OK && largest(&out) < 1e-5);
    }
    numbers a = random_like(m * m), want;
    check(evaluate(exp_by_eigh, GRAD_F64, m, m, &a, &out) == GRAD_OK);
    check(evaluate(exp_symmetric, GRAD_F64, m, m, &a, &want) == GRAD_OK);
    for (int64_t i = 0; i < out.count; i++) check_near(out.x[i], want.x[i], 1e-11);
    check(evaluate(exp_symmetric, GRAD_F32, m, m, &a, &out) == GRAD_OK);
    for (int64_t i = 0; i < out.count; i++) check(fabs(out.x[i] - want.x[i]) < 2e-5 * largest(&want));
    for (int64_t i = 0; i < m; i++) a.x[i * m + i] += 4;
    check(evaluate(round_trip, GRAD_F64, m, m, &a, &out) == GRAD_OK && largest(&out) < 1e-12);
    check(evaluate(round_trip, GRAD_F32, m, m, &a, &out) == GRAD_OK && largest(&out) < 1e-4);
  }
  numbers pd = {.x = {4, 2, 2, 3}, .count = 4};
  check(evaluate(rebuild_cholesky, GRAD_F64, 2, 2, &pd, &out) == GRAD_OK && largest(&out) < 1e-15);
  check(evaluate(build_cholesky, GRAD_F64, 2, 2, &pd, &out) == GRAD_OK && out.x[1] == 0);
  const numbers a = {.x = {0, 2, 3, 4}, .count = 4};
  check(evaluate(build_det, GRAD_F64, 2, 2, &a, &out) == GRAD_OK);
  check_near(out.x[0], -6, 1e-15);
  const numbers jordan = {.x = {2, 1, 0, 2}, .count = 4};
  check(evaluate(build_expm, GRAD_F64, 2, 2, &jordan, &out) == GRAD_OK);
  check_near(out.x[0], exp(2), 1e-14);
  check_near(out.x[1], exp(2), 1e-14);
  check(out.x[2] == 0);
}

static void test_degenerate(void) {
  numbers out;
  const numbers twice = diagonal(3, (const double[]){2, 2, 5}), identity = diagonal(3, (const double[]){1, 1, 1});
  check(gradient(square_by_svd, 3, 3, &identity, &out) == GRAD_ENONDIFF); /* true, but cannot be known */
  check(gradient(exp_by_eigh, 3, 3, &twice, &out) == GRAD_ENONDIFF);
  check(gradient(projector, 3, 3, &twice, &out) == GRAD_OK);
  /* d P for an eigenvector e3 and d A = e1 e3' + e3 e1': (e1 e3' + e3 e1') / (5 - 2); of the sum of P's entries */
  const double projected[] = {0, 0, -1.0 / 3, 0, 0, -1.0 / 3, -1.0 / 3, -1.0 / 3, 0};
  for (int64_t i = 0; i < 9; i++) check_near(out.x[i], projected[i], 1e-14);
  check(gradient(build_values, 3, 3, &twice, &out) == GRAD_OK);
  for (int64_t i = 0; i < 9; i++) check_near(out.x[i], i % 4 == 0, 1e-14);
  check(gradient(unbalanced, 3, 3, &identity, &out) == GRAD_ENONDIFF);
  check(strstr(grad_message(ctx), "equal eigenvalues") != NULL);
  check(second(exp_by_eigh, 3, &twice) == GRAD_ENONDIFF);
  /* u vt of the identity: the nearest orthogonal matrix; its derivative is the antisymmetric part, of a sum 0 */
  check(gradient(polar, 3, 3, &identity, &out) == GRAD_OK && largest(&out) < 1e-14);
  check(gradient(build_s, 3, 3, &identity, &out) == GRAD_OK);
  for (int64_t i = 0; i < 9; i++) check_near(out.x[i], i % 4 == 0, 1e-14);
  const numbers rank1 = {.x = {1, 2, 2, 4, 3, 6}, .count = 6};
  check(gradient(build_u, 3, 2, &rank1, &out) == GRAD_ENONDIFF);
  check(gradient(build_q, 3, 2, &rank1, &out) == GRAD_ENONDIFF && strstr(grad_message(ctx), "dependent"));
}

static grad_id lower_by_itself(grad_program *p, const grad_id *in) {
  return grad__triangular_solve(p, in[0], in[0], false, false);
}

static void test_narrow(void) {
  static const builder builders[] = {build_inv, build_det,    build_cholesky, build_q,    build_r,        build_u,
                                     build_s,   build_values, build_vectors,  build_expm, build_logdet_pd};
  for (size_t i = 0; i < sizeof builders / sizeof *builders; i++) {
    numbers a = random_like(9), wide, narrow;
    for (int64_t k = 0; k < 9; k += 4) a.x[k] += (double)k;
    check(gradient(builders[i], 3, 3, &a, &wide) == GRAD_OK);
    check(gradient_in(GRAD_F32, builders[i], 3, 3, &a, &narrow) == GRAD_OK);
    for (int64_t k = 0; k < 9; k++) check(fabs(wide.x[k] - narrow.x[k]) <= 2e-4 * (1 + largest(&wide)));
  }
}

static void test_singular(void) {
  numbers out;
  const numbers singular = {.x = {1, 2, 3, 2, 4, 6, 1, 0, 1}, .count = 9}; /* rank 2 */
  const numbers zero = {.count = 9}, negative = diagonal(3, (const double[]){1, -1, 2});
  check(evaluate(build_inv, GRAD_F64, 3, 3, &zero, &out) == GRAD_ESINGULAR && strstr(grad_message(ctx), "3 x 3"));
  check(evaluate(build_det, GRAD_F64, 3, 3, &zero, &out) == GRAD_OK && out.x[0] == 0);
  check(evaluate(build_logdet, GRAD_F64, 3, 3, &zero, &out) == GRAD_OK && isnan(out.x[0])); /* 0 * -Inf */
  check(evaluate(build_cholesky, GRAD_F64, 3, 3, &negative, &out) == GRAD_OK);              /* of a a' + 1 */
  check(evaluate(rebuild_cholesky, GRAD_F64, 3, 3, &negative, &out) == GRAD_ENOTPD);
  check(strstr(grad_message(ctx), "order 2") != NULL);
  check(gradient(build_det, 3, 3, &singular, &out) == GRAD_OK);
  const double cofactors[] = {4, 4, -4, -2, -2, 2, 0, 0, 0};
  for (int64_t i = 0; i < 9; i++) check_near(out.x[i], cofactors[i], 1e-13);
  check(gradient(build_det, 3, 3, &zero, &out) == GRAD_OK && largest(&out) == 0);
  check(second(build_det, 3, &zero) == GRAD_ESINGULAR);
  check(evaluate(lower_by_itself, GRAD_F64, 3, 3, &zero, &out) == GRAD_ESINGULAR &&
        strstr(grad_message(ctx), "entry 1"));
}

static grad_id lstsq_ones(grad_program *p, const grad_id *in) {
  const int64_t rows = grad__type(p, in[0])->shape[0];
  return grad__lstsq(p, in[0], grad__full(p, 1, GRAD_F64, 1, &rows));
}
static grad_id sign_of(grad_program *p, const grad_id *in) {
  grad_id sign, logabs;
  grad__slogdet(p, in[0], &sign, &logabs);
  return sign;
}
static grad_id plain_logdet(grad_program *p, const grad_id *in) { return grad__logdet(p, in[0]); }

static void test_corners(void) {
  static const builder square[] = {build_inv,     build_expm, build_cholesky, build_values,
                                   build_vectors, build_det,  build_s,        build_r};
  numbers out;
  const numbers none = {.count = 0}, nan2 = {.x = {1, (double)NAN, 2, 3}, .count = 4},
                inf2 = {.x = {1, 2, (double)INFINITY, 3}, .count = 4};
  for (size_t i = 0; i < sizeof square / sizeof *square; i++) {
    check(evaluate(square[i], GRAD_F64, 0, 0, &none, &out) == GRAD_OK);
    check(gradient(square[i], 0, 0, &none, &out) == GRAD_OK);
    const grad_status status = evaluate(square[i], GRAD_F64, 2, 2, &nan2, &out);
    check(status == GRAD_OK || (status == GRAD_ENOTPD && square[i] == build_cholesky));
    if (!status && !check(has_nan(&out))) fprintf(stderr, "  function %zu\n", i);
  }
  check(evaluate(build_det, GRAD_F64, 0, 0, &none, &out) == GRAD_OK && out.count == 1 && out.x[0] == 1);
  check(evaluate(build_expm, GRAD_F64, 2, 2, &inf2, &out) == GRAD_OK && isnan(out.x[0]));
  check(evaluate(build_values, GRAD_F32, 2, 2, &inf2, &out) == GRAD_OK && isnan(out.x[0]));
  check(evaluate(build_s, GRAD_F64, 3, 0, &none, &out) == GRAD_OK && out.count == 0);
  const numbers rank1 = {.x = {1, 2, 2, 4, 3, 6}, .count = 6}, four = random_like(4), six = random_like(6);
  check(evaluate(lstsq_ones, GRAD_F64, 3, 2, &rank1, &out) == GRAD_ESINGULAR && strstr(grad_message(ctx), "full rank"));
  check(evaluate(build_inv, GRAD_F64, 3, 2, &six, &out) == GRAD_ESHAPE && strstr(grad_message(ctx), "3 x 2"));
  check(evaluate(build_inv, GRAD_I64, 2, 2, &(numbers){.x = {2, 0, 0, 4}, .count = 4}, &out) == GRAD_OK);
  check(out.x[0] == 0.5 && out.x[3] == 0.25);
  check(evaluate(build_det, GRAD_F64, 2, 2, &four, &out) == GRAD_OK);
  check_near(out.x[0], four.x[0] * four.x[3] - four.x[1] * four.x[2], 1e-15);
  const numbers big = diagonal(3, (const double[]){1e200, -1e200, 1e-300});
  check(evaluate(build_det, GRAD_F64, 3, 3, &big, &out) == GRAD_OK);
  check_near(out.x[0], -1e100, 1e-12);
  check(evaluate(sign_of, GRAD_F64, 3, 3, &big, &out) == GRAD_OK && out.x[0] == -1);
  check(evaluate(plain_logdet, GRAD_F64, 3, 3, &big, &out) == GRAD_OK && isnan(out.x[0]));
}

static grad_status memory_task(grad_ctx *c, void *ud) {
  const function *const f = ud;
  grad_program *const p = program_of(f, c);
  if (!p) return c->status;
  grad_program *g = NULL;
  grad_array arrays[MAX_IN], results[MAX_IN] = {{0}};
  const grad_array *pointers[MAX_IN];
  srand(5);
  numbers x = point_of(f);
  grad_status status = p->status ? p->status : grad__ad_vjp(p, all_true, 1, &g);
  if (!status) {
    const numbers w = random_like(9);
    x = join(&x, &w);
    input_arrays(g, &x, arrays, pointers);
    status = grad__direct_run(g, pointers, NULL, results);
  }
  for (int i = 0; i < MAX_IN; i++) grad__array_release(&results[i]);
  grad__program_release(g);
  grad__program_release(p);
  return status;
}

int main(void) {
  check(grad_ctx_new(NULL, &ctx) == GRAD_OK);
  srand(1);
  test_derivatives();
  test_values();
  test_degenerate();
  test_narrow();
  test_singular();
  test_corners();
  check(ctx->used == 0);
  grad_ctx_free(ctx);
  function memory = {"inv", build_inv, 1, {{2, {3, 3}}}, 2};
  check_failing_alloc("inv", memory_task, &memory);
  memory = (function){"eigh", build_vectors, 1, {{2, {3, 3}}}, 0};
  check_failing_alloc("eigh", memory_task, &memory);
  return check_done();
}

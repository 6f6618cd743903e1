/* linalg_test.c: linear algebra: values by what defines them; the rules of every function (check_rules.h) away from
 * where they end; degenerate, singular, empty and non-finite matrices; failing memory. */
#include "check_alloc.h"
#include "check_rules.h"
#include "ops/linalg.h"

static grad_ctx *ctx;

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
  if (a == GRAD_NONE) return a;
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

/* A matrix is moved away from the singular ones by adding to its diagonal. */
static grad_id far(grad_program *p, grad_id a, double diagonal) {
  const grad_id eye = eye_like(p, a);
  return grad__add(p, a, grad__mul(p, eye, grad__lit(p, diagonal, eye)));
}
#define FAR(name, build, diagonal)                                                                                     \
  static grad_id name(grad_program *p, const grad_id *in) {                                                            \
    const grad_id moved[] = {far(p, in[0], diagonal), in[1]};                                                          \
    return build(p, moved);                                                                                            \
  }
FAR(far_solve, build_solve, 3)
FAR(far_lower, build_lower, 3)
FAR(far_upper, build_upper, 3)
FAR(far_upper_t, build_upper_t, 3)
FAR(far_expm, build_expm, 4)
static grad_id far_inv(grad_program *p, const grad_id *in) { return grad__inv(p, far(p, in[0], 3)); }

static const rules_case cases[] = {
    {"solve", far_solve, {"f33", "f32"}},
    {"solve, vector", far_solve, {"f44", "f4"}},
    {"solve, broadcast", far_solve, {"f22", "f221"}},
    {"solve, batch", far_solve, {"f222", "f21"}},
    {"inv", far_inv, {"f33"}},
    {"inv, batch", far_inv, {"f222"}},
    {"det", build_det, {"f33"}},
    {"slogdet", build_logdet, {"f233"}},
    {"logdet", build_logdet_pd, {"f33"}},
    {"triangular_solve, lower", far_lower, {"f33", "f32"}},
    {"triangular_solve, upper", far_upper, {"f33", "f3"}},
    {"triangular_solve, transposed", far_upper_t, {"f33", "f31"}},
    {"cholesky", build_cholesky, {"f33"}},
    {"cholesky_solve", build_cholesky_solve, {"f33", "f32"}},
    {"qr, q tall", build_q, {"f43"}},
    {"qr, r tall", build_r, {"f43"}},
    {"qr, q wide", build_q, {"f24"}},
    {"qr, r wide", build_r, {"f24"}},
    {"qr, q square", build_q, {"f33"}},
    {"lstsq, tall", build_lstsq, {"f42", "f41"}},
    {"lstsq, wide", build_lstsq, {"f23", "f2"}},
    {"svd, u tall", build_u, {"f42"}},
    {"svd, s tall", build_s, {"f43"}},
    {"svd, vt tall", build_vt, {"f42"}},
    {"svd, u wide", build_u, {"f23"}},
    {"svd, vt wide", build_vt, {"f24"}},
    {"svd, u square", build_u, {"f33"}},
    {"eigh, values", build_values, {"f33"}},
    {"eigh, vectors", build_vectors, {"f33"}},
    {"matrix_exp", build_expm, {"f33"}},
    {"matrix_exp, large", far_expm, {"f22"}},
};

/* --- a function of one m x n matrix, its status, value and gradient of the sum of its outputs */

enum { MAX_ELEMENTS = 1024 };
typedef struct numbers {
  double x[MAX_ELEMENTS];
  int64_t count;
} numbers;

static double random_number(void) { return (double)rand() / RAND_MAX * 2 - 1; }

static numbers random_like(int64_t count) {
  numbers n = {.count = count};
  for (int64_t i = 0; i < count; i++) n.x[i] = random_number();
  return n;
}

/* p's outputs from `first` on, end to end; every input has the values `in`. */
static grad_status run(grad_program *p, const numbers *in, int first, numbers *out) {
  check_arrays args = {0}, results;
  for (int32_t i = 0; i < p->ninputs; i++) {
    const grad_type *const t = grad__type(p, p->inputs[i]);
    check(grad__type_numel(t) == in->count);
    check_push(ctx, &args, GRAD_F64, t->ndim, t->shape, in->x);
  }
  const grad_status status = check_run(p, &args, NULL, &results);
  out->count = 0;
  for (int k = first; k < results.n; k++)
    for (int64_t i = 0; i < grad__array_numel(&results.a[k]); i++) out->x[out->count++] = check_get(&results.a[k], i);
  check_release(&args);
  check_release(&results);
  return status;
}

/* build of a matrix that is converted to dtype; of the sum of its results, the gradient, and a product with the Hessian
 * (along the matrix itself). */
typedef enum derivative { VALUE, GRADIENT, SECOND } derivative;

static grad_status compute(derivative order, grad_dtype dtype, builder build, int64_t m, int64_t n, const numbers *in,
                           numbers *out) {
  const bool wrt[] = {true};
  grad_program *p = check_new(ctx), *g = NULL, *h = NULL;
  const grad_id a = grad__convert(p, grad__program_input(p, GRAD_F64, 2, (int64_t[]){m, n}), dtype);
  const grad_id y = build(p, &a);
  const int ndim = y == GRAD_NONE ? 0 : grad__type(p, y)->ndim;
  grad__program_output(p, order == VALUE ? y : grad__sum(p, y, (1u << ndim) - 1, false));
  grad_status status = p->status;
  if (!status && order >= GRADIENT) status = grad__ad_grad(p, wrt, &g);
  if (!status && order == SECOND) status = grad__ad_jvp(g, wrt, &h);
  if (!status) status = run(h ? h : g ? g : p, in, order == GRADIENT, out);
  grad__program_release(p);
  grad__program_release(g);
  grad__program_release(h);
  return status;
}

static grad_status evaluate(builder build, grad_dtype dtype, int64_t m, int64_t n, const numbers *in, numbers *out) {
  return compute(VALUE, dtype, build, m, n, in, out);
}
static grad_status gradient(builder build, int64_t m, int64_t n, const numbers *in, numbers *out) {
  return compute(GRADIENT, GRAD_F64, build, m, n, in, out);
}
static grad_status second(builder build, int64_t n, const numbers *in) {
  numbers out;
  return compute(SECOND, GRAD_F64, build, n, n, in, &out);
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
    check(compute(GRADIENT, GRAD_F32, builders[i], 3, 3, &a, &narrow) == GRAD_OK);
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

int main(void) {
  ctx = check_open();
  srand(1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_rules(ctx, &cases[i], false);
  test_values();
  test_degenerate();
  test_narrow();
  test_singular();
  test_corners();
  check_close(ctx);
  static const rules_case inv = {"inv", far_inv, {"f33"}}, eigh = {"eigh", build_vectors, {"f33"}};
  check_failing_alloc("inv", rules_differentiate, (void *)(uintptr_t)&inv);
  check_failing_alloc("eigh", rules_differentiate, (void *)(uintptr_t)&eigh);
  return check_done();
}

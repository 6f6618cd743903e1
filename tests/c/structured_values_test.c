/* structured_values_test.c: values of the structured ops against plain loops, and at the places where people stumble:
 * nothing to reduce, NaN and infinity, ties, zeros, huge and tiny numbers, positions out of range. */
#include <float.h>

#include "check_program.h"
#include "ops/reduce.h"
#include "ops/structured.h"

/* doubles: <math.h> has them as floats */
#define INF __builtin_inf()
#define NOT_A_NUMBER __builtin_nan("")

typedef grad_id (*build_fn)(grad_program *p, const grad_id *x);
#define BUILD(name, body)                                                                                              \
  static grad_id name(grad_program *p, const grad_id *x) { return body; }

/* Runs build on the arrays; the outputs are y (and, with slope, the gradient of sum(y) in the first input). */
static grad_status run(grad_ctx *ctx, build_fn build, const check_arrays *in, bool slope, check_arrays *out) {
  grad_program *p = NULL, *g = NULL;
  out->n = 0;
  if (!check(grad__program_new(ctx, &p) == GRAD_OK)) return GRAD_ENOMEM;
  grad_id x[4];
  bool wrt[4] = {true};
  for (int i = 0; i < in->n; i++) x[i] = grad__program_input(p, in->a[i].dtype, in->a[i].ndim, in->a[i].shape);
  grad_id y = build(p, x);
  grad__program_output(p, y);
  if (slope && y != GRAD_NONE) p->outputs[0] = grad__sum(p, y, grad__all_axes(grad__ndim(p, y)), false);
  grad_status status = p->status;
  if (!status && slope) status = grad__ad_grad(p, wrt, &g);
  if (!status) status = check_run(g ? g : p, in, NULL, out);
  grad__program_release(g);
  grad__program_release(p);
  return status;
}

static bool same(double got, double want, double tolerance) {
  return got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance * (1 + fabs(want));
}

static void expect(const char *name, const grad_array *got, int64_t n, const double *want) {
  bool good = check(grad__array_numel(got) == n);
  for (int64_t i = 0; good && i < n; i++) {
    good = check(same(check_get(got, i), want[i], 1e-14));
    if (!good) fprintf(stderr, "  %s: element %d is %.17g, not %.17g\n", name, (int)i, check_get(got, i), want[i]);
  }
}

/* y, and the gradient of sum(y) when given, for one f64 input. */
static void values(grad_ctx *ctx, const char *name, build_fn build, int ndim, const int64_t *shape, const double *x,
                   int64_t ny, const double *y, const double *slope) {
  check_arrays in = {0}, out = {0};
  check_push(ctx, &in, GRAD_F64, ndim, shape, x);
  if (check(run(ctx, build, &in, false, &out) == GRAD_OK))
    expect(name, &out.a[0], ny, y);
  else
    fprintf(stderr, "  %s: %s\n", name, grad_message(ctx));
  check_release(&out);
  if (slope && check(run(ctx, build, &in, true, &out) == GRAD_OK))
    expect(name, &out.a[1], grad__array_numel(&in.a[0]), slope);
  check_release(&out);
  check_release(&in);
}

/* What must be refused: the status, and a word of the message. */
static void refused(grad_ctx *ctx, build_fn build, const check_arrays *in, grad_status status, const char *word) {
  check_arrays out = {0};
  check(run(ctx, build, in, false, &out) == status);
  if (!check(strstr(grad_message(ctx), word) != NULL))
    fprintf(stderr, "  \"%s\" does not say \"%s\"\n", grad_message(ctx), word);
  check_release(&out);
}

#define N1(n) ((const int64_t[]){n})
#define D(...) ((const double[]){__VA_ARGS__})

/* --- reductions against loops, over sizes around every block length, layouts and dtypes */

static double loop_reduce(const grad_array *x, int kept_axis, int64_t k, char kind) {
  double r = kind == '+' ? 0 : kind == '*' ? 1 : kind == '>' ? -INF : INF;
  for (int64_t i = 0; i < x->shape[1 - kept_axis]; i++) {
    const int64_t index[] = {kept_axis == 0 ? k : i, kept_axis == 0 ? i : k};
    const double v = grad__array_get(x, index);
    r = kind == '+' ? r + v : kind == '*' ? r * v : kind == '>' ? fmax(r, v) : fmin(r, v);
  }
  return r;
}

static void reduce_once(grad_ctx *ctx, const grad_array *x, int axis) {
  static const grad_reduction kinds[] = {GRAD_REDUCE_SUM, GRAD_REDUCE_PROD, GRAD_REDUCE_MAX, GRAD_REDUCE_MIN};
  const double precision = x->dtype == GRAD_F32 ? 2e-5 : 1e-13;
  for (int i = 0; i < 4; i++) {
    grad_array y = {0};
    if (!check(grad__array_new(ctx, x->dtype, 1, &x->shape[1 - axis], &y) == GRAD_OK)) return;
    check(grad__reduce_run(ctx, kinds[i], x, 1u << axis, &y) == GRAD_OK);
    bool good = true;
    for (int64_t k = 0; k < y.shape[0]; k++)
      good = good && same(check_get(&y, k), loop_reduce(x, 1 - axis, k, "+*><"[i]), precision);
    if (!check(good))
      fprintf(stderr, "  kind %d, %d x %d, dtype %d, axis %d\n", i, (int)x->shape[0], (int)x->shape[1], x->dtype, axis);
    grad__array_release(&y);
  }
}

static void test_reductions(grad_ctx *ctx) {
  static const int64_t extents[] = {1, 2, 7, 8, 15, 16, 17, 64, 65, 255, 256, 257, 600};
  uint64_t state = 5;
  for (int e = 0; e < 13; e++)
    for (int f = 0; f < 13; f += 3)
      for (int d = GRAD_I64; d <= GRAD_F64; d++) {
        const int64_t shape[] = {extents[e], extents[f]};
        check_arrays a = {0};
        grad_array *x = check_push(ctx, &a, (grad_dtype)d, 2, shape, NULL), view;
        for (int64_t i = 0; i < shape[0] * shape[1]; i++)
          check_set(x, i, d == GRAD_I64 ? check_uniform(&state) < 0.9 ? 1 : -1 : 0.9 + 0.2 * check_uniform(&state));
        for (int axis = 0; axis < 2; axis++) {
          reduce_once(ctx, x, axis);
          grad__view_permute(x, (const int[]){1, 0}, &view);
          reduce_once(ctx, &view, axis);
          grad_array half;
          grad__view_slice(x, 1, shape[1] - 1, (shape[1] + 1) / 2, -2, &half);
          reduce_once(ctx, &half, axis);
        }
        check_release(&a);
      }
}

/* A sum of ten million tenths in f32: a plain loop is off by more than 8 %. */
static void test_pairwise(grad_ctx *ctx) {
  const int64_t shape[] = {1000, 10000};
  check_arrays a = {0};
  grad_array *x = check_push(ctx, &a, GRAD_F32, 2, shape, NULL), y = {0}, rows = {0};
  grad__array_fill(x, (double)0.1f);
  grad__array_new(ctx, GRAD_F32, 0, NULL, &y);
  grad__array_new(ctx, GRAD_F32, 1, shape + 1, &rows);
  check(grad__reduce_run(ctx, GRAD_REDUCE_SUM, x, 3, &y) == GRAD_OK);
  check_near(check_get(&y, 0), 1e7 * (double)0.1f, 1e-6);
  check(grad__reduce_run(ctx, GRAD_REDUCE_SUM, x, 1, &rows) == GRAD_OK);
  for (int64_t i = 0; i < shape[1]; i += 999) check_near(check_get(&rows, i), 1e3 * (double)0.1f, 1e-6);
  grad__array_release(&y);
  grad__array_release(&rows);
  check_release(&a);
}

BUILD(sum_all, grad__sum(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false))
BUILD(prod_all, grad__prod(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false))
BUILD(max_all, grad__max(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false))
BUILD(min_first, grad__min(p, x[0], 1, false))
BUILD(all_all, grad__all(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false))
BUILD(any_all, grad__any(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false))
BUILD(argmax_last, grad__arg_extremum(p, &grad__op_argmax, x[0], grad__ndim(p, x[0]) - 1))
BUILD(sum_no_axis, grad__sum(p, x[0], 1u << 3, false))

BUILD(sum_of_transposed, grad__sum(p, grad__swap_axes(p, x[0], 0, 1), 1, false))
BUILD(sum_of_permuted, grad__sum(p, grad__permute(p, x[0], ((const int[]){2, 0, 1})), 2, false))
BUILD(argmax_first, grad__arg_extremum(p, &grad__op_argmax, x[0], 0))
BUILD(argmin_first, grad__arg_extremum(p, &grad__op_argmin, x[0], 0))

static void test_reduce_corners(grad_ctx *ctx) {
  values(ctx, "sum of nothing", sum_all, 2, (const int64_t[]){0, 3}, NULL, 1, D(0), NULL);
  values(ctx, "prod of nothing", prod_all, 1, N1(0), NULL, 1, D(1), NULL);
  values(ctx, "all of nothing", all_all, 1, N1(0), NULL, 1, D(1), NULL);
  values(ctx, "any of nothing", any_all, 1, N1(0), NULL, 1, D(0), NULL);
  values(ctx, "any", any_all, 1, N1(3), D(0, NOT_A_NUMBER, 0), 1, D(1), NULL);
  values(ctx, "sum of a number", sum_all, 0, NULL, D(5), 1, D(5), D(1));
  values(ctx, "prod with one zero", prod_all, 1, N1(3), D(2, 0, 5), 1, D(0), D(0, 10, 0));
  values(ctx, "prod with two zeros", prod_all, 1, N1(3), D(2, 0, 0), 1, D(0), D(0, 0, 0));
  values(ctx, "max with ties", max_all, 1, N1(4), D(3, 1, 3, 3), 1, D(3), D(1. / 3, 0, 1. / 3, 1. / 3));
  values(ctx, "max with NaN", max_all, 1, N1(3), D(3, NOT_A_NUMBER, 4), 1, D(NOT_A_NUMBER), NULL);
  values(ctx, "max of -inf", max_all, 1, N1(2), D(-INF, -INF), 1, D(-INF), NULL);
  values(ctx, "min", min_first, 2, (const int64_t[]){2, 2}, D(1, 5, 2, 5), 2, D(1, 5), D(1, 0.5, 0, 0.5));
  values(ctx, "argmax takes the first", argmax_last, 1, N1(4), D(1, 7, 7, 0), 1, D(1), NULL);
  const double six[] = {1, 2, 3, 4, 5, 6}, table[] = {1, NOT_A_NUMBER, 3, 7, 5, 3, 7, NOT_A_NUMBER, 9};
  values(ctx, "sum of a transposed value", sum_of_transposed, 2, (const int64_t[]){2, 3}, six, 2, D(6, 15), NULL);
  values(ctx, "sum of a permuted value", sum_of_permuted, 3, (const int64_t[]){2, 1, 3}, six, 3, D(5, 7, 9), NULL);
  values(ctx, "argmax of columns", argmax_first, 2, (const int64_t[]){3, 3}, table, 3, D(1, 0, 2), NULL);
  values(ctx, "argmin of columns", argmin_first, 2, (const int64_t[]){3, 3}, table, 3, D(0, 0, 0), NULL);
  values(ctx, "argmax finds NaN", argmax_last, 1, N1(4), D(1, NOT_A_NUMBER, 7, NOT_A_NUMBER), 1, D(1), NULL);
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_F64, 2, (const int64_t[]){0, 3}, NULL);
  refused(ctx, max_all, &in, GRAD_ESHAPE, "no elements");
  refused(ctx, sum_no_axis, &in, GRAD_EVALUE, "axis");
  check_release(&in);
}

/* d2/dxi dxj of a product with one zero: the product of the others. */
static void test_prod_second_order(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *g = NULL, *h = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, N1(3));
  grad__program_output(p, grad__prod(p, x, 1, false));
  check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK);
  check(grad__ad_jvp(g, (const bool[]){true}, &h) == GRAD_OK);
  check_arrays in = {0}, out = {0};
  check_push(ctx, &in, GRAD_F64, 1, N1(3), D(2, 0, 5));
  check_push(ctx, &in, GRAD_F64, 1, N1(3), D(1, 0, 0));
  if (check(check_run(h, &in, NULL, &out) == GRAD_OK)) expect("Hessian row of prod", &out.a[3], 3, D(0, 5, 0));
  check_release(&in);
  check_release(&out);
  grad__program_release(h);
  grad__program_release(g);
  grad__program_release(p);
}

/* --- norms, logsumexp, softmax, median */

BUILD(norm2, grad__norm(p, x[0], grad__all_axes(grad__ndim(p, x[0])), false, 2))
BUILD(norm3, grad__norm(p, x[0], 1, false, 3))
BUILD(norm0, grad__norm(p, x[0], 1, false, 0))
BUILD(norm_max, grad__norm(p, x[0], 1, false, INF))
BUILD(norm_negative, grad__norm(p, x[0], 1, false, -1))
BUILD(lse, grad__logsumexp(p, x[0], 1, false))
BUILD(softmax, grad__softmax(p, x[0], 0))
BUILD(log_softmax, grad__log_softmax(p, x[0], 0))
BUILD(median, grad__median(p, x[0], 1, false))
BUILD(var1, grad__var(p, x[0], 1, false, 1))
BUILD(std1, grad__std(p, x[0], 1, false, 1))

static void test_statistics(grad_ctx *ctx) {
  values(ctx, "norm", norm2, 1, N1(2), D(3, -4), 1, D(5), D(0.6, -0.8));
  values(ctx, "norm at 0", norm2, 1, N1(2), D(0, 0), 1, D(0), D(0, 0));
  values(ctx, "3-norm at 0", norm3, 1, N1(2), D(0, 0), 1, D(0), D(0, 0));
  values(ctx, "norm of huge numbers", norm2, 1, N1(2), D(3e300, 4e300), 1, D(5e300), D(0.6, 0.8));
  values(ctx, "norm of tiny numbers", norm2, 1, N1(2), D(3e-300, 4e-300), 1, D(5e-300), D(0.6, 0.8));
  values(ctx, "norm of infinity", norm2, 1, N1(2), D(1, -INF), 1, D(INF), NULL);
  values(ctx, "norm of NaN", norm2, 1, N1(2), D(1, NOT_A_NUMBER), 1, D(NOT_A_NUMBER), NULL);
  values(ctx, "norm of nothing", norm2, 1, N1(0), NULL, 1, D(0), NULL);
  values(ctx, "norm of a number", norm2, 0, NULL, D(-2), 1, D(2), D(-1));
  values(ctx, "0-norm", norm0, 1, N1(3), D(0, 2, -1), 1, D(2), NULL);
  values(ctx, "inf-norm", norm_max, 1, N1(3), D(1, -7, 2), 1, D(7), D(0, -1, 0));
  values(ctx, "logsumexp far out", lse, 1, N1(2), D(1000, 1000), 1, D(1000 + log(2)), D(0.5, 0.5));
  values(ctx, "logsumexp of -inf", lse, 1, N1(2), D(-INF, -INF), 1, D(-INF), D(0, 0));
  values(ctx, "logsumexp with -inf", lse, 1, N1(2), D(-INF, 3), 1, D(3), D(0, 1));
  values(ctx, "logsumexp with inf", lse, 1, N1(2), D(INF, 3), 1, D(INF), NULL);
  values(ctx, "logsumexp of nothing", lse, 1, N1(0), NULL, 1, D(-INF), NULL);
  values(ctx, "softmax far out", softmax, 1, N1(3), D(-1e300, 800, 800), 3, D(0, 0.5, 0.5), D(0, 0, 0));
  values(ctx, "log_softmax far out", log_softmax, 1, N1(2), D(1e4, 0), 2, D(0, -1e4), D(-1, 1));
  values(ctx, "median, odd", median, 1, N1(3), D(5, 1, 3), 1, D(3), D(0, 0, 1));
  values(ctx, "median, even", median, 1, N1(4), D(4, 1, 3, 2), 1, D(2.5), D(0, 0, 0.5, 0.5));
  values(ctx, "median with ties", median, 1, N1(5), D(2, 9, 2, 2, 0), 1, D(2), D(1. / 3, 0, 1. / 3, 1. / 3, 0));
  values(ctx, "median of huge numbers", median, 1, N1(2), D(DBL_MAX, DBL_MAX), 1, D(DBL_MAX), D(0.5, 0.5));
  values(ctx, "median with NaN", median, 1, N1(3), D(1, NOT_A_NUMBER, 2), 1, D(NOT_A_NUMBER), NULL);
  values(ctx, "var", var1, 1, N1(4), D(1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4), 1, D(5. / 3), D(-1, -1. / 3, 1. / 3, 1));
  values(ctx, "var of one", var1, 1, N1(1), D(3), 1, D(NOT_A_NUMBER), NULL);
  values(ctx, "std of equals", std1, 1, N1(2), D(3, 3), 1, D(0), D(0, 0));
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_F64, 1, N1(2), NULL);
  refused(ctx, norm_negative, &in, GRAD_EVALUE, "norm");
  check_release(&in);
}

/* --- order */

BUILD(sorted, grad__sort(p, x[0], 0, false, NULL))
BUILD(sorted_down, grad__sort(p, x[0], 0, true, NULL))
static grad_id order(grad_program *p, const grad_id *x) {
  grad_id positions;
  grad__sort(p, x[0], 0, false, &positions);
  return positions;
}
static grad_id order_down(grad_program *p, const grad_id *x) {
  grad_id positions;
  grad__sort(p, x[0], 0, true, &positions);
  return positions;
}
BUILD(top3, grad__topk(p, x[0], 3, 0, true, NULL))
BUILD(cumprod, grad__cumprod(p, x[0], 0))
BUILD(cumsum, grad__cumsum(p, x[0], 0))

static void test_order(grad_ctx *ctx) {
  const double x[] = {2, NOT_A_NUMBER, -1, INF, 2, -INF, 0, -0.0};
  values(ctx, "sort", sorted, 1, N1(8), x, 8, D(-INF, -1, 0, 0, 2, 2, INF, NOT_A_NUMBER), NULL);
  values(ctx, "sort is stable", order, 1, N1(8), x, 8, D(5, 2, 6, 7, 0, 4, 3, 1), NULL);
  values(ctx, "sort descending", sorted_down, 1, N1(8), x, 8, D(NOT_A_NUMBER, INF, 2, 2, 0, 0, -1, -INF), NULL);
  values(ctx, "descending is stable too", order_down, 1, N1(8), x, 8, D(1, 3, 0, 4, 6, 7, 2, 5), NULL);
  values(ctx, "topk", top3, 1, N1(5), D(1, 5, 2, 4, 3), 3, D(5, 4, 3), D(0, 1, 0, 1, 1));
  values(ctx, "cumsum", cumsum, 1, N1(3), D(1, 2, 3), 3, D(1, 3, 6), D(3, 2, 1));
  values(ctx, "cumprod with a zero", cumprod, 1, N1(4), D(2, 0, 3, 4), 4, D(2, 0, 0, 0), D(1, 2 + 6 + 24, 0, 0));
  values(ctx, "sort of nothing", sorted, 1, N1(0), NULL, 0, NULL, NULL);
  check_arrays in = {0}, out = {0};
  grad_array *big = check_push(ctx, &in, GRAD_I64, 1, N1(5000), NULL);
  uint64_t state = 3;
  for (int64_t i = 0; i < 5000; i++) check_set(big, i, floor(2000 * check_uniform(&state)) - 1000);
  if (check(run(ctx, sorted, &in, false, &out) == GRAD_OK)) {
    bool ordered = true;
    for (int64_t i = 1; i < 5000; i++) ordered = ordered && check_get(&out.a[0], i - 1) <= check_get(&out.a[0], i);
    check(ordered);
  }
  check_release(&out);
  if (check(run(ctx, order, &in, false, &out) == GRAD_OK)) {
    bool stable = true;
    for (int64_t i = 1; i < 5000; i++) {
      const int64_t a = (int64_t)check_get(&out.a[0], i - 1), b = (int64_t)check_get(&out.a[0], i);
      stable = stable && (check_get(big, a) < check_get(big, b) || (check_get(big, a) == check_get(big, b) && a < b));
    }
    check(stable);
  }
  check_release(&out);
  check_release(&in);
}

/* topk finds by other means, depending on k, what a full sort has in front: positions too, with many ties. */
static void test_topk(grad_ctx *ctx) {
  enum { N = 2000 };
  static const int64_t ks[] = {0, 1, 7, 32, 33, 300, 700, N};
  uint64_t state = 9;
  check_arrays in = {0};
  grad_array *x = check_push(ctx, &in, GRAD_F64, 1, N1(N), NULL);
  for (int64_t i = 0; i < N; i++) check_set(x, i, i == 77 ? NOT_A_NUMBER : floor(300 * check_uniform(&state)));
  for (int largest = 0; largest < 2; largest++)
    for (size_t c = 0; c < sizeof ks / sizeof *ks; c++) {
      grad_program *p = NULL;
      check_arrays out = {0};
      grad_id positions, order;
      if (!check(grad__program_new(ctx, &p) == GRAD_OK)) return;
      const grad_id v = grad__program_input(p, GRAD_F64, 1, N1(N));
      grad__program_output(p, grad__topk(p, v, ks[c], 0, largest, &positions));
      grad__program_output(p, grad__slice_axis(p, grad__sort(p, v, 0, largest, &order), 0, 0, ks[c], 1));
      grad__program_output(p, positions);
      grad__program_output(p, grad__slice_axis(p, order, 0, 0, ks[c], 1));
      if (check(check_run(p, &in, NULL, &out) == GRAD_OK))
        check(check_same_array(&out.a[0], &out.a[1], 0) && check_same_array(&out.a[2], &out.a[3], 0));
      check_release(&out);
      grad__program_release(p);
    }
  check_release(&in);
}

/* --- positions */

BUILD(take0, grad__take(p, x[0], x[1], 0))
BUILD(positions5, grad__positions(p, x[0], 5))
BUILD(labels5, grad__labels(p, x[0], 5))
BUILD(put0, grad__put_index(p, x[0], x[1], 0, x[2]))
BUILD(put_masked, grad__put_mask(p, x[0], x[1], x[2]))
BUILD(scatter0, grad__scatter_add(p, x[0], 0, x[1], x[2]))

static void three(grad_ctx *ctx, check_arrays *in, grad_dtype middle, const double *x, const double *at, int64_t n,
                  const double *v, int64_t nv) {
  check_release(in);
  check_push(ctx, in, GRAD_F64, 1, N1(4), x);
  check_push(ctx, in, middle, 1, &n, at);
  check_push(ctx, in, GRAD_F64, 1, &nv, v);
}

static void test_positions(grad_ctx *ctx) {
  check_arrays in = {0}, out = {0};
  check_push(ctx, &in, GRAD_F64, 2, (const int64_t[]){3, 2}, D(1, 2, 3, 4, 5, 6));
  check_push(ctx, &in, GRAD_I64, 1, N1(2), D(2, 0));
  if (check(run(ctx, take0, &in, true, &out) == GRAD_OK)) expect("take's gradient", &out.a[1], 6, D(1, 1, 0, 0, 1, 1));
  check_release(&out);
  check_set(&in.a[1], 1, 3);
  refused(ctx, take0, &in, GRAD_EINDEX, "position 4 is outside axis 1, which has 3 elements");
  check_set(&in.a[1], 1, -1);
  refused(ctx, take0, &in, GRAD_EINDEX, "position 0 is outside");
  check_release(&in);

  check_push(ctx, &in, GRAD_I64, 1, N1(3), D(1, -1, 5));
  if (check(run(ctx, positions5, &in, false, &out) == GRAD_OK)) expect("positions", &out.a[0], 3, D(0, 4, 4));
  check_release(&out);
  check_set(&in.a[0], 1, 0);
  refused(ctx, positions5, &in, GRAD_EINDEX, "counts from 1");
  check_set(&in.a[0], 1, -6);
  refused(ctx, positions5, &in, GRAD_EINDEX, "position -6 is out of range");
  check_release(&in);

  check_push(ctx, &in, GRAD_F64, 1, N1(3), D(1, 5, 2));
  if (check(run(ctx, labels5, &in, false, &out) == GRAD_OK)) expect("labels", &out.a[0], 3, D(0, 4, 1));
  check_release(&out);
  check_set(&in.a[0], 2, NOT_A_NUMBER);
  refused(ctx, labels5, &in, GRAD_EVALUE, "row 3 is NaN");
  check_set(&in.a[0], 2, 2.5);
  refused(ctx, labels5, &in, GRAD_EVALUE, "2.5 in row 3 is not a whole number");
  check_set(&in.a[0], 2, 6);
  refused(ctx, labels5, &in, GRAD_EINDEX, "label 6 in row 3 is outside 1 to 5");
  check_set(&in.a[0], 2, -INF);
  refused(ctx, labels5, &in, GRAD_EINDEX, "row 3");
  check_release(&in);
}

/* The last axis of 2 x 3 x 4 read in a view, and added to from one, with 0, 1 and 2 axes that have positions of their
 * own. */
#define TURNED(x) grad__permute(p, x, (const int[]){2, 1, 0})
#define ALONG_LAST(lead)                                                                                               \
  BUILD(gather_lead##lead, grad__emit2(p, &grad__op_gather, TURNED(x[0]), x[1], 2, (const int64_t[]){2, lead}))        \
  BUILD(scatter_lead##lead, grad__emit2(p, &grad__op_scatter_add, TURNED(x[2]), x[1], 3, (const int64_t[]){2, lead, 4}))
ALONG_LAST(0)
ALONG_LAST(1)
ALONG_LAST(2)

static void test_leading_axes(grad_ctx *ctx) {
  enum { A = 2, B = 3, EXTENT = 4, N = 5 };
  static const build_fn gathers[] = {gather_lead0, gather_lead1, gather_lead2},
                        scatters[] = {scatter_lead0, scatter_lead1, scatter_lead2};
  for (int lead = 0; lead <= 2; lead++) {
    const int64_t shape[] = {A, B, N};
    check_arrays in = {0}, out = {0};
    check_push(ctx, &in, GRAD_F64, 3, (const int64_t[]){EXTENT, B, A}, NULL);
    check_push(ctx, &in, GRAD_I64, lead + 1, (const int64_t[][3]){{N}, {A, N}, {A, B, N}}[lead], NULL);
    check_push(ctx, &in, GRAD_F64, 3, (const int64_t[]){N, B, A}, NULL);
    for (int i = 0; i < EXTENT * B * A; i++) check_set(&in.a[0], i, i * i);
    for (int64_t i = 0; i < grad__array_numel(&in.a[1]); i++) check_set(&in.a[1], i, (double)(i * 7 % EXTENT));
    for (int i = 0; i < N * B * A; i++) check_set(&in.a[2], i, 1 + i);
    double read[A * B * N], added[A * B * EXTENT] = {0};
    for (int i = 0; i < A * B * N; i++) {
      const int64_t a = i / (B * N), b = i / N % B, k = i % N;
      const int64_t at = (int64_t)check_get(&in.a[1], lead == 0 ? k : lead == 1 ? a * N + k : i);
      read[i] = check_get(&in.a[0], (at * B + b) * A + a);
      added[(a * B + b) * EXTENT + at] += check_get(&in.a[2], (k * B + b) * A + a);
    }
    if (check(run(ctx, gathers[lead], &in, false, &out) == GRAD_OK)) {
      check(grad__shape_equal(out.a[0].ndim, out.a[0].shape, 3, shape));
      expect("gather along the last axis", &out.a[0], A * B * N, read);
    }
    check_release(&out);
    if (check(run(ctx, scatters[lead], &in, false, &out) == GRAD_OK))
      expect("scatter_add along the last axis", &out.a[0], A * B * EXTENT, added);
    check_release(&out);
    check_release(&in);
  }
}

static void test_updates(grad_ctx *ctx) {
  check_arrays in = {0}, out = {0};
  three(ctx, &in, GRAD_I64, D(1, 2, 3, 4), D(3, 0, 3), 3, D(7, 8, 9), 3);
  if (check(run(ctx, put0, &in, true, &out) == GRAD_OK)) expect("put: gradient in x", &out.a[1], 4, D(0, 1, 1, 0));
  check_release(&out);
  if (check(run(ctx, put0, &in, false, &out) == GRAD_OK))
    expect("put: the last of equal positions wins", &out.a[0], 4, D(8, 2, 3, 9));
  check_release(&out);
  if (check(run(ctx, scatter0, &in, false, &out) == GRAD_OK))
    expect("scatter_add: equal positions add up", &out.a[0], 4, D(9, 2, 3, 20));
  check_release(&out);
  three(ctx, &in, GRAD_BOOL, D(1, 2, 3, 4), D(0, 1, 0, 1), 4, D(7, 8), 2);
  if (check(run(ctx, put_masked, &in, false, &out) == GRAD_OK)) expect("put by mask", &out.a[0], 4, D(1, 7, 3, 8));
  check_release(&out);
  check_set(&in.a[1], 0, 1);
  refused(ctx, put_masked, &in, GRAD_ESHAPE, "3 true elements");
  three(ctx, &in, GRAD_BOOL, D(1, 2, 3, 4), D(0, 0, 0, 0), 4, NULL, 0);
  if (check(run(ctx, put_masked, &in, false, &out) == GRAD_OK))
    expect("put by empty mask", &out.a[0], 4, D(1, 2, 3, 4));
  check_release(&out);
  int64_t found[4];
  check_set(&in.a[1], 1, 1);
  check_set(&in.a[1], 3, 1);
  check(grad__mask_count(&in.a[1]) == 2);
  grad__mask_positions(&in.a[1], found);
  check(found[0] == 1 && found[1] == 3);
  check_release(&in);
}

/* --- einsum: what it refuses, in words */

BUILD(einsum_unknown, grad__einsum(p, "i->j", 1, x))
BUILD(einsum_count, grad__einsum(p, "i,i", 1, x))
BUILD(einsum_axes, grad__einsum(p, "ij", 1, x))
BUILD(einsum_twice, grad__einsum(p, "i->ii", 1, x))
BUILD(einsum_sign, grad__einsum(p, "i;j", 1, x))
BUILD(einsum_extent, grad__einsum(p, "i,i", 2, x))
BUILD(einsum_implicit, grad__einsum(p, "ba", 1, x))
BUILD(einsum_square, grad__einsum(p, "i,i->i", 2, (const grad_id[]){x[0], x[0]}))

static void test_einsum(grad_ctx *ctx) {
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_F64, 1, N1(3), D(1, 2, 3));
  refused(ctx, einsum_unknown, &in, GRAD_EVALUE, "stands in no operand");
  refused(ctx, einsum_count, &in, GRAD_EVALUE, "more terms than operands");
  refused(ctx, einsum_axes, &in, GRAD_ESHAPE, "names 2 axes");
  refused(ctx, einsum_twice, &in, GRAD_EVALUE, "twice");
  refused(ctx, einsum_sign, &in, GRAD_EVALUE, "expected letters");
  check_push(ctx, &in, GRAD_F64, 1, N1(4), NULL);
  refused(ctx, einsum_extent, &in, GRAD_ESHAPE, "labelled i, has extent 4; elsewhere it has 3");
  check_release(&in);
  values(ctx, "einsum, implicit output in alphabetical order", einsum_implicit, 2, (const int64_t[]){2, 3},
         D(1, 2, 3, 4, 5, 6), 6, D(1, 4, 2, 5, 3, 6), NULL);
  values(ctx, "einsum elementwise", einsum_square, 1, N1(2), D(3, 4), 2, D(9, 16), NULL);
}

/* --- draws */

BUILD(uniform, grad__random_uniform(p, x[0], 0, GRAD_F64, 1, N1(20001)))
BUILD(uniform_f32, grad__random_uniform(p, x[0], 0, GRAD_F32, 1, N1(20001)))
BUILD(uniform_later, grad__random_uniform(p, x[0], 10, GRAD_F64, 1, N1(20001)))
BUILD(normal, grad__random_normal(p, x[0], 0, GRAD_F64, 1, N1(20001)))
BUILD(dice, grad__random_integers(p, x[0], 0, 1, 6, 1, N1(20001)))
BUILD(any_integer, grad__random_integers(p, x[0], 0, INT64_MIN, INT64_MAX, 1, N1(8)))
BUILD(no_integer, grad__random_integers(p, x[0], 0, 1, 0, 1, N1(8)))
BUILD(permutation, grad__random_permutation(p, x[0], 0, 1000))

static void draw(grad_ctx *ctx, build_fn build, int64_t key, int64_t counter, check_arrays *out) {
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_I64, 1, N1(2), NULL);
  ((int64_t *)in.a[0].data)[0] = key;
  ((int64_t *)in.a[0].data)[1] = counter;
  check(run(ctx, build, &in, false, out) == GRAD_OK);
  check_release(&in);
}

/* The k-th moment of a draw. */
static double moment(const grad_array *a, int k) {
  double sum = 0;
  for (int64_t i = 0; i < grad__array_numel(a); i++) sum += pow(check_get(a, i), k);
  return sum / (double)grad__array_numel(a);
}

static void test_draws(grad_ctx *ctx) {
  check_arrays a = {0}, b = {0};
  draw(ctx, uniform, 7, 0, &a);
  check(fabs(moment(&a.a[0], 1) - 0.5) < 0.01 && fabs(moment(&a.a[0], 2) - 1. / 3) < 0.01);
  bool inside = true;
  for (int64_t i = 0; i < 20001; i++) inside = inside && check_get(&a.a[0], i) >= 0 && check_get(&a.a[0], i) < 1;
  check(inside);
  draw(ctx, uniform, 7, 0, &b);
  check(check_same_array(&a.a[0], &b.a[0], 0));
  check_release(&b);
  draw(ctx, uniform_f32, 7, 0, &b);
  bool close = true;
  for (int64_t i = 0; i < 20001; i++) {
    const double d = check_get(&a.a[0], i) - check_get(&b.a[0], i);
    close = close && d >= 0 && d < 0x1p-24;
  }
  check(close); /* the same draw, cut to 24 bits */
  check_release(&b);
  draw(ctx, uniform, 8, 0, &b);
  check(!check_same_array(&a.a[0], &b.a[0], 0));
  check_release(&b);
  draw(ctx, uniform_later, 7, 0, &b); /* ten blocks of two further on */
  for (int64_t i = 0; i < 100; i++) check(check_get(&a.a[0], i + 20) == check_get(&b.a[0], i));
  check_release(&b);
  check_release(&a);
  check(grad__random_blocks(&grad__op_random_uniform, 5) == 3 &&
        grad__random_blocks(&grad__op_random_permutation, 5) == 5);

  draw(ctx, normal, 7, 0, &a);
  check(fabs(moment(&a.a[0], 1)) < 0.03 && fabs(moment(&a.a[0], 2) - 1) < 0.04 && fabs(moment(&a.a[0], 4) - 3) < 0.3);
  check_release(&a);

  draw(ctx, dice, 7, 0, &a);
  int64_t count[7] = {0};
  for (int64_t i = 0; i < 20001; i++) {
    const int64_t v = (int64_t)check_get(&a.a[0], i);
    if (check(v >= 1 && v <= 6)) count[v]++;
  }
  for (int v = 1; v <= 6; v++) check(fabs((double)count[v] - 20001 / 6.0) < 250);
  check_release(&a);
  draw(ctx, any_integer, 7, 0, &a);
  check_release(&a);
  check_push(ctx, &b, GRAD_I64, 1, N1(2), NULL);
  refused(ctx, no_integer, &b, GRAD_EVALUE, "no integers from 1 to 0");
  check_release(&b);
  check_push(ctx, &b, GRAD_F64, 1, N1(2), NULL);
  refused(ctx, uniform, &b, GRAD_ESHAPE, "generator's state");
  check_release(&b);

  draw(ctx, permutation, 7, 0, &a);
  bool seen[1000] = {false};
  for (int64_t i = 0; i < 1000; i++) seen[(int64_t)check_get(&a.a[0], i)] = true;
  bool every = true;
  for (int i = 0; i < 1000; i++) every = every && seen[i];
  check(every && check_get(&a.a[0], 0) + check_get(&a.a[0], 1) + check_get(&a.a[0], 2) != 3);
  check_release(&a);
}

/* --- shapes: messages name both */

BUILD(broadcast_23, grad__broadcast(p, x[0], 2, (const int64_t[]){2, 3}))
BUILD(reshape_23, grad__reshape(p, x[0], 2, (const int64_t[]){2, 3}))
BUILD(slice_out, grad__slice_axis(p, x[0], 0, 3, 2, 1))
BUILD(concat_bad, grad__concat(p, 2, x, 0))
BUILD(matmul_bad, grad__matmul_any(p, x[0], x[1]))
BUILD(huge, grad__broadcast(p, x[0], 3, (const int64_t[]){INT64_C(1) << 31, INT64_C(1) << 31, 4}))

static void test_refusals(grad_ctx *ctx) {
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_F64, 1, N1(4), NULL);
  check_push(ctx, &in, GRAD_F64, 2, (const int64_t[]){2, 3}, NULL);
  refused(ctx, broadcast_23, &in, GRAD_ESHAPE, "shape 4 does not broadcast to 2 x 3");
  refused(ctx, reshape_23, &in, GRAD_ESHAPE, "(4 elements) does not fit into 2 x 3 (6 elements)");
  refused(ctx, slice_out, &in, GRAD_EINDEX, "axis 1");
  refused(ctx, concat_bad, &in, GRAD_ESHAPE, "part 2");
  refused(ctx, matmul_bad, &in, GRAD_ESHAPE, "shapes 4 and 2 x 3");
  refused(ctx, huge, &in, GRAD_ESHAPE, "memory");
  check_release(&in);
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_reductions(ctx);
  test_pairwise(ctx);
  test_reduce_corners(ctx);
  test_prod_second_order(ctx);
  test_statistics(ctx);
  test_order(ctx);
  test_topk(ctx);
  test_positions(ctx);
  test_leading_axes(ctx);
  test_updates(ctx);
  test_einsum(ctx);
  test_draws(ctx);
  test_refusals(ctx);
  check_close(ctx);
  return check_done();
}

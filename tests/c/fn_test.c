/* fn_test.c: the drivers: pullbacks, Jacobians, Hessians, products with them, sparse derivatives, the gradient check,
 * the plan cache. */
#include "check_alloc.h"
#include "check_program.h"
#include "ad/control.h"
#include "fn/cache.h"
#include "fn/sparse.h"

static const int64_t three[] = {3}, two_three[] = {2, 3};
static const double at_x[] = {0.3, -1.1, 2.0}, at_a[] = {1, 2, 3, -4, 0.5, 6};

static void expect(const grad_array *got, int ndim, const int64_t *shape, const double *want) {
  if (!check(grad__shape_equal(got->ndim, got->shape, ndim, shape))) return;
  for (int64_t i = 0; i < grad__array_numel(got); i++) check_near(check_get(got, i), want[i], 1e-12);
}

/* y = a sin(x) (2), z = x^2 (3), for x (3), a (2 x 3) */
static grad_program *map_sample(grad_ctx *ctx) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three), a = grad__program_input(p, GRAD_F64, 2, two_three);
  const grad_id column = grad__reshape(p, grad__op1(p, &grad__op_sin, x), 2, (const int64_t[]){3, 1});
  grad__program_output(p, grad__reshape(p, grad__matmul(p, a, column, false, false), 1, (const int64_t[]){2}));
  grad__program_output(p, grad__op1(p, &grad__op_square, x));
  return p;
}

static void map_point(grad_ctx *ctx, check_arrays *in) {
  memset(in, 0, sizeof *in);
  check_push(ctx, in, GRAD_F64, 1, three, at_x);
  check_push(ctx, in, GRAD_F64, 2, two_three, at_a);
}

/* f = sum(x^3 y) + k prod-like coupling x1 x2 x3: Hessian known */
static grad_program *number_sample(grad_ctx *ctx) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, three), y = grad__program_input(p, GRAD_F64, 1, three);
  const grad_id cubes = grad__mul(p, grad__mul(p, grad__mul(p, x, x), x), y);
  const grad_id coupling = grad__mul(p, grad__scalar(p, GRAD_F64, 0), grad__reduce(p, &grad__op_prod, x, 1, false));
  grad__program_output(p, grad__add(p, grad__sum(p, cubes, 1, false), coupling));
  return p;
}

static const double at_y[] = {1.5, 0.2, -0.7}, k[] = {2};

static void number_point(grad_ctx *ctx, check_arrays *in) {
  memset(in, 0, sizeof *in);
  check_push(ctx, in, GRAD_F64, 1, three, at_x);
  check_push(ctx, in, GRAD_F64, 1, three, at_y);
}

static void number_hessian(double *h) {
  const double *x = at_x, *y = at_y;
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) h[3 * i + j] = i == j ? 6 * x[i] * y[i] : k[0] * x[3 - i - j];
  }
}

static void test_jacobian(grad_ctx *ctx, grad_jacobian_mode mode, grad_jacobian_mode expected) {
  grad_program *p = map_sample(ctx), *j = NULL;
  grad_jacobian_mode used = GRAD_JACOBIAN_AUTO;
  const bool both[] = {true, true};
  if (!check(grad__fn_jacobian(p, both, both, mode, &j, &used) == GRAD_OK)) return;
  check(used == expected && j->noutputs == 6 && grad__verify(j) == GRAD_OK);
  check_arrays in, out;
  map_point(ctx, &in);
  if (check(check_run(j, &in, NULL, &out) == GRAD_OK)) {
    double yx[6], ya[12] = {0}, zx[9] = {0}, za[18] = {0};
    for (int i = 0; i < 6; i++) yx[i] = at_a[i] * cos(at_x[i % 3]);
    for (int i = 0; i < 2; i++) {
      for (int c = 0; c < 3; c++) ya[i * 6 + i * 3 + c] = sin(at_x[c]);
    }
    for (int i = 0; i < 3; i++) zx[4 * i] = 2 * at_x[i];
    expect(&out.a[2], 2, two_three, yx);
    expect(&out.a[3], 3, (const int64_t[]){2, 2, 3}, ya);
    expect(&out.a[4], 2, (const int64_t[]){3, 3}, zx);
    expect(&out.a[5], 3, (const int64_t[]){3, 2, 3}, za);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(j);
  grad__program_release(p);
}

static void test_auto(grad_ctx *ctx) {
  grad_program *p = map_sample(ctx), *j = NULL;
  grad_jacobian_mode used;
  check(grad__fn_jacobian(p, (const bool[]){true, false}, (const bool[]){true, false}, GRAD_JACOBIAN_AUTO, &j, &used) ==
        GRAD_OK);
  check(used == GRAD_JACOBIAN_REVERSE && j->noutputs == 3); /* 2 outputs, 3 inputs */
  grad__program_release(j);
  j = NULL;
  check(grad__fn_jacobian(p, (const bool[]){true, false}, (const bool[]){false, true}, GRAD_JACOBIAN_AUTO, &j, &used) ==
        GRAD_OK);
  check(used == GRAD_JACOBIAN_FORWARD);
  grad__program_release(j);
  grad__program_release(p);
}

static void test_vjp(grad_ctx *ctx) {
  grad_program *p = map_sample(ctx), *primal = NULL, *pullback = NULL;
  if (!check(grad__fn_vjp(p, (const bool[]){true, false}, 1, &primal, &pullback) == GRAD_OK)) return;
  const int32_t nres = primal->noutputs - 2;
  check(pullback->ninputs == nres + 1 && pullback->noutputs == 1);
  check_arrays in, first, second;
  map_point(ctx, &in);
  check(check_run(primal, &in, NULL, &first) == GRAD_OK);
  for (int round = 0; round < 2; round++) { /* a pullback may be called again */
    check_arrays args = {0};
    for (int32_t i = 0; i < nres; i++) args.a[args.n++] = first.a[2 + i];
    check_push(ctx, &args, GRAD_F64, 1, (const int64_t[]){2}, round ? (const double[]){0, 1} : (const double[]){1, 0});
    if (check(check_run(pullback, &args, NULL, &second) == GRAD_OK)) {
      double want[3];
      for (int i = 0; i < 3; i++) want[i] = at_a[3 * round + i] * cos(at_x[i]);
      expect(&second.a[0], 1, three, want);
      check_release(&second);
    }
    grad__array_release(&args.a[nres]);
  }
  check_release(&first);
  check_release(&in);
  grad__program_release(primal);
  grad__program_release(pullback);
  grad__program_release(p);
}

static void test_hessian(grad_ctx *ctx) {
  grad_program *p = number_sample(ctx), *h = NULL, *d = NULL, *hv = NULL;
  const bool both[] = {true, true}, first[] = {true, false};
  check(grad__fn_hessian(p, both, &h) == GRAD_OK && h->noutputs == 5);
  check(grad__fn_hessian_diag(p, first, &d) == GRAD_OK && d->noutputs == 2);
  check(grad__fn_hvp(p, first, &hv) == GRAD_OK && hv->noutputs == 2 && hv->ninputs == 3);
  check_arrays in, out;
  double full[9], cross[9] = {0}, zero[9] = {0}, diagonal[3], product[3];
  number_hessian(full);
  const double v[] = {1, -2, 0.5};
  for (int i = 0; i < 3; i++) {
    cross[4 * i] = 3 * at_x[i] * at_x[i];
    diagonal[i] = full[4 * i];
    product[i] = full[3 * i] * v[0] + full[3 * i + 1] * v[1] + full[3 * i + 2] * v[2];
  }
  number_point(ctx, &in);
  const int64_t square[] = {3, 3};
  if (check(check_run(h, &in, k, &out) == GRAD_OK)) {
    expect(&out.a[1], 2, square, full);
    expect(&out.a[2], 2, square, cross);
    expect(&out.a[3], 2, square, cross);
    expect(&out.a[4], 2, square, zero);
    check_release(&out);
  }
  if (check(check_run(d, &in, k, &out) == GRAD_OK)) {
    expect(&out.a[1], 1, three, diagonal);
    check_release(&out);
  }
  check_push(ctx, &in, GRAD_F64, 1, three, v);
  if (check(check_run(hv, &in, k, &out) == GRAD_OK)) {
    expect(&out.a[1], 1, three, product);
    check_release(&out);
  }
  check_release(&in);
  grad__program_release(h);
  grad__program_release(d);
  grad__program_release(hv);
  grad__program_release(p);
}

/* --- sparse */

/* Rosenbrock: sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2: tridiagonal Hessian. */
static grad_program *rosenbrock(grad_ctx *ctx, int64_t n) {
  grad_program *p = NULL;
  if (grad__program_new(ctx, &p)) return NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, &n);
  const int64_t count = n - 1, one = 1, zero = 0;
  const grad_id a = grad__slice(p, x, &zero, &count, &one), b = grad__slice(p, x, &one, &count, &one);
  const grad_id r = grad__sub(p, b, grad__mul(p, a, a)), s = grad__sub(p, grad__lit(p, 1, a), a);
  const grad_id each = grad__add(p, grad__mul(p, grad__lit(p, 100, r), grad__mul(p, r, r)), grad__mul(p, s, s));
  grad__program_output(p, grad__sum(p, each, 1, false));
  return p;
}

static void check_rosenbrock(const grad_sparse *s, const double *x, int64_t n) {
  const double *values = s->values.data;
  for (int64_t r = 0; r < n; r++) {
    for (int64_t e = s->pattern.indptr[r]; e < s->pattern.indptr[r + 1]; e++) {
      const int64_t c = s->pattern.col[e];
      double want = 0;
      if (c == r) want = (r > 0 ? 200 : 0) + (r < n - 1 ? 1200 * x[r] * x[r] - 400 * x[r + 1] + 2 : 0);
      if (c == r + 1) want = -400 * x[r];
      if (c == r - 1) want = -400 * x[c];
      if (fabs(values[e] - want) > 1e-9 * (1 + fabs(want))) check_near(values[e], want, 1e-9);
    }
  }
}

static void test_sparse_hessian(grad_ctx *ctx) {
  enum { N = 100000 };
  grad_program *p = rosenbrock(ctx, N);
  check_arrays in = {0};
  const int64_t n = N;
  double *x = check_push(ctx, &in, GRAD_F64, 1, &n, NULL)->data;
  for (int64_t i = 0; i < n; i++) x[i] = sin((double)i);
  const grad_array *args[] = {&in.a[0]};
  grad_sparse *s = NULL;
  if (check(grad__sparse_hessian(p, 0, args, NULL, &s) == GRAD_OK)) {
    check(s->pattern.nnz == 3 * n - 2 && s->nforward <= 4 && !s->nreverse);
    check_rosenbrock(s, x, n);
    for (int round = 0; round < 3; round++) {
      for (int64_t i = 0; i < n; i++) x[i] = cos((double)(i + round));
      check(grad__sparse_update(s, args, NULL) == GRAD_OK);
      check_rosenbrock(s, x, n);
    }
  }
  grad__sparse_free(s);
  check_release(&in);
  grad__program_release(p);
}

/* The sparse matrix equals the dense one, on programs with gathers, sums, broadcasts and concatenations. */
static void check_against_dense(grad_ctx *ctx, grad_program *p, bool hessian, grad_jacobian_mode mode,
                                const check_arrays *in) {
  grad_sparse *s = NULL;
  grad_program *d = NULL;
  const grad_array *args[CHECK_MOST];
  for (int32_t i = 0; i < in->n; i++) args[i] = &in->a[i];
  bool wrt[CHECK_MOST] = {true}, of[CHECK_MOST] = {true};
  grad_status status =
      hessian ? grad__sparse_hessian(p, 0, args, NULL, &s) : grad__sparse_jacobian(p, 0, 0, mode, 1, args, NULL, &s);
  if (!check(status == GRAD_OK)) {
    fprintf(stderr, "  %s\n", grad_message(ctx));
    return;
  }
  status = hessian ? grad__fn_hessian(p, wrt, &d) : grad__fn_jacobian(p, wrt, of, GRAD_JACOBIAN_FORWARD, &d, NULL);
  check_arrays out;
  grad_array dense = {0}, flat, product = {0};
  if (check(status == GRAD_OK) && check(check_run(d, in, NULL, &out) == GRAD_OK)) {
    check(grad__sparse_dense(s, &dense) == GRAD_OK);
    const grad_array *want = &out.a[p->noutputs];
    check(grad__array_numel(want) == grad__array_numel(&dense));
    for (int64_t i = 0; i < grad__array_numel(want); i++) check_near(check_get(&dense, i), check_get(want, i), 1e-12);
    flat = in->a[0];
    flat.ndim = 1;
    flat.shape[0] = s->pattern.cols;
    flat.strides[0] = 1;
    check(grad__sparse_matmul(s, &flat, &product) == GRAD_OK);
    for (int64_t r = 0; r < s->pattern.rows; r++) {
      double sum = 0;
      for (int64_t c = 0; c < s->pattern.cols; c++)
        sum += check_get(&dense, r * s->pattern.cols + c) * check_get(&flat, c);
      check_near(check_get(&product, r), sum, 1e-12);
    }
    check_release(&out);
  }
  grad__array_release(&dense);
  grad__array_release(&product);
  grad__sparse_free(s);
  grad__program_release(d);
}

static void test_sparse_programs(grad_ctx *ctx) {
  uint64_t state = 4000;
  const int64_t n = 12, m = 7;
  for (int round = 0; round < 12; round++) {
    grad_program *p = check_new(ctx);
    const grad_id x = grad__program_input(p, GRAD_F64, 1, &n), index = grad__program_input(p, GRAD_I64, 1, &m);
    grad_id v = grad__op1(p, &grad__op_sin, grad__take(p, x, index, 0));
    if (round % 2) v = grad__mul(p, v, grad__slice(p, x, (const int64_t[]){1}, &m, (const int64_t[]){1}));
    if (round % 3 == 1) v = grad__concat(p, 2, (const grad_id[]){v, x}, 0);
    if (round % 3 == 2) v = grad__scatter_add(p, x, 0, index, v);
    if (round % 4 == 3)
      v = grad__add(
          p, v,
          grad__sum(p, grad__slice(p, v, (const int64_t[]){0}, (const int64_t[]){2}, (const int64_t[]){1}), 1, true));
    const grad_id total = grad__sum(p, grad__mul(p, v, v), 1, false);
    grad__program_output(p, round < 6 ? v : total);
    check_arrays in = {0};
    check_push_random(ctx, &in, p, 0, 1, &state);
    grad_array *positions = check_push(ctx, &in, GRAD_I64, 1, &m, NULL);
    for (int64_t i = 0; i < m; i++) check_set(positions, i, floor(check_uniform(&state) * (double)n));
    if (round < 6) {
      check_against_dense(ctx, p, false, GRAD_JACOBIAN_FORWARD, &in);
      check_against_dense(ctx, p, false, GRAD_JACOBIAN_REVERSE, &in);
      check_against_dense(ctx, p, false, GRAD_JACOBIAN_AUTO, &in);
    } else {
      check_against_dense(ctx, p, true, GRAD_JACOBIAN_FORWARD, &in);
    }
    check_release(&in);
    grad__program_release(p);
  }
}

/* An arrow: the last column is full, and so is the last row of the Hessian; star colouring still needs few colours. */
static void test_arrow(grad_ctx *ctx) {
  const int64_t n = 40, count = 39;
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, &n);
  const grad_id body = grad__slice(p, x, (const int64_t[]){0}, &count, (const int64_t[]){1});
  const grad_id tip = grad__slice(p, x, &count, (const int64_t[]){1}, (const int64_t[]){1});
  const grad_id each = grad__mul(p, grad__op1(p, &grad__op_sin, body), grad__broadcast(p, tip, 1, &count));
  grad__program_output(p, grad__sum(p, each, 1, false));
  check_arrays in = {0};
  uint64_t state = 9;
  check_push_random(ctx, &in, p, 0, 1, &state);
  check_against_dense(ctx, p, true, GRAD_JACOBIAN_FORWARD, &in);
  grad_sparse *s = NULL;
  check(grad__sparse_hessian(p, 0, (const grad_array *const[]){&in.a[0]}, NULL, &s) == GRAD_OK && s->nforward == 2);
  grad__sparse_free(s);
  check_release(&in);
  grad__program_release(p);
}

/* --- gradcheck */

static grad_status wrong_jvp_infer(grad_infer *a) {
  a->out[0].dtype = a->in[0].dtype;
  a->out[0].ndim = a->in[0].ndim;
  memcpy(a->out[0].shape, a->in[0].shape, (size_t)a->in[0].ndim * sizeof(int64_t));
  return GRAD_OK;
}
static grad_status wrong_jvp_eval(const grad_eval *a) {
  grad__array_copy(a->out[0], a->in[0]);
  return GRAD_OK;
}
static void wrong_jvp(grad_jvp *a) { a->dy[0] = grad__mul(a->p, a->dx[0], grad__lit(a->p, 1.001, a->dx[0])); }

static void test_gradcheck(grad_ctx *ctx) {
  grad_program *p = number_sample(ctx), *m = map_sample(ctx), *bad = NULL;
  check_arrays in;
  number_point(ctx, &in);
  const grad_array *args[] = {&in.a[0], &in.a[1]};
  const bool both[] = {true, true};
  grad_check_report report;
  check(grad__fn_gradcheck(p, both, args, k, NULL, &report) == GRAD_OK);
  check(report.ok && report.checked == 6 && report.dual_ok && report.finite && report.nworst == 6);
  check(grad__fn_gradcheck(p, both, args, k, &(grad_check_options){.order = 2}, &report) == GRAD_OK);
  check(report.ok && report.checked == 36 && report.nworst == GRAD_CHECK_WORST);
  for (int order = 1; order <= 2; order++) {
    const grad_check_options reverse = {.order = order, .mode = GRAD_JACOBIAN_REVERSE};
    check(grad__fn_gradcheck(p, both, args, k, &reverse, &report) == GRAD_OK);
    check(report.ok && report.dual_ok && report.checked == (order == 1 ? 6 : 36));
  }
  check(report.worst[0].error >= report.worst[1].error);
  check(grad__fn_gradcheck(p, both, args, k, &(grad_check_options){.order = 3}, &report) == GRAD_EVALUE);
  check_release(&in);

  map_point(ctx, &in);
  check(grad__fn_gradcheck(m, both, args, NULL, NULL, &report) == GRAD_OK && report.ok && report.checked == 9 * 5);
  check(grad__fn_gradcheck(m, both, args, NULL, &(grad_check_options){.order = 2}, &report) == GRAD_OK);
  check(report.ok && report.checked == 9 * 9);

  const grad_op wrong = {
      .name = "wrong", .nin = 1, .nout = 1, .infer = wrong_jvp_infer, .eval = wrong_jvp_eval, .jvp = wrong_jvp};
  bad = check_new(ctx);
  const grad_id x = grad__program_input(bad, GRAD_F64, 1, three);
  grad__program_output(bad, grad__emit(bad, &wrong, 1, &x, 0, NULL));
  check(grad__fn_gradcheck(bad, both, args, NULL, NULL, &report) == GRAD_OK);
  check(!report.ok && report.failed == 3 && report.dual_ok);
  check_near(report.worst[0].analytic, 1.001, 1e-12);
  check_near(report.worst[0].numeric, 1, 1e-9);
  check(grad__fn_gradcheck(bad, both, args, NULL, &(grad_check_options){.mode = GRAD_JACOBIAN_REVERSE}, &report) ==
        GRAD_OK);
  check(!report.ok && report.failed == 3 && report.checked == 9);
  check_release(&in);
  grad__program_release(bad);
  grad__program_release(p);
  grad__program_release(m);
}

/* f32, and a kink: |x| at 0 has no derivative, which the differences show as 0 = 0, and sqrt at 0 as not finite. */
static void test_gradcheck_edges(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F32, 1, three);
  grad__program_output(p, grad__op1(p, &grad__op_exp, x));
  check_arrays in = {0};
  check_push(ctx, &in, GRAD_F32, 1, three, at_x);
  const grad_array *args[] = {&in.a[0]};
  grad_check_report report;
  check(grad__fn_gradcheck(p, (const bool[]){true}, args, NULL, NULL, &report) == GRAD_OK && report.ok);
  grad__program_output(p, grad__op1(p, &grad__op_sqrt, x));
  check(grad__fn_gradcheck(p, (const bool[]){true}, args, NULL, NULL, &report) == GRAD_OK);
  check(!report.ok && !report.finite); /* the second entry is negative */
  check_release(&in);
  grad__program_release(p);
}

/* --- cache */

static double run_cached(grad_cache *cache, grad_program *p, const grad_recipe *recipe, const check_arrays *in,
                         const double *scalars) {
  const grad_array *args[CHECK_MOST];
  for (int32_t i = 0; i < in->n; i++) args[i] = &in->a[i];
  grad_array out[8] = {{0}};
  if (!check(grad__cache_run(cache, p, recipe, args, scalars, out) == GRAD_OK)) return 0;
  const double got = check_get(&out[1], 2);
  for (int i = 0; i < 8; i++) grad__array_release(&out[i]);
  return got;
}

static void test_cache(grad_ctx *ctx) {
  grad_cache *cache = NULL;
  if (!check(grad__cache_new(ctx, 4, 0, &cache) == GRAD_OK)) return;
  check_arrays in;
  number_point(ctx, &in);
  const bool first[] = {true, false}, second[] = {false, true};
  grad_cache_stats stats;
  for (int round = 0; round < 5; round++) { /* equal traces, another number each time: one entry */
    grad_program *p = number_sample(ctx);
    const double number = round;
    const double got = run_cached(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_GRAD, .wrt = first}, &in, &number);
    check_near(got, 3 * at_x[2] * at_x[2] * at_y[2] + number * at_x[0] * at_x[1], 1e-13);
    grad__program_release(p);
  }
  grad__cache_stats(cache, &stats);
  check(stats.misses == 1 && stats.hits == 4 && stats.plans == 1 && stats.entries == 1 && stats.bytes > 0);
  grad_program *p = number_sample(ctx);
  check_near(run_cached(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_GRAD, .wrt = second}, &in, k), pow(at_x[2], 3),
             1e-13);
  run_cached(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_HESSIAN_DIAG, .wrt = first}, &in, k);
  run_cached(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_HESSIAN_DIAG, .wrt = second}, &in, k);
  grad_cached *kept = NULL;
  check(grad__cache_get(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_PULLBACK, .wrt = first, .count = 1}, &kept) ==
        GRAD_OK);
  grad__cache_stats(cache, &stats);
  check(stats.entries == 4 && stats.evictions == 1 && stats.misses == 5);
  check(grad__cached_program(kept, 0) && grad__cached_program(kept, 1));
  grad__cache_free(cache); /* what is held stays usable */
  grad_array out[16] = {{0}};
  check(grad__cached_run(kept, 0, (const grad_array *const[]){&in.a[0], &in.a[1]}, k, out) == GRAD_OK);
  for (int i = 0; i < 16; i++) grad__array_release(&out[i]);
  grad__cached_release(kept);
  check_release(&in);
  grad__program_release(p);
}

/* A program seen once runs directly; one with a loop of many steps is planned at once. */
static void test_first_plan(grad_ctx *ctx) {
  for (int64_t length = 1; length <= 1000; length *= 1000) {
    grad_program *p = NULL, *body = NULL;
    grad_cache *cache = NULL;
    grad_cache_stats stats = {0};
    bool good = check(grad__program_new(ctx, &p) == GRAD_OK) && check(grad__program_new(ctx, &body) == GRAD_OK);
    if (good && check(grad__cache_new(ctx, 0, 0, &cache) == GRAD_OK)) {
      const grad_id x = grad__program_input(body, GRAD_F64, 0, NULL);
      grad__program_output(body, grad__op1(body, &grad__op_cos, x));
      const grad_id init = grad__program_input(p, GRAD_F64, 0, NULL);
      grad_id out;
      grad__scan(p, &(grad_loop){.body = body, .ncarry = 1, .init = &init, .length = length}, &out);
      grad__program_output(p, out);
      check_arrays in = {0};
      check_push(ctx, &in, GRAD_F64, 0, NULL, (const double[]){1});
      grad_array y = {0};
      check(grad__cache_run(cache, p, &(grad_recipe){.kind = GRAD_RECIPE_RUN}, (const grad_array *const[]){&in.a[0]},
                            NULL, &y) == GRAD_OK);
      check_near(check_get(&y, 0), length == 1 ? cos(1) : 0.73908513321516064, 1e-15);
      grad__cache_stats(cache, &stats);
      check(stats.plans == (length > 1));
      grad__array_release(&y);
      check_release(&in);
    }
    grad__cache_free(cache);
    grad__program_release(body);
    grad__program_release(p);
  }
}

/* --- failing memory */

static grad_status drive_all(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *p = number_sample(ctx), *made[4] = {NULL};
  grad_status status = p ? p->status : ctx->status;
  const bool both[] = {true, true}, first[] = {true};
  if (!status) status = grad__fn_hessian(p, both, &made[0]);
  if (!status) status = grad__fn_hvp(p, both, &made[1]);
  if (!status) status = grad__fn_vjp(p, both, 1, &made[2], &made[3]);
  check_arrays in = {0};
  grad_array *x = check_push(ctx, &in, GRAD_F64, 1, three, at_x),
             *y = x ? check_push(ctx, &in, GRAD_F64, 1, three, at_y) : NULL;
  if (!y && !status) status = ctx->status;
  grad_check_report report;
  if (!status) status = grad__fn_gradcheck(p, both, (const grad_array *const[]){x, y}, k, NULL, &report);
  grad_program *r = status ? NULL : rosenbrock(ctx, 3);
  if (!status) status = r ? r->status : ctx->status;
  grad_sparse *s = NULL;
  if (!status) status = grad__sparse_hessian(r, 0, (const grad_array *const[]){x}, NULL, &s);
  grad_cache *cache = NULL;
  if (!status) status = grad__cache_new(ctx, 0, 0, &cache);
  for (int i = 0; i < 3 && !status; i++) {
    grad_array out[2] = {{0}};
    status = grad__cache_run(cache, r, &(grad_recipe){.kind = GRAD_RECIPE_GRAD, .wrt = first},
                             (const grad_array *const[]){x}, NULL, out);
    grad__array_release(&out[0]);
    grad__array_release(&out[1]);
  }
  grad__cache_free(cache);
  grad__sparse_free(s);
  grad__program_release(r);
  check_release(&in);
  for (int i = 0; i < 4; i++) grad__program_release(made[i]);
  grad__program_release(p);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_jacobian(ctx, GRAD_JACOBIAN_FORWARD, GRAD_JACOBIAN_FORWARD);
  test_jacobian(ctx, GRAD_JACOBIAN_REVERSE, GRAD_JACOBIAN_REVERSE);
  test_jacobian(ctx, GRAD_JACOBIAN_AUTO, GRAD_JACOBIAN_REVERSE);
  test_auto(ctx);
  test_vjp(ctx);
  test_hessian(ctx);
  test_sparse_hessian(ctx);
  test_sparse_programs(ctx);
  test_arrow(ctx);
  test_gradcheck(ctx);
  test_gradcheck_edges(ctx);
  test_cache(ctx);
  test_first_plan(ctx);
  check_close(ctx);
  check_failing_alloc("fn", drive_all, NULL);
  return check_done();
}

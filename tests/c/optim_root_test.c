/* Roots and fixed points; linear systems without a matrix. */
#include <stdlib.h>

#include "check.h"
#include "check_alloc.h"
#include "mgh.h"
#include "linalg/krylov.h"
#include "optim/root.h"

static grad_status system_f(void *user, const double *x, double *f) {
  ((const mgh_problem *)user)->residual(x, f);
  return GRAD_OK;
}
static grad_status system_jacobian(void *user, const double *x, double *j) {
  const mgh_problem *p = user;
  memset(j, 0, (size_t)(p->n * p->n) * sizeof *j);
  p->jacobian(x, j);
  return GRAD_OK;
}

static const char *const systems[] = {"rosenbrock",    "powell_bad", "helical",  "singular",    "rosenbrock_10",
                                      "almost_linear", "boundary",   "integral", "tridiagonal", "banded"};

static void check_systems(grad_ctx *ctx, grad_root_method method, bool with_jacobian, bool verbose) {
  for (int k = 0; k < MGH_COUNT; k++) {
    const mgh_problem *p = &mgh_problems[k];
    bool listed = false;
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) listed |= strcmp(systems[i], p->name) == 0;
    if (!listed) continue;
    double x[MGH_MAX], f[MGH_MAX], largest = 0;
    grad_root_options options;
    grad_root_result result = {0};
    grad_root_problem problem = {
        .n = p->n, .user = (void *)p, .f = system_f, .jacobian = with_jacobian ? system_jacobian : NULL};
    grad_root_defaults(&options);
    options.method = method;
    p->start(x);
    check(grad_root(ctx, &problem, &options, x, &result) == GRAD_OK);
    p->residual(x, f);
    for (int i = 0; i < p->n; i++) largest = fmax(largest, fabs(f[i]));
    check(largest == result.residual && result.converged == (largest <= 1e-10));
    if (verbose || !result.converged)
      printf("%-9s %-14s it %3lld f %4lld jac %3lld  %s\n", grad_root_method_name(method), p->name,
             (long long)result.iterations, (long long)result.evaluations.f, (long long)result.evaluations.jac,
             result.message);
    check(result.converged);
  }
}

static grad_status cosine(void *user, const double *x, double *g) {
  int64_t n = *(const int64_t *)user;
  for (int64_t i = 0; i < n; i++) g[i] = cos(x[i] + 0.1 * (double)i / (double)n) + 0.2 * x[(i + 1) % n];
  return GRAD_OK;
}
static grad_status no_root(void *user, const double *x, double *f) {
  (void)user;
  f[0] = x[0] * x[0] + 1;
  return GRAD_OK;
}
static grad_status logarithm(void *user, const double *x, double *f) {
  (void)user;
  f[0] = log(x[0]);
  return GRAD_OK;
}

static void check_fixed_point(grad_ctx *ctx) {
  int64_t n = 1000;
  double x[1000] = {0}, g[1000];
  grad_root_options options;
  grad_root_result fast = {0}, plain = {0};
  grad_root_problem problem = {.n = n, .user = &n, .f = cosine};
  grad_root_defaults(&options);
  check(grad_fixed_point(ctx, &problem, &options, x, &fast) == GRAD_OK);
  check(fast.converged);
  cosine(&n, x, g);
  for (int64_t i = 0; i < n; i += 37) check_near(g[i], x[i], 1e-9);
  memset(x, 0, sizeof x);
  options.memory = 0;
  options.max_iter = 60;
  check(grad_fixed_point(ctx, &problem, &options, x, &plain) == GRAD_OK);
  check(fast.iterations * 3 < 60 && !plain.converged);
}

static void check_failures(grad_ctx *ctx) {
  double x[1] = {0.7};
  grad_root_options options;
  grad_root_result result = {0};
  grad_root_problem problem = {.n = 1, .f = no_root};
  grad_root_defaults(&options);
  for (grad_root_method method = GRAD_ROOT_NEWTON; method <= GRAD_ROOT_ANDERSON; method++) {
    x[0] = 0.7;
    options.method = method;
    check(grad_root(ctx, &problem, &options, x, &result) == GRAD_OK);
    check(!result.converged && result.residual >= 1 && strstr(result.message, "not converged") != NULL);
  }
  problem.f = logarithm; /* Newton's first step from 10 ends at a negative x */
  for (grad_root_method method = GRAD_ROOT_NEWTON; method < GRAD_ROOT_ANDERSON; method++) {
    x[0] = 10;
    options.method = method;
    check(grad_root(ctx, &problem, &options, x, &result) == GRAD_OK);
    check(result.converged);
    check_near(x[0], 1, 1e-9);
  }
  x[0] = -1;
  check(grad_root(ctx, &problem, &options, x, &result) == GRAD_OK && result.failure == GRAD_FAILURE_NOT_FINITE);
  options.damping = 0;
  check(grad_root(ctx, &problem, &options, x, &result) == GRAD_EVALUE);
}

enum { SIZE = 60 };
typedef struct matrix {
  double a[SIZE][SIZE];
} matrix;
static grad_status multiply(void *user, const double *x, double *out) {
  const matrix *m = user;
  for (int i = 0; i < SIZE; i++) {
    out[i] = 0;
    for (int j = 0; j < SIZE; j++) out[i] += m->a[i][j] * x[j];
  }
  return GRAD_OK;
}

typedef grad_status (*krylov_fn)(grad_ctx *, int64_t, grad_operator, void *, const double *, double *,
                                 const grad_krylov_options *, grad_krylov_result *);

static void check_krylov(grad_ctx *ctx, krylov_fn solve, double shift, double skew,
                         const grad_krylov_options *options) {
  static matrix m;
  double x[SIZE] = {0}, b[SIZE], out[SIZE], worst = 0;
  grad_krylov_result result = {0};
  for (int i = 0; i < SIZE; i++) {
    b[i] = sin(i + 1.0);
    for (int j = 0; j < SIZE; j++)
      m.a[i][j] = 1 / (1.0 + abs(i - j)) + (i == j ? shift + 0.3 * i : 0) + (i < j ? skew : i > j ? -skew : 0);
  }
  check(solve(ctx, SIZE, multiply, &m, b, x, options, &result) == GRAD_OK);
  multiply(&m, x, out);
  for (int i = 0; i < SIZE; i++) worst = fmax(worst, fabs(out[i] - b[i]));
  check(result.converged && worst < 1e-8);
  if (worst >= 1e-8) fprintf(stderr, "  %g after %lld\n", worst, (long long)result.iterations);
}

static grad_status task(grad_ctx *ctx, void *ud) {
  (void)ud;
  static const mgh_problem *p = &mgh_problems[0];
  double x[2] = {-1.2, 1}, b[2] = {1, 2}, y[2] = {0, 0};
  grad_root_options options;
  grad_root_problem problem = {.n = 2, .user = (void *)p, .f = system_f};
  grad_krylov_result result;
  grad_root_defaults(&options);
  grad_status status = grad_root(ctx, &problem, &options, x, NULL);
  options.method = GRAD_ROOT_ANDERSON;
  if (status == GRAD_OK) status = grad_root(ctx, &problem, &options, x, NULL);
  if (status == GRAD_OK) status = grad_krylov_gmres(ctx, 2, system_f, (void *)p, b, y, NULL, &result);
  return status;
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  grad_ctx *ctx = check_open();
  for (grad_root_method method = GRAD_ROOT_NEWTON; method < GRAD_ROOT_ANDERSON; method++)
    check_systems(ctx, method, true, verbose);
  check_systems(ctx, GRAD_ROOT_HYBRID, false, verbose);
  check_fixed_point(ctx);
  check_failures(ctx);
  check_krylov(ctx, grad_krylov_cg, 2, 0, NULL);
  check_krylov(ctx, grad_krylov_minres, -7.3, 0, NULL);
  check_krylov(ctx, grad_krylov_gmres, -7.3, 0.4, &(grad_krylov_options){.restart = SIZE});
  check_krylov(ctx, grad_krylov_gmres, 2, 0.4, NULL);
  check_failing_alloc("root", task, NULL);
  grad_ctx_free(ctx);
  return check_done();
}

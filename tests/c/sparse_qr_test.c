/* The sparse QR beside the dense one, on patterns of every kind; least squares with a sparse Jacobian beside a dense
 * one. */
#include "optim/sparse_qr.h"

#include <stdlib.h>

#include "check.h"
#include "check_alloc.h"
#include "optim/dense.h"
#include "optim/least_squares.h"

enum { M_MAX = 60, N_MAX = 24 };

/* A matrix in full, from which pattern and entries are taken. */
typedef struct matrix {
  int64_t m, n;
  double full[M_MAX * N_MAX], values[M_MAX * N_MAX], rhs[M_MAX];
  int64_t starts[M_MAX + 1], columns[M_MAX * N_MAX];
} matrix;

static double draw(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0 - 0.5;
}

typedef bool (*shape_fn)(int64_t i, int64_t j, uint64_t *state);
static bool random_shape(int64_t i, int64_t j, uint64_t *state) { return (void)i, (void)j, draw(state) < -0.35; }
static bool band(int64_t i, int64_t j, uint64_t *state) { return (void)state, i / 2 >= j - 1 && i / 2 <= j + 1; }
static bool arrow(int64_t i, int64_t j, uint64_t *state) { return (void)state, j == 0 || i % (N_MAX - 1) == j - 1; }
static bool full_shape(int64_t i, int64_t j, uint64_t *state) { return (void)i, (void)j, (void)state, true; }
static bool blocks(int64_t i, int64_t j, uint64_t *state) { return (void)state, i % 4 == j % 4; }
static bool dense_row(int64_t i, int64_t j, uint64_t *state) { return (void)state, i == 7 || i % N_MAX == j; }

static void make(matrix *a, int64_t m, int64_t n, shape_fn shape, uint64_t *state) {
  *a = (matrix){.m = m, .n = n};
  int64_t at = 0;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      if (!shape(i, j, state)) continue;
      a->full[i * n + j] = a->values[at] = draw(state);
      a->columns[at++] = j;
    }
    a->starts[i + 1] = at;
    a->rhs[i] = draw(state);
  }
}

/* Solution and inv(A'A)'s diagonal by the dense QR of A with the rows of `diagonal` below it; the rank. */
static int64_t dense_way(const matrix *a, const double *diagonal, double *x, double *variances) {
  static double columns[(M_MAX + N_MAX) * N_MAX];
  double tau[N_MAX], norm[N_MAX], pivot[N_MAX], b[M_MAX + N_MAX] = {0}, unit[N_MAX];
  int64_t n = a->n, height = a->m + n;
  vec_fill(height * n, 0, columns);
  for (int64_t j = 0; j < n; j++) {
    for (int64_t i = 0; i < a->m; i++) columns[j * height + i] = a->full[i * n + j];
    columns[j * height + a->m + j] = diagonal ? diagonal[j] : 0;
  }
  grad__qr qr = {.m = height, .n = n, .columns = columns, .tau = tau, .norm = norm, .pivot = pivot};
  grad__qr_factor(&qr);
  const int64_t rank = grad__qr_rank(&qr, 1e-12);
  vec_copy(a->m, a->rhs, b);
  grad__qr_project(&qr, b);
  grad__qr_back(&qr, rank, b);
  for (int64_t j = 0; j < n; j++) x[(int64_t)pivot[j]] = b[j];
  for (int64_t j = 0; j < n; j++) {
    vec_fill(n, 0, unit);
    unit[j] = 1;
    grad__qr_back_transposed(&qr, rank, unit);
    variances[(int64_t)pivot[j]] = vec_dot(n, unit, unit);
  }
  return rank;
}

static double residual(const matrix *a, const double *x) {
  double sum = 0;
  for (int64_t i = 0; i < a->m; i++) {
    double r = vec_dot(a->n, a->full + i * a->n, x) - a->rhs[i];
    sum += r * r;
  }
  return sum;
}

static void compare(grad_ctx *ctx, const matrix *a, const double *diagonal) {
  double want[N_MAX], want_variances[N_MAX], x[N_MAX], variances[N_MAX], gram[N_MAX], again[N_MAX];
  grad__sparse_qr *s = NULL;
  if (!check(grad__sparse_qr_new(ctx, a->m, a->n, a->starts, a->columns, &s) == GRAD_OK)) return;
  const grad__sparse_matrix matrix = {.values = a->values, .diagonal = diagonal};
  const int64_t rank = grad__sparse_qr_factor(s, &matrix, a->rhs);
  grad__sparse_qr_solve(s, x);
  check(rank == dense_way(a, diagonal, want, want_variances));
  check(grad__sparse_qr_variances(s, variances) == GRAD_OK);
  if (rank == a->n) {
    for (int64_t j = 0; j < a->n; j++) {
      check_near(x[j], want[j], 1e-9);
      check_near(variances[j], want_variances[j], 1e-9);
    }
    vec_fill(a->n, 0, gram); /* A'A x + D^2 x, from which inv(R'R) must lead back */
    for (int64_t i = 0; i < a->m; i++) vec_axpy(a->n, vec_dot(a->n, a->full + i * a->n, x), a->full + i * a->n, gram);
    for (int64_t j = 0; diagonal && j < a->n; j++) gram[j] += diagonal[j] * diagonal[j] * x[j];
    grad__sparse_qr_normal(s, gram, again);
    for (int64_t j = 0; j < a->n; j++) check_near(again[j], x[j], 1e-8);
    const double half = grad__sparse_qr_half_norm(s, gram);
    check_near(half * half, vec_dot(a->n, gram, again), 1e-9);
  } else { /* the solution is another one, but as good; what is not determined is told */
    int64_t open = 0;
    check_near(residual(a, x), residual(a, want), 1e-9);
    for (int64_t j = 0; j < a->n; j++) open += isinf(variances[j]) != 0;
    check(open == a->n - rank);
  }
  grad__sparse_qr_free(s);
}

static void check_patterns(grad_ctx *ctx) {
  static const shape_fn shapes[] = {random_shape, band, arrow, full_shape, blocks, dense_row};
  uint64_t state = 11;
  matrix a;
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    for (int64_t m = 0; m <= M_MAX; m += 12)
      for (int64_t n = 0; n <= N_MAX; n += 8) {
        double diagonal[N_MAX];
        for (int64_t j = 0; j < n; j++) diagonal[j] = 0.1 + draw(&state) * draw(&state);
        make(&a, m, n, shapes[k], &state);
        compare(ctx, &a, NULL);
        compare(ctx, &a, diagonal);
      }
}

/* Columns that depend on others: equal ones, zero ones, a sum of two. */
static void check_dependent(grad_ctx *ctx) {
  uint64_t state = 5;
  matrix a;
  make(&a, 40, 12, full_shape, &state);
  for (int64_t i = 0; i < a.m; i++) {
    double *row = a.full + i * a.n;
    row[7] = row[2], row[4] = 0, row[10] = row[1] + row[5];
    vec_copy(a.n, row, a.values + i * a.n);
  }
  compare(ctx, &a, NULL);
}

/* A chain of n unknowns takes n times a small constant, whatever the order it is numbered in. */
static void check_chain(grad_ctx *ctx) {
  enum { N = 4000 };
  static int64_t starts[2 * N], columns[3 * N];
  grad__sparse_qr *s = NULL;
  int64_t at = 0, row = 0;
  for (int64_t i = 0; i < N; i++) {
    columns[at++] = i, starts[++row] = at;
    if (i + 1 == N) break;
    const int64_t a = i * 1237 % N, b = (i + 1) * 1237 % N; /* neighbours are far apart in number */
    columns[at++] = a < b ? a : b, columns[at++] = a < b ? b : a, starts[++row] = at;
  }
  if (!check(grad__sparse_qr_new(ctx, row, N, starts, columns, &s) == GRAD_OK)) return;
  check(grad__sparse_qr_bytes(s) < 30 * N * sizeof(double));
  grad__sparse_qr_free(s);
}

/* --- a fit with a sparse Jacobian: r = (x_i^2 - t_i, x_(i+1) - x_i) */
enum { FIT_N = 20 };
static grad_status fit_r(void *user, const double *x, double *r) {
  (void)user;
  for (int i = 0; i < FIT_N; i++) r[i] = x[i] * x[i] - (1 + 0.1 * ((i * 7) % 5));
  for (int i = 0; i + 1 < FIT_N; i++) r[FIT_N + i] = x[i + 1] - x[i];
  return GRAD_OK;
}
static grad_status fit_j_sparse(void *user, const double *x, double *j) {
  (void)user;
  for (int i = 0; i < FIT_N; i++) j[i] = 2 * x[i];
  for (int i = 0; i + 1 < FIT_N; i++) j[FIT_N + 2 * i] = -1, j[FIT_N + 2 * i + 1] = 1;
  return GRAD_OK;
}
static grad_status fit_j_dense(void *user, const double *x, double *j) {
  (void)user;
  memset(j, 0, (size_t)(2 * FIT_N - 1) * FIT_N * sizeof *j);
  for (int i = 0; i < FIT_N; i++) j[i * FIT_N + i] = 2 * x[i];
  for (int i = 0; i + 1 < FIT_N; i++) j[(FIT_N + i) * FIT_N + i] = -1, j[(FIT_N + i) * FIT_N + i + 1] = 1;
  return GRAD_OK;
}

typedef struct fit_result {
  double x[FIT_N], covariance[FIT_N * FIT_N], errors[FIT_N];
  grad_minimize_result r;
  grad_fit fit;
} fit_result;

static grad_status run_fit(grad_ctx *ctx, bool sparse, const grad_minimize_options *options, bool bounded,
                           fit_result *out) {
  int64_t starts[2 * FIT_N], columns[3 * FIT_N], at = 0;
  double x0[FIT_N], lower[FIT_N];
  for (int i = 0; i < FIT_N; i++) columns[at++] = i, starts[i + 1] = at;
  for (int i = 0; i + 1 < FIT_N; i++) columns[at++] = i, columns[at++] = i + 1, starts[FIT_N + i + 1] = at;
  starts[0] = 0;
  for (int i = 0; i < FIT_N; i++) x0[i] = 3, lower[i] = i < 5 ? 1.12 : -1;
  grad_problem p = {.n = FIT_N, .residuals = 2 * FIT_N - 1, .residual = fit_r};
  p.residual_jacobian = sparse ? fit_j_sparse : fit_j_dense;
  if (sparse) p.jacobian_starts = starts, p.jacobian_columns = columns;
  if (bounded) p.lower = lower;
  grad_minimizer *m = NULL;
  grad_status status = grad_minimizer_new(ctx, &p, options, x0, &m);
  memset(starts, -1, sizeof starts); /* they are copied */
  if (status == GRAD_OK) status = grad_minimizer_run(m);
  if (status == GRAD_OK) {
    grad_minimizer_result(m, &out->r);
    vec_copy(FIT_N, out->r.x, out->x);
    status = grad_least_squares_fit(m, out->covariance, out->errors, &out->fit);
  }
  grad_minimizer_free(m);
  return status;
}

static void check_fits(grad_ctx *ctx) {
  static fit_result dense, sparse;
  for (grad_method method = GRAD_METHOD_LM; method <= GRAD_METHOD_GN; method++)
    for (int variant = 0; variant < 4; variant++) {
      grad_minimize_options options;
      grad_minimize_defaults(&options);
      options.method = method;
      options.tol = 1e-8;
      if (variant == 1) options.loss = GRAD_LOSS_SOFT_L1;
      if (variant == 2 && method == GRAD_METHOD_LM) options.geodesic = true;
      const bool bounded = variant == 3 && method == GRAD_METHOD_TRF;
      check(run_fit(ctx, false, &options, bounded, &dense) == GRAD_OK);
      check(run_fit(ctx, true, &options, bounded, &sparse) == GRAD_OK);
      if (!check(dense.r.converged && sparse.r.converged && sparse.fit.rank == FIT_N))
        fprintf(stderr, "  %s; %s\n", dense.r.message, sparse.r.message);
      check(labs((long)(dense.r.iterations - sparse.r.iterations)) <= 1);
      for (int i = 0; i < FIT_N; i++) {
        check_near(sparse.x[i], dense.x[i], 1e-6);
        check_near(sparse.errors[i], dense.errors[i], 1e-6);
      }
      for (int i = 0; i < FIT_N * FIT_N; i++) check_near(sparse.covariance[i], dense.covariance[i], 1e-6);
    }
}

static void check_bad_patterns(grad_ctx *ctx) {
  const double x0[2] = {1, 1};
  const int64_t starts[] = {0, 2}, backwards[] = {1, 0}, outside[] = {0, 2}, falling[] = {0, -1};
  const int64_t fine[] = {0, 1};
  grad_problem p = {
      .n = 2, .residuals = 1, .residual = fit_r, .residual_jacobian = fit_j_dense, .jacobian_starts = starts};
  grad_minimize_options options;
  grad_minimizer *m = NULL;
  grad_minimize_defaults(&options);
  options.name = "fit";
  p.jacobian_columns = backwards;
  check(grad_minimizer_new(ctx, &p, &options, x0, &m) == GRAD_EVALUE && strstr(grad_message(ctx), "fit: ") != NULL);
  p.jacobian_columns = outside;
  check(grad_minimizer_new(ctx, &p, &options, x0, &m) == GRAD_EVALUE);
  p.jacobian_columns = fine, p.jacobian_starts = falling;
  check(grad_minimizer_new(ctx, &p, &options, x0, &m) == GRAD_EVALUE);
}

static grad_status task(grad_ctx *ctx, void *ud) {
  static fit_result result;
  grad_minimize_options options;
  grad_minimize_defaults(&options);
  (void)ud;
  return run_fit(ctx, true, &options, false, &result);
}

int main(void) {
  grad_ctx *ctx = check_open();
  check_patterns(ctx);
  check_dependent(ctx);
  check_chain(ctx);
  check_fits(ctx);
  check_bad_patterns(ctx);
  grad_ctx_free(ctx);
  check_failing_alloc("sparse fit", task, NULL);
  return check_done();
}

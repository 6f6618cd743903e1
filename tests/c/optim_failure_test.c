/* What minimizers say and do when things go wrong; saved and continued runs; the stopping rules; failing allocations.
 */
#include <stdlib.h>

#include "check.h"
#include "check_alloc.h"
#include "mgh.h"
#include "optim/least_squares.h"

/* --- functions with a fault; all of two variables */
typedef struct fault {
  grad_status (*f)(const double *x, double *f, double *g);
  double factor; /* of the gradient that is told */
  int fail_at;   /* the call that fails with GRAD_ECALLBACK */
  int calls;
} fault;

static grad_status fault_call(void *user, const double *x, double *f, double *g) {
  fault *u = user;
  if (++u->calls == u->fail_at) return GRAD_ECALLBACK;
  grad_status status = u->f(x, f, g);
  g[0] *= u->factor, g[1] *= u->factor;
  return status;
}

static grad_status bowl(const double *x, double *f, double *g) {
  *f = exp(0.3 * x[0]) + (x[0] - 1) * (x[0] - 1) + 5 * (x[1] + 2) * (x[1] + 2) + 0.1 * x[0] * x[0] * x[1] * x[1];
  g[0] = 0.3 * exp(0.3 * x[0]) + 2 * (x[0] - 1) + 0.2 * x[0] * x[1] * x[1];
  g[1] = 10 * (x[1] + 2) + 0.2 * x[0] * x[0] * x[1];
  return GRAD_OK;
}
static grad_status plane(const double *x, double *f, double *g) {
  *f = x[0] - 2 * x[1], g[0] = 1, g[1] = -2;
  return GRAD_OK;
}
static grad_status cave(const double *x, double *f, double *g) { /* finite where x > 0; the minimum at (1, 1) */
  *f = x[0] - log(x[0]) + x[1] - log(x[1]), g[0] = 1 - 1 / x[0], g[1] = 1 - 1 / x[1];
  return GRAD_OK;
}
static grad_status cliff(const double *x, double *f, double *g) { /* infinite beyond x = 0.5, before the minimum */
  *f = x[0] > 0.5 ? (double)INFINITY : (x[0] - 3) * (x[0] - 3) + x[1] * x[1];
  g[0] = 2 * (x[0] - 3), g[1] = 2 * x[1];
  return GRAD_OK;
}
static grad_status steps(const double *x, double *f, double *g) { /* jumps by 1 at every integer */
  *f = 0.5 * (x[0] * x[0] + x[1] * x[1]) + floor(x[0]), g[0] = x[0], g[1] = x[1];
  return GRAD_OK;
}
static grad_status nothing(const double *x, double *f, double *g) {
  (void)x;
  *f = (double)NAN, g[0] = g[1] = 0;
  return GRAD_OK;
}
static grad_status kink(const double *x, double *f, double *g) {
  *f = fabs(x[0]) + 2 * fabs(x[1]), g[0] = x[0] > 0 ? 1 : -1, g[1] = x[1] > 0 ? 2 : -2;
  return GRAD_OK;
}

static grad_status cusp(const double *x, double *f, double *g) { /* steep at 0 without bound */
  *f = 0;
  for (int i = 0; i < 2; i++) {
    const double root = sqrt(fabs(x[i]));
    *f += root;
    g[i] = x[i] == 0 ? 0 : 0.5 * (x[i] > 0 ? 1 : -1) / root;
  }
  return GRAD_OK;
}

static const grad_method all[] = {
    GRAD_METHOD_GD,     GRAD_METHOD_NESTEROV, GRAD_METHOD_CG,        GRAD_METHOD_BFGS,      GRAD_METHOD_LBFGS,
    GRAD_METHOD_LBFGSB, GRAD_METHOD_NEWTON,   GRAD_METHOD_NEWTON_CG, GRAD_METHOD_TRUST_NCG, GRAD_METHOD_TRUST_EXACT,
    GRAD_METHOD_DOGLEG, GRAD_METHOD_AUGLAG,   GRAD_METHOD_SQP};
enum { ALL = sizeof all / sizeof *all };

static grad_minimize_result run(grad_ctx *ctx, fault *u, grad_method method, double *x,
                                const grad_minimize_options *given) {
  grad_problem problem = {.n = 2, .user = u, .f_gradient = fault_call};
  grad_minimize_options options;
  grad_minimize_result result = {0};
  grad_minimize_defaults(&options);
  if (given) options = *given;
  options.method = method;
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
  return result;
}

static void say(const grad_minimize_result *r) {
  fprintf(stderr, "  %s (%s, %s)\n", r->message, grad_stop_name(r->stop), grad_failure_name(r->failure));
}

static void check_finite_regions(grad_ctx *ctx) {
  for (int k = 0; k < ALL; k++) {
    double x[2] = {20, 0.01};
    fault u = {cave, 1, 0, 0};
    grad_minimize_result r = run(ctx, &u, all[k], x, NULL);
    if (!check(r.converged && fabs(x[0] - 1) < 1e-5 && fabs(x[1] - 1) < 1e-5)) say(&r);
    double y[2] = {-1, 0.3};
    u = (fault){cliff, 1, 0, 0};
    r = run(ctx, &u, all[k], y, NULL);
    if (!check(!r.converged && isfinite(r.f) && y[0] <= 0.5 && y[0] > 0.4)) say(&r);
    double z[2] = {1, 1};
    u = (fault){nothing, 1, 0, 0};
    r = run(ctx, &u, all[k], z, NULL);
    if (!check(!r.converged && r.failure == GRAD_FAILURE_NOT_FINITE && z[0] == 1)) say(&r);
  }
}

static void check_unbounded(grad_ctx *ctx) {
  for (int k = 0; k < ALL; k++) {
    double x[2] = {0, 0};
    fault u = {plane, 1, 0, 0};
    grad_minimize_result r = run(ctx, &u, all[k], x, NULL);
    if (!check(!r.converged && r.failure == GRAD_FAILURE_UNBOUNDED && strstr(r.message, "unbounded") != NULL)) say(&r);
  }
}

static void check_wrong_gradient(grad_ctx *ctx) {
  static const double factors[] = {-1, 2, 0.5, 10, 1.5};
  for (int k = 0; k < ALL; k++) {
    if (all[k] == GRAD_METHOD_AUGLAG || all[k] == GRAD_METHOD_SQP) continue;
    for (int i = 0; i < 5; i++) {
      double x[2] = {3, 2};
      fault u = {bowl, factors[i], 0, 0};
      grad_minimize_result r = run(ctx, &u, all[k], x, NULL);
      if (!check(!r.converged && r.failure == GRAD_FAILURE_INCONSISTENT &&
                 strstr(r.message, "inconsistent with the gradient") != NULL))
        fprintf(stderr, "  factor %g: ", factors[i]), say(&r);
    }
    double x[2] = {3, 2};
    fault u = {bowl, 1, 0, 0};
    grad_minimize_result r = run(ctx, &u, all[k], x, NULL);
    if (!check(r.converged)) say(&r);
  }
}

/* A kink or a jump is not a wrong gradient. */
static void check_not_smooth(grad_ctx *ctx) {
  for (int k = 0; k < ALL; k++) {
    double x[2] = {1.7, -0.6}, y[2] = {3.3, 2};
    fault u = {kink, 1, 0, 0};
    grad_minimize_result r = run(ctx, &u, all[k], x, NULL);
    if (!check(r.failure != GRAD_FAILURE_INCONSISTENT && !r.converged && r.f < 2.9)) say(&r);
    double z[2] = {1, 2};
    u = (fault){cusp, 1, 0, 0};
    r = run(ctx, &u, all[k], z, NULL);
    if (!check(r.failure != GRAD_FAILURE_INCONSISTENT && r.f < 2.42)) say(&r);
    u = (fault){steps, 1, 0, 0};
    r = run(ctx, &u, all[k], y, NULL);
    if (!check(r.failure != GRAD_FAILURE_INCONSISTENT && r.f < 10)) say(&r);
  }
}

/* A callback that fails ends the step with its status; the minimizer goes on where it stood. */
static void check_failing_callback(grad_ctx *ctx) {
  for (int k = 0; k < ALL; k++)
    for (int at = 1; at < 12; at += 3) {
      double x[2] = {3, 2};
      fault u = {bowl, 1, at, 0};
      grad_problem problem = {.n = 2, .user = &u, .f_gradient = fault_call};
      grad_minimize_options options;
      grad_minimize_result result;
      grad_minimizer *m = NULL;
      grad_minimize_defaults(&options);
      options.method = all[k];
      if (!check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_OK)) return;
      grad_status status = grad_minimizer_run(m);
      check(status == GRAD_ECALLBACK || u.calls < at);
      check(grad_minimizer_run(m) == GRAD_OK);
      grad_minimizer_result(m, &result);
      if (!check(result.converged)) say(&result);
      grad_minimizer_free(m);
    }
}

static void check_bad_input(grad_ctx *ctx) {
  double x[2] = {5, -5}, lower[2] = {0, 0}, upper[2] = {1, -1};
  fault u = {bowl, 1, 0, 0};
  grad_problem problem = {.n = 2, .user = &u, .f_gradient = fault_call, .lower = lower, .upper = upper};
  grad_minimize_options options;
  grad_minimize_result result;
  grad_minimizer *m = NULL;
  grad_minimize_defaults(&options);
  check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_EVALUE &&
        strstr(grad_message(ctx), "bound 2") != NULL);
  upper[1] = 1;
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK && result.method == GRAD_METHOD_LBFGSB);
  check(result.converged && x[0] >= 0 && x[0] <= 1 && x[1] == 0); /* x0 was outside */
  options.method = GRAD_METHOD_BFGS;
  check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_EVALUE &&
        strstr(grad_message(ctx), "lbfgsb") != NULL);
  options.method = GRAD_METHOD_LM;
  check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_EVALUE &&
        strstr(grad_message(ctx), "residual") != NULL);
  options.method = GRAD_METHOD_AUTO;
  x[0] = (double)NAN;
  check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_EVALUE &&
        strstr(grad_message(ctx), "entry 1 of x0") != NULL);
  options.tol = -1;
  check(grad_minimizer_new(ctx, &problem, &options, lower, &m) == GRAD_EVALUE);
  problem = (grad_problem){.n = 2};
  check(grad_minimizer_new(ctx, &problem, &options, lower, &m) == GRAD_EVALUE);
}

static grad_status empty_f(void *user, const double *x, double *f, double *g) {
  (void)user, (void)x, (void)g;
  *f = 7;
  return GRAD_OK;
}

static void check_empty(grad_ctx *ctx) {
  for (int k = 0; k < ALL; k++) {
    grad_problem problem = {.n = 0, .f_gradient = empty_f};
    grad_minimize_options options;
    grad_minimize_result r = {0};
    grad_minimize_defaults(&options);
    options.method = all[k];
    check(grad_minimize(ctx, &problem, &options, NULL, &r) == GRAD_OK && r.converged && r.f == 7 && r.iterations == 0);
  }
}

static bool stop_at_three(void *user, const grad_step_info *info) {
  ++*(int *)user;
  return info->iteration == 3;
}

static void check_stops(grad_ctx *ctx) {
  int seen = 0;
  fault u = {bowl, 1, 0, 0};
  grad_minimize_options o;
  double x[2] = {3, 2};
  grad_minimize_defaults(&o);
  o.max_iter = 2;
  grad_minimize_result r = run(ctx, &u, GRAD_METHOD_GD, x, &o);
  check(r.stop == GRAD_STOP_ITERATIONS && r.iterations == 2 && !r.converged);
  grad_minimize_defaults(&o);
  o.max_eval = 3, x[0] = 3, x[1] = 2;
  r = run(ctx, &u, GRAD_METHOD_GD, x, &o);
  check(r.stop == GRAD_STOP_EVALUATIONS);
  grad_minimize_defaults(&o);
  o.target = 20, x[0] = 3, x[1] = 2;
  r = run(ctx, &u, GRAD_METHOD_GD, x, &o);
  check(r.stop == GRAD_STOP_TARGET && r.f <= 20);
  grad_minimize_defaults(&o);
  o.f_tol = 1e-3, x[0] = 3, x[1] = 2;
  r = run(ctx, &u, GRAD_METHOD_GD, x, &o);
  check(r.stop == GRAD_STOP_F_CHANGE && !r.converged && strstr(r.message, "not converged") != NULL);
  grad_minimize_defaults(&o);
  o.x_tol = 1e-2, x[0] = 3, x[1] = 2;
  check(run(ctx, &u, GRAD_METHOD_GD, x, &o).stop == GRAD_STOP_X_CHANGE);
  grad_minimize_defaults(&o);
  o.max_seconds = 1e-9, x[0] = 3, x[1] = 2;
  check(run(ctx, &u, GRAD_METHOD_GD, x, &o).stop == GRAD_STOP_TIME);
  for (int k = 0; k < ALL; k++) {
    if (all[k] == GRAD_METHOD_AUGLAG) continue;
    grad_minimize_defaults(&o);
    o.on_step = stop_at_three, o.on_step_user = &seen, seen = 0, x[0] = 3, x[1] = 2;
    r = run(ctx, &u, all[k], x, &o);
    if (!check(r.stop == GRAD_STOP_USER && r.iterations == 3 && seen == 4)) say(&r);
  }
}

/* --- a run that is saved, loaded and continued gives the same bits */
static grad_status rosenbrock_call(void *user, const double *x, double *f, double *g) {
  *f = mgh_f(user, x, g);
  return GRAD_OK;
}
static grad_status rosenbrock_r(void *user, const double *x, double *r) {
  ((const mgh_problem *)user)->residual(x, r);
  return GRAD_OK;
}
static grad_status rosenbrock_j(void *user, const double *x, double *j) {
  const mgh_problem *p = user;
  memset(j, 0, (size_t)(p->n * p->m) * sizeof *j);
  p->jacobian(x, j);
  return GRAD_OK;
}

static void copy_state(const grad_minimizer *from, grad_minimizer *to) {
  for (int64_t i = 0;; i++) {
    grad_state_array a = grad_minimizer_state(from, i);
    if (!a.name) return;
    check(grad_minimizer_load(to, a.name, a.data, a.count) == GRAD_OK);
  }
}

static void check_continued(grad_ctx *ctx, grad_method method, int after) {
  const mgh_problem *p = &mgh_problems[19]; /* ten variables */
  double x0[MGH_MAX], lower[MGH_MAX], other[MGH_MAX] = {0};
  bool squares = method == GRAD_METHOD_LM || method == GRAD_METHOD_TRF || method == GRAD_METHOD_GN, running = true;
  bool bounds = method == GRAD_METHOD_LBFGSB || method == GRAD_METHOD_TRF;
  grad_minimize_options options;
  grad_minimize_result a, b;
  grad_minimizer *whole = NULL, *first = NULL, *second = NULL;
  grad_problem problem = {.n = p->n, .user = (void *)p};
  if (squares) problem.residuals = p->m, problem.residual = rosenbrock_r, problem.residual_jacobian = rosenbrock_j;
  if (!squares) problem.f_gradient = rosenbrock_call;
  for (int i = 0; i < p->n; i++) lower[i] = -1.3;
  if (bounds) problem.lower = lower;
  grad_minimize_defaults(&options);
  options.method = method;
  options.max_iter = 60;
  p->start(x0);
  check(grad_minimizer_new(ctx, &problem, &options, x0, &whole) == GRAD_OK);
  check(grad_minimizer_new(ctx, &problem, &options, x0, &first) == GRAD_OK);
  check(grad_minimizer_new(ctx, &problem, &options, other, &second) == GRAD_OK);
  check(grad_minimizer_run(whole) == GRAD_OK);
  for (int k = 0; k <= after && running; k++) check(grad_minimizer_step(first, &running) == GRAD_OK);
  copy_state(first, second);
  check(grad_minimizer_run(second) == GRAD_OK);
  grad_minimizer_result(whole, &a);
  grad_minimizer_result(second, &b);
  bool same = memcmp(a.x, b.x, (size_t)p->n * sizeof *a.x) == 0 && a.f == b.f && a.iterations == b.iterations &&
              a.evaluations.f == b.evaluations.f;
  if (!check(same)) fprintf(stderr, "  %s after %d: %s / %s\n", grad_method_name(method), after, a.message, b.message);
  check(grad_minimizer_load(second, "no such array", x0, 1) == GRAD_EVALUE);
  check(grad_minimizer_load(second, "x", x0, 1) == GRAD_EVALUE);
  grad_minimizer_free(whole), grad_minimizer_free(first), grad_minimizer_free(second);
}

/* --- robust losses, bounds and what the data determine */
static const double line_t[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static grad_status line_r(void *user, const double *x, double *r) {
  const double *y = user;
  for (int i = 0; i < 12; i++) r[i] = x[0] + x[1] * line_t[i] - y[i];
  return GRAD_OK;
}
static grad_status line_j(void *user, const double *x, double *j) {
  (void)user, (void)x;
  for (int i = 0; i < 12; i++) j[2 * i] = 1, j[2 * i + 1] = line_t[i];
  return GRAD_OK;
}

static void check_losses(grad_ctx *ctx) {
  double y[12];
  for (int i = 0; i < 12; i++) y[i] = 2 + 0.5 * line_t[i] + 0.01 * ((i * 7) % 5 - 2);
  y[4] += 30; /* an outlier */
  for (grad_loss loss = GRAD_LOSS_LINEAR; loss <= GRAD_LOSS_ARCTAN; loss++)
    for (grad_method method = GRAD_METHOD_LM; method <= GRAD_METHOD_GN; method++) {
      double x[2] = {2.5, 0.4};
      grad_problem problem = {.n = 2, .user = y, .residuals = 12, .residual = line_r, .residual_jacobian = line_j};
      grad_minimize_options options;
      grad_minimize_result r = {0};
      grad_minimize_defaults(&options);
      options.method = method, options.loss = loss, options.f_scale = 0.1;
      check(grad_minimize(ctx, &problem, &options, x, &r) == GRAD_OK);
      double off = fabs(x[0] - 2) + fabs(x[1] - 0.5);
      if (!check(r.converged && (loss == GRAD_LOSS_LINEAR ? off > 1 : off < 0.2)))
        fprintf(stderr, "  %s %s: off by %g: %s\n", grad_method_name(method), grad_loss_name(loss), off, r.message);
    }
}

static void check_bounded_fit(grad_ctx *ctx) {
  double y[12], x[2] = {0, 0}, lower[2] = {-1, -1}, upper[2] = {1.5, 3}, covariance[4], errors[2];
  for (int i = 0; i < 12; i++) y[i] = 2 + 0.5 * line_t[i];
  grad_problem problem = {.n = 2,
                          .user = y,
                          .residuals = 12,
                          .residual = line_r,
                          .residual_jacobian = line_j,
                          .lower = lower,
                          .upper = upper};
  grad_minimize_options options;
  grad_minimize_result r;
  grad_minimizer *m = NULL;
  grad_fit fit;
  grad_minimize_defaults(&options);
  check(grad_minimizer_new(ctx, &problem, &options, x, &m) == GRAD_OK && grad_minimizer_run(m) == GRAD_OK);
  grad_minimizer_result(m, &r);
  check(r.method == GRAD_METHOD_TRF && r.converged);
  check_near(r.x[0], 1.5, 1e-9);
  check_near(r.x[1], 0.5 + 0.5 * 66 / 506, 1e-6); /* sum of t (y - 1.5) / sum of t^2 */
  check(grad_least_squares_fit(m, covariance, errors, &fit) == GRAD_OK && fit.rank == 2);
  check_near(covariance[0] * errors[1] * errors[1], covariance[3] * errors[0] * errors[0], 1e-12);
  check_near(covariance[1] / covariance[0], -66.0 / 506, 1e-12);
  grad_minimizer_free(m);
}

static grad_status task(grad_ctx *ctx, void *ud) {
  grad_method method = *(const grad_method *)ud;
  double x[2] = {3, 2}, y[12] = {0}, errors[2];
  fault u = {bowl, 1, 0, 0};
  bool squares = method >= GRAD_METHOD_LM && method <= GRAD_METHOD_GN;
  grad_problem problem = {.n = 2, .user = &u, .f_gradient = fault_call};
  if (squares)
    problem = (grad_problem){.n = 2, .user = y, .residuals = 12, .residual = line_r, .residual_jacobian = line_j};
  grad_minimize_options options;
  grad_minimizer *m = NULL;
  grad_fit fit;
  grad_minimize_defaults(&options);
  options.method = method;
  grad_status status = grad_minimizer_new(ctx, &problem, &options, x, &m);
  if (status == GRAD_OK) {
    uint64_t before = ctx->allocations;
    status = grad_minimizer_run(m);
    check(ctx->allocations == before); /* all memory is taken by new */
  }
  if (status == GRAD_OK && squares) status = grad_least_squares_fit(m, NULL, errors, &fit);
  grad_minimizer_free(m);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  check_finite_regions(ctx);
  check_unbounded(ctx);
  check_wrong_gradient(ctx);
  check_not_smooth(ctx);
  check_failing_callback(ctx);
  check_bad_input(ctx);
  check_empty(ctx);
  check_stops(ctx);
  for (grad_method method = GRAD_METHOD_GD; method < GRAD_METHOD_COUNT; method++) {
    check_continued(ctx, method, 0);
    check_continued(ctx, method, 1);
    check_continued(ctx, method, 7);
    check_failing_alloc(grad_method_name(method), task, &method);
  }
  check_losses(ctx);
  check_bounded_fit(ctx);
  grad_ctx_free(ctx);
  return check_done();
}

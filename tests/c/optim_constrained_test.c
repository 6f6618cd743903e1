/* Constrained minimization: the Hock-Schittkowski problems by sqp, auglag and, where there are only bounds, by the
 * methods for bounds. With -v prints a table. */
#include "check_ctx.h"
#include "core/ctx.h"
#include "hs.h"
#include "optim/minimize.h"

static grad_status hs_f_gradient(void *user, const double *x, double *f, double *gradient) {
  hs_eval(user, x, f, gradient, NULL, NULL);
  return GRAD_OK;
}
static grad_status hs_f(void *user, const double *x, double *f) {
  hs_eval(user, x, f, NULL, NULL, NULL);
  return GRAD_OK;
}
static grad_status hs_constraints(void *user, const double *x, double *c) {
  hs_eval(user, x, NULL, NULL, c, NULL);
  return GRAD_OK;
}
static grad_status hs_jacobian(void *user, const double *x, double *jacobian) {
  hs_eval(user, x, NULL, NULL, NULL, jacobian);
  return GRAD_OK;
}

static void solve(grad_ctx *ctx, const hs_problem *p, grad_method method, bool verbose) {
  grad_minimize_options options;
  grad_minimize_result result = {0};
  double x[HS_VARIABLES];
  grad_problem problem = {.n = p->n,
                          .user = (void *)p,
                          .f = hs_f,
                          .f_gradient = hs_f_gradient,
                          .lower = p->lower,
                          .upper = p->upper,
                          .equalities = p->equalities,
                          .inequalities = p->inequalities,
                          .constraints = hs_constraints,
                          .jacobian = hs_jacobian};
  grad_minimize_defaults(&options);
  options.method = method;
  memcpy(x, p->start, sizeof x);
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
  bool reached = fabs(result.f - p->minimum) <= 1e-5 * (1 + fabs(p->minimum)) || hs_local_minimum(p->number, result.f);
  bool steep =
      p->number == 19 && method == GRAD_METHOD_AUGLAG; /* multipliers of 1e3: the gradient's rounding is above tol */
  bool good = reached && (result.converged || (steep && result.stop == GRAD_STOP_PRECISION));
  if (verbose || !good)
    printf("%shs%-3d %-9s it %4lld f %5lld jac %4lld  f = %-14.9g (%.9g)  %s\n", good ? "" : "! ", p->number,
           grad_method_name(method), (long long)result.iterations, (long long)result.evaluations.f,
           (long long)result.evaluations.jac, result.f, p->minimum, result.message);
  check(good);
}

/* Whatever the constraints ask, the answer says whether they hold. */
static grad_status line_f_gradient(void *user, const double *x, double *f, double *gradient) {
  (void)user;
  *f = x[0] + x[1];
  gradient[0] = gradient[1] = 1;
  return GRAD_OK;
}
static grad_status both_signs(void *user, const double *x, double *c) {
  (void)user;
  c[0] = x[0] - 1;
  c[1] = -x[0] - 1;
  c[2] = 4 - x[0] * x[0] - x[1] * x[1];
  return GRAD_OK;
}
static grad_status both_signs_jacobian(void *user, const double *x, double *j) {
  const double rows[] = {1, 0, -1, 0, -2 * x[0], -2 * x[1]};
  (void)user;
  memcpy(j, rows, sizeof rows);
  return GRAD_OK;
}

static void check_infeasible(grad_ctx *ctx, grad_method method) {
  grad_minimize_options options;
  grad_minimize_result result = {0};
  double x[2] = {0.5, 0.5};
  grad_problem problem = {.n = 2,
                          .f_gradient = line_f_gradient,
                          .inequalities = 3,
                          .constraints = both_signs,
                          .jacobian = both_signs_jacobian};
  grad_minimize_defaults(&options);
  options.method = method;
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
  check(!result.converged && result.stop == GRAD_STOP_FAILED && result.failure == GRAD_FAILURE_INFEASIBLE);
  if (!check(result.violation > 0.5 && strstr(result.message, "could not be satisfied") != NULL))
    fprintf(stderr, "  %s\n", result.message);
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  grad_ctx *ctx = check_open();
  for (int k = 0; k < HS_COUNT; k++) {
    const hs_problem *p = &hs_problems[k];
    solve(ctx, p, GRAD_METHOD_SQP, verbose);
    solve(ctx, p, GRAD_METHOD_AUGLAG, verbose);
    if (p->equalities + p->inequalities > 0) continue;
    solve(ctx, p, GRAD_METHOD_LBFGSB, verbose);
    solve(ctx, p, GRAD_METHOD_TRUST_NCG, verbose);
  }
  check_infeasible(ctx, GRAD_METHOD_SQP);
  check_infeasible(ctx, GRAD_METHOD_AUGLAG);
  grad_ctx_free(ctx);
  return check_done();
}

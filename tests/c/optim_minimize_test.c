/* Minimization: every method on the More-Garbow-Hillstrom problems. With -v prints the table of evaluations. */
#include "check.h"
#include "mgh.h"
#include "optim/minimize.h"

static grad_status problem_f(void *user, const double *x, double *f) {
  *f = mgh_f(user, x, NULL);
  return GRAD_OK;
}

static grad_status problem_f_gradient(void *user, const double *x, double *f, double *gradient) {
  *f = mgh_f(user, x, gradient);
  return GRAD_OK;
}

static grad_status problem_hessian(void *user, const double *x, double *hessian) {
  mgh_hessian(user, x, hessian);
  return GRAD_OK;
}

static void check_jacobians(void) {
  for (int k = 0; k < MGH_COUNT; k++) {
    const mgh_problem *p = &mgh_problems[k];
    double x[MGH_MAX], g[MGH_MAX], worst = 0;
    p->start(x);
    for (int i = 0; i < p->n; i++) x[i] += 0.01 * (i + 1);
    mgh_f(p, x, g);
    for (int i = 0; i < p->n; i++) {
      double at = x[i], h = 1e-6 * fmax(1, fabs(at)), up, down;
      x[i] = at + h, up = mgh_f(p, x, NULL);
      x[i] = at - h, down = mgh_f(p, x, NULL);
      x[i] = at;
      double off = fabs((up - down) / (2 * h) - g[i]) / (fabs(g[i]) + 1e-6 * up + 1e-6);
      worst = fmax(worst, off);
    }
    if (!check(worst < 1e-3)) fprintf(stderr, "  %s: %g\n", p->name, worst);
  }
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  grad_ctx *ctx = NULL;
  if (!check(grad_ctx_new(NULL, &ctx) == GRAD_OK)) return check_done();
  check_jacobians();
  grad_method methods[] = {GRAD_METHOD_GD, GRAD_METHOD_NESTEROV, GRAD_METHOD_CG, GRAD_METHOD_BFGS, GRAD_METHOD_LBFGS, GRAD_METHOD_NEWTON_CG, GRAD_METHOD_TRUST_NCG, GRAD_METHOD_LBFGSB, GRAD_METHOD_NEWTON, GRAD_METHOD_TRUST_EXACT, GRAD_METHOD_DOGLEG};
  for (int q = 0; q < 11; q++)
    for (int k = 0; k < MGH_COUNT; k++) {
      const mgh_problem *p = &mgh_problems[k];
      double x[MGH_MAX];
      grad_minimize_options options;
      grad_minimize_result result = {0};
      grad_problem problem = {.n = p->n, .user = (void *)p, .f = problem_f, .f_gradient = problem_f_gradient, .hessian = problem_hessian};
      grad_minimize_defaults(&options);
      options.method = methods[q];
      p->start(x);
      check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
      if (verbose)
        printf("%-12s %-14s it %5lld f %6lld g %6lld  f = %-12.6g (%g)  %s\n", grad_method_name(options.method),
               p->name, (long long)result.iterations, (long long)result.evaluations.f, (long long)result.evaluations.g,
               result.f, p->minimum, result.message);
    }
  grad_ctx_free(ctx);
  return check_done();
}

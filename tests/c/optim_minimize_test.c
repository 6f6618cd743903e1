/* Minimization: every method on the More-Garbow-Hillstrom problems. How many evaluations each took is kept in
 * tests/data/optim_evaluations.csv, so that a regression shows: run with -w to write it anew, with -v to see a table.
 */
#include <stdlib.h>

#include "check_ctx.h"
#include "core/ctx.h"
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

static grad_status problem_hvp(void *user, const double *x, const double *v, double *product) {
  const mgh_problem *p = user;
  double full[12 * 12];
  mgh_hessian(p, x, full);
  for (int i = 0; i < p->n; i++) {
    product[i] = 0;
    for (int k = 0; k < p->n; k++) product[i] += full[i * p->n + k] * v[k];
  }
  return GRAD_OK;
}

static void check_gradients(void) {
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
      worst = fmax(worst, fabs((up - down) / (2 * h) - g[i]) / (fabs(g[i]) + 1e-6 * up + 1e-6));
    }
    if (!check(worst < 1e-3)) fprintf(stderr, "  %s: %g\n", p->name, worst);
  }
}

typedef struct variant {
  const char *name;
  grad_method method;
  grad_line_search line_search;
  grad_cg_update update;
  int needed; /* how many of the problems must be solved */
} variant;

static const variant variants[] = {
    {"gd", GRAD_METHOD_GD, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 29},
    {"nesterov", GRAD_METHOD_NESTEROV, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 28},
    {"cg", GRAD_METHOD_CG, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"cg-fr", GRAD_METHOD_CG, GRAD_LINE_AUTO, GRAD_CG_FR, 31},
    {"cg-hs", GRAD_METHOD_CG, GRAD_LINE_AUTO, GRAD_CG_HS, 31},
    {"cg-hager_zhang", GRAD_METHOD_CG, GRAD_LINE_HAGER_ZHANG, GRAD_CG_PR_PLUS, 29},
    {"bfgs", GRAD_METHOD_BFGS, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"bfgs-armijo", GRAD_METHOD_BFGS, GRAD_LINE_ARMIJO, GRAD_CG_PR_PLUS, 31},
    {"bfgs-hager_zhang", GRAD_METHOD_BFGS, GRAD_LINE_HAGER_ZHANG, GRAD_CG_PR_PLUS, 31},
    {"lbfgs", GRAD_METHOD_LBFGS, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"lbfgsb", GRAD_METHOD_LBFGSB, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"newton", GRAD_METHOD_NEWTON, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"newton_cg", GRAD_METHOD_NEWTON_CG, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"trust_ncg", GRAD_METHOD_TRUST_NCG, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"trust_exact", GRAD_METHOD_TRUST_EXACT, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
    {"dogleg", GRAD_METHOD_DOGLEG, GRAD_LINE_AUTO, GRAD_CG_PR_PLUS, 32},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static grad_minimize_result solve(grad_ctx *ctx, const variant *v, const mgh_problem *p, double *x) {
  grad_minimize_options options;
  grad_minimize_result result = {0};
  grad_problem problem = {.n = p->n,
                          .user = (void *)p,
                          .f = problem_f,
                          .f_gradient = problem_f_gradient,
                          .hessian = problem_hessian,
                          .hvp = problem_hvp};
  grad_minimize_defaults(&options);
  options.method = v->method;
  options.line_search = v->line_search;
  options.cg_update = v->update;
  p->start(x);
  check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
  return result;
}

/* What is said of the answer must be so. */
static void check_result(const variant *v, const mgh_problem *p, const double *x, const grad_minimize_result *r) {
  double g[MGH_MAX], largest = 0, f = mgh_f(p, x, g), start[MGH_MAX];
  for (int i = 0; i < p->n; i++) largest = fmax(largest, fabs(g[i]));
  p->start(start);
  bool honest =
      f == r->f && largest == r->gradient_norm && r->converged == (largest <= 1e-6) && f <= mgh_f(p, start, NULL);
  bool lower = f >= p->minimum * (1 - 1e-5) - 1e-12 || strcmp(p->name, "trigonometric") == 0;
  if (!check(honest && lower && r->failure != GRAD_FAILURE_INCONSISTENT))
    fprintf(stderr, "  %s %s: %s\n", v->name, p->name, r->message);
}

/* Rows: method, problem, converged, evaluations of f, g, hv. */
static int reference(const char *method, const char *problem, long counts[4]) {
  char line[256], name[32], other[32];
  FILE *file = fopen(GRAD_TEST_DATA "/optim_evaluations.csv", "r");
  int found = 0;
  while (file && !found && fgets(line, sizeof line, file))
    found = sscanf(line, "%31[^,],%31[^,],%ld,%ld,%ld,%ld", name, other, &counts[0], &counts[1], &counts[2],
                   &counts[3]) == 6 &&
            strcmp(name, method) == 0 && strcmp(other, problem) == 0;
  if (file) fclose(file);
  return found;
}

static void check_counts(const variant *v, const mgh_problem *p, const grad_minimize_result *r) {
  long kept[4];
  if (!check(reference(v->name, p->name, kept))) return;
  bool same = !kept[0] || (r->converged && (double)r->evaluations.f <= 1.25 * (double)kept[1] + 5 &&
                           (double)r->evaluations.g <= 1.25 * (double)kept[2] + 5 &&
                           (double)r->evaluations.hv <= 1.25 * (double)kept[3] + 5);
  if (!check(same))
    fprintf(stderr, "  %s %s: %lld f, %lld g, %lld hv, before %ld, %ld, %ld: %s\n", v->name, p->name,
            (long long)r->evaluations.f, (long long)r->evaluations.g, (long long)r->evaluations.hv, kept[1], kept[2],
            kept[3], r->message);
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0, write = argc > 1 && strcmp(argv[1], "-w") == 0;
  FILE *out = write ? fopen(GRAD_TEST_DATA "/optim_evaluations.csv", "w") : NULL;
  grad_ctx *ctx = check_open();
  check_gradients();
  if (out) fprintf(out, "method,problem,converged,f,g,hv\n");
  for (int q = 0; q < VARIANTS; q++) {
    int solved = 0;
    for (int k = 0; k < MGH_COUNT; k++) {
      const mgh_problem *p = &mgh_problems[k];
      double x[MGH_MAX];
      grad_minimize_result r = solve(ctx, &variants[q], p, x);
      check_result(&variants[q], p, x, &r);
      solved += r.converged;
      if (verbose)
        printf("%-16s %-14s it %5lld f %6lld g %6lld hv %6lld  f = %-12.6g (%g)  %s\n", variants[q].name, p->name,
               (long long)r.iterations, (long long)r.evaluations.f, (long long)r.evaluations.g,
               (long long)r.evaluations.hv, r.f, p->minimum, r.message);
      if (out)
        fprintf(out, "%s,%s,%d,%lld,%lld,%lld\n", variants[q].name, p->name, r.converged, (long long)r.evaluations.f,
                (long long)r.evaluations.g, (long long)r.evaluations.hv);
      if (!out) check_counts(&variants[q], p, &r);
    }
    if (verbose) printf("%s: %d of %d\n", variants[q].name, solved, MGH_COUNT);
    if (!check(solved >= variants[q].needed)) fprintf(stderr, "  %s solves %d\n", variants[q].name, solved);
  }
  if (out) fclose(out);
  grad_ctx_free(ctx);
  return check_done();
}

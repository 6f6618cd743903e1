/* Least squares: NIST's StRD sets from both starts against the certified values, the More-Garbow-Hillstrom problems,
 * robust losses, bounds, covariance. With -v prints a table. */
#include <complex.h>
#include <stdlib.h>

#include "check_ctx.h"
#include "core/ctx.h"
#include "mgh.h"
#include "optim/least_squares.h"

enum { POINTS = 260, PARAMETERS = 8 };
typedef double complex cplx;

/* The models of the sets, on complex numbers: the Jacobian comes from a complex step, exact to rounding. */
static cplx chwirut2(const cplx *b, double x) { return cexp(-b[0] * x) / (b[1] + b[2] * x); }
static cplx danwood(const cplx *b, double x) { return b[0] * cexp(b[1] * log(x)); }
static cplx eckerle4(const cplx *b, double x) {
  cplx t = (x - b[2]) / b[1];
  return b[0] / b[1] * cexp(-0.5 * t * t);
}
static cplx gauss3(const cplx *b, double x) {
  cplx s = (x - b[3]) / b[4], t = (x - b[6]) / b[7];
  return b[0] * cexp(-b[1] * x) + b[2] * cexp(-s * s) + b[5] * cexp(-t * t);
}
static cplx kirby2(const cplx *b, double x) { return (b[0] + b[1] * x + b[2] * x * x) / (1 + b[3] * x + b[4] * x * x); }
static cplx mgh09(const cplx *b, double x) { return b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]); }
static cplx misra1a(const cplx *b, double x) { return b[0] * (1 - cexp(-b[1] * x)); }
static cplx misra1d(const cplx *b, double x) { return b[0] * b[1] * x / (1 + b[1] * x); }
static cplx thurber(const cplx *b, double x) {
  return (b[0] + b[1] * x + b[2] * x * x + b[3] * x * x * x) / (1 + b[4] * x + b[5] * x * x + b[6] * x * x * x);
}

typedef struct set {
  const char *name;
  int n, digits; /* digits that float64 gives in every parameter */
  cplx (*model)(const cplx *b, double x);
  int m;
  double x[POINTS], y[POINTS], start[2][PARAMETERS], certified[PARAMETERS], deviation[PARAMETERS], squares;
} set;

static set sets[] = {
    {.name = "Misra1a", .n = 2, .digits = 10, .model = misra1a},
    {.name = "Chwirut2", .n = 3, .digits = 10, .model = chwirut2},
    {.name = "DanWood", .n = 2, .digits = 10, .model = danwood},
    {.name = "Misra1d", .n = 2, .digits = 10, .model = misra1d},
    {.name = "Gauss3", .n = 8, .digits = 10, .model = gauss3},
    {.name = "Kirby2", .n = 5, .digits = 10, .model = kirby2},
    {.name = "MGH09", .n = 4, .digits = 10, .model = mgh09},
    {.name = "Thurber", .n = 7, .digits = 10, .model = thurber},
    {.name = "Eckerle4", .n = 3, .digits = 10, .model = eckerle4},
};

static bool read_set(set *s) {
  char path[512], line[256];
  bool data = false;
  snprintf(path, sizeof path, "%s/nist/%s.dat", GRAD_TEST_DATA, s->name);
  FILE *file = fopen(path, "r");
  if (!check(file != NULL)) return false;
  while (fgets(line, sizeof line, file)) {
    int k = 0;
    double a, b, c, d;
    if (sscanf(line, " b%d = %lf %lf %lf %lf", &k, &a, &b, &c, &d) == 5) {
      s->start[0][k - 1] = a, s->start[1][k - 1] = b, s->certified[k - 1] = c, s->deviation[k - 1] = d;
    } else if (sscanf(line, "Residual Sum of Squares: %lf", &a) == 1) {
      s->squares = a;
    } else if (strncmp(line, "Data: ", 6) == 0 && strchr(line, 'y') && strchr(line, 'x')) {
      data = true;
    } else if (data && sscanf(line, "%lf %lf", &a, &b) == 2) {
      s->y[s->m] = a, s->x[s->m++] = b;
    }
  }
  fclose(file);
  return check(s->m > 5);
}

static grad_status set_residual(void *user, const double *x, double *r) {
  const set *s = user;
  cplx b[PARAMETERS];
  for (int k = 0; k < s->n; k++) b[k] = x[k];
  for (int i = 0; i < s->m; i++) r[i] = creal(s->model(b, s->x[i])) - s->y[i];
  return GRAD_OK;
}

static grad_status set_jacobian(void *user, const double *x, double *j) {
  const set *s = user;
  cplx b[PARAMETERS];
  for (int k = 0; k < s->n; k++) b[k] = x[k];
  for (int k = 0; k < s->n; k++) {
    b[k] = x[k] + 1e-100 * (cplx)I;
    for (int i = 0; i < s->m; i++) j[i * s->n + k] = cimag(s->model(b, s->x[i])) / 1e-100;
    b[k] = x[k];
  }
  return GRAD_OK;
}

static double digits(double got, double want) { return got == want ? 16 : -log10(fabs(got - want) / fabs(want)); }

static void check_set(grad_ctx *ctx, set *s, grad_method method, bool geodesic, bool verbose) {
  grad_problem problem = {
      .n = s->n, .user = s, .residuals = s->m, .residual = set_residual, .residual_jacobian = set_jacobian};
  for (int which = 0; which < 2; which++) {
    grad_minimize_options options;
    grad_minimize_result result;
    grad_minimizer *m = NULL;
    grad_fit fit;
    double errors[PARAMETERS], least = 16, least_error = 16;
    grad_minimize_defaults(&options);
    options.method = method, options.geodesic = geodesic;
    if (!check(grad_minimizer_new(ctx, &problem, &options, s->start[which], &m) == GRAD_OK)) return;
    check(grad_minimizer_run(m) == GRAD_OK);
    grad_minimizer_result(m, &result);
    check(grad_least_squares_fit(m, NULL, errors, &fit) == GRAD_OK);
    for (int k = 0; k < s->n; k++) {
      least = fmin(least, digits(result.x[k], s->certified[k]));
      least_error = fmin(least_error, digits(errors[k], s->deviation[k]));
    }
    if (verbose)
      printf("%-9s start %d %s%s: %4.1f digits, errors %4.1f, it %3lld r %3lld jac %3lld  %s\n", s->name, which + 1,
             grad_method_name(method), geodesic ? "+geodesic" : "", least, least_error, (long long)result.iterations,
             (long long)result.evaluations.f, (long long)result.evaluations.jac, result.message);
    if (!check(least >= s->digits && result.converged))
      fprintf(stderr, "  %s start %d: %s\n", s->name, which + 1, result.message);
    check(least_error >= 6);
    check_near(2 * result.f, s->squares, 1e-9 * s->squares);
    check(fit.rank == s->n);
    grad_minimizer_free(m);
  }
}

static grad_status mgh_r(void *user, const double *x, double *r) {
  ((const mgh_problem *)user)->residual(x, r);
  return GRAD_OK;
}
static grad_status mgh_j(void *user, const double *x, double *j) {
  const mgh_problem *p = user;
  memset(j, 0, (size_t)(p->n * p->m) * sizeof *j);
  p->jacobian(x, j);
  return GRAD_OK;
}

static void check_mgh(grad_ctx *ctx, grad_method method, bool verbose) {
  for (int k = 0; k < MGH_COUNT; k++) {
    const mgh_problem *p = &mgh_problems[k];
    double x[MGH_MAX];
    grad_minimize_options options;
    grad_minimize_result result = {0};
    grad_problem problem = {
        .n = p->n, .user = (void *)p, .residuals = p->m, .residual = mgh_r, .residual_jacobian = mgh_j};
    grad_minimize_defaults(&options);
    options.method = method;
    options.max_iter = 1000;
    p->start(x);
    check(grad_minimize(ctx, &problem, &options, x, &result) == GRAD_OK);
    if (verbose)
      printf("%-4s %-14s it %4lld r %4lld jac %4lld  |r|^2 = %-12.6g (%g)  %s\n", grad_method_name(method), p->name,
             (long long)result.iterations, (long long)result.evaluations.f, (long long)result.evaluations.jac,
             2 * result.f, p->minimum, result.message);
  }
}

int main(int argc, char **argv) {
  bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  grad_ctx *ctx = check_open();
  for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
    if (!read_set(&sets[k])) continue;
    check_set(ctx, &sets[k], GRAD_METHOD_LM, false, verbose);
    check_set(ctx, &sets[k], GRAD_METHOD_LM, true, verbose);
    check_set(ctx, &sets[k], GRAD_METHOD_TRF, false, verbose);
  }
  check_mgh(ctx, GRAD_METHOD_LM, verbose);
  check_mgh(ctx, GRAD_METHOD_TRF, verbose);
  check_mgh(ctx, GRAD_METHOD_GN, verbose);
  grad_ctx_free(ctx);
  return check_done();
}

/* minimize.h: unconstrained, bounded and constrained minimization of f: R^n -> R given by plain callbacks.
 *
 *   grad_minimizer *m;
 *   grad_minimizer_new(ctx, &problem, &options, x0, &m);
 *   bool running = true;
 *   while (running) grad_minimizer_step(m, &running);      (or grad_minimizer_run(m))
 *   grad_minimizer_result(m, &result);
 *
 * All memory is taken by grad_minimizer_new. "It did not converge" is a result, not an error: `stop` says why the run
 * ended, `failure` what went wrong if something did, `converged` is true only of a point that passes the gradient test
 * (and, with constraints, the feasibility test), and `message` says all of it in a sentence. The point returned is the
 * best one that was accepted. A point where f or its gradient is not finite is a rejected step.
 *
 * Matrices are row-major.
 */
#ifndef GRAD_OPTIM_MINIMIZE_H
#define GRAD_OPTIM_MINIMIZE_H

#include <stdbool.h>

#include "include/grad.h"

/* name, source; those from LM on are for sums of squares alone */
#define GRAD_METHOD_MAP(XX)                                                                                            \
  XX(AUTO, auto, "chosen from the problem")                                                                            \
  XX(GD, gd, "gradient descent, Barzilai-Borwein (1988) first step, strong Wolfe line search")                         \
  XX(NESTEROV, nesterov, "accelerated gradient, Nesterov (1983); adaptive restart, O'Donoghue-Candes (2015)")          \
  XX(CG, cg, "nonlinear conjugate gradients, Nocedal-Wright (2006) ch. 5")                                             \
  XX(BFGS, bfgs, "BFGS, Nocedal-Wright (2006) ch. 6")                                                                  \
  XX(LBFGS, lbfgs, "limited-memory BFGS, Liu-Nocedal (1989)")                                                          \
  XX(LBFGSB, lbfgsb, "limited-memory BFGS with bounds, Byrd-Lu-Nocedal-Zhu (1995)")                                    \
  XX(NEWTON, newton, "Newton with a line search and a shifted Hessian, Nocedal-Wright (2006) ch. 3")                   \
  XX(NEWTON_CG, newton_cg, "truncated Newton, Dembo-Steihaug (1983)")                                                  \
  XX(TRUST_NCG, trust_ncg, "trust region, truncated conjugate gradients, Steihaug (1983)")                             \
  XX(TRUST_EXACT, trust_exact, "trust region, nearly exact step, More-Sorensen (1983)")                                \
  XX(DOGLEG, dogleg, "trust region, dogleg, Powell (1970)")                                                            \
  XX(AUGLAG, auglag, "augmented Lagrangian, Conn-Gould-Toint (1991), Birgin-Martinez (2014)")                          \
  XX(SQP, sqp, "sequential quadratic programming, Powell (1978), Nocedal-Wright (2006) ch. 18")                        \
  XX(LM, lm, "Levenberg-Marquardt with scaling, More (1978)")                                                          \
  XX(TRF, trf, "trust region reflective least squares with bounds, Branch-Coleman-Li (1999)")                          \
  XX(GN, gn, "Gauss-Newton with a line search, Bjorck (1996) ch. 9")

typedef enum grad_method {
#define XX(id, name, text) GRAD_METHOD_##id,
  GRAD_METHOD_MAP(XX)
#undef XX
      GRAD_METHOD_COUNT
} grad_method;

/* Why a run ended. */
#define GRAD_STOP_MAP(XX)                                                                                              \
  XX(RUNNING, "running", "the run has not ended")                                                                      \
  XX(GRADIENT, "converged", "the gradient is within the tolerance")                                                    \
  XX(F_CHANGE, "f_change", "f no longer changes by more than f_tol")                                                   \
  XX(X_CHANGE, "x_change", "x no longer changes by more than x_tol")                                                   \
  XX(TARGET, "target", "f has reached the target")                                                                     \
  XX(PRECISION, "precision", "f can no longer be lowered in floating point")                                           \
  XX(ITERATIONS, "max_iter", "the limit on iterations is reached")                                                     \
  XX(EVALUATIONS, "max_eval", "the limit on evaluations is reached")                                                   \
  XX(TIME, "max_time", "the limit on time is reached")                                                                 \
  XX(USER, "user", "stopped by the caller")                                                                            \
  XX(FAILED, "failed", "the method could not go on")

typedef enum grad_stop {
#define XX(id, name, text) GRAD_STOP_##id,
  GRAD_STOP_MAP(XX)
#undef XX
} grad_stop;

/* What went wrong, with GRAD_STOP_FAILED. */
#define GRAD_FAILURE_MAP(XX)                                                                                           \
  XX(NONE, "none", "nothing failed")                                                                                   \
  XX(NOT_FINITE, "not_finite", "f or its gradient is not finite at the starting point")                                \
  XX(REGION, "region", "every step tried from here ends where f is not finite")                                        \
  XX(LINE_SEARCH, "line_search", "the line search found no acceptable step although f is not at its precision")        \
  XX(INCONSISTENT, "inconsistent",                                                                                     \
     "line search inconsistent with the gradient: f does not change as the gradient says")                             \
  XX(UNBOUNDED, "unbounded", "f seems unbounded below")                                                                \
  XX(INFEASIBLE, "infeasible", "the constraints could not be satisfied: they may contradict each other")               \
  XX(SINGULAR, "singular", "a linear system of the method is singular")

typedef enum grad_failure {
#define XX(id, name, text) GRAD_FAILURE_##id,
  GRAD_FAILURE_MAP(XX)
#undef XX
} grad_failure;

typedef enum grad_line_search {
  GRAD_LINE_AUTO,
  GRAD_LINE_ARMIJO,      /* backtracking by interpolation, Armijo (1966) */
  GRAD_LINE_WOLFE,       /* strong Wolfe, More-Thuente (1994) */
  GRAD_LINE_HAGER_ZHANG, /* approximate Wolfe, Hager-Zhang (2005) */
} grad_line_search;

typedef enum grad_cg_update { GRAD_CG_PR_PLUS, GRAD_CG_FR, GRAD_CG_HS } grad_cg_update;

/* How a residual r counts in a sum of squares: f is half the sum of f_scale^2 rho((r / f_scale)^2); z = (r /
 * f_scale)^2. */
#define GRAD_LOSS_MAP(XX)                                                                                              \
  XX(LINEAR, linear, "rho = z: plain least squares")                                                                   \
  XX(HUBER, huber, "rho = z if z <= 1, else 2 sqrt(z) - 1")                                                            \
  XX(SOFT_L1, soft_l1, "rho = 2 (sqrt(1 + z) - 1)")                                                                    \
  XX(CAUCHY, cauchy, "rho = log(1 + z)")                                                                               \
  XX(ARCTAN, arctan, "rho = arctan(z)")

typedef enum grad_loss {
#define XX(id, name, text) GRAD_LOSS_##id,
  GRAD_LOSS_MAP(XX)
#undef XX
} grad_loss;

/* A callback returns GRAD_OK, or a status with which the step that called it fails; the minimizer then stands where it
 * stood before that step and can go on. x and the results are borrowed for the call. Supply `f_gradient`, or `f` and
 * `gradient`, or for a sum of squares `residual` and `residual_jacobian`. Missing second derivatives are made from what
 * there is: the Hessian column by column from `hvp`, products from differences of gradients. */
typedef struct grad_problem {
  int64_t n;
  void *user;
  grad_status (*f)(void *user, const double *x, double *f);
  grad_status (*gradient)(void *user, const double *x, double *gradient);
  grad_status (*f_gradient)(void *user, const double *x, double *f, double *gradient);
  grad_status (*hvp)(void *user, const double *x, const double *v, double *product);
  grad_status (*hessian)(void *user, const double *x, double *hessian); /* n x n */
  int64_t residuals;                                                    /* how many */
  grad_status (*residual)(void *user, const double *x, double *r);
  grad_status (*residual_jacobian)(void *user, const double *x, double *jacobian); /* residuals x n, or its entries */
  /* Where a sparse Jacobian can have entries, by rows (CSR, from 0, columns ascending): residuals + 1 positions, and a
   * column for each entry. NULL: the Jacobian is dense. Copied. */
  const int64_t *jacobian_starts, *jacobian_columns;
  const double *lower, *upper; /* NULL: none; -Inf and Inf allowed. Copied. */
  int64_t equalities, inequalities;
  /* c(x): first the equalities c = 0, then the inequalities c >= 0; and its Jacobian, rows in that order. */
  grad_status (*constraints)(void *user, const double *x, double *c);
  grad_status (*jacobian)(void *user, const double *x, double *jacobian);
} grad_problem;

typedef struct grad_counts {
  int64_t f, g, hv, jac;
} grad_counts;

/* One record for every method, handed to on_step after each iteration (and after evaluating x0, as iteration 0). */
typedef struct grad_step_info {
  int64_t iteration;
  double f;
  double
      gradient_norm; /* largest entry; with bounds, of the projected gradient; with constraints, of the Lagrangian's */
  double violation;  /* largest violation of a constraint */
  double step;       /* Euclidean length of the step taken */
  double radius;     /* trust radius; 0 for line searches */
  double seconds;
  grad_counts evaluations;
  const double *x; /* borrowed */
} grad_step_info;

typedef struct grad_minimize_options {
  const char *name; /* of the caller, whom errors blame; default "minimize". Borrowed while the minimizer is made */
  grad_method method;
  double tol;            /* largest gradient entry, default 1e-6 */
  double constraint_tol; /* largest violation, default 1e-8 */
  double f_tol, x_tol;   /* relative changes; default 0: not used */
  double target;         /* default -Inf */
  int64_t max_iter;      /* default 10,000 */
  int64_t max_eval;      /* evaluations of f; 0: none */
  double max_seconds;    /* 0: none */
  grad_line_search line_search;
  grad_cg_update cg_update;
  int64_t memory;          /* pairs kept by lbfgs and lbfgsb, default 10 */
  double initial_step;     /* first trial step length or trust radius; 0: chosen */
  double learning_rate;    /* nesterov: fixed step; 0: found by backtracking */
  double penalty;          /* auglag: first penalty; 0: chosen */
  grad_loss loss;          /* sums of squares: default linear */
  double f_scale;          /* where the loss bends, default 1 */
  bool geodesic;           /* lm: second-order correction, Transtrum-Sethna (2012) */
  grad_method inner;       /* auglag: the inner method, default lbfgsb */
  bool skip_gradient_test; /* never spend evaluations on the consistency of f and its gradient */
  bool (*on_step)(void *user, const grad_step_info *info); /* true stops */
  void *on_step_user;
} grad_minimize_options;

typedef struct grad_minimize_result {
  const double *x, *gradient; /* borrowed from the minimizer until its next step */
  const double *multipliers;  /* of the constraints, in their order; NULL without */
  double f, gradient_norm, violation;
  grad_stop stop;
  grad_failure failure;
  bool converged;
  grad_method method; /* the one that ran, never AUTO */
  int64_t iterations;
  grad_counts evaluations;
  double seconds;
  char message[320];
} grad_minimize_result;

typedef struct grad_minimizer grad_minimizer;

/* A named array of a minimizer's state. */
typedef struct grad_state_array {
  const char *name;
  double *data;
  int64_t count;
} grad_state_array;

/* grad_minimize_defaults: fills options with the defaults written at its fields. */
GRAD_API void grad_minimize_defaults(grad_minimize_options *options);

/* grad_minimizer_new: problem and options are copied, with the bounds; x0 (n entries) is moved into the bounds. No
 * callback is called. Errors: ENOMEM; EVALUE for a missing callback, an unusable option, a lower bound above its upper
 * one, a NaN in x0. n = 0 is a problem solved at its start. */
GRAD_API grad_status grad_minimizer_new(grad_ctx *ctx, const grad_problem *problem,
                                        const grad_minimize_options *options, const double *x0, grad_minimizer **out);
GRAD_API void grad_minimizer_free(grad_minimizer *minimizer);

/* grad_minimizer_step: one iteration; the first call evaluates x0. *running turns false when the run has ended, after
 * which a step does nothing. Errors: those of the callbacks, EINTERRUPT; the step can then be tried again. */
GRAD_API grad_status grad_minimizer_step(grad_minimizer *minimizer, bool *running);

/* grad_minimizer_run: steps until the run ends. */
GRAD_API grad_status grad_minimizer_run(grad_minimizer *minimizer);

GRAD_API void grad_minimizer_result(const grad_minimizer *minimizer, grad_minimize_result *result);

/* grad_minimize: the one-shot call; x holds x0 and receives the best point. result may be NULL; its pointers are NULL
 * then. */
GRAD_API grad_status grad_minimize(grad_ctx *ctx, const grad_problem *problem, const grad_minimize_options *options,
                                   double *x, grad_minimize_result *result);

/* The whole state as named arrays: save each, and a minimizer made with the same options that loads them goes on bit
 * for bit (wall time apart). grad_minimizer_state gives the i-th, or one with name NULL after the last; the data is
 * borrowed until the next step. grad_minimizer_load: EVALUE for an unknown name or a wrong count. */
GRAD_API grad_state_array grad_minimizer_state(const grad_minimizer *minimizer, int64_t i);
GRAD_API grad_status grad_minimizer_load(grad_minimizer *minimizer, const char *name, const double *data,
                                         int64_t count);

/* grad_minimizer_bytes: what a minimizer holds, for the collector of a host language. */
GRAD_API size_t grad_minimizer_bytes(const grad_minimizer *minimizer);

GRAD_API const char *grad_method_name(grad_method method);
GRAD_API const char *grad_method_text(grad_method method); /* one line: what it is, and its source */
GRAD_API grad_status grad_method_find(grad_ctx *ctx, const char *name, grad_method *out);
GRAD_API const char *grad_stop_name(grad_stop stop);
GRAD_API const char *grad_failure_name(grad_failure failure);

#endif

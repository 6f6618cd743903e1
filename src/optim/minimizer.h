/* minimizer.h: what the methods of minimize.h share: the handle, evaluation with counting, acceptance of a step, and
 * the table row that a method is. A method's file is named minimize_<method>.c. */
#ifndef GRAD_OPTIM_MINIMIZER_H
#define GRAD_OPTIM_MINIMIZER_H

#include "core/ctx.h"
#include "optim/minimize.h"
#include "linalg/vec.h"
#include "optim/sparse_qr.h"

/* All of a run that is not a vector. Doubles throughout, so that it is saved and loaded as one more array. */
typedef struct grad__progress {
  double started, stop, failure, iteration;
  double f, prior_f, gradient_norm, violation, step, radius, seconds;
  double f_count, g_count, hv_count, jac_count;
  double mismatches; /* accepted steps in a row in which f changed otherwise than its gradients say */
  double next_test;  /* the iteration from which the consistency of f and its gradient may be tested again */
  double best_f, best_norm;
  double own[8]; /* the method's */
} grad__progress;

enum {
  GRAD__PROGRESS_COUNT = sizeof(grad__progress) / sizeof(double),
  GRAD__ARRAYS_MAX = 40,
};

enum {
  ARRAY_PROGRESS,
  ARRAY_X,
  ARRAY_G,
  ARRAY_TRIAL_X,
  ARRAY_TRIAL_G,
  ARRAY_BEST_X,
  ARRAY_BEST_G,
  ARRAY_R,
  ARRAY_TRIAL_R,
  ARRAY_J,
  ARRAY_COLUMNS, /* scratch: a number for each column of J */
  ARRAY_OWN
};

/* What a method needs, and what it can be asked. */
enum {
  GRAD__USES_HESSIAN = 1, /* hessian or hvp or differences */
  GRAD__TAKES_BOUNDS = 2,
  GRAD__TAKES_CONSTRAINTS = 4,
  GRAD__TAKES_RESIDUALS = 8, /* and nothing else */
  GRAD__MONOTONE = 16,       /* the accepted point is always the best one */
};

typedef struct grad__array {
  const char *name;
  double *data;
  int64_t count;
  bool saved; /* part of the state; else scratch */
} grad__array;

typedef struct grad__method {
  grad_method id;
  unsigned traits;
  /* Declares the method's arrays with grad__minimizer_array, in the order of its own enum of them. */
  void (*layout)(grad_minimizer *m);
  /* Called once after x0 was evaluated. May be NULL, as may those after `step`. */
  grad_status (*begin)(grad_minimizer *m);
  /* One iteration: ends in grad__minimizer_accept, or with grad__minimizer_fail. On an error status nothing accepted
   * has changed. */
  grad_status (*step)(grad_minimizer *m);
  /* After a run that ended well: makes the answer more exact without calling on_step. */
  grad_status (*polish)(grad_minimizer *m);
  /* Called at the end of grad_minimizer_new, to make an inner minimizer. */
  grad_status (*prepare)(grad_minimizer *m);
} grad__method;

struct grad_minimizer {
  grad_ctx *ctx;
  const grad__method *method;
  grad_problem problem; /* lower and upper point into block */
  grad_minimize_options options;
  int64_t n, constraints;
  double *x, *g;             /* the accepted point */
  double *trial_x, *trial_g; /* swapped with it when a step is accepted */
  double *multipliers;       /* NULL without constraints */
  grad__progress *progress;
  grad__array arrays[GRAD__ARRAYS_MAX];
  int array_count;
  bool overflow; /* a size computed by layout did not fit */
  double *block;
  size_t block_bytes;
  int64_t *pattern; /* the copies that problem.jacobian_starts and jacobian_columns point to */
  int64_t pattern_count;
  grad__sparse_qr *sparse; /* for a sparse Jacobian; NULL: it is dense */
  double began;            /* clock when the running step began */
  grad_minimizer *inner;   /* auglag's */
};

/* A step from x along direction by alpha to trial_x, and the slopes of f along the direction at both ends. */
typedef struct grad__move {
  const double *direction;
  double alpha, f, slope0, slope1;
} grad__move;

/* Layout: declares an array of `count` doubles, zero at first; -1: the problem is too large. grad__minimizer_product: a
 * b, such a count. */
void grad__minimizer_array(grad_minimizer *m, const char *name, int64_t count, bool saved);
int64_t grad__minimizer_product(int64_t a, int64_t b);
static inline double *grad__minimizer_own(const grad_minimizer *m, int i) { return m->arrays[ARRAY_OWN + i].data; }

/* Evaluation, counted. What is not finite comes out as f = Inf; so does a finite f with a gradient that is not. */
grad_status grad__minimizer_f(grad_minimizer *m, const double *x, double *f);
grad_status grad__minimizer_gradient(grad_minimizer *m, const double *x, double *gradient, bool *finite);
grad_status grad__minimizer_f_gradient(grad_minimizer *m, const double *x, double *f, double *gradient);
/* The same with the slope of f along a direction, which tells in the same pass whether the gradient is finite. */
grad_status grad__minimizer_f_slope(grad_minimizer *m, const double *x, const double *direction, double *f,
                                    double *gradient, double *slope);
/* Sums of squares (residuals.c). grad__residuals_f leaves r(x) in trial_r; grad__residuals_gradient also J(x) in j. */
grad_status grad__residuals_f(grad_minimizer *m, const double *x, double *f);
grad_status grad__residuals_gradient(grad_minimizer *m, const double *x, double *gradient);
/* For each entry of the gradient, the sum of its terms' magnitudes, from trial_r and j: a gradient that is far below it
 * is small, whatever the units of the parameters and the residuals, and however many residuals an entry has no part in.
 */
void grad__residuals_sizes(const grad_minimizer *m, double *sizes);
/* g from trial_r and j, and with `weighted` (residuals doubles) the residuals that with j's rows times `scale`
 * (residuals doubles) make the Gauss-Newton model of the loss; NULL: not wanted. */
void grad__residuals_model(const grad_minimizer *m, const double *r, double *weighted, double *scale);

/* Second derivatives at the accepted point. Differences of gradients stand in where no callback gives them; scratch
 * holds 2 n doubles for them. */
grad_status grad__minimizer_hvp(grad_minimizer *m, const double *v, double *scratch, double *product);
grad_status grad__minimizer_hessian(grad_minimizer *m, double *scratch, double *hessian);

/* Makes the trial point the accepted one. Where the change of f contradicts the slopes, tests the gradient first: then
 * the step is refused and the run fails as inconsistent. */
grad_status grad__minimizer_accept(grad_minimizer *m, const grad__move *move);

/* The same for methods with constraints, which have their own test: norm is that of the first-order conditions. */
void grad__minimizer_commit(grad_minimizer *m, double f, double norm, double step);

/* A minimizer as new, from x with another tolerance. */
void grad__minimizer_restart(grad_minimizer *m, const double *x, double tol);

/* Makes the trial point the accepted one with no test and no count: for `polish`. */
void grad__minimizer_replace(grad_minimizer *m, double f);

/* Ends the run. With LINE_SEARCH, tests whether the gradient is to blame (direction and slope0 of the move). */
grad_status grad__minimizer_fail(grad_minimizer *m, grad_failure failure, const grad__move *move);
grad_status grad__minimizer_stop(grad_minimizer *m, grad_stop stop);

/* The norm the gradient test uses: largest entry of the gradient, or of P(x - g) - x with bounds. */
double grad__minimizer_norm(const grad_minimizer *m, const double *x, const double *g);
bool grad__minimizer_bounded(const grad_minimizer *m);

/* Tells the caller's on_step (may be NULL) and the context's progress callback of a step; true when one of them wants
 * the run to end. */
bool grad__step_report(grad_ctx *ctx, const char *task, const grad_step_info *info,
                       bool (*on_step)(void *user, const grad_step_info *info), void *user);

/* The stopping test (minimize_stop.c), which calls on_step: sets progress->stop after an accepted step. */
void grad__stop_test(grad_minimizer *m);
void grad__stop_message(const grad_minimizer *m, char *out, size_t size);
double grad__seconds(void);

/* One row a method; that of AUTO, which stands for another, is empty. */
#define XX(id, name, text) extern const grad__method grad__method_##name;
GRAD_METHOD_MAP(XX)
#undef XX

#endif

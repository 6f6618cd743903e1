/* root.h: systems of nonlinear equations F(x) = 0, F: R^n -> R^n, and fixed points x = g(x), by plain callbacks.
 *
 * | method   | source                                                                                     |
 * |----------|--------------------------------------------------------------------------------------------|
 * | newton   | Newton with a line search on |F|: Dennis, Schnabel (1983), ch. 6                           |
 * | hybrid   | Powell (1970): dogleg steps, Broyden updates between Jacobians                             |
 * | broyden  | Broyden (1965), with a line search; a new Jacobian where the update misleads               |
 * | anderson | Anderson (1965), Walker, Ni (2011): no Jacobian, no matrix; also what fixed points are found by |
 *
 * "No root was found" is a result: see `stop` and `message`. A point where F is not finite is a rejected step. The best
 * point seen is returned.
 */
#ifndef GRAD_OPTIM_ROOT_H
#define GRAD_OPTIM_ROOT_H

#include "optim/minimize.h"

typedef enum grad_root_method {
  GRAD_ROOT_AUTO,
  GRAD_ROOT_NEWTON,
  GRAD_ROOT_HYBRID,
  GRAD_ROOT_BROYDEN,
  GRAD_ROOT_ANDERSON
} grad_root_method;

typedef struct grad_root_problem {
  int64_t n;
  void *user;
  grad_status (*f)(void *user, const double *x, double *f);
  grad_status (*jacobian)(void *user, const double *x, double *jacobian); /* n x n, row-major; NULL: differences */
} grad_root_problem;

typedef struct grad_root_options {
  grad_root_method method; /* AUTO: hybrid up to 200 unknowns, else anderson */
  double tol;              /* largest |F_i|, default 1e-10 */
  double x_tol;            /* relative step; default 0: not used */
  int64_t max_iter;        /* default 500 */
  double max_seconds;      /* 0: none */
  int64_t memory;          /* anderson, default 5; 0: the plain iteration x <- x - damping F(x) */
  double damping;          /* anderson: share of F that is added, default 1 */
  bool (*on_step)(void *user, const grad_step_info *info); /* true stops; f is the largest |F_i| */
  void *on_step_user;
} grad_root_options;

typedef struct grad_root_result {
  double residual; /* largest |F_i| at the point returned */
  grad_stop stop;  /* GRADIENT stands for: within tol */
  grad_failure failure;
  bool converged;
  grad_root_method method;
  int64_t iterations;
  grad_counts evaluations; /* f and jac */
  char message[240];
} grad_root_result;

/* grad_root_defaults: fills options with the defaults written at its fields. */
GRAD_API void grad_root_defaults(grad_root_options *options);

/* grad_root: x holds x0 and receives the best point. Errors: ENOMEM, EVALUE (options), EINTERRUPT, the callbacks'. */
GRAD_API grad_status grad_root(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options,
                               double *x, grad_root_result *result);

/* grad_fixed_point: the same for x = g(x), problem->f being g, by anderson; the residual is |g(x) - x|. */
GRAD_API grad_status grad_fixed_point(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options,
                                      double *x, grad_root_result *result);

/* grad_root_method_name: "newton", "hybrid" and so on. */
GRAD_API const char *grad_root_method_name(grad_root_method method);

#endif

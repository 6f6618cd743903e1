/* least_squares.h: what a fit by minimize.h's lm, trf or gn has beyond its minimum: how well the data determine the
 * parameters. (A fit is a grad_problem with `residual` and `residual_jacobian`; the losses are grad_loss.)
 */
#ifndef GRAD_OPTIM_LEAST_SQUARES_H
#define GRAD_OPTIM_LEAST_SQUARES_H

#include "optim/minimize.h"

typedef struct grad_fit {
  double variance; /* of a residual: 2 f / (residuals - rank); NaN when there are not more */
  int64_t rank;    /* of the Jacobian: fewer than n, and some parameters are not determined */
} grad_fit;

/* grad_least_squares_fit: at the minimizer's result, covariance (n x n, row-major) = variance inv(J'J) by QR and the
 * standard errors (n), the roots of its diagonal; either may be NULL. Entries of parameters that the data do not
 * determine are Inf. The Jacobian is that of the last accepted point, or evaluated once more. Errors: EVALUE when the
 * problem is no sum of squares, ENOMEM, those of the callbacks. */
GRAD_API grad_status grad_least_squares_fit(grad_minimizer *minimizer, double *covariance, double *errors,
                                            grad_fit *fit);

/* grad_loss_name: "linear", "huber" and so on. */
GRAD_API const char *grad_loss_name(grad_loss loss);

#endif

/* squares.h: what the methods for sums of squares share: the QR of the Gauss-Newton model at the accepted point, and
 * the last steps of a run that ended well. */
#ifndef GRAD_OPTIM_SQUARES_H
#define GRAD_OPTIM_SQUARES_H

#include "optim/damped.h"
#include "optim/minimizer.h"

/* Each of these methods declares these arrays first. */
enum { SQUARES_SCALE, SQUARES_STEP, SQUARES_WEIGHTED, SQUARES_ROW_SCALE, SQUARES_BLOCK, SQUARES_FREE, SQUARES_OWN };

/* extra: rows below the Jacobian's, for a method that stacks more equations on it. */
void grad__squares_layout(grad_minimizer *m, int64_t extra);

/* Makes the residuals of the point last evaluated with its Jacobian those of the accepted point. */
grad_status grad__squares_keep(grad_minimizer *m);
/* Residuals and Jacobian of the accepted point again, after a trial that overwrote them was refused. */
grad_status grad__squares_refresh(grad_minimizer *m);

/* The weighted residuals and row scales at the accepted point, and the scale of each variable: the largest norm that
 * its column of J has had (More). */
void grad__squares_model(grad_minimizer *m);
/* The model's QR. */
void grad__squares_factor(grad_minimizer *m, grad__damped *d);

/* |D v| */
double grad__squares_norm(const grad_minimizer *m, const double *v);
/* By how much the model falls with step p: |r|^2 / 2 - |J p + r|^2 / 2. */
double grad__squares_reduction(const grad_minimizer *m, const double *p);

/* The trial point takes the place of the accepted one, without a count, when f there is no higher than `highest` and
 * the gradient test is passed no worse: for what happens after the last step. */
grad_status grad__squares_replace(grad_minimizer *m, double highest, bool *taken);

/* Undamped steps of the variables that are not on a bound, within the bounds, for as long as they become shorter and f
 * rises by no more than its rounding, which where the fit is close is that of the model's values, not of f. */
grad_status grad__squares_polish(grad_minimizer *m);

#endif

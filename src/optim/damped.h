/* damped.h: linear least squares |J p + r| within |D p| <= radius by QR, J. J. More (1978), "The Levenberg-Marquardt
 * algorithm: implementation and theory"; never the normal equations. */
#ifndef GRAD_OPTIM_DAMPED_H
#define GRAD_OPTIM_DAMPED_H

#include "optim/dense.h"

typedef struct grad__damped {
  grad__qr qr;         /* of J, factored with pivoting */
  double *qtr;         /* m: Q'r */
  grad__qr stacked;    /* of [R; sqrt(lambda) D P], 2 n x n, without pivoting */
  double *rhs;         /* 2 n */
  const double *scale; /* n: D */
  double lambda;       /* in: a first guess; out: the damping used */
  int64_t rank;
} grad__damped;

/* How many doubles the members take for m residuals and n variables, -1 when too many; and where they lie in a block.
 */
int64_t grad__damped_size(int64_t m, int64_t n);
void grad__damped_place(grad__damped *d, int64_t m, int64_t n, double *block);

/* Factors the J laid out in qr.columns; qtr holds r and becomes Q'r. */
void grad__damped_factor(grad__damped *d);

/* p: the minimizer within the radius (|D p| to a tenth of it; Inf: none, the Gauss-Newton step). */
void grad__damped_solve(grad__damped *d, double radius, double *p);

/* p = argmin |J p + r|^2 + lambda |D p|^2 for a further right hand side, given as Q'r in `projected`, with the last
 * solve's lambda. */
void grad__damped_resolve(grad__damped *d, const double *projected, double *p);

#endif

/* damped.h: linear least squares |J p + r| within |D p| <= radius by QR, J. J. More (1978), "The Levenberg-Marquardt
 * algorithm: implementation and theory"; never the normal equations. J is dense, or sparse with its own QR. */
#ifndef GRAD_OPTIM_DAMPED_H
#define GRAD_OPTIM_DAMPED_H

#include "optim/dense.h"
#include "optim/sparse_qr.h"

typedef struct grad__damped {
  int64_t m, n;
  const double *scale, *gradient; /* n: D; J'r */
  double lambda;                  /* in: a first guess; out: the damping used */
  int64_t rank;
  double *newton; /* n: the undamped step; |D p| of it, and what `sensitivity` says */
  double newton_length, newton_change;
  /* dense */
  double *size;     /* n: S, the norms of J's columns */
  grad__qr qr;      /* of J inv(S), with pivoting: what depends on what is told whatever the units of the variables */
  double *qtr;      /* m: r, then Q'r */
  grad__qr stacked; /* of [R; sqrt(lambda) D inv(S) P], 2 n x n, without pivoting */
  double *rhs;      /* max(m, 2 n) */
  /* sparse: the matrix with its scales, whose diagonal's squares are `ridge` (NULL: 0); r */
  grad__sparse_qr *sparse;
  grad__sparse_matrix matrix;
  const double *residual, *ridge;
  double *diagonal; /* n */
} grad__damped;

/* How many doubles the members take for m residuals and n variables, -1 when too many; and where they lie in a block.
 * The caller then sets scale and gradient, and J and r: in qr.columns and qtr, or matrix, residual and ridge. */
int64_t grad__damped_size(int64_t m, int64_t n, bool sparse);
void grad__damped_place(grad__damped *d, int64_t m, int64_t n, grad__sparse_qr *sparse, double *block);

/* Factors J and finds the undamped step. */
void grad__damped_factor(grad__damped *d);

/* p: the minimizer within the radius (|D p| to a tenth of it; Inf: none, the Gauss-Newton step). */
void grad__damped_solve(grad__damped *d, double radius, double *p);

/* p = argmin |J p + b|^2 + lambda |D p|^2 for a further right hand side (m; it is overwritten) with J'b = jtb (sparse
 * only), with the last solve's lambda. */
void grad__damped_resolve(grad__damped *d, double *b, const double *jtb, double *p);

#endif

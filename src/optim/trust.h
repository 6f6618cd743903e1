/* trust.h: what the trust region methods share: the ratio test and the radius, and conjugate gradients that stop at
 * the radius or at negative curvature. */
#ifndef GRAD_OPTIM_TRUST_H
#define GRAD_OPTIM_TRUST_H

#include "optim/minimizer.h"

/* The minimizer, roughly, of the model g'p + p'Hp/2 within the radius, and by how much the model falls (>= 0). */
typedef grad_status (*grad__trust_solve)(grad_minimizer *m, double radius, double *p, double *reduction);

/* One accepted step: solve, trial, ratio, radius (kept in progress->radius), repeated until a trial is accepted. p: n
 * doubles of scratch. */
grad_status grad__trust_step(grad_minimizer *m, grad__trust_solve solve, double *p);

typedef struct grad__cg_inner {
  double radius;                /* Inf: none */
  double tol;                   /* on the residual's Euclidean norm */
  const double *fixed;          /* nonzero entries: variables that stay; NULL: none */
  double *r, *d, *hd, *scratch; /* n each, scratch 2 n */
  bool bent;                    /* result: stopped at negative curvature or at the radius */
} grad__cg_inner;

/* Steihaug's (1983) conjugate gradients for H p = -g from p = 0. With no radius, negative curvature ends it: p is the
 * iterate before, or -g at the first step. */
grad_status grad__trust_cg(grad_minimizer *m, grad__cg_inner *inner, double *p, double *reduction);

/* g'p + p'Hp/2 with its sign turned, for a dense Hessian. */
double grad__trust_reduction(int64_t n, const double *g, const double *hessian, const double *p);

#endif

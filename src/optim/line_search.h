/* line_search.h: the step length along a descent direction; one interface for all rules. */
#ifndef GRAD_OPTIM_LINE_SEARCH_H
#define GRAD_OPTIM_LINE_SEARCH_H

#include "optim/minimizer.h"

typedef enum grad__line_end {
  GRAD__LINE_OK,
  GRAD__LINE_PRECISION, /* the best possible change of f is below its rounding error */
  GRAD__LINE_REGION,    /* every trial was not finite */
  GRAD__LINE_UNBOUNDED, /* f still falls at the longest step */
  GRAD__LINE_FAILED,
} grad__line_end;

typedef struct grad__line {
  grad_line_search rule;
  const double *direction;
  double f0, slope0; /* at the accepted point; slope0 < 0 */
  double first;      /* first trial step */
  double longest;    /* 0: 1e12 */
  bool walled;       /* longest is a bound: reaching it is no sign of f being unbounded */
  double c1, c2;     /* sufficient decrease and curvature; 0: 1e-4 and 0.9 */
  /* results; the point, its gradient: the minimizer's trial_x, trial_g */
  double alpha, f, slope;
  grad__line_end end;
} grad__line;

/* grad__line_search: on GRAD__LINE_OK the step satisfies the rule; a direction that is no descent fails. Errors: those
 * of the callbacks. */
grad_status grad__line_search(grad_minimizer *m, grad__line *line);

/* grad__line_settle: acceptance of the step found, or the failure that `end` is. *moved tells; the prior point and its
 * gradient are then trial_x and trial_g. grad__line_advance: search and settle. */
grad_status grad__line_settle(grad_minimizer *m, const grad__line *line, bool *moved);
grad_status grad__line_advance(grad_minimizer *m, grad__line *line, bool *moved);

/* One rule's search, for line_search.c. */
grad_status grad__line_armijo(grad_minimizer *m, grad__line *line);
grad_status grad__line_wolfe(grad_minimizer *m, grad__line *line);
grad_status grad__line_hager_zhang(grad_minimizer *m, grad__line *line);

/* f and slope at x + alpha direction, into line->alpha, f, slope, trial_x, trial_g. */
grad_status grad__line_eval(grad_minimizer *m, grad__line *line, double alpha);

/* Rounding error of a value of f near f0: 1e-13 of it, for the functions whose sums and factorizations leave them three
 * digits fewer than a number has (Hager and Zhang take 1e-6). */
static inline double grad__line_noise(const grad__line *line) { return 512 * 2.220446049250313e-16 * fabs(line->f0); }

/* The approximate Wolfe conditions of Hager and Zhang (2005): what can still be told when f has no digits left. */
static inline bool grad__line_approximate(const grad__line *line) {
  return line->f <= line->f0 + grad__line_noise(line) && line->slope <= (2 * line->c1 - 1) * line->slope0 &&
         fabs(line->slope) <= -line->c2 * line->slope0;
}

/* Minimizer of the cubic through two points with slopes; of the secant of two slopes. */
double grad__line_cubic(double a, double fa, double da, double b, double fb, double db);
double grad__line_secant(double a, double da, double b, double db);

#endif

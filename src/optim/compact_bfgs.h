/* compact_bfgs.h: the compact limited-memory BFGS matrix of R. H. Byrd, J. Nocedal, R. B. Schnabel (1994):
 * B = theta I - W K^-1 W', W = [Y, theta S], K = [-D, L'; L, theta S'S], D and L the diagonal and the strictly lower
 * part of S'Y. Pairs are kept oldest first. */
#ifndef GRAD_OPTIM_COMPACT_BFGS_H
#define GRAD_OPTIM_COMPACT_BFGS_H

#include "optim/pair_history.h"

typedef struct grad__compact {
  grad__pairs pairs; /* with ss */
  double theta;
} grad__compact;

/* Takes in the pair of two points and sets theta by it; tells whether its curvature is positive enough to be kept. */
bool grad__compact_push(grad__compact *b, const double *x, const double *prior_x, const double *g,
                        const double *prior_g);

/* out (2 count) = W'v. */
void grad__compact_project(const grad__compact *b, const double *v, double *out);
/* out = c v + e W (y; s): the first `count` coefficients are those of Y, then those of theta S. out may be v. */
void grad__compact_combine(const grad__compact *b, double c, const double *v, double e, double *coefficients,
                           double *out);
/* The row of W that belongs to variable i. */
void grad__compact_row(const grad__compact *b, int64_t i, double *out);
/* k (2 count x 2 count) = K. */
void grad__compact_middle(const grad__compact *b, double *k);
/* k -= W_F'W_F / theta, F the variables whose `fixed` is 0; work: grad__compact_work doubles. */
void grad__compact_reduce(const grad__compact *b, const double *fixed, double *work, double *k);
int64_t grad__compact_work(int64_t memory); /* -1 when too many */

#endif

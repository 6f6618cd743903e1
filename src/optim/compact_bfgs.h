/* compact_bfgs.h: the compact limited-memory BFGS matrix of R. H. Byrd, J. Nocedal, R. B. Schnabel (1994):
 * B = theta I - W K^-1 W', W = [Y, theta S], K = [-D, L'; L, theta S'S], D and L the diagonal and the strictly lower
 * part of S'Y. Pairs are kept oldest first. */
#ifndef GRAD_OPTIM_COMPACT_BFGS_H
#define GRAD_OPTIM_COMPACT_BFGS_H

#include "linalg/vec.h"

typedef struct grad__compact {
  int64_t n, memory, count;
  double theta;
  double *s, *y;        /* memory x n */
  double *sy, *ss, *yy; /* memory x memory: s_i'y_j, s_i's_j, y_i'y_j */
} grad__compact;

/* Takes the pair in, dropping the oldest, when its curvature is positive enough; tells whether. */
bool grad__compact_push(grad__compact *b, const double *s, const double *y);

/* out (2 count) = W'v. */
void grad__compact_project(const grad__compact *b, const double *v, double *out);
/* The row of W that belongs to variable i. */
void grad__compact_row(const grad__compact *b, int64_t i, double *out);
/* k (2 count x 2 count) = K. */
void grad__compact_middle(const grad__compact *b, double *k);
/* k -= W_F'W_F / theta, F the variables whose `fixed` is 0. */
void grad__compact_reduce(const grad__compact *b, const double *fixed, double *k);

#endif

/* dense.h: factorizations for the dense second-order methods, whose systems have some tens of unknowns and must come
 * out to the same bits on every run. */
#ifndef GRAD_OPTIM_DENSE_H
#define GRAD_OPTIM_DENSE_H

#include "linalg/vec.h"

/* The lower triangle of a (n x n, row-major, symmetric) becomes L with L L' = a; false when a is not positive definite
 * to working precision. The strict upper triangle is not touched. */
bool grad__dense_cholesky(int64_t n, double *a);
void grad__dense_cholesky_solve(int64_t n, const double *l, double *b);
/* b becomes inv(L) b. */
void grad__dense_cholesky_forward(int64_t n, const double *l, double *b);

/* work becomes L of hessian + shift I, for the smallest tried shift >= 0 that is positive definite (J. Nocedal,
 * S. Wright (2006), algorithm 3.3); least: what to try for a hessian of zeros. Returns the shift; Inf when there is
 * none, as when an entry is not finite. */
double grad__dense_cholesky_shifted(int64_t n, const double *hessian, double least, double *work);

/* Householder QR with column pivoting of the m x n matrix whose columns lie one after the other in `columns` (each m
 * long): R in the upper triangle, the vectors below it and in `tau`. pivot[j]: which column of the matrix is column j
 * of R. Not more than min(m, n) steps. With pivot NULL the columns keep their order. */
typedef struct grad__qr {
  int64_t m, n;
  double *columns; /* n x m */
  double *tau;     /* n */
  double *norm;    /* n, scratch */
  double *pivot;   /* n, or NULL */
} grad__qr;
void grad__qr_factor(grad__qr *qr);
/* Before it: divides each column by its length, which is kept in `size` (n; 1 for a column of zeros), so that the rank
 * does not depend on the units of the unknowns. */
void grad__qr_unit_columns(grad__qr *qr, double *size);
/* b (m) becomes Q'b. */
void grad__qr_project(const grad__qr *qr, double *b);
/* How many diagonal entries of R are above tol times the first one; with pivoting, the numerical rank. */
int64_t grad__qr_rank(const grad__qr *qr, double tol);
static inline double grad__qr_r(const grad__qr *qr, int64_t i, int64_t j) { return qr->columns[j * qr->m + i]; }
/* b (its first n entries) becomes inv(R) b; inv(R') b, for the leading `rank` rows; the rest of b is set to 0. */
void grad__qr_back(const grad__qr *qr, int64_t rank, double *b);
void grad__qr_back_transposed(const grad__qr *qr, int64_t rank, double *b);

#endif

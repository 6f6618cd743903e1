/* sparse_qr.h: QR of a tall sparse matrix by Givens rotations of its rows, one after the other, into R: A. George,
 * M. T. Heath (1980), "Solution of sparse linear least squares problems using Givens rotations", Linear Algebra
 * Appl. 34. Q is not kept, R has the structure of the Cholesky factor of A'A, and the condition of A is not squared.
 * For a band of width b it takes about n b numbers and m b^2 operations. */
#ifndef GRAD_OPTIM_SPARSE_QR_H
#define GRAD_OPTIM_SPARSE_QR_H

#include "core/ctx.h"
#include "linalg/vec.h"

typedef struct grad__sparse_qr grad__sparse_qr;

/* For matrices of one pattern: CSR, `starts` (m + 1) and `columns` ascending in each row, from 0; both borrowed.
 * Finds an order of the columns that keeps R sparse: reverse Cuthill-McKee with the few dense columns last, or the
 * columns' own. Errors: ENOMEM. */
grad_status grad__sparse_qr_new(grad_ctx *ctx, int64_t m, int64_t n, const int64_t *starts, const int64_t *columns,
                                grad__sparse_qr **out);
void grad__sparse_qr_free(grad__sparse_qr *s);
size_t grad__sparse_qr_bytes(const grad__sparse_qr *s);

/* The matrix diag(row_scale) A diag(column_scale) with the rows of diag(diagonal) below it; each may be NULL: ones,
 * ones, no such rows. */
typedef struct grad__sparse_matrix {
  const double *values, *row_scale, *column_scale, *diagonal;
} grad__sparse_matrix;

/* Factors it and takes rhs (m; zeros for the diagonal's rows) along. A column that depends on those before it, to
 * working precision, is left out, as M. T. Heath (1982) does. Returns the rank. */
int64_t grad__sparse_qr_factor(grad__sparse_qr *s, const grad__sparse_matrix *matrix, const double *rhs);

/* x (n) = the solution of least squares; 0 where a column was left out. */
void grad__sparse_qr_solve(const grad__sparse_qr *s, double *x);

/* x (n) = inv(R'R) b; out may be b. grad__sparse_qr_half_norm: |inv(R') b|. */
void grad__sparse_qr_normal(const grad__sparse_qr *s, const double *b, double *x);
double grad__sparse_qr_half_norm(const grad__sparse_qr *s, const double *b);

/* The diagonal of inv(R'R), Inf where a column was left out: the sparse inverse subset, K. Takahashi, J. Fagan, M.-S.
 * Chin (1973). ENOMEM. */
grad_status grad__sparse_qr_variances(const grad__sparse_qr *s, double *out);

#endif

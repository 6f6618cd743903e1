/* linalg.h: linear algebra on the builder. Functions act on the last two axes and are batched over the leading ones,
 * which broadcast between operands; bool and i64 become f64. All have derivatives of every order unless said otherwise.
 *
 * Errors come when a program runs: ESINGULAR, ENOTPD, and ENONDIFF where a derivative does not exist; they name the
 * matrix of the batch. A matrix with NaN or Inf gives NaN, not an error, except in cholesky, which needs a positive
 * definite one.
 */
#ifndef GRAD_OPS_LINALG_H
#define GRAD_OPS_LINALG_H

#include "ops/ops.h"

/* --- op_linalg_solve.c: by LU with partial pivoting; the factors are shared by all that use one matrix, also by the
 * derivatives */
/* x with a x = b. b: matrices, or one vector (a single axis). */
grad_id grad__solve(grad_program *p, grad_id a, grad_id b);
grad_id grad__inv(grad_program *p, grad_id a);

/* --- op_linalg_det.c */
/* The derivative is right at singular matrices too (the cofactors); the second one is ESINGULAR there. */
grad_id grad__det(grad_program *p, grad_id a);
/* sign: -1, 0 or 1; logabs: log|det|, -Inf for a singular matrix. */
void grad__slogdet(grad_program *p, grad_id a, grad_id *sign, grad_id *logabs);
/* NaN where the determinant is negative. */
grad_id grad__logdet(grad_program *p, grad_id a);

/* --- op_linalg_triangular.c: the other triangle is not read; ESINGULAR for a zero on the diagonal */
grad_id grad__triangular_solve(grad_program *p, grad_id t, grad_id b, bool upper, bool transposed);

/* --- op_linalg_cholesky.c: lower L with L L' = (a + a') / 2, so that derivatives are those of a symmetric argument */
grad_id grad__cholesky(grad_program *p, grad_id a);
/* x with L L' x = b. */
grad_id grad__cholesky_solve(grad_program *p, grad_id l, grad_id b);

/* --- op_linalg_qr.c */
/* Reduced: q ... m k, r ... k n with k = min(m, n). The derivative needs the first k columns to be independent. */
void grad__qr(grad_program *p, grad_id a, grad_id *q, grad_id *r);
/* The x that minimizes |a x - b|, the smallest one when there are many. ESINGULAR unless a has full rank. */
grad_id grad__lstsq(grad_program *p, grad_id a, grad_id b);

/* --- op_linalg_svd.c: reduced: u ... m k, s ... k descending, vt ... k n with k = min(m, n) */
void grad__svd(grad_program *p, grad_id a, grad_id *u, grad_id *s, grad_id *vt);

/* --- op_linalg_eigh.c: of (a + a') / 2: values ascending, vectors in columns */
void grad__eigh(grad_program *p, grad_id a, grad_id *values, grad_id *vectors);

/* --- op_linalg_expm.c */
grad_id grad__matrix_exp(grad_program *p, grad_id a);

/* --- linalg.c: what the above share */
/* A float matrix: converted; fails when it has fewer than two axes, or with `square` when it is not. */
grad_id grad__linalg_matrix(grad_program *p, const char *name, grad_id a, bool square);
/* The operands of a x = b as matrices of as many rows; `vector`: b was one vector, now a column. False: p has failed.
 */
bool grad__linalg_system(grad_program *p, const char *name, bool square, grad_id *a, grad_id *b, bool *vector);
/* x as b was given: without its last axis when b was a vector. */
grad_id grad__linalg_solution(grad_program *p, grad_id x, bool vector);
/* (a + a') / 2 of a float square matrix. */
grad_id grad__linalg_symmetric(grad_program *p, const char *name, grad_id a);
/* Promotes and broadcasts the leading axes of two matrices (last two axes kept). */
void grad__linalg_align(grad_program *p, grad_id *a, grad_id *b);
grad_id grad__linalg_transpose(grad_program *p, grad_id a);

/* --- op_linalg_gaps.c: inside the derivatives of eigh and svd; says where these exist */
typedef enum grad_spectrum { GRAD_SPECTRUM_EIGEN, GRAD_SPECTRUM_SINGULAR } grad_spectrum;
/* m: symmetric, how the matrix moves in the basis of its vectors. d: how the values w move; t: the turn of the vectors.
 */
void grad__spectrum_push(grad_program *p, grad_id w, grad_id m, grad_spectrum kind, grad_id *d, grad_id *t);

/* n[i][j] over w[j] - w[i], w[j] + w[i] (both 0 on the diagonal) or w[j]; w: one axis less. */
typedef enum grad_gap { GRAD_GAP_DIFFERENCE, GRAD_GAP_SUM, GRAD_GAP_COLUMN } grad_gap;
grad_id grad__gap_divide(grad_program *p, grad_id w, grad_id n, grad_gap divisor);

#endif

/* krylov.h: linear systems A x = b given by products with A alone (matrix-free).
 *
 * | solver  | A                            | source                                       |
 * |---------|------------------------------|----------------------------------------------|
 * | cg      | symmetric positive definite  | Hestenes, Stiefel (1952)                     |
 * | minres  | symmetric, may be indefinite | Paige, Saunders (1975)                       |
 * | gmres   | any                          | Saad, Schultz (1986), restarted              |
 */
#ifndef GRAD_LINALG_KRYLOV_H
#define GRAD_LINALG_KRYLOV_H

#include <stdbool.h>

#include "include/grad.h"

/* out = A x. An error ends the solve with that status. */
typedef grad_status (*grad_operator)(void *user, const double *x, double *out);

typedef struct grad_krylov_options {
  double rtol, atol; /* done when |b - A x| <= max(rtol |b|, atol); 0, 0: rtol 1e-10 */
  int64_t max_iter;  /* products with A; 0: 10 n + 10 */
  int64_t restart;   /* gmres: size of the basis; 0: min(n, 30) */
} grad_krylov_options;

typedef struct grad_krylov_result {
  int64_t iterations;
  double residual; /* |b - A x|, as the recurrence has it */
  bool converged;
  bool indefinite; /* cg: a direction of no positive curvature was met; x is the iterate before */
} grad_krylov_result;

/* x holds a first guess and receives the solution; options may be NULL. "Not converged" is a result. Errors: ENOMEM,
 * EINTERRUPT, those of the operator. */
GRAD_API grad_status grad_krylov_cg(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b, double *x,
                                    const grad_krylov_options *options, grad_krylov_result *result);
GRAD_API grad_status grad_krylov_minres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b,
                                        double *x, const grad_krylov_options *options, grad_krylov_result *result);
GRAD_API grad_status grad_krylov_gmres(grad_ctx *ctx, int64_t n, grad_operator a, void *user, const double *b,
                                       double *x, const grad_krylov_options *options, grad_krylov_result *result);

#endif

/* quadratic_program.h: strictly convex quadratic programs: D. Goldfarb, A. Idnani (1983), "A numerically stable dual
 * method for solving strictly convex quadratic programs", Math. Program. 27.
 *   minimize x'Gx/2 + g'x  subject to  a_i'x + b_i = 0 (i < equalities), a_i'x + b_i >= 0, lower <= x <= upper. */
#ifndef GRAD_OPTIM_QUADRATIC_PROGRAM_H
#define GRAD_OPTIM_QUADRATIC_PROGRAM_H

#include "linalg/vec.h"

typedef struct grad__qp {
  int64_t n, equalities, rows; /* rows: the equalities and the general inequalities */
  const double *matrix;        /* G, n x n */
  const double *gradient;      /* g */
  const double *normals;       /* rows x n: a_i */
  const double *offsets;       /* rows: b_i */
  const double *lower, *upper; /* n */
  double *x;                   /* n: the solution */
  double *multipliers;         /* rows: of the general constraints, >= 0 for the inequalities */
  double *work;                /* grad__qp_work(n, rows) doubles */
} grad__qp;

typedef enum grad__qp_end { GRAD__QP_OK, GRAD__QP_INFEASIBLE, GRAD__QP_NOT_CONVEX } grad__qp_end;

int64_t grad__qp_work(int64_t n, int64_t rows); /* -1 when too many */
grad__qp_end grad__qp_solve(grad__qp *qp);

#endif

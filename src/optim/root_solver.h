/* root_solver.h: what the methods of root.h share. */
#ifndef GRAD_OPTIM_ROOT_SOLVER_H
#define GRAD_OPTIM_ROOT_SOLVER_H

#include "core/ctx.h"
#include "optim/dense.h"
#include "optim/root.h"

typedef struct grad__root {
  grad_ctx *ctx;
  const grad_root_problem *problem;
  grad_root_options options;
  grad_root_result *result;
  bool fixed_point; /* F(x) = x - g(x) */
  int64_t n;
  double *x, *f, *trial_x, *trial_f, *best_x;
  double *work; /* the method's */
  double step, began;
} grad__root;

/* F(x), counted; *norm its largest entry, Inf when one is not finite. */
grad_status grad__root_eval(grad__root *r, const double *x, double *f, double *norm);
/* The trial point becomes the current one; the stopping test. True: go on. */
bool grad__root_accept(grad__root *r, double norm);
/* Ends the run. */
void grad__root_stop(grad__root *r, grad_stop stop, grad_failure failure);

int64_t grad__root_dense_work(int64_t n);
grad_status grad__root_dense(grad__root *r); /* newton, hybrid, broyden */
int64_t grad__root_anderson_work(int64_t n, int64_t memory);
grad_status grad__root_anderson(grad__root *r);

#endif

/* root.c: the driver of the root finders: options, memory, the stopping test, the sentence at the end. */
#include "optim/root.h"

#include <stdio.h>

#include "optim/minimizer.h"
#include "optim/root_solver.h"

void grad_root_defaults(grad_root_options *options) {
  *options = (grad_root_options){.tol = 1e-10, .max_iter = 500, .memory = 5, .damping = 1};
}

const char *grad_root_method_name(grad_root_method method) {
  static const char *const names[] = {"auto", "newton", "hybrid", "broyden", "anderson"};
  return names[method];
}

grad_status grad__root_eval(grad__root *r, const double *x, double *f, double *norm) {
  grad_status status = grad__interrupted(r->ctx);
  if (status != GRAD_OK) return status;
  r->result->evaluations.f++;
  status = r->problem->f(r->problem->user, x, f);
  if (status != GRAD_OK) return status;
  if (r->fixed_point) vec_sub(r->n, x, f, f);
  *norm = vec_norm_inf(r->n, f);
  if (isnan(*norm)) *norm = VEC_INF;
  return GRAD_OK;
}

void grad__root_stop(grad__root *r, grad_stop stop, grad_failure failure) {
  r->result->stop = stop;
  r->result->failure = failure;
}

static bool asked_to_stop(const grad__root *r) {
  const grad_step_info info = {.iteration = r->result->iterations,
                               .f = r->result->residual,
                               .gradient_norm = r->result->residual,
                               .step = r->step,
                               .seconds = grad__seconds() - r->began,
                               .evaluations = r->result->evaluations,
                               .x = r->x};
  return grad__step_report(r->ctx, grad_root_method_name(r->result->method), &info, r->options.on_step,
                           r->options.on_step_user);
}

static bool test(grad__root *r, double norm) {
  grad_root_result *result = r->result;
  if (norm <= result->residual) {
    result->residual = norm;
    vec_copy(r->n, r->x, r->best_x);
  }
  bool user = asked_to_stop(r), moved = result->iterations > 0;
  double size = vec_norm2(r->n, r->x);
  if (norm <= r->options.tol) {
    grad__root_stop(r, GRAD_STOP_GRADIENT, GRAD_FAILURE_NONE);
  } else if (moved && r->options.x_tol > 0 && r->step <= r->options.x_tol * (r->options.x_tol + size)) {
    grad__root_stop(r, GRAD_STOP_X_CHANGE, GRAD_FAILURE_NONE);
  } else if (result->iterations >= r->options.max_iter) {
    grad__root_stop(r, GRAD_STOP_ITERATIONS, GRAD_FAILURE_NONE);
  } else if (r->options.max_seconds > 0 && grad__seconds() - r->began >= r->options.max_seconds) {
    grad__root_stop(r, GRAD_STOP_TIME, GRAD_FAILURE_NONE);
  } else if (user) {
    grad__root_stop(r, GRAD_STOP_USER, GRAD_FAILURE_NONE);
  }
  return result->stop == GRAD_STOP_RUNNING;
}

bool grad__root_accept(grad__root *r, double norm) {
  double *x = r->x, *f = r->f, sum = 0;
  for (int64_t i = 0; i < r->n; i++) sum += (r->trial_x[i] - x[i]) * (r->trial_x[i] - x[i]);
  r->step = sqrt(sum);
  r->x = r->trial_x;
  r->f = r->trial_f;
  r->trial_x = x;
  r->trial_f = f;
  r->result->iterations++;
  return test(r, norm);
}

static void write_message(const grad__root *r, const char *what) {
  static const char *const texts[] = {
      [GRAD_STOP_GRADIENT] = "within the tolerance",
      [GRAD_STOP_X_CHANGE] = "x no longer changes by more than x_tol",
      [GRAD_STOP_PRECISION] = "it can no longer be lowered in floating point",
      [GRAD_STOP_ITERATIONS] = "the limit on iterations is reached",
      [GRAD_STOP_TIME] = "the limit on time is reached",
      [GRAD_STOP_USER] = "stopped by the caller",
  };
  const grad_root_result *result = r->result;
  const char *text = result->stop != GRAD_STOP_FAILED             ? texts[result->stop]
                     : result->failure == GRAD_FAILURE_NOT_FINITE ? "the function is not finite at the starting point"
                     : result->failure == GRAD_FAILURE_REGION
                         ? "every step tried from here ends where the function is not finite"
                     : result->failure == GRAD_FAILURE_SINGULAR
                         ? "the Jacobian is singular here, where |F| has a stationary point that is no root"
                         : "no step was found that lowers |F|";
  snprintf(r->result->message, sizeof r->result->message, "%s: %s; the largest entry of %s is %.3g, %s tol = %.3g%s",
           grad_root_method_name(result->method), text, what, result->residual, result->converged ? "within" : "above",
           r->options.tol, result->converged ? "" : ": not converged");
}

static grad_status check(grad_ctx *ctx, const grad_root_problem *p, const grad_root_options *o, const double *x) {
  if (!p->f || p->n < 0) return grad__fail(ctx, GRAD_EVALUE, "root: expected a function of n >= 0 unknowns");
  if (!(o->tol >= 0) || !(o->x_tol >= 0) || !(o->max_seconds >= 0) || o->max_iter < 0 || o->memory < 0 ||
      !(o->damping > 0))
    return grad__fail(ctx, GRAD_EVALUE,
                      "root: tol, x_tol, max_iter, max_seconds and memory must be 0 or more, damping more than 0");
  for (int64_t i = 0; i < p->n; i++)
    if (!isfinite(x[i]))
      return grad__fail(ctx, GRAD_EVALUE, "root: entry %lld of x0 is %g, expected a finite number", (long long)i + 1,
                        x[i]);
  return GRAD_OK;
}

static grad_status run(grad__root *r, double *x, const char *what) {
  double norm = VEC_INF;
  vec_copy(r->n, x, r->x);
  vec_copy(r->n, x, r->best_x);
  r->result->residual = VEC_INF;
  grad_status status = grad__root_eval(r, r->x, r->f, &norm);
  if (status != GRAD_OK) return status;
  if (isinf(norm)) {
    grad__root_stop(r, GRAD_STOP_FAILED, GRAD_FAILURE_NOT_FINITE);
  } else if (test(r, norm)) {
    status = r->result->method == GRAD_ROOT_ANDERSON ? grad__root_anderson(r) : grad__root_dense(r);
  }
  if (status != GRAD_OK) return status;
  vec_copy(r->n, r->best_x, x);
  r->result->converged = r->result->residual <= r->options.tol;
  write_message(r, what);
  return GRAD_OK;
}

static grad_status start(grad_ctx *ctx, const grad_root_problem *p, const grad_root_options *o, bool fixed_point,
                         double *x, grad_root_result *out) {
  grad_root_result local = {0};
  grad_root_method method = o->method;
  grad_status status = check(ctx, p, o, x);
  if (status != GRAD_OK) return status;
  if (method == GRAD_ROOT_AUTO) method = p->n <= 200 ? GRAD_ROOT_HYBRID : GRAD_ROOT_ANDERSON;
  if (fixed_point) method = GRAD_ROOT_ANDERSON;
  local.method = method;
  int64_t work = method == GRAD_ROOT_ANDERSON ? grad__root_anderson_work(p->n, o->memory) : grad__root_dense_work(p->n);
  int64_t bytes = 0, vectors = 0;
  bool fits = work >= 0 && grad__mul_i64(p->n, 5, &vectors) && grad__add_i64(work, vectors, &work);
  if (!fits || !grad__mul_i64(work + 1, sizeof(double), &bytes))
    return grad__fail(ctx, GRAD_EVALUE, "root: n = %lld is too large", (long long)p->n);
  double *block = grad__alloc(ctx, (size_t)bytes);
  if (!block) return GRAD_ENOMEM;
  memset(block, 0, (size_t)bytes);
  grad__root r = {.ctx = ctx,
                  .problem = p,
                  .options = *o,
                  .result = &local,
                  .fixed_point = fixed_point,
                  .n = p->n,
                  .began = grad__seconds()};
  r.x = block, r.f = r.x + p->n, r.trial_x = r.f + p->n, r.trial_f = r.trial_x + p->n, r.best_x = r.trial_f + p->n;
  r.work = r.best_x + p->n;
  status = run(&r, x, fixed_point ? "g(x) - x" : "F");
  grad__free(ctx, block, (size_t)bytes);
  if (status == GRAD_OK && out) *out = local;
  return status;
}

grad_status grad_root(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options, double *x,
                      grad_root_result *result) {
  return start(ctx, problem, options, false, x, result);
}

grad_status grad_fixed_point(grad_ctx *ctx, const grad_root_problem *problem, const grad_root_options *options,
                             double *x, grad_root_result *result) {
  return start(ctx, problem, options, true, x, result);
}

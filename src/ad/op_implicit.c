/* op_implicit.c: implicit: the solution of an equation, with the derivatives that the equation implies (implicit
 * function theorem); and solvers that stage.
 *
 * inputs  solution, args      subs {residual: x, args -> r}; the value is the solution itself */
#include <math.h>

#include "ad/control.h"
#include "ad/pass.h"

static grad_status implicit_infer(grad_infer *a) {
  const grad_program *residual = a->subs[0];
  const grad_type *x = &a->in[0];
  if (residual->status) return residual->status;
  if (residual->ninputs != a->nin || residual->noutputs < 1 || residual->nscalars) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "implicit: the equation takes %d values, was given %d", residual->ninputs,
                      a->nin);
  }
  const grad_type *r = grad__type(residual, residual->outputs[0]);
  if (!grad__type_is_float(x) || !grad__type_equal(x, r)) {
    return grad__fail(a->ctx, GRAD_ESHAPE,
                      "root: the equation gives %s for the unknown's %s: they must be equal floats",
                      grad__type_text(r).chars, grad__type_text(x).chars);
  }
  grad__infer_type(a, 0, x);
  return GRAD_OK;
}

static grad_status implicit_eval(const grad_eval *a) {
  grad__array_copy(a->out[0], a->in[0]);
  return GRAD_OK;
}

/* x, args, v -> (dr/dx) v, and x, args, w -> (dr/dx)' w */
static grad_status products(const grad_program *residual, grad_program **matvec, grad_program **vecmat) {
  const grad_program *p = residual;
  grad_program *pushed = NULL, *pulled = NULL;
  bool *wrt = grad__alloc(p->ctx, (size_t)p->ninputs);
  if (!wrt) return p->ctx->status;
  for (int32_t i = 0; i < p->ninputs; i++) wrt[i] = i == 0;
  grad_status status = grad__ad_jvp(p, wrt, &pushed);
  if (!status) status = grad__ad_vjp(p, wrt, 1, &pulled);
  if (!status) {
    status = grad__extract(pushed, pushed->ninputs, pushed->inputs, 1, &pushed->outputs[p->noutputs], false, matvec);
  }
  if (!status) {
    status = grad__extract(pulled, pulled->ninputs, pulled->inputs, 1, &pulled->outputs[p->noutputs], false, vecmat);
  }
  grad__free(p->ctx, wrt, (size_t)p->ninputs);
  grad__program_release(pushed);
  grad__program_release(pulled);
  return status;
}

/* (dr/dx) dx = -(dr/da) da at the solution x. */
static void implicit_jvp(grad_jvp *a) {
  const int32_t n = a->ins->nin;
  grad_id *at = grad__ids_in(a->p, n), *da = grad__ids_in(a->p, n);
  bool any = false;
  for (int32_t i = 0; at && da && i < n; i++) {
    at[i] = i ? a->x[i] : a->y[0];
    da[i] = i ? a->dx[i] : GRAD_NONE;
    any = any || da[i] != GRAD_NONE;
  }
  grad_program *matvec = NULL, *vecmat = NULL;
  const grad_id *change = any ? grad__push_inline(a, a->ins->subs[0], at, da) : NULL;
  if (change && grad__program_try(a->p, products(a->ins->subs[0], &matvec, &vecmat)))
    a->dy[0] = grad__linear_solve(a->p, matvec, vecmat, n, at, grad__neg(a->p, *change));
  grad__program_release(matvec);
  grad__program_release(vecmat);
}

const grad_op grad__op_implicit = {
    .name = "implicit",
    .nin = -1,
    .nout = 1,
    .flags = GRAD_OP_CONTROL,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = implicit_infer,
    .eval = implicit_eval,
    .jvp = implicit_jvp,
    .batch = grad__batch_by_scan,
};

grad_id grad__implicit(grad_program *p, grad_program *residual, grad_id solution, int32_t nargs, const grad_id *args) {
  grad_id *in = grad__ids_in(p, nargs + 1);
  if (!in) return GRAD_NONE;
  in[0] = solution;
  for (int32_t i = 0; i < nargs; i++) in[i + 1] = args[i];
  return grad__emit_nested(p, &grad__op_implicit, nargs + 1, in, 0, NULL, 1, &residual);
}

/* --- Newton's method as a loop: state x, residual, steps done */

static grad_status newton_body(const grad_program *residual, grad_program **out) {
  grad_program *matvec = NULL, *vecmat = NULL, *q = NULL;
  grad_status status = products(residual, &matvec, &vecmat);
  if (!status) status = grad__program_new(residual->ctx, &q);
  if (!status) {
    const int32_t nargs = residual->ninputs - 1;
    grad_id *in = grad__ids_in(q, nargs + 1), *made = grad__ids_in(q, residual->noutputs);
    for (int32_t i = 0; i < nargs && in; i++) {
      in[i + 1] = grad__program_input_like(q, grad__type(residual, residual->inputs[i + 1]));
    }
    const grad_type *t = grad__type(residual, residual->inputs[0]);
    const grad_id x = grad__program_input_like(q, t), r = grad__program_input_like(q, t);
    const grad_id steps = grad__program_input(q, GRAD_I64, 0, NULL);
    if (in && made) {
      in[0] = x;
      const grad_id next = grad__sub(q, x, grad__linear_solve(q, matvec, vecmat, nargs + 1, in, r));
      in[0] = next;
      grad__inline(q, residual, in, NULL, made, NULL);
      grad__program_output(q, next);
      grad__program_output(q, made[0]);
      grad__program_output(q, grad__add(q, steps, grad__lit(q, 1, steps)));
    }
    status = grad__program_finish(q, out);
  }
  grad__program_release(matvec);
  grad__program_release(vecmat);
  return status;
}

/* Is the largest |r| above tol (or NaN)? */
static grad_id any_above(grad_program *q, grad_id r, double tol) {
  const grad_id small = grad__op2(q, &grad__op_le, grad__op1(q, &grad__op_abs, r), grad__lit(q, tol, r));
  if (small == GRAD_NONE) return GRAD_NONE;
  const int ndim = grad__type(q, r)->ndim;
  const grad_id all = ndim ? grad__reduce(q, &grad__op_all, small, (1u << ndim) - 1, false) : small;
  return grad__op1(q, &grad__op_not, all);
}

/* No value passes for a root that is none. */
static grad_id found_or_nan(grad_program *p, grad_id x, grad_id r, double tol) {
  const grad_id above = x == GRAD_NONE ? GRAD_NONE : any_above(p, r, tol);
  return above == GRAD_NONE ? GRAD_NONE : grad__where(p, above, grad__lit(p, (double)NAN, x), x);
}

/* The residual is too large still, and there are steps left. */
static grad_status newton_test(const grad_program *residual, double tol, int64_t most, grad_program **out) {
  grad_program *q = NULL;
  grad_status status = grad__program_new(residual->ctx, &q);
  if (status) return status;
  for (int32_t i = 1; i < residual->ninputs; i++)
    grad__program_input_like(q, grad__type(residual, residual->inputs[i]));
  const grad_type *t = grad__type(residual, residual->inputs[0]);
  grad__program_input_like(q, t);
  const grad_id r = grad__program_input_like(q, t), steps = grad__program_input(q, GRAD_I64, 0, NULL);
  const grad_id left = grad__op2(q, &grad__op_lt, steps, grad__full(q, (double)most, GRAD_I64, 0, NULL));
  grad__program_output(q, grad__op2(q, &grad__op_and, any_above(q, r, tol), left));
  return grad__program_finish(q, out);
}

grad_id grad__newton(grad_program *p, grad_program *residual, grad_id x0, int32_t nargs, const grad_id *args,
                     double tol, int64_t most) {
  grad_program *body = NULL, *test = NULL;
  grad_id *in = grad__ids_in(p, nargs + 1), *made = grad__ids_in(p, residual->noutputs);
  grad_id out[3] = {GRAD_NONE, GRAD_NONE, GRAD_NONE};
  if (!in || !made) return GRAD_NONE;
  in[0] = grad__stop_gradient(p, x0); /* the equation gives the derivatives, not the steps */
  for (int32_t i = 0; i < nargs; i++) in[i + 1] = grad__stop_gradient(p, args[i]);
  grad__inline(p, residual, in, NULL, made, NULL);
  if (grad__program_try(p, newton_body(residual, &body)) &&
      grad__program_try(p, newton_test(residual, tol, most, &test))) {
    const grad_id init[3] = {in[0], made[0], grad__full(p, 0, GRAD_I64, 0, NULL)};
    grad__while_loop(p, test, &(grad_loop){.body = body, .nconsts = nargs, .ncarry = 3, .consts = in + 1, .init = init},
                     out);
  }
  grad__program_release(body);
  grad__program_release(test);
  return grad__implicit(p, residual, found_or_nan(p, out[0], out[1], tol), nargs, args);
}

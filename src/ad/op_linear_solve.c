/* op_linear_solve.c: linear_solve: x with A x = b, A given by a nested program that multiplies with it.
 *
 * inputs  consts, b      params {nconsts}      subs {matvec: consts, v -> A v; vecmat: consts, w -> A' w}
 *
 * Up to 128 unknowns A is formed, column by column, and factored; beyond that GMRES needs products only. */
#include <math.h>
#include <string.h>

#include "ad/control.h"
#include "ad/pass.h"
#include "linalg/krylov.h"
#include "linalg/lapack.h"

enum { MOST_DENSE = 128 };

static grad_status check_product(grad_infer *a, const grad_program *sub, const grad_type *b) {
  if (sub->status) return sub->status;
  if (sub->ninputs != a->nin || sub->noutputs != 1 || sub->nscalars) {
    return grad__fail(a->ctx, GRAD_EINTERNAL, "linear_solve: the product takes %d values, was given %d", sub->ninputs,
                      a->nin);
  }
  const grad_type *in = grad__type(sub, sub->inputs[a->nin - 1]), *out = grad__type(sub, sub->outputs[0]);
  if (grad__type_equal(in, b) && grad__type_equal(out, b)) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_ESHAPE, "linear_solve: the product gives %s for the unknown's %s: they must be equal",
                    grad__type_text(out).chars, grad__type_text(b).chars);
}

static grad_status solve_infer(grad_infer *a) {
  const grad_type *b = &a->in[a->nin - 1];
  if (!grad__type_is_float(b))
    return grad__fail(a->ctx, GRAD_EDTYPE, "linear_solve: the right side must be f64 or f32");
  for (int k = 0; k < 2; k++) {
    grad_status status = check_product(a, a->subs[k], b);
    if (status) return status;
  }
  grad__infer_type(a, 0, b);
  return GRAD_OK;
}

/* --- evaluation */

/* Products with A in doubles, whatever the dtype. */
typedef struct product {
  const grad_eval *a;
  const grad_array **args;
  grad_array v, av; /* the vector in b's dtype, and its product */
  grad_array wide;  /* header that lends doubles to the copying */
} product;

static grad_status multiply(void *user, const double *x, double *out) {
  product *m = user;
  m->wide.data = (void *)(uintptr_t)x; /* only read */
  grad__array_copy(&m->v, &m->wide);
  grad_status status = m->a->call(m->a->call_ud, m->a->ins->subs[0], m->args, NULL, &m->av);
  m->wide.data = out;
  if (!status) grad__array_copy(&m->wide, &m->av);
  return status;
}

static grad_status singular(const grad_eval *a) {
  return grad__fail(a->ctx, GRAD_ESINGULAR,
                    "linear_solve: the matrix is singular here: for a root, the equation does not determine the "
                    "solution's derivative");
}

/* x holds b, and receives the solution. a is column-major, as its columns are found. */
static grad_status solve_dense(product *m, int64_t n, double *a, int *pivots, double *unit, double *x) {
  grad_ctx *ctx = m->a->ctx;
  memset(unit, 0, (size_t)n * sizeof *unit);
  for (int64_t j = 0; j < n; j++) {
    unit[j] = 1;
    grad_status status = multiply(m, unit, a + j * n);
    unit[j] = 0;
    if (status) return status;
  }
  grad_status status = grad__getrf(ctx, GRAD_F64, n, a, pivots);
  if (status) return status;
  double largest = 0, smallest = HUGE_VAL;
  for (int64_t j = 0; j < n; j++) {
    largest = fmax(largest, fabs(a[j * n + j]));
    smallest = fmin(smallest, fabs(a[j * n + j]));
  }
  if (!(smallest > 0x1p-52 * largest)) return singular(m->a);
  return grad__getrs(ctx, GRAD_F64, false, n, 1, a, pivots, x);
}

static grad_status solve_krylov(product *m, int64_t n, const double *b, double *x) {
  double size = 0;
  for (int64_t i = 0; i < n; i++) size += b[i] * b[i];
  memset(x, 0, (size_t)n * sizeof *x);
  if (size == 0) return GRAD_OK;
  const grad_krylov_options options = {.rtol = 1e-13, .restart = n < 200 ? n : 200, .max_iter = 4000};
  grad_krylov_result result;
  grad_status status = grad_krylov_gmres(m->a->ctx, n, multiply, m, b, x, &options, &result);
  if (status || result.converged || result.residual <= 1e-9 * sqrt(size)) return status;
  return grad__fail(
      m->a->ctx, GRAD_ENOCONV,
      "linear_solve: %lld unknowns: GMRES stopped after %lld products with a residual of %.3g (right side "
      "%.3g)",
      (long long)n, (long long)result.iterations, result.residual, sqrt(size));
}

static grad_status solve_with(product *m, int64_t n, double *room, int *pivots) {
  const grad_eval *a = m->a;
  double *x = room, *b = x + n, *matrix = b + n;
  grad_array wide = m->wide;
  wide.data = x;
  grad__array_copy(&wide, a->in[a->ins->nin - 1]);
  memcpy(b, x, (size_t)n * sizeof *b);
  grad_status status = n <= MOST_DENSE ? solve_dense(m, n, matrix, pivots, b, x) : solve_krylov(m, n, b, x);
  if (!status) grad__array_copy(a->out[0], &wide);
  return status;
}

static grad_status solve_eval(const grad_eval *a) {
  const grad_array *b = a->in[a->ins->nin - 1];
  const int64_t n = grad__array_numel(b);
  if (n == 0) return GRAD_OK;
  grad_arena room;
  grad__arena_init(&room, a->ctx);
  product m = {.a = a, .args = grad__arena_alloc(&room, (size_t)a->ins->nin * sizeof *m.args)};
  const size_t doubles = 2 * (size_t)n + (n <= MOST_DENSE ? (size_t)(n * n) : 0);
  double *work = grad__arena_alloc(&room, doubles * sizeof *work);
  void *v = grad__arena_alloc(&room, (size_t)n * sizeof(double)),
       *av = grad__arena_alloc(&room, (size_t)n * sizeof(double));
  int pivots[MOST_DENSE];
  grad_status status = a->ctx->status;
  if (m.args && work && v && av) {
    grad__array_wrap(&m.v, v, b->dtype, b->ndim, b->shape);
    grad__array_wrap(&m.av, av, b->dtype, b->ndim, b->shape);
    grad__array_wrap(&m.wide, work, GRAD_F64, b->ndim, b->shape);
    memcpy((void *)m.args, (const void *)a->in, (size_t)a->ins->nin * sizeof *m.args);
    m.args[a->ins->nin - 1] = &m.v;
    status = solve_with(&m, n, work, pivots);
  }
  grad__arena_clear(&room);
  return status;
}

/* --- rules */

static grad_id solve_again(grad_program *p, const grad_instr *ins, const grad_id *consts, grad_id b, bool transposed) {
  const int32_t nconsts = ins->nin - 1;
  return grad__linear_solve(p, ins->subs[transposed], ins->subs[!transposed], nconsts, consts, b);
}

/* A x = b: A dx = db - dA x */
static void solve_jvp(grad_jvp *a) {
  const int32_t nconsts = a->ins->nin - 1;
  grad_id *at = grad__ids_in(a->p, nconsts + 1), *da = grad__ids_in(a->p, nconsts + 1), right = a->dx[nconsts];
  bool any = false;
  for (int32_t i = 0; at && da && i < nconsts; i++) {
    at[i] = a->x[i];
    da[i] = a->dx[i];
    any = any || da[i] != GRAD_NONE;
  }
  if (any) {
    at[nconsts] = a->y[0];
    const grad_id *product = grad__push_inline(a, a->ins->subs[0], at, da);
    right = product ? grad__add_tangents(a->p, right, grad__neg(a->p, *product)) : GRAD_NONE;
  }
  if (right != GRAD_NONE && !a->p->status) a->dy[0] = solve_again(a->p, a->ins, a->x, right, false);
}

static void solve_transpose(grad_transpose *a) {
  for (int32_t i = 0; i < a->ins->nin - 1; i++) {
    if (!a->linear[i]) continue;
    grad__program_fail(a->p, GRAD_EINTERNAL, "linear_solve is not linear in its matrix");
    return;
  }
  a->cx[a->ins->nin - 1] = solve_again(a->p, a->ins, a->x, a->cy[0], true);
}

const grad_op grad__op_linear_solve = {
    .name = "linear_solve",
    .nin = -1,
    .nout = 1,
    .flags = GRAD_OP_CONTROL | GRAD_OP_REFUSES,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = solve_infer,
    .eval = solve_eval,
    .jvp = solve_jvp,
    .transpose = solve_transpose,
    .batch = grad__batch_by_scan,
};

grad_id grad__linear_solve(grad_program *p, grad_program *matvec, grad_program *vecmat, int32_t nconsts,
                           const grad_id *consts, grad_id b) {
  grad_id *in = grad__ids_in(p, nconsts + 1);
  if (!in) return GRAD_NONE;
  for (int32_t i = 0; i < nconsts; i++) in[i] = consts[i];
  in[nconsts] = b;
  const int64_t param = nconsts;
  grad_program *const subs[2] = {matvec, vecmat};
  return grad__emit_nested(p, &grad__op_linear_solve, nconsts + 1, in, 1, &param, 2, subs);
}

/* op_linalg_det.c: determinants, from the LU factors of op_linalg_solve.c. All take the matrix, its factors and pivots,
 * and have derivatives with respect to the matrix.
 *
 * slogdet    -> sign, log|det|     d log|det| = <inv(a)', d a>; sign has derivative 0
 * det        -> det                d det = <cofactor(a), d a>
 * cofactor   -> ... n n            d c = <c, d a> inv(a)' - inv(a)' d a' c; ESINGULAR
 *
 * The cofactors are det(a) inv(a)', but defined for singular matrices too: there they come from the singular values, as
 * u diag(prod of the others) v' det(u) det(v).
 */
#include "linalg/lapack.h"
#include "ops/compose.h"
#include "ops/linalg.h"
#include "ops/linalg_items.h"
#include "ops/op_linalg_lu.h"

#include <math.h>
#include <string.h>

typedef struct signed_log {
  double sign, log;
} signed_log;

/* Of a matrix with these factors; NaN when an entry is. An empty matrix has the determinant 1. */
static signed_log log_det(const grad_items *lu, const grad_items *pivots) {
  signed_log d = {1, 0};
  const int64_t n = lu->item.shape[0];
  for (int64_t i = 0; i < n; i++) {
    const double u = grad__array_get(&lu->item, (int64_t[]){i, i});
    const bool exchanged = grad__array_get(&pivots->item, &i) != (double)(i + 1);
    d.sign *= (u > 0) - (u < 0) + (isnan(u) ? u : 0);
    if (exchanged) d.sign = -d.sign;
    d.log += log(fabs(u));
  }
  if (isnan(d.sign)) d.log = d.sign;
  return d;
}

/* The product itself, scaled so that no part of it overflows or underflows before all of it does. */
static double plain_det(const grad_items *lu, const grad_items *pivots) {
  double mantissa = 1;
  int64_t exponent = 0;
  const int64_t n = lu->item.shape[0];
  for (int64_t i = 0; i < n; i++) {
    int power = 0;
    const double u = grad__array_get(&lu->item, (int64_t[]){i, i});
    mantissa = frexp(mantissa * u, &power);
    exponent += power;
    if (grad__array_get(&pivots->item, &i) != (double)(i + 1)) mantissa = -mantissa;
  }
  const int64_t bounded = exponent > 4000 ? 4000 : exponent < -4000 ? -4000 : exponent;
  return ldexp(mantissa, (int)bounded);
}

/* --- slogdet */

static grad_status slogdet_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  if (status) return status;
  const grad_dtype dtype = a->in[0].dtype;
  const grad_status first = grad__infer_like(a, 0, dtype, 0, NULL);
  return first ? first : grad__infer_like(a, 1, dtype, 0, NULL);
}

static grad_status slogdet_eval(const grad_eval *a) {
  grad_items lu = grad__items(a->in[1], 2), pivots = grad__items(a->in[2], 1);
  for (int64_t i = 0; i < lu.count; i++, grad__items_next(&lu), grad__items_next(&pivots)) {
    const signed_log d = log_det(&lu, &pivots);
    grad__item_put(a->out[0], i, d.sign);
    grad__item_put(a->out[1], i, d.log);
  }
  return GRAD_OK;
}

/* sum of c * d over the last two axes */
static grad_id inner(grad_program *p, grad_id c, grad_id d) {
  const int n = c == GRAD_NONE ? 2 : grad__ndim(p, c);
  return grad__sum(p, grad__mulz(p, c, d), 3u << (n - 2), false);
}

static void slogdet_jvp(grad_jvp *a) {
  const grad_lu lu = {a->x[0], a->x[1], a->x[2]};
  if (a->dx[0] == GRAD_NONE) return;
  a->dy[1] = inner(a->p, grad__linalg_transpose(a->p, grad__lu_inv(a->p, &lu)), a->dx[0]);
}

const grad_op grad__op_slogdet = {
    .name = "slogdet",
    .nin = 3,
    .nout = 2,
    .infer = slogdet_infer,
    .eval = slogdet_eval,
    .jvp = slogdet_jvp,
    .batch = grad__batch_same,
};

/* --- det */

static grad_status det_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  return status ? status : grad__infer_like(a, 0, a->in[0].dtype, 0, NULL);
}

static grad_status det_eval(const grad_eval *a) {
  grad_items lu = grad__items(a->in[1], 2), pivots = grad__items(a->in[2], 1);
  for (int64_t i = 0; i < lu.count; i++, grad__items_next(&lu), grad__items_next(&pivots)) {
    grad__item_put(a->out[0], i, plain_det(&lu, &pivots));
  }
  return GRAD_OK;
}

static void det_jvp(grad_jvp *a) {
  if (a->dx[0] != GRAD_NONE) a->dy[0] = inner(a->p, grad__emit(a->p, &grad__op_cofactor, 3, a->x, 0, NULL), a->dx[0]);
}

const grad_op grad__op_det = {
    .name = "det",
    .nin = 3,
    .nout = 1,
    .infer = det_infer,
    .eval = det_eval,
    .jvp = det_jvp,
    .batch = grad__batch_same,
};

/* --- cofactor */

static grad_status cofactor_infer(grad_infer *a) {
  const grad_status status = grad__infer_matrix(a, 0, true);
  return status ? status : grad__infer_out(a, 0, a->in[0].dtype, a->in[0].ndim, a->in[0].shape);
}

/* f64 throughout: the product of many small singular values must not vanish on the way. */
typedef struct cofactor_parts {
  int *pivots, *iwork;
  void *factors, *identity;
  double *a, *s, *u, *vt, *work;
} cofactor_parts;

static cofactor_parts carve_cofactor(grad_carve *c, int64_t n, size_t size) {
  int64_t integers;
  const int64_t work = grad__work_svd(n, n, &integers);
  return (cofactor_parts){.pivots = grad__carve(c, n, sizeof(int)),
                          .iwork = grad__carve(c, integers, sizeof(int)),
                          .factors = grad__carve(c, n * n, size),
                          .identity = grad__carve(c, n * n, size),
                          .a = grad__carve(c, n * n, sizeof(double)),
                          .s = grad__carve(c, n, sizeof(double)),
                          .u = grad__carve(c, n * n, sizeof(double)),
                          .vt = grad__carve(c, n * n, sizeof(double)),
                          .work = grad__carve(c, work, sizeof(double))};
}

static int64_t cofactor_scratch(const grad_program *p, const grad_instr *ins) {
  grad_carve c = {0};
  carve_cofactor(&c, grad__matrix_order(p, ins), grad__dtype_size(grad__type(p, ins->in[0])->dtype));
  return c.used;
}

/* The diagonal of U tells rank well enough to choose the method; both are right where both are accurate. */
static bool is_regular(const grad_items *lu) {
  double least = (double)INFINITY, largest = 0;
  for (int64_t i = 0; i < lu->item.shape[0]; i++) {
    const double u = fabs(grad__array_get(&lu->item, (int64_t[]){i, i}));
    least = fmin(least, u);
    largest = fmax(largest, u);
  }
  return least > largest * (lu->item.dtype == GRAD_F64 ? 1e-6 : 1e-2);
}

/* to = det inv(a)', from getrs on the identity. */
static grad_status regular_cofactor(grad_ctx *ctx, const grad_items *lu, const grad_items *pivots,
                                    const cofactor_parts *parts, const grad_items *to) {
  const int64_t n = lu->item.shape[0];
  const grad_dtype dtype = lu->item.dtype;
  const double det = plain_det(lu, pivots);
  const void *const factors = grad__lu_load(lu, pivots, parts->factors, parts->pivots);
  memset(parts->identity, 0, (size_t)(n * n) * grad__dtype_size(dtype));
  grad_array identity;
  grad__array_wrap(&identity, parts->identity, dtype, 2, lu->item.shape);
  for (int64_t i = 0; i < n; i++) grad__item_put(&identity, i * n + i, det);
  /* the factors are those of a', so this gives det inv(a') column by column */
  const grad_status status = grad__getrs(ctx, dtype, false, n, n, factors, parts->pivots, parts->identity);
  if (!status) grad__item_store(to, true, parts->identity);
  return status;
}

/* det of an orthogonal n x n matrix, which is destroyed: from its LU factors, +1 or -1. */
static grad_status orthogonal_sign(grad_ctx *ctx, int64_t n, double *q, int *pivots, double *sign) {
  const grad_status status = grad__getrf(ctx, GRAD_F64, n, q, pivots);
  for (int64_t i = 0; i < n; i++) {
    if ((q[i * n + i] < 0) != (pivots[i] != i + 1)) *sign = -*sign;
  }
  return status;
}

static grad_status singular_cofactor(grad_ctx *ctx, const grad_items *from, const cofactor_parts *parts,
                                     const grad_items *to) {
  const int64_t n = from->item.shape[0];
  grad_array copy, cofactor, u, vt;
  grad__array_wrap(&copy, parts->a, GRAD_F64, 2, from->item.shape);
  grad__array_copy(&copy, &from->item);
  grad_status status =
      grad__gesdd(ctx, GRAD_F64, n, n, parts->a, parts->s, parts->u, parts->vt, parts->work, parts->iwork);
  if (status) return status;
  /* LAPACK saw a' = u s vt column by column: read row by row, its vt is the u of a, and its u the v' of a */
  double sign = 1;
  grad__array_wrap(&cofactor, parts->a, GRAD_F64, 2, from->item.shape);
  grad__array_wrap(&u, parts->vt, GRAD_F64, 2, from->item.shape);
  grad__array_wrap(&vt, parts->u, GRAD_F64, 2, from->item.shape);
  const double *const x = u.data, *const y = vt.data;
  grad__array_fill(&cofactor, 0);
  for (int64_t l = 0; l < n; l++) {
    double others = 1;
    for (int64_t i = 0; i < n; i++) others *= i == l ? 1 : parts->s[i];
    for (int64_t i = 0; i < n && others != 0; i++) {
      for (int64_t j = 0; j < n; j++) parts->a[i * n + j] += others * x[i * n + l] * y[l * n + j];
    }
  }
  status = orthogonal_sign(ctx, n, parts->u, parts->pivots, &sign);
  if (!status) status = orthogonal_sign(ctx, n, parts->vt, parts->pivots, &sign);
  if (status) return status;
  for (int64_t i = 0; i < n * n; i++) parts->a[i] *= sign;
  grad__array_copy(&to->item, &cofactor);
  return GRAD_OK;
}

static grad_status cofactor_eval(const grad_eval *a) {
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  grad_items from = grad__items(a->in[0], 2), lu = grad__items(a->in[1], 2), pivots = grad__items(a->in[2], 1),
             to = grad__items(a->out[0], 2);
  grad_carve carve = {.base = a->scratch};
  const cofactor_parts parts = carve_cofactor(&carve, from.item.shape[0], grad__dtype_size(from.item.dtype));
  while (from.at < from.count) {
    grad_status status = GRAD_OK;
    if (!grad__item_is_finite(&from)) {
      grad__array_fill(&to.item, (double)NAN);
    } else if (is_regular(&lu)) {
      status = regular_cofactor(a->ctx, &lu, &pivots, &parts, &to);
    } else {
      status = singular_cofactor(a->ctx, &from, &parts, &to);
    }
    if (status) return status;
    grad__items_next(&from);
    grad__items_next(&lu);
    grad__items_next(&pivots);
    grad__items_next(&to);
  }
  return GRAD_OK;
}

static void cofactor_jvp(grad_jvp *a) {
  grad_program *const p = a->p;
  const grad_lu lu = {a->x[0], a->x[1], a->x[2]};
  const grad_id c = a->y[0], da = a->dx[0];
  if (da == GRAD_NONE) return;
  const grad_type t = *grad__type(p, c);
  const grad_id inverse = grad__linalg_transpose(p, grad__lu_inv(p, &lu));
  grad_id det = inner(p, c, da);
  for (int i = 0; i < 2 && det != GRAD_NONE; i++) det = grad__insert_axis(p, det, grad__ndim(p, det));
  const grad_id grown = grad__mulz(p, grad__broadcast(p, det, t.ndim, t.shape), inverse);
  const grad_id turned = grad__matmul(p, inverse, grad__matmul(p, da, c, true, false), false, false);
  a->dy[0] = grad__sub(p, grown, turned);
}

const grad_op grad__op_cofactor = {
    .name = "cofactor",
    .nin = 3,
    .nout = 1,
    .infer = cofactor_infer,
    .eval = cofactor_eval,
    .scratch = cofactor_scratch,
    .jvp = cofactor_jvp,
    .batch = grad__batch_same,
};

/* --- builders */

grad_id grad__det(grad_program *p, grad_id a) {
  a = grad__linalg_matrix(p, "det", a, true);
  const grad_lu lu = grad__lu(p, a);
  return grad__emit(p, &grad__op_det, 3, (const grad_id[]){lu.a, lu.factors, lu.pivots}, 0, NULL);
}

void grad__slogdet(grad_program *p, grad_id a, grad_id *sign, grad_id *logabs) {
  a = grad__linalg_matrix(p, "slogdet", a, true);
  const grad_lu lu = grad__lu(p, a);
  const grad_id first = grad__emit(p, &grad__op_slogdet, 3, (const grad_id[]){lu.a, lu.factors, lu.pivots}, 0, NULL);
  *sign = first;
  *logabs = first == GRAD_NONE ? GRAD_NONE : first + 1;
}

grad_id grad__logdet(grad_program *p, grad_id a) {
  grad_id sign, logabs;
  grad__slogdet(p, a, &sign, &logabs);
  if (sign == GRAD_NONE) return GRAD_NONE;
  const grad_id negative = grad__op2(p, &grad__op_lt, sign, grad__lit(p, 0, sign));
  return grad__where(p, negative, grad__lit(p, (double)NAN, logabs), logabs);
}

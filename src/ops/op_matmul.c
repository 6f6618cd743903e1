/* op_matmul.c: the matrix product, batched over equal leading axes.
 *
 * params  {ta, tb}: read the first, the second factor transposed (its last two axes exchanged)
 * shapes  op(a): ... m k, op(b): ... k n, result: ... m n        dtype  f64, f32 by BLAS, i64 (wraps around) by loops
 */
#include "linalg/blas.h"
#include "ops/axes.h"
#include "ops/demand.h"
#include "ops/structured.h"

#include <string.h>

typedef struct extents {
  int64_t m, n, k;
} extents;

static extents extents_of(const int64_t *params, int ndim, const int64_t *a, const int64_t *b) {
  const bool ta = params[0], tb = params[1];
  return (extents){.m = a[ndim - (ta ? 1 : 2)], .k = a[ndim - (ta ? 2 : 1)], .n = b[ndim - (tb ? 2 : 1)]};
}

static grad_status matmul_infer(grad_infer *a) {
  const grad_type *x = &a->in[0], *y = &a->in[1];
  if (x->dtype != y->dtype || x->dtype == GRAD_BOOL)
    return grad__fail(a->ctx, GRAD_EDTYPE, "matmul: factors must be numbers of one dtype, got %s and %s",
                      grad__dtype_name(x->dtype), grad__dtype_name(y->dtype));
  const int n = x->ndim;
  if (n < 2 || y->ndim != n || !grad__shape_equal(n - 2, x->shape, n - 2, y->shape))
    return grad__fail(a->ctx, GRAD_ESHAPE,
                      "matmul: shapes %s and %s need the same number of axes, at least two, and equal leading ones",
                      grad__shape_text(x->ndim, x->shape).chars, grad__shape_text(y->ndim, y->shape).chars);
  const extents e = extents_of(a->params, n, x->shape, y->shape);
  if (e.k != y->shape[n - (a->params[1] ? 1 : 2)])
    return grad__fail(a->ctx, GRAD_ESHAPE, "matmul: inner extents differ: %s%s times %s%s",
                      grad__shape_text(x->ndim, x->shape).chars, a->params[0] ? " (transposed)" : "",
                      grad__shape_text(y->ndim, y->shape).chars, a->params[1] ? " (transposed)" : "");
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, x->shape, sizeof *shape * (size_t)n);
  shape[n - 2] = e.m;
  shape[n - 1] = e.n;
  return grad__infer_out(a, 0, x->dtype, n, shape);
}

/* A factor as op() makes it: element (i, j) at data[i * row + j * col]. */
typedef struct factor {
  const char *data;
  int64_t rows, cols, row, col;
} factor;

static factor factor_of(const grad_array *x, bool transposed) {
  const int i = x->ndim - (transposed ? 1 : 2), j = x->ndim - (transposed ? 2 : 1);
  return (factor){x->data, x->shape[i], x->shape[j], x->strides[i], x->strides[j]};
}

/* A factor as BLAS reads it: stored with rows `ld` apart, maybe transposed. */
typedef struct stored {
  bool transposed;
  int64_t ld;
} stored;

static bool stored_as(const factor *f, stored *out) {
  if ((f->col == 1 || f->cols == 1) && (f->row >= f->cols || f->rows == 1)) {
    *out = (stored){false, f->rows == 1 ? f->cols : f->row};
    return true;
  }
  if ((f->row == 1 || f->rows == 1) && (f->col >= f->rows || f->cols == 1)) {
    *out = (stored){true, f->cols == 1 ? f->rows : f->col};
    return true;
  }
  return false;
}

/* Copies a factor with strides that BLAS cannot read. */
static void pack(factor *f, grad_dtype dtype, void *to) {
  grad_array from = {.data = (void *)f->data, .dtype = dtype, .ndim = 2};
  from.shape[0] = f->rows;
  from.shape[1] = f->cols;
  from.strides[0] = f->row;
  from.strides[1] = f->col;
  grad_array copy;
  grad__array_wrap(&copy, to, dtype, 2, from.shape);
  grad__array_copy(&copy, &from);
  *f = (factor){to, f->rows, f->cols, f->cols, 1};
}

static grad_status product_blas(grad_ctx *ctx, grad_dtype dtype, factor a, factor b, void *c, char *scratch) {
  const int64_t m = a.rows, k = a.cols, n = b.cols;
  stored sa, sb;
  if (!stored_as(&a, &sa)) {
    pack(&a, dtype, scratch);
    stored_as(&a, &sa);
  }
  if (!stored_as(&b, &sb)) {
    pack(&b, dtype, scratch + (size_t)(m * k) * grad__dtype_size(dtype));
    stored_as(&b, &sb);
  }
  if (n == 1 && b.row != 0)
    return grad__gemv(ctx, dtype, sa.transposed, sa.transposed ? k : m, sa.transposed ? m : k, a.data, sa.ld, b.data,
                      b.row, c);
  if (m == 1 && a.col != 0)
    return grad__gemv(ctx, dtype, !sb.transposed, sb.transposed ? n : k, sb.transposed ? k : n, b.data, sb.ld, a.data,
                      a.col, c);
  return grad__gemm(ctx, dtype, sa.transposed, sb.transposed, m, n, k, 1, a.data, sa.ld, b.data, sb.ld, 0, c, n);
}

static void product_i64(factor a, factor b, int64_t *c) {
  const int64_t *x = (const int64_t *)(const void *)a.data, *y = (const int64_t *)(const void *)b.data;
  for (int64_t i = 0; i < a.rows; i++)
    for (int64_t j = 0; j < b.cols; j++) {
      uint64_t sum = 0;
      for (int64_t l = 0; l < a.cols; l++)
        sum += (uint64_t)x[i * a.row + l * a.col] * (uint64_t)y[l * b.row + j * b.col];
      c[i * b.cols + j] = (int64_t)sum;
    }
}

static grad_status matmul_eval(const grad_eval *a) {
  const grad_dtype dtype = a->in[0]->dtype;
  const int64_t size = (int64_t)grad__dtype_size(dtype);
  if (grad__array_numel(a->out[0]) == 0) return GRAD_OK;
  const factor first = factor_of(a->in[0], a->ins->params[0]), second = factor_of(a->in[1], a->ins->params[1]);
  if (first.cols == 0) {
    grad__array_fill(a->out[0], 0);
    return GRAD_OK;
  }
  const int lead = a->in[0]->ndim - 2;
  grad_axes at_a, at_b;
  grad__axes_of(a->in[0], 0, lead, &at_a);
  grad__axes_of(a->in[1], 0, lead, &at_b);
  char *c = a->out[0]->data;
  do {
    factor x = first, y = second;
    x.data += at_a.offset * size;
    y.data += at_b.offset * size;
    if (dtype == GRAD_I64) {
      product_i64(x, y, (int64_t *)(void *)c);
    } else {
      const grad_status status = product_blas(a->ctx, dtype, x, y, c, a->scratch);
      if (status != GRAD_OK) return status;
    }
    c += first.rows * second.cols * size;
    grad__axes_next(&at_b);
  } while (grad__axes_next(&at_a));
  return GRAD_OK;
}

static extents extents_of_instr(const grad_program *p, const grad_instr *ins) {
  const grad_type *a = grad__type(p, ins->in[0]), *b = grad__type(p, ins->in[1]);
  return extents_of(ins->params, a->ndim, a->shape, b->shape);
}

/* Room for one matrix of each factor: whether strides call for it is known only when it runs. */
static int64_t matmul_scratch(const grad_program *p, const grad_instr *ins) {
  const extents e = extents_of_instr(p, ins);
  const grad_dtype dtype = grad__type(p, ins->out)->dtype;
  return dtype == GRAD_I64 ? 0 : (e.m * e.k + e.k * e.n) * (int64_t)grad__dtype_size(dtype);
}

static double matmul_flops(const grad_program *p, const grad_instr *ins) {
  return 2 * (double)grad__type_numel(grad__type(p, ins->out)) * (double)extents_of_instr(p, ins).k;
}

static grad_status matmul_dependence(grad_sparsity *a) {
  const extents e = extents_of_instr(a->p, a->ins);
  const bool ta = a->ins->params[0], tb = a->ins->params[1];
  const int64_t matrix = a->element / (e.m * e.n), i = a->element / e.n % e.m, j = a->element % e.n;
  grad_status status = GRAD_OK;
  for (int64_t l = 0; l < e.k && status == GRAD_OK; l++) {
    status = a->add(a, 0, matrix * e.m * e.k + (ta ? l * e.m + i : i * e.k + l));
    if (status == GRAD_OK) status = a->add(a, 1, matrix * e.k * e.n + (tb ? j * e.k + l : l * e.n + j));
  }
  return status;
}

static void matmul_jvp(grad_jvp *a) {
  const bool ta = a->ins->params[0], tb = a->ins->params[1];
  a->dy[0] = grad__add_tangents(a->p, grad__matmul(a->p, a->dx[0], a->x[1], ta, tb),
                                grad__matmul(a->p, a->x[0], a->dx[1], ta, tb));
}

static void matmul_transpose(grad_transpose *a) {
  const bool ta = a->ins->params[0], tb = a->ins->params[1];
  const grad_id c = a->cy[0];
  if (a->linear[0])
    a->cx[0] = ta ? grad__matmul(a->p, a->x[1], c, tb, true) : grad__matmul(a->p, c, a->x[1], false, !tb);
  else
    a->cx[1] = tb ? grad__matmul(a->p, c, a->x[0], true, ta) : grad__matmul(a->p, a->x[0], c, !ta, false);
}

/* Plain matrices, the first batched: one product of all rows of the batch. */
static grad_id batch_rows(grad_batch *a, extents e) {
  grad_program *p = a->p;
  const grad_id x = a->ins->params[0] ? grad__swap_axes(p, a->x[0], 1, 2) : a->x[0];
  const grad_id rows = grad__reshape(p, x, 2, (const int64_t[]){a->size * e.m, e.k});
  const grad_id y = grad__matmul(p, rows, a->x[1], false, a->ins->params[1]);
  return grad__reshape(p, y, 3, (const int64_t[]){a->size, e.m, e.n});
}

/* Plain matrices, the second batched: its columns are the rows of the transposed product. */
static grad_id batch_columns(grad_batch *a, extents e) {
  grad_program *p = a->p;
  const grad_id x = a->ins->params[1] ? a->x[1] : grad__swap_axes(p, a->x[1], 1, 2);
  const grad_id rows = grad__reshape(p, x, 2, (const int64_t[]){a->size * e.n, e.k});
  const grad_id y = grad__matmul(p, rows, a->x[0], false, !a->ins->params[0]);
  return grad__swap_axes(p, grad__reshape(p, y, 3, (const int64_t[]){a->size, e.n, e.m}), 1, 2);
}

static void matmul_batch(grad_batch *a) {
  const extents e = extents_of(a->ins->params, a->xt[0].ndim, a->xt[0].shape, a->xt[1].shape);
  const bool plain = a->xt[0].ndim == 2;
  if (plain && !a->batched[1])
    a->y[0] = batch_rows(a, e);
  else if (plain && !a->batched[0])
    a->y[0] = batch_columns(a, e);
  else
    grad__batch_same(a);
}

/* Rows of the result take rows of the first factor, columns columns of the second. */
static void matmul_crop(grad_crop *a) {
  const grad_range *box = a->box[0];
  const bool ta = a->ins->params[0], tb = a->ins->params[1];
  const int n = grad__type(a->from, a->ins->out)->ndim;
  grad_range left[GRAD_MAX_AXES], right[GRAD_MAX_AXES];
  grad__box_whole(grad__type(a->from, a->ins->in[0]), left);
  grad__box_whole(grad__type(a->from, a->ins->in[1]), right);
  for (int i = 0; i < n - 2; i++) left[i] = right[i] = box[i];
  left[n - (ta ? 1 : 2)] = box[n - 2];
  right[n - (tb ? 2 : 1)] = box[n - 1];
  a->y[0] = grad__matmul(a->p, grad__crop_operand(a, 0, left), grad__crop_operand(a, 1, right), ta, tb);
}

const grad_op grad__op_matmul = {
    .name = "matmul",
    .nin = 2,
    .nout = 1,
    .sparsity = GRAD_SPARSITY_CUSTOM,
    .dependence = matmul_dependence,
    .infer = matmul_infer,
    .eval = matmul_eval,
    .scratch = matmul_scratch,
    .jvp = matmul_jvp,
    .transpose = matmul_transpose,
    .batch = matmul_batch,
    .crop = matmul_crop,
    .flops = matmul_flops,
};

grad_id grad__matmul(grad_program *p, grad_id a, grad_id b, bool ta, bool tb) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  grad_dtype dtype = grad__dtype_promote(grad__type(p, a)->dtype, grad__type(p, b)->dtype);
  if (dtype == GRAD_BOOL) dtype = GRAD_I64;
  a = grad__convert(p, a, dtype);
  b = grad__convert(p, b, dtype);
  return grad__emit2(p, &grad__op_matmul, a, b, 2, (const int64_t[]){ta, tb});
}

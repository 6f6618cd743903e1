/* op_index.c: gather and scatter_add: reading and adding at positions given by an array. Each is the other's transpose.
 *
 * gather       x, index -> y      params {axis, lead}
 * scatter_add  y, index -> x      params {axis, lead, extent of the axis}
 *
 * The first `lead` axes are shared: each index along them has its own positions. With them left out, and the index's
 * axes standing in the place of x's axis:   y[a, i, r] = x[a, index[i], r].   torch's gather is the case where all axes
 * but the last are shared (compose_index.c). Positions are i64 and count from 0; they are checked before anything is
 * read or written; messages count from 1, as the user does. */
#include "ops/axes.h"
#include "ops/structured.h"

#include <string.h>

static grad_status infer_index(grad_infer *a) {
  const grad_type *x = &a->in[0], *index = &a->in[1];
  const int64_t axis = a->params[0], lead = a->params[1];
  if (index->dtype != GRAD_I64)
    return grad__fail(a->ctx, GRAD_EDTYPE, "%s: positions must be i64, got %s", a->op->name,
                      grad__dtype_name(index->dtype));
  if (axis < lead || axis > x->ndim)
    return grad__fail(a->ctx, GRAD_EVALUE, "%s: axis %lld does not exist in shape %s", a->op->name, (long long)axis + 1,
                      grad__shape_text(x->ndim, x->shape).chars);
  if (lead < 0 || lead > index->ndim || !grad__shape_equal((int)lead, x->shape, (int)lead, index->shape))
    return grad__fail(a->ctx, GRAD_ESHAPE, "%s: the first %lld axes of %s and of the positions %s must be equal",
                      a->op->name, (long long)lead, grad__shape_text(x->ndim, x->shape).chars,
                      grad__shape_text(index->ndim, index->shape).chars);
  return GRAD_OK;
}

/* The positions in row order, each checked against the extent: where they lie, or copied to scratch. */
static grad_status read_positions(const grad_eval *a, int64_t extent, const int64_t **out) {
  const grad_array *index = a->in[1];
  const bool as_is = grad__array_is_contiguous(index);
  grad_array row_order;
  grad__array_wrap(&row_order, a->scratch, GRAD_I64, index->ndim, index->shape);
  if (!as_is) grad__array_copy(&row_order, index);
  const int64_t *to = *out = as_is ? index->data : row_order.data;
  const int64_t n = grad__array_numel(index);
  uint64_t outside = 0;
  for (int64_t i = 0; i < n; i++) outside |= (uint64_t)((uint64_t)to[i] >= (uint64_t)extent);
  for (int64_t i = 0; outside && i < n; i++)
    if (to[i] < 0 || to[i] >= extent)
      return grad__fail(a->ctx, GRAD_EINDEX, "%s: position %lld is outside axis %lld, which has %lld elements",
                        a->ins->op->name, (long long)to[i] + 1, (long long)a->ins->params[0] + 1, (long long)extent);
  return GRAD_OK;
}

static int64_t index_scratch(const grad_program *p, const grad_instr *ins) {
  return grad__type_numel(grad__type(p, ins->in[1])) * (int64_t)sizeof(int64_t);
}

/* Product of the extents of axes from..to - 1. */
static int64_t extent_between(const int64_t *shape, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; i++) n *= shape[i];
  return n;
}

/* What one position selects: the axes after the indexed ones. The row-order side is contiguous. */
typedef struct block {
  grad_axes rows;
  int64_t n, step;
} block;

static void block_of(const grad_array *a, int from, block *out) {
  grad__axes_of(a, from, a->ndim, &out->rows);
  grad__axes_take_last(&out->rows, &out->n, &out->step);
}

typedef void (*block_fn)(void *to, const void *from, block *b);

#define BLOCK(name, T, RUN)                                                                                            \
  static void name(void *to, const void *from, block *b) {                                                             \
    T *y = to;                                                                                                         \
    do {                                                                                                               \
      const T *x = (const T *)from + b->rows.offset;                                                                   \
      RUN(y, x, b->n, b->step);                                                                                        \
      y += b->n;                                                                                                       \
    } while (grad__axes_next(&b->rows));                                                                               \
  }
#define COPY_RUN(y, x, n, step)                                                                                        \
  if (step == 1)                                                                                                       \
    memcpy(y, x, (size_t)n * sizeof *y);                                                                               \
  else                                                                                                                 \
    for (int64_t i = 0; i < n; i++) y[i] = x[i * step]
#define ADD_RUN(y, x, n, step)                                                                                         \
  for (int64_t i = 0; i < n; i++) y[i] += x[i * step]
BLOCK(copy_1, uint8_t, COPY_RUN)
BLOCK(copy_4, uint32_t, COPY_RUN)
BLOCK(copy_8, uint64_t, COPY_RUN)
BLOCK(add_f64, double, ADD_RUN)
BLOCK(add_f32, float, ADD_RUN)
BLOCK(add_i64, uint64_t, ADD_RUN) /* wraps around */

/* Where a position selects a single element a line of n positions is one loop: y[i] = x[position[i] * step], or
 * y[position[i]] += x[i * step]. Then the next row: positions, y and x begin so many elements later. */
typedef struct lines {
  int64_t n, step, rows, position_row, to_row, from_row;
} lines;
typedef void (*line_fn)(lines l, void *to, const void *from, const int64_t *position);

#define LINES(name, T, y_at, ASSIGN, x_at)                                                                             \
  static void name(lines l, void *to, const void *from, const int64_t *position) {                                     \
    T *y = to;                                                                                                         \
    const T *x = from;                                                                                                 \
    for (int64_t r = 0; r < l.rows; r++, y += l.to_row, x += l.from_row, position += l.position_row)                   \
      for (int64_t i = 0; i < l.n; i++) y[y_at] ASSIGN x[x_at];                                                        \
  }
#define GATHER_LINE(name, T) LINES(name, T, i, =, position[i] * l.step)
#define SCATTER_LINE(name, T) LINES(name, T, position[i], +=, i * l.step)
GATHER_LINE(gather_1, uint8_t)
GATHER_LINE(gather_4, uint32_t)
GATHER_LINE(gather_8, uint64_t)
SCATTER_LINE(scatter_f64, double)
SCATTER_LINE(scatter_f32, float)
SCATTER_LINE(scatter_i64, uint64_t)

/* Takes as rows the fastest of the leading axes, where all of them have positions of their own, or all the same. */
static void take_rows(grad_axes *leading, int axis, int lead, lines *l) {
  if (axis != lead && lead != 0) return;
  grad__axes_take_last(leading, &l->rows, &l->from_row);
  l->position_row = axis == lead ? l->n : 0;
}

/* --- gather */

static grad_status gather_infer(grad_infer *a) {
  const grad_status status = infer_index(a);
  if (status != GRAD_OK) return status;
  const grad_type *x = &a->in[0], *index = &a->in[1];
  const int axis = (int)a->params[0], lead = (int)a->params[1];
  if (axis == x->ndim)
    return grad__fail(a->ctx, GRAD_EVALUE, "gather: axis %d does not exist in an array with %d axes", axis + 1,
                      x->ndim);
  int64_t shape[2 * GRAD_MAX_AXES];
  int ndim = 0;
  for (int i = 0; i < axis; i++) shape[ndim++] = x->shape[i];
  for (int i = lead; i < index->ndim; i++) shape[ndim++] = index->shape[i];
  for (int i = axis + 1; i < x->ndim; i++) shape[ndim++] = x->shape[i];
  return grad__infer_out(a, 0, x->dtype, ndim, shape);
}

static grad_status gather_eval(const grad_eval *a) {
  const grad_array *x = a->in[0], *index = a->in[1];
  const int axis = (int)a->ins->params[0], lead = (int)a->ins->params[1];
  const int64_t *positions;
  const grad_status status = read_positions(a, x->shape[axis], &positions);
  if (status != GRAD_OK || grad__array_numel(a->out[0]) == 0) return status;

  const size_t size = grad__dtype_size(x->dtype);
  const block_fn copy = size == 8 ? copy_8 : size == 4 ? copy_4 : copy_1;
  const line_fn line = size == 8 ? gather_8 : size == 4 ? gather_4 : gather_1;
  const int64_t npositions = extent_between(index->shape, lead, index->ndim);
  const int64_t shared = extent_between(x->shape, lead, axis);
  block b;
  block_of(x, axis + 1, &b);
  const size_t block_bytes = (size_t)extent_between(x->shape, axis + 1, x->ndim) * size;
  grad_axes at;
  grad__axes_of(x, 0, axis, &at);
  const bool is_line = block_bytes == size;
  lines l = {.n = npositions, .step = x->strides[axis], .rows = 1, .to_row = npositions};
  if (is_line) take_rows(&at, axis, lead, &l);
  char *to = a->out[0]->data;
  int64_t row = 0;
  do {
    const int64_t *position = positions + row / shared * npositions;
    const char *from = (const char *)x->data + at.offset * (int64_t)size;
    if (is_line) line(l, to, from, position);
    for (int64_t i = 0; !is_line && i < npositions; i++)
      copy(to + (size_t)i * block_bytes, from + position[i] * l.step * (int64_t)size, &b);
    to += (size_t)(l.rows * npositions) * block_bytes;
    row += l.rows;
  } while (grad__axes_next(&at));
  return GRAD_OK;
}

static void gather_jvp(grad_jvp *a) {
  a->dy[0] = grad__emit2(a->p, &grad__op_gather, a->dx[0], a->x[1], 2, a->ins->params);
}

static void gather_transpose(grad_transpose *a) {
  const int64_t axis = a->ins->params[0], lead = a->ins->params[1];
  a->cx[0] = grad__emit2(a->p, &grad__op_scatter_add, a->cy[0], a->x[1], 3,
                         (const int64_t[]){axis, lead, a->xt[0].shape[axis]});
}

/* The leading axis of y moved from `at` to the front. */
static grad_id axis_to_front(grad_program *p, grad_id y, int at) {
  if (y == GRAD_NONE) return y;
  int order[GRAD_MAX_AXES] = {at};
  for (int i = 1; i < grad__ndim(p, y); i++) order[i] = i <= at ? i - 1 : i;
  return grad__permute(p, y, order);
}

static void gather_batch(grad_batch *a) {
  const int64_t axis = a->ins->params[0], lead = a->ins->params[1];
  if (lead == 0 && !a->batched[1])
    a->y[0] = grad__emit2(a->p, a->ins->op, a->x[0], a->x[1], 2, (const int64_t[]){axis + 1, 0});
  else if (lead == 0 && !a->batched[0])
    a->y[0] = axis_to_front(a->p, grad__emit2(a->p, a->ins->op, a->x[0], a->x[1], 2, a->ins->params), (int)axis);
  else
    grad__batch_with(a, (const int64_t[]){axis + 1, lead + 1});
}

const grad_op grad__op_gather = {
    .name = "gather",
    .nin = 2,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .sparsity = GRAD_SPARSITY_MAP,
    .infer = gather_infer,
    .eval = gather_eval,
    .scratch = index_scratch,
    .jvp = gather_jvp,
    .transpose = gather_transpose,
    .batch = gather_batch,
};

/* --- scatter_add */

static grad_status scatter_infer(grad_infer *a) {
  const grad_status status = infer_index(a);
  if (status != GRAD_OK) return status;
  const grad_type *y = &a->in[0], *index = &a->in[1];
  const int axis = (int)a->params[0], lead = (int)a->params[1], n = index->ndim - lead;
  if (y->dtype == GRAD_BOOL) return grad__fail(a->ctx, GRAD_EDTYPE, "scatter_add: bool values cannot be added");
  if (axis + n > y->ndim || !grad__shape_equal(n, y->shape + axis, n, index->shape + lead)) {
    return grad__fail(
        a->ctx, GRAD_ESHAPE, "scatter_add: source %s does not have the positions' shape %s from axis %d on",
        grad__shape_text(y->ndim, y->shape).chars, grad__shape_text(index->ndim, index->shape).chars, axis + 1);
  }
  int64_t shape[GRAD_MAX_AXES + 1];
  int ndim = 0;
  for (int i = 0; i < axis; i++) shape[ndim++] = y->shape[i];
  shape[ndim++] = a->params[2];
  for (int i = axis + n; i < y->ndim; i++) shape[ndim++] = y->shape[i];
  return grad__infer_out(a, 0, y->dtype, ndim, shape);
}

/* Adds in the order of the positions: the result is the same on any number of threads. */
static grad_status scatter_eval(const grad_eval *a) {
  const grad_array *y = a->in[0], *index = a->in[1];
  const int axis = (int)a->ins->params[0], lead = (int)a->ins->params[1], n = index->ndim - lead;
  const int64_t extent = a->ins->params[2];
  const int64_t *positions;
  const grad_status status = read_positions(a, extent, &positions);
  if (status != GRAD_OK) return status;
  const size_t size = grad__dtype_size(y->dtype);
  const size_t bytes = (size_t)grad__array_numel(a->out[0]) * size;
  if (bytes > 0) memset(a->out[0]->data, 0, bytes);
  if (grad__array_numel(y) == 0) return GRAD_OK;

  const block_fn add = y->dtype == GRAD_F64 ? add_f64 : y->dtype == GRAD_F32 ? add_f32 : add_i64;
  const line_fn line = y->dtype == GRAD_F64 ? scatter_f64 : y->dtype == GRAD_F32 ? scatter_f32 : scatter_i64;
  const int64_t npositions = extent_between(index->shape, lead, index->ndim);
  const int64_t shared = extent_between(y->shape, lead, axis);
  block b;
  block_of(y, axis + n, &b);
  const size_t block_bytes = (size_t)extent_between(y->shape, axis + n, y->ndim) * size;
  grad_axes places, at;
  grad__axes_of(y, axis, axis + n, &places);
  const bool is_line = block_bytes == size && places.ndim <= 1;
  grad__axes_of(y, 0, is_line ? axis : axis + n, &at);
  lines l = {.n = npositions, .step = places.ndim ? places.strides[0] : 1, .rows = 1, .to_row = extent};
  if (is_line) take_rows(&at, axis, lead, &l);
  const int64_t rows = extent_between(y->shape, 0, axis);
  char *to = a->out[0]->data;
  for (int64_t row = 0; row < rows; row += l.rows, to += (size_t)(l.rows * extent) * block_bytes) {
    const int64_t *position = positions + row / shared * npositions;
    if (is_line) {
      line(l, to, (const char *)y->data + at.offset * (int64_t)size, position);
      grad__axes_next(&at);
    }
    for (int64_t i = 0; !is_line && i < npositions; i++, grad__axes_next(&at))
      add(to + (size_t)position[i] * block_bytes, (const char *)y->data + at.offset * (int64_t)size, &b);
  }
  return GRAD_OK;
}

static void scatter_jvp(grad_jvp *a) {
  a->dy[0] = grad__emit2(a->p, &grad__op_scatter_add, a->dx[0], a->x[1], 3, a->ins->params);
}

static void scatter_transpose(grad_transpose *a) {
  a->cx[0] = grad__emit2(a->p, &grad__op_gather, a->cy[0], a->x[1], 2, a->ins->params);
}

static void scatter_batch(grad_batch *a) {
  const int64_t *params = a->ins->params;
  if (params[1] == 0 && !a->batched[1])
    a->y[0] = grad__emit2(a->p, a->ins->op, a->x[0], a->x[1], 3, (const int64_t[]){params[0] + 1, 0, params[2]});
  else
    grad__batch_with(a, (const int64_t[]){params[0] + 1, params[1] + 1, params[2]});
}

const grad_op grad__op_scatter_add = {
    .name = "scatter_add",
    .nin = 2,
    .nout = 1,
    .flags = GRAD_OP_REFUSES,
    .sparsity = GRAD_SPARSITY_DENSE,
    .infer = scatter_infer,
    .eval = scatter_eval,
    .scratch = index_scratch,
    .jvp = scatter_jvp,
    .transpose = scatter_transpose,
    .batch = scatter_batch,
};

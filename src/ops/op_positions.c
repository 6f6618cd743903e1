/* op_positions.c: positions (i64, from 0) out of what a person gives: positions counted from 1 or from the end, labels,
 * pairs of positions, masks. All without derivatives; all check what they read, and their messages count from 1.
 *
 * positions    {extent}         1 .. extent and -extent .. -1 (from the end) to 0 .. extent - 1
 * labels       {extent}         f64 or i64, integral, 1 .. extent, to 0 .. extent - 1; messages name the row
 * ravel_index  {extents}        one position an axis to a position in row order
 * last_writer  {lead, extent}   for each place of the axis the last entry that names it, else -1
 * mask_rank    {lead, count}    how many true elements stand before; there must be `count` in all
 * `lead`: that many leading axes are shared, as in op_index.c. */
#include <math.h>

#include "ops/compose.h"
#include "ops/structured.h"

static grad_status expect_positions(grad_infer *a, int i) {
  if (a->in[i].dtype == GRAD_I64) return GRAD_OK;
  return grad__fail(a->ctx, GRAD_EDTYPE, "positions must be i64, got %s: convert with :to(\"i64\")",
                    grad__dtype_name(a->in[i].dtype));
}

static grad_status infer_same_shape(grad_infer *a) {
  return grad__infer_out(a, 0, GRAD_I64, a->in[0].ndim, a->in[0].shape);
}

static int64_t leading(const int64_t *shape, int64_t lead) {
  int64_t n = 1;
  for (int64_t i = 0; i < lead; i++) n *= shape[i];
  return n;
}

#define INTEGERS(id, inputs, batches)                                                                                  \
  const grad_op grad__op_##id = {                                                                                      \
      .name = #id,                                                                                                     \
      .nin = inputs,                                                                                                   \
      .nout = 1,                                                                                                       \
      .sparsity = GRAD_SPARSITY_NONE,                                                                                  \
      .flags = GRAD_OP_NONDIFF | GRAD_OP_REFUSES,                                                                      \
      .infer = id##_infer,                                                                                             \
      .eval = id##_eval,                                                                                               \
      .batch = batches,                                                                                                \
  };

/* --- positions */

static grad_status positions_infer(grad_infer *a) {
  const grad_status status = expect_positions(a, 0);
  return status == GRAD_OK ? infer_same_shape(a) : status;
}

static grad_status position_fail(const grad_eval *a, int64_t position, int64_t extent) {
  if (position == 0)
    return grad__fail(a->ctx, GRAD_EINDEX, "position 0 does not exist: Lua counts from 1 (%lld elements here)",
                      (long long)extent);
  return grad__fail(a->ctx, GRAD_EINDEX, "position %lld is out of range: there are %lld elements", (long long)position,
                    (long long)extent);
}

static grad_status positions_eval(const grad_eval *a) {
  const int64_t extent = a->ins->params[0];
  grad__array_copy(a->out[0], a->in[0]);
  int64_t *y = a->out[0]->data;
  const int64_t n = grad__array_numel(a->out[0]);
  for (int64_t i = 0; i < n; i++) {
    if (y[i] == 0 || y[i] > extent || y[i] < -extent) return position_fail(a, y[i], extent);
    y[i] += y[i] > 0 ? -1 : extent;
  }
  return GRAD_OK;
}

INTEGERS(positions, 1, grad__batch_same)

grad_id grad__positions(grad_program *p, grad_id index, int64_t extent) {
  return grad__emit1(p, &grad__op_positions, index, 1, &extent);
}

/* --- labels */

static grad_status labels_infer(grad_infer *a) {
  const grad_dtype dtype = a->in[0].dtype;
  if (dtype == GRAD_I64 || dtype == GRAD_F64) return infer_same_shape(a);
  return grad__fail(a->ctx, GRAD_EDTYPE, "labels must be i64 or f64, got %s", grad__dtype_name(dtype));
}

static grad_status label_fail(const grad_eval *a, double label, int64_t row) {
  const long long extent = a->ins->params[0];
  if (label != label)
    return grad__fail(a->ctx, GRAD_EVALUE, "label in row %lld is NaN; expected 1 to %lld", (long long)row + 1, extent);
  if (label != trunc(label))
    return grad__fail(a->ctx, GRAD_EVALUE, "label %g in row %lld is not a whole number", label, (long long)row + 1);
  return grad__fail(a->ctx, GRAD_EINDEX, "label %g in row %lld is outside 1 to %lld", label, (long long)row + 1,
                    extent);
}

static grad_status labels_eval(const grad_eval *a) {
  const double extent = (double)a->ins->params[0];
  const grad_array *walked[] = {a->out[0], a->in[0]};
  const bool integers = a->in[0]->dtype == GRAD_I64;
  int64_t row = 0;
  grad_walk w;
  for (grad__walk_start(&w, 2, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++, row++) {
      const char *at = w.at[1] + i * w.step[1] * (int64_t)w.size[1];
      const double label = integers ? (double)*(const int64_t *)(const void *)at : *(const double *)(const void *)at;
      if (!(label >= 1 && label <= extent && label == (double)(int64_t)label)) return label_fail(a, label, row);
      ((int64_t *)(void *)w.at[0])[i * w.step[0]] = (int64_t)label - 1;
    }
  return GRAD_OK;
}

INTEGERS(labels, 1, grad__batch_same)

grad_id grad__labels(grad_program *p, grad_id labels, int64_t extent) {
  if (labels == GRAD_NONE) return labels;
  if (grad__type(p, labels)->dtype != GRAD_I64) labels = grad__convert(p, labels, GRAD_F64);
  return grad__emit1(p, &grad__op_labels, labels, 1, &extent);
}

/* --- ravel_index */

static grad_status ravel_index_infer(grad_infer *a) {
  for (int i = 0; i < a->nin; i++) {
    const grad_status status = expect_positions(a, i);
    if (status != GRAD_OK) return status;
    if (!grad__shape_equal(a->in[i].ndim, a->in[i].shape, a->in[0].ndim, a->in[0].shape))
      return grad__fail(a->ctx, GRAD_ESHAPE, "ravel_index: positions of different axes have different shapes");
  }
  if (a->nin < 1 || a->nparams != a->nin)
    return grad__fail(a->ctx, GRAD_EVALUE, "ravel_index: %d position arrays for %d extents", a->nin, a->nparams);
  return infer_same_shape(a);
}

static grad_status ravel_index_eval(const grad_eval *a) {
  int64_t *y = a->out[0]->data;
  const int64_t n = grad__array_numel(a->out[0]);
  for (int64_t i = 0; i < n; i++) y[i] = 0;
  for (int k = 0; k < a->ins->nin; k++) {
    const int64_t extent = a->ins->params[k];
    const grad_array *walked[] = {a->out[0], a->in[k]};
    grad_walk w;
    for (grad__walk_start(&w, 2, walked); !w.done; grad__walk_next(&w))
      for (int64_t i = 0; i < w.inner; i++) {
        const int64_t position = ((const int64_t *)(const void *)w.at[1])[i * w.step[1]];
        if (position < 0 || position >= extent) return position_fail(a, position + 1, extent);
        int64_t *to = (int64_t *)(void *)w.at[0] + i * w.step[0];
        *to = *to * extent + position;
      }
  }
  return GRAD_OK;
}

INTEGERS(ravel_index, -1, grad__batch_same)

grad_id grad__ravel_index(grad_program *p, int n, const grad_id *index, const int64_t *extents) {
  grad_id in[GRAD_MAX_AXES];
  int64_t shape[GRAD_MAX_AXES];
  int ndim = 0;
  if (n > GRAD_MAX_AXES) return grad__program_fail(p, GRAD_EVALUE, "ravel_index: more than %d axes", GRAD_MAX_AXES);
  for (int i = 0; i < n; i++) {
    if (index[i] == GRAD_NONE) return GRAD_NONE;
    const grad_type *t = grad__type(p, index[i]);
    int64_t joint[GRAD_MAX_AXES];
    if (!grad__shape_broadcast(ndim, shape, t->ndim, t->shape, &ndim, joint))
      return grad__program_fail(p, GRAD_ESHAPE, "positions for different axes go pairwise; their shapes do not fit");
    for (int k = 0; k < ndim; k++) shape[k] = joint[k];
  }
  for (int i = 0; i < n; i++) in[i] = grad__broadcast(p, index[i], ndim, shape);
  return grad__emit(p, &grad__op_ravel_index, n, in, n, extents);
}

/* --- last_writer */

static grad_status last_writer_infer(grad_infer *a) {
  const grad_status status = expect_positions(a, 0);
  if (status != GRAD_OK) return status;
  int64_t shape[GRAD_MAX_AXES + 1];
  int ndim = 0;
  for (; ndim < a->params[0]; ndim++) shape[ndim] = a->in[0].shape[ndim];
  shape[ndim++] = a->params[1];
  return grad__infer_out(a, 0, GRAD_I64, ndim, shape);
}

static grad_status last_writer_eval(const grad_eval *a) {
  const int64_t extent = a->ins->params[1], groups = leading(a->in[0]->shape, a->ins->params[0]);
  const int64_t each = groups > 0 ? grad__array_numel(a->in[0]) / groups : 0;
  int64_t *y = a->out[0]->data, entry = 0;
  for (int64_t i = 0; i < groups * extent; i++) y[i] = -1;
  const grad_array *walked[] = {a->in[0]};
  grad_walk w;
  for (grad__walk_start(&w, 1, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++, entry++) {
      const int64_t position = ((const int64_t *)(const void *)w.at[0])[i * w.step[0]];
      if (position < 0 || position >= extent) return position_fail(a, position + 1, extent);
      y[entry / each * extent + position] = entry % each;
    }
  return GRAD_OK;
}

INTEGERS(last_writer, 1, grad__batch_axis)

/* --- mask_rank */

static grad_status mask_rank_infer(grad_infer *a) {
  if (a->in[0].dtype == GRAD_BOOL) return infer_same_shape(a);
  return grad__fail(a->ctx, GRAD_EDTYPE, "a mask must be bool, got %s", grad__dtype_name(a->in[0].dtype));
}

static grad_status mask_rank_eval(const grad_eval *a) {
  const int64_t groups = leading(a->in[0]->shape, a->ins->params[0]), want = a->ins->params[1];
  const int64_t each = groups > 0 ? grad__array_numel(a->in[0]) / groups : 0;
  grad__array_copy(a->out[0], a->in[0]);
  int64_t *y = a->out[0]->data;
  for (int64_t g = 0; g < groups; g++) {
    int64_t rank = 0;
    for (int64_t i = 0; i < each; i++) {
      const bool set = *y != 0;
      *y++ = rank < want ? rank : 0;
      rank += set;
    }
    if (rank != want)
      return grad__fail(a->ctx, GRAD_ESHAPE, "the mask has %lld true elements, the value has %lld rows",
                        (long long)rank, (long long)want);
  }
  return GRAD_OK;
}

INTEGERS(mask_rank, 1, grad__batch_axis)

/* --- array level: the shape of these results depends on data */

int64_t grad__mask_count(const grad_array *mask) {
  int64_t count = 0;
  grad_walk w;
  for (grad__walk_start(&w, 1, &mask); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++) count += w.at[0][i * w.step[0]] != 0;
  return count;
}

void grad__mask_positions(const grad_array *mask, int64_t *out) {
  int64_t position = 0;
  grad_walk w;
  for (grad__walk_start(&w, 1, &mask); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++, position++)
      if (w.at[0][i * w.step[0]] != 0) *out++ = position;
}

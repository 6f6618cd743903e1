/* op_sort.c: sort and kth: order along one axis.
 *
 * sort  x -> values, positions (i64)   params {axis, descending, k}: the first k in order; stable: equal elements keep
 *                                     theirs
 * kth   x -> the k-th smallest         params {axis, k}; NaN when there is one
 * NaN counts as largest. The derivative of sort follows the positions; elements equal to the k-th share its derivative.
 */
#include <stdlib.h>
#include <string.h>

#include "ops/compose.h"
#include "ops/demand.h"
#include "ops/structured.h"

/* An element that is being sorted. Every dtype is mapped to integers that have its order, so that one comparison serves
 * all; NaN, whatever its sign, is mapped to the largest. */
typedef struct entry {
  uint64_t key;
  int64_t position;
} entry;

static uint64_t key_of_f64(double value) {
  if (value != value) return UINT64_MAX;
  value += 0; /* -0 and 0 are equal */
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t key_of(const char *at, grad_dtype dtype) {
  switch (dtype) {
  case GRAD_F64:
    return key_of_f64(*(const double *)(const void *)at);
  case GRAD_F32:
    return key_of_f64((double)*(const float *)(const void *)at);
  case GRAD_I64:
    return (uint64_t) * (const int64_t *)(const void *)at ^ UINT64_C(1) << 63;
  case GRAD_BOOL:
    return (uint8_t)*at;
  }
  return 0;
}

/* The line of n elements at `at`; descending order is ascending order of the complement. */
static void read_line(entry *to, int64_t n, const char *at, int64_t step_bytes, grad_dtype dtype, bool descending) {
  for (int64_t i = 0; i < n; i++) {
    const uint64_t key = key_of(at + i * step_bytes, dtype);
    to[i] = (entry){descending ? ~key : key, i};
  }
}

enum { RUN = 16 }; /* shorter runs are sorted by insertion */

static void insertion_sort(entry *e, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    const entry moved = e[i];
    int64_t j = i;
    for (; j > 0 && e[j - 1].key > moved.key; j--) e[j] = e[j - 1];
    e[j] = moved;
  }
}

static void merge(const entry *left, int64_t nleft, const entry *right, int64_t nright, entry *to) {
  const entry *const left_end = left + nleft, *const right_end = right + nright;
  while (left < left_end && right < right_end) *to++ = right->key < left->key ? *right++ : *left++;
  while (left < left_end) *to++ = *left++;
  while (right < right_end) *to++ = *right++;
}

/* Bottom-up merge sort between e and spare (n entries each); returns whichever holds the result. */
static entry *sort_entries(entry *e, entry *spare, int64_t n) {
  for (int64_t i = 0; i < n; i += RUN) insertion_sort(e + i, n - i < RUN ? n - i : RUN);
  for (int64_t width = RUN; width < n; width *= 2) {
    for (int64_t i = 0; i < n; i += 2 * width) {
      const int64_t left = n - i < width ? n - i : width, rest = n - i - left;
      merge(e + i, left, e + i + left, rest < width ? rest : width, spare + i);
    }
    entry *const sorted = spare;
    spare = e;
    e = sorted;
  }
  return e;
}

static bool before(entry a, entry b) { return a.key < b.key || (a.key == b.key && a.position < b.position); }

/* Quickselect (Hoare 1961, Algorithm 65): afterwards the first k + 1 entries are those that stand there when e is
 * sorted, entry k in its place. Positions break ties, so that what stands where is settled. */
static void select_entries(entry *e, int64_t n, int64_t k) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    const entry pivot = e[low + (high - low) / 2];
    int64_t i = low, j = high;
    while (i <= j) {
      while (before(e[i], pivot)) i++;
      while (before(pivot, e[j])) j--;
      if (i > j) break;
      const entry moved = e[i];
      e[i++] = e[j];
      e[j--] = moved;
    }
    if (k <= j)
      high = j;
    else if (k >= i)
      low = i;
    else
      return;
  }
}

static int by_key(const void *x, const void *y) {
  const entry a = *(const entry *)x, b = *(const entry *)y;
  return before(b, a) - before(a, b);
}

/* The first few entries in order, kept sorted while all are looked at. */
static const entry *first_few(const entry *e, entry *kept, int64_t n, int64_t k) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    if (count == k && e[i].key >= kept[k - 1].key) continue;
    int64_t j = count < k ? count++ : k - 1;
    for (; j > 0 && kept[j - 1].key > e[i].key; j--) kept[j] = kept[j - 1];
    kept[j] = e[i];
  }
  return kept;
}

enum { FEW = 32 };

/* The first k entries in order; where they are. */
static const entry *first_entries(entry *e, entry *spare, int64_t n, int64_t k) {
  if (k == 0) return e;
  if (k <= FEW && k < n) return first_few(e, spare, n, k);
  if (k > n / 4) return sort_entries(e, spare, n);
  select_entries(e, n, k - 1);
  qsort(e, (size_t)k, sizeof *e, by_key);
  return e;
}

static int64_t sort_scratch(const grad_program *p, const grad_instr *ins) {
  const grad_type *x = grad__type(p, ins->in[0]);
  return 2 * x->shape[ins->params[0]] * (int64_t)sizeof(entry);
}

/* n log2 n comparisons a line */
static double sort_flops(const grad_program *p, const grad_instr *ins) {
  const grad_type *x = grad__type(p, ins->in[0]);
  double levels = 0;
  for (int64_t n = x->shape[ins->params[0]]; n > 1; n /= 2) levels++;
  return (double)grad__type_numel(x) * levels;
}

/* The line of the input that the element of the output was taken from; which of its elements it is depends on values.
 */
static grad_status order_dependence(grad_sparsity *a) {
  const grad_type *x = grad__type(a->p, a->ins->in[0]), *y = grad__type(a->p, a->ins->out);
  const int axis = (int)a->ins->params[0];
  int64_t after = 1;
  for (int i = axis + 1; i < x->ndim; i++) after *= x->shape[i];
  const int64_t kept = y->ndim == x->ndim ? y->shape[axis] : 1;
  const int64_t before = a->element / (after * kept), offset = a->element % after;
  const grad_line line = grad__line_through(x, axis, before * x->shape[axis] * after + offset);
  return grad__depend_on_line(a, &line, 0, line.extent);
}

/* --- sort */

static grad_status sort_infer(grad_infer *a) {
  const grad_type *x = &a->in[0];
  grad_status status = grad__infer_axis(a);
  if (status != GRAD_OK) return status;
  const int64_t axis = a->params[0], k = a->params[2];
  if (k < 0 || k > x->shape[axis])
    return grad__fail(a->ctx, GRAD_EVALUE, "topk: k is %lld, axis %lld has %lld elements", (long long)k,
                      (long long)axis + 1, (long long)x->shape[axis]);
  int64_t shape[GRAD_MAX_AXES];
  memcpy(shape, x->shape, sizeof *shape * x->ndim);
  shape[axis] = k;
  status = grad__infer_out(a, 0, x->dtype, x->ndim, shape);
  return status == GRAD_OK ? grad__infer_out(a, 1, GRAD_I64, x->ndim, shape) : status;
}

static grad_status sort_eval(const grad_eval *a) {
  const grad_array *x = a->in[0], *values = a->out[0], *positions = a->out[1];
  const int axis = (int)a->ins->params[0];
  const grad_dtype dtype = x->dtype;
  const int64_t size = (int64_t)grad__dtype_size(dtype), n = x->shape[axis], kept = values->shape[axis];
  if (grad__array_numel(values) == 0) return GRAD_OK;
  const int64_t from_step = x->strides[axis] * size, to_step = values->strides[axis];
  grad_array heads[3];
  const grad_array *arrays[] = {values, positions, x}, *walked[] = {&heads[0], &heads[1], &heads[2]};
  for (int k = 0; k < 3; k++) grad__view_drop(arrays[k], axis, 0, &heads[k]);
  entry *const entries = a->scratch;
  grad_walk w;
  for (grad__walk_start(&w, 3, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++) {
      const char *from = w.at[2] + i * w.step[2] * size;
      char *value = w.at[0] + i * w.step[0] * size;
      int64_t *position = (int64_t *)(void *)w.at[1] + i * w.step[1];
      read_line(entries, n, from, from_step, dtype, a->ins->params[1]);
      const entry *sorted = first_entries(entries, entries + n, n, kept);
      for (int64_t k = 0; k < kept; k++) {
        position[k * to_step] = sorted[k].position;
        memcpy(value + k * to_step * size, from + sorted[k].position * from_step, (size_t)size);
      }
    }
  return GRAD_OK;
}

static void sort_jvp(grad_jvp *a) { a->dy[0] = grad__gather(a->p, a->dx[0], (int)a->ins->params[0], a->y[1]); }

const grad_op grad__op_sort = {.name = "sort",
                               .nin = 1,
                               .nout = 2,
                               .sparsity = GRAD_SPARSITY_CUSTOM,
                               .dependence = order_dependence,
                               .infer = sort_infer,
                               .eval = sort_eval,
                               .scratch = sort_scratch,
                               .jvp = sort_jvp,
                               .batch = grad__batch_axis,
                               .crop = grad__crop_lines,
                               .flops = sort_flops};

static grad_id first_in_order(grad_program *p, grad_id x, int axis, bool descending, int64_t k, grad_id *positions) {
  const grad_id values = grad__emit1(p, &grad__op_sort, x, 3, (const int64_t[]){axis, descending, k});
  if (positions) *positions = values == GRAD_NONE ? GRAD_NONE : values + 1;
  return values;
}

grad_id grad__sort(grad_program *p, grad_id x, int axis, bool descending, grad_id *positions) {
  const bool exists = x != GRAD_NONE && axis >= 0 && axis < grad__ndim(p, x);
  return first_in_order(p, x, axis, descending, exists ? grad__extent(p, x, axis) : 0, positions);
}

grad_id grad__topk(grad_program *p, grad_id x, int64_t k, int axis, bool largest, grad_id *positions) {
  return first_in_order(p, x, axis, largest, k, positions);
}

/* --- kth */

static grad_status kth_infer(grad_infer *a) {
  const grad_status status = grad__infer_axis(a);
  if (status != GRAD_OK) return status;
  const grad_type *x = &a->in[0];
  const int64_t axis = a->params[0], k = a->params[1];
  if (k < 0 || k >= x->shape[axis])
    return grad__fail(a->ctx, GRAD_ESHAPE,
                      "median or quantile of an axis with %lld elements: element %lld does not exist",
                      (long long)x->shape[axis], (long long)k + 1);
  return grad__infer_reduced(a, x->dtype, 1u << axis);
}

static int64_t position_of_nan(const entry *e, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (e[i].key == UINT64_MAX) return e[i].position;
  return -1;
}

static grad_status kth_eval(const grad_eval *a) {
  const grad_array *x = a->in[0];
  const int axis = (int)a->ins->params[0];
  const grad_dtype dtype = x->dtype;
  const int64_t size = (int64_t)grad__dtype_size(dtype), n = x->shape[axis], step = x->strides[axis] * size;
  grad_array heads;
  grad__view_drop(x, axis, 0, &heads);
  const grad_array *walked[] = {a->out[0], &heads};
  entry *const entries = a->scratch;
  grad_walk w;
  for (grad__walk_start(&w, 2, walked); !w.done; grad__walk_next(&w))
    for (int64_t i = 0; i < w.inner; i++) {
      const char *from = w.at[1] + i * w.step[1] * size;
      read_line(entries, n, from, step, dtype, false);
      const int64_t nan = grad__dtype_is_float(dtype) ? position_of_nan(entries, n) : -1;
      if (nan < 0) select_entries(entries, n, a->ins->params[1]);
      const int64_t position = nan >= 0 ? nan : entries[a->ins->params[1]].position;
      memcpy(w.at[0] + i * w.step[0] * size, from + position * step, (size_t)size);
    }
  return GRAD_OK;
}

static void kth_jvp(grad_jvp *a) {
  a->dy[0] = grad__shared_tangent(a->p, a->x[0], a->y[0], a->dx[0], 1u << a->ins->params[0]);
}

static double kth_flops(const grad_program *p, const grad_instr *ins) {
  return 3 * (double)grad__type_numel(grad__type(p, ins->in[0]));
}

static void kth_crop(grad_crop *a) { grad__crop_reduced(a, 1u << a->ins->params[0]); }

const grad_op grad__op_kth = {.name = "kth",
                              .nin = 1,
                              .nout = 1,
                              .sparsity = GRAD_SPARSITY_CUSTOM,
                              .dependence = order_dependence,
                              .infer = kth_infer,
                              .eval = kth_eval,
                              .scratch = sort_scratch,
                              .jvp = kth_jvp,
                              .batch = grad__batch_axis,
                              .crop = kth_crop,
                              .flops = kth_flops};

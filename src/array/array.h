/* array.h: strided views on storage. Extents and strides are counted in elements; axes from 0 here (the binding
 * converts from Lua's 1). An array header is a plain value: copying it copies no data and takes no reference. */
#ifndef GRAD_ARRAY_ARRAY_H
#define GRAD_ARRAY_ARRAY_H

#include "core/ctx.h"

typedef struct grad_storage {
  grad_ctx *ctx;
  void *data;
  size_t bytes;
  int64_t refs;
  void (*release)(void *ud, void *data); /* borrowed memory: called when the last reference goes; else NULL, and the
                                            storage and its elements are one block of the context */
  void *release_ud;
  bool readonly;
} grad_storage;

typedef struct grad_array {
  void *data;            /* address of element (0, ..., 0); may be NULL when empty */
  grad_storage *storage; /* NULL: the memory belongs to somebody who outlives this header */
  grad_dtype dtype;
  int ndim;
  int64_t shape[GRAD_MAX_AXES];
  int64_t strides[GRAD_MAX_AXES]; /* may be 0 or negative */
} grad_array;

/* --- dtype.c */
size_t grad__dtype_size(grad_dtype dtype);
const char *grad__dtype_name(grad_dtype dtype); /* "f64" "f32" "i64" "bool" */
bool grad__dtype_from_name(const char *name, grad_dtype *out);
static inline bool grad__dtype_is_float(grad_dtype dtype) { return dtype >= GRAD_F32; }
grad_dtype grad__dtype_promote(grad_dtype a, grad_dtype b); /* bool < i64 < f32 < f64; i64 with f32 gives f32 */

/* --- shape.c */
/* Number of elements; false when it or the byte size for 8-byte elements overflows. */
bool grad__shape_numel(int ndim, const int64_t *shape, int64_t *out);
/* NumPy broadcasting of two shapes; false when they do not fit. */
bool grad__shape_broadcast(int na, const int64_t *a, int nb, const int64_t *b, int *ndim, int64_t *out);
bool grad__shape_equal(int na, const int64_t *a, int nb, const int64_t *b);

/* Words for a message, by value: in the arguments of a call, `.chars` lives as long as the call. Room for the largest
 * extents on all axes, and a dtype. */
typedef struct grad_words {
  char chars[24 * (GRAD_MAX_AXES + 1)];
} grad_words;
grad_words grad__shape_text(int ndim, const int64_t *shape); /* "2 x 3"; "0-d" without axes */
void grad__strides_contiguous(int ndim, const int64_t *shape, int64_t *strides);

/* --- array.c */
static inline int64_t grad__array_numel(const grad_array *a) {
  int64_t n = 1;
  for (int i = 0; i < a->ndim; i++) n *= a->shape[i];
  return n;
}
bool grad__array_is_contiguous(const grad_array *a); /* row-major, no gaps */

/* Header for row-major memory that the caller owns. */
void grad__array_wrap(grad_array *out, void *data, grad_dtype dtype, int ndim, const int64_t *shape);

/* New uninitialised row-major array with one reference to its own storage. ENOMEM, ELIMIT, ESHAPE (overflow). */
grad_status grad__array_new(grad_ctx *ctx, grad_dtype dtype, int ndim, const int64_t *shape, grad_array *out);
/* The same on memory of somebody else, who is told by `release` (not NULL) when the last reference goes. */
grad_status grad__array_borrow(grad_ctx *ctx, void *data, grad_dtype dtype, int ndim, const int64_t *shape,
                               void (*release)(void *ud, void *data), void *release_ud, grad_array *out);
void grad__array_retain(const grad_array *a);
void grad__array_release(grad_array *a); /* drops the reference (if storage) and clears the header */

/* Copies values with conversion; shapes must be equal (broadcast the source first); any strides; no overlap unless the
 * headers are identical. i64 from float truncates; bool is value != 0. */
void grad__array_copy(const grad_array *to, const grad_array *from);
/* The inner loop of it: n elements, steps counted in elements; the memory must not overlap. */
typedef void (*grad_copier)(int64_t n, void *restrict to, int64_t to_step, const void *restrict from,
                            int64_t from_step);
grad_copier grad__array_copier(grad_dtype to, grad_dtype from);
void grad__array_fill(const grad_array *to, double value);
double grad__array_get(const grad_array *a, const int64_t *index); /* as double; for printing and item() */

/* Element i of packed floats, f64 or f32. */
static inline double grad__float_get(grad_dtype dtype, const void *data, int64_t i) {
  return dtype == GRAD_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}
static inline void grad__float_put(grad_dtype dtype, void *data, int64_t i, double x) {
  if (dtype == GRAD_F64) {
    ((double *)data)[i] = x;
  } else {
    ((float *)data)[i] = (float)x;
  }
}
static inline void grad__float_fill(grad_dtype dtype, void *data, int64_t n, double x) {
  for (int64_t i = 0; i < n; i++) grad__float_put(dtype, data, i, x);
}

/* --- view.c: headers on the same memory; no reference is taken */
bool grad__view_broadcast(const grad_array *a, int ndim, const int64_t *shape, grad_array *out);
/* false when the strides do not allow a view: copy first */
bool grad__view_reshape(const grad_array *a, int ndim, const int64_t *shape, grad_array *out);
void grad__view_permute(const grad_array *a, const int *axes, grad_array *out);
/* start, count, step along one axis (step may be negative); the caller has checked the bounds */
void grad__view_slice(const grad_array *a, int axis, int64_t start, int64_t count, int64_t step, grad_array *out);
void grad__view_drop(const grad_array *a, int axis, int64_t index, grad_array *out); /* fixes and removes an axis */

/* Visits a strided array as runs along its innermost useful axis, so that loops over elements stay flat. The axes of
 * up to four arrays of one shape are merged where every one allows. */
typedef struct grad_walk {
  int narrays, ndim;
  int64_t inner;   /* elements in a run */
  int64_t step[4]; /* element step of each array inside a run */
  int64_t shape[GRAD_MAX_AXES], strides[4][GRAD_MAX_AXES], index[GRAD_MAX_AXES];
  char *at[4]; /* start of the current run of each array */
  size_t size[4];
  bool done; /* true at once when there are no elements */
} grad_walk;
void grad__walk_start(grad_walk *w, int narrays, const grad_array *const *arrays);
void grad__walk_next(grad_walk *w);

#endif

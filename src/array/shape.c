/* shape.c: extents: counting, broadcasting, comparing, printing. */
#include "array/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool grad__shape_numel(int ndim, const int64_t *shape, int64_t *out) {
  int64_t elements = 1, bytes;
  bool empty = false;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) return false;
    empty |= shape[i] == 0;
    if (shape[i] > 1 && !grad__mul_i64(elements, shape[i], &elements)) return false;
  }
  if (!grad__mul_i64(elements, 8, &bytes)) return false;
  *out = empty ? 0 : elements;
  return true;
}

bool grad__shape_broadcast(int na, const int64_t *a, int nb, const int64_t *b, int *ndim, int64_t *out) {
  const int n = na > nb ? na : nb;
  int64_t shape[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) {
    const int64_t x = i < n - na ? 1 : a[i - (n - na)], y = i < n - nb ? 1 : b[i - (n - nb)];
    if (x != y && x != 1 && y != 1) return false;
    shape[i] = x == 1 ? y : x;
  }
  if (n > 0) memcpy(out, shape, (size_t)n * sizeof *shape);
  *ndim = n;
  return true;
}

bool grad__shape_equal(int na, const int64_t *a, int nb, const int64_t *b) {
  if (na != nb) return false;
  for (int i = 0; i < na; i++) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

grad_words grad__shape_text(int ndim, const int64_t *shape) {
  grad_words text = {"0-d"};
  size_t at = 0;
  for (int i = 0; i < ndim && at < sizeof text.chars; i++) {
    at += (size_t)snprintf(text.chars + at, sizeof text.chars - at, "%s%" PRId64, i ? " x " : "", shape[i]);
  }
  return text;
}

void grad__strides_contiguous(int ndim, const int64_t *shape, int64_t *strides) {
  int64_t step = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]; /* after an extent of 0 all are 0: nothing is ever addressed */
  }
}

/* compose_product.c: products made of the matrix product. See compose.h. */
#include <string.h>

#include "ops/compose.h"
#include "ops/structured.h"

static grad_id refuse(grad_program *p, const char *name, const char *expected, grad_id a, grad_id b) {
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  return grad__program_fail(p, GRAD_ESHAPE, "%s: expected %s, got shapes %s and %s", name, expected,
                            grad__shape_text(x->ndim, x->shape).chars, grad__shape_text(y->ndim, y->shape).chars);
}

/* a (... m k) times one matrix b: all rows of a at once. */
static grad_id rows_times_matrix(grad_program *p, grad_id a, grad_id b) {
  const grad_type t = *grad__type(p, a);
  int64_t rows = 1, shape[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim - 1; i++) rows *= shape[i] = t.shape[i];
  const int64_t inner = t.shape[t.ndim - 1];
  shape[t.ndim - 1] = grad__extent(p, b, 1);
  const grad_id flat = grad__reshape(p, a, 2, (const int64_t[]){rows, inner});
  return grad__reshape(p, grad__matmul(p, flat, b, false, false), t.ndim, shape);
}

/* The leading axes of both, and the last two of one. */
static grad_id broadcast_leading(grad_program *p, grad_id x, int nlead, const int64_t *lead) {
  const grad_type t = *grad__type(p, x);
  int64_t shape[GRAD_MAX_AXES + 2];
  memcpy(shape, lead, sizeof *shape * (size_t)nlead);
  shape[nlead] = t.shape[t.ndim - 2];
  shape[nlead + 1] = t.shape[t.ndim - 1];
  return grad__broadcast(p, x, nlead + 2, shape);
}

static grad_id matmul_batched(grad_program *p, grad_id a, grad_id b) {
  const grad_type x = *grad__type(p, a), y = *grad__type(p, b);
  if (x.shape[x.ndim - 1] != y.shape[y.ndim - 2])
    return refuse(p, "matmul", "as many columns on the left as rows on the right", a, b);
  if (y.ndim == 2 && x.ndim > 2) return rows_times_matrix(p, a, b);
  int64_t lead[GRAD_MAX_AXES];
  int nlead;
  if (!grad__shape_broadcast(x.ndim - 2, x.shape, y.ndim - 2, y.shape, &nlead, lead))
    return refuse(p, "matmul", "leading axes that broadcast", a, b);
  return grad__matmul(p, broadcast_leading(p, a, nlead, lead), broadcast_leading(p, b, nlead, lead), false, false);
}

grad_id grad__matmul_any(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  const bool row = grad__ndim(p, a) == 1, column = grad__ndim(p, b) == 1;
  if (grad__ndim(p, a) == 0 || grad__ndim(p, b) == 0) return refuse(p, "matmul", "vectors or matrices", a, b);
  if (row && column) return grad__vecdot(p, a, b);
  const grad_id left = row ? grad__insert_axis(p, a, 0) : a, right = column ? grad__insert_axis(p, b, 1) : b;
  const int inner = row ? 0 : grad__ndim(p, a) - 1, rows = column ? 0 : grad__ndim(p, b) - 2;
  if (grad__extent(p, a, inner) != grad__extent(p, b, rows))
    return refuse(p, "matmul", "as many columns on the left as rows on the right", a, b);
  const grad_id y = matmul_batched(p, left, right);
  if (y == GRAD_NONE) return y;
  if (row) return grad__drop_axis(p, y, grad__ndim(p, y) - 2);
  return column ? grad__drop_axis(p, y, grad__ndim(p, y) - 1) : y;
}

grad_id grad__vecdot(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  if (x->ndim != 1 || y->ndim != 1 || x->shape[0] != y->shape[0])
    return refuse(p, "dot", "two vectors of equal length", a, b);
  return grad__sum(p, grad__mul(p, a, b), 1, false);
}

grad_id grad__outer(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  const int64_t rows = grad__type_numel(grad__type(p, a)), cols = grad__type_numel(grad__type(p, b));
  return grad__mul(p, grad__reshape(p, a, 2, (const int64_t[]){rows, 1}),
                   grad__reshape(p, b, 2, (const int64_t[]){1, cols}));
}

grad_id grad__bmm(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  const grad_type *x = grad__type(p, a), *y = grad__type(p, b);
  if (x->ndim != 3 || y->ndim != 3 || x->shape[0] != y->shape[0] || x->shape[2] != y->shape[1])
    return refuse(p, "bmm", "batches of matrices, b x m x k and b x k x n", a, b);
  return grad__matmul(p, a, b, false, false);
}

/* Element (i, k; j, l) of the result, its axes merged in pairs, is a[i, j] * b[k, l]. */
grad_id grad__kron(grad_program *p, grad_id a, grad_id b) {
  if (a == GRAD_NONE || b == GRAD_NONE) return GRAD_NONE;
  const grad_type x = *grad__type(p, a), y = *grad__type(p, b);
  const int n = x.ndim > y.ndim ? x.ndim : y.ndim;
  if (2 * n > GRAD_MAX_AXES) return refuse(p, "kron", "at most 4 axes", a, b);
  int64_t first[GRAD_MAX_AXES], second[GRAD_MAX_AXES], shape[GRAD_MAX_AXES];
  for (int i = 0; i < n; i++) {
    const int64_t m = i < n - x.ndim ? 1 : x.shape[i - (n - x.ndim)],
                  k = i < n - y.ndim ? 1 : y.shape[i - (n - y.ndim)];
    first[2 * i] = m;
    second[2 * i + 1] = k;
    first[2 * i + 1] = second[2 * i] = 1;
    if (!grad__mul_i64(m, k, &shape[i])) return refuse(p, "kron", "a product that memory can hold", a, b);
  }
  const grad_id product = grad__mul(p, grad__reshape(p, a, 2 * n, first), grad__reshape(p, b, 2 * n, second));
  return grad__reshape(p, product, n, shape);
}

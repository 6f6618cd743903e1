/* sparse_order.h: for sparse_qr.c: an order of the columns of a sparse matrix A that keeps R sparse, and R's structure.
 */
#ifndef GRAD_OPTIM_SPARSE_ORDER_H
#define GRAD_OPTIM_SPARSE_ORDER_H

#include "core/ctx.h"

/* CSR, m x n. */
typedef struct grad__sparse_pattern {
  int64_t m, n;
  const int64_t *starts, *columns;
} grad__sparse_pattern;

/* order (n): which column comes at each place. Reverse Cuthill-McKee (1969) on the graph of A'A, the columns that are
 * in very many rows last, where they fill only R's last columns. ENOMEM. */
grad_status grad__sparse_order(grad_ctx *ctx, const grad__sparse_pattern *a, int64_t *order);

/* R's rows: places (columns in that order), ascending, the first one on the diagonal; the second is the row's parent in
 * the elimination tree. */
typedef struct grad__sparse_shape {
  int64_t n, room;
  int64_t *starts, *places;
  bool complete; /* false: given up because there were more than `most` entries */
} grad__sparse_shape;

grad_status grad__sparse_shape_new(grad_ctx *ctx, const grad__sparse_pattern *a, const int64_t *order, int64_t most,
                                   grad__sparse_shape *out);
void grad__sparse_shape_clear(grad_ctx *ctx, grad__sparse_shape *shape);

#endif

/* pattern.c: the structure of sparse matrices. */
#include <string.h>

#include "ad/sparsity.h"

grad_status grad__pattern_new(grad_ctx *ctx, int64_t rows, int64_t cols, int64_t nnz, grad_pattern *out) {
  grad_pattern made = {.ctx = ctx, .rows = rows, .cols = cols, .nnz = nnz};
  made.indptr = grad__alloc(ctx, ((size_t)rows + 1) * sizeof *made.indptr);
  made.col = grad__alloc(ctx, ((size_t)nnz + 1) * sizeof *made.col);
  if (!made.indptr || !made.col) {
    grad__pattern_clear(&made);
    return ctx->status;
  }
  *out = made;
  return GRAD_OK;
}

void grad__pattern_clear(grad_pattern *pattern) {
  grad__free(pattern->ctx, pattern->indptr, ((size_t)pattern->rows + 1) * sizeof *pattern->indptr);
  grad__free(pattern->ctx, pattern->col, ((size_t)pattern->nnz + 1) * sizeof *pattern->col);
  pattern->indptr = NULL;
  pattern->col = NULL;
}

grad_status grad__pattern_transpose(const grad_pattern *a, grad_pattern *out) {
  grad_pattern t;
  grad_status status = grad__pattern_new(a->ctx, a->cols, a->rows, a->nnz, &t);
  if (status) return status;
  memset(t.indptr, 0, ((size_t)t.rows + 1) * sizeof *t.indptr);
  for (int64_t k = 0; k < a->nnz; k++) t.indptr[a->col[k] + 1]++;
  for (int64_t r = 0; r < t.rows; r++) t.indptr[r + 1] += t.indptr[r];
  for (int64_t r = 0; r < a->rows; r++) {
    for (int64_t k = a->indptr[r]; k < a->indptr[r + 1]; k++) t.col[t.indptr[a->col[k]]++] = (int32_t)r;
  }
  for (int64_t r = t.rows; r > 0; r--) t.indptr[r] = t.indptr[r - 1]; /* filling moved each start to the next one's */
  t.indptr[0] = 0;
  *out = t;
  return GRAD_OK;
}

grad_status grad__pattern_rows(const grad_pattern *a, const bool *keep, bool which, grad_pattern *out) {
  int64_t nnz = 0;
  for (int64_t r = 0; r < a->rows; r++) nnz += keep[r] == which ? a->indptr[r + 1] - a->indptr[r] : 0;
  grad_pattern part;
  grad_status status = grad__pattern_new(a->ctx, a->rows, a->cols, nnz, &part);
  if (status) return status;
  part.indptr[0] = 0;
  for (int64_t r = 0; r < a->rows; r++) {
    const int64_t n = keep[r] == which ? a->indptr[r + 1] - a->indptr[r] : 0;
    if (n) memcpy(part.col + part.indptr[r], a->col + a->indptr[r], (size_t)n * sizeof *part.col);
    part.indptr[r + 1] = part.indptr[r] + n;
  }
  *out = part;
  return GRAD_OK;
}

/* Merges row r of both; col NULL: only counts. */
static int64_t merge_row(const grad_pattern *a, const grad_pattern *b, int64_t r, int32_t *col) {
  int64_t i = a->indptr[r], k = b->indptr[r], n = 0;
  const int64_t ilast = a->indptr[r + 1], klast = b->indptr[r + 1];
  while (i < ilast || k < klast) {
    const int32_t ca = i < ilast ? a->col[i] : INT32_MAX, cb = k < klast ? b->col[k] : INT32_MAX;
    if (col) col[n] = ca < cb ? ca : cb;
    n++;
    i += ca <= cb;
    k += cb <= ca;
  }
  return n;
}

grad_status grad__pattern_unite(const grad_pattern *a, const grad_pattern *b, grad_pattern *out) {
  int64_t nnz = 0;
  for (int64_t r = 0; r < a->rows; r++) nnz += merge_row(a, b, r, NULL);
  grad_pattern sum;
  grad_status status = grad__pattern_new(a->ctx, a->rows, a->cols, nnz, &sum);
  if (status) return status;
  sum.indptr[0] = 0;
  for (int64_t r = 0; r < a->rows; r++) sum.indptr[r + 1] = sum.indptr[r] + merge_row(a, b, r, sum.col + sum.indptr[r]);
  *out = sum;
  return GRAD_OK;
}

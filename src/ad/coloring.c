/* coloring.c: greedy colouring of columns (Jacobians) and star colouring (Hessians). */
#include <string.h>

#include "ad/sparsity.h"

/* The smallest colour that is not forbidden for vertex v. */
static int32_t smallest_free(const int32_t *forbidden, int32_t v) {
  int32_t color = 0;
  while (forbidden[color] == v) color++;
  return color;
}

/* Steps that colouring columns takes: each pair of entries in a row. */
static double pairs(const grad_pattern *a) {
  double sum = 0;
  for (int64_t r = 0; r < a->rows; r++) {
    const double n = (double)(a->indptr[r + 1] - a->indptr[r]);
    sum += n * n;
  }
  return sum;
}

/* forbidden[c] == v: colour c is taken near v. */
static grad_status forbidden_new(grad_ctx *ctx, int64_t n, int32_t **out) {
  int32_t *forbidden = grad__alloc(ctx, ((size_t)n + 1) * sizeof *forbidden);
  if (!forbidden) return ctx->status;
  memset(forbidden, 0xFF, ((size_t)n + 1) * sizeof *forbidden);
  *out = forbidden;
  return GRAD_OK;
}

static void forbid_row_mates(const grad_pattern *a, const int32_t *rows, int64_t nrows, int32_t column,
                             const int32_t *colors, int32_t *forbidden) {
  for (int64_t i = 0; i < nrows; i++) {
    for (int64_t k = a->indptr[rows[i]]; k < a->indptr[rows[i] + 1]; k++) {
      if (colors[a->col[k]] >= 0) forbidden[colors[a->col[k]]] = column;
    }
  }
}

grad_status grad__color_columns(const grad_pattern *a, double most, int32_t *colors, int32_t *count) {
  *count = 0;
  if (pairs(a) > most) return GRAD_OK;
  grad_pattern by_column;
  int32_t *forbidden = NULL;
  grad_status status = grad__pattern_transpose(a, &by_column);
  if (status) return status;
  status = forbidden_new(a->ctx, a->cols, &forbidden);
  for (int64_t c = 0; c < a->cols && !status; c++) colors[c] = -1;
  for (int32_t c = 0; c < a->cols && !status; c++) {
    const int64_t from = by_column.indptr[c], to = by_column.indptr[c + 1];
    forbid_row_mates(a, by_column.col + from, to - from, c, colors, forbidden);
    colors[c] = smallest_free(forbidden, c);
    if (colors[c] >= *count) *count = colors[c] + 1;
    if (c % 4096 == 0) status = grad__interrupted(a->ctx);
  }
  grad__free(a->ctx, forbidden, ((size_t)a->cols + 1) * sizeof *forbidden);
  grad__pattern_clear(&by_column);
  return status;
}

/* Has x a neighbour other than w that has w's colour? Then v may not take x's: v - w - x - y would have two colours. */
static bool closes_path(const grad_pattern *a, int32_t x, int32_t w, const int32_t *colors) {
  for (int64_t k = a->indptr[x]; k < a->indptr[x + 1]; k++) {
    const int32_t y = a->col[k];
    if (y != w && y != x && colors[y] == colors[w]) return true;
  }
  return false;
}

/* The colours of vertices at distance two behind the neighbour w of v. */
static void forbid_behind(const grad_pattern *a, int32_t v, int32_t w, const int32_t *colors, int32_t *forbidden) {
  for (int64_t k = a->indptr[w]; k < a->indptr[w + 1]; k++) {
    const int32_t x = a->col[k];
    if (x == v || x == w || colors[x] < 0 || forbidden[colors[x]] == v) continue;
    if (colors[w] < 0 || closes_path(a, x, w, colors)) forbidden[colors[x]] = v;
  }
}

/* Vertices by descending number of neighbours, equal ones in their order: hubs first, or all around them would differ.
 */
static grad_status largest_first(const grad_pattern *a, int32_t *order) {
  int64_t *first = grad__alloc(a->ctx, ((size_t)a->cols + 2) * sizeof *first);
  if (!first) return a->ctx->status;
  memset(first, 0, ((size_t)a->cols + 2) * sizeof *first);
  for (int64_t v = 0; v < a->rows; v++) first[a->cols - (a->indptr[v + 1] - a->indptr[v]) + 1]++;
  for (int64_t d = 0; d < a->cols; d++) first[d + 1] += first[d];
  for (int32_t v = 0; v < a->rows; v++) order[first[a->cols - (a->indptr[v + 1] - a->indptr[v])]++] = v;
  grad__free(a->ctx, first, ((size_t)a->cols + 2) * sizeof *first);
  return GRAD_OK;
}

static void color_vertex(const grad_pattern *a, int32_t v, int32_t *colors, int32_t *forbidden, int32_t *count) {
  for (int64_t k = a->indptr[v]; k < a->indptr[v + 1]; k++) {
    const int32_t w = a->col[k];
    if (w == v) continue;
    if (colors[w] >= 0) forbidden[colors[w]] = v;
    forbid_behind(a, v, w, colors, forbidden);
  }
  colors[v] = smallest_free(forbidden, v);
  if (colors[v] >= *count) *count = colors[v] + 1;
}

grad_status grad__color_star(const grad_pattern *a, int32_t *colors, int32_t *count) {
  const size_t size = ((size_t)a->rows + 1) * sizeof(int32_t);
  int32_t *forbidden = NULL, *order = grad__alloc(a->ctx, size);
  if (!order) return a->ctx->status;
  grad_status status = forbidden_new(a->ctx, a->rows, &forbidden);
  if (!status) status = largest_first(a, order);
  *count = 0;
  for (int64_t v = 0; v < a->rows; v++) colors[v] = -1;
  for (int64_t i = 0; i < a->rows && !status; i++) {
    color_vertex(a, order[i], colors, forbidden, count);
    if (i % 1024 == 0) status = grad__interrupted(a->ctx);
  }
  grad__free(a->ctx, forbidden, size);
  grad__free(a->ctx, order, size);
  return status;
}

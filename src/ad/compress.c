/* compress.c: the sweeps that show every entry of a sparse Jacobian: colours of columns, of rows, or of both. */
#include "ad/sparsity.h"

static int32_t total(const grad_sweeps *s) { return s->nforward + s->nreverse; }

/* Colours of the columns of a; *count 0 when there are none, or too many steps. */
static grad_status color(const grad_pattern *a, grad_arena *arena, int32_t **colors, int32_t *count) {
  *colors = grad__arena_alloc(arena, ((size_t)a->cols + 1) * sizeof **colors);
  return *colors ? grad__color_columns(a, *colors, count) : a->ctx->status;
}

/* One kind of sweep for all: by_rows tells whether `a` is the Jacobian, whose columns are coloured, or its transpose.
 */
static grad_status plain(const grad_pattern *a, bool by_rows, grad_arena *arena, grad_sweeps *s) {
  *s = (grad_sweeps){.by_rows = by_rows};
  return by_rows ? color(a, arena, &s->column, &s->nforward) : color(a, arena, &s->row, &s->nreverse);
}

/* How long may rows be that are not set apart? The length that promises fewest colours: the columns of what stays need
 * at least as many as its longest row has entries, and each row that is set apart needs at most one. *promise: their
 * sum. */
static grad_status best_length(const grad_pattern *a, grad_arena *arena, int64_t *length, int64_t *promise) {
  int64_t *rows_of = grad__arena_zeros(arena, ((size_t)a->cols + 1) * sizeof *rows_of), longer = 0;
  if (!rows_of) return a->ctx->status;
  for (int64_t r = 0; r < a->rows; r++) rows_of[a->indptr[r + 1] - a->indptr[r]]++;
  *length = a->cols;
  *promise = a->cols;
  for (int64_t n = a->cols; n >= 0; n--) {
    if (rows_of[n] && n + longer < *promise) {
      *length = n;
      *promise = n + longer;
    }
    longer += rows_of[n];
  }
  return GRAD_OK;
}

/* Sets long rows of `a` apart. As in plain, `a` may be the transpose. */
static grad_status mixed(const grad_pattern *a, bool by_rows, int32_t most, grad_arena *arena, grad_sweeps *s) {
  int64_t length = 0, promise = 0;
  grad_status status = best_length(a, arena, &length, &promise);
  *s = (grad_sweeps){.by_rows = by_rows};
  if (status || promise >= most) return status;
  s->dense = grad__arena_alloc(arena, (size_t)a->rows + 1);
  if (!s->dense) return a->ctx->status;
  for (int64_t r = 0; r < a->rows; r++) s->dense[r] = a->indptr[r + 1] - a->indptr[r] > length;
  grad_pattern part = {0}, across = {0};
  int32_t *colors[2] = {NULL, NULL}, count[2] = {0, 0};
  status = grad__pattern_rows(a, s->dense, false, &part);
  if (!status) status = color(&part, arena, &colors[0], &count[0]);
  if (part.ctx) grad__pattern_clear(&part);
  if (!status) status = grad__pattern_rows(a, s->dense, true, &part);
  if (!status) status = grad__pattern_transpose(&part, &across);
  if (!status) status = color(&across, arena, &colors[1], &count[1]);
  for (int64_t r = 0; !status && r < a->rows; r++) {
    if (!s->dense[r]) colors[1][r] = -1;
  }
  if (part.ctx) grad__pattern_clear(&part);
  if (across.ctx) grad__pattern_clear(&across);
  if (status || !count[0] || !count[1]) return status;
  s->column = colors[!by_rows];
  s->row = colors[by_rows];
  s->nforward = count[!by_rows];
  s->nreverse = count[by_rows];
  return GRAD_OK;
}

static void keep_better(grad_sweeps *best, const grad_sweeps *s) {
  if (total(s) && (!total(best) || total(s) < total(best))) *best = *s;
}

grad_status grad__compress(const grad_pattern *a, grad_sweep_kind kind, grad_arena *arena, grad_sweeps *out) {
  grad_pattern across;
  grad_sweeps best = {0}, s = {0};
  grad_status status = grad__pattern_transpose(a, &across);
  if (status) return status;
  if (kind != GRAD_SWEEP_REVERSE) status = plain(a, true, arena, &best);
  if (!status && kind != GRAD_SWEEP_FORWARD) status = plain(&across, false, arena, &s);
  if (!status) keep_better(&best, &s);
  for (int k = 0; k < 2 && !status && kind == GRAD_SWEEP_ANY; k++) {
    const int32_t most = total(&best) ? total(&best) : INT32_MAX;
    status = mixed(k ? &across : a, !k, most, arena, &s);
    if (!status) keep_better(&best, &s);
  }
  grad__pattern_clear(&across);
  if (!status) *out = best;
  return status;
}

/* coloring_test.c: colourings of random patterns, with rows of every length, against what defines them. */
#include "ad/sparsity.h"
#include "check.h"
#include "check_alloc.h"
#include "random_source.h"

enum { SIZE = 24 };

/* Each entry with probability `share`; of some rows and columns every entry; symmetric when asked. */
static bool random_pattern(grad_ctx *ctx, random_source *r, bool symmetric, grad_pattern *out) {
  bool at[SIZE][SIZE] = {{false}};
  const double share = 0.3 * random_unit(r) * random_unit(r);
  const int rows = 1 + random_below(r, SIZE), cols = symmetric ? rows : 1 + random_below(r, SIZE);
  const int full_row = random_below(r, 2 * rows), full_column = random_below(r, 2 * cols);
  int64_t nnz = 0;
  for (int i = 0; i < rows; i++) {
    for (int k = 0; k < cols; k++) at[i][k] = random_unit(r) < share || i == full_row || k == full_column;
  }
  for (int i = 0; i < rows && symmetric; i++) {
    for (int k = 0; k < rows; k++) at[i][k] = at[k][i] = at[i][k] || at[k][i];
  }
  for (int i = 0; i < rows; i++) {
    for (int k = 0; k < cols; k++) nnz += at[i][k];
  }
  if (!check(grad__pattern_new(ctx, rows, cols, nnz, out) == GRAD_OK)) return false;
  out->indptr[0] = nnz = 0;
  for (int i = 0; i < rows; i++) {
    for (int k = 0; k < cols; k++) {
      if (at[i][k]) out->col[nnz++] = k;
    }
    out->indptr[i + 1] = nnz;
  }
  return true;
}

static bool has(const grad_pattern *a, int64_t r, int64_t c) {
  for (int64_t k = a->indptr[r]; k < a->indptr[r + 1]; k++) {
    if (a->col[k] == c) return true;
  }
  return false;
}

static bool adjacent(const grad_pattern *a, int64_t i, int64_t k) { return i != k && has(a, i, k); }

/* No edge of one colour, no path i - k - l - m of two. */
static bool is_star_coloring(const grad_pattern *a, const int32_t *colors) {
  for (int64_t i = 0; i < a->rows; i++) {
    for (int64_t k = 0; k < a->rows; k++) {
      if (!adjacent(a, i, k)) continue;
      if (colors[i] == colors[k]) return false;
      for (int64_t l = 0; l < a->rows; l++) {
        if (l == i || !adjacent(a, k, l) || colors[l] != colors[i]) continue;
        for (int64_t m = 0; m < a->rows; m++) {
          if (m != k && m != i && adjacent(a, l, m) && colors[m] == colors[k]) return false;
        }
      }
    }
  }
  return true;
}

/* No other entry of the row (column) is in the sweep that an entry is read from. */
static bool shows_every_entry(const grad_pattern *a, const grad_sweeps *s) {
  for (int64_t i = 0; i < a->rows; i++) {
    for (int64_t k = a->indptr[i]; k < a->indptr[i + 1]; k++) {
      const int32_t c = a->col[k];
      const bool reverse = grad__sweep_is_reverse(s, i, c);
      const int32_t color = reverse ? s->row[i] : s->column[c];
      if (color < 0 || color >= (reverse ? s->nreverse : s->nforward)) return false;
      for (int64_t other = 0; other < (reverse ? a->rows : a->cols); other++) {
        if (other == (reverse ? i : c) || !has(a, reverse ? other : i, reverse ? c : other)) continue;
        if ((reverse ? s->row : s->column)[other] == color) return false;
      }
    }
  }
  return true;
}

static void test_random(grad_ctx *ctx) {
  random_source r = {11};
  int mixed = 0;
  for (int round = 0; round < 400; round++) {
    grad_pattern a;
    int32_t colors[SIZE], count = 0;
    if (random_pattern(ctx, &r, true, &a)) {
      check(grad__color_star(&a, colors, &count) == GRAD_OK && count >= 1 && count <= a.rows);
      check(is_star_coloring(&a, colors));
      grad__pattern_clear(&a);
    }
    if (!random_pattern(ctx, &r, false, &a)) continue;
    for (int kind = GRAD_SWEEP_ANY; kind <= GRAD_SWEEP_REVERSE; kind++) {
      grad_arena arena;
      grad_sweeps s = {0};
      grad__arena_init(&arena, ctx);
      check(grad__compress(&a, (grad_sweep_kind)kind, &arena, &s) == GRAD_OK && shows_every_entry(&a, &s));
      check(s.nforward + s.nreverse <= (a.rows > a.cols ? a.rows : a.cols));
      mixed += s.nforward && s.nreverse;
      grad__arena_clear(&arena);
    }
    grad__pattern_clear(&a);
  }
  check(mixed > 20);
}

/* A row and a column full, and the diagonal. */
static grad_status arrow(grad_ctx *ctx, int32_t n, grad_pattern *out) {
  grad_status status = grad__pattern_new(ctx, n, n, 3 * n - 2, out);
  int64_t nnz = 0;
  for (int32_t i = 0; i < n && !status; i++) {
    out->indptr[i] = nnz;
    out->col[nnz++] = 0;
    if (i) out->col[nnz++] = i;
    for (int32_t k = 1; k < n && !i; k++) out->col[nnz++] = k;
  }
  if (!status) out->indptr[n] = nnz;
  return status;
}

/* Vertices with very many neighbours cost no more than the others. */
static void test_arrow(grad_ctx *ctx) {
  enum { N = 200000 };
  grad_pattern a;
  grad_arena arena;
  grad_sweeps s = {0};
  grad__arena_init(&arena, ctx);
  int32_t count = 0, *colors = grad__arena_alloc(&arena, N * sizeof *colors);
  if (check(colors && arrow(ctx, N, &a) == GRAD_OK)) {
    check(grad__color_star(&a, colors, &count) == GRAD_OK && count == 2);
    check(grad__compress(&a, GRAD_SWEEP_ANY, &arena, &s) == GRAD_OK && s.nforward + s.nreverse == 3);
    grad__pattern_clear(&a);
  }
  grad__arena_clear(&arena);
}

static grad_status color_all(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_pattern a;
  grad_arena arena;
  grad_sweeps s = {0};
  int32_t colors[SIZE], count = 0;
  grad_status status = arrow(ctx, SIZE, &a);
  if (status) return status;
  grad__arena_init(&arena, ctx);
  status = grad__color_star(&a, colors, &count);
  if (!status) status = grad__compress(&a, GRAD_SWEEP_ANY, &arena, &s);
  grad__arena_clear(&arena);
  grad__pattern_clear(&a);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_random(ctx);
  test_arrow(ctx);
  check_close(ctx);
  check_failing_alloc("colourings", color_all, NULL);
  return check_done();
}

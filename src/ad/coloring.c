/* coloring.c: greedy colouring of columns (Jacobians) and star colouring (Hessians). */
#include <string.h>

#include "ad/sparsity.h"
#include "core/arena.h"

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

grad_status grad__color_columns(const grad_pattern *a, int32_t *colors, int32_t *count) {
  *count = 0;
  if (pairs(a) > GRAD_COLORING_STEPS) return GRAD_OK;
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

/* --- star colouring
 *
 * Neighbours of a vertex without a colour get different ones, so a path of four vertices in two colours can only close
 * behind a neighbour w of v that has a colour: v - w - x - y, where x has two neighbours, w and y, of w's colour. Then
 * x is a hub, w its spoke, and v may not have x's colour. What is known of the neighbours of a vertex that have one
 * colour stands in a table by vertex and colour, so that a vertex with many neighbours costs no more than the others.
 */

typedef struct kin {
  uint64_t key;  /* vertex and colour, + 1; 0: empty */
  int32_t first; /* the first neighbour of that colour */
  bool hub;      /* there are more: the vertex is their hub */
  bool spoke;    /* one of them is a hub, the vertex a spoke of it */
} kin;

/* A colour in the list of those that the neighbours of a spoke may not have. */
typedef struct barred {
  int32_t color, next;
} barred;

typedef struct star {
  const grad_pattern *a;
  grad_arena arena;
  int32_t *colors, *forbidden, *order, *place; /* place: of each vertex in the order */
  kin *table;
  uint64_t mask;
  barred *nodes;
  int32_t *list; /* by vertex: its first node; -1: none */
  int32_t nnodes;
} star;

static kin *kin_of(star *s, int32_t v, int32_t color) {
  const uint64_t key = ((uint64_t)v << 32 | (uint32_t)color) + 1;
  uint64_t at = (key * 0x9E3779B97F4A7C15u) >> 20 & s->mask;
  while (s->table[at].key && s->table[at].key != key) at = (at + 1) & s->mask;
  if (!s->table[at].key) s->table[at] = (kin){.key = key, .first = -1};
  return &s->table[at];
}

/* v is a spoke of a hub of that colour. */
static void become_spoke(star *s, int32_t v, int32_t color) {
  kin *k = kin_of(s, v, color);
  if (k->spoke) return;
  k->spoke = true;
  s->nodes[s->nnodes] = (barred){color, s->list[v]};
  s->list[v] = s->nnodes++;
}

/* x has a further neighbour v, of that colour. */
static void add_neighbour(star *s, int32_t x, int32_t v, int32_t color) {
  kin *k = kin_of(s, x, color);
  if (k->first < 0) {
    k->first = v;
    return;
  }
  const int32_t first = k->hub ? -1 : k->first;
  k->hub = true;
  if (first >= 0) become_spoke(s, first, s->colors[x]);
  become_spoke(s, v, s->colors[x]);
}

static void forbid_around(star *s, int32_t v) {
  const grad_pattern *a = s->a;
  for (int64_t k = a->indptr[v]; k < a->indptr[v + 1]; k++) {
    const int32_t w = a->col[k];
    if (w == v) continue;
    if (s->colors[w] >= 0) {
      s->forbidden[s->colors[w]] = v;
      for (int32_t n = s->list[w]; n >= 0; n = s->nodes[n].next) s->forbidden[s->nodes[n].color] = v;
      continue;
    }
    for (int64_t i = a->indptr[w]; i < a->indptr[w + 1]; i++) {
      if (s->colors[a->col[i]] >= 0) s->forbidden[s->colors[a->col[i]]] = v;
    }
  }
}

static void color_vertex(star *s, int32_t v, int32_t *count) {
  const grad_pattern *a = s->a;
  forbid_around(s, v);
  const int32_t color = s->colors[v] = smallest_free(s->forbidden, v);
  if (color >= *count) *count = color + 1;
  for (int64_t k = a->indptr[v]; k < a->indptr[v + 1]; k++) {
    const int32_t w = a->col[k];
    if (w == v || s->colors[w] < 0) continue;
    add_neighbour(s, v, w, s->colors[w]);
    add_neighbour(s, w, v, color);
  }
}

static grad_status star_open(star *s) {
  const grad_pattern *a = s->a;
  const size_t n = (size_t)a->rows + 1;
  size_t size = 16;
  while (size < 3 * (size_t)a->nnz / 2) size *= 2; /* there is at most an entry for each end of an edge */
  s->mask = size - 1;
  s->table = grad__arena_alloc(&s->arena, size * sizeof *s->table);
  s->nodes = grad__arena_alloc(&s->arena, ((size_t)a->nnz + 1) * sizeof *s->nodes);
  s->list = grad__arena_alloc(&s->arena, n * sizeof *s->list);
  s->forbidden = grad__arena_alloc(&s->arena, n * sizeof *s->forbidden);
  s->order = grad__arena_alloc(&s->arena, n * sizeof *s->order);
  s->place = grad__arena_alloc(&s->arena, n * sizeof *s->place);
  if (!s->table || !s->nodes || !s->list || !s->forbidden || !s->order || !s->place) return a->ctx->status;
  memset(s->table, 0, size * sizeof *s->table);
  memset(s->list, 0xFF, n * sizeof *s->list);
  memset(s->forbidden, 0xFF, n * sizeof *s->forbidden);
  for (int64_t v = 0; v < a->rows; v++) s->colors[v] = -1;
  grad_status status = largest_first(a, s->order);
  for (int32_t i = 0; i < a->rows && !status; i++) s->place[s->order[i]] = i;
  return status;
}

/* Steps that it takes to look behind neighbours that have no colour yet. */
static double star_steps(const star *s) {
  const grad_pattern *a = s->a;
  double steps = 0;
  for (int64_t v = 0; v < a->rows; v++) {
    for (int64_t k = a->indptr[v]; k < a->indptr[v + 1]; k++) {
      const int32_t w = a->col[k];
      if (s->place[w] > s->place[v]) steps += (double)(a->indptr[w + 1] - a->indptr[w]);
    }
  }
  return steps;
}

grad_status grad__color_star(const grad_pattern *a, int32_t *colors, int32_t *count) {
  star s = {.a = a, .colors = colors};
  grad__arena_init(&s.arena, a->ctx);
  grad_status status = star_open(&s);
  *count = 0;
  const bool too_dense = !status && star_steps(&s) > GRAD_COLORING_STEPS;
  for (int32_t i = 0; i < a->rows && !status; i++) {
    if (too_dense) {
      colors[i] = i;
      *count = i + 1;
      continue;
    }
    color_vertex(&s, s.order[i], count);
    if (i % 1024 == 0) status = grad__interrupted(a->ctx);
  }
  grad__arena_clear(&s.arena);
  return status;
}

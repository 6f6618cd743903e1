/* sparse_order.c: the order of columns and the structure of R for sparse_qr.c. */
#include "optim/sparse_order.h"

#include <stdlib.h>
#include <string.h>

/* Breadth first, over the graph in which columns that share a row are neighbours. The graph is not formed: a row is
 * opened once, when its first column is reached. */
typedef struct walk {
  const grad__sparse_pattern *a;
  const int64_t *rows_start, *rows; /* of each column */
  const bool *dense;
  int64_t *column_seen, *row_seen; /* the number of the walk that was there last */
  int64_t stamp;
} walk;

/* Puts the columns reached from `from` into `queue` and returns how many there are. */
static int64_t reach(walk *w, int64_t from, int64_t *queue) {
  int64_t count = 1;
  queue[0] = from;
  w->column_seen[from] = ++w->stamp;
  for (int64_t at = 0; at < count; at++)
    for (int64_t e = w->rows_start[queue[at]]; e < w->rows_start[queue[at] + 1]; e++) {
      const int64_t row = w->rows[e];
      if (w->row_seen[row] == w->stamp) continue;
      w->row_seen[row] = w->stamp;
      for (int64_t f = w->a->starts[row]; f < w->a->starts[row + 1]; f++) {
        const int64_t column = w->a->columns[f];
        if (w->dense[column] || w->column_seen[column] == w->stamp) continue;
        w->column_seen[column] = w->stamp;
        queue[count++] = column;
      }
    }
  return count;
}

static void reverse(int64_t n, int64_t *list) {
  for (int64_t i = 0; i < n / 2; i++) {
    const int64_t held = list[i];
    list[i] = list[n - 1 - i];
    list[n - 1 - i] = held;
  }
}

/* From the end that two walks find, a component is long and thin. */
static void order_components(walk *w, bool *placed, int64_t *order) {
  const int64_t n = w->a->n;
  int64_t at = 0;
  for (int64_t c = 0; c < n; c++) {
    if (placed[c] || w->dense[c]) continue;
    int64_t count = reach(w, c, order + at);
    count = reach(w, order[at + count - 1], order + at);
    count = reach(w, order[at + count - 1], order + at);
    for (int64_t i = 0; i < count; i++) placed[order[at + i]] = true;
    at += count;
  }
  reverse(at, order);
  for (int64_t c = 0; c < n; c++)
    if (w->dense[c]) order[at++] = c;
}

static void find_rows(const grad__sparse_pattern *a, int64_t *rows_start, int64_t *rows) {
  for (int64_t e = 0; e < a->starts[a->m]; e++) rows_start[a->columns[e] + 1]++;
  for (int64_t c = 0; c < a->n; c++) rows_start[c + 1] += rows_start[c];
  for (int64_t i = a->m - 1; i >= 0; i--)
    for (int64_t e = a->starts[i]; e < a->starts[i + 1]; e++) rows[--rows_start[a->columns[e] + 1]] = i;
  memmove(rows_start, rows_start + 1, (size_t)a->n * sizeof *rows_start);
  rows_start[a->n] = a->starts[a->m];
}

grad_status grad__sparse_order(grad_ctx *ctx, const grad__sparse_pattern *a, int64_t *order) {
  const int64_t entries = a->starts[a->m], count = 2 * a->n + 2 + entries + a->m;
  const size_t bytes = (size_t)count * sizeof(int64_t) + (size_t)(2 * a->n + 1) * sizeof(bool);
  int64_t *const block = grad__alloc(ctx, bytes);
  if (!block) return GRAD_ENOMEM;
  memset(block, 0, bytes);
  int64_t *const rows_start = block, *const rows = rows_start + a->n + 1;
  bool *const dense = (bool *)(block + count);
  walk w = {.a = a, .rows_start = rows_start, .rows = rows, .dense = dense};
  w.column_seen = rows + entries;
  w.row_seen = w.column_seen + a->n;
  find_rows(a, rows_start, rows);
  for (int64_t c = 0; c < a->n; c++) {
    const double degree = (double)(rows_start[c + 1] - rows_start[c]);
    dense[c] = degree > 16 && degree * degree > 100 * (double)a->m;
  }
  order_components(&w, dense + a->n, order);
  grad__free(ctx, block, bytes);
  return GRAD_OK;
}

/* --- the structure of R */

typedef struct structure {
  grad_ctx *ctx;
  const grad__sparse_pattern *a;
  int64_t *place, *next_row, *first_row, *next_child, *first_child, *seen;
  grad__sparse_shape *out;
} structure;

static int ascending(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void include(structure *t, int64_t k, int64_t place, int64_t *count) {
  if (t->seen[place] == k + 1) return;
  t->seen[place] = k + 1;
  t->out->places[(*count)++] = place;
}

/* Row k of R: the rows of A that begin there, and the rows of R that go on there. */
static void add_row(structure *t, int64_t k) {
  grad__sparse_shape *r = t->out;
  int64_t count = r->starts[k];
  include(t, k, k, &count);
  for (int64_t i = t->first_row[k]; i >= 0; i = t->next_row[i])
    for (int64_t e = t->a->starts[i]; e < t->a->starts[i + 1]; e++) include(t, k, t->place[t->a->columns[e]], &count);
  for (int64_t c = t->first_child[k]; c >= 0; c = t->next_child[c])
    for (int64_t e = r->starts[c] + 1; e < r->starts[c + 1]; e++) include(t, k, r->places[e], &count);
  qsort(r->places + r->starts[k], (size_t)(count - r->starts[k]), sizeof *r->places, ascending);
  r->starts[k + 1] = count;
  if (count == r->starts[k] + 1) return;
  const int64_t parent = r->places[r->starts[k] + 1];
  t->next_child[k] = t->first_child[parent];
  t->first_child[parent] = k;
}

static void sort_rows(structure *t) {
  for (int64_t i = t->a->m - 1; i >= 0; i--) {
    int64_t first = t->a->n;
    for (int64_t e = t->a->starts[i]; e < t->a->starts[i + 1]; e++)
      if (t->place[t->a->columns[e]] < first) first = t->place[t->a->columns[e]];
    if (first == t->a->n) continue;
    t->next_row[i] = t->first_row[first];
    t->first_row[first] = i;
  }
}

static grad_status grow(grad_ctx *ctx, grad__sparse_shape *r, int64_t room) {
  const size_t item = sizeof *r->places;
  int64_t *const places = grad__realloc(ctx, r->places, (size_t)r->room * item, (size_t)room * item);
  if (!places) return GRAD_ENOMEM;
  r->places = places;
  r->room = room;
  return GRAD_OK;
}

static grad_status build(structure *t, int64_t most) {
  grad__sparse_shape *const r = t->out;
  const int64_t n = t->a->n;
  grad_status status = grow(t->ctx, r, 2 * t->a->starts[t->a->m] + 2 * n + 16);
  sort_rows(t);
  for (int64_t k = 0; k < n && status == GRAD_OK && r->starts[k] <= most; k++) {
    if (r->starts[k] + n - k > r->room) {
      const int64_t doubled = 2 * r->room, needed = r->starts[k] + n - k;
      status = grow(t->ctx, r, doubled > needed ? doubled : needed);
      if (status != GRAD_OK) break;
    }
    add_row(t, k);
    r->complete = k == n - 1;
  }
  if (n == 0) r->complete = true;
  return status == GRAD_OK && r->complete ? grow(t->ctx, r, r->starts[n] + 1) : status;
}

grad_status grad__sparse_shape_new(grad_ctx *ctx, const grad__sparse_pattern *a, const int64_t *order, int64_t most,
                                   grad__sparse_shape *out) {
  const int64_t n = a->n, count = 4 * n + a->m + 1;
  *out = (grad__sparse_shape){.n = n};
  int64_t *const block = grad__alloc(ctx, (size_t)count * sizeof *block);
  out->starts = grad__alloc(ctx, (size_t)(n + 1) * sizeof *out->starts);
  structure t = {.ctx = ctx, .a = a, .out = out};
  grad_status status = block && out->starts ? GRAD_OK : GRAD_ENOMEM;
  if (status == GRAD_OK) {
    for (int64_t i = 0; i < count; i++) block[i] = -1;
    memset(out->starts, 0, (size_t)(n + 1) * sizeof *out->starts);
    t.place = block, t.first_row = t.place + n, t.first_child = t.first_row + n, t.next_child = t.first_child + n;
    t.next_row = t.next_child + n;
  }
  t.seen = grad__alloc(ctx, (size_t)(n + 1) * sizeof *t.seen);
  if (!t.seen) status = GRAD_ENOMEM;
  if (status == GRAD_OK) {
    memset(t.seen, 0, (size_t)(n + 1) * sizeof *t.seen);
    for (int64_t k = 0; k < n; k++) t.place[order[k]] = k;
    status = build(&t, most);
  }
  grad__free(ctx, t.seen, (size_t)(n + 1) * sizeof *t.seen);
  grad__free(ctx, block, (size_t)count * sizeof *block);
  if (status != GRAD_OK) grad__sparse_shape_clear(ctx, out);
  return status;
}

void grad__sparse_shape_clear(grad_ctx *ctx, grad__sparse_shape *shape) {
  grad__free(ctx, shape->starts, (size_t)(shape->n + 1) * sizeof *shape->starts);
  grad__free(ctx, shape->places, (size_t)shape->room * sizeof *shape->places);
  *shape = (grad__sparse_shape){0};
}

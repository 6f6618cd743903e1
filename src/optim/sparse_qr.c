/* sparse_qr.c: the numbers of the sparse QR; its structure is sparse_order.c's. */
#include "optim/sparse_qr.h"

#include <float.h>

#include "optim/sparse_order.h"

struct grad__sparse_qr {
  grad_ctx *ctx;
  grad__sparse_pattern a;
  grad__sparse_shape shape;
  int64_t *order, *place; /* n: the column at a place, and its inverse */
  int64_t *last, *rows;   /* n + 1, m: the rows whose last place is k are rows[last[k]] to rows[last[k + 1] - 1] */
  int64_t *integers;      /* the block of these */
  double *r, *q, *w;      /* R's entries; Q'rhs; a row at work, zero between the calls */
  double *numbers;
  int64_t integer_count, number_count;
};

void grad__sparse_qr_free(grad__sparse_qr *s) {
  if (!s) return;
  grad__sparse_shape_clear(s->ctx, &s->shape);
  grad__free(s->ctx, s->integers, (size_t)s->integer_count * sizeof *s->integers);
  grad__free(s->ctx, s->numbers, (size_t)s->number_count * sizeof *s->numbers);
  grad__free(s->ctx, s, sizeof *s);
}

size_t grad__sparse_qr_bytes(const grad__sparse_qr *s) {
  return sizeof *s + (size_t)(s->integer_count + s->number_count + s->shape.room + s->a.n) * sizeof(double);
}

/* The better of the two orders. */
static grad_status choose_order(grad__sparse_qr *s) {
  const int64_t n = s->a.n;
  grad__sparse_shape own;
  grad_status status = grad__sparse_order(s->ctx, &s->a, s->order);
  if (status == GRAD_OK) status = grad__sparse_shape_new(s->ctx, &s->a, s->order, INT64_MAX, &s->shape);
  if (status != GRAD_OK) return status;
  for (int64_t k = 0; k < n; k++) s->place[k] = k;
  status = grad__sparse_shape_new(s->ctx, &s->a, s->place, s->shape.starts[n], &own);
  if (status != GRAD_OK) return status;
  if (own.complete && own.starts[n] <= s->shape.starts[n]) {
    const grad__sparse_shape other = s->shape;
    s->shape = own;
    own = other;
    memcpy(s->order, s->place, (size_t)n * sizeof *s->order);
  }
  grad__sparse_shape_clear(s->ctx, &own);
  for (int64_t k = 0; k < n; k++) s->place[s->order[k]] = k;
  return GRAD_OK;
}

static int64_t last_place(const grad__sparse_qr *s, int64_t row) {
  int64_t last = -1;
  for (int64_t e = s->a.starts[row]; e < s->a.starts[row + 1]; e++)
    if (s->place[s->a.columns[e]] > last) last = s->place[s->a.columns[e]];
  return last;
}

/* In this order a row meets only rows of R that reach no further than it does itself: the rest are still empty. */
static void sort_rows(grad__sparse_qr *s) {
  const int64_t n = s->a.n;
  memset(s->last, 0, (size_t)(n + 2) * sizeof *s->last);
  for (int64_t i = 0; i < s->a.m; i++) s->last[last_place(s, i) + 2]++;
  for (int64_t k = 0; k <= n; k++) s->last[k + 1] += s->last[k];
  for (int64_t i = 0; i < s->a.m; i++) s->rows[s->last[last_place(s, i) + 1]++] = i;
}

static grad_status allocate(grad__sparse_qr *s) {
  const int64_t m = s->a.m, n = s->a.n;
  s->integer_count = 3 * n + 2 + m;
  s->integers = grad__alloc(s->ctx, (size_t)s->integer_count * sizeof *s->integers);
  if (!s->integers) return GRAD_ENOMEM;
  s->order = s->integers, s->place = s->order + n, s->last = s->place + n, s->rows = s->last + n + 2;
  grad_status status = choose_order(s);
  if (status != GRAD_OK) return status;
  s->number_count = s->shape.starts[n] + 3 * n + 1;
  s->numbers = grad__alloc(s->ctx, (size_t)s->number_count * sizeof *s->numbers);
  if (!s->numbers) return GRAD_ENOMEM;
  s->r = s->numbers, s->q = s->r + s->shape.starts[n], s->w = s->q + n;
  vec_fill(s->number_count, 0, s->numbers);
  sort_rows(s);
  return GRAD_OK;
}

grad_status grad__sparse_qr_new(grad_ctx *ctx, int64_t m, int64_t n, const int64_t *starts, const int64_t *columns,
                                grad__sparse_qr **out) {
  grad__sparse_qr *s = grad__alloc(ctx, sizeof *s);
  if (!s) return GRAD_ENOMEM;
  *s = (grad__sparse_qr){.ctx = ctx, .a = {m, n, starts, columns}};
  const grad_status status = allocate(s);
  if (status != GRAD_OK) {
    grad__sparse_qr_free(s);
    return status;
  }
  *out = s;
  return GRAD_OK;
}

static int64_t row_length(const grad__sparse_qr *s, int64_t k) { return s->shape.starts[k + 1] - s->shape.starts[k]; }
static double *row_values(const grad__sparse_qr *s, int64_t k) { return s->r + s->shape.starts[k]; }
static const int64_t *row_places(const grad__sparse_qr *s, int64_t k) { return s->shape.places + s->shape.starts[k]; }
static int64_t parent(const grad__sparse_qr *s, int64_t k) {
  return row_length(s, k) > 1 ? row_places(s, k)[1] : s->a.n;
}

/* Rotates the row in w, with its right hand side, into R: its entries begin at place k and end at `last`. Where R's row
 * is still empty, what is left of w becomes that row. */
static void take_row(grad__sparse_qr *s, int64_t k, int64_t last, double rhs) {
  double *const w = s->w;
  for (; k <= last; k = parent(s, k)) {
    if (w[k] == 0) continue;
    double *const row = row_values(s, k);
    const int64_t *const places = row_places(s, k), length = row_length(s, k);
    if (row[0] == 0) {
      for (int64_t e = 0; e < length; e++) {
        row[e] = w[places[e]];
        w[places[e]] = 0;
      }
      s->q[k] = rhs;
      return;
    }
    const double h = hypot(row[0], w[k]), c = row[0] / h, t = w[k] / h, q = s->q[k];
    for (int64_t e = 0; e < length; e++) {
      const double a = row[e], b = w[places[e]];
      row[e] = c * a + t * b;
      w[places[e]] = c * b - t * a;
    }
    w[k] = 0;
    s->q[k] = c * q + t * rhs;
    rhs = c * rhs - t * q;
  }
}

static void take_matrix_row(grad__sparse_qr *s, const grad__sparse_matrix *matrix, int64_t i, int64_t last,
                            double rhs) {
  const double scale = matrix->row_scale ? matrix->row_scale[i] : 1;
  int64_t first = last;
  for (int64_t e = s->a.starts[i]; e < s->a.starts[i + 1]; e++) {
    const int64_t column = s->a.columns[e], k = s->place[column];
    s->w[k] = scale * matrix->values[e] * (matrix->column_scale ? matrix->column_scale[column] : 1);
    if (k < first) first = k;
  }
  take_row(s, first, last, rhs);
}

/* Leaves out each column whose part beyond the columns before it is rounding; the rest of R's row goes on as a row like
 * any other. Returns the rank. */
static int64_t drop_dependent(grad__sparse_qr *s) {
  const int64_t n = s->a.n;
  const double tol = DBL_EPSILON * (double)(s->a.m > n ? s->a.m : n);
  double *const squares = s->q + 2 * n;
  int64_t rank = 0;
  vec_fill(n, 0, squares);
  for (int64_t k = 0; k < n; k++)
    for (int64_t e = 0; e < row_length(s, k); e++) {
      const double v = row_values(s, k)[e];
      squares[row_places(s, k)[e]] += v * v;
    }
  for (int64_t k = 0; k < n; k++) {
    double *const row = row_values(s, k);
    if (fabs(row[0]) > tol * sqrt(squares[k])) {
      rank++;
      continue;
    }
    const double rhs = s->q[k];
    for (int64_t e = 1; e < row_length(s, k); e++) s->w[row_places(s, k)[e]] = row[e];
    vec_fill(row_length(s, k), 0, row);
    s->q[k] = 0;
    take_row(s, parent(s, k), n - 1, rhs);
  }
  return rank;
}

int64_t grad__sparse_qr_factor(grad__sparse_qr *s, const grad__sparse_matrix *matrix, const double *rhs) {
  const int64_t n = s->a.n;
  vec_fill(s->shape.starts[n] + 2 * n, 0, s->r); /* q and w lie behind it */
  for (int64_t k = 0; k < n; k++) {
    for (int64_t at = s->last[k]; at < s->last[k + 1]; at++)
      take_matrix_row(s, matrix, s->rows[at], k, rhs[s->rows[at]]);
    if (!matrix->diagonal) continue;
    s->w[k] = matrix->diagonal[s->order[k]];
    take_row(s, k, k, 0);
  }
  return drop_dependent(s);
}

/* x (by place) becomes inv(R) x; inv(R') x. */
static void back(const grad__sparse_qr *s, double *x) {
  for (int64_t k = s->a.n - 1; k >= 0; k--) {
    const double *const row = row_values(s, k);
    const int64_t *const places = row_places(s, k);
    double sum = x[k];
    for (int64_t e = 1; e < row_length(s, k); e++) sum -= row[e] * x[places[e]];
    x[k] = row[0] != 0 ? sum / row[0] : 0;
  }
}

static void back_transposed(const grad__sparse_qr *s, double *x) {
  for (int64_t k = 0; k < s->a.n; k++) {
    const double *const row = row_values(s, k);
    const int64_t *const places = row_places(s, k);
    x[k] = row[0] != 0 ? x[k] / row[0] : 0;
    for (int64_t e = 1; e < row_length(s, k); e++) x[places[e]] -= row[e] * x[k];
  }
}

static void to_places(const grad__sparse_qr *s, const double *from, double *to) {
  for (int64_t k = 0; k < s->a.n; k++) to[k] = from[s->order[k]];
}

static void to_columns(const grad__sparse_qr *s, double *work, double *to) {
  for (int64_t k = 0; k < s->a.n; k++) to[s->order[k]] = work[k];
  vec_fill(s->a.n, 0, work);
}

void grad__sparse_qr_solve(const grad__sparse_qr *s, double *x) {
  vec_copy(s->a.n, s->q, s->w);
  back(s, s->w);
  to_columns(s, s->w, x);
}

void grad__sparse_qr_normal(const grad__sparse_qr *s, const double *b, double *x) {
  to_places(s, b, s->w);
  back_transposed(s, s->w);
  back(s, s->w);
  to_columns(s, s->w, x);
}

double grad__sparse_qr_half_norm(const grad__sparse_qr *s, const double *b) {
  to_places(s, b, s->w);
  back_transposed(s, s->w);
  const double norm = vec_norm2(s->a.n, s->w);
  vec_fill(s->a.n, 0, s->w);
  return norm;
}

/* Row i of Z = inv(R'R), where R has entries, from the rows below it: R Z = inv(R'), whose part above the diagonal is
 * 0. full holds R's row, sums what R's row gives with Z; both n, full zero between the calls. */
static void inverse_row(const grad__sparse_qr *s, int64_t i, double *z, double *full, double *sums) {
  const double *const row = row_values(s, i);
  const int64_t *const places = row_places(s, i), length = row_length(s, i);
  double *const out = z + s->shape.starts[i];
  if (row[0] == 0) return;
  for (int64_t e = 1; e < length; e++) {
    full[places[e]] = row[e];
    sums[places[e]] = 0;
  }
  for (int64_t e = 1; e < length; e++) {
    const int64_t k = places[e];
    const double *const below = z + s->shape.starts[k];
    for (int64_t f = 0; f < row_length(s, k); f++) {
      const int64_t j = row_places(s, k)[f];
      sums[j] += row[e] * below[f];
      if (f > 0) sums[k] += full[j] * below[f];
    }
  }
  out[0] = 1 / row[0];
  for (int64_t e = 1; e < length; e++) {
    out[e] = -sums[places[e]] / row[0];
    out[0] -= row[e] * out[e];
    full[places[e]] = 0;
  }
  out[0] /= row[0];
}

grad_status grad__sparse_qr_variances(const grad__sparse_qr *s, double *out) {
  const int64_t n = s->a.n, entries = s->shape.starts[n];
  const size_t bytes = (size_t)(entries + n + 1) * sizeof(double);
  double *const z = grad__alloc(s->ctx, bytes);
  if (!z) return GRAD_ENOMEM;
  vec_fill(entries + n, 0, z);
  for (int64_t i = n - 1; i >= 0; i--) inverse_row(s, i, z, s->w, z + entries);
  for (int64_t i = 0; i < n; i++) out[s->order[i]] = row_values(s, i)[0] != 0 ? z[s->shape.starts[i]] : VEC_INF;
  grad__free(s->ctx, z, bytes);
  return GRAD_OK;
}

/* jacobian_rows.h: the rows of the residuals' Jacobian, one by one, whether it is kept in full or sparse. */
#ifndef GRAD_OPTIM_JACOBIAN_ROWS_H
#define GRAD_OPTIM_JACOBIAN_ROWS_H

#include "optim/minimizer.h"

typedef struct grad__row {
  int64_t count;
  const double *value;
  const int64_t *column; /* of each value; NULL: all columns, in order */
} grad__row;

static inline grad__row grad__jacobian_row(const grad_minimizer *m, int64_t i) {
  const double *j = m->arrays[ARRAY_J].data;
  const int64_t *starts = m->problem.jacobian_starts;
  if (!starts) return (grad__row){m->n, j + i * m->n, NULL};
  return (grad__row){starts[i + 1] - starts[i], j + starts[i], m->problem.jacobian_columns + starts[i]};
}

static inline double grad__row_dot(grad__row row, const double *v) {
  if (!row.column) return vec_dot(row.count, row.value, v);
  double sum = 0;
  for (int64_t e = 0; e < row.count; e++) sum += row.value[e] * v[row.column[e]];
  return sum;
}

/* out += s row */
static inline void grad__row_add(grad__row row, double s, double *out) {
  if (!row.column) {
    vec_axpy(row.count, s, row.value, out);
    return;
  }
  for (int64_t e = 0; e < row.count; e++) out[row.column[e]] += s * row.value[e];
}

/* The sum of squares of each column, of the rows times row_scale. */
static inline void grad__jacobian_squares(const grad_minimizer *m, const double *row_scale, double *out) {
  vec_fill(m->n, 0, out);
  for (int64_t i = 0; i < m->problem.residuals; i++) {
    const grad__row row = grad__jacobian_row(m, i);
    for (int64_t e = 0; e < row.count; e++) {
      const double v = row_scale[i] * row.value[e];
      out[row.column ? row.column[e] : e] += v * v;
    }
  }
}

#endif

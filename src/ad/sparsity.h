/* sparsity.h: where a derivative can be nonzero: index sets carried through a program. */
#ifndef GRAD_AD_SPARSITY_H
#define GRAD_AD_SPARSITY_H

#include "array/array.h"
#include "core/arena.h"
#include "program/opdef.h"

/* A sparse matrix's structure by rows (CSR); columns ascend in each row. */
typedef struct grad_pattern {
  grad_ctx *ctx;
  int64_t rows, cols, nnz;
  int64_t *indptr; /* rows + 1 */
  int32_t *col;    /* nnz */
} grad_pattern;
grad_status grad__pattern_new(grad_ctx *ctx, int64_t rows, int64_t cols, int64_t nnz, grad_pattern *out);
void grad__pattern_clear(grad_pattern *pattern);

/* The pattern of the transposed matrix. */
grad_status grad__pattern_transpose(const grad_pattern *pattern, grad_pattern *out);

/* The rows with keep[r] == which; the others are empty. */
grad_status grad__pattern_rows(const grad_pattern *pattern, const bool *keep, bool which, grad_pattern *out);

/* The entries of either of two patterns of one size. */
grad_status grad__pattern_unite(const grad_pattern *a, const grad_pattern *b, grad_pattern *out);

/* Gives the value of an integer or bool value of the program (positions to gather at), in any strides; lives until the
 * pass ends. */
typedef grad_status (*grad_value_fn)(void *ud, grad_id v, const grad_array **out);

/* grad__ad_sparsity: rows are the elements of output number `output`, columns those of input number `input`, in row
 * order; an entry: the output element may depend on the input element (for the positions that `value` gives; without
 * `value`, NULL, whatever they are). Never misses one; may have more than needed behind ops that mix.
 * Errors: ELIMIT when there are more than 2^28 entries: the derivative is not sparse. */
grad_status grad__ad_sparsity(const grad_program *p, int32_t input, int32_t output, grad_value_fn value, void *ud,
                              grad_pattern *out);

/* --- coloring.c: columns of one colour are evaluated together. colors has an entry for each column (vertex), from 0.
 */

enum { GRAD_COLORING_STEPS = 2000000000 }; /* of one colouring: seconds */

/* grad__color_columns: columns of one colour share no row (distance-2 colouring; Curtis, Powell, Reid 1974), so that a
 * product with the sum of their unit vectors shows every entry. *count is 0 and colors unset when the pattern has rows
 * so long that colouring costs too many steps. Greedy, in the order of the columns. */
grad_status grad__color_columns(const grad_pattern *pattern, int32_t *colors, int32_t *count);

/* grad__color_star: for a symmetric pattern: a proper colouring in which every path of four vertices has three colours
 * (Gebremedhin, Tarafdar, Manne, Pothen 2007), so that a symmetric matrix is read off its products. Greedy,
 * vertices with many neighbours first. The diagonal need not be in the pattern. Where that takes too many steps
 * each vertex gets a colour of its own. (Acyclic colouring takes fewer colours, 2 for a chain instead of 3; but its
 * entries come out of each other by subtraction, so that one that is large, or infinite, spoils all behind it.) */
grad_status grad__color_star(const grad_pattern *pattern, int32_t *colors, int32_t *count);

/* --- compress.c: which sweeps show every entry of a Jacobian */

typedef enum grad_sweep_kind { GRAD_SWEEP_ANY, GRAD_SWEEP_FORWARD, GRAD_SWEEP_REVERSE } grad_sweep_kind;

typedef struct grad_sweeps {
  int32_t nforward, nreverse;
  int32_t *column, *row; /* colours: the forward (reverse) sweep that a column (row) takes part in; -1: in none */
  bool by_rows;          /* what `dense` is about */
  bool *dense;           /* rows that are read from reverse sweeps, all else from forward ones; or columns that are
                            read from forward sweeps, all else from reverse ones; NULL: there is one kind of sweep */
} grad_sweeps;

/* Is this entry read from a reverse sweep? */
static inline bool grad__sweep_is_reverse(const grad_sweeps *s, int64_t row, int64_t column) {
  if (!s->dense) return s->nreverse > 0;
  return s->by_rows ? s->dense[row] : !s->dense[column];
}

/* grad__compress: ANY takes what needs fewest sweeps: columns coloured, rows coloured, or a few dense rows (columns)
 * set apart for sweeps of the other kind, so that the rest has short rows (bidirectional partition; Coleman, Verma
 * 1998). No sweeps for a matrix with entries: too dense to be coloured in reasonable time. Arrays are in the arena. */
grad_status grad__compress(const grad_pattern *pattern, grad_sweep_kind kind, grad_arena *arena, grad_sweeps *out);

#endif

/* random_entries.h: the table of structured ops and of what makes a random instance of each. An op without an entry
 * fails transforms_test. Several ops occur only in what the rules of others emit: their entry names the function that
 * leads to them. */
#ifndef RANDOM_ENTRIES_H
#define RANDOM_ENTRIES_H

#include "random_control.h"

typedef struct random_entry {
  const char *op;
  random_maker make;
  int weight;  /* how often it is chosen for a program; 0: another entry has the same function */
  int order;   /* of derivatives to be checked */
  bool nested; /* has programs inside */
} random_entry;

static const random_entry random_entries[] = {
    {"full", random_full, 1, 2, false},
    {"scalar", random_scalar, 1, 2, false},
    {"iota", random_iota, 1, 2, false},
    {"convert", random_convert, 1, 2, false},
    {"broadcast", random_broadcast, 2, 2, false},
    {"reshape", random_reshape, 2, 2, false},
    {"permute", random_permute, 2, 2, false},
    {"slice", random_slice, 2, 2, false},
    {"unslice", random_unslice, 1, 2, false},
    {"concat", random_concat, 2, 2, false},
    {"sum", random_sum, 3, 2, false},
    {"prod", random_prod, 1, 2, false},
    {"max", random_max, 1, 2, false},
    {"min", random_min, 1, 2, false},
    {"any", random_any, 1, 2, false},
    {"all", random_all, 1, 2, false},
    {"argmax", random_argmax, 1, 2, false},
    {"argmin", random_argmin, 1, 2, false},
    {"matmul", random_matmul, 3, 2, false},
    {"gather", random_gather, 2, 2, false},
    {"scatter_add", random_scatter_add, 2, 2, false},
    {"positions", random_positions, 1, 2, false},
    {"labels", random_labels, 1, 2, false},
    {"ravel_index", random_ravel_index, 1, 2, false},
    {"last_writer", random_put_index, 1, 2, false},
    {"mask_rank", random_put_mask, 1, 2, false},
    {"cumsum", random_cumsum, 1, 2, false},
    {"cumprod", random_cumprod, 1, 2, false},
    {"recurrence", random_recurrence, 1, 2, false},
    {"sort", random_sort, 1, 2, false},
    {"kth", random_median, 1, 2, false},
    {"random_uniform", random_uniform, 1, 2, false},
    {"random_normal", random_normal, 1, 2, false},
    {"random_integers", random_gather, 0, 2, false},
    {"random_permutation", random_median, 0, 2, false},
    {"stop_gradient", random_stop_gradient, 1, 2, false},
    {"conv", random_conv, 1, 2, false},
    {"conv_input", random_conv, 0, 2, false},
    {"conv_weight", random_conv, 0, 2, false},
    {"windows", random_avg_pool, 1, 2, false},
    {"fold_windows", random_avg_pool, 0, 2, false},
    {"max_pool", random_max_pool, 1, 2, false},
    {"lu", random_solve, 1, 2, false},
    {"lu_solve", random_solve, 0, 2, false},
    {"lu_inv", random_inv, 1, 2, false},
    {"triangular_solve", random_triangular, 1, 2, false},
    {"cholesky", random_cholesky, 1, 2, false},
    {"slogdet", random_slogdet, 1, 2, false},
    {"det", random_det, 1, 2, false},
    {"cofactor", random_det, 0, 2, false},
    {"qr", random_qr, 1, 2, false},
    {"spectrum_push", random_eigh, 0, 2, false},
    {"spectrum_pull", random_svd, 0, 2, false},
    {"gap_divide", random_svd, 0, 2, false},
    {"eigh", random_eigh, 1, 2, false},
    {"svd", random_svd, 1, 2, false},
    {"matrix_exp", random_expm, 1, 2, false},
    {"cond", random_cond, 2, 2, true},
    {"scan", random_scan, 2, 2, true},
    {"while", random_while, 2, 2, true},
    {"add_stacks", random_while, 0, 4, true},
    {"checkpoint", random_checkpoint, 1, 2, true},
    {"custom", random_custom, 1, 2, true},
    {"custom_linear", random_custom, 0, 2, true},
    {"linear_solve", random_linear_solve, 1, 2, true},
    {"implicit", random_implicit, 1, 2, true},
    {"host", random_host, 0, 1, false},
};
enum { RANDOM_ENTRIES = sizeof random_entries / sizeof *random_entries };

#endif

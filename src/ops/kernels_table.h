/* kernels_table.h: the kernels that exist: for each dtype and instruction set one table by row, NULL where a row has no
 * such dtype. */
#ifndef GRAD_OPS_KERNELS_TABLE_H
#define GRAD_OPS_KERNELS_TABLE_H

#include "ops/kernels.h"

enum {
#define OP1(name, ...) GRAD_ROW_##name,
#define OP2(name, ...) GRAD_ROW_##name,
#define OP3(name, ...) GRAD_ROW_##name,
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3
  GRAD_ROWS
};

extern const grad_kernel grad__kernels_i64[GRAD_ROWS], grad__kernels_bool[GRAD_ROWS];
extern const grad_kernel grad__kernels_f64_portable[GRAD_ROWS], grad__kernels_f32_portable[GRAD_ROWS];
extern const grad_kernel grad__kernels_f64_baseline[GRAD_ROWS], grad__kernels_f32_baseline[GRAD_ROWS];
extern const grad_kernel grad__kernels_f64_avx2[GRAD_ROWS], grad__kernels_f32_avx2[GRAD_ROWS];
extern const grad_kernel grad__kernels_f64_avx512[GRAD_ROWS], grad__kernels_f32_avx512[GRAD_ROWS];

#endif

/* kernels_table.h: the kernels that exist: for each dtype and instruction set one table by row, NULL where a row has no
 * such dtype. */
#ifndef GRAD_OPS_KERNELS_TABLE_H
#define GRAD_OPS_KERNELS_TABLE_H

#include "ops/kernels.h"

extern const grad_kernel grad__kernels_i64[], grad__kernels_bool[];
extern const grad_kernel grad__kernels_f64_portable[], grad__kernels_f32_portable[];
extern const grad_kernel grad__kernels_f64_baseline[], grad__kernels_f32_baseline[];
extern const grad_kernel grad__kernels_f64_avx2[], grad__kernels_f32_avx2[];
extern const grad_kernel grad__kernels_f64_avx512[], grad__kernels_f32_avx512[];

#endif

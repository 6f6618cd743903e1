/* update_kernels.h: the table of update kernels; one list (update_rules.inc) gives ids, slots and the loops for both dtypes. */
#ifndef GRAD_OPTIM_UPDATE_KERNELS_H
#define GRAD_OPTIM_UPDATE_KERNELS_H

#include <stdint.h>

enum { GRAD__KERNEL_COEFFICIENTS = 8 };

typedef enum grad__update_kernel {
#define RULE(name, ...) GRAD__KERNEL_##name,
#include "optim/update_rules.inc"
#undef RULE
} grad__update_kernel;

/* What every rule does with the gradient and the parameter before its own arithmetic. */
typedef struct grad__update_scalars {
  double scale, clip, coupled, shrink;
  double k[GRAD__KERNEL_COEFFICIENTS];
} grad__update_scalars;

typedef void (*grad__update_fn)(int64_t n, const grad__update_scalars *scalars, void *param, const void *gradient,
                                void *const *slot);

typedef struct grad__update_row {
  grad__update_fn f32, f64;
} grad__update_row;

/* One table an instruction set. */
extern const grad__update_row grad__update_baseline[], grad__update_avx2[], grad__update_avx512[];

#endif

/* blas_library.h: finding and loading the BLAS/LAPACK library, OpenBLAS as a rule, on first use. */
#ifndef GRAD_LINALG_BLAS_LIBRARY_H
#define GRAD_LINALG_BLAS_LIBRARY_H

#include "core/ctx.h"

/* A function of any type; cast to the right one before it is called. */
typedef void (*grad_symbol)(void);

/* Loads the library at the first call of the process. Thread-safe. EUNSUPPORTED, with what to install, when there is
 * none; the next call then tries nothing again. */
grad_status grad__blas_library_load(grad_ctx *ctx);

/* The function of that name; NULL when the library is not loaded or lacks it. */
grad_symbol grad__blas_library_symbol(const char *name);

#endif

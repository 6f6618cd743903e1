/* kernels_portable.h: the kernels of a float dtype in plain C, straight from the scalar column of ops.def, for CPUs
 * that have no vector version. REAL and TABLE are set by the including file. */
#include "ops/grad_scalar.h"
#include "ops/kernels_table.h"

#define LOOP(name, result, read, scalar)                                                                               \
  static void name##_kernel(int64_t n, void *out, const void *const *in) {                                             \
    result *const to = out;                                                                                            \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
      read to[i] = (result)(scalar);                                                                                   \
    }                                                                                                                  \
  }
#define READ1 const double a = (double)((const REAL *)in[0])[i];
#define READ2 READ1 const double b = (double)((const REAL *)in[1])[i];
#define READ3 READ2 const double c = (double)((const REAL *)in[2])[i];
#define READ_SELECT                                                                                                    \
  const bool a = ((const bool *)in[0])[i];                                                                             \
  const double b = (double)((const REAL *)in[1])[i];                                                                   \
  const double c = (double)((const REAL *)in[2])[i];

#define KERNEL_FLOAT(name, read, scalar) LOOP(name, REAL, read, scalar)
#define KERNEL_WIDE(name, read, scalar) LOOP(name, REAL, read, scalar)
#define KERNEL_ARITH(name, read, scalar) LOOP(name, REAL, read, scalar)
#define KERNEL_PREDICATE(name, read, scalar) LOOP(name, bool, read, scalar)
#define KERNEL_SELECT(name, read, scalar) LOOP(name, REAL, READ_SELECT, scalar)
#define KERNEL_LOGICAL(name, read, scalar)
#define OP1(name, kind, slope, value, da, dom, scalar, ...) KERNEL_##kind(name, READ1, scalar)
#define OP2(name, kind, slope, value, da, db, doma, domb, scalar, ...) KERNEL_##kind(name, READ2, scalar)
#define OP3(name, kind, slope, value, da, db, dc, doma, domb, domc, scalar, ...) KERNEL_##kind(name, READ3, scalar)
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

#include "ops/kernels_entries.h"

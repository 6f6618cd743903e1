/* kernels_entries.h: the table of the kernels NAME_kernel that stand before it, by row; its name is TABLE. Meant to be
 * included at the end of what instantiates kernels, hence without a guard. */
#define ENTRY_FLOAT(name) name##_kernel,
#define ENTRY_WIDE(name) name##_kernel,
#define ENTRY_ARITH(name) name##_kernel,
#define ENTRY_PREDICATE(name) name##_kernel,
#define ENTRY_SELECT(name) name##_kernel,
#define ENTRY_LOGICAL(name) NULL,
const grad_kernel TABLE[GRAD_ROWS] = {
#define OP1(name, kind, ...) ENTRY_##kind(name)
#define OP2(name, kind, ...) ENTRY_##kind(name)
#define OP3(name, kind, ...) ENTRY_##kind(name)
#include "ops/ops.def"
};

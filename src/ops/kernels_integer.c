/* kernels_integer.c: i64 and bool. The value column of ops.def over plain numbers; compiled with wrapping arithmetic
 * (-fwrapv), and vectorised by the compiler. */
#include "ops/kernels_table.h"

static inline int64_t v_mulz(int64_t a, int64_t b) { return a * b; }
static inline int64_t v_abs(int64_t a) { return a < 0 ? -a : a; }
static inline int64_t v_sign(int64_t a) { return (a > 0) - (a < 0); }
static inline int64_t v_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t v_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t v_relu(int64_t a) { return a > 0 ? a : 0; }
static inline int64_t v_floor(int64_t a) { return a; }
static inline int64_t v_ceil(int64_t a) { return a; }
static inline int64_t v_rint(int64_t a) { return a; }
static inline bool v_eq(int64_t a, int64_t b) { return a == b; }
static inline bool v_ne(int64_t a, int64_t b) { return a != b; }
static inline bool v_lt(int64_t a, int64_t b) { return a < b; }
static inline bool v_le(int64_t a, int64_t b) { return a <= b; }
static inline bool v_isinf(int64_t a) { return (void)a, false; }
static inline bool v_isfinite(int64_t a) { return (void)a, true; }

/* The quotient wraps for -2^63 // -1, which traps in hardware. */
static inline int64_t v_floordiv(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return -a;
  return a / b - (a % b != 0 && (a ^ b) < 0);
}

static inline int64_t v_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  const int64_t m = a % b;
  return m != 0 && (m ^ b) < 0 ? m + b : m;
}

#define LOOP(id, result, number, read, value)                                                                          \
  static void id(int64_t n, void *out, const void *const *in) {                                                        \
    result *const to = out;                                                                                            \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
      read(number) to[i] = (result)(value);                                                                            \
    }                                                                                                                  \
  }
#define READ1(number) const number a = ((const number *)in[0])[i];
#define READ2(number) READ1(number) const number b = ((const number *)in[1])[i];
#define READ3(number) READ2(number) const number c = ((const number *)in[2])[i];
#define READ_SELECT(number)                                                                                            \
  const uint8_t a = ((const uint8_t *)in[0])[i];                                                                       \
  const number b = ((const number *)in[1])[i];                                                                         \
  const number c = ((const number *)in[2])[i];
#define v_select(a, b, c) (a ? b : c)

#define KERNEL_FLOAT(name, read, value)
#define KERNEL_WIDE(name, read, value)
#define KERNEL_ARITH(name, read, value) LOOP(name##_i64, int64_t, int64_t, read, value)
#define KERNEL_PREDICATE(name, read, value) LOOP(name##_i64, bool, int64_t, read, value)
#define KERNEL_LOGICAL(name, read, value) LOOP(name##_bool, uint8_t, uint8_t, read, value)
#define KERNEL_SELECT(name, read, value)                                                                               \
  LOOP(name##_i64, int64_t, int64_t, READ_SELECT, value)                                                               \
  LOOP(name##_bool, uint8_t, uint8_t, READ_SELECT, value)
#define OP1(name, kind, slope, value, ...) KERNEL_##kind(name, READ1, value)
#define OP2(name, kind, slope, value, ...) KERNEL_##kind(name, READ2, value)
#define OP3(name, kind, slope, value, ...) KERNEL_##kind(name, READ3, value)
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

#define OP1(name, kind, ...) ENTRY_##kind(name)
#define OP2(name, kind, ...) ENTRY_##kind(name)
#define OP3(name, kind, ...) ENTRY_##kind(name)

#define ENTRY_FLOAT(name) NULL,
#define ENTRY_WIDE(name) NULL,
#define ENTRY_ARITH(name) name##_i64,
#define ENTRY_PREDICATE(name) name##_i64,
#define ENTRY_LOGICAL(name) NULL,
#define ENTRY_SELECT(name) name##_i64,
const grad_kernel grad__kernels_i64[GRAD_ROWS] = {
#include "ops/ops.def"
};

#undef ENTRY_ARITH
#undef ENTRY_PREDICATE
#undef ENTRY_LOGICAL
#undef ENTRY_SELECT
#define ENTRY_ARITH(name) NULL,
#define ENTRY_PREDICATE(name) NULL,
#define ENTRY_LOGICAL(name) name##_bool,
#define ENTRY_SELECT(name) name##_bool,
const grad_kernel grad__kernels_bool[GRAD_ROWS] = {
#include "ops/ops.def"
};

/* kernels_body.h: the kernels of a float dtype for one instruction set: the value column of ops.def in a loop over
 * vectors. The including file sets REAL_BITS, TABLE, and for f32 WIDE_TABLE, the f64 kernels of the same set. */
#include "ops/kernels_math.h"
#include "ops/kernels_table.h"

/* The pointers are read once: a store might otherwise have changed them, for all that the compiler knows. */
#define LOOP(name, result, store, load, load_rest, value, nin)                                                         \
  static void name##_kernel(int64_t n, void *out, const void *const *in) {                                             \
    result *const to = out;                                                                                            \
    FROM##nin;                                                                                                         \
    int64_t i = 0;                                                                                                     \
    for (; i + LANES <= n; i += LANES) {                                                                               \
      load;                                                                                                            \
      store(to + i, value);                                                                                            \
    }                                                                                                                  \
    if (i == n) return;                                                                                                \
    const int rest = (int)(n - i);                                                                                     \
    load_rest;                                                                                                         \
    store##_rest(to + i, value, rest);                                                                                 \
  }
#define FROM1 const void *const from0 = in[0]
#define FROM2 FROM1, *const from1 = in[1]
#define FROM3 FROM2, *const from2 = in[2]
#define AT(type, k) (const type *)from##k + i
#define LOAD1 const vec a = v_load(AT(real, 0))
#define LOAD2 LOAD1, b = v_load(AT(real, 1))
#define LOAD3 LOAD2, c = v_load(AT(real, 2))
#define LOAD_SELECT                                                                                                    \
  const mask a = m_load(AT(uint8_t, 0));                                                                               \
  const vec b = v_load(AT(real, 1)), c = v_load(AT(real, 2))
#define REST1 const vec a = v_load_rest(AT(real, 0), rest)
#define REST2 REST1, b = v_load_rest(AT(real, 1), rest)
#define REST3 REST2, c = v_load_rest(AT(real, 2), rest)
#define REST_SELECT                                                                                                    \
  const mask a = m_load_rest(AT(uint8_t, 0), rest);                                                                    \
  const vec b = v_load_rest(AT(real, 1), rest), c = v_load_rest(AT(real, 2), rest)

#define KERNEL_FLOAT(name, n, value) LOOP(name, real, v_store, LOAD##n, REST##n, value, n)
#define KERNEL_ARITH(name, n, value) LOOP(name, real, v_store, LOAD##n, REST##n, value, n)
#define KERNEL_PREDICATE(name, n, value) LOOP(name, uint8_t, m_store, LOAD##n, REST##n, value, n)
#define KERNEL_SELECT(name, n, value) LOOP(name, real, v_store, LOAD_SELECT, REST_SELECT, value, n)
#define KERNEL_LOGICAL(name, n, value)

#if REAL_BITS == 64
#define KERNEL_WIDE KERNEL_FLOAT
#else
/* Computed in f64 and rounded once. */
static void widened(grad_kernel kernel, int nin, int64_t n, float *out, const void *const *in) {
  enum { PIECE = 64 };
  double result[PIECE], operand[2][PIECE];
  const void *operands[] = {operand[0], operand[1]};
  for (int64_t at = 0; at < n; at += PIECE) {
    const int64_t count = n - at < PIECE ? n - at : PIECE;
    for (int k = 0; k < nin; k++) {
      for (int64_t i = 0; i < count; i++) operand[k][i] = (double)((const float *)in[k])[at + i];
    }
    kernel(count, result, operands);
    for (int64_t i = 0; i < count; i++) out[at + i] = (float)result[i];
  }
}

#define KERNEL_WIDE(name, nin, value)                                                                                  \
  static void name##_kernel(int64_t n, void *out, const void *const *in) {                                             \
    widened(WIDE_TABLE[GRAD_ROW_##name], nin, n, out, in);                                                             \
  }
#endif

#define OP1(name, kind, slope, value, ...) KERNEL_##kind(name, 1, value)
#define OP2(name, kind, slope, value, ...) KERNEL_##kind(name, 2, value)
#define OP3(name, kind, slope, value, ...) KERNEL_##kind(name, 3, value)
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

#include "ops/kernels_entries.h"

/* update_kernels.c: the loops of the update rules, for f32 and f64. */
#include "optim/update_kernels.h"

#include <math.h>

#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(v, lo, hi) ((v) < (lo) ? (lo) : (v) > (hi) ? (hi) : (v))
#define SIGN(v) (T)(((v) > 0) - ((v) < 0))

#define SLOTS_0
#define SLOTS_1 T *restrict const a0 = slot[0];
#define SLOTS_2 SLOTS_1 T *restrict const a1 = slot[1];
#define SLOTS_3 SLOTS_2 T *restrict const a2 = slot[2];
#define LOAD_0
#define LOAD_1 T s0 = a0[i];
#define LOAD_2 LOAD_1 T s1 = a1[i];
#define LOAD_3 LOAD_2 T s2 = a2[i];
#define STORE_0
#define STORE_1 a0[i] = s0;
#define STORE_2 STORE_1 a1[i] = s1;
#define STORE_3 STORE_2 a2[i] = s2;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define RULE(name, slots, ...)                                                                                         \
  static void JOIN(name, SUFFIX)(int64_t n, const grad__update_scalars *c, void *param, const void *gradient,          \
                                 void *const *slot) {                                                                  \
    T *restrict const parameters = param;                                                                              \
    const T *restrict const gradients = gradient;                                                                      \
    const T scale = (T)c->scale, clip = (T)c->clip, coupled = (T)c->coupled, shrink = (T)c->shrink;                    \
    T k[GRAD__KERNEL_COEFFICIENTS];                                                                                    \
    for (int i = 0; i < GRAD__KERNEL_COEFFICIENTS; i++) k[i] = (T)c->k[i];                                             \
    (void)slot;                                                                                                        \
    SLOTS_##slots for (int64_t i = 0; i < n; i++) {                                                                    \
      T p = parameters[i], g = scale * gradients[i];                                                                   \
      LOAD_##slots g = CLAMP(g, -clip, clip) + coupled * p;                                                            \
      p *= shrink;                                                                                                     \
      __VA_ARGS__;                                                                                                     \
      parameters[i] = p;                                                                                               \
      STORE_##slots                                                                                                    \
    }                                                                                                                  \
  }

#define T double
#define SUFFIX f64
#define SQRT sqrt
#define ABS fabs
#include "optim/update_rules.inc"
#undef T
#undef SUFFIX
#undef SQRT
#undef ABS

#define T float
#define SUFFIX f32
#define SQRT sqrtf
#define ABS fabsf
#include "optim/update_rules.inc"
#undef RULE

const grad__update_row grad__update_rows[] = {
#define RULE(name, slots, ...) {slots, name##_f32, name##_f64},
#include "optim/update_rules.inc"
#undef RULE
};

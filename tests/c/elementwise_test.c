/* elementwise_test.c: the rows of ops.def as ops: evaluation on any strides, derivatives of first and second order in
 * each row's domain, conventions at kinks and special values, masks and integers, refusals, failing allocation.
 * elementwise_values_test.c holds the numbers to their error bounds. */
#include <stdint.h>

#include "ad/ad.h"
#include "check_alloc.h"
#include "check_program.h"
#include "exec/exec.h"
#include "ops/kernels_table.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

static double between(double lo, double hi) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return lo + (hi - lo) * ((double)(state >> 11) * 0x1p-53);
}

/* --- evaluation on strided operands */

enum { ROOM = 4096 };
static double memory[3][ROOM], packed[3][ROOM], got[ROOM], want[ROOM];

static grad_dtype operand_dtype(const grad_op *op, int k, grad_dtype dtype) {
  return grad__op_row(op)->kind == GRAD_KIND_SELECT && k == 0 ? GRAD_BOOL : dtype;
}

static void fill(void *data, grad_dtype dtype) {
  for (int i = 0; i < ROOM; i++) {
    const double x = between(0.2, 3);
    if (dtype == GRAD_F64) ((double *)data)[i] = x;
    if (dtype == GRAD_F32) ((float *)data)[i] = (float)x;
    if (dtype == GRAD_I64) ((int64_t *)data)[i] = (int64_t)(x * 10);
    if (dtype == GRAD_BOOL) ((uint8_t *)data)[i] = x > 1;
  }
}

static grad_status eval(grad_ctx *ctx, const grad_op *op, const grad_array *x, grad_array *out) {
  const grad_instr ins = {.op = op, .nin = op->nin, .nout = 1};
  return grad__direct_instr(ctx, &ins, (const grad_array *const[]){&x[0], &x[1], &x[2]}, NULL, &out);
}

/* The operands as views on memory, then as packed copies: the results must be the same bits. */
static bool same_as_packed(grad_ctx *ctx, const grad_op *op, grad_dtype dtype, int ndim, const int64_t *shape,
                           const int64_t strides[3][3], const int64_t *offset) {
  grad_array view[3], copy[3], out, expected;
  const grad_dtype result = grad__result_dtype(op, dtype);
  for (int k = 0; k < op->nin; k++) {
    const grad_dtype type = operand_dtype(op, k, dtype);
    fill(memory[k], type);
    grad__array_wrap(&view[k], (char *)memory[k] + (size_t)offset[k] * grad__dtype_size(type), type, ndim, shape);
    grad__array_wrap(&copy[k], packed[k], type, ndim, shape);
    for (int i = 0; i < ndim; i++) view[k].strides[i] = strides[k][i];
    grad__array_copy(&copy[k], &view[k]);
  }
  memset(got, 0x11, sizeof got);
  memset(want, 0x11, sizeof want);
  grad__array_wrap(&out, got, result, ndim, shape);
  grad__array_wrap(&expected, want, result, ndim, shape);
  return eval(ctx, op, view, &out) == GRAD_OK && eval(ctx, op, copy, &expected) == GRAD_OK &&
         memcmp(got, want, sizeof got) == 0;
}

static const struct {
  int ndim;
  int64_t shape[3], strides[3][3], offset[3];
} layouts[] = {
    {0, {0}, {{0}, {0}, {0}}, {5, 0, 9}},                                      /* 0-d */
    {2, {0, 4}, {{4, 1}, {1, 0}, {0, 1}}, {0, 0, 0}},                          /* empty */
    {1, {1}, {{7}, {-1}, {0}}, {3, 3, 3}},                                     /* one element, any stride */
    {1, {613}, {{1}, {0}, {3}}, {2, 5, 0}},                                    /* odd, repeated, gaps */
    {1, {300}, {{-1}, {-2}, {1}}, {299, 700, 0}},                              /* backwards */
    {2, {19, 23}, {{1, 19}, {23, 1}, {0, 1}}, {0, 1, 0}},                      /* transposed, plain, rows repeated */
    {2, {171, 3}, {{0, 1}, {1, 0}, {-3, 1}}, {0, 0, 510}},                     /* short inner axis, columns repeated */
    {3, {5, 7, 31}, {{217, -31, 1}, {1, 155, 5}, {0, 0, 0}}, {186, 0, 4}},     /* three axes */
    {3, {4, 1, 256}, {{256, 999, 1}, {256, 0, 1}, {-256, 5, 1}}, {0, 3, 768}}, /* axes of one element */
};

static void check_layouts(grad_ctx *ctx) {
  for (int i = 0; i < grad__op_count(); i++) {
    const grad_op *op = grad__op_at(i);
    for (grad_dtype dtype = GRAD_BOOL; grad__op_row(op) && dtype <= GRAD_F64; dtype++) {
      if (!grad__kernel(ctx, op, dtype)) continue;
      for (size_t k = 0; k < sizeof layouts / sizeof *layouts; k++) {
        if (!check(same_as_packed(ctx, op, dtype, layouts[k].ndim, layouts[k].shape, layouts[k].strides,
                                  layouts[k].offset)))
          fprintf(stderr, "  %s %s, layout %zu\n", op->name, grad__dtype_name(dtype), k);
      }
    }
  }
}

/* --- derivatives */

enum { POINTS = 7 };

/* y = op(x) as a program of POINTS-vectors. */
static grad_program *program_of(grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  grad_program *p;
  if (grad__program_new(ctx, &p) != GRAD_OK) return NULL;
  grad_id x[3];
  for (int k = 0; k < op->nin; k++)
    x[k] = grad__program_input(p, operand_dtype(op, k, dtype), 1, (const int64_t[]){POINTS});
  grad__program_output(p, op->nin == 1   ? grad__op1(p, op, x[0])
                          : op->nin == 2 ? grad__op2(p, op, x[0], x[1])
                                         : grad__op3(p, op, x[0], x[1], x[2]));
  return p;
}

/* Runs p on vectors of POINTS numbers; the result is output number k as doubles. */
static bool run(grad_program *p, double (*x)[POINTS], int k, double *y) {
  grad_array in[16], out[16];
  const grad_array *pointers[16];
  memset(out, 0, sizeof out);
  for (int i = 0; i < p->ninputs; i++) {
    grad_array from;
    const grad_type *t = grad__type(p, p->inputs[i]);
    grad__array_wrap(&from, x[i], GRAD_F64, 1, t->shape);
    if (grad__array_new(p->ctx, t->dtype, 1, t->shape, &in[i]) != GRAD_OK) return false;
    grad__array_copy(&in[i], &from);
    pointers[i] = &in[i];
  }
  const bool ok = grad__direct_run(p, pointers, NULL, out) == GRAD_OK;
  for (int64_t i = 0; ok && i < POINTS; i++) y[i] = grad__array_get(&out[k], &i);
  for (int i = 0; i < p->noutputs; i++) grad__array_release(&out[i]);
  for (int i = 0; i < p->ninputs; i++) grad__array_release(&in[i]);
  return ok;
}

static void sample(const grad_op *op, double (*x)[POINTS]) {
  for (int k = 0; k < op->nin; k++) {
    const double *domain = grad__op_row(op)->domain[k];
    for (int i = 0; i < POINTS; i++) x[k][i] = between(domain[0], domain[1]);
    if (grad__op_row(op)->kind == GRAD_KIND_SELECT && k == 0) {
      for (int i = 0; i < POINTS; i++) x[0][i] = i % 2;
    }
  }
}

/* The tangent output `order` of the given program against central differences of output order - 1 along operand k. */
static void check_difference(const grad_op *op, int k, int order, grad_program *value, grad_program *slope,
                             double (*x)[POINTS]) {
  const double step = 1e-5;
  double above[POINTS], below[POINTS], exact[POINTS], moved[8][POINTS];
  bool ok = run(slope, x, order == 1 ? 1 : 3, exact);
  for (int side = -1; side <= 1; side += 2) {
    memcpy(moved, x, sizeof moved);
    for (int i = 0; i < POINTS; i++) moved[k][i] += side * step;
    ok = ok && run(value, moved, order - 1, side < 0 ? below : above);
  }
  check(ok);
  for (int i = 0; i < POINTS; i++) {
    if (!check_near(exact[i], (above[i] - below[i]) / (2 * step), 2e-8 * (order == 2 ? 10 : 1) * (1 + fabs(exact[i]))))
      fprintf(stderr, "  %s, operand %d, order %d, at %.17g %.17g\n", op->name, k, order, x[0][i], x[1][i]);
  }
}

/* d/dx_k, then d2/dx_k dx_k: tangents 1 along x_k, 0 along its own tangent. */
static void check_operand(grad_ctx *ctx, const grad_op *op, int k) {
  bool wrt[8] = {false};
  wrt[k] = true;
  double x[8][POINTS] = {{0}};
  sample(op, x);
  grad_program *p = program_of(ctx, op, GRAD_F64), *first = NULL, *second = NULL;
  if (check(p && grad__ad_jvp(p, wrt, &first) == GRAD_OK) && check(grad__ad_jvp(first, wrt, &second) == GRAD_OK)) {
    for (int i = 0; i < POINTS; i++) x[op->nin][i] = x[op->nin + 1][i] = 1;
    check_difference(op, k, 1, p, first, x);
    check_difference(op, k, 2, first, second, x);
  }
  grad__program_release(second);
  grad__program_release(first);
  grad__program_release(p);
}

static bool smooth_in(const grad_op *op, int k) {
  const bool mask = grad__op_row(op)->kind == GRAD_KIND_SELECT && k == 0;
  return !mask && !(op == &grad__op_polygamma && k == 0);
}

/* <w, J v> = <J' w, v>, in f64 and f32, and the f32 tangent is the f64 one to within f32. */
static void check_adjoint(grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  bool wrt[3] = {false};
  double x[8][POINTS] = {{0}}, v[3][POINTS], w[POINTS], y[POINTS], forward = 0, reverse = 0;
  sample(op, x);
  int tangents = op->nin;
  for (int k = 0; k < op->nin; k++) {
    wrt[k] = smooth_in(op, k);
    for (int i = 0; i < POINTS; i++) v[k][i] = between(-1, 1);
    if (wrt[k]) memcpy(x[tangents++], v[k], sizeof v[k]);
  }
  for (int i = 0; i < POINTS; i++) w[i] = between(-1, 1);
  grad_program *p = program_of(ctx, op, dtype), *jvp = NULL, *vjp = NULL;
  if (check(p && grad__ad_jvp(p, wrt, &jvp) == GRAD_OK) && check(grad__ad_vjp(p, wrt, 1, &vjp) == GRAD_OK)) {
    check(run(jvp, x, 1, y));
    for (int i = 0; i < POINTS; i++) forward += w[i] * y[i];
    memcpy(x[op->nin], w, sizeof w);
    int output = 1;
    for (int k = 0; k < op->nin; k++) {
      if (!wrt[k]) continue;
      check(run(vjp, x, output++, y));
      for (int i = 0; i < POINTS; i++) reverse += v[k][i] * y[i];
    }
    if (!check_near(forward, reverse, dtype == GRAD_F64 ? 1e-13 : 2e-5)) fprintf(stderr, "  %s\n", op->name);
  }
  grad__program_release(vjp);
  grad__program_release(jvp);
  grad__program_release(p);
}

static void check_derivatives(grad_ctx *ctx) {
  for (int i = 0; i < grad__op_count(); i++) {
    const grad_op *op = grad__op_at(i);
    if (!grad__op_row(op) || (op->flags & GRAD_OP_NONDIFF)) continue;
    for (int k = 0; k < op->nin; k++) {
      if (smooth_in(op, k)) check_operand(ctx, op, k);
    }
    check_adjoint(ctx, op, GRAD_F64);
    check_adjoint(ctx, op, GRAD_F32);
  }
}

/* --- conventions: value and slope in each operand at one point */

#define NONE (-12345.0) /* no slope to look at */
static const struct {
  const grad_op *op;
  double x[3], value, slope[3];
} points[] = {
    {&grad__op_abs, {0}, 0, {0}},
    {&grad__op_abs, {-3}, 3, {-1}},
    {&grad__op_relu, {0}, 0, {0}},
    {&grad__op_relu, {(double)NAN}, (double)NAN, {0}},
    {&grad__op_relu, {HUGE_VAL}, HUGE_VAL, {1}},
    {&grad__op_clamp, {2, -1, 2}, 2, {1, 0, 0}},
    {&grad__op_clamp, {-1, -1, 2}, -1, {1, 0, 0}},
    {&grad__op_clamp, {5, -1, 2}, 2, {0, 0, 1}},
    {&grad__op_clamp, {-5, -1, 2}, -1, {0, 1, 0}},
    {&grad__op_clamp, {0, 3, 1}, 1, {0, 0, 1}},
    {&grad__op_clamp, {(double)NAN, 0, 1}, (double)NAN, {0, 0, 0}},
    {&grad__op_clamp, {7, -HUGE_VAL, HUGE_VAL}, 7, {1, 0, 0}},
    {&grad__op_maximum, {2, 2}, 2, {0.5, 0.5}},
    {&grad__op_minimum, {2, 2}, 2, {0.5, 0.5}},
    {&grad__op_maximum, {3, 2}, 3, {1, 0}},
    {&grad__op_minimum, {3, 2}, 2, {0, 1}},
    {&grad__op_maximum, {(double)NAN, 1}, (double)NAN, {NONE, NONE}},
    {&grad__op_maximum, {1, (double)NAN}, (double)NAN, {NONE, NONE}},
    {&grad__op_minimum, {(double)NAN, 1}, (double)NAN, {NONE, NONE}},
    {&grad__op_minimum, {1, (double)NAN}, (double)NAN, {NONE, NONE}},
    {&grad__op_pow, {0, 0}, 1, {0, 0}},
    {&grad__op_pow, {(double)NAN, 0}, 1, {0, NONE}},
    {&grad__op_pow, {-2, 0}, 1, {0, NONE}},
    {&grad__op_pow, {0, 1}, 0, {1, 0}},
    {&grad__op_pow, {0, 2}, 0, {0, 0}},
    {&grad__op_pow, {0, 3}, 0, {0, 0}},
    {&grad__op_pow, {0, 0.5}, 0, {HUGE_VAL, 0}},
    {&grad__op_pow, {-2, 3}, -8, {12, NONE}},
    {&grad__op_pow, {-2, 2}, 4, {-4, NONE}},
    {&grad__op_pow, {4, -1}, 0.25, {-0.0625, NONE}},
    {&grad__op_pow, {9, 0.5}, 3, {1.0 / 6, NONE}},
    {&grad__op_pow, {-HUGE_VAL, 0.5}, HUGE_VAL, {NONE, NONE}},
    {&grad__op_pow, {-8, 1.0 / 3}, (double)NAN, {NONE, NONE}},
    {&grad__op_mod, {5.5, 2}, 1.5, {1, -2}},
    {&grad__op_mod, {-5.5, 2}, 0.5, {1, 3}},
    {&grad__op_mod, {5.5, -2}, -0.5, {1, 3}},
    {&grad__op_mod, {-1, HUGE_VAL}, HUGE_VAL, {1, NONE}},
    {&grad__op_mod, {3, 0}, (double)NAN, {NONE, NONE}},
    {&grad__op_mod, {1e300, 7}, 1, {NONE, NONE}},
    {&grad__op_floordiv, {-7, 2}, -4, {NONE, NONE}},
    {&grad__op_floordiv, {7, -2}, -4, {NONE, NONE}},
    {&grad__op_mulz, {0, HUGE_VAL}, 0, {HUGE_VAL, 0}},
    {&grad__op_mulz, {(double)NAN, 0}, 0, {0, (double)NAN}},
    {&grad__op_mulz, {(double)NAN, 2}, (double)NAN, {2, (double)NAN}},
    {&grad__op_hypot, {0, 0}, 0, {0, 0}},
    {&grad__op_hypot, {3e200, 4e200}, 5e200, {0.6, 0.8}},
    {&grad__op_hypot, {3e-200, 4e-200}, 5e-200, {0.6, 0.8}},
    {&grad__op_atan2, {0, 0}, 0, {0, 0}},
    {&grad__op_atan2, {1e-200, 1e-200}, 0.785398163397448309616, {5e199, -5e199}},
    {&grad__op_cbrt, {0}, 0, {HUGE_VAL}},
    {&grad__op_cbrt, {-8}, -2, {1.0 / 12}},
    {&grad__op_sqrt, {0}, 0, {HUGE_VAL}},
    {&grad__op_sign, {-0.0}, 0, {NONE}},
    {&grad__op_sign, {(double)NAN}, (double)NAN, {NONE}},
    {&grad__op_round, {0.5}, 0, {NONE}},
    {&grad__op_round, {1.5}, 2, {NONE}},
    {&grad__op_round, {2.5}, 2, {NONE}},
    {&grad__op_round, {-3.5}, -4, {NONE}},
    {&grad__op_floor, {-0.5}, -1, {NONE}},
    {&grad__op_ceil, {0.5}, 1, {NONE}},
    {&grad__op_floor, {1e300}, 1e300, {NONE}},
    {&grad__op_sigmoid, {1000}, 1, {0}},
    {&grad__op_sigmoid, {-1000}, 0, {0}},
    {&grad__op_sigmoid, {40}, 1, {4.248354255291589e-18}},
    {&grad__op_softplus, {1000}, 1000, {1}},
    {&grad__op_softplus, {-1000}, 0, {0}},
    {&grad__op_softplus, {-50}, 1.928749847963917783e-22, {1.928749847963917783e-22}},
    {&grad__op_logsigmoid, {-1000}, -1000, {1}},
    {&grad__op_logsigmoid, {1000}, 0, {0}},
    {&grad__op_logsigmoid, {50}, -1.928749847963917783e-22, {1.928749847963917783e-22}},
    {&grad__op_logaddexp, {1000, 1000}, 1000.69314718055994531, {0.5, 0.5}},
    {&grad__op_logaddexp, {-HUGE_VAL, -HUGE_VAL}, -HUGE_VAL, {0.5, 0.5}},
    {&grad__op_logaddexp, {-HUGE_VAL, 3}, 3, {0, 1}},
    {&grad__op_logaddexp, {HUGE_VAL, 3}, HUGE_VAL, {1, 0}},
    {&grad__op_softsign, {HUGE_VAL}, 1, {0}},
    {&grad__op_softsign, {1e8}, 0.9999999900000001, {9.9999998e-17}},
    {&grad__op_expm1, {1e-20}, 1e-20, {1}},
    {&grad__op_expm1, {-1000}, -1, {0}},
    {&grad__op_log1p, {1e-20}, 1e-20, {1}},
    {&grad__op_log1p, {-1}, -HUGE_VAL, {HUGE_VAL}},
    {&grad__op_log, {0}, -HUGE_VAL, {HUGE_VAL}},
    {&grad__op_log, {-1}, (double)NAN, {-1}},
    {&grad__op_acosh, {1e300}, 691.468675078773662647, {1e-300}},
    {&grad__op_asinh, {-1e300}, -691.468675078773662647, {1e-300}},
    {&grad__op_erfc, {27}, 5.23704643935262e-319, {NONE}},
    {&grad__op_lgamma, {1}, 0, {-0.577215664901532860607}},
    {&grad__op_lgamma, {-HUGE_VAL}, HUGE_VAL, {NONE}},
    {&grad__op_digamma, {1}, -0.577215664901532860607, {1.64493406684822643647}},
    {&grad__op_digamma, {-1.5}, 0.703156640645243187226, {9.37924664498912}},
    {&grad__op_digamma, {1.4616321449683622}, -9.24126552172942752e-17, {0.967672245447621255}}, /* next to its zero */
    {&grad__op_digamma, {-3}, (double)NAN, {NONE}},
    {&grad__op_trigamma, {1}, 1.64493406684822643647, {-2.40411380631918857080}},
    {&grad__op_polygamma, {3, 1}, 6.49393940226682914910, {NONE, -24.8862661234408782319}},
    {&grad__op_polygamma, {2, -0.5}, -0.828796644234319995599, {NONE, NONE}},
    {&grad__op_polygamma, {1.5, 1}, (double)NAN, {NONE, NONE}},
    {&grad__op_where, {1, 3, (double)NAN}, 3, {NONE, 1, 0}},
    {&grad__op_where, {0, (double)NAN, 4}, 4, {NONE, 0, 1}},
    {&grad__op_div, {1, 0}, HUGE_VAL, {HUGE_VAL, NONE}},
};

static bool alike(double x, double y) { return x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= 1e-14 * fabs(y); }

static void check_points(grad_ctx *ctx) {
  for (size_t at = 0; at < sizeof points / sizeof *points; at++) {
    const grad_op *op = points[at].op;
    double x[8][POINTS], y[POINTS] = {0};
    for (int k = 0; k < 8; k++) {
      for (int i = 0; i < POINTS; i++) x[k][i] = k < op->nin ? points[at].x[k] : 1;
    }
    grad_program *p = program_of(ctx, op, GRAD_F64);
    if (!check(p && run(p, x, 0, y) && alike(y[0], points[at].value)))
      fprintf(stderr, "  %s (%g, %g, %g): %.17g\n", op->name, x[0][0], x[1][0], x[2][0], y[0]);
    for (int k = 0; k < op->nin && p; k++) {
      bool wrt[3] = {k == 0, k == 1, k == 2};
      grad_program *jvp = NULL;
      if (points[at].slope[k] == NONE || (op->flags & GRAD_OP_NONDIFF)) continue;
      if (!check(grad__ad_jvp(p, wrt, &jvp) == GRAD_OK && run(jvp, x, 1, y) && alike(y[0], points[at].slope[k])))
        fprintf(stderr, "  %s (%g, %g, %g), slope in operand %d: %.17g\n", op->name, x[0][0], x[1][0], x[2][0], k + 1,
                y[0]);
      grad__program_release(jvp);
    }
    grad__program_release(p);
  }
}

/* Powers of small integers are integers. */
static void check_exact_powers(grad_ctx *ctx) {
  const grad_simd best = ctx->simd;
  for (int level = 0; level <= (int)best; level++) {
    ctx->simd = (grad_simd)level;
    const grad_kernel f64 = grad__kernel(ctx, &grad__op_pow, GRAD_F64),
                      f32 = grad__kernel(ctx, &grad__op_pow, GRAD_F32);
    bool exact = true;
    for (int base = -12; base <= 12; base++) {
      double power = 1;
      for (int n = 0; n <= 14; n++, power *= base) {
        const double a = base, b = n;
        const float fa = (float)base, fb = (float)n;
        double y;
        float z;
        f64(1, &y, (const void *const[]){&a, &b});
        f32(1, &z, (const void *const[]){&fa, &fb});
        exact = exact && y == power && (fabs(power) > 16777216 || (double)z == power);
        if (!exact) fprintf(stderr, "  %d ^ %d = %.17g, %.9g\n", base, n, y, (double)z), n = 99;
      }
    }
    check(exact);
  }
  ctx->simd = best;
}

/* --- integers, masks, dtypes */

static void check_integers(grad_ctx *ctx) {
  static const int64_t a[] = {7, -7, 7, -7, 6, INT64_MIN, INT64_MAX, INT64_MIN, 0};
  static const int64_t b[] = {2, 2, -2, -2, -3, -1, 1, 1, 5};
  static const int64_t quotients[] = {3, -4, -4, 3, -2, INT64_MIN, INT64_MAX, INT64_MIN, 0};
  static const int64_t remainders[] = {1, 1, -1, -1, 0, 0, 0, 0, 0};
  static const int64_t sums[] = {9, -5, 5, -9, 3, INT64_MAX, INT64_MIN, INT64_MIN + 1, 5};
  static const struct {
    const grad_op *op;
    const int64_t *want;
  } cases[] = {{&grad__op_floordiv, quotients}, {&grad__op_mod, remainders}, {&grad__op_add, sums}};
  enum { N = 9 };
  int64_t y[N], zeros[N] = {0};
  grad_array x[3], out;
  grad__array_wrap(&x[0], (void *)(uintptr_t)a, GRAD_I64, 1, (const int64_t[]){N});
  grad__array_wrap(&x[1], (void *)(uintptr_t)b, GRAD_I64, 1, (const int64_t[]){N});
  grad__array_wrap(&out, y, GRAD_I64, 1, (const int64_t[]){N});
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    check(eval(ctx, cases[k].op, x, &out) == GRAD_OK);
    check(memcmp(y, cases[k].want, sizeof y) == 0);
  }
  grad__array_wrap(&x[1], zeros, GRAD_I64, 1, (const int64_t[]){N});
  check(eval(ctx, &grad__op_floordiv, x, &out) == GRAD_EVALUE);
  check_text(grad_message(ctx), "floordiv: integer division by zero");
  check(eval(ctx, &grad__op_mod, x, &out) == GRAD_EVALUE);
}

static grad_dtype built_dtype(grad_program *p, const grad_op *op, grad_dtype a, grad_dtype b) {
  const grad_id x = grad__program_input(p, a, 1, (const int64_t[]){3}), y = grad__program_input(p, b, 0, NULL);
  const grad_id z = op->nin == 1 ? grad__op1(p, op, x) : grad__op2(p, op, x, y);
  return z == GRAD_NONE ? (grad_dtype)-1 : grad__type(p, z)->dtype;
}

static void check_dtypes(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  check(built_dtype(p, &grad__op_add, GRAD_I64, GRAD_I64) == GRAD_I64);
  check(built_dtype(p, &grad__op_add, GRAD_BOOL, GRAD_BOOL) == GRAD_I64);
  check(built_dtype(p, &grad__op_add, GRAD_F32, GRAD_F64) == GRAD_F64);
  check(built_dtype(p, &grad__op_add, GRAD_I64, GRAD_F32) == GRAD_F32);
  check(built_dtype(p, &grad__op_div, GRAD_I64, GRAD_I64) == GRAD_F64);
  check(built_dtype(p, &grad__op_pow, GRAD_I64, GRAD_I64) == GRAD_F64);
  check(built_dtype(p, &grad__op_floordiv, GRAD_I64, GRAD_I64) == GRAD_I64);
  check(built_dtype(p, &grad__op_sin, GRAD_I64, GRAD_I64) == GRAD_F64);
  check(built_dtype(p, &grad__op_sin, GRAD_F32, GRAD_F32) == GRAD_F32);
  check(built_dtype(p, &grad__op_lt, GRAD_F32, GRAD_I64) == GRAD_BOOL);
  check(built_dtype(p, &grad__op_eq, GRAD_BOOL, GRAD_BOOL) == GRAD_BOOL);
  check(built_dtype(p, &grad__op_and, GRAD_BOOL, GRAD_BOOL) == GRAD_BOOL);
  check(p->status == GRAD_OK);
  grad__program_release(p);
}

static void check_refusals(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){2, 3});
  const grad_id y = grad__program_input(p, GRAD_F64, 1, (const int64_t[]){4});
  check(grad__add(p, x, y) == GRAD_NONE);
  check(p->status == GRAD_ESHAPE);
  check(strstr(grad_message(ctx), "add: shapes 2 x 3 and 4 do not fit") != NULL);
  check(grad__add(p, GRAD_NONE, x) == GRAD_NONE);
  grad__program_release(p);
  p = check_new(ctx);
  const grad_id z = grad__program_input(p, GRAD_F64, 0, NULL);
  check(grad__op2(p, &grad__op_and, z, z) == GRAD_NONE && p->status == GRAD_EDTYPE);
  check(strstr(grad_message(ctx), "and: expected bool operands (masks), got f64") != NULL);
  grad__program_release(p);
  p = check_new(ctx);
  const grad_id w = grad__program_input(p, GRAD_F64, 0, NULL);
  check(grad__where(p, w, w, w) == GRAD_NONE && p->status == GRAD_EDTYPE);
  grad__program_release(p);
}

/* --- identities of the builders */

static void check_identities(grad_ctx *ctx) {
  grad_program *p = check_new(ctx);
  const grad_id x = grad__program_input(p, GRAD_F64, 1, (const int64_t[]){3});
  const grad_id m = grad__program_input(p, GRAD_BOOL, 1, (const int64_t[]){3});
  const grad_id zero = grad__lit(p, 0, x), one = grad__lit(p, 1, x), two = grad__full(p, 2, GRAD_F64, 0, NULL);
  const grad_id minus_zero = grad__lit(p, -0.0, x);
  check(grad__add(p, x, minus_zero) == x && grad__add(p, minus_zero, x) == x && grad__sub(p, x, zero) == x);
  check(grad__add(p, x, zero) != x && grad__sub(p, x, minus_zero) != x); /* x may be -0 */
  check(grad__mul(p, x, one) == x && grad__mul(p, one, x) == x && grad__div(p, x, one) == x);
  check(grad__neg(p, grad__neg(p, x)) == x);
  check(grad__mulz(p, x, zero) == zero);
  check(grad__producer(p, grad__mul(p, x, zero))->op == &grad__op_mul); /* 0 * NaN is NaN */
  check(grad__producer(p, grad__op2(p, &grad__op_pow, x, two))->op == &grad__op_square);
  check(grad__op2(p, &grad__op_pow, x, one) == x);
  double value = 0;
  check(grad__is_const(p, grad__op2(p, &grad__op_pow, x, zero), &value) && value == 1);
  check(grad__is_const(p, grad__sub(p, two, one), &value) && value == 1);
  const grad_id chosen = grad__producer(p, grad__mulz(p, x, grad__where(p, m, one, zero)))->in[1];
  check(chosen == x); /* where(m, x, 0) */
  check(p->status == GRAD_OK);
  grad__program_release(p);
}

/* A branch that was not taken has no say in the derivative, however wild its own slope is. */
static void check_untaken_branch(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *vjp = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 1, (const int64_t[]){POINTS}), zero = grad__lit(p, 0, x);
  const grad_id positive = grad__op2(p, &grad__op_gt, x, zero);
  grad__program_output(p, grad__where(p, positive, grad__op1(p, &grad__op_sqrt, x), zero));
  check(grad__ad_vjp(p, (const bool[]){true}, 1, &vjp) == GRAD_OK);
  double in[2][POINTS] = {{0, -1, 4, -HUGE_VAL, 16, -0.0, 0.25}, {1, 1, 1, 1, 1, 1, 1}}, y[POINTS];
  const double expected[POINTS] = {0, 0, 0.25, 0, 0.125, 0, 1};
  check(run(vjp, in, 1, y));
  for (int i = 0; i < POINTS; i++) check_near(y[i], expected[i], 1e-15);
  grad__program_release(vjp);
  grad__program_release(p);
}

/* --- failing allocation: building and differentiating a program of many rows */

static grad_status build_everything(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_program *p, *vjp = NULL;
  grad_status status = grad__program_new(ctx, &p);
  if (status != GRAD_OK) return status;
  const grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){2, 3});
  const grad_id y = grad__program_input(p, GRAD_F32, 1, (const int64_t[]){3});
  grad_id z = grad__add(p, x, y);
  for (int i = 0; i < grad__op_count(); i++) {
    const grad_op *op = grad__op_at(i);
    if (!grad__op_row(op) || grad__op_row(op)->kind > GRAD_KIND_ARITH) continue;
    if (op->nin == 1) z = grad__add(p, z, grad__op1(p, op, x));
    if (op->nin == 2) z = grad__add(p, z, grad__op2(p, op, x, y));
  }
  grad__program_output(p, z);
  status = p->status;
  if (status == GRAD_OK) status = grad__ad_vjp(p, (const bool[]){true, true}, 1, &vjp);
  grad__program_release(vjp);
  grad__program_release(p);
  return status;
}

static grad_status add_interrupted(grad_interrupt_fn stop) {
  grad_ctx *ctx;
  if (grad_ctx_new(&(grad_config){.interrupt = stop}, &ctx) != GRAD_OK) return GRAD_ENOMEM;
  enum { LONG = 200000 };
  grad_array x[3], out;
  grad_status status = grad__array_new(ctx, GRAD_F64, 1, (const int64_t[]){LONG}, &out);
  grad__array_fill(&out, 1);
  x[0] = x[1] = out;
  if (status == GRAD_OK) status = eval(ctx, &grad__op_add, x, &out);
  grad__array_release(&out);
  grad_ctx_free(ctx);
  return status;
}

static int always(void *ud) { return (void)ud, 1; }

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(NULL, &ctx) != GRAD_OK) return 1;
  check_layouts(ctx);
  check_derivatives(ctx);
  check_points(ctx);
  check_exact_powers(ctx);
  check_integers(ctx);
  check_dtypes(ctx);
  check_refusals(ctx);
  check_identities(ctx);
  check_untaken_branch(ctx);
  check(add_interrupted(always) == GRAD_EINTERRUPT);
  check(add_interrupted(NULL) == GRAD_OK);
  check_failing_alloc("rows", build_everything, NULL);
  check_close(ctx);
  return check_done();
}

/* elementwise_values_test.c: every kernel of every instruction set this machine has against the scalar column of
 * ops.def in long double, over the whole range of numbers; and that an element's value does not depend on its place. */
#include <float.h>
#include <stdint.h>
#include <stdlib.h>

#include "check_program.h"
#include "ops/kernels_table.h"
#define GRAD_SCALAR long double
#include "ops/grad_scalar.h"

/* --- the oracle: formulas written for double, in long double */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdouble-promotion"
#pragma GCC diagnostic ignored "-Wfloat-conversion"

#define ORACLE(name, scalar)                                                                                           \
  static long double name##_oracle(long double a, long double b, long double c) {                                      \
    (void)a, (void)b, (void)c;                                                                                         \
    return (long double)(scalar);                                                                                      \
  }
#define OP1(name, kind, slope, value, da, dom, scalar, ...) ORACLE(name, scalar)
#define OP2(name, kind, slope, value, da, db, doma, domb, scalar, ...) ORACLE(name, scalar)
#define OP3(name, kind, slope, value, da, db, dc, doma, domb, domc, scalar, ...) ORACLE(name, scalar)
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3

#pragma GCC diagnostic pop

typedef long double (*oracle_fn)(long double, long double, long double);
static const oracle_fn oracles[] = {
#define OP1(name, ...) name##_oracle,
#define OP2(name, ...) name##_oracle,
#define OP3(name, ...) name##_oracle,
#include "ops/ops.def"
#undef OP1
#undef OP2
#undef OP3
};

/* --- how near a kernel must come: units in the last place of max(|value|, scale); all others 1 */
static const struct {
  const grad_op *op;
  double f64, f32, scale;
} bounds[] = {
    {&grad__op_exp, 1.05, 1.05, 0},        {&grad__op_sigmoid, 2.4, 2.4, 0},
    {&grad__op_softplus, 2, 2, 0},         {&grad__op_logsigmoid, 2, 2, 0},
    {&grad__op_logaddexp, 2, 2, 1}, /* log(2) + a passes through 0 */
    {&grad__op_softsign, 1.5, 1.5, 0},     {&grad__op_rsqrt, 1.5, 1.5, 0},
    {&grad__op_pow, 1.25, 1.25, 0}, /* the cube has two roundings */
    {&grad__op_atan2, 1.6, 1.6, 0}, /* subnormal results without a fused multiply-add */
    {&grad__op_erfc, 1.7, 1.6, 0},         {&grad__op_erf, 1, 1.05, 0},
    {&grad__op_expm1, 1.2, 1, 0},          {&grad__op_hypot, 1, 1.1, 0},
    {&grad__op_lgamma, 1, 1, 1}, /* near its zeros the absolute error counts */
    {&grad__op_digamma, 10, 1, 1},         /* below 0 a difference of two larger terms */ {&grad__op_trigamma, 6, 1, 0},
    {&grad__op_polygamma, 30, 30, 1e-290}, /* n! times a power that may be subnormal */
};

typedef struct bound {
  double ulps, scale;
} bound;

static bound bound_of(const grad_op *op, grad_dtype dtype) {
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    if (bounds[i].op == op) return (bound){dtype == GRAD_F64 ? bounds[i].f64 : bounds[i].f32, bounds[i].scale};
  }
  return (bound){1.001, 0}; /* the reference has errors too */
}

/* --- numbers to try */

static uint64_t state = 88172645463325252u;

static uint64_t draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static double between(double lo, double hi) { return lo + (hi - lo) * ((double)(draw() >> 11) * 0x1p-53); }

static const double special[] = {
    0.0,   -0.0, 1,     -1,       0.5,       -0.5,  2,      -2,          3,        1.5,      2.5,
    -1.5,  1e-5, -1e-5, 1e-20,    1e20,      -1e20, 1e-310, (double)NAN, 4e-320,   709.5,    -709.5,
    710.3, 88.9, -745,  HUGE_VAL, -HUGE_VAL, 1e38,  -1e38,  1.7e308,     -1.7e308, 16777217, 9007199254740993.0};
enum { NSPECIAL = sizeof special / sizeof *special };

static double any_number(grad_dtype dtype) {
  if (dtype == GRAD_F32) {
    const uint32_t bits = (uint32_t)draw();
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
  }
  const uint64_t bits = draw();
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* A third each from the row's domain, from a wide but usual range, and from all bit patterns; some special. */
static double sample(const grad_row *row, int operand, grad_dtype dtype) {
  const double *domain = row->domain[operand];
  switch (draw() % 8) {
  case 0:
    return special[draw() % NSPECIAL];
  case 1:
  case 2:
    return any_number(dtype);
  case 3:
  case 4:
    return between(-30, 30);
  case 5:
    return (double)(int)between(-9, 9);
  default:
    return between(domain[0], domain[1]);
  }
}

enum { COUNT = 4096 };
typedef struct batch {
  double x[3][COUNT];
  void *in[3];
} batch;

static grad_dtype dtype_of(const grad_row *row, int operand, grad_dtype dtype) {
  return row->kind == GRAD_KIND_SELECT && operand == 0 ? GRAD_BOOL : dtype;
}

static double buffers[4][COUNT];

static void fill(const grad_op *op, grad_dtype dtype) {
  const grad_row *row = grad__op_row(op);
  for (int k = 0; k < op->nin; k++) {
    for (int i = 0; i < COUNT; i++) {
      const double x = sample(row, k, dtype);
      check_put(dtype_of(row, k, dtype), buffers[k], i, dtype != GRAD_I64 || fabs(x) < 0x1p62 ? x : 1e18);
    }
  }
}

static double ulps(double got, long double want, grad_dtype dtype, double scale) {
  const double rounded = dtype == GRAD_F64 ? (double)want : (double)(float)want;
  if (got == rounded || (isnan(got) && isnan(rounded))) return 0;
  if (!isfinite(got) || !isfinite(rounded)) return HUGE_VAL;
  int exponent;
  (void)frexp(fmax(fabs(rounded), scale), &exponent);
  const int digits = dtype == GRAD_F64 ? DBL_MANT_DIG : FLT_MANT_DIG;
  const int lowest = dtype == GRAD_F64 ? DBL_MIN_EXP - DBL_MANT_DIG : FLT_MIN_EXP - FLT_MANT_DIG;
  const int unit = exponent - digits < lowest ? lowest : exponent - digits;
  return (double)fabsl(ldexpl((long double)got - want, -unit));
}

/* --- the checks */

static void check_values(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  const grad_kernel kernel = grad__kernel(ctx, op, dtype);
  const bool quotient = op == &grad__op_floordiv; /* of the rounded quotient: a step away from a wider computation */
  const grad_dtype result = grad__result_dtype(op, dtype);
  const bound allowed = bound_of(op, dtype);
  double worst = 0;
  for (int round = 0; round < 8; round++) {
    fill(op, dtype);
    kernel(COUNT, buffers[3], (const void *const[]){buffers[0], buffers[1], buffers[2]});
    for (int i = 0; i < COUNT; i++) {
      double x[3] = {0};
      for (int k = 0; k < op->nin; k++) x[k] = check_number(dtype_of(grad__op_row(op), k, dtype), buffers[k], i);
      const long double want =
          quotient ? (long double)floor(dtype == GRAD_F64 ? x[0] / x[1] : (double)((float)x[0] / (float)x[1]))
                   : oracles[op->row]((long double)x[0], (long double)x[1], (long double)x[2]);
      const double scale = op == &grad__op_polygamma && x[0] == 0 ? 1 : allowed.scale; /* order 0 is digamma */
      const double off = ulps(check_number(result, buffers[3], i), want, dtype, scale);
      if (off <= worst) continue;
      worst = off;
      if (worst > allowed.ulps)
        fprintf(stderr, "  %s %s %s (%.17g, %.17g, %.17g): %.17g, expected %.17Lg: %.3g ulp\n", op->name,
                grad__dtype_name(dtype), grad__simd_name(ctx->simd), x[0], x[1], x[2],
                check_number(result, buffers[3], i), want, worst);
    }
  }
  check(worst <= allowed.ulps);
}

/* The same numbers one at a time, at every place of a vector, among neighbours from all over the range. */
static void check_place(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  enum { LONG = 256 };
  const grad_kernel kernel = grad__kernel(ctx, op, dtype);
  const size_t size = grad__dtype_size(grad__result_dtype(op, dtype));
  char alone[sizeof(double)], *const all = (char *)buffers[3];
  fill(op, dtype);
  kernel(LONG, all, (const void *const[]){buffers[0], buffers[1], buffers[2]});
  bool same = true;
  for (int i = 0; i < LONG && same; i++) {
    const void *in[3];
    for (int k = 0; k < op->nin; k++)
      in[k] = (const char *)buffers[k] + (size_t)i * grad__dtype_size(dtype_of(grad__op_row(op), k, dtype));
    kernel(1, alone, in);
    const double x = check_number(grad__result_dtype(op, dtype), alone, 0),
                 y = check_number(grad__result_dtype(op, dtype), all, i);
    same = memcmp(alone, all + (size_t)i * size, size) == 0 || (isnan(x) && isnan(y));
  }
  if (!check(same)) fprintf(stderr, "  %s %s %s\n", op->name, grad__dtype_name(dtype), grad__simd_name(ctx->simd));
}

/* Writes exactly n results, for every n around the lengths of vectors, and none for n = 0. */
static void check_lengths(const grad_ctx *ctx, const grad_op *op, grad_dtype dtype) {
  const grad_kernel kernel = grad__kernel(ctx, op, dtype);
  const size_t size = grad__dtype_size(grad__result_dtype(op, dtype));
  char *const out = (char *)buffers[3];
  bool exact = true;
  fill(op, dtype);
  for (int64_t n = 0; n < 70 && exact; n++) {
    memset(out, 0x5a, 128 * sizeof(double));
    kernel(n, out, (const void *const[]){buffers[0], buffers[1], buffers[2]});
    for (size_t i = (size_t)n * size; i < 128 * sizeof(double) && exact; i++) exact = out[i] == 0x5a;
  }
  if (!check(exact)) fprintf(stderr, "  %s %s %s\n", op->name, grad__dtype_name(dtype), grad__simd_name(ctx->simd));
}

/* Values that another system computed: tests/data/elementwise_reference.csv, by scripts/reference_values.py. They are
 * rounded, which is half a unit. Returns how many there were. */
static int check_reference(const grad_ctx *ctx) {
  char line[256];
  int rows = 0;
  FILE *file = fopen(GRAD_TEST_DATA "/elementwise_reference.csv", "r");
  if (!file || !fgets(line, sizeof line, file)) return 0;
  for (; fgets(line, sizeof line, file); rows++) {
    char *const first = strchr(line, ',') + 1, *const second = strchr(first, ',') + 1;
    const double a = strtod(first, NULL), b = strtod(second, NULL), want = strtod(strrchr(line, ',') + 1, NULL);
    double got;
    first[-1] = '\0';
    const grad_op *const op = grad__op_find(line);
    if (!check(op && grad__op_row(op))) continue;
    grad__kernel(ctx, op, GRAD_F64)(1, &got, (const void *const[]){&a, &b});
    const bound allowed = bound_of(op, GRAD_F64);
    if (!check(ulps(got, (long double)want, GRAD_F64, allowed.scale) <= allowed.ulps + 0.5))
      fprintf(stderr, "  %s(%.17g, %.17g) %s: %.17g, expected %.17g\n", line, a, b, grad__simd_name(ctx->simd), got,
              want);
  }
  fclose(file);
  return rows;
}

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(NULL, &ctx) != GRAD_OK) return 1;
  const grad_simd best = ctx->simd;
  for (int level = GRAD_SIMD_BASELINE; level <= (int)best; level++) {
    ctx->simd = (grad_simd)level;
    check(check_reference(ctx) > 600);
    for (int i = 0; i < grad__op_count(); i++) {
      const grad_op *op = grad__op_at(i);
      for (grad_dtype dtype = GRAD_BOOL; grad__op_row(op) && dtype <= GRAD_F64; dtype++) {
        if (!grad__kernel(ctx, op, dtype)) continue;
        if (grad__dtype_is_float(dtype)) check_values(ctx, op, dtype);
        check_place(ctx, op, dtype);
        check_lengths(ctx, op, dtype);
      }
    }
  }
  grad_ctx_free(ctx);
  return check_done();
}

/* formula_test.c: derivatives as a person would write them. */
#include "check_alloc.h"
#include "check_program.h"
#include "fn/formula.h"
#include "ops/structured.h"

typedef grad_id (*build_fn)(grad_program *p, const grad_id *x);
#define F(name, body)                                                                                                  \
  static grad_id name(grad_program *p, const grad_id *x) { return body; }
#define OP(name, a) grad__op1(p, &grad__op_##name, a)
#define NUMBER(value) grad__full(p, value, GRAD_F64, 0, NULL)
#define POW(a, n) grad__op2(p, &grad__op_pow, a, NUMBER(n))
#define ADD(a, b) grad__add(p, a, b)
#define SUB(a, b) grad__sub(p, a, b)
#define MUL(a, b) grad__mul(p, a, b)
#define DIV(a, b) grad__div(p, a, b)

/* The text of output `output` of f's gradient program; 0 is f itself. */
static grad_status formula(grad_ctx *ctx, build_fn build, int n, int ndim, const int64_t *shape, int output, bool latex,
                           grad_text *text) {
  static const char *const names[] = {"x", "y", "alpha"};
  grad_program *p = NULL, *g = NULL;
  grad_status status = grad__program_new(ctx, &p);
  if (status != GRAD_OK) return status;
  grad_id x[3];
  for (int i = 0; i < n; i++) x[i] = grad__program_input(p, GRAD_F64, ndim, shape);
  grad__program_output(p, build(p, x));
  status = p->status;
  if (!status) status = grad__ad_grad(p, (const bool[]){true, true, true}, &g);
  if (!status) status = grad__formula(g, output, names, NULL, (const double[]){0.1}, latex, text);
  grad__program_release(g);
  grad__program_release(p);
  return status;
}

static void writes(grad_ctx *ctx, build_fn build, int n, int output, bool latex, const char *want) {
  grad_text text = {.ctx = ctx};
  if (check(formula(ctx, build, n, 0, NULL, output, latex, &text) == GRAD_OK)) {
    if (!check(strcmp(text.data, want) == 0)) fprintf(stderr, "  wrote  %s\n  wanted %s\n", text.data, want);
  } else {
    fprintf(stderr, "  %s\n", grad_message(ctx));
  }
  grad__text_clear(&text);
}

F(sample, ADD(MUL(POW(x[0], 2), x[1]), OP(sin, MUL(x[0], x[1]))))
F(cube, POW(x[0], 3))
F(polynomial, ADD(SUB(MUL(NUMBER(3), POW(x[0], 4)), MUL(NUMBER(2), x[0])), NUMBER(7)))
F(quotient, DIV(x[0], x[1]))
F(gaussian, OP(exp, grad__neg(p, DIV(POW(x[0], 2), NUMBER(2)))))
F(root, OP(sqrt, x[0]))
F(logarithm, OP(log, x[0]))
F(tangent, OP(tanh, x[0]))
F(logistic, OP(sigmoid, x[0]))
F(magnitude, OP(abs, x[0]))
F(rectified, OP(relu, x[0]))
F(power, grad__op2(p, &grad__op_pow, x[0], x[1]))
F(rosenbrock, ADD(POW(SUB(NUMBER(1), x[0]), 2), MUL(NUMBER(100), POW(SUB(x[1], POW(x[0], 2)), 2))))
F(scaled, MUL(grad__scalar(p, GRAD_F64, 0), POW(x[0], 2)))
F(twice, ADD(x[0], x[0]))
F(cancels, SUB(MUL(x[0], x[1]), MUL(x[1], x[0])))
F(larger, grad__op2(p, &grad__op_maximum, x[0], x[1]))
F(constant, MUL(NUMBER(3), grad__lit(p, 1, x[0])))
F(third, DIV(POW(x[0], 2), NUMBER(3)))
F(radius, OP(sqrt, ADD(POW(x[0], 2), POW(x[1], 2))))
F(angle, MUL(x[2], OP(cos, x[0])))
F(one_minus, SUB(NUMBER(1), POW(x[0], 2)))
F(nested, MUL(NUMBER(2), ADD(x[0], MUL(x[1], ADD(x[0], NUMBER(1))))))

F(arcsine, OP(asin, x[0]))
F(distance, grad__op2(p, &grad__op_hypot, x[0], x[1]))
F(halves, ADD(MUL(NUMBER(0.5), ADD(x[0], x[1])), DIV(x[0], NUMBER(2))))
F(decimal, MUL(NUMBER(1.25), POW(x[0], 2)))
F(floored, grad__op2(p, &grad__op_mod, x[0], x[1]))
F(tiny, MUL(NUMBER(1e-20), x[0]))

static void test_texts(grad_ctx *ctx) {
  writes(ctx, arcsine, 1, 1, false, "1/sqrt(1 - x^2)");
  writes(ctx, distance, 2, 1, false, "x/sqrt(x^2 + y^2)");
  writes(ctx, halves, 2, 0, false, "x + y/2");
  writes(ctx, decimal, 1, 1, false, "2.5*x");
  writes(ctx, floored, 2, 2, false, "-(x // y)");
  writes(ctx, tiny, 1, 0, false, "1e-20*x");
  writes(ctx, tiny, 1, 0, true, "1 \\cdot 10^{-20} \\, x");
  writes(ctx, sample, 2, 0, false, "x^2*y + sin(x*y)");
  writes(ctx, sample, 2, 1, false, "2*x*y + y*cos(x*y)");
  writes(ctx, sample, 2, 2, false, "x^2 + x*cos(x*y)");
  writes(ctx, cube, 1, 1, false, "3*x^2");
  writes(ctx, polynomial, 1, 0, false, "3*x^4 - 2*x + 7");
  writes(ctx, polynomial, 1, 1, false, "12*x^3 - 2");
  writes(ctx, quotient, 2, 1, false, "1/y");
  writes(ctx, quotient, 2, 2, false, "-x/y^2");
  writes(ctx, gaussian, 1, 0, false, "exp(-x^2/2)");
  writes(ctx, gaussian, 1, 1, false, "-x*exp(-x^2/2)");
  writes(ctx, root, 1, 1, false, "1/(2*sqrt(x))");
  writes(ctx, logarithm, 1, 1, false, "1/x");
  writes(ctx, tangent, 1, 1, false, "1 - tanh(x)^2");
  writes(ctx, logistic, 1, 1, false, "sigmoid(x)*(1 - sigmoid(x))");
  writes(ctx, magnitude, 1, 1, false, "sign(x)");
  writes(ctx, rectified, 1, 1, false, "where(x > 0, 1, 0)");
  writes(ctx, power, 2, 1, false, "y*x^(y - 1)");
  writes(ctx, power, 2, 2, false, "x^y*log(x)");
  writes(ctx, rosenbrock, 2, 0, false, "100*(y - x^2)^2 + (1 - x)^2");
  writes(ctx, rosenbrock, 2, 1, false, "-400*x*(y - x^2) - 2*(1 - x)");
  writes(ctx, rosenbrock, 2, 2, false, "200*(y - x^2)");
  writes(ctx, scaled, 1, 1, false, "0.2*x");
  writes(ctx, twice, 1, 0, false, "2*x");
  writes(ctx, twice, 1, 1, false, "2");
  writes(ctx, cancels, 2, 0, false, "0");
  writes(ctx, larger, 2, 1, false, "where(x > y, 1, 0)");
  writes(ctx, constant, 1, 1, false, "0");
  writes(ctx, third, 1, 1, false, "2*x/3");
  writes(ctx, radius, 2, 1, false, "x/sqrt(x^2 + y^2)");
  writes(ctx, angle, 3, 1, false, "-alpha*sin(x)");
  writes(ctx, one_minus, 1, 0, false, "1 - x^2");
  writes(ctx, nested, 2, 0, false, "2*(y*(x + 1) + x)");
}

static void test_latex(grad_ctx *ctx) {
  writes(ctx, sample, 2, 1, true, "2 \\, x \\, y + y \\, \\cos\\left(x \\, y\\right)");
  writes(ctx, quotient, 2, 2, true, "-\\frac{x}{{y}^{2}}");
  writes(ctx, root, 1, 1, true, "\\frac{1}{2 \\, \\sqrt{x}}");
  writes(ctx, angle, 3, 1, true, "-\\alpha \\, \\sin\\left(x\\right)");
  writes(ctx, radius, 2, 0, true, "\\sqrt{{x}^{2} + {y}^{2}}");
  writes(ctx, one_minus, 1, 0, true, "1 - {x}^{2}");
}

F(vector_sum, grad__sum(p, MUL(x[0], grad__flip(p, x[0], 1)), 1, false))
F(vector_prod, grad__prod(p, x[0], 1, false))
F(quadratic, grad__vecdot(p, x[0], grad__matmul_any(p, grad__full(p, 2, GRAD_F64, 2, (const int64_t[]){3, 3}), x[0])))
F(sorted, grad__slice_axis(p, grad__sort(p, x[0], 0, false, NULL), 0, 0, 1, 1))

F(logsumexp, grad__logsumexp(p, x[0], 1, false))
F(norm, grad__norm(p, x[0], 1, false, 2))
F(norm_of_pair, grad__norm(p, grad__slice_axis(p, x[0], 0, 0, 2, 1), 1, false, 2))
F(constant_part, grad__vecdot(p, x[0], grad__stop_gradient(p, ADD(x[0], grad__lit(p, 1, x[0])))))

static void test_arrays(grad_ctx *ctx) {
  static const struct {
    build_fn build;
    int output;
    const char *want;
  } cases[] = {
      {logsumexp, 0, "log(exp(x[1]) + exp(x[2]) + exp(x[3]))"},
      {logsumexp, 1,
       "[exp(x[1])/(exp(x[1]) + exp(x[2]) + exp(x[3])), exp(x[2])/(exp(x[1]) + exp(x[2]) + exp(x[3])), "
       "exp(x[3])/(exp(x[1]) + exp(x[2]) + exp(x[3]))]"},
      {norm, 0, "sqrt(x[1]^2 + x[2]^2 + x[3]^2)"},
      {norm_of_pair, 1, "[x[1]/sqrt(x[1]^2 + x[2]^2), x[2]/sqrt(x[1]^2 + x[2]^2), 0]"},
      {constant_part, 1, "[x[1] + 1, x[2] + 1, x[3] + 1]"},
      {vector_sum, 0, "2*x[1]*x[3] + x[2]^2"},
      {vector_sum, 1, "[2*x[3], 2*x[2], 2*x[1]]"},
      {vector_prod, 1, "[x[2]*x[3], x[1]*x[3], x[1]*x[2]]"},
      {quadratic, 1, "[4*x[1] + 4*x[2] + 4*x[3], 4*x[1] + 4*x[2] + 4*x[3], 4*x[1] + 4*x[2] + 4*x[3]]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    grad_text text = {.ctx = ctx};
    check(formula(ctx, cases[i].build, 1, 1, (const int64_t[]){3}, cases[i].output, false, &text) == GRAD_OK);
    if (!check(text.data && strcmp(text.data, cases[i].want) == 0))
      fprintf(stderr, "  wrote  %s\n  wanted %s\n", text.data ? text.data : grad_message(ctx), cases[i].want);
    grad__text_clear(&text);
  }
  grad_text text = {.ctx = ctx};
  check(formula(ctx, vector_sum, 1, 1, (const int64_t[]){5000}, 1, false, &text) == GRAD_EUNSUPPORTED);
  check(strstr(grad_message(ctx), "too large") != NULL);
  grad_program *p = NULL;
  if (check(grad__program_new(ctx, &p) == GRAD_OK)) {
    const grad_id x = grad__program_input(p, GRAD_F64, 1, (const int64_t[]){3});
    grad__program_output(p, sorted(p, &x));
    check(grad__formula(p, 0, NULL, NULL, NULL, false, &text) == GRAD_EUNSUPPORTED);
    check(strstr(grad_message(ctx), "sort has no written form") != NULL);
  }
  grad__program_release(p);
  grad__text_clear(&text);
}

static grad_status write_rosenbrock(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_text text = {.ctx = ctx};
  const grad_status status = formula(ctx, rosenbrock, 2, 0, NULL, 1, false, &text);
  grad__text_clear(&text);
  return status;
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_texts(ctx);
  test_latex(ctx);
  test_arrays(ctx);
  check_close(ctx);
  check_failing_alloc("formula", write_rosenbrock, NULL);
  return check_done();
}

/* core_only.c: the core in a C program, without Lua: builds f(x) = sum(x sin x), derives it, compiles value and gradient
 * into a plan, and runs it on arrays of the host. */
#include <math.h>
#include <stdio.h>

#include "grad.h"

enum { N = 4 };

static grad_status build(grad_ctx *ctx, grad_function **out) {
  grad_program *f, *gradient = NULL;
  grad_status status = grad_program_new(ctx, &f);
  if (status != GRAD_OK) return status;
  const grad_id x = grad_input(f, GRAD_F64, 1, (const int64_t[]){N});
  const grad_id operands[] = {x, grad_apply(f, "sin", 1, &x)};
  grad_output(f, grad_sum(f, grad_apply(f, "mul", 2, operands), 1, 0));
  status = grad_gradient(f, NULL, &gradient); /* outputs: the value, then the gradient */
  if (status == GRAD_OK) status = grad_compile(gradient, out);
  grad_program_free(gradient);
  grad_program_free(f);
  return status;
}

int main(void) {
  grad_ctx *ctx;
  if (grad_ctx_new(&(grad_config){.byte_limit = 1 << 20}, &ctx) != GRAD_OK) return 1;
  grad_function *function = NULL;
  double x[N] = {0, 0.5, 1, 2}, value = 0, gradient[N] = {0}, worst = 0;
  grad_status status = build(ctx, &function);
  if (status == GRAD_OK) status = grad_run_raw(function, (const void *[]){x}, (void *[]){&value, gradient});
  if (status != GRAD_OK) fprintf(stderr, "%s: %s\n", grad_status_name(status), grad_message(ctx));
  for (int i = 0; i < N; i++) worst = fmax(worst, fabs(gradient[i] - (sin(x[i]) + x[i] * cos(x[i]))));
  printf("value %.6f, largest error of the gradient %.1e\n", value, worst);
  grad_function_free(function);
  grad_ctx_free(ctx);
  return status != GRAD_OK || worst > 1e-14;
}

/* host.c: a C program whose model is written in Lua: it limits memory and time, lends its arrays, has the script fit the
 * model, and takes the script's loss as a compiled function with its gradient.
 *   host model.lua */
#include <math.h>
#include <stdio.h>

#include "gradlua.h"

enum { N = 200 };

/* An array of the host's, n entries, or a number when n is 0; not copied. */
static grad_status lend(gradlua *g, double *data, int64_t n, grad_array **out) {
  return grad_array_borrow(gradlua_core(g), data, GRAD_F64, n > 0, &n, NULL, 0, NULL, NULL, out);
}

/* The script's loss as a function of the core: no Lua runs when it is called. */
static grad_status gradient_at(gradlua *g, grad_array *const *like, double *p, double *value, double *gradient) {
  grad_function *loss = NULL;
  const grad_array *in[] = {like[0], like[1], like[2]};
  const uint8_t wrt[] = {1, 0, 0};
  grad_status status = gradlua_compile(g, "model.misfit", GRADLUA_GRADIENT, 3, in, wrt, &loss);
  for (int step = 0; step < 1000 && status == GRAD_OK; step++)
    status = grad_run_raw(loss, (const void *[]){p, grad_array_data(like[1]), grad_array_data(like[2])},
                          (void *[]){value, gradient});
  grad_function_free(loss);
  return status;
}

static grad_status work(gradlua *g, const char *path, double *p, double *value, double *gradient) {
  static double times[N], values[N];
  for (int i = 0; i < N; i++) {
    times[i] = 0.05 * i;
    values[i] = 2.5 * exp(-0.8 * times[i]) + 0.3 + 0.01 * sin(37.0 * i);
  }
  grad_array *parameters = NULL, *data[2] = {NULL, NULL}, *fitted[3] = {NULL, NULL, NULL};
  grad_status status = gradlua_run_file(g, path, "model");
  if (status == GRAD_OK) status = lend(g, times, N, &data[0]);
  if (status == GRAD_OK) status = lend(g, values, N, &data[1]);
  if (status == GRAD_OK) status = lend(g, p, 3, &parameters);
  for (int i = 0; i < 3 && status == GRAD_OK; i++) status = lend(g, p + i, 0, &fitted[i]);
  const grad_array *in[] = {data[0], data[1]};
  if (status == GRAD_OK) status = gradlua_call(g, "model.calibrate", 2, in, 3, fitted);
  grad_array *const like[] = {parameters, data[0], data[1]};
  if (status == GRAD_OK) status = gradient_at(g, like, p, value, gradient);
  for (int i = 0; i < 3; i++) grad_array_free(fitted[i]);
  grad_array_free(parameters);
  grad_array_free(data[0]);
  grad_array_free(data[1]);
  return status;
}

int main(int argc, char **argv) {
  const gradlua_config config = {
      .size = sizeof config, .byte_limit = 16 << 20, .max_seconds = 2, .libraries = GRADLUA_LIBRARIES_SAFE};
  gradlua *g;
  if (gradlua_new(&config, &g) != GRAD_OK) return 1;
  double p[3] = {0}, value = 0, gradient[3] = {0};
  const grad_status status = work(g, argc > 1 ? argv[1] : "model.lua", p, &value, gradient);
  if (status != GRAD_OK) fprintf(stderr, "%s: %s\n", grad_status_name(status), gradlua_message(g));
  const double slope = fmax(fmax(fabs(gradient[0]), fabs(gradient[1])), fabs(gradient[2]));
  printf("scale %.3f, rate %.3f, offset %.3f; misfit %.2e with gradient %.1e; %zu KiB in use\n", p[0], p[1], p[2], value,
         slope, gradlua_bytes(g) >> 10);
  gradlua_free(g);
  return status != GRAD_OK || fabs(p[1] - 0.8) > 0.02 || slope > 1e-5;
}

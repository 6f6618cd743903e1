/* conv_test.c: convolution and pooling against PyTorch (tests/data/conv_reference.csv, made by
 * scripts/conv_reference.py), and what they refuse. Derivative rules and batching are tested in structured_test.c. */
#include <stdlib.h>

#include "check_program.h"

enum { FIELDS = 10, LINE = 1 << 17, MOST = 4096 };

static int numbers(const char *text, double *out) {
  int n = 0;
  char *end;
  for (double v = strtod(text, &end); end != text && n < MOST; v = strtod(text = end, &end)) out[n++] = v;
  return n;
}

static int extents(const char *text, int64_t *out) {
  double values[MOST];
  const int n = numbers(text, values);
  for (int i = 0; i < n; i++) out[i] = (int64_t)values[i];
  return n;
}

static grad_id build(grad_program *p, char **field, grad_id x, grad_id w) {
  int64_t kernel[4] = {0}, stride[2], padding[2], dilation[2], groups;
  extents(field[2], kernel);
  extents(field[3], stride);
  extents(field[4], padding);
  extents(field[5], dilation);
  extents(field[6], &groups);
  const grad_conv c = {{stride[0], stride[1]}, {padding[0], padding[1]}, {dilation[0], dilation[1]}, groups};
  const grad_pool2d pool = {{kernel[0], kernel[1]}, {stride[0], stride[1]}, {padding[0], padding[1]}};
  if (strcmp(field[0], "conv1d") == 0) return grad__conv1d(p, x, w, &c);
  if (strcmp(field[0], "conv2d") == 0) return grad__conv2d(p, x, w, &c);
  return field[0][0] == 'm' ? grad__max_pool2d(p, x, &pool) : grad__avg_pool2d(p, x, &pool);
}

static void expect(const char *what, const grad_array *got, const char *text, double tolerance) {
  double want[MOST];
  const int n = numbers(text, want);
  bool good = check(n > 0 && grad__array_numel(got) == n);
  for (int i = 0; good && i < n; i++) good = check_near(check_get(got, i), want[i], tolerance);
  if (!good) fprintf(stderr, "  %s\n", what);
}

static void wave(const grad_array *a, double (*f)(double), double slope, double start) {
  for (int64_t i = 0; i < grad__array_numel(a); i++) check_set(a, i, f(slope * (double)i + start));
}

/* y, and the cotangents of x and w, in one dtype. */
static void compare(grad_ctx *ctx, char **field, grad_dtype dtype, double tolerance) {
  grad_program *p = check_new(ctx), *v = NULL;
  const bool pool = strstr(field[0], "pool") != NULL;
  int64_t shape[4];
  int ndim = extents(field[1], shape);
  const grad_id x = grad__program_input(p, dtype, ndim, shape);
  ndim = extents(field[2], shape);
  const grad_id w = pool ? GRAD_NONE : grad__program_input(p, dtype, ndim, shape);
  grad__program_output(p, build(p, field, x, w));
  check_arrays in = {0}, out = {0};
  if (check(grad__ad_vjp(p, (const bool[]){true, true}, 1, &v) == GRAD_OK)) {
    for (int32_t i = 0; i < v->ninputs; i++) {
      const grad_type *t = grad__type(v, v->inputs[i]);
      grad_array *a = check_push(ctx, &in, dtype, t->ndim, t->shape, NULL);
      if (i == 0)
        wave(a, cos, 0.7, 0.1);
      else if (i == 1 && !pool)
        wave(a, sin, 0.3, 0.2);
      else
        wave(a, cos, 1.3, 0);
    }
    if (check(check_run(v, &in, NULL, &out) == GRAD_OK))
      for (int i = 0; i < out.n; i++) expect(field[0], &out.a[i], field[7 + i], tolerance);
  }
  check_release(&in);
  check_release(&out);
  grad__program_release(v);
  grad__program_release(p);
}

static int split(char *line, char **field) {
  int n = 0;
  line[strcspn(line, "\n")] = '\0';
  for (char *at = line; at && n < FIELDS;) {
    field[n++] = at;
    at = strchr(at, ';');
    if (at) *at++ = '\0';
  }
  return n;
}

static void test_reference(grad_ctx *ctx) {
  FILE *file = fopen(GRAD_TEST_DATA "/conv_reference.csv", "r");
  char *line = malloc(LINE), *field[FIELDS];
  int rows = 0;
  if (check(file && line))
    while (fgets(line, LINE, file)) {
      if (!check(split(line, field) == FIELDS)) break;
      rows++;
      compare(ctx, field, GRAD_F64, 1e-13);
      compare(ctx, field, GRAD_F32, 1e-5);
    }
  check(rows >= 12);
  free(line);
  if (file) fclose(file);
}

/* --- what is refused, and how it is said */

static void refused(grad_ctx *ctx, const int64_t *x, const int64_t *w, grad_conv c, const char *word) {
  grad_program *p = check_new(ctx);
  const grad_id image = grad__program_input(p, GRAD_F64, 4, x), weight = grad__program_input(p, GRAD_F64, 4, w);
  check(grad__conv2d(p, image, weight, &c) == GRAD_NONE && p->status != GRAD_OK);
  if (!check(strstr(grad_message(ctx), word) != NULL))
    fprintf(stderr, "  \"%s\" does not say \"%s\"\n", grad_message(ctx), word);
  grad__program_release(p);
}

static void test_refusals(grad_ctx *ctx) {
  const int64_t x[] = {1, 3, 5, 5}, fits[] = {2, 3, 3, 3}, wide[] = {2, 3, 7, 7}, channels[] = {2, 2, 3, 3};
  const grad_conv plain = {{1, 1}, {0, 0}, {1, 1}, 1};
  refused(ctx, x, channels, plain, "3 channels");
  refused(ctx, x, wide, plain, "does not fit into 5 elements");
  refused(ctx, x, fits, (grad_conv){{0, 1}, {0, 0}, {1, 1}, 1}, "stride 0");
  refused(ctx, x, fits, (grad_conv){{1, 1}, {-1, 0}, {1, 1}, 1}, "padding -1");
  refused(ctx, x, fits, (grad_conv){{1, 1}, {0, 0}, {1, 1}, 0}, "groups");
  refused(ctx, x, fits, (grad_conv){{1, 1}, {0, 0}, {INT64_MAX, 1}, 1}, "too large");
  grad_program *p = check_new(ctx);
  const grad_id image = grad__program_input(p, GRAD_F64, 4, x);
  const grad_pool2d pool = {{2, 2}, {2, 2}, {2, 0}};
  check(grad__max_pool2d(p, image, &pool) == GRAD_NONE && strstr(grad_message(ctx), "at most half") != NULL);
  grad__program_release(p);
}

/* Operands that fit do not make a failed program good again. */
static void test_stays_failed(grad_ctx *ctx) {
  const int64_t x[] = {1, 2, 5}, fits[] = {3, 2, 2}, channels[] = {3, 3, 2};
  const grad_conv plain = {{1, 1}, {0, 0}, {1, 1}, 1};
  grad_program *p = check_new(ctx);
  const grad_id signal = grad__program_input(p, GRAD_F64, 3, x), weight = grad__program_input(p, GRAD_F64, 3, fits);
  const grad_id other = grad__program_input(p, GRAD_F64, 3, channels);
  check(grad__conv1d(p, signal, other, &plain) == GRAD_NONE && p->status == GRAD_ESHAPE);
  check(grad__conv1d(p, signal, weight, &plain) == GRAD_NONE && p->status == GRAD_ESHAPE);
  grad__program_release(p);
}

/* Padding never wins, however small the values; ties share. */
static void test_max_pool(grad_ctx *ctx) {
  grad_program *p = check_new(ctx), *g = NULL;
  const grad_id x = grad__program_input(p, GRAD_F64, 2, (const int64_t[]){2, 2});
  const grad_id y = grad__max_pool2d(p, x, &(grad_pool2d){{2, 2}, {2, 2}, {1, 1}});
  const grad_id z = grad__max_pool2d(p, x, &(grad_pool2d){{2, 2}, {2, 2}, {0, 0}});
  grad__program_output(p, grad__sum(p, z, 3, false));
  grad__program_output(p, y);
  check_arrays in = {0}, out = {0};
  check_push(ctx, &in, GRAD_F64, 2, (const int64_t[]){2, 2}, (const double[]){-1e300, -5, -5, -5});
  check(grad__ad_grad(p, (const bool[]){true}, &g) == GRAD_OK);
  if (check(check_run(g, &in, NULL, &out) == GRAD_OK)) {
    check(check_get(&out.a[0], 0) == -5 && check_get(&out.a[1], 0) == -1e300 && check_get(&out.a[1], 3) == -5);
    check(check_get(&out.a[2], 0) == 0);
    for (int i = 1; i < 4; i++) check_near(check_get(&out.a[2], i), 1. / 3, 1e-15);
  }
  check_release(&in);
  check_release(&out);
  grad__program_release(g);
  grad__program_release(p);
}

int main(void) {
  grad_ctx *ctx = check_open();
  test_reference(ctx);
  test_refusals(ctx);
  test_stays_failed(ctx);
  test_max_pool(ctx);
  check_close(ctx);
  return check_done();
}

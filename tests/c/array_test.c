/* array_test.c: dtypes, shapes, views, walks, copies between every pair of layouts and dtypes. */
#include "check_alloc.h"

#include "array/array.h"

static grad_ctx *ctx;

static grad_array iota(grad_dtype dtype, int ndim, const int64_t *shape) {
  grad_array a, flat;
  check(grad__array_new(ctx, dtype, ndim, shape, &a) == GRAD_OK);
  check(grad__view_reshape(&a, 1, (int64_t[]){grad__array_numel(&a)}, &flat));
  for (int64_t i = 0; i < flat.shape[0]; i++) {
    grad_array one;
    grad__view_slice(&flat, 0, i, 1, 1, &one);
    grad__array_fill(&one, (double)i);
  }
  return a;
}

/* Every element of both, by index. */
static bool same_values(const grad_array *a, const grad_array *b) {
  int64_t index[GRAD_MAX_AXES] = {0};
  for (int64_t i = 0, n = grad__array_numel(a); i < n; i++) {
    const double x = grad__array_get(a, index), y = grad__array_get(b, index);
    if (x != y) return false;
    for (int axis = a->ndim - 1; axis >= 0 && ++index[axis] == a->shape[axis]; axis--) index[axis] = 0;
  }
  return grad__shape_equal(a->ndim, a->shape, b->ndim, b->shape);
}

static void test_dtypes(void) {
  grad_dtype dtype;
  for (int i = GRAD_BOOL; i <= GRAD_F64; i++) {
    check(grad__dtype_from_name(grad__dtype_name((grad_dtype)i), &dtype) && dtype == (grad_dtype)i);
  }
  check(!grad__dtype_from_name("f16", &dtype));
  check(grad__dtype_promote(GRAD_I64, GRAD_F32) == GRAD_F32 && grad__dtype_promote(GRAD_BOOL, GRAD_I64) == GRAD_I64);
}

static void test_shapes(void) {
  int64_t n = -1, out[GRAD_MAX_AXES];
  int ndim;
  check(grad__shape_numel(0, NULL, &n) && n == 1);
  check(grad__shape_numel(3, (int64_t[]){2, 0, 3}, &n) && n == 0);
  check(!grad__shape_numel(2, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40}, &n));
  check(!grad__shape_numel(1, (int64_t[]){INT64_MAX / 4}, &n));
  check(!grad__shape_numel(1, (int64_t[]){-1}, &n));
  check(grad__shape_broadcast(2, (int64_t[]){3, 1}, 3, (int64_t[]){5, 1, 4}, &ndim, out) && ndim == 3);
  check(out[0] == 5 && out[1] == 3 && out[2] == 4);
  check(grad__shape_broadcast(1, (int64_t[]){1}, 1, (int64_t[]){0}, &ndim, out) && out[0] == 0);
  check(!grad__shape_broadcast(1, (int64_t[]){2}, 1, (int64_t[]){3}, &ndim, out));
  check(grad__shape_broadcast(0, NULL, 0, NULL, &ndim, out) && ndim == 0);
  check_text(grad__shape_text(2, (int64_t[]){2, 3}).chars, "2 x 3");
  check_text(grad__shape_text(0, NULL).chars, "0-d");
  const int64_t huge[GRAD_MAX_AXES] = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
                                       INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
  check(strlen(grad__shape_text(GRAD_MAX_AXES, huge).chars) == GRAD_MAX_AXES * 20 + (GRAD_MAX_AXES - 1) * 3);
}

static void test_views(void) {
  grad_array a = iota(GRAD_F64, 3, (int64_t[]){2, 3, 4}), v, w;
  check(grad__array_is_contiguous(&a));
  grad__view_permute(&a, (int[]){2, 0, 1}, &v);
  check(v.shape[0] == 4 && !grad__array_is_contiguous(&v));
  check_near(grad__array_get(&v, (int64_t[]){3, 1, 2}), 23, 0);
  check(!grad__view_reshape(&v, 1, (int64_t[]){24}, &w));
  check(grad__view_reshape(&v, 2, (int64_t[]){4, 6}, &w)); /* the last two merge */
  check_near(grad__array_get(&w, (int64_t[]){1, 5}), 21, 0);
  check(grad__view_reshape(&v, 4, (int64_t[]){2, 2, 1, 6}, &w));
  check_near(grad__array_get(&w, (int64_t[]){1, 1, 0, 4}), 19, 0);
  grad__view_slice(&a, 2, 3, 4, -1, &v);
  check_near(grad__array_get(&v, (int64_t[]){1, 2, 0}), 23, 0);
  grad__view_slice(&a, 1, 0, 2, 2, &v);
  check_near(grad__array_get(&v, (int64_t[]){0, 1, 1}), 9, 0);
  grad__view_drop(&a, 1, 2, &v);
  check(v.ndim == 2);
  check_near(grad__array_get(&v, (int64_t[]){1, 3}), 23, 0);
  check(grad__view_broadcast(&v, 3, (int64_t[]){5, 2, 4}, &w) && w.strides[0] == 0);
  check(!grad__view_broadcast(&v, 2, (int64_t[]){3, 4}, &w) && !grad__view_broadcast(&v, 1, (int64_t[]){4}, &w));
  grad__view_slice(&a, 0, 0, 1, 1, &v);
  grad__view_drop(&v, 0, 0, &v);
  check(grad__view_broadcast(&v, 3, (int64_t[]){0, 3, 4}, &w) && grad__array_numel(&w) == 0);
  check(grad__array_is_contiguous(&w));
  grad__array_release(&a);
}

static void test_walk(void) {
  grad_array a = iota(GRAD_F64, 3, (int64_t[]){3, 4, 5}), b = iota(GRAD_F32, 3, (int64_t[]){3, 4, 5}), t;
  grad_walk w;
  grad__walk_start(&w, 2, (const grad_array *[]){&a, &b});
  check(!w.done && w.inner == 60 && w.ndim == 0);
  grad__walk_next(&w);
  check(w.done);
  grad__view_slice(&a, 1, 1, 2, 1, &t);
  grad__walk_start(&w, 1, (const grad_array *[]){&t});
  check(w.inner == 10 && w.ndim == 1);
  double sum = 0;
  for (; !w.done; grad__walk_next(&w)) {
    for (int64_t i = 0; i < w.inner; i++) sum += ((const double *)(const void *)w.at[0])[i * w.step[0]];
  }
  check_near(sum, 5 * (5 + 10 + 25 + 30 + 45 + 50) + 6 * 10, 0);
  grad__view_slice(&a, 0, 0, 0, 1, &t);
  grad__walk_start(&w, 1, (const grad_array *[]){&t});
  check(w.done);
  grad_array zero;
  double x = 4;
  grad__array_wrap(&zero, &x, GRAD_F64, 0, NULL);
  grad__walk_start(&w, 1, (const grad_array *[]){&zero});
  check(!w.done && w.inner == 1);
  grad__array_release(&a);
  grad__array_release(&b);
}

/* Copies between permuted, reversed and sliced arrays of every two dtypes. */
static void test_copy_layouts(grad_dtype to_dtype, grad_dtype from_dtype) {
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const int64_t shape[] = {3, 40, 37};
  grad_array from = iota(from_dtype, 3, shape);
  for (int o = 0; o < 6; o++) {
    grad_array source, target, target_view, want;
    grad__view_permute(&from, orders[o], &source);
    if (o % 2) grad__view_slice(&source, 1, source.shape[1] - 1, source.shape[1], -1, &source);
    grad__view_slice(&source, 2, 1, source.shape[2] / 2, 2, &source);
    const int64_t turned[] = {source.shape[2], source.shape[0], source.shape[1]};
    check(grad__array_new(ctx, to_dtype, 3, turned, &target) == GRAD_OK);
    grad__view_permute(&target, (int[]){1, 2, 0}, &target_view);
    grad__array_copy(&target_view, &source);
    check(grad__array_new(ctx, to_dtype, 3, source.shape, &want) == GRAD_OK);
    grad__array_copy(&want, &source);
    check(same_values(&target_view, &want));
    if (to_dtype != GRAD_BOOL) check(same_values(&want, &source));
    grad__array_release(&target);
    grad__array_release(&want);
  }
  grad__array_release(&from);
}

static void test_conversion(void) {
  double values[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, -0.0, 2.9, -2.9, 1e300};
  int64_t integers[8];
  uint8_t flags[8];
  float floats[8];
  grad_array d, i, b, f;
  grad__array_wrap(&d, values, GRAD_F64, 1, (int64_t[]){8});
  grad__array_wrap(&i, integers, GRAD_I64, 1, (int64_t[]){8});
  grad__array_wrap(&b, flags, GRAD_BOOL, 1, (int64_t[]){8});
  grad__array_wrap(&f, floats, GRAD_F32, 1, (int64_t[]){8});
  grad__array_copy(&i, &d);
  grad__array_copy(&b, &d);
  grad__array_copy(&f, &d);
  check(integers[0] == 0 && integers[1] == INT64_MAX && integers[2] == INT64_MIN && integers[5] == 2);
  check(integers[6] == -2 && integers[7] == INT64_MAX);
  check(flags[0] == 1 && flags[1] == 1 && flags[3] == 0 && flags[4] == 0 && flags[5] == 1);
  check(isnan(floats[0]) && isinf(floats[7]) && signbit(floats[4]));
  grad__array_fill(&d, -0.0);
  check(signbit(values[0]) && values[7] == 0);
  grad__array_copy(&d, &d);
  double number = 0;
  grad_array zero_d;
  grad__array_wrap(&zero_d, &number, GRAD_F64, 0, NULL);
  grad__array_fill(&zero_d, 3.5);
  check(number == 3.5);
}

static void count_release(void *ud, void *data) {
  (void)data;
  ++*(int *)ud;
}

static void test_storage(void) {
  grad_array a, view;
  check(grad__array_new(ctx, GRAD_F32, 2, (int64_t[]){0, 5}, &a) == GRAD_OK);
  grad__array_fill(&a, 1);
  grad__array_release(&a);
  check(grad__array_new(ctx, GRAD_F64, 2, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40}, &a) == GRAD_ESHAPE);
  check(grad__array_new(ctx, GRAD_F64, 9, (int64_t[9]){1, 1, 1, 1, 1, 1, 1, 1, 1}, &a) == GRAD_ESHAPE);
  check(grad__array_new(ctx, GRAD_F64, 1, (int64_t[]){100}, &a) == GRAD_OK && (uintptr_t)a.data % 64 == 0);
  view = a;
  grad__array_retain(&view);
  grad__array_release(&a);
  check(a.data == NULL && ctx->used > 0);
  grad__array_release(&view);
  check(ctx->used == 0);
  int released = 0;
  double memory[3] = {1, 2, 3};
  check(grad__array_borrow(ctx, memory, GRAD_F64, 1, (int64_t[]){3}, count_release, &released, &a) == GRAD_OK);
  check_near(grad__array_get(&a, (int64_t[]){2}), 3, 0);
  grad__array_release(&a);
  check(released == 1 && ctx->used == 0);
}

static grad_status array_task(grad_ctx *c, void *ud) {
  (void)ud;
  int released = 0;
  grad_array a = {0}, b = {0};
  grad_status status = grad__array_new(c, GRAD_F64, 2, (int64_t[]){3, 4}, &a);
  if (!status) status = grad__array_borrow(c, a.data, GRAD_F64, 1, (int64_t[]){12}, count_release, &released, &b);
  grad__array_release(&b);
  grad__array_release(&a);
  return status;
}

int main(void) {
  ctx = check_open();
  test_dtypes();
  test_shapes();
  test_views();
  test_walk();
  for (int to = GRAD_BOOL; to <= GRAD_F64; to++) {
    for (int from = GRAD_BOOL; from <= GRAD_F64; from++) test_copy_layouts((grad_dtype)to, (grad_dtype)from);
  }
  test_conversion();
  test_storage();
  check_close(ctx);
  check_failing_alloc("array", array_task, NULL);
  return check_done();
}

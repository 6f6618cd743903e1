/* compose_reduce.c: statistics and norms: reductions made of several ops. See compose.h. */
#include <math.h>

#include "ops/compose.h"
#include "ops/structured.h"

/* Number of elements that the axes of the mask hold. */
static double count_of(const grad_program *p, grad_id x, uint32_t axes) {
  const grad_type *t = grad__type(p, x);
  double n = 1;
  for (int i = 0; i < t->ndim; i++)
    if (axes >> i & 1) n *= (double)t->shape[i];
  return n;
}

/* op with a number on the right */
static grad_id with_number(grad_program *p, const grad_op *op, grad_id a, double number) {
  return grad__op2(p, op, a, grad__lit(p, number, a));
}

/* Drops the axes of the mask, which have extent 1. */
static grad_id drop_axes(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  return keepdim ? x : grad__reduce(p, &grad__op_sum, x, axes, false);
}

grad_id grad__min(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_min, x, axes, keepdim);
}

grad_id grad__prod(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_prod, x, axes, keepdim);
}

grad_id grad__any(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_any, x, axes, keepdim);
}

grad_id grad__all(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  return grad__reduce(p, &grad__op_all, x, axes, keepdim);
}

/* --- moments */

grad_id grad__mean(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE) return x;
  const double n = count_of(p, x, axes);
  return with_number(p, &grad__op_div, grad__sum(p, x, axes, keepdim), n);
}

grad_id grad__var(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double correction) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE) return x;
  const double n = count_of(p, x, axes);
  const grad_id deviation = grad__sub(p, x, grad__mean(p, x, axes, true));
  const grad_id sum = grad__sum(p, grad__op1(p, &grad__op_square, deviation), axes, keepdim);
  return with_number(p, &grad__op_div, sum, fmax(n - correction, 0));
}

grad_id grad__std(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double correction) {
  return grad__op1(p, &grad__op_sqrt, grad__var(p, x, axes, keepdim, correction));
}

/* --- norm */

/* Sum of magnitudes to the power, and its root, on values scaled to at most 1: nothing overflows, and what underflows
 * does not matter. The scale counts as a constant: it cancels, so its derivative does too. */
static grad_id scaled_norm(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double order) {
  const grad_id size = grad__op1(p, &grad__op_abs, x);
  const grad_id largest = grad__stop_gradient(p, grad__max(p, size, axes, true));
  const grad_id one = grad__lit(p, 1, largest);
  const grad_id unfit = grad__op2(p, &grad__op_or, grad__op2(p, &grad__op_eq, largest, grad__lit(p, 0, largest)),
                                  grad__op1(p, &grad__op_isinf, largest));
  const grad_id scale = grad__where(p, unfit, one, largest);
  grad_id root;
  if (order == 2) {
    const grad_id squares = grad__op1(p, &grad__op_square, grad__div(p, x, scale));
    root = grad__op1(p, &grad__op_sqrt, grad__sum(p, squares, axes, true));
  } else {
    const grad_id powers = with_number(p, &grad__op_pow, grad__div(p, size, scale), order);
    root = with_number(p, &grad__op_pow, grad__sum(p, powers, axes, true), 1 / order);
  }
  return drop_axes(p, grad__mul(p, root, scale), axes, keepdim);
}

grad_id grad__norm(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double order) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE) return x;
  if (!(order >= 0) && !isinf(order))
    return grad__program_fail(p, GRAD_EVALUE, "norm: p must be at least 0 or infinite, got %g", order);
  if (order == 0) {
    const grad_id set = grad__op2(p, &grad__op_ne, x, grad__lit(p, 0, x));
    return grad__sum(p, grad__convert(p, set, grad__type(p, x)->dtype), axes, keepdim);
  }
  if (count_of(p, x, axes) == 0 && !isinf(order)) return grad__sum(p, x, axes, keepdim);
  if (order == 1) return grad__sum(p, grad__op1(p, &grad__op_abs, x), axes, keepdim);
  if (isinf(order))
    return grad__reduce(p, order > 0 ? &grad__op_max : &grad__op_min, grad__op1(p, &grad__op_abs, x), axes, keepdim);
  return scaled_norm(p, x, axes, keepdim, order);
}

/* --- logsumexp and softmax: all shift by the largest value, which counts as a constant: it cancels */

grad_id grad__shifted(grad_program *p, grad_id x, uint32_t axes, grad_id *shift) {
  const grad_id largest = grad__stop_gradient(p, grad__max(p, x, axes, true));
  const grad_id finite = grad__op1(p, &grad__op_isfinite, largest);
  const grad_id off = grad__where(p, finite, largest, grad__lit(p, 0, largest));
  if (shift) *shift = off;
  return grad__sub(p, x, off);
}

grad_id grad__logsumexp(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE) return x;
  if (count_of(p, x, axes) == 0) return grad__op1(p, &grad__op_log, grad__sum(p, x, axes, keepdim));
  grad_id shift;
  const grad_id exps = grad__op1(p, &grad__op_exp, grad__shifted(p, x, axes, &shift));
  const grad_id logs = grad__op1(p, &grad__op_log, grad__sum(p, exps, axes, true));
  return drop_axes(p, grad__add(p, logs, shift), axes, keepdim);
}

grad_id grad__softmax(grad_program *p, grad_id x, int axis) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE || !grad__axis_exists(p, "softmax", x, axis)) return GRAD_NONE;
  const uint32_t axes = 1u << axis;
  if (grad__extent(p, x, axis) == 0) return x;
  const grad_id exps = grad__op1(p, &grad__op_exp, grad__shifted(p, x, axes, NULL));
  /* One division a row instead of one an element, here and in the derivative; the sum is 1 at least. */
  return grad__mul(p, exps, grad__op1(p, &grad__op_reciprocal, grad__sum(p, exps, axes, true)));
}

grad_id grad__log_softmax(grad_program *p, grad_id x, int axis) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE || !grad__axis_exists(p, "log_softmax", x, axis)) return GRAD_NONE;
  const uint32_t axes = 1u << axis;
  if (grad__extent(p, x, axis) == 0) return x;
  const grad_id logits = grad__shifted(p, x, axes, NULL);
  const grad_id sum = grad__sum(p, grad__op1(p, &grad__op_exp, logits), axes, true);
  return grad__sub(p, logits, grad__op1(p, &grad__op_log, sum));
}

/* --- median */

static grad_id kth(grad_program *p, grad_id x, int axis, int64_t k) {
  return grad__emit1(p, &grad__op_kth, x, 2, (const int64_t[]){axis, k});
}

grad_id grad__median(grad_program *p, grad_id x, uint32_t axes, bool keepdim) {
  x = grad__as_float(p, x);
  if (x == GRAD_NONE) return x;
  const grad_type t = *grad__type(p, x);
  const grad_id line = grad__merge_axes(p, x, axes);
  if (line == GRAD_NONE) return line;
  const int last = grad__ndim(p, line) - 1;
  const int64_t n = grad__extent(p, line, last);
  grad_id y = kth(p, line, last, n / 2);
  if (n % 2 == 0) {
    const grad_id half = grad__lit(p, 0.5, y);
    y = grad__add(p, grad__mul(p, half, kth(p, line, last, n / 2 - 1)), grad__mul(p, half, y));
  }
  int64_t kept[GRAD_MAX_AXES];
  for (int i = 0; i < t.ndim; i++) kept[i] = axes >> i & 1 ? 1 : t.shape[i];
  return keepdim ? grad__reshape(p, y, t.ndim, kept) : y;
}

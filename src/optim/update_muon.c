/* update_muon.c: K. Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks": the momentum of a
 * matrix, made nearly orthogonal by a quintic Newton-Schulz iteration, is the step. Runs in the parameters' dtype
 * (torch runs the iteration in bfloat16). */
#include "optim/update_muon.h"

#include <math.h>

#include "array/array.h"
#include "linalg/blas.h"

typedef struct matrix {
  grad_dtype dtype;
  int64_t rows, cols;
} matrix;

/* out = the buffer after its step, or the gradient mixed with it (Nesterov); transposed when the matrix is tall, so
 * that the products are of the smaller side. */
static void mix(const grad_update_options *o, const grad__update_scalars *c, grad_update_target *t, matrix shape,
                bool tall, void *out) {
  for (int64_t i = 0; i < shape.rows; i++)
    for (int64_t j = 0; j < shape.cols; j++) {
      int64_t k = i * shape.cols + j;
      double g = fmin(fmax(c->scale * grad__float_get(t->dtype, t->gradient, k), -c->clip), c->clip);
      double buffer = grad__float_get(t->dtype, t->slot[0], k);
      g += c->coupled * grad__float_get(t->dtype, t->param, k);
      buffer += (1 - o->momentum) * (g - buffer);
      grad__float_put(t->dtype, t->slot[0], k, buffer);
      grad__float_put(t->dtype, out, tall ? j * shape.rows + i : k,
                      o->nesterov ? g + o->momentum * (buffer - g) : buffer);
    }
}

/* x <- a x + (b A + c A A) x with A = x x'; gram and poly: rows x rows; next: as x. */
static grad_status newton_schulz(grad_ctx *ctx, const grad_update_options *o, matrix s, void *x, void *gram, void *poly,
                                 void *next) {
  const double a = o->ns_a, b = o->ns_b, c = o->ns_c;
  int64_t r = s.rows, n = s.cols;
  for (int step = 0; step < o->ns_steps; step++) {
    grad_status status = grad__gemm(ctx, s.dtype, false, true, r, r, n, 1, x, n, x, n, 0, gram, r);
    if (status != GRAD_OK) return status;
    for (int64_t i = 0; i < r * r; i++) grad__float_put(s.dtype, poly, i, grad__float_get(s.dtype, gram, i));
    status = grad__gemm(ctx, s.dtype, false, false, r, r, r, c, gram, r, gram, r, b, poly, r);
    if (status != GRAD_OK) return status;
    for (int64_t i = 0; i < r * n; i++) grad__float_put(s.dtype, next, i, grad__float_get(s.dtype, x, i));
    status = grad__gemm(ctx, s.dtype, false, false, r, n, r, 1, poly, r, next, n, a, x, n);
    if (status != GRAD_OK) return status;
  }
  return GRAD_OK;
}

static double adjusted(grad_muon_rate rate, double rows, double cols) {
  if (rate == GRAD_MUON_MATCH_RMS_ADAMW) return 0.2 * sqrt(fmax(rows, cols));
  return sqrt(rate == GRAD_MUON_SPECTRAL_UNCLAMPED ? rows / cols : fmax(1, rows / cols));
}

grad_status grad__update_muon(grad_ctx *ctx, const grad_update_options *o, int64_t step, const grad__update_scalars *c,
                              grad_update_target *t) {
  (void)step;
  if (t->rows < 1 || t->n % t->rows != 0 || t->n == 0)
    return grad__fail(ctx, GRAD_EVALUE,
                      "optim.muon: expected a matrix, got %lld entries in %lld rows: use adamw for vectors",
                      (long long)t->n, (long long)t->rows);
  matrix shape = {t->dtype, t->rows, t->n / t->rows};
  bool tall = shape.rows > shape.cols;
  matrix wide = tall ? (matrix){t->dtype, shape.cols, shape.rows} : shape;
  size_t item = t->dtype == GRAD_F32 ? sizeof(float) : sizeof(double);
  size_t full = (size_t)t->n * item, square = (size_t)(wide.rows * wide.rows) * item; /* square <= full */
  char *block = grad__alloc(ctx, 2 * full + 2 * square);
  if (!block) return GRAD_ENOMEM;
  mix(o, c, t, shape, tall, block);
  double length = sqrt(grad_update_norm_squared(t->dtype, t->n, block));
  for (int64_t i = 0; i < t->n; i++)
    grad__float_put(t->dtype, block, i, grad__float_get(t->dtype, block, i) / fmax(length, o->eps));
  grad_status status = newton_schulz(ctx, o, wide, block, block + 2 * full, block + 2 * full + square, block + full);
  double rate = o->lr * adjusted((grad_muon_rate)o->adjust_lr, (double)shape.rows, (double)shape.cols);
  for (int64_t i = 0; status == GRAD_OK && i < shape.rows; i++)
    for (int64_t j = 0; j < shape.cols; j++) {
      int64_t k = i * shape.cols + j, from = tall ? j * shape.rows + i : k;
      grad__float_put(t->dtype, t->param, k,
                      grad__float_get(t->dtype, t->param, k) * c->shrink -
                          rate * grad__float_get(t->dtype, block, from));
    }
  grad__free(ctx, block, 2 * full + 2 * square);
  return status;
}

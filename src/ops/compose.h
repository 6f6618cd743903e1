/* compose.h: functions made of several ops, each composed once, here, on the builder: eager code, traces and every
 * derivative use the same composition.
 *
 * As all builders: ids of one program in and out, GRAD_NONE passes through, a failure sticks in the program with a
 * message for the user. Axes and positions count from 0; `axes` is a bit mask; keepdim leaves extent 1. Dtypes: bool
 * and i64 operands of functions with fractional results become f64.
 */
#ifndef GRAD_OPS_COMPOSE_H
#define GRAD_OPS_COMPOSE_H

#include "ops/ops.h"

/* --- compose_reduce.c */
grad_id grad__mean(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
/* Sum of squared deviations over n - correction. */
grad_id grad__var(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double correction);
grad_id grad__std(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double correction);
/* The p-norm, order > 0 or infinite (+: largest, -: smallest magnitude), 0: how many are not 0. No overflow or
 * underflow inside; derivative 0 at 0. */
grad_id grad__norm(grad_program *p, grad_id x, uint32_t axes, bool keepdim, double order);
/* log(sum(exp(x))): stable; -Inf when all are -Inf (derivative 0 there), +Inf when one is. */
grad_id grad__logsumexp(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
grad_id grad__softmax(grad_program *p, grad_id x, int axis);
grad_id grad__log_softmax(grad_program *p, grad_id x, int axis);
/* Mean of the two in the middle when the count is even; equal elements share the derivative. */
grad_id grad__median(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
grad_id grad__min(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
grad_id grad__prod(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
grad_id grad__any(grad_program *p, grad_id x, uint32_t axes, bool keepdim);
grad_id grad__all(grad_program *p, grad_id x, uint32_t axes, bool keepdim);

/* --- op_sort.c, op_scan.c: along one axis */
/* Stable; NaN counts as largest. positions, when not NULL: where each value came from (i64). */
grad_id grad__sort(grad_program *p, grad_id x, int axis, bool descending, grad_id *positions);
grad_id grad__topk(grad_program *p, grad_id x, int64_t k, int axis, bool largest, grad_id *positions);
grad_id grad__cumsum(grad_program *p, grad_id x, int axis);
grad_id grad__cumprod(grad_program *p, grad_id x, int axis);
/* y[k] = a[k] * y[k - 1] + b[k] with y[-1] = 0; reverse: from the other end. Derivatives in a and b. */
grad_id grad__recurrence(grad_program *p, grad_id a, grad_id b, int axis, bool reverse);

/* --- compose_shape.c */
grad_id grad__flip(grad_program *p, grad_id x, uint32_t axes);
grad_id grad__roll(grad_program *p, grad_id x, int64_t shift, int axis);
grad_id grad__tile(grad_program *p, grad_id x, int n,
                   const int64_t *repeats); /* n may exceed the axes: new leading ones */
grad_id grad__repeat_interleave(grad_program *p, grad_id x, int64_t n, int axis);
grad_id grad__stack(grad_program *p, int n, const grad_id *parts, int axis);
void grad__split(grad_program *p, grad_id x, int n, const int64_t *sizes, int axis, grad_id *parts);
/* At most n parts of equal extent, the last one smaller; *count tells how many (1 for an empty axis). */
void grad__chunk(grad_program *p, grad_id x, int64_t n, int axis, int *count, grad_id *parts);
/* Diagonal k of the last two axes (k > 0 above): taken out as the last axis; a vector (last axis) put on it. */
grad_id grad__diagonal(grad_program *p, grad_id x, int64_t k);
grad_id grad__diag_matrix(grad_program *p, grad_id x, int64_t k);
grad_id grad__trace(grad_program *p, grad_id x); /* of the last two axes */
grad_id grad__tril(grad_program *p, grad_id x, int64_t k);
grad_id grad__triu(grad_program *p, grad_id x, int64_t k);
grad_id grad__eye(grad_program *p, grad_dtype dtype, int64_t rows, int64_t cols);

/* --- op_index.c, compose_index.c; index values are i64, from 0, checked when the program runs */
/* From positions as a person writes them (1 is first, -1 last) to positions from 0; `labels`: any dtype, must be
 * integral, negatives are refused, the message names the row. */
grad_id grad__positions(grad_program *p, grad_id index, int64_t extent);
grad_id grad__labels(grad_program *p, grad_id labels, int64_t extent);
/* x picked along an axis: index's shape replaces that axis. */
grad_id grad__take(grad_program *p, grad_id x, grad_id index, int axis);
/* PyTorch's gather and scatter_add: y[i][j] = x[index[i][j]][j] for axis 0; y = x, y[index[i][j]][j] += source[i][j].
 */
grad_id grad__gather(grad_program *p, grad_id x, int axis, grad_id index);
grad_id grad__scatter_add(grad_program *p, grad_id x, int axis, grad_id index, grad_id source);
/* One position into the row order of several axes with these extents. */
grad_id grad__ravel_index(grad_program *p, int n, const grad_id *index, const int64_t *extents);
/* Updated copies. The value broadcasts to the piece. Of equal positions the last one wins. */
grad_id grad__put_slice(grad_program *p, grad_id x, const int64_t *start, const int64_t *count, const int64_t *step,
                        grad_id value);
grad_id grad__put_index(grad_program *p, grad_id x, grad_id index, int axis, grad_id value);
/* The mask covers the leading axes of x; value: one element (broadcast), or one row for each true, in row order. */
grad_id grad__put_mask(grad_program *p, grad_id x, grad_id mask, grad_id value);
grad_id grad__one_hot(grad_program *p, grad_id index, int64_t n, grad_dtype dtype); /* new last axis of extent n */
/* Array level, since the shape depends on data: number of true elements; their positions in row order (i64). */
int64_t grad__mask_count(const grad_array *mask);
void grad__mask_positions(const grad_array *mask, int64_t *out);

/* --- compose_product.c */
/* NumPy's matmul: vectors allowed on either side, leading axes broadcast. */
grad_id grad__matmul_any(grad_program *p, grad_id a, grad_id b);
grad_id grad__vecdot(grad_program *p, grad_id a, grad_id b); /* two vectors of one length */
grad_id grad__outer(grad_program *p, grad_id a, grad_id b);  /* of flattened operands */
grad_id grad__bmm(grad_program *p, grad_id a, grad_id b);    /* three axes each */
grad_id grad__kron(grad_program *p, grad_id a, grad_id b);
/* NumPy's einsum: explicit or implicit output, repeated letters, ellipsis. */
grad_id grad__einsum(grad_program *p, const char *spec, int n, const grad_id *operands);

/* --- compose_loss.c: no reduction: one loss for each row (last axis: classes) */
/* logits ... C and positions from 0 of shape ..., or probabilities of the logits' shape. */
grad_id grad__cross_entropy(grad_program *p, grad_id logits, grad_id target);
grad_id grad__nll(grad_program *p, grad_id log_probs, grad_id target);

/* --- op_conv.c, op_pool.c */
typedef struct grad_conv {
  int64_t stride[2], padding[2], dilation[2], groups; /* rows, columns; of signals only the first counts */
} grad_conv;
/* Cross-correlation: signals N C L with weights O C/groups K; images N C H W with weights O C/groups KH KW. */
grad_id grad__conv1d(grad_program *p, grad_id x, grad_id w, const grad_conv *c);
grad_id grad__conv2d(grad_program *p, grad_id x, grad_id w, const grad_conv *c);

typedef struct grad_pool2d {
  int64_t kernel[2], stride[2], padding[2];
} grad_pool2d;
/* Over the last two axes. Padding never wins a maximum, equal elements share its derivative; the average counts padding
 * as zeros. */
grad_id grad__max_pool2d(grad_program *p, grad_id x, const grad_pool2d *pool);
grad_id grad__avg_pool2d(grad_program *p, grad_id x, const grad_pool2d *pool);

/* --- op_random.c: draws. state: i64 {key, counter}, or more of them with leading axes; a draw uses the blocks
 * counter + offset + 0 .. grad__random_blocks - 1 of stream key. */
int64_t grad__random_blocks(const grad_op *op, int64_t numel);
grad_id grad__random_uniform(grad_program *p, grad_id state, int64_t offset, grad_dtype dtype, int ndim,
                             const int64_t *shape); /* [0, 1) */
grad_id grad__random_normal(grad_program *p, grad_id state, int64_t offset, grad_dtype dtype, int ndim,
                            const int64_t *shape);
grad_id grad__random_integers(grad_program *p, grad_id state, int64_t offset, int64_t low, int64_t high, int ndim,
                              const int64_t *shape); /* low..high, both included, unbiased */
grad_id grad__random_permutation(grad_program *p, grad_id state, int64_t offset, int64_t n); /* of 0 .. n - 1 */
/* Where a generator stands when it has drawn that many blocks. */
grad_id grad__random_state_after(grad_program *p, grad_id state, int64_t blocks);
/* The state at the beginning of a stream that is given by the block at this offset. */
grad_id grad__random_stream(grad_program *p, grad_id state, int64_t offset);

#endif

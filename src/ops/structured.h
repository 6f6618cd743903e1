/* structured.h: what the files of structured ops (op_<family>.c) share: small builders, inference and batching helpers.
 * Everything here takes axes from 0. */
#ifndef GRAD_OPS_STRUCTURED_H
#define GRAD_OPS_STRUCTURED_H

#include "ops/ops.h"

/* Sets output k. Fails when the shape has too many axes, a negative extent, or more elements than memory addresses. */
grad_status grad__infer_out(grad_infer *a, int k, grad_dtype dtype, int ndim, const int64_t *shape);
/* Sets output 0: input 0's shape without the axes of the mask. */
grad_status grad__infer_reduced(grad_infer *a, grad_dtype dtype, uint32_t axes);
/* Is params[0] an axis of input 0? */
grad_status grad__infer_axis(const grad_infer *a);

grad_id grad__emit1(grad_program *p, const grad_op *op, grad_id x, int nparams, const int64_t *params);
grad_id grad__emit2(grad_program *p, const grad_op *op, grad_id x, grad_id y, int nparams, const int64_t *params);

/* Input i of a batched instruction with its batch axis: broadcast when it does not have one. */
grad_id grad__batched_input(const grad_batch *a, int i);

/* The instruction applied to all inputs batched, with other params: the whole batch rule of most ops. Sets a->y. */
void grad__batch_with(grad_batch *a, const int64_t *params);
/* The same for an op whose params do not mention axes; for one whose first param is an axis, or a count of leading ones
 * (at most 4 params). */
void grad__batch_same(grad_batch *a);
void grad__batch_axis(grad_batch *a);

/* The line along an axis through an element (in row order), and dependence on a piece of it, positions from..to - 1, in
 * every input. */
typedef struct grad_line {
  int64_t extent, step; /* of the axis, in elements */
  int64_t start, place; /* first element of the line; the position of the element along it */
} grad_line;
grad_line grad__line_through(const grad_type *t, int axis, int64_t element);
grad_status grad__depend_on_line(grad_sparsity *a, const grad_line *line, int64_t from, int64_t to);

static inline uint32_t grad__all_axes(int ndim) { return (1u << ndim) - 1; }
static inline int grad__ndim(const grad_program *p, grad_id v) { return p->types[v].ndim; }
static inline int64_t grad__extent(const grad_program *p, grad_id v, int axis) { return p->types[v].shape[axis]; }

/* A copy of v's shape that outlives the next instruction (types move when a program grows; shapes stay). */
static inline const int64_t *grad__shape(const grad_program *p, grad_id v) { return p->types[v].shape; }

/* unslice: places a piece into zeros of the full shape: the transpose of slice. */
grad_id grad__unslice(grad_program *p, grad_id a, int ndim, const int64_t *full, const int64_t *start,
                      const int64_t *step);

/* One axis of grad__slice; the others stay whole. */
grad_id grad__slice_axis(grad_program *p, grad_id a, int axis, int64_t start, int64_t count, int64_t step);

/* Is there such an axis? Otherwise the program fails: "NAME: axis 3 does not exist ...". x must be a value. */
bool grad__axis_exists(grad_program *p, const char *name, grad_id x, int axis);

/* x itself when it is f32 or f64, else converted to f64. */
grad_id grad__as_float(grad_program *p, grad_id x);

/* x less its largest value, or less 0 where that is infinite. *shift, when not NULL: what was taken off, a constant for
 * every derivative. */
grad_id grad__shifted(grad_program *p, grad_id x, uint32_t axes, grad_id *shift);

/* The axes of the mask moved to the end and merged into one. */
grad_id grad__merge_axes(grad_program *p, grad_id x, uint32_t axes);

/* Tangent of y, an element of x chosen by value along the axes of the mask: all elements equal to it share equally. */
grad_id grad__shared_tangent(grad_program *p, grad_id x, grad_id y, grad_id dx, uint32_t axes);

#endif

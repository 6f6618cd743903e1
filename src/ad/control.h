/* control.h: instructions with nested programs: cond, while, scan, checkpoint, custom, linear_solve.
 *
 * A nested program is closed: what its function captured from outside is among its inputs, and it reads no numbers
 * (nscalars is 0; grad__close_scalars turns numbers into inputs). The builders take ids of the outer program and write
 * the ids of the results; on failure these are GRAD_NONE and the program's status tells why. They retain nested
 * programs, which must not change afterwards.
 */
#ifndef GRAD_AD_CONTROL_H
#define GRAD_AD_CONTROL_H

#include "ad/ad.h"
#include "ops/demand.h"

/* grad__close_scalars: p with each instruction that reads a number replaced by an input, after p's own. numbers and
 * dtypes tell what each of them was; room for p->ninstrs entries suffices; *count tells how many there are. */
grad_status grad__close_scalars(const grad_program *p, int32_t *numbers, grad_dtype *dtypes, int32_t *count,
                                grad_program **out);

/* --- op_cond.c: one of two programs of equal types, args -> results, by a 0-d bool. Under vmap with a batched
 * predicate both run and the results are selected. out: yes->noutputs ids. */
void grad__cond(grad_program *p, grad_id predicate, grad_program *yes, grad_program *no, int32_t nargs,
                const grad_id *args, grad_id *out);

/* --- op_loop.c. A body's inputs: the consts, the carry, for scan one row (first axis) of each xs. Its outputs: the new
 * carry, of the old one's types, then the ys. Results: the last carry, then the ys stacked along a new first axis. */
typedef struct grad_loop {
  grad_program *body;
  int32_t nconsts, ncarry, nxs;
  const grad_id *consts, *init, *xs;
  int64_t length; /* scan: the extent of the xs' first axis */
  bool reverse;   /* scan: from the last row to the first; ys stand at the row they come from */
} grad_loop;

/* out: body->noutputs ids. */
void grad__scan(grad_program *p, const grad_loop *loop, grad_id *out);

/* The same result; derivatives in reverse keep the carry every `every` steps only, and recompute the steps between
 * (about sqrt(length) needs least memory; 0 chooses that). */
void grad__scan_checkpointed(grad_program *p, const grad_loop *loop, int64_t every, grad_id *out);

/* test: consts, carry -> a 0-d bool; the body runs while it is true. No xs, no ys. Reverse mode keeps what each step
 * leaves behind on a stack that grows. Under vmap with a batched test, all run until the last has ended; those that
 * have ended stay as they are. out: loop->ncarry ids. */
void grad__while_loop(grad_program *p, grad_program *test, const grad_loop *loop, grad_id *out);

/* --- op_checkpoint.c: body's results; reverse mode keeps the args only, and runs the body again. */
void grad__checkpoint(grad_program *p, grad_program *body, int32_t nargs, const grad_id *args, grad_id *out);

/* --- op_custom.c: a function with derivative rules of its own. jvp (or NULL): args, then a tangent for each float arg
 * -> a tangent for each float result. vjp (or NULL): args, then a cotangent for each float result -> a cotangent for
 * each float arg. A missing rule is derived from the other by transposition. Rules are differentiated in turn. */
void grad__custom(grad_program *p, grad_program *f, grad_program *jvp, grad_program *vjp, int32_t nargs,
                  const grad_id *args, grad_id *out);

/* --- op_linear_solve.c: x with A x = b, where matvec: consts, v -> A v and vecmat: consts, w -> A' w are linear in
 * their last input, of b's type. Up to 128 unknowns the matrix is formed; beyond that GMRES (Saad, Schultz 1986).
 * Running it gives ESINGULAR, or ENOCONV when GMRES stops short. */
grad_id grad__linear_solve(grad_program *p, grad_program *matvec, grad_program *vecmat, int32_t nconsts,
                           const grad_id *consts, grad_id b);

/* --- op_implicit.c: derivatives by the implicit function theorem.
 * residual: x, args -> r, of x's type. solution solves residual(solution, args) = 0 and is given, by whatever means;
 * the result is solution, with the derivatives in args that the equation implies: dx = -(dr/dx)^-1 (dr/da) da. What
 * solution itself depends on does not count. A fixed point x = g(x, a) has the residual x - g; a minimum the gradient.
 */
grad_id grad__implicit(grad_program *p, grad_program *residual, grad_id solution, int32_t nargs, const grad_id *args);

/* A root by Newton's method, as a staged loop from x0, until every |r| <= tol or `most` steps are done; differentiable
 * in args as grad__implicit, not in x0. */
grad_id grad__newton(grad_program *p, grad_program *residual, grad_id x0, int32_t nargs, const grad_id *args,
                     double tol, int64_t most);

/* --- shared by these ops (control.c) */

/* How many of these values are of float type. */
int32_t grad__count_floats(const grad_program *p, int32_t n, const grad_id *ids);

/* For jvp rules. grad__append_tangents: those of the instruction's inputs that are there; returns how many.
 * grad__give_tangents: dy of the outputs that are floats in f, from consecutive ids.
 * grad__push_inline: the tangents of sub's outputs (all floats) at x for the tangents dx, in line; NULL: p has failed.
 */
int32_t grad__append_tangents(const grad_jvp *a, grad_id *to);
void grad__give_tangents(const grad_jvp *a, const grad_program *f, grad_id first);
const grad_id *grad__push_inline(const grad_jvp *a, const grad_program *sub, const grad_id *x, const grad_id *dx);

/* For infer: output k has this type, dynamic extents included. */
void grad__infer_type(grad_infer *a, int32_t k, const grad_type *type);
/* For infer: outputs [from, from + n) of a nested program are the op's outputs; `rows`: stacked along a new first axis
 * of that extent (NULL: not stacked). */
grad_status grad__infer_like_outputs(grad_infer *a, const grad_program *sub, int32_t from, int32_t n,
                                     const int64_t *rows);
/* For eval: the nested program's outputs are the op's. */
grad_status grad__call_sub(const grad_eval *a, grad_program *sub, const grad_array *const *in);
/* For ops whose subs all map inputs [skip, nin) to the outputs: the same op with the subs transposed, on the inputs
 * before `skip`, those that are not linear, and the cotangents. */
void grad__transpose_call(grad_transpose *a, int32_t skip);
/* For ops whose subs all map inputs [skip, nin) to the outputs: the parts of the subs that are wanted. */
void grad__crop_call(grad_crop *a, int32_t skip);
/* where, for each element along the batch axis, by a mask of one axis. */
grad_id grad__where_rows(grad_program *p, grad_id mask, grad_id yes, grad_id no);
/* A batch rule that runs the instruction for one element after the other. */
void grad__batch_by_scan(grad_batch *a);
/* Zeros in place of an absent cotangent. */
grad_id grad__or_zeros(grad_program *p, grad_id v, const grad_type *type);

/* p's inputs and outputs in another order; either list may leave some out or repeat outputs. */
grad_status grad__reorder(const grad_program *p, int32_t nin, const int32_t *in, int32_t nout, const int32_t *out,
                          grad_program **result);
/* Propagates `active` (by value; inputs preset, the rest false): reached by a tangent. */
void grad__mark_active(const grad_program *p, bool *active);

/* A body cut for reverse mode. primal: inputs -> outputs, residuals; linear: residuals, tangents -> tangents of the
 * first nlin outputs. When there are more than `most` residuals, or one of them has a dynamic extent, or `recompute`,
 * the residuals are just the inputs and `linear` computes all else again. */
typedef struct grad_cut {
  grad_program *primal, *linear;
  int32_t nresiduals;
} grad_cut;
grad_status grad__cut_body(const grad_program *body, const bool *wrt, int32_t nlin, int32_t most, bool recompute,
                           grad_cut *out);
void grad__cut_clear(grad_cut *cut);

#endif

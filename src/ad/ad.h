/* ad.h: derivatives and batching as passes from program to program. They compose to any order and any way round, since
 * each reads and makes plain programs. `ad` and `exec` do not know each other.
 *
 * All passes keep the given program unchanged and give a new one with one reference. The new program has the scalars of
 * the old one, with the same numbers. Nothing is pruned that an output or an effect needs; dead code is.
 */
#ifndef GRAD_AD_AD_H
#define GRAD_AD_AD_H

#include "program/opdef.h"

/* grad__ad_jvp: inputs: p's, then a tangent for each input with wrt[i] (of the same type; float inputs only).
 * outputs: p's, then a tangent for each output of float type (zeros where nothing depends on wrt); for others none. */
grad_status grad__ad_jvp(const grad_program *p, const bool *wrt, grad_program **out);

/* grad__ad_vjp: inputs: p's, then a cotangent for each of the first `ncot` outputs that is of float type.
 * outputs: p's, then a cotangent for each input with wrt[i]. Reverse mode: linearized, then transposed. */
grad_status grad__ad_vjp(const grad_program *p, const bool *wrt, int ncot, grad_program **out);

/* grad__ad_grad: for a 0-d float first output: the seed 1 is a constant. inputs: p's; outputs: p's, then the gradients.
 */
grad_status grad__ad_grad(const grad_program *p, const bool *wrt, grad_program **out);

/* grad__ad_linearize: splits into what is done once and what is done for each tangent.
 * primal: p's inputs -> p's outputs, then the residuals. linear: residuals, then a tangent for each wrt input -> a
 * tangent for each float output of the first nlin outputs. `linear` holds linear instructions of tangents only.  */
grad_status grad__ad_linearize(const grad_program *p, const bool *wrt, int nlin, grad_program **primal,
                               grad_program **linear);

/* grad__ad_transpose: p linear in its inputs with linear[i] set (others are residuals). inputs: the residuals, in
 * order, then a cotangent for each output; outputs: a cotangent for each linear input. */
grad_status grad__ad_transpose(const grad_program *p, const bool *linear, grad_program **out);

/* grad__ad_vmap: inputs with batched[i] get a leading axis of extent size. Every output gets one (those that depend on
 * no batched input are broadcast), unless out_batched is not NULL: then it tells which have it and nothing is
 * broadcast. */
grad_status grad__ad_vmap(const grad_program *p, int64_t size, const bool *batched, bool *out_batched,
                          grad_program **out);

#endif

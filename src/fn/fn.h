/* fn.h: drivers: what a person asks for (gradient, Jacobian, Hessian, products with them) as programs made from a
 * program. Each gives a plain program, so that all of them nest to any order and can be batched, inlined and cached.
 *
 * `wrt` has a flag for each input of p, `of` for each output: derivatives of those outputs with respect to those
 * inputs, which must be of float type (EDTYPE). dtypes are kept. A result has one reference; p is unchanged and stays
 * usable.
 */
#ifndef GRAD_FN_FN_H
#define GRAD_FN_FN_H

#include "ad/ad.h"
#include "array/array.h"
#include "program/opdef.h"

/* --- gradient.c. Gradient and value-and-gradient are grad__ad_grad; a jvp is grad__ad_jvp (ad/ad.h). */

/* grad__fn_vjp: value and pullback as two programs.
 * primal: p's inputs -> p's outputs, then residuals. pullback: the residuals, then a cotangent for each float output
 * among the first ncot -> a cotangent for each wrt input. Residuals = primal->noutputs - p->noutputs. */
grad_status grad__fn_vjp(const grad_program *p, const bool *wrt, int ncot, grad_program **primal,
                         grad_program **pullback);

/* grad__fn_hvp: for a 0-d float first output. inputs: p's, then v for each wrt input; outputs: p's outputs, then the
 * product of the Hessian with v, a part for each wrt input. Forward over reverse; never forms the matrix. */
grad_status grad__fn_hvp(const grad_program *p, const bool *wrt, grad_program **out);

/* --- jacobian.c */
typedef enum grad_jacobian_mode { GRAD_JACOBIAN_AUTO, GRAD_JACOBIAN_FORWARD, GRAD_JACOBIAN_REVERSE } grad_jacobian_mode;

/* grad__fn_jacobian: inputs: p's; outputs: p's outputs, then for each output with of[i], for each wrt input, a block of
 * the output's shape followed by the input's. Forward: one batched sweep over the entries of the inputs; reverse: over
 * those of the outputs; auto takes the fewer entries (forward when equal). *used, when not NULL, tells the mode taken.
 */
grad_status grad__fn_jacobian(const grad_program *p, const bool *wrt, const bool *of, grad_jacobian_mode mode,
                              grad_program **out, grad_jacobian_mode *used);

/* grad__fn_hessian: for a 0-d float first output. outputs: p's outputs, then for each wrt input i, for each wrt input
 * j, the block of i's shape followed by j's. Forward over reverse, batched. */
grad_status grad__fn_hessian(const grad_program *p, const bool *wrt, grad_program **out);

/* grad__fn_hessian_diag: outputs: p's outputs, then for each wrt input its second derivatives, of its own shape. */
grad_status grad__fn_hessian_diag(const grad_program *p, const bool *wrt, grad_program **out);

/* --- gradcheck.c */
typedef struct grad_check_options {
  int order;  /* 1: first derivatives; 2: those of the gradient (several numbers are weighted and summed); 0 is 1 */
  double eps; /* step relative to max(1, |x|); 0: the cube root of the dtype's rounding unit */
  double rtol, atol;       /* 0: for f64 1e-5 and 1e-7, where f32 takes part 1e-2 and 1e-3 */
  int64_t samples;         /* most entries checked for each input, spread evenly; 0: 64 */
  grad_jacobian_mode mode; /* REVERSE: entries by pullbacks, `samples` rows for each output; otherwise by pushes */
} grad_check_options;

typedef struct grad_check_entry {
  int32_t input, output;       /* of the program; of the gradient for order 2 */
  int64_t position, direction; /* flat positions in the output and in the input, from 0 */
  double analytic, numeric,
      error; /* error: |analytic - numeric| / (atol + rtol max(|analytic|, |numeric|)): bad over 1 */
} grad_check_entry;

enum { GRAD_CHECK_WORST = 10 };
typedef struct grad_check_report {
  bool ok;
  int64_t checked, failed;                  /* entries */
  grad_check_entry worst[GRAD_CHECK_WORST]; /* the largest errors, the worst first */
  int nworst;
  double forward, reverse; /* <J v, w> and <v, J' w> for random v, w */
  bool dual_ok;            /* the two agree */
  bool finite;             /* value and derivatives are finite */
} grad_check_report;

/* grad__fn_gradcheck: compares derivatives with central differences, entry by entry, and forward with reverse mode (in
 * mode REVERSE that part is left out for a function without forward mode). in: arrays of p's inputs. A function that
 * fails the check is a report, not an error. options NULL: defaults. Errors: EDTYPE for wrt inputs that are not float,
 * and whatever running p gives. */
grad_status grad__fn_gradcheck(grad_program *p, const bool *wrt, const grad_array *const *in, const double *scalars,
                               const grad_check_options *options, grad_check_report *out);

#endif

/* formula.h: a program as a formula that a person can read. */
#ifndef GRAD_FN_FORMULA_H
#define GRAD_FN_FORMULA_H

#include "program/program.h"

/* grad__formula: appends output `output` of p, simplified: terms and factors collected, numbers worked out. An array is
 * written element by element, in brackets. names: one for each input (x; elements are x[1], x[2, 3]); NULL, or a NULL
 * entry: x1, x2, ... known: for each input NULL, or an array whose numbers stand in its place (NULL: for none). scalars:
 * p's numbers. latex: LaTeX instead of text.
 * The formula holds wherever the function is smooth: cases for single points (x^0 at 0, ties of max) are left out.
 * Errors: EUNSUPPORTED for ops that have no notation (loops, factorizations) and for more than a few thousand elements.
 */
grad_status grad__formula(const grad_program *p, int32_t output, const char *const *names,
                          const grad_array *const *known, const double *scalars, bool latex, grad_text *out);

#endif

/* algebra.h: expressions in a normal form close to what a person writes, for grad__formula. No part of running
 * programs.
 *
 * An expression is a number, a symbol, a sum of weighted terms, a product of powers, or a call of a function. Numbers
 * stand only in the weights of sums and the exponents of products, so 2*x*y is a sum of one term. Equal expressions
 * have one id. Failures (memory) stick in `status`, and give 0, which is also the number 0. */
#ifndef GRAD_FN_ALGEBRA_H
#define GRAD_FN_ALGEBRA_H

#include "core/arena.h"
#include "ops/ops.h"

typedef int32_t grad_expr;

typedef enum grad_expr_kind {
  GRAD_EXPR_NUMBER,
  GRAD_EXPR_SYMBOL,
  GRAD_EXPR_SUM,     /* args[i] times weight[i], added */
  GRAD_EXPR_PRODUCT, /* args[i] to the power weight[i], multiplied */
  GRAD_EXPR_CALL     /* function `notation` of args */
} grad_expr_kind;

typedef struct grad_expr_node {
  grad_expr_kind kind;
  int32_t n;
  const grad_expr *args;
  const double *weight;
  double number;
  const grad_notation *notation; /* of a symbol too: its text and LaTeX */
  double degree;                 /* in the symbols; calls count nothing */
  bool calls;                    /* is there a call inside? */
} grad_expr_node;

typedef struct grad_algebra {
  grad_ctx *ctx;
  grad_arena arena;
  grad_status status;
  grad_expr_node *nodes;
  int32_t n, cap;
  int32_t *table; /* open hashing of id + 1 */
  int32_t table_cap;
} grad_algebra;

grad_status grad__algebra_init(grad_algebra *a, grad_ctx *ctx);
void grad__algebra_clear(grad_algebra *a);

/* Texts and notations must live as long as the algebra. */
grad_expr grad__expr_number(grad_algebra *a, double value);
grad_expr grad__expr_symbol(grad_algebra *a, const grad_notation *notation);
grad_expr grad__expr_add(grad_algebra *a, int32_t n, const double *weight, const grad_expr *terms);
grad_expr grad__expr_mul(grad_algebra *a, grad_expr x, grad_expr y);
grad_expr grad__expr_pow(grad_algebra *a, grad_expr x, double exponent);
grad_expr grad__expr_call(grad_algebra *a, const grad_notation *notation, int32_t n, const grad_expr *args);
bool grad__expr_is_number(const grad_algebra *a, grad_expr x, double *value);

/* --- algebra_print.c: as readable text, or as LaTeX */
grad_status grad__expr_print(grad_algebra *a, grad_expr x, bool latex, grad_text *out);

#endif

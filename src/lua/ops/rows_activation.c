/* rows_activation.c: elementwise functions with parameters, composed of rows of ops.def. */
#include <math.h>

#include "lua/call.h"
#include "lua/ops/elementwise.h"
#include "ops/compose.h"

static grad_id first(grad_call *c) {
  grad_id x = grad__call_value(c, 1, "argument 1");
  bool whole = !grad__dtype_is_float(grad__call_type(c, x)->dtype);
  return whole ? grad__convert(c->p, x, GRAD_F64) : x;
}

static grad_id parameter(grad_call *c, int arg, const char *what, double otherwise, grad_id like) {
  if (!lua_isnil(c->L, arg)) return grad__call_value_like(c, arg, what, like);
  return grad__call_number(c, otherwise, grad__call_type(c, like)->dtype);
}

static grad_id number(grad_call *c, double value, grad_id like) { return grad__lit(c->p, value, like); }

/* max(x, 0) + slope min(x, 0) as a choice, so that the slope at 0 is one of the two, the right one's 1 excluded */
static void build_leaky_relu(grad_call *c) {
  grad_id x = first(c), slope = parameter(c, 2, "slope", 0.01, x);
  grad_id positive = grad__op2(c->p, &grad__op_gt, x, number(c, 0, x));
  grad__call_return(c, grad__where(c->p, positive, x, grad__mul(c->p, slope, x)));
}

/* expm1 is applied to min(x, 0): where the branch is not taken it must not overflow */
static grad_id elu(grad_call *c, grad_id x, grad_id alpha) {
  grad_id positive = grad__op2(c->p, &grad__op_gt, x, number(c, 0, x));
  grad_id below = grad__where(c->p, positive, number(c, 0, x), x);
  return grad__where(c->p, positive, x, grad__mul(c->p, alpha, grad__op1(c->p, &grad__op_expm1, below)));
}

static void build_elu(grad_call *c) {
  grad_id x = first(c);
  grad__call_return(c, elu(c, x, parameter(c, 2, "alpha", 1, x)));
}

/* Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-normalizing neural networks" */
static void build_selu(grad_call *c) {
  const double alpha = 1.6732632423543772848170429916717, scale = 1.0507009873554804934193349852946;
  grad_id x = first(c);
  grad__call_return(c, grad__mul(c->p, number(c, scale, x), elu(c, x, number(c, alpha, x))));
}

/* x Phi(x) by erfc, which keeps its digits for large negative x; or the usual tanh approximation */
static void build_gelu(grad_call *c) {
  static const char *const kinds[] = {"none", "tanh", NULL};
  grad_program *p = c->p;
  grad_id x = first(c), half = number(c, 0.5, x), inner;
  if (grad__option_choice(c->L, c->options, "approximate", kinds, 0) == 1) {
    grad_id cube = grad__mul(p, grad__op1(p, &grad__op_square, x), x);
    inner = grad__add(p, x, grad__mul(p, number(c, 0.044715, x), cube));
    inner = grad__op1(p, &grad__op_tanh, grad__mul(p, number(c, 0.79788456080286535588, x), inner));
    inner = grad__add(p, number(c, 1, x), inner);
  } else {
    inner = grad__op1(p, &grad__op_erfc, grad__mul(p, number(c, -0.70710678118654752440, x), x));
  }
  grad__call_return(c, grad__mul(p, grad__mul(p, half, x), inner));
}

static void build_silu(grad_call *c) {
  grad_id x = first(c);
  grad__call_return(c, grad__mul(c->p, x, grad__op1(c->p, &grad__op_sigmoid, x)));
}

static void build_hardtanh(grad_call *c) {
  grad_id x = grad__call_value(c, 1, "argument 1");
  grad__call_return(c, grad__op3(c->p, &grad__op_clamp, x, number(c, -1, x), number(c, 1, x)));
}

/* A missing bound is infinite; of integers the bound is the type's. */
static void build_clamp(grad_call *c) {
  grad_id x = grad__call_value(c, 1, "argument 1");
  bool low = !lua_isnil(c->L, 2), high = !lua_isnil(c->L, 3);
  grad_id lo = low ? grad__call_value_like(c, 2, "the lower bound", x) : GRAD_NONE;
  grad_id hi = high ? grad__call_value_like(c, 3, "the upper bound", x) : GRAD_NONE;
  if (!low && !high) grad__lua_error(c->L, "needs a lower or an upper bound");
  if (!low) lo = number(c, -HUGE_VAL, x);
  if (!high) hi = number(c, HUGE_VAL, x);
  if (!low && grad__call_type(c, x)->dtype == GRAD_I64)
    grad__call_return(c, grad__op2(c->p, &grad__op_minimum, x, hi));
  else if (!high && grad__call_type(c, x)->dtype == GRAD_I64)
    grad__call_return(c, grad__op2(c->p, &grad__op_maximum, x, lo));
  else
    grad__call_return(c, grad__op3(c->p, &grad__op_clamp, x, lo, hi));
}

static const grad_fn rows[] = {
    GRAD_PLAIN_BUILDER(leaky_relu, "x [, slope = 0.01] -> tensor",
                       "x where positive, else slope * x; slope at 0: `slope`"),
    GRAD_PLAIN_BUILDER(elu, "x [, alpha = 1] -> tensor", "x where positive, else alpha (e^x - 1)"),
    GRAD_PLAIN_BUILDER(selu, "x -> tensor", "scaled elu with the fixed point of self-normalizing networks"),
    GRAD_PLAIN_BUILDER(gelu, "x [, {approximate = \"none\"}] -> tensor",
                       "x times the normal distribution function; approximate = \"tanh\""),
    GRAD_PLAIN_BUILDER(silu, "x -> tensor", "x * sigmoid(x)"),
    GRAD_PLAIN_BUILDER(hardtanh, "x -> tensor", "clamp to [-1, 1]"),
    GRAD_PLAIN_BUILDER(clamp, "x [, lo] [, hi] -> tensor",
                       "limited to [lo, hi]; nil for no bound; slope 1 at the edges"),
    GRAD_FN_END,
};

void grad__open_rows_activation(lua_State *L) { grad__lua_register_elementwise(L, rows); }

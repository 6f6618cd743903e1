/* bind_loss.c: losses, and the affine map of linear layers, as single functions: the table `internal.losses`, which
 * lua/gradlua/nn hands on. A loss gives one entry for each entry (or row) of the prediction, then reduces. */
#include <math.h>

#include "lua/binding.h"
#include "lua/call.h"
#include "lua/modules.h"
#include "ops/compose.h"

static const char *const reductions[] = {"mean", "sum", "none", NULL};

static void return_reduced(grad_call *c, grad_id entries) {
  const int how = grad__option_choice(c->L, c->options, "reduction", reductions, 0);
  if (how < 2 && entries != GRAD_NONE) {
    const uint32_t all = (1u << grad__call_type(c, entries)->ndim) - 1;
    entries = how == 0 ? grad__mean(c->p, entries, all, false) : grad__sum(c->p, entries, all, false);
  }
  grad__call_return(c, entries);
}

/* A float value of the prediction, which may be a number, as in a loss of numbers that is not differentiated just now.
 */
static grad_id prediction_of(grad_call *c) {
  const grad_id x = grad__call_value(c, 1, "the prediction");
  if (x == GRAD_NONE || grad__dtype_is_float(grad__call_type(c, x)->dtype)) return x;
  return grad__convert(c->p, x, GRAD_F64);
}

/* The target of a loss that goes entry by entry: of the prediction's shape, since a broadcast here is as a rule a
 * mistake; or a number for all. */
static grad_id target_of(grad_call *c, grad_id prediction) {
  const grad_id t = grad__call_value_like(c, 2, "the target", prediction);
  if (prediction == GRAD_NONE || t == GRAD_NONE || lua_type(c->L, 2) == LUA_TNUMBER) return t;
  const grad_type *x = grad__call_type(c, prediction), *y = grad__call_type(c, t);
  if (!grad__shape_equal(x->ndim, x->shape, y->ndim, y->shape)) {
    return grad__program_fail(c->p, GRAD_ESHAPE,
                              "the prediction is %s and the target %s: their shapes must be the same",
                              grad__type_text(x).chars, grad__type_text(y).chars);
  }
  return grad__convert(c->p, t, x->dtype);
}

static grad_id number(grad_call *c, double value, grad_id like) {
  return like == GRAD_NONE ? GRAD_NONE : grad__call_number(c, value, grad__call_type(c, like)->dtype);
}

static grad_id difference(grad_call *c) {
  const grad_id x = prediction_of(c);
  return grad__sub(c->p, x, target_of(c, x));
}

static void mse(grad_call *c) { return_reduced(c, grad__op1(c->p, &grad__op_square, difference(c))); }

static void mae(grad_call *c) { return_reduced(c, grad__op1(c->p, &grad__op_abs, difference(c))); }

/* m (d - m / 2) with d the distance and m = min(d, delta) */
static void huber(grad_call *c) {
  const double delta = grad__option_number(c->L, c->options, "delta", 1);
  if (!(delta > 0)) grad__lua_error(c->L, "delta must be more than 0, got %g", delta);
  const grad_id d = grad__op1(c->p, &grad__op_abs, difference(c));
  const grad_id m = grad__op2(c->p, &grad__op_minimum, d, number(c, delta, d));
  return_reduced(c, grad__mul(c->p, m, grad__sub(c->p, d, grad__mul(c->p, m, number(c, 0.5, d)))));
}

/* Logarithms are bounded below by -100, as in torch, so that a certain and wrong prediction costs a finite amount. */
static grad_id bounded(grad_call *c, grad_id logarithm) {
  return grad__op2(c->p, &grad__op_maximum, logarithm, number(c, -100, logarithm));
}

static void bce(grad_call *c) {
  grad_program *p = c->p;
  const grad_id x = prediction_of(c), t = target_of(c, x), one = number(c, 1, x);
  const grad_id hit = bounded(c, grad__op1(p, &grad__op_log, x));
  const grad_id miss = bounded(c, grad__op1(p, &grad__op_log1p, grad__neg(p, x)));
  const grad_id entries = grad__add(p, grad__mul(p, t, hit), grad__mul(p, grad__sub(p, one, t), miss));
  return_reduced(c, grad__neg(p, entries));
}

/* softplus(x) - x t does not overflow. */
static void bce_with_logits(grad_call *c) {
  const grad_id x = prediction_of(c), t = target_of(c, x);
  return_reduced(c, grad__sub(c->p, grad__op1(c->p, &grad__op_softplus, x), grad__mul(c->p, x, t)));
}

static void hinge(grad_call *c) {
  const grad_id x = prediction_of(c), t = target_of(c, x);
  return_reduced(c, grad__op1(c->p, &grad__op_relu, grad__sub(c->p, number(c, 1, x), grad__mul(c->p, x, t))));
}

/* --- by rows: the last axis holds the classes, or the vectors */

/* Labels 1..C, one a row, as positions; a target of the prediction's shape is probabilities. */
static grad_id classes_of(grad_call *c, grad_id prediction) {
  const grad_id t = grad__call_value(c, 2, "the target");
  if (prediction == GRAD_NONE || t == GRAD_NONE) return GRAD_NONE;
  const grad_type *x = grad__call_type(c, prediction), *y = grad__call_type(c, t);
  if (x->ndim > 0 && grad__shape_equal(x->ndim - 1, x->shape, y->ndim, y->shape))
    return grad__labels(c->p, t, x->shape[x->ndim - 1]);
  const bool alike = grad__shape_equal(x->ndim, x->shape, y->ndim, y->shape);
  return alike ? grad__convert(c->p, t, x->dtype) : t;
}

static void cross_entropy(grad_call *c) {
  const grad_id x = prediction_of(c);
  return_reduced(c, grad__cross_entropy(c->p, x, classes_of(c, x)));
}

static void nll(grad_call *c) {
  const grad_id x = prediction_of(c);
  return_reduced(c, grad__nll(c->p, x, classes_of(c, x)));
}

static uint32_t last_axis(grad_call *c, grad_id x) {
  const int ndim = x == GRAD_NONE ? 1 : grad__call_type(c, x)->ndim;
  if (ndim == 0) grad__lua_error(c->L, "the prediction must have at least one axis");
  return 1u << (ndim - 1);
}

/* sum of q (log q - log p); a class with q = 0 adds 0 */
static void kl_div(grad_call *c) {
  grad_program *p = c->p;
  const grad_id x = prediction_of(c), q = target_of(c, x);
  const grad_id ratio = grad__sub(p, grad__op1(p, &grad__op_log, q), x);
  return_reduced(c, grad__sum(p, grad__mulz(p, q, ratio), last_axis(c, x), false));
}

/* The length of each row, but at least 1e-8, as torch has it: the loss of a zero vector is 1. */
static grad_id lengths(grad_call *c, grad_id x, uint32_t axis) {
  const grad_id norms = grad__norm(c->p, x, axis, false, 2);
  return grad__op2(c->p, &grad__op_maximum, norms, number(c, 1e-8, norms));
}

static void cosine(grad_call *c) {
  grad_program *p = c->p;
  const grad_id x = prediction_of(c), t = target_of(c, x);
  const uint32_t axis = last_axis(c, x);
  const grad_id dot = grad__sum(p, grad__mul(p, x, t), axis, false);
  const grad_id norms = grad__mul(p, lengths(c, x, axis), lengths(c, t, axis));
  return_reduced(c, grad__sub(p, number(c, 1, x), grad__div(p, dot, norms)));
}

/* linear(x, weight [, bias]): x W' + b on the last axis */
static void linear(grad_call *c) {
  const grad_id x = grad__call_tensor(c, 1, "x"), w = grad__call_tensor(c, 2, "the weight");
  if (w != GRAD_NONE && grad__call_type(c, w)->ndim != 2) grad__lua_error(c->L, "the weight must have two axes");
  grad_id y = grad__matmul_any(c->p, x, w == GRAD_NONE ? w : grad__swap_axes(c->p, w, 0, 1));
  if (!lua_isnoneornil(c->L, 3)) y = grad__add(c->p, y, grad__call_tensor(c, 3, "the bias"));
  grad__call_return(c, y);
}

#define LOSS(function, extra, text)                                                                                    \
  {                                                                                                                    \
    .name = #function, .signature = "prediction, target [, {" extra "reduction = \"mean\"}] -> tensor", .doc = text,   \
    .build = function                                                                                                  \
  }
static const grad_fn rows[] = {
    LOSS(mse, "", "squares of the differences"),
    LOSS(mae, "", "sizes of the differences"),
    LOSS(huber, "delta = 1, ", "quadratic up to delta, linear beyond (Huber 1964)"),
    LOSS(bce, "", "binary cross-entropy of probabilities"),
    LOSS(bce_with_logits, "", "binary cross-entropy of logits"),
    LOSS(hinge, "", "max(0, 1 - target * prediction), targets -1 and 1"),
    LOSS(cross_entropy, "", "cross-entropy of logits with labels 1..C, or with probabilities, for each row"),
    LOSS(nll, "", "negative log-likelihood of labels 1..C under log-probabilities, for each row"),
    LOSS(kl_div, "", "divergence of log-probabilities from probabilities, for each row"),
    LOSS(cosine, "", "1 - cosine of the angle, for each row"),
    {.name = "linear",
     .signature = "x, weight [, bias] -> tensor",
     .doc = "x W' + b on the last axis",
     .build = linear},
    GRAD_FN_END};
#undef LOSS

void grad__open_bind_loss(lua_State *L) {
  lua_newtable(L);
  grad__lua_register(L, rows);
  gradlua__modules_publish(L, "losses");
}

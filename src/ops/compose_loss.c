/* compose_loss.c: losses of classification, one for each row. See compose.h. */
#include "ops/compose.h"
#include "ops/structured.h"

/* Is the target a distribution over the classes, of the predictions' shape? Otherwise it must be one position a row. */
static bool is_distribution(const grad_program *p, grad_id prediction, grad_id target) {
  const grad_type *x = grad__type(p, prediction), *t = grad__type(p, target);
  return grad__dtype_is_float(t->dtype) && grad__shape_equal(x->ndim, x->shape, t->ndim, t->shape);
}

static bool targets_fit(grad_program *p, const char *name, grad_id prediction, grad_id target) {
  const grad_type *x = grad__type(p, prediction), *t = grad__type(p, target);
  if (x->ndim >= 1 && (is_distribution(p, prediction, target) ||
                       (t->dtype == GRAD_I64 && grad__shape_equal(x->ndim - 1, x->shape, t->ndim, t->shape))))
    return true;
  grad__program_fail(
      p, GRAD_ESHAPE,
      "%s: predictions %s (last axis: classes) need targets of one label a row, or probabilities of the same shape; "
      "the target is %s",
      name, grad__type_text(x).chars, grad__type_text(t).chars);
  return false;
}

/* x[row, target[row]] */
static grad_id at_target(grad_program *p, grad_id x, grad_id target) {
  if (x == GRAD_NONE) return GRAD_NONE;
  const int last = grad__ndim(p, x) - 1;
  return grad__drop_axis(p, grad__gather(p, x, last, grad__insert_axis(p, target, last)), last);
}

grad_id grad__nll(grad_program *p, grad_id log_probs, grad_id target) {
  if (log_probs == GRAD_NONE || target == GRAD_NONE || !targets_fit(p, "nll", log_probs, target)) return GRAD_NONE;
  if (!is_distribution(p, log_probs, target)) return grad__neg(p, at_target(p, log_probs, target));
  const int last = grad__ndim(p, log_probs) - 1;
  return grad__neg(p, grad__sum(p, grad__mulz(p, target, log_probs), 1u << last, false));
}

/* log(sum(exp(x))) - x[target], both less the row's largest, so that nothing cancels. */
grad_id grad__cross_entropy(grad_program *p, grad_id logits, grad_id target) {
  if (logits == GRAD_NONE || target == GRAD_NONE || !targets_fit(p, "cross_entropy", logits, target)) return GRAD_NONE;
  const int last = grad__ndim(p, logits) - 1;
  if (is_distribution(p, logits, target)) return grad__nll(p, grad__log_softmax(p, logits, last), target);
  const grad_id shifted = grad__shifted(p, grad__as_float(p, logits), 1u << last, NULL);
  const grad_id sum = grad__sum(p, grad__op1(p, &grad__op_exp, shifted), 1u << last, false);
  return grad__sub(p, grad__op1(p, &grad__op_log, sum), at_target(p, shifted, target));
}

/* update.h: first-order update rules on flat arrays of parameters (f32 or f64), each one pass over memory. Meaning,
 * defaults and option names are those of torch.optim where it has the rule; a caller holds the state: `slots` arrays
 * of the parameters' dtype and length, zero at first, a few doubles, and the number of the step.
 *
 * The gradient a rule sees is g = clamp(scale * grad, -clip_value, clip_value), negated with `maximize`, to which a
 * coupled weight decay adds weight_decay * p; a decoupled one shrinks p by 1 - lr * weight_decay beforehand.
 * Matrices for muon are row-major.
 */
#ifndef GRAD_OPTIM_UPDATE_H
#define GRAD_OPTIM_UPDATE_H

#include <stdbool.h>

#include "include/grad.h"

/* name, source */
#define GRAD_RULE_MAP(XX)                                                                                              \
  XX(SGD, sgd, "Robbins-Monro (1951); momentum, Polyak (1964), Sutskever et al. (2013)")                               \
  XX(ADAM, adam, "Kingma, Ba (2014)")                                                                                  \
  XX(ADAMW, adamw, "Loshchilov, Hutter (2017)")                                                                        \
  XX(AMSGRAD, amsgrad, "Reddi, Kale, Kumar (2018): adam with the largest second moment")                               \
  XX(NADAM, nadam, "Dozat (2016)")                                                                                     \
  XX(RADAM, radam, "Liu et al. (2019)")                                                                                \
  XX(ADAMAX, adamax, "Kingma, Ba (2014), section 7")                                                                   \
  XX(RMSPROP, rmsprop, "Tieleman, Hinton (2012); centered, Graves (2013)")                                             \
  XX(ADAGRAD, adagrad, "Duchi, Hazan, Singer (2011)")                                                                  \
  XX(ADADELTA, adadelta, "Zeiler (2012)")                                                                              \
  XX(RPROP, rprop, "Riedmiller, Braun (1993)")                                                                         \
  XX(LION, lion, "Chen et al. (2023)")                                                                                 \
  XX(ASGD, asgd, "Polyak, Juditsky (1992)")                                                                            \
  XX(MUON, muon, "Jordan et al. (2024): momentum made orthogonal, for matrices")

typedef enum grad_rule {
#define XX(id, name, text) GRAD_RULE_##id,
  GRAD_RULE_MAP(XX)
#undef XX
      GRAD_RULE_COUNT
} grad_rule;

enum { GRAD_UPDATE_SLOTS_MAX = 3, GRAD_UPDATE_SCALARS = 2 };

/* Fields a rule does not know are ignored. */
/* What muon's rate is multiplied by for a matrix of A rows and B columns: sqrt(max(1, A / B)), 0.2 sqrt(max(A, B)),
 * sqrt(A / B). */
typedef enum grad_muon_rate {
  GRAD_MUON_ORIGINAL,
  GRAD_MUON_MATCH_RMS_ADAMW,
  GRAD_MUON_SPECTRAL_UNCLAMPED,
  GRAD_MUON_RATES
} grad_muon_rate;

typedef struct grad_update_options {
  double lr, weight_decay;
  bool decoupled; /* weight decay applied to the parameters, not the gradient */
  bool maximize;
  double clip_value;          /* Inf: none */
  double momentum, dampening; /* sgd, rmsprop, muon */
  bool nesterov;              /* sgd, muon */
  double beta1, beta2, eps;   /* the adam family, lion; eps: rmsprop, adagrad, adadelta, muon too */
  bool amsgrad;               /* adam, adamw */
  double momentum_decay;      /* nadam */
  double alpha;               /* rmsprop: smoothing; asgd: power of the decay of lr */
  bool centered;              /* rmsprop */
  double rho;                 /* adadelta */
  double lr_decay;            /* adagrad */
  double initial_accumulator; /* adagrad: what its slot is filled with at step 1 */
  double eta_minus, eta_plus; /* rprop */
  double step_min, step_max;  /* rprop */
  double lambd, t0;           /* asgd */
  int ns_steps;               /* muon: Newton-Schulz steps */
  double ns_a, ns_b, ns_c;    /* muon: their coefficients */
  int adjust_lr;              /* muon: a grad_muon_rate */
} grad_update_options;

/* One array of parameters with what belongs to it. */
typedef struct grad_update_target {
  grad_dtype dtype; /* F32 or F64 */
  int64_t n;        /* entries */
  int64_t rows;     /* muon: the matrix is rows x (n / rows) */
  void *param;
  const void *gradient;
  void *slot[GRAD_UPDATE_SLOTS_MAX];
  double scalar[GRAD_UPDATE_SCALARS];
} grad_update_target;

GRAD_API const char *grad_rule_name(grad_rule rule);
GRAD_API const char *grad_rule_text(grad_rule rule);
/* grad_rule_find: EVALUE with the list of names for an unknown one. */
GRAD_API grad_status grad_rule_find(grad_ctx *ctx, const char *name, grad_rule *out);

GRAD_API void grad_update_defaults(grad_rule rule, grad_update_options *options);
/* grad_update_check: EVALUE for an option outside the rule's range. */
GRAD_API grad_status grad_update_check(grad_ctx *ctx, grad_rule rule, const grad_update_options *options);
/* How many slots the rule needs with these options, and the name of one as torch.optim's state has it. */
GRAD_API int grad_update_slots(grad_rule rule, const grad_update_options *options);
GRAD_API const char *grad_update_slot_name(grad_rule rule, const grad_update_options *options, int slot);

/* grad_update: step number `step` (1, 2, ...) of the rule with learning rate options->lr; the gradient is multiplied
 * by `scale` first (1, or what clips its norm). Errors: EDTYPE, EVALUE (step < 1; muon without a matrix), ENOMEM
 * (muon). */
GRAD_API grad_status grad_update(grad_ctx *ctx, grad_rule rule, const grad_update_options *options, int64_t step,
                                 double scale, grad_update_target *target);

/* Sum of squares, in double; not finite when an entry is not. */
GRAD_API double grad_update_norm_squared(grad_dtype dtype, int64_t n, const void *gradient);
/* average = decay * average + (1 - decay) * param */
GRAD_API void grad_update_ema(grad_dtype dtype, int64_t n, double decay, const void *param, void *average);
/* sum += scale * gradient: accumulation over several batches. */
GRAD_API void grad_update_accumulate(grad_dtype dtype, int64_t n, double scale, const void *gradient, void *sum);

#endif
